//! Images: machine code of the device, and the form that runs here.

use crate::machine::{code, fault, folder, watched, Answer, Fault, Machine, State, Vendor};
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

/// The image that begins at an address, whose length its own header tells (ELF of 64 bits).
///
/// # Safety
/// Where the first bytes are those of an ELF, the whole of it is there.
pub unsafe fn whole<'a>(image: *const u8) -> Option<&'a [u8]> {
    // SAFETY: the caller's promise: a header at least, if it is one.
    let head = unsafe { std::slice::from_raw_parts(image, HEADER) };
    if !head.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    let number = |bytes: &[u8]| bytes.iter().rev().fold(0usize, |n, b| n << 8 | usize::from(*b));
    let (programs, sections) = (number(&head[32..40]), number(&head[40..48]));
    let (program, n_programs) = (number(&head[54..56]), number(&head[56..58]));
    let (section, n_sections) = (number(&head[58..60]), number(&head[60..62]));
    let tables = (programs + program * n_programs).max(sections + section * n_sections);
    // SAFETY: the tables are parts of the image.
    let bytes = unsafe { std::slice::from_raw_parts(image, tables.max(HEADER)) };
    /// Sections that take no room in the file.
    const NOBITS: usize = 8;
    let end =
        (0..n_sections).map(|k| &bytes[sections + k * section..][..section]).filter(|s| number(&s[4..8]) != NOBITS);
    let end = end.map(|s| number(&s[24..32]) + number(&s[32..40])).max().unwrap_or(0);
    // SAFETY: so are its sections.
    Some(unsafe { std::slice::from_raw_parts(image, end.max(bytes.len())) })
}

impl Machine {
    /// # Safety
    /// As [`whole`].
    pub unsafe fn load(&self, state: &mut State, image: *const u8) -> Answer<usize> {
        self.here(state)?;
        state.unsafe_now("an image was loaded")?;
        let broken = |why: String| Fault { code: code::INVALID_IMAGE, why };
        // SAFETY: the caller's promise.
        let image = unsafe { whole(image) }.ok_or_else(|| broken("no ELF".into()))?;
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
    if image.len() < HEADER {
        return Ok(());
    }
    // As `load` will see it, which knows no length.
    // SAFETY: an image that a compiler made.
    let digest = digest_of(unsafe { whole(image.as_ptr()) }.unwrap_or(image));
    // Others that read it see all of it or nothing.
    let work = tempfile::tempdir_in(&folder)?;
    for (kind, text) in [("log", log), (form(vendor), text)] {
        fs::write(work.path().join(kind), text)?;
        fs::rename(work.path().join(kind), folder.join(format!("{digest}.{kind}")))?;
    }
    Ok(())
}

/// The image as a library of this machine; made once.
fn library(folder: &Path, digest: &str, vendor: Vendor, flags: &[&str]) -> Result<Vec<u8>, String> {
    let watched = watched();
    let made = folder.join(format!("{digest}{}.so", if watched { "-watched" } else { "" }));
    if let Ok(bytes) = fs::read(&made) {
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
    // Others that load it see all of it or nothing.
    let whole = work.path().join("whole");
    fs::write(&whole, &bytes).and_then(|()| fs::rename(&whole, &made)).map_err(|e| e.to_string())?;
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
