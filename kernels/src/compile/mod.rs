//! Run-time compilation: NVRTC for CUDA, hiprtc or a clang for AMD.

mod clang;
mod error;
mod hiprtc;
mod nvrtc;
mod rtc;
mod search;

pub use error::CompileError;
pub use search::Search;

use crate::{Chip, Source};
use clang::Clang;
use rtc::Rtc;

/// Which compiler makes code for AMD chips.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HipCompiler {
    /// hiprtc, and where there is none a clang.
    #[default]
    Any,
    /// hiprtc.
    Hiprtc,
    /// A clang with lld: the code does not depend on ROCm's version.
    Clang,
}

/// How a text is compiled.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// CUDA version of the driver that will run the image, where there is one: code of a newer major version is not loaded.
    pub cuda: Option<(u32, u32)>,
    /// For AMD chips.
    pub hip: HipCompiler,
    /// Further compiler options.
    pub extra: Vec<String>,
    /// Where compilers are looked for.
    pub search: Search,
}

impl Options {
    /// Compilers of this machine.
    pub fn here() -> Options {
        Options { search: Search::here(), ..Options::default() }
    }
}

/// Compiled kernels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// What it runs on.
    pub chip: Chip,
    /// What the driver loads: a cubin, a code object, a shared library.
    pub bytes: Vec<u8>,
    /// What the compiler said; resources are read from it.
    pub log: String,
    /// The compiler with its version.
    pub compiler: String,
}

/// A compiler that was found.
#[derive(Clone)]
pub struct Compiler {
    kind: Kind,
    chip: Chip,
}

#[derive(Clone)]
enum Kind {
    Nvrtc(Rtc),
    Hiprtc(Rtc),
    Clang(Clang),
    /// The host's C++ compiler, with its name and version.
    #[cfg(feature = "emulated")]
    Host(String),
}

impl Compiler {
    /// The compiler for a chip: the first that there is, whether it takes a text or not ([`compile`] goes on to the next).
    ///
    /// # Errors
    /// [`CompileError::Missing`] with every place that was looked at.
    pub fn find(chip: &Chip, options: &Options) -> Result<Compiler, CompileError> {
        let kind = match chip {
            Chip::Cuda(arch) => {
                let mut found = nvrtc::find(arch, &options.search, options.cuda);
                match found.next() {
                    Some(rtc) => Kind::Nvrtc(rtc),
                    None => return Err(found.missing()),
                }
            }
            Chip::Hip(arch) => hip(arch, options)?,
            #[cfg(feature = "emulated")]
            Chip::Host => Kind::Host(crate::host::identity().map_err(|e| CompileError::Missing {
                chip: chip.to_string(),
                looked: vec!["CXX, c++, g++".into()],
                remedy: e.to_string(),
            })?),
            #[cfg(not(feature = "emulated"))]
            Chip::Host => {
                let remedy = "this program was built without the emulated device (cargo feature emulated)".into();
                return Err(CompileError::Missing { chip: chip.to_string(), looked: vec!["nothing".into()], remedy });
            }
        };
        Ok(Compiler { kind, chip: chip.clone() })
    }

    /// Name, version and build: part of the key of a kept image.
    pub fn identity(&self) -> String {
        match &self.kind {
            Kind::Nvrtc(rtc) | Kind::Hiprtc(rtc) => rtc.identity(),
            Kind::Clang(clang) => clang.identity(),
            #[cfg(feature = "emulated")]
            Kind::Host(name) => name.clone(),
        }
    }

    /// Name and version alone, as the table of resources has them: `nvrtc 12.8`, `clang 19.1.7`.
    pub fn version(&self) -> String {
        match &self.kind {
            Kind::Nvrtc(rtc) | Kind::Hiprtc(rtc) => rtc.version(),
            Kind::Clang(clang) => clang.version(),
            #[cfg(feature = "emulated")]
            Kind::Host(name) => name.clone(),
        }
    }

    /// Compiles a text for the chip that this compiler was found for.
    ///
    /// # Errors
    /// [`CompileError::Refused`] with the log; failures of the compiler itself.
    pub fn compile(&self, source: &Source, options: &Options) -> Result<Image, CompileError> {
        let all = self.flags(source, options);
        let (bytes, log) = match &self.kind {
            Kind::Nvrtc(rtc) => {
                rtc.compile(&source.name, &source.text, &all, |log| self.refused(source, log, nvrtc::hint(rtc)))?
            }
            Kind::Hiprtc(rtc) => {
                rtc.compile(&source.name, &source.text, &all, |log| self.refused(source, log, None))?
            }
            Kind::Clang(clang) => clang.compile(&source.text, &all, |log, hint| self.refused(source, log, hint))?,
            #[cfg(feature = "emulated")]
            Kind::Host(_) => (self.host(source, options)?, String::new()),
        };
        Ok(Image { chip: self.chip.clone(), bytes, log, compiler: self.identity() })
    }

    fn flags(&self, source: &Source, options: &Options) -> Vec<String> {
        let mut all = flags(&self.chip);
        all.extend(source.defines.iter().map(|(name, value)| format!("-D{name}={value}")));
        all.extend(options.extra.iter().cloned());
        all
    }

    fn refused(&self, source: &Source, log: String, hint: Option<&'static str>) -> CompileError {
        let (name, chip, compiler) = (source.name.clone(), self.chip.to_string(), self.identity());
        CompileError::Refused { name, chip, compiler, hint, log }
    }
}

#[cfg(feature = "emulated")]
impl Compiler {
    /// PTX of a text, from which the image of a CUDA chip is made.
    ///
    /// # Errors
    /// As [`Compiler::compile`]; other compilers than NVRTC refuse.
    pub fn ptx(&self, source: &Source) -> Result<String, CompileError> {
        let Kind::Nvrtc(rtc) = &self.kind else { return Err(self.refused(source, "it makes no PTX".into(), None)) };
        let mut flags = self.flags(source, &Options::default());
        // Else machine code would be made too.
        for flag in &mut flags {
            *flag = flag.replace("--gpu-architecture=sm_", "--gpu-architecture=compute_");
        }
        let refused = |log| self.refused(source, log, None);
        let bytes = rtc.telling_ptx()?.compile(&source.name, &source.text, &flags, refused)?.0;
        Ok(String::from_utf8_lossy(&bytes).trim_end_matches('\0').to_string())
    }

    /// LLVM's intermediate form of a text, from which the image of an AMD chip is made.
    ///
    /// # Errors
    /// As [`Compiler::compile`]; other compilers than clang refuse.
    pub fn intermediate(&self, source: &Source) -> Result<String, CompileError> {
        let refused = |log, hint| self.refused(source, log, hint);
        let Kind::Clang(clang) = &self.kind else { return Err(refused("it tells no intermediate form".into(), None)) };
        clang.intermediate(&source.text, &self.flags(source, &Options::default()), refused)
    }

    /// Assembly of this machine made of such a form by the same clang; `source` is named in errors.
    ///
    /// # Errors
    /// As [`Compiler::compile`]; other compilers than clang refuse.
    pub fn assembly(&self, source: &Source, ir: &str) -> Result<String, CompileError> {
        let refused = |log, hint| self.refused(source, log, hint);
        let Kind::Clang(clang) = &self.kind else { return Err(refused("it makes no assembly".into(), None)) };
        clang.assembly(ir, refused)
    }

    fn host(&self, source: &Source, options: &Options) -> Result<Vec<u8>, CompileError> {
        let io = |e: std::io::Error| CompileError::Io { path: std::env::temp_dir(), cause: e.to_string() };
        let folder = tempfile::tempdir().map_err(io)?;
        let flags: Vec<&str> = options.extra.iter().map(String::as_str).collect();
        crate::host::compile(source, folder.path(), &flags).map_err(|e| self.refused(source, e.to_string(), None))
    }
}

/// The options of every text for a chip.
pub(crate) fn flags(chip: &Chip) -> Vec<String> {
    match chip {
        Chip::Cuda(arch) => nvrtc::options(arch),
        Chip::Hip(arch) => hiprtc::options(arch),
        Chip::Host => Vec::new(),
    }
}

/// Options of single compilers, which shape images too.
pub(crate) fn own_flags(chip: &Chip) -> &'static [&'static str] {
    match chip {
        Chip::Hip(_) => &clang::FLAGS,
        Chip::Cuda(_) | Chip::Host => &[],
    }
}

fn hip(arch: &str, options: &Options) -> Result<Kind, CompileError> {
    let mut looked = Vec::new();
    if options.hip != HipCompiler::Clang {
        match hiprtc::find(&options.search) {
            Ok(rtc) => return Ok(Kind::Hiprtc(rtc)),
            Err(places) => looked.extend(places),
        }
    }
    if options.hip != HipCompiler::Hiprtc {
        match clang::find(arch, &options.search) {
            Ok(clang) => return Ok(Kind::Clang(clang)),
            Err(places) => looked.extend(places),
        }
    }
    looked.insert(0, "ROCM_PATH, HIP_PATH".into());
    let remedy = "install ROCm's hiprtc, or a clang that knows the chip with its lld (Debian: apt-get install clang-19 lld-19), or name a \
                  folder of precompiled kernels with WEIR_KERNEL_DIR"
        .into();
    Err(CompileError::Missing { chip: arch.into(), looked, remedy })
}

/// Compiles with the first compiler that can: an old toolkit that the environment names, or one with parts missing, hides no other.
///
/// # Errors
/// As [`Compiler::find`]; what the one that there is says, or [`CompileError::Failed`] with the words of all.
pub fn compile(source: &Source, chip: &Chip, options: &Options) -> Result<Image, CompileError> {
    first(chip, options, |compiler| compiler.compile(source, options)).map(|(image, _)| image)
}

/// What an attempt gives with the first compiler that it succeeds with, and words about those before.
///
/// # Errors
/// As [`compile`].
pub(crate) fn first<T>(
    chip: &Chip,
    options: &Options,
    mut attempt: impl FnMut(&Compiler) -> Result<T, CompileError>,
) -> Result<(T, Vec<String>), CompileError> {
    let Chip::Cuda(arch) = chip else { return Ok((attempt(&Compiler::find(chip, options)?)?, Vec::new())) };
    let mut found = nvrtc::find(arch, &options.search, options.cuda);
    let (mut failed, mut words) = (Vec::new(), Vec::new());
    for rtc in found.by_ref() {
        let place = rtc.path.display().to_string();
        match attempt(&Compiler { kind: Kind::Nvrtc(rtc), chip: chip.clone() }) {
            Ok(made) => return Ok((made, words)),
            Err(null @ CompileError::Null(_)) => return Err(null),
            Err(error) => {
                words.push(format!("{place} is passed over: {}", error.brief()));
                failed.push(error);
            }
        }
    }
    match failed.len() {
        0 => Err(found.missing()),
        1 => Err(failed.remove(0)),
        _ => Err(CompileError::Failed(failed)),
    }
}
