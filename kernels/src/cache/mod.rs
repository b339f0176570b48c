//! Compiled kernels kept in files: precompiled ones, which need no compiler, and those of earlier runs.

mod build;
mod file;
pub(crate) mod key;

pub use build::{build, list, Built};
pub use key::{digest_of, Key};

use crate::compile::{first, CompileError, Compiler, Image, Options};
use crate::{Chip, Source};
use file::Unread;
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// Where an image came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A file of the folder of precompiled kernels.
    Precompiled(PathBuf),
    /// A file that an earlier run left.
    Kept(PathBuf),
    /// Compiled now.
    Compiled,
}

/// An image with its history.
#[derive(Clone, Debug)]
pub struct Obtained {
    /// It.
    pub image: Image,
    /// Its origin.
    pub origin: Origin,
    /// What did not go as it should, though an image was had.
    pub warnings: Vec<String>,
}

/// Folders of images.
#[derive(Debug)]
pub struct Cache {
    precompiled: Option<PathBuf>,
    /// Named by the user: then its lacking a kernel is worth a word.
    named: bool,
    kept: Option<PathBuf>,
    spare: PathBuf,
    warned: AtomicBool,
}

impl Cache {
    /// With a folder of precompiled kernels (`WEIR_KERNEL_DIR`; none: the folder `kernels` beside the running program) and a cache folder
    /// (`WEIR_CACHE_DIR`; none: nothing is kept).
    pub fn new(precompiled: Option<&Path>, cache: Option<&Path>) -> Cache {
        let beside = || Some(std::env::current_exe().ok()?.parent()?.join("kernels"));
        // SAFETY: takes nothing and cannot fail.
        let user = unsafe { libc::geteuid() };
        Cache {
            precompiled: precompiled.map(Path::to_path_buf).or_else(beside),
            named: precompiled.is_some(),
            kept: cache.map(|c| c.join("kernels")),
            spare: std::env::temp_dir().join(format!("weir-kernels-{user}")),
            warned: AtomicBool::new(false),
        }
    }

    /// As above, with this folder when the cache folder cannot be written.
    pub fn with_spare(self, spare: &Path) -> Cache {
        Cache { spare: spare.to_path_buf(), ..self }
    }

    /// The image of a text: precompiled, else kept, else compiled and kept. For precompiled ones no compiler is needed, and those for an
    /// older chip of the same CUDA generation will do.
    ///
    /// # Errors
    /// There is none and it cannot be compiled.
    pub fn obtain(&self, source: &Source, chip: &Chip, options: &Options) -> Result<Obtained, CompileError> {
        let mut warnings = Vec::new();
        if let Some(folder) = &self.precompiled {
            for other in runs(chip) {
                let key = Key::new(source, &other, options);
                let path = folder.join(name(source, &other, &key));
                let Some(image) = look(&path, &key, &other, &mut warnings) else { continue };
                if let Some(why) = too_new(&image, options) {
                    warnings.push(format!("{} is ignored: {why}", path.display()));
                    continue;
                }
                return Ok(Obtained { image, origin: Origin::Precompiled(path), warnings });
            }
        }
        if let (true, Some(folder)) = (self.named, &self.precompiled) {
            let what = format!("{} has no kernels of {} for {chip}", folder.display(), source.name);
            warnings.push(format!("{what} that this build can use; they are compiled"));
        }
        let attempt = |compiler: &Compiler| self.obtain_by(compiler, source, chip, options, &mut warnings);
        let ((image, origin), passed_over) = first(chip, options, attempt)?;
        warnings.extend(passed_over);
        Ok(Obtained { image, origin, warnings })
    }

    /// What an earlier run has kept of this compiler's, else what it makes now.
    fn obtain_by(
        &self,
        compiler: &Compiler,
        source: &Source,
        chip: &Chip,
        options: &Options,
        warnings: &mut Vec<String>,
    ) -> Result<(Image, Origin), CompileError> {
        let key = Key::new(source, chip, options).with(&compiler.identity());
        let name = name(source, chip, &key);
        let spare = safe(&self.spare);
        for folder in self.kept.iter().chain(spare.then_some(&self.spare)) {
            let path = folder.join(&name);
            if let Some(image) = look(&path, &key, chip, warnings) {
                return Ok((image, Origin::Kept(path)));
            }
        }
        let image = compiler.compile(source, options)?;
        self.keep(&name, &key, &image, warnings);
        Ok((image, Origin::Compiled))
    }

    fn keep(&self, name: &str, key: &Key, image: &Image, warnings: &mut Vec<String>) {
        let Some(folder) = &self.kept else { return };
        let put = |folder: &Path| fs::create_dir_all(folder).and_then(|()| file::write(&folder.join(name), key, image));
        let Err(error) = put(folder) else { return };
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.spare);
        let spare = made.and_then(|()| match safe(&self.spare) {
            true => file::write(&self.spare.join(name), key, image),
            false => Err(io::Error::other("it belongs to another user, or others may write it")),
        });
        if self.warned.swap(true, Ordering::Relaxed) {
            return;
        }
        let folder = folder.display();
        let first = format!("compiled kernels cannot be kept in {folder} ({error}; name another with WEIR_CACHE_DIR)");
        warnings.push(match spare {
            Ok(()) => format!("{first}; they are kept in {}", self.spare.display()),
            Err(e) => format!("{first}, nor in {} ({e})", self.spare.display()),
        });
    }
}

/// A folder in a place that all users share is used only if nobody else could have put anything there.
fn safe(folder: &Path) -> bool {
    // SAFETY: takes nothing and cannot fail.
    let user = unsafe { libc::geteuid() };
    fs::symlink_metadata(folder).is_ok_and(|m| m.is_dir() && m.uid() == user && m.mode() & 0o022 == 0)
}

fn look(path: &Path, key: &Key, chip: &Chip, warnings: &mut Vec<String>) -> Option<Image> {
    match file::read(path, key, chip) {
        Ok(image) => Some(image),
        Err(Unread::Absent) => None,
        Err(Unread::Bad(why)) => {
            warnings.push(format!("{} is ignored: {why}", path.display()));
            None
        }
    }
}

/// Drivers load code of toolkits of their own major version and of older ones.
fn too_new(image: &Image, options: &Options) -> Option<String> {
    let (major, minor) = options.cuda?;
    let toolkit: u32 = image.compiler.strip_prefix("nvrtc ")?.split('.').next()?.parse().ok()?;
    (toolkit > major).then(|| format!("it was made by CUDA {toolkit}, and the driver has {major}.{minor}"))
}

/// `dpa3-sm_90a-0123456789abcdef01234567.kernels`
fn name(source: &Source, chip: &Chip, key: &Key) -> String {
    let plain: String =
        source.name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' }).collect();
    format!("{plain}-{chip}-{}.kernels", key.short())
}

/// Chips whose code runs on this one, the best first: machine code of CUDA runs on later chips of the same major number, unless it uses
/// the features of one chip (`sm_90a`).
fn runs(chip: &Chip) -> Vec<Chip> {
    let mut all = vec![chip.clone()];
    if let Chip::Cuda(arch) = chip {
        let digits = arch.trim_start_matches("sm_").trim_end_matches(|c: char| c.is_ascii_lowercase());
        if let Ok(number) = digits.parse::<u32>() {
            let older = (number / 10 * 10..=number).rev().map(|n| Chip::Cuda(format!("sm_{n}")));
            all.extend(older.filter(|c| c != chip));
        }
    }
    all
}
