//! Where compilers may lie.

use std::collections::HashSet;
use std::env::split_paths;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

/// Folders to look into; a pure function of variables, so that tests can name their own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Search {
    /// CUDA toolkits that the environment names.
    pub cuda: Vec<PathBuf>,
    /// ROCm installations that the environment names.
    pub rocm: Vec<PathBuf>,
    /// Folders of Python packages.
    pub packages: Vec<PathBuf>,
    /// Folders of programs.
    pub programs: Vec<PathBuf>,
    /// The dynamic loader is asked too (`LD_LIBRARY_PATH`, `ld.so.conf`), and the usual places (`/usr/local/cuda`, `/opt/rocm`).
    pub system: bool,
}

impl Search {
    /// Of this process.
    pub fn here() -> Search {
        let mut search = Search { system: true, ..Search::from(|name| std::env::var_os(name)) };
        // The program may be the Python that loaded this library.
        let prefix = std::env::current_exe().ok().and_then(|e| Some(e.parent()?.parent()?.to_path_buf()));
        search.packages.extend(prefix.iter().flat_map(|p| packages(p)).filter(|p| p.is_dir()));
        search
    }

    /// What variables name: `CUDA_HOME`, `CUDA_PATH`, `NVHPC_ROOT`; `ROCM_PATH`, `HIP_PATH`; `PYTHONPATH`, `VIRTUAL_ENV`, `CONDA_PREFIX`,
    /// `HOME` and the interpreters on `PATH` for Python packages; `PATH`.
    pub fn from(variable: impl Fn(&str) -> Option<OsString>) -> Search {
        let folder = |name: &str| variable(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        let named = |names: &[&str]| names.iter().filter_map(|n| folder(n)).collect::<Vec<_>>();
        let programs: Vec<PathBuf> = variable("PATH").map(|p| split_paths(&p).collect()).unwrap_or_default();
        let mut cuda = named(&["CUDA_HOME", "CUDA_PATH"]);
        if let Some(root) = folder("NVHPC_ROOT") {
            cuda.push(root.join("cuda"));
            // One toolkit per folder `cuda/12.6`.
            cuda.extend(newest(&root.join("cuda"), |n| n.starts_with(|c: char| c.is_ascii_digit())));
        }
        cuda.extend(folder("CONDA_PREFIX"));
        let mut all: Vec<PathBuf> = variable("PYTHONPATH").map(|p| split_paths(&p).collect()).unwrap_or_default();
        let interpreters = programs.iter().filter(|p| p.join("python3").exists()).filter_map(|p| p.parent());
        let prefixes = named(&["VIRTUAL_ENV", "CONDA_PREFIX"])
            .into_iter()
            .chain(interpreters.map(Path::to_path_buf))
            .chain(folder("HOME").map(|h| h.join(".local")));
        all.extend(prefixes.flat_map(|p| packages(&p)));
        all.retain(|p| p.is_dir());
        Search { cuda, rocm: named(&["ROCM_PATH", "HIP_PATH"]), packages: all, programs, system: false }
    }

    /// Files that may be the library `stem` (`libnvrtc.so`), in the order in which they are tried: named installations, then bare
    /// names for the loader, then Python packages, then the usual places.
    pub(super) fn libraries(&self, stem: &str, bare: &[&str], named: &[PathBuf], usual: &[PathBuf]) -> Vec<PathBuf> {
        let triple = if cfg!(target_arch = "aarch64") { "targets/sbsa-linux/lib" } else { "targets/x86_64-linux/lib" };
        let inside = |root: &PathBuf| [root.join("lib64"), root.join("lib"), root.join(triple)];
        let versions = |folder: PathBuf| newest(&folder, |n| n == stem || n.starts_with(&format!("{stem}.")));
        let mut all: Vec<PathBuf> = named.iter().flat_map(inside).flat_map(versions).collect();
        if self.system {
            all.extend(bare.iter().map(PathBuf::from));
        }
        // Wheels: nvidia/cuda_nvrtc/lib (CUDA 12), nvidia/cu13/lib.
        for nvidia in self.packages.iter().map(|p| p.join("nvidia")) {
            all.extend(newest(&nvidia, |_| true).into_iter().map(|p| p.join("lib")).flat_map(versions));
        }
        if self.system {
            all.extend(usual.iter().flat_map(inside).flat_map(versions));
        }
        let mut seen = HashSet::new();
        all.retain(|path| seen.insert(path.canonicalize().unwrap_or_else(|_| path.clone())));
        all
    }
}

/// Folders of Python packages under a prefix, as `sys.prefix` names them. What root's pip installs for a system's Python lies in its `local`.
fn packages(prefix: &Path) -> Vec<PathBuf> {
    let local = prefix.ends_with("usr").then(|| prefix.join("local"));
    let roots = local.iter().map(PathBuf::as_path).chain([prefix]);
    let pythons = roots.flat_map(|root| newest(&root.join("lib"), |n| n.starts_with("python3")));
    pythons.flat_map(|p| ["site-packages", "dist-packages"].map(|name| p.join(name))).collect()
}

/// What a folder holds under good names, highest numbers first: `libnvrtc.so.13`, `libnvrtc.so.12`, `libnvrtc.so`.
pub(super) fn newest(folder: &Path, good: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let names = entries.filter_map(|e| e.ok()?.file_name().into_string().ok());
    let mut names: Vec<String> = names.filter(|n| good(n)).collect();
    let key = |name: &String| -> Vec<u32> {
        name.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse().ok()).collect()
    };
    names.sort_by(|a, b| (key(b), a).cmp(&(key(a), b)));
    names.into_iter().map(|n| folder.join(n)).collect()
}

/// A short name for messages.
pub(super) fn shown(path: &Path) -> String {
    let bare = path.parent().is_some_and(|p| p.as_os_str() == OsStr::new(""));
    if bare {
        format!("{} (loader)", path.display())
    } else {
        path.display().to_string()
    }
}
