//! LLVM's intermediate form of kernels for AMD chips as one for this machine, line by line.

use super::super::error::malformed;
use super::super::{by_commas, told, CompiledError};
use std::fmt::Write;

/// AMD's functions that `amd.h` has, with what they return and are given.
const FUNCTIONS: [(&str, &str, &str); 9] = [
    ("workitem.id.x", "i32", ""),
    ("workgroup.id.x", "i32", ""),
    ("dispatch.ptr", "ptr", ""),
    ("s.barrier", "void", ""),
    ("readfirstlane.i32", "i32", "i32"),
    ("readfirstlane", "i32", "i32"),
    ("rcp.f32", "float", "float"),
    ("exp2.f32", "float", "float"),
    ("mfma.f32.16x16x4f32", "<4 x float>", "float, float, <4 x float>, i32, i32, i32"),
];

fn own_name(function: &str) -> String {
    format!("weir_amd_{}", function.replace('.', "_"))
}

/// LLVM's own functions that mean the same on every machine, by the beginnings of their names.
const EVERYWHERE: [&str; 10] = [
    "llvm.fma.",
    "llvm.fabs.",
    "llvm.sqrt.",
    "llvm.maxnum.",
    "llvm.umin.",
    "llvm.umax.",
    "llvm.smin.",
    "llvm.smax.",
    "llvm.vector.reduce.",
    "llvm.experimental.noalias.scope.decl",
];

/// The form for the host: address spaces are one, a kernel is a function, and nothing is said of an AMD processor.
///
/// # Errors
/// [`CompiledError::Unknown`] at what nobody has written down here.
pub fn host_ir(ir: &str) -> Result<String, CompiledError> {
    let mut out = String::new();
    // Writing to a String does not fail.
    let mut put = |line: &str| _ = writeln!(out, "{line}");
    for (k, raw) in ir.lines().enumerate() {
        let number = k + 1;
        let unknown = || CompiledError::Unknown { line: number, instruction: raw.trim().chars().take(160).collect() };
        let gone = ["target ", "source_filename", "; ModuleID", "@__hip_cuid_", "@llvm.compiler.used"];
        let own = raw.starts_with("declare") && raw.contains("@llvm.amdgcn.");
        if own || gone.iter().any(|word| raw.starts_with(word)) {
            continue;
        }
        let line = one_space(raw);
        if line.starts_with("attributes ") {
            // Nothing of a processor; and functions may end by an exception, which is how a fault ends a thread.
            let (name, _) = line.split_once(" = ").ok_or_else(unknown)?;
            put(&format!("{name} = {{ uwtable }}"));
        } else if line.starts_with("define ") {
            let (_, rest) = line.split_once(" amdgpu_kernel void @").ok_or_else(unknown)?;
            put(&format!("define hidden void @weir_amd_kernel_{rest}"));
        } else if line.starts_with('@') && !line.starts_with("@shared_memory = external ") {
            return Err(unknown());
        } else if let Some(callee) = callee(&line) {
            match callee.strip_prefix("llvm.amdgcn.") {
                Some(_) => put(&called(&line, number).ok_or_else(unknown)?),
                None if EVERYWHERE.iter().any(|name| callee.starts_with(name)) => put(&line),
                None => return Err(unknown()),
            }
        } else {
            if let Some(access) = access(&line, number).map_err(|()| unknown())? {
                put(&access);
            }
            put(&line);
        }
    }
    for (name, given, taken) in FUNCTIONS {
        let comma = if taken.is_empty() { "" } else { ", " };
        put(&format!("declare {given} @{}(i32{comma}{taken}) convergent", own_name(name)));
    }
    for name in ["reads", "writes", "adds"] {
        put(&format!("declare void @weir_amd_{name}(i32, i32, i32, ptr)"));
    }
    Ok(out)
}

/// The function that a line calls; "" where it is no name.
fn callee(line: &str) -> Option<&str> {
    let calls = line.split([' ', '(']).any(|w| matches!(w, "call" | "invoke" | "callbr"));
    calls.then(|| line.split_once('@').map_or("", |(_, rest)| rest.split('(').next().unwrap_or_default()))
}

/// Without address spaces.
fn one_space(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = rest.find(" addrspace(") {
        out.push_str(&rest[..at]);
        rest = rest[at..].find(')').map_or("", |end| &rest[at + end + 1..]);
    }
    out.push_str(rest);
    out.replace("addrspacecast", "bitcast")
}

/// A call of one of AMD's functions, with the line.
fn called(line: &str, number: usize) -> Option<String> {
    let (before, rest) = line.split_once("@llvm.amdgcn.")?;
    let (name, arguments) = rest.split_once('(')?;
    FUNCTIONS.iter().any(|f| f.0 == name).then_some(())?;
    let comma = if arguments.starts_with(')') { "" } else { ", " };
    Some(format!("{before}@{}(i32 {number}{comma}{arguments}", own_name(name)))
}

/// Bytes of a type in memory.
fn bytes(kind: &str) -> Option<usize> {
    if let Some((count, kind)) =
        kind.strip_prefix('<').and_then(|k| k.strip_suffix('>')).and_then(|k| k.split_once(" x "))
    {
        return Some(count.parse::<usize>().ok()? * bytes(kind)?);
    }
    Some(match kind {
        "i16" | "half" | "bfloat" => 2,
        "i32" | "float" => 4,
        "i64" | "double" => 8,
        _ => return None,
    })
}

/// What is told before memory is touched; an error where it is touched in another way than is known.
fn access(line: &str, number: usize) -> Result<Option<String>, ()> {
    let text = line.trim_start();
    let instruction = match text.split_once(" = ") {
        Some((to, rest)) if to.starts_with('%') => rest,
        _ => text,
    };
    let (function, rest) = if let Some(rest) = instruction.strip_prefix("load ") {
        ("reads", rest)
    } else if let Some(rest) = instruction.strip_prefix("store ") {
        ("writes", rest)
    } else if let Some(rest) = instruction.strip_prefix("atomicrmw add ptr ") {
        // Of whole numbers of 32 bits.
        let (place, rest) = rest.split_once(", i32 ").ok_or(())?;
        let aligned = rest.contains(", align 4");
        return aligned.then(|| told_first("adds", number, 4, "4", place)).ok_or(()).map(Some);
    } else {
        let touching = ["atomicrmw", "cmpxchg", "alloca", "va_arg", "load", "store"];
        return match touching.contains(&instruction.split(' ').next().unwrap_or_default()) {
            true => Err(()),
            false => Ok(None),
        };
    };
    let (value, rest) = rest.split_once(", ptr ").ok_or(())?;
    // Behind the kind of what is stored stands the value.
    let end = match (function, value.strip_prefix('<')) {
        ("reads", _) => value.len(),
        (_, Some(vector)) => vector.find('>').ok_or(())? + 2,
        (_, None) => value.find(' ').ok_or(())?,
    };
    let (place, rest) = rest.rsplit_once(", align ").ok_or(())?;
    let align: String = rest.chars().take_while(char::is_ascii_digit).collect();
    Ok(Some(told_first(function, number, bytes(&value[..end]).ok_or(())?, &align, place)))
}

fn told_first(function: &str, number: usize, bytes: usize, align: &str, place: &str) -> String {
    format!("  call void @weir_amd_{function}(i32 {number}, i32 {bytes}, i32 {align}, ptr {place})")
}

/// Threads of a block that a kernel with these attributes was compiled for.
fn most_threads<'a>(ir: &'a str, group: &str) -> Option<&'a str> {
    let attributes =
        ir.lines().find(|l| l.strip_prefix("attributes ").is_some_and(|l| l.starts_with(&format!("{group} ="))))?;
    let (_, rest) = attributes.split_once("\"amdgpu-flat-work-group-size\"=\"1,")?;
    rest.split('"').next()
}

/// C++ functions that the emulated device finds and calls, one for each kernel.
fn wrappers(ir: &str) -> Result<String, CompiledError> {
    let mut out = String::new();
    for (k, line) in ir.lines().enumerate().filter(|(_, line)| line.starts_with("define ")) {
        let wrong = || malformed(k + 1, "a kernel", line);
        let (name, rest) = line.split_once(" @").and_then(|(_, rest)| rest.split_once('(')).ok_or_else(wrong)?;
        let (list_of, behind) = rest.rsplit_once(')').ok_or_else(wrong)?;
        let group = behind.split_whitespace().find(|w| w.starts_with('#')).ok_or_else(wrong)?;
        let threads = most_threads(ir, group).ok_or_else(wrong)?;
        let list_of = one_space(list_of);
        let kinds: Option<Vec<(&str, &str)>> = by_commas(&list_of)
            .into_iter()
            .map(|p| match p.split(' ').next()? {
                "ptr" | "i64" => Some(("u64", "u64")),
                "i32" => Some(("u32", "u32")),
                "double" => Some(("double", "f64")),
                _ => None,
            })
            .collect();
        let kinds = kinds.ok_or_else(wrong)?;
        let list = |f: &dyn Fn(usize, &(&str, &str)) -> String| {
            kinds.iter().enumerate().map(|(k, kind)| f(k, kind)).collect::<Vec<_>>().join(", ")
        };
        let types = list(&|_, kind| kind.0.into());
        let values = list(&|k, kind| match kind.0 {
            "double" => format!("machine::get<double>(args[{k}].value)"),
            other => format!("{other}(args[{k}].value)"),
        });
        let (kinds, n): (Vec<&str>, _) = (kinds.iter().map(|kind| kind.1).collect(), kinds.len());
        let _ = writeln!(
            out,
            "extern \"C\" __attribute__((visibility(\"hidden\"))) void weir_amd_kernel_{name}({types});\n\
             extern \"C\" void weir_kernel_{name}(const weir::Raw *args) {{ amd::begin(args, {n}); \
             weir_amd_kernel_{name}({values}); }}\n{}",
            told(name, &kinds, threads),
        );
    }
    Ok(out)
}

/// All kernels of the form, to stand behind `machine.h`; `assembly` is what was made of [`host_ir`].
///
/// # Errors
/// [`CompiledError`] at a parameter that the driver does not pass, or without a kernel.
pub(in crate::compiled) fn kernels(ir: &str, assembly: &str) -> Result<String, CompiledError> {
    let wrappers = wrappers(ir)?;
    if wrappers.is_empty() {
        return Err(CompiledError::Empty);
    }
    let functions = include_str!("amd.h");
    Ok(format!("#line 1 \"amd.h\"\n{functions}\n{wrappers}asm(R\"assembly(\n.pushsection .text\n{assembly}\n.popsection\n)assembly\");\n"))
}
