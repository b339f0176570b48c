//! NVRTC of CUDA 12 and later: straight to machine code (cubin), so that the driver never compiles.

use super::error::CompileError;
use super::rtc::{Rtc, NVRTC};
use super::search::{newest, shown, Search};
use std::path::{Path, PathBuf};

/// What a text is compiled with for every CUDA chip. No contraction: fused multiply-adds are written where they are meant, or the bits
/// of a result would depend on the compiler. The last makes ptxas tell registers and spills.
pub(super) const FLAGS: [&str; 4] =
    ["--std=c++17", "--fmad=false", "--device-as-default-execution-space", "--ptxas-options=-v"];

/// 90 of `sm_90a`.
fn number(arch: &str) -> Option<u32> {
    arch.strip_prefix("sm_")?.trim_end_matches(|c: char| c.is_ascii_lowercase()).parse().ok()
}

/// The first library that knows the chip and whose code the driver takes. Drivers load code of toolkits of their own major version
/// and of older ones.
pub(super) fn find(arch: &str, search: &Search, driver: Option<(u32, u32)>) -> Result<Rtc, CompileError> {
    let usual: Vec<PathBuf> = [PathBuf::from("/usr/local/cuda"), PathBuf::from("/opt/cuda")]
        .into_iter()
        .chain(newest(Path::new("/usr/local"), |n| n.starts_with("cuda-")))
        .collect();
    let bare = ["libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so"];
    let mut looked = vec!["CUDA_HOME, CUDA_PATH, NVHPC_ROOT".to_string()];
    let mut newest_driver = None;
    for path in search.libraries("libnvrtc.so", &bare, &search.cuda, &usual) {
        let why = match Rtc::open(&path, &NVRTC) {
            // The loader's word on a bare name is always the same.
            Err(_) if path.components().count() == 1 => "not found".into(),
            Err(why) => why,
            Ok(rtc) => match fault(&rtc, arch, driver) {
                None => return Ok(rtc),
                Some(why) => {
                    newest_driver = driver.or(newest_driver);
                    format!("NVRTC {}.{}, {why}", rtc.version.0, rtc.version.1)
                }
            },
        };
        looked.push(format!("{} ({why})", shown(&path)));
    }
    looked.push("nvidia/*/lib in the Python packages".into());
    let major = newest_driver.map_or(12, |d| d.0);
    let wheel = if major >= 13 { "nvidia-cuda-nvrtc" } else { "nvidia-cuda-nvrtc-cu12" };
    let remedy = format!(
        "install CUDA's NVRTC (pip install {wheel}, or a toolkit and CUDA_HOME), or name a folder of precompiled kernels with \
         WEIR_KERNEL_DIR"
    );
    Err(CompileError::Missing { chip: arch.into(), looked, remedy })
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
