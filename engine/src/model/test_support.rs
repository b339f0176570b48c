//! Where tests find files.

use std::path::{Path, PathBuf};

/// The folder of shared fixtures: `WEIR_SHARED`, or `shared` beside the workspace; absent on most machines.
pub fn shared() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    let beside = [Some(root.join("../shared")), std::env::var_os("WEIR_SHARED").map(PathBuf::from)];
    let found = beside.into_iter().rev().flatten().find(|p| p.join("fixtures").is_dir());
    if found.is_none() {
        println!("skipped: no shared fixtures (set WEIR_SHARED)");
    }
    found
}
