//! A clang with AMD's target: no part of ROCm is needed, because the text brings its own mathematics.

use super::error::CompileError;
use super::search::Search;
use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};

/// A program that knows the chip.
#[derive(Clone)]
pub(super) struct Clang {
    path: PathBuf,
    version: String,
}

/// One text, machine code of the device alone, no headers and no libraries; no unit's number either, which is a digest of the file's path
/// and would make every image another one.
pub(super) const FLAGS: [&str; 7] = [
    "-xhip",
    "--cuda-device-only",
    "--no-gpu-bundle-output",
    "-nogpuinc",
    "-nogpulib",
    "-fuse-cuid=none",
    // Clang 21's own choice is 6, which ROCm loads from 6.3 on.
    "-mcode-object-version=5",
];

/// Newer ones first: they know more chips.
fn names() -> Vec<String> {
    let mut names = vec!["amdclang++".to_string()];
    names.extend((17..=25).rev().map(|v| format!("clang-{v}")));
    names.push("clang".into());
    names
}

/// The first program that knows the chip: of a named ROCm, on `PATH`, of ROCm in its usual place.
pub(super) fn find(arch: &str, search: &Search) -> Result<Clang, Vec<String>> {
    let inside = |root: &PathBuf| root.join("llvm/bin/clang");
    let mut all: Vec<PathBuf> = search.rocm.iter().map(inside).collect();
    all.extend(names().iter().flat_map(|n| search.programs.iter().map(move |p| p.join(n))));
    if search.system {
        all.push(inside(&PathBuf::from("/opt/rocm")));
    }
    let mut seen = HashSet::new();
    let mut looked = Vec::new();
    for path in all.into_iter().filter(|p| p.is_file()) {
        if !seen.insert(path.canonicalize().unwrap_or_else(|_| path.clone())) {
            continue;
        }
        match check(&path, arch) {
            Ok(version) => return Ok(Clang { path, version }),
            Err(why) => looked.push(format!("{} ({why})", path.display())),
        }
    }
    looked.push("clang-25 to clang-17, clang and amdclang++ on PATH".into());
    Err(looked)
}

/// The version of a program that knows the chip.
fn check(path: &Path, arch: &str) -> Result<String, String> {
    let run = |arguments: &[&str]| Command::new(path).args(arguments).output().map_err(|e| e.to_string());
    let version = run(&["--version"])?.stdout;
    let version = String::from_utf8_lossy(&version).lines().next().unwrap_or_default().trim().to_string();
    // Lists of known chips differ between versions, and some cannot be printed without ROCm; an empty text tells.
    let chip = format!("-mcpu={arch}");
    let target = "--target=amdgcn-amd-amdhsa";
    if !run(&[target, &chip, "-nogpulib", "-xc", "-fsyntax-only", "/dev/null"])?.status.success() {
        return Err(format!("{version}, which does not know {arch}"));
    }
    Ok(version)
}

/// A folder of this call's own, gone with it.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> std::io::Result<Scratch> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        use std::os::unix::fs::DirBuilderExt;
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("weir-clang-{}-{number}", std::process::id()));
        // Fails where something is there already: nobody else prepares this folder.
        fs::DirBuilder::new().mode(0o700).create(&folder)?;
        Ok(Scratch(folder))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

impl Clang {
    /// `clang 19.1.7`, whatever a distribution writes around it.
    pub(super) fn version(&self) -> String {
        let number = self.version.split_whitespace().find(|w| w.starts_with(|c: char| c.is_ascii_digit()));
        format!("clang {}", number.unwrap_or("unknown"))
    }

    /// Version and build.
    pub(super) fn identity(&self) -> String {
        let real = self.path.canonicalize().unwrap_or_else(|_| self.path.clone());
        let length = fs::metadata(&real).map_or(0, |m| m.len());
        format!("clang {} {length}", self.version)
    }

    /// The image and the log.
    pub(super) fn compile(
        &self,
        text: &str,
        options: &[String],
        refused: impl FnOnce(String, Option<&'static str>) -> CompileError,
    ) -> Result<(Vec<u8>, String), CompileError> {
        let all: Vec<&str> = FLAGS.into_iter().chain(options.iter().map(String::as_str)).collect();
        self.run(text, &all, refused)
    }

    /// LLVM's intermediate form of what an image is made from.
    #[cfg(feature = "emulated")]
    pub(super) fn intermediate(
        &self,
        text: &str,
        options: &[String],
        refused: impl FnOnce(String, Option<&'static str>) -> CompileError,
    ) -> Result<String, CompileError> {
        let all = FLAGS.into_iter().chain(options.iter().map(String::as_str)).chain(["-S", "-emit-llvm"]);
        let (bytes, _) = self.run(text, &all.collect::<Vec<_>>(), refused)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Assembly of this machine made of the intermediate form.
    #[cfg(feature = "emulated")]
    pub(super) fn assembly(
        &self,
        ir: &str,
        refused: impl FnOnce(String, Option<&'static str>) -> CompileError,
    ) -> Result<String, CompileError> {
        // Sums and products stay apart where the text keeps them apart (`host::compile`).
        let all = ["-xir", "-S", "-O1", "-fPIC", "-march=native", "-ffp-contract=off", "-fno-addrsig", "-w"];
        let (bytes, _) = self.run(ir, &all, refused)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// What the program makes of a text, and the log.
    fn run(
        &self,
        text: &str,
        arguments: &[&str],
        refused: impl FnOnce(String, Option<&'static str>) -> CompileError,
    ) -> Result<(Vec<u8>, String), CompileError> {
        let io = |path: &Path, e: std::io::Error| CompileError::Io { path: path.to_path_buf(), cause: e.to_string() };
        let temporary = std::env::temp_dir();
        let scratch = Scratch::new().map_err(|e| io(&temporary, e))?;
        let (file, out) = (scratch.0.join("kernels.hip"), scratch.0.join("kernels.co"));
        fs::write(&file, text).map_err(|e| io(&file, e))?;
        let mut command = Command::new(&self.path);
        // Run inside, so that the log names no temporary folder.
        command.current_dir(&scratch.0).args(arguments).args(["-o", "kernels.co", "kernels.hip"]);
        let done = command.output().map_err(|e| io(&self.path, e))?;
        let log = String::from_utf8_lossy(&done.stderr).into_owned();
        if !done.status.success() {
            let linker = ["unable to execute command", "invalid linker name", "ld.lld", "lld"];
            let missing = linker[..2].iter().any(|w| log.contains(w)) && linker[2..].iter().any(|w| log.contains(w));
            let hint = missing.then_some("install the lld of the same version, such as Debian's lld-19");
            return Err(refused(log, hint));
        }
        let image = fs::read(&out).map_err(|e| io(&out, e))?;
        Ok((image, log))
    }
}
