//! Settings of one source.

use super::names::NAMES;
use super::{nearest, Backend, Budget, CheckpointRule, Inside, Placement, PolicyError, Precision, Simd, Store, Verify};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;

/// A value and where it came from.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting<T> {
    /// The value.
    pub value: T,
    /// Flag, variable, file, or `automatic`.
    pub origin: String,
}

impl<T> Setting<T> {
    /// A value with its origin.
    pub fn new(value: T, origin: impl Into<String>) -> Self {
        Setting { value, origin: origin.into() }
    }

    /// A value that nobody asked for.
    pub fn automatic(value: T) -> Self {
        Setting::new(value, "automatic")
    }

    /// Whether nobody asked for it.
    pub fn is_automatic(&self) -> bool {
        self.origin == "automatic"
    }
}

/// Settings of flags, of the environment, or of the file; see [`NAMES`] for their meaning.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs)]
pub struct Layer {
    pub backend: Option<Setting<Backend>>,
    pub device: Option<Setting<usize>>,
    pub head: Option<Setting<String>>,
    pub placement: Option<Setting<Placement>>,
    pub hbm_budget: Option<Setting<Budget>>,
    pub host_budget: Option<Setting<Budget>>,
    pub file_budget: Option<Setting<Budget>>,
    pub checkpoint: Option<Setting<CheckpointRule>>,
    pub inside: Option<Setting<Inside>>,
    pub store: Option<Setting<Store>>,
    pub precision: Option<Setting<Precision>>,
    pub threads: Option<Setting<usize>>,
    pub simd: Option<Setting<Simd>>,
    pub numa_node: Option<Setting<usize>>,
    pub scratch_dir: Option<Setting<PathBuf>>,
    pub cache_dir: Option<Setting<PathBuf>>,
    pub kernel_dir: Option<Setting<PathBuf>>,
    pub graph: Option<Setting<bool>>,
    pub streams: Option<Setting<usize>>,
    pub blocks: Option<Setting<usize>>,
    pub verify: Option<Setting<Verify>>,
    pub profile: Option<Setting<PathBuf>>,
    pub log: Option<Setting<String>>,
}

/// Of devices, threads, nodes.
const MOST: usize = 65_536;

fn parse<T: FromStr<Err = String>>(origin: &str, text: &str) -> Result<Option<Setting<T>>, PolicyError> {
    let wrong = |why| PolicyError::Value { origin: origin.into(), why };
    Ok(Some(Setting::new(text.trim().parse().map_err(wrong)?, origin)))
}

fn number(
    origin: &str,
    text: &str,
    range: RangeInclusive<usize>,
    what: &str,
) -> Result<Option<Setting<usize>>, PolicyError> {
    match text.trim().parse() {
        Ok(n) if range.contains(&n) => Ok(Some(Setting::new(n, origin))),
        _ => {
            let why = format!("\"{text}\" is no {what} ({} to {})", range.start(), range.end());
            Err(PolicyError::Value { origin: origin.into(), why })
        }
    }
}

impl Layer {
    /// Sets one value from text. `key` is a key of [`NAMES`], `origin` what the user wrote (`--threads`, `WEIR_THREADS`).
    ///
    /// # Errors
    /// Unknown keys, and values that are none.
    pub fn set(&mut self, key: &str, origin: &str, text: &str) -> Result<(), PolicyError> {
        let path = || Some(Setting::new(PathBuf::from(text), origin));
        let words = || Some(Setting::new(text.to_string(), origin));
        match key {
            "backend" if text == "wgpu" => {
                let why = "the backend wgpu does not exist yet: choose auto, cpu, cuda, hip, emulated".into();
                return Err(PolicyError::Value { origin: origin.into(), why });
            }
            "backend" => self.backend = parse(origin, text)?,
            "device" => self.device = number(origin, text, 0..=MOST, "index of a device")?,
            "head" => self.head = words(),
            "placement" => self.placement = parse(origin, text)?,
            "hbm_budget" => self.hbm_budget = parse(origin, text)?,
            "host_budget" => self.host_budget = parse(origin, text)?,
            "file_budget" => self.file_budget = parse(origin, text)?,
            "checkpoint" => self.checkpoint = parse(origin, text)?,
            "inside" => self.inside = parse(origin, text)?,
            "store" => self.store = parse(origin, text)?,
            "precision" => self.precision = parse(origin, text)?,
            "threads" => self.threads = number(origin, text, 1..=MOST, "number of threads")?,
            "simd" => self.simd = parse(origin, text)?,
            "numa_node" => self.numa_node = number(origin, text, 0..=MOST, "number of a node")?,
            "scratch_dir" => self.scratch_dir = path(),
            "cache_dir" => self.cache_dir = path(),
            "kernel_dir" => self.kernel_dir = path(),
            "graph" => {
                let value = match text {
                    "on" => true,
                    "off" => false,
                    _ => {
                        let why = format!("\"{text}\" is neither on nor off");
                        return Err(PolicyError::Value { origin: origin.into(), why });
                    }
                };
                self.graph = Some(Setting::new(value, origin));
            }
            "streams" => self.streams = number(origin, text, 1..=2, "number of streams")?,
            "blocks" => self.blocks = number(origin, text, 1..=16, "number of blocks")?,
            "verify" => self.verify = parse(origin, text)?,
            "profile" => self.profile = path(),
            "log" => self.log = words(),
            _ => {
                let near = nearest(key, NAMES.iter().map(|n| n.key)).to_string();
                return Err(PolicyError::Unknown { what: "setting".into(), name: key.into(), near });
            }
        }
        Ok(())
    }
}
