//! The variables.

/// A variable: `WEIR_` and the key in capitals. The key is also the name in the configuration file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Name {
    /// Without `WEIR_`, in small letters.
    pub key: &'static str,
    /// What may be written.
    pub values: &'static str,
    /// What holds otherwise.
    pub default: &'static str,
}

const fn name(key: &'static str, values: &'static str, default: &'static str) -> Name {
    Name { key, values, default }
}

/// All of them, in the order of the documentation.
pub const NAMES: [Name; 25] = [
    name("backend", "auto, cpu, cuda, hip, emulated", "auto"),
    name("device", "index, taken modulo the device count", "the local rank, else 0"),
    name("head", "branch of a multi-task model", "none"),
    name("placement", "auto, or tiers such as hbm,pinned,file", "auto"),
    name("hbm_budget", "60GiB, 60GB or 60G (both read as GiB), 80%", "90 % of free"),
    name("host_budget", "as WEIR_HBM_BUDGET", "70 % of the host share"),
    name("file_budget", "as WEIR_HBM_BUDGET", "0; 80 % of the folder's free space where file is named"),
    name("checkpoint", "auto, all, every:K", "auto"),
    name("inside", "auto, rebuild, keep", "auto"),
    name("store", "exact, f32, f16, bf16, auto", "exact"),
    name("precision", "model, f64, f32, tf32x3, f16x3, tf32, bf16", "model"),
    name("threads", "1 to 65536", "affinity and cgroup, then OMP_NUM_THREADS"),
    name("simd", "auto, avx512, avx2, neon, scalar", "auto"),
    name("numa_node", "node for host memory", "the device's own node"),
    name("scratch_dir", "folder of the file tier", "the system's temporary folder"),
    name("cache_dir", "folder of compiled kernels and link tables", "the user's cache"),
    name("kernel_dir", "folder of precompiled kernels", "beside the binary"),
    name("graph", "on, off", "on"),
    name("streams", "1, 2", "2; 1 with HIP"),
    name("blocks", "1 to 16", "4; 3 with tf32x3, f16x3 and tf32"),
    name("verify", "auto, always, never", "auto"),
    name("profile", "path of a trace", "off"),
    name("log", "level", "info"),
    name("config", "path of a configuration file", "none"),
    name("shared", "fixtures of long tests", "none"),
];

/// What module systems set for any package; not ours to judge.
pub const MODULES: [&str; 7] = ["ROOT", "HOME", "DIR", "VERSION", "LIB", "INC", "BASE"];

/// Keys that only the environment may set.
pub(super) const OUTSIDE_FILE: [&str; 2] = ["config", "shared"];

/// The one of `names` that looks most like `text`; capitals and a `WEIR_` in front do not count.
pub fn nearest<'a>(text: &str, names: impl IntoIterator<Item = &'a str>) -> &'a str {
    let plain = |n: &str| n.trim_start_matches("WEIR_").to_lowercase();
    let likeness = |n: &&str| strsim::jaro_winkler(&plain(text), &plain(n));
    names.into_iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b))).unwrap_or("")
}

/// The variable of a key.
pub(super) fn variable(key: &str) -> String {
    format!("WEIR_{}", key.to_uppercase())
}
