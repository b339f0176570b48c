//! Compiles the kernel text for the host: a shared library whose kernels the emulated driver runs.

use crate::Source;
use std::collections::HashMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{LazyLock, Mutex, PoisonError};
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

/// The compiler and its first word about itself.
type Found = (cc::Tool, String);

/// What the environment's names stand for, looked up once: every look starts the compiler several times, and a process that has run kernels is
/// large to fork.
fn found() -> Result<Found, HostError> {
    static KNOWN: LazyLock<Mutex<HashMap<[Option<OsString>; 3], Found>>> = LazyLock::new(Mutex::default);
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let names = ["CXX", "CXXFLAGS", "PATH"].map(std::env::var_os);
    if let Some(found) = known.get(&names) {
        return Ok(found.clone());
    }
    let tool = tool()?;
    let version = version(&tool)?;
    known.insert(names, (tool.clone(), version.clone()));
    Ok((tool, version))
}

fn tool() -> Result<cc::Tool, HostError> {
    let triple = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let build = cc::Build::new()
        .cpp(true)
        .std("c++17")
        .target(&triple)
        .host(&triple)
        .opt_level(2)
        .debug(false)
        .warnings(false)
        .cargo_metadata(false)
        .cargo_warnings(false)
        .try_get_compiler();
    build.map_err(|e| HostError::Compiler(e.to_string()))
}

fn version(tool: &cc::Tool) -> Result<String, HostError> {
    let failed = |e: &dyn std::fmt::Display| HostError::Compiler(format!("{}: {e}", tool.path().display()));
    let output = tool.to_command().arg("--version").output().map_err(|e| failed(&e))?;
    let text = String::from_utf8_lossy(&output.stdout);
    match text.lines().next() {
        Some(line) if output.status.success() => Ok(line.trim().to_string()),
        _ => Err(failed(&"it does not tell its version")),
    }
}

/// Program and version of the compiler.
///
/// # Errors
/// [`HostError::Compiler`] where it does not answer.
pub fn identity() -> Result<String, HostError> {
    found().map(|(_, version)| version)
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
    let (tool, _) = found()?;
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
