//! Compiles the kernel text for the host: a shared library whose kernels the emulated driver runs.

use crate::cache::key::digest;
use crate::Source;
use std::path::{Path, PathBuf};
use std::process::Command;
use thiserror::Error;

/// Why the host's compiler did not make a library.
#[derive(Debug, Error)]
pub enum HostError {
    /// No C++ compiler.
    #[error("no C++ compiler for the emulated device: {0}; install g++ or set CXX")]
    Compiler(String),
    /// The compiler's own words.
    #[error("{compiler} cannot compile {name}:\n{log}")]
    Failed {
        /// Program.
        compiler: String,
        /// Of the source.
        name: String,
        /// Last lines of its output.
        log: String,
    },
    /// Files.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

fn compiler() -> Result<cc::Tool, HostError> {
    let triple = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .target(&triple)
        .host(&triple)
        .opt_level(2)
        .debug(false)
        .warnings(false)
        .cargo_metadata(false)
        .try_get_compiler()
        .map_err(|e| HostError::Compiler(e.to_string()))
}

/// Who compiles, and for which processor: libraries use all that this one can do.
fn identity() -> Result<String, HostError> {
    let tool = compiler()?;
    let version = tool.to_command().arg("--version").output();
    let version = version.map_err(|e| HostError::Compiler(format!("{}: {e}", tool.path().display())))?;
    let processor = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let lines =
        processor.lines().filter(|l| ["model name", "flags", "Features", "CPU part"].iter().any(|n| l.starts_with(n)));
    let first: Vec<&str> = lines.take(2).collect();
    Ok(format!("{}\n{}\n{}", tool.path().display(), String::from_utf8_lossy(&version.stdout), first.join("\n")))
}

/// As [`compile`], with libraries kept in `folder`: the next process that wants the same one finds it.
///
/// # Errors
/// [`HostError`].
pub fn obtain(source: &Source, folder: &Path, flags: &[&str]) -> Result<Vec<u8>, HostError> {
    let file = |path: &Path| {
        let path = path.to_path_buf();
        move |source| HostError::File { path, source }
    };
    let identity = identity()?;
    let defines = source.defines.iter().flat_map(|(name, value)| [name.as_str(), value]);
    let fields = [source.text.as_str(), &identity].into_iter().chain(flags.iter().copied()).chain(["-"]).chain(defines);
    let path = folder.join(format!("host-{}.so", digest(fields.map(str::as_bytes))));
    if let Ok(bytes) = std::fs::read(&path) {
        return Ok(bytes);
    }
    let work = folder.join(format!("host-{}-{:?}", std::process::id(), std::thread::current().id()));
    std::fs::create_dir_all(&work).map_err(file(&work))?;
    let made = compile(source, &work, flags);
    if made.is_ok() {
        // Whole or not at all, whoever else is at it.
        std::fs::rename(work.join("kernels.so"), &path).map_err(file(&path))?;
    }
    let _ = std::fs::remove_dir_all(&work);
    made
}

/// Compiles a source into `folder`; `flags` come last (sanitizers).
///
/// # Errors
/// [`HostError`].
pub fn compile(source: &Source, folder: &Path, flags: &[&str]) -> Result<Vec<u8>, HostError> {
    let file = |path: &Path| {
        let path = path.to_path_buf();
        move |source| HostError::File { path, source }
    };
    let (text, library) = (folder.join("kernels.cpp"), folder.join("kernels.so"));
    std::fs::write(&text, &source.text).map_err(file(&text))?;
    let tool = compiler()?;
    let mut command: Command = tool.to_command();
    // Products and sums stay apart where the text keeps them apart; fused ones use the machine's instruction.
    command.args(["-shared", "-fPIC", "-ffp-contract=off", "-march=native", "-w", "-DWEIR_HOST"]);
    command.args(source.defines.iter().map(|(name, value)| format!("-D{name}={value}")));
    command.args(flags).arg(&text).arg("-o").arg(&library);
    let output = command.output().map_err(|e| HostError::Compiler(format!("{}: {e}", tool.path().display())))?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        let lines: Vec<&str> = words.lines().collect();
        let log = lines[..lines.len().min(30)].join("\n");
        return Err(HostError::Failed { compiler: tool.path().display().to_string(), name: source.name.clone(), log });
    }
    std::fs::read(&library).map_err(file(&library))
}
