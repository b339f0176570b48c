//! What vendors' compilers make of the kernels, run without a GPU: the last form before a chip's own instructions are chosen is made into code of
//! this machine for the emulated device. NVIDIA's is PTX, each instruction of which becomes a C++ statement with the meaning of the PTX ISA
//! manual; AMD's is LLVM's intermediate form, of which the same clang makes this machine's code, with AMD's own functions and every access to
//! memory told to the device. What is not known here is an error, never left out.
//!
//! Unseen stay what lies behind (ptxas, AMD's back end, the devices), bits of what is no number (here they are those of this machine's arithmetic),
//! and units for special functions, which are as inexact as they may be (`names.h` of the text).

mod amd;
mod error;
mod ptx;

pub use amd::host_ir;
pub use error::CompiledError;
pub use ptx::host_text;

use crate::compile::{Compiler, HipCompiler, Options};
use crate::{Chip, Source};

/// What is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Compiled {
    /// PTX of NVRTC.
    Cuda {
        /// `sm_90a`
        chip: &'static str,
        /// Major version of the CUDA whose compiler is taken; they differ.
        toolkit: u32,
    },
    /// The intermediate form of a clang.
    Amd {
        /// `gfx942`
        chip: &'static str,
    },
}

/// The compiler of what is run.
///
/// # Errors
/// [`CompiledError::Compile`] where there is none, [`CompiledError::Toolkit`].
pub fn compiler(compiled: Compiled) -> Result<Compiler, CompiledError> {
    match compiled {
        Compiled::Amd { chip } => {
            let options = Options { hip: HipCompiler::Clang, ..Options::here() };
            Ok(Compiler::find(&Chip::Hip(chip.into()), &options)?)
        }
        Compiled::Cuda { chip, toolkit } => {
            // The first that is not newer.
            let options = Options { cuda: Some((toolkit, 0)), ..Options::here() };
            let compiler = Compiler::find(&Chip::Cuda(chip.into()), &options)?;
            let found = compiler.version();
            match found.starts_with(&format!("nvrtc {toolkit}.")) {
                true => Ok(compiler),
                false => Err(CompiledError::Toolkit { wanted: toolkit, found }),
            }
        }
    }
}

/// A text for the host's compiler that does what a compiler made of `source`.
///
/// # Errors
/// [`CompiledError`].
pub fn translated(source: &Source, compiled: Compiled) -> Result<Source, CompiledError> {
    let compiler = compiler(compiled)?;
    match compiled {
        Compiled::Cuda { chip, .. } => of_ptx(&format!("{}-{chip}", source.name), &compiler.ptx(source)?),
        Compiled::Amd { chip } => {
            of_intermediate(&format!("{}-{chip}", source.name), &compiler.intermediate(source)?, &compiler)
        }
    }
}

/// The same of PTX that somebody has.
///
/// # Errors
/// [`CompiledError`].
pub fn of_ptx(name: &str, ptx: &str) -> Result<Source, CompiledError> {
    with_preludes(name, |_| ptx::kernels(ptx))
}

/// The same of LLVM's intermediate form; `clang` makes this machine's code of it.
///
/// # Errors
/// [`CompiledError`].
pub fn of_intermediate(name: &str, ir: &str, clang: &Compiler) -> Result<Source, CompiledError> {
    with_preludes(name, |named| amd::kernels(ir, &clang.assembly(named, &host_ir(ir)?)?))
}

fn with_preludes(
    name: &str,
    kernels: impl FnOnce(&Source) -> Result<String, CompiledError>,
) -> Result<Source, CompiledError> {
    // Its number type is of no consequence: what was compiled names its own.
    let mut source = Source { name: name.into(), ..Source::prelude(true) };
    source.text = format!("{}{}", preludes(&source), kernels(&source)?);
    Ok(source)
}

/// What a kernel tells of itself, as the text's own ones do (`EXPORT` of names.h), and beside it what it was compiled for: types of its arguments
/// and threads of a block.
fn told(name: &str, kinds: &[&str], most_threads: &str) -> String {
    let (count, kinds) = (kinds.len(), kinds.join(" "));
    // Which arguments a kernel writes is not known any more: what is to be put in order is told by the text's own image.
    format!(
        "extern \"C\" u32 weir_arity_{name}() {{ return {count}; }}\n\
         extern \"C\" u64 weir_written_{name}() {{ return 0; }}\n\
         extern \"C\" u64 weir_handed_{name}() {{ return 0; }}\n\
         extern \"C\" u32 weir_most_threads_{name}() {{ return {most_threads}; }}\n\
         extern \"C\" const char *weir_kinds_{name}() {{ return \"{kinds}\"; }}"
    )
}

/// Pieces between the commas that stand in no brackets.
fn by_commas(text: &str) -> Vec<&str> {
    let (mut depth, mut from, mut out) = (0, 0, Vec::new());
    for (at, c) in text.char_indices() {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            ',' if depth == 0 => {
                out.push(text[from..at].trim());
                from = at + 1;
            }
            _ => {}
        }
    }
    out.push(text[from..].trim());
    out
}

/// What stands in front of kernels.
fn preludes(prelude: &Source) -> String {
    format!("{}#line 1 \"machine.h\"\n{}\n", prelude.text, include_str!("machine.h"))
}
