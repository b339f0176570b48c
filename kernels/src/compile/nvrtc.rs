//! NVRTC of CUDA 12 and later: straight to machine code (cubin), so that the driver never compiles.

use super::error::CompileError;
use super::rtc::{Rtc, NVRTC};
use super::search::{newest, shown, Search};
use std::collections::HashSet;
use std::path::{Path, PathBuf};

/// What a text is compiled with for every CUDA chip. No contraction: fused multiply-adds are written where they are meant, or the bits
/// of a result would depend on the compiler. The last makes ptxas tell registers and spills.
pub(super) const FLAGS: [&str; 4] =
    ["--std=c++17", "--fmad=false", "--device-as-default-execution-space", "--ptxas-options=-v"];

/// 90 of `sm_90a`.
fn number(arch: &str) -> Option<u32> {
    arch.strip_prefix("sm_")?.trim_end_matches(|c: char| c.is_ascii_lowercase()).parse().ok()
}

/// Libraries that know a chip and whose code the driver takes, the best first; one is opened when those before it were of no use. Drivers
/// load code of toolkits of their own major version and of older ones.
pub(super) struct Found<'a> {
    arch: &'a str,
    driver: Option<(u32, u32)>,
    paths: std::vec::IntoIter<PathBuf>,
    /// Files that were opened: two paths may lead to one.
    seen: HashSet<PathBuf>,
    looked: Vec<String>,
    /// A driver that some library did not fit.
    unmet: Option<u32>,
}

pub(super) fn find<'a>(arch: &'a str, search: &Search, driver: Option<(u32, u32)>) -> Found<'a> {
    let usual: Vec<PathBuf> = [PathBuf::from("/usr/local/cuda"), PathBuf::from("/opt/cuda")]
        .into_iter()
        .chain(newest(Path::new("/usr/local"), |n| n.starts_with("cuda-")))
        .collect();
    let bare = ["libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so"];
    let paths = search.libraries("libnvrtc.so", &bare, &search.cuda, &usual).into_iter();
    let looked = vec!["CUDA_HOME, CUDA_PATH, NVHPC_ROOT".to_string()];
    Found { arch, driver, paths, seen: HashSet::new(), looked, unmet: None }
}

impl Iterator for Found<'_> {
    type Item = Rtc;

    fn next(&mut self) -> Option<Rtc> {
        for path in self.paths.by_ref() {
            let why = match Rtc::open(&path, &NVRTC) {
                // The loader's word on a bare name is always the same.
                Err(_) if path.components().count() == 1 => "not found".into(),
                Err(why) => why,
                Ok(rtc) => match fault(&rtc, self.arch, self.driver) {
                    None if self.seen.insert(rtc.path.canonicalize().unwrap_or_else(|_| rtc.path.clone())) => {
                        return Some(rtc);
                    }
                    None => continue,
                    Some(why) => {
                        self.unmet = self.driver.map(|d| d.0).or(self.unmet);
                        format!("NVRTC {}.{}, {why}", rtc.version.0, rtc.version.1)
                    }
                },
            };
            self.looked.push(format!("{} ({why})", shown(&path)));
        }
        None
    }
}

impl Found<'_> {
    /// There was none.
    pub(super) fn missing(self) -> CompileError {
        let mut looked = self.looked;
        looked.push("nvidia/*/lib in the Python packages".into());
        let wheel = if self.unmet.unwrap_or(12) >= 13 { "nvidia-cuda-nvrtc" } else { "nvidia-cuda-nvrtc-cu12" };
        let remedy = format!(
            "install CUDA's NVRTC (pip install {wheel}, or a toolkit and CUDA_HOME), or name a folder of precompiled kernels with \
             WEIR_KERNEL_DIR"
        );
        CompileError::Missing { chip: self.arch.into(), looked, remedy }
    }
}

/// What may help where a library refuses a text: older ones lack parts of the language.
pub(super) fn hint(rtc: &Rtc) -> Option<&'static str> {
    (rtc.version < (12, 8)).then_some("a newer NVRTC may take it: pip install nvidia-cuda-nvrtc-cu12")
}

/// Why a library does not fit.
fn fault(rtc: &Rtc, arch: &str, driver: Option<(u32, u32)>) -> Option<String> {
    if rtc.version.0 < 12 {
        return Some("too old".into());
    }
    if let Some((major, minor)) = driver.filter(|d| rtc.version.0 > d.0) {
        return Some(format!("too new for the driver's CUDA {major}.{minor}"));
    }
    let known = rtc.archs()?;
    match number(arch) {
        Some(n) if known.contains(&n) => None,
        _ => Some(format!("which does not know {arch}, only {known:?}")),
    }
}

pub(super) fn options(arch: &str) -> Vec<String> {
    let mut options = vec![format!("--gpu-architecture={arch}"), "--define-macro=WEIR_CUDA=1".into()];
    options.extend(FLAGS.map(String::from));
    options
}
