//! Images: machine code of the device, and the form that runs here.

use crate::machine::{code, fault, folder, Answer, Fault, Machine, State, Vendor};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use weir_backends::gpu::driver::{Driver, Module};
use weir_kernels::compile::{Compiler, HipCompiler, Image, Options};
use weir_kernels::compiled::{of_intermediate, of_ptx};
use weir_kernels::resources::{read, Resources};
use weir_kernels::{host, Chip};

/// A loaded image.
pub struct Loaded {
    pub module: Module,
    /// What kernels need, as the compiler said.
    pub resources: BTreeMap<String, Resources>,
}

/// Bytes of an ELF's header.
const HEADER: usize = 64;
/// Of a row of its table of sections.
const SECTION: usize = 64;
/// The kind of those that take no room in the file.
const NOBITS: usize = 8;
/// No image of kernels is longer.
const LONGEST: usize = 1 << 30;

/// The image that begins at an address, whose length its own header tells (ELF of 64 bits), if it is no longer than `most`.
///
/// # Safety
/// Where the first bytes are those of an ELF, the whole of it is there.
pub unsafe fn whole<'a>(image: *const u8, most: usize) -> Option<&'a [u8]> {
    // SAFETY: four bytes are there, or fewer than an ELF has; the caller's promise.
    if image.is_null() || most < HEADER || unsafe { std::slice::from_raw_parts(image, 4) } != b"\x7fELF" {
        return None;
    }
    // SAFETY: the caller's promise: a header at least.
    let head = unsafe { std::slice::from_raw_parts(image, HEADER) };
    let number = |bytes: &[u8]| bytes.iter().rev().fold(0usize, |n, b| n << 8 | usize::from(*b));
    let table = |start: usize, one: usize| {
        let (from, bytes, n) = (&head[start..start + 8], &head[one..one + 2], &head[one + 2..one + 4]);
        let (from, bytes, n) = (number(from), number(bytes), number(n));
        from.checked_add(bytes * n).map(|end| (from, bytes, n, end))
    };
    let ((.., programs), (from, bytes, n, sections)) = (table(32, 54)?, table(40, 58)?);
    let tables = programs.max(sections).max(HEADER);
    if tables > most || (n > 0 && bytes < SECTION) {
        return None;
    }
    // SAFETY: the tables are parts of the image.
    let all = unsafe { std::slice::from_raw_parts(image, tables) };
    let mut end = tables;
    for section in (0..n).map(|k| &all[from + k * bytes..][..SECTION]).filter(|s| number(&s[4..8]) != NOBITS) {
        end = end.max(number(&section[24..32]).checked_add(number(&section[32..40]))?);
    }
    // SAFETY: so are its sections.
    (end <= most).then(|| unsafe { std::slice::from_raw_parts(image, end) })
}

impl Machine {
    /// # Safety
    /// As [`whole`].
    pub unsafe fn load(&self, state: &mut State, image: *const u8) -> Answer<usize> {
        self.here(state)?;
        state.unsafe_now("an image was loaded")?;
        let broken = |why: String| Fault { code: code::INVALID_IMAGE, why };
        // SAFETY: the caller's promise.
        let image = unsafe { whole(image, LONGEST) }.ok_or_else(|| broken("no ELF".into()))?;
        let chip = (u16::from_le_bytes([image[18], image[19]]), image[48]);
        if chip != self.vendor.kind().machine {
            return fault(code::OTHER_CHIP, format!("an image for machine {chip:?}"));
        }
        let folder = folder().ok_or_else(|| broken("STAND_IN_FOLDER is not set".into()))?;
        let digest = digest_of(image);
        let library = library(&folder, &digest, self.vendor, self.device.compile_flags()).map_err(broken)?;
        let resources = resources(&folder, &digest, self.vendor).map_err(broken)?;
        let module = self.device.load(&library).map_err(|e| broken(e.to_string()))?;
        let handle = state.handle();
        state.modules.insert(handle, Loaded { module, resources });
        Ok(handle)
    }

    pub fn unload(&self, state: &mut State, module: usize) -> Answer {
        self.here(state)?;
        state.unsafe_now("an image was unloaded")?;
        self.settle_all(state)?;
        match state.modules.remove(&module) {
            None => fault(code::INVALID_HANDLE, format!("no module {module:#x}")),
            Some(loaded) => {
                state.functions.retain(|_, f| f.module != module);
                self.device.unload(loaded.module);
                Ok(())
            }
        }
    }
}

/// As `sha256sum` tells it, which names the files of AMD's compiler (tests/gpu_commands/clang.sh).
fn digest_of(image: &[u8]) -> String {
    format!("{:x}", Sha256::digest(image))
}

/// How the form is called that a compiler had before machine code.
fn form(vendor: Vendor) -> &'static str {
    match vendor {
        Vendor::Cuda => "ptx",
        Vendor::Amd => "ll",
    }
}

/// Keeps what belongs to an image.
pub fn keep(image: &[u8], vendor: Vendor, text: &str, log: &str) -> std::io::Result<()> {
    let Some(folder) = folder() else { return Ok(()) };
    // As `load` will see it, which knows no length.
    // SAFETY: as many bytes as are said.
    let digest = digest_of(unsafe { whole(image.as_ptr(), image.len()) }.unwrap_or(image));
    put(&folder, &format!("{digest}.log"), log.as_bytes())?;
    put(&folder, &format!("{digest}.{}", form(vendor)), text.as_bytes())
}

/// Others that read a file see all of it or nothing.
fn put(folder: &Path, name: &str, bytes: &[u8]) -> std::io::Result<()> {
    let work = tempfile::tempdir_in(folder)?;
    fs::write(work.path().join(name), bytes)?;
    fs::rename(work.path().join(name), folder.join(name))
}

/// The image as a library of this machine; made once.
fn library(folder: &Path, digest: &str, vendor: Vendor, flags: &[&str]) -> Result<Vec<u8>, String> {
    let made = format!("{digest}.so");
    if let Ok(bytes) = fs::read(folder.join(&made)) {
        return Ok(bytes);
    }
    let text = folder.join(format!("{digest}.{}", form(vendor)));
    let text = fs::read_to_string(&text).map_err(|e| format!("{}: {e}", text.display()))?;
    let source = match vendor {
        Vendor::Cuda => of_ptx(digest, &text),
        Vendor::Amd => {
            let options = Options { hip: HipCompiler::Clang, ..Options::here() };
            let clang = Compiler::find(&chip(vendor), &options).map_err(|e| e.to_string())?;
            of_intermediate(digest, &text, &clang)
        }
    };
    let source = source.map_err(|e| e.to_string())?;
    let work = tempfile::tempdir_in(folder).map_err(|e| e.to_string())?;
    let bytes = host::compile(&source, work.path(), flags).map_err(|e| e.to_string())?;
    put(folder, &made, &bytes).map_err(|e| e.to_string())?;
    Ok(bytes)
}

fn chip(vendor: Vendor) -> Chip {
    let name = vendor.kind().chip.to_string();
    match vendor {
        Vendor::Cuda => Chip::Cuda(name),
        Vendor::Amd => Chip::Hip(name),
    }
}

fn resources(folder: &Path, digest: &str, vendor: Vendor) -> Result<BTreeMap<String, Resources>, String> {
    let log = folder.join(format!("{digest}.log"));
    let log = fs::read_to_string(&log).map_err(|e| format!("{}: {e}", log.display()))?;
    read(&Image { chip: chip(vendor), bytes: Vec::new(), log, compiler: "its compiler".into() })
        .map_err(|e| e.to_string())
}
