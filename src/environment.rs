//! `WEIR_` variables: known ones are read, the others are errors, so that a misspelt one is never passed over in silence.

use crate::policy::{Layer, Setting};
use crate::problem::Usage;
use std::path::PathBuf;
use std::str::FromStr;

/// Everything the environment (and the file it names) says.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// Settings of the variables.
    pub variables: Layer,
    /// Settings of the file `WEIR_CONFIG` names.
    pub file: Layer,
    /// Log level.
    pub log: Option<Setting<String>>,
}

/// Variables that mean something here.
const KNOWN: [&str; 7] =
    ["WEIR_BACKEND", "WEIR_HEAD", "WEIR_PRECISION", "WEIR_THREADS", "WEIR_CHECKPOINT", "WEIR_LOG", "WEIR_CONFIG"];
/// Variables of GPU and placement versions: harmless with these values, refused with others.
const ABSENT: [(&str, &[&str]); 9] = [
    ("WEIR_PLACEMENT", &["auto"]),
    ("WEIR_HBM_BUDGET", &[]),
    ("WEIR_HOST_BUDGET", &[]),
    ("WEIR_FILE_BUDGET", &["0"]),
    ("WEIR_STORE", &["exact", "auto"]),
    ("WEIR_NUMA_NODE", &[]),
    ("WEIR_GRAPH", &["on", "off"]),
    ("WEIR_PROFILE", &[]),
    ("WEIR_SCRATCH_DIR", &[]),
];
/// Variables that cannot change a CPU run.
const HARMLESS: [&str; 4] = ["WEIR_DEVICE", "WEIR_CACHE_DIR", "WEIR_KERNEL_DIR", "WEIR_SHARED"];
/// What module systems set for any package.
const MODULES: [&str; 7] = ["ROOT", "HOME", "DIR", "VERSION", "LIB", "INC", "BASE"];

/// `; did you mean X?` with the name nearest to a wrong one.
pub fn hint<'a>(name: &str, names: impl IntoIterator<Item = &'a str>) -> String {
    // The common prefix of all variables would make every pair look alike.
    let plain = |n: &str| n.trim_start_matches("WEIR_").to_lowercase();
    let likeness = |n: &str| strsim::jaro_winkler(&plain(name), &plain(n));
    let best = names.into_iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    best.map_or(String::new(), |n| format!("; did you mean {n}?"))
}

fn value<T: FromStr<Err = String>>(origin: &str, text: &str) -> Result<Setting<T>, Usage> {
    Ok(Setting::new(text.parse().map_err(|e: String| Usage(format!("{origin}: {e}")))?, origin))
}

/// A thread count.
///
/// # Errors
/// Anything but a positive number.
pub fn threads(origin: &str, text: &str) -> Result<Setting<usize>, Usage> {
    match text.trim().parse::<usize>() {
        Ok(n) if (1..=65_536).contains(&n) => Ok(Setting::new(n, origin)),
        _ => Err(Usage(format!("{origin}: \"{text}\" is not a number of threads (1 to 65536)"))),
    }
}

/// Checks the name of a backend.
///
/// # Errors
/// Backends that are not in this version, and what is none.
pub fn backend(origin: &str, name: &str) -> Result<(), Usage> {
    match name {
        "auto" | "cpu" => Ok(()),
        "cuda" | "hip" | "emulated" | "wgpu" => Err(Usage(format!(
            "{origin}: the backend {name} is not in this version, which computes on the CPU; set it to cpu"
        ))),
        _ => Err(Usage(format!("{origin}: \"{name}\" is not a backend: choose auto or cpu"))),
    }
}

fn set(
    name: &str,
    origin: &str,
    text: &str,
    layer: &mut Layer,
    log: &mut Option<Setting<String>>,
) -> Result<(), Usage> {
    match name {
        "backend" => backend(origin, text)?,
        "head" => layer.head = Some(Setting::new(text.to_string(), origin)),
        "precision" => layer.precision = Some(value(origin, text)?),
        "threads" => layer.threads = Some(threads(origin, text)?),
        "checkpoint" => layer.checkpoint = Some(value(origin, text)?),
        "log" => *log = Some(Setting::new(text.to_string(), origin)),
        _ => unreachable!("checked against the known names"),
    }
    Ok(())
}

impl Environment {
    /// Reads the process environment.
    ///
    /// # Errors
    /// Unknown names, wrong values, an unreadable `WEIR_CONFIG`.
    pub fn read() -> Result<Self, Usage> {
        let all = std::env::vars_os().filter_map(|(k, v)| {
            let name = k.into_string().ok().filter(|n| n.starts_with("WEIR_"))?;
            Some((name, v.to_string_lossy().into_owned()))
        });
        Self::from_pairs(all)
    }

    fn from_pairs(pairs: impl IntoIterator<Item = (String, String)>) -> Result<Self, Usage> {
        let mut environment = Environment::default();
        for (name, text) in pairs {
            if text.is_empty() {
                continue;
            }
            let name = name.as_str();
            if name == "WEIR_CONFIG" {
                let log = &mut environment.log;
                environment.file = read_file(&PathBuf::from(&text), log)?;
            } else if KNOWN.contains(&name) {
                let key = name["WEIR_".len()..].to_lowercase();
                // The variable wins over the file, whichever came first.
                let mut log = None;
                set(&key, name, &text, &mut environment.variables, &mut log)?;
                environment.log = log.or(environment.log.take());
            } else if let Some((_, allowed)) = ABSENT.iter().find(|(n, _)| *n == name) {
                if !allowed.contains(&text.as_str()) {
                    return Err(Usage(format!("{name} is not in this version: unset it")));
                }
            } else if !HARMLESS.contains(&name) && !MODULES.iter().any(|m| name["WEIR_".len()..] == **m) {
                let names = KNOWN.iter().chain(&HARMLESS[..3]).copied().chain(ABSENT.iter().map(|(n, _)| *n));
                return Err(Usage(format!("unknown environment variable {name}{}", hint(name, names))));
            }
        }
        Ok(environment)
    }
}

/// Reads the file that `WEIR_CONFIG` names. The log level goes to `log` unless a variable has set it.
fn read_file(path: &std::path::Path, log: &mut Option<Setting<String>>) -> Result<Layer, Usage> {
    let origin = format!("WEIR_CONFIG ({})", path.display());
    let text = std::fs::read_to_string(path).map_err(|e| Usage(format!("{origin}: {e}")))?;
    let table: toml::Table = text.parse().map_err(|e| Usage(format!("{origin}: {e}")))?;
    let keys = ["backend", "head", "precision", "threads", "checkpoint", "log"];
    let (mut layer, mut level) = (Layer::default(), None);
    for (key, value) in &table {
        if !keys.contains(&key.as_str()) {
            return Err(Usage(format!("{origin}: unknown key {key}{}", hint(key, keys))));
        }
        let text = match value {
            toml::Value::String(s) => s.clone(),
            toml::Value::Integer(i) => i.to_string(),
            other => return Err(Usage(format!("{origin}: {key} must be text or a number, not {}", other.type_str()))),
        };
        set(key, &format!("{origin}, {key}"), &text, &mut layer, &mut level)?;
    }
    *log = log.take().filter(|l| l.origin == "WEIR_LOG").or(level);
    Ok(layer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Environment, String> {
        Environment::from_pairs(pairs.iter().map(|(k, v)| (k.to_string(), v.to_string()))).map_err(|e| e.to_string())
    }

    #[test]
    fn a_misspelt_variable_is_an_error_with_the_nearest_name() {
        assert!(read(&[("WEIR_THREAD", "2")]).unwrap_err().contains("WEIR_THREADS"));
        assert!(read(&[("WEIR_HAED", "x")]).unwrap_err().contains("WEIR_HEAD"));
        assert!(read(&[("WEIR_ZZZZZZZZZZZZ", "x")]).unwrap_err().contains("unknown"));
    }

    #[test]
    fn module_systems_and_harmless_variables_pass() {
        for name in ["ROOT", "HOME", "DIR", "VERSION", "LIB", "INC", "BASE", "DEVICE", "CACHE_DIR", "SHARED"] {
            read(&[(&format!("WEIR_{name}"), "/opt/weir")]).unwrap();
        }
        read(&[("WEIR_PLACEMENT", "auto"), ("WEIR_BACKEND", "cpu"), ("WEIR_STORE", "exact")]).unwrap();
    }

    #[test]
    fn what_is_not_in_this_version_is_refused_in_a_sentence() {
        for (name, value) in [
            ("WEIR_BACKEND", "cuda"),
            ("WEIR_BACKEND", "emulated"),
            ("WEIR_PLACEMENT", "hbm,pinned"),
            ("WEIR_HOST_BUDGET", "60GiB"),
            ("WEIR_PROFILE", "trace.json"),
            ("WEIR_PRECISION", "tf32"),
        ] {
            let message = read(&[(name, value)]).unwrap_err();
            assert!(message.contains(name) && message.contains("not in this version"), "{message}");
        }
    }

    #[test]
    fn values_are_checked() {
        for (name, value) in
            [("WEIR_THREADS", "0"), ("WEIR_THREADS", "two"), ("WEIR_CHECKPOINT", "every:0"), ("WEIR_BACKEND", "gpu")]
        {
            assert!(read(&[(name, value)]).unwrap_err().contains(value));
        }
        let e = read(&[("WEIR_THREADS", "7"), ("WEIR_HEAD", "Omat24")]).unwrap();
        assert_eq!(e.variables.threads.unwrap().value, 7);
        assert_eq!(e.variables.head.unwrap().value, "Omat24");
    }

    #[test]
    fn the_configuration_file_is_read_and_the_variable_wins_over_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weir.toml");
        std::fs::write(&path, "threads = 3\nlog = \"debug\"\nhead = \"A\"\n").unwrap();
        let path = path.to_str().unwrap();
        for pairs in [[("WEIR_CONFIG", path), ("WEIR_LOG", "warn")], [("WEIR_LOG", "warn"), ("WEIR_CONFIG", path)]] {
            let e = read(&pairs).unwrap();
            assert_eq!(e.file.threads.as_ref().unwrap().value, 3);
            assert_eq!(e.log.unwrap().value, "warn");
        }
        std::fs::write(path, "thread = 3").unwrap();
        assert!(read(&[("WEIR_CONFIG", path)]).unwrap_err().contains("did you mean threads"));
        assert!(read(&[("WEIR_CONFIG", "/nowhere.toml")]).unwrap_err().contains("/nowhere.toml"));
    }
}
