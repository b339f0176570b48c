//! hiprtc: AMD's compiler as a library.

use super::rtc::{Rtc, HIPRTC};
use super::search::{newest, shown, Search};
use std::path::{Path, PathBuf};

/// What a text is compiled with for every AMD chip, by hiprtc and by clang. As for CUDA no contraction; the last makes the compiler tell
/// registers and spills.
pub(super) const FLAGS: [&str; 4] = ["-std=c++17", "-O3", "-ffp-contract=off", "-Rpass-analysis=kernel-resource-usage"];

/// The first library that opens, else what was looked for.
pub(super) fn find(search: &Search) -> Result<Rtc, Vec<String>> {
    let usual: Vec<PathBuf> =
        [PathBuf::from("/opt/rocm")].into_iter().chain(newest(Path::new("/opt"), |n| n.starts_with("rocm-"))).collect();
    let bare = ["libhiprtc.so", "libhiprtc.so.7", "libhiprtc.so.6"];
    let mut looked = Vec::new();
    for path in search.libraries("libhiprtc.so", &bare, &search.rocm, &usual) {
        match Rtc::open(&path, &HIPRTC) {
            Ok(rtc) => return Ok(rtc),
            Err(_) if path.components().count() == 1 => looked.push(format!("{} (not found)", shown(&path))),
            Err(why) => looked.push(format!("{} ({why})", shown(&path))),
        }
    }
    Err(looked)
}

pub(super) fn options(arch: &str) -> Vec<String> {
    let mut options = vec![format!("--offload-arch={arch}"), "-DWEIR_HIP=1".into()];
    options.extend(FLAGS.map(String::from));
    options
}
