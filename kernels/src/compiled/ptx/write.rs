//! The C++ text of all kernels.

use super::super::told;
use super::instruction::{label, statement};
use super::parse::{parsed, Kernel, Statement};
use super::value::{number, register, Names};
use crate::compiled::CompiledError;
use std::fmt::Write;

/// All kernels of `ptx`, to stand behind `machine.h`.
///
/// # Errors
/// [`CompiledError`].
pub(in crate::compiled) fn kernels(ptx: &str) -> Result<String, CompiledError> {
    let mut out = format!("#line 1 \"ptx.h\"\n{}\n", include_str!("ptx.h"));
    for kernel in parsed(ptx)? {
        write_kernel(&mut out, &kernel)?;
    }
    Ok(out)
}

fn write_kernel(out: &mut String, kernel: &Kernel) -> Result<(), CompiledError> {
    let (name, count) = (&kernel.name, kernel.parameters.len());
    let names = Names::of(kernel);
    // Writing to a String does not fail.
    let mut line = |text: String| _ = writeln!(out, "{text}");
    line(format!(
        "extern \"C\" void weir_kernel_{name}(const weir::Raw *args) {{\nusing namespace machine;\nbegin_ptx(args, {count});"
    ));
    for r in &kernel.registers {
        // What nobody has written is every bit set: no number.
        let (Some(kind), nothing) = (number(&r.kind), nothing(&r.kind)) else { continue };
        let name = register(&r.prefix);
        let all: Vec<String> = match r.count {
            Some(count) => (0..count).map(|k| format!("{name}{k} = {nothing}")).collect(),
            None => vec![format!("{name} = {nothing}")],
        };
        if !all.is_empty() {
            line(format!("{kind} {};", all.join(", ")));
        }
    }
    for s in &kernel.body {
        match s {
            Statement::Label(name) => line(format!("{}:;", label(name))),
            Statement::Instruction(i) => line(statement(i, &names)?),
        }
    }
    line("}".into());
    let kinds: Vec<&str> = kernel.parameters.iter().map(|p| p.kind.as_str()).collect();
    line(told(name, &kinds, &kernel.most_threads.map_or("~0u".into(), |n| n.to_string())));
    Ok(())
}

fn nothing(kind: &str) -> &'static str {
    match kind {
        "pred" => "true",
        "b16" => "0xffff",
        "b32" => "~0u",
        "b64" => "~0ull",
        "f32" => "NOTHING",
        _ => "NOTHING_DOUBLE",
    }
}
