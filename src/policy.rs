//! How to compute, and who said so: flag, else environment, else configuration, else automatic.

use serde_json::{json, Value};
use std::fmt;
use std::str::FromStr;

/// Arithmetic of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// What the model was trained in.
    Model,
    /// Double.
    F64,
    /// Single.
    F32,
}

impl FromStr for Precision {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "model" => Ok(Precision::Model),
            "f64" => Ok(Precision::F64),
            "f32" => Ok(Precision::F32),
            "tf32x3" | "tf32" | "bf16" => {
                Err(format!("precision {text} is not in this version: choose model, f64 or f32"))
            }
            _ => Err(format!("\"{text}\" is not a precision: choose model, f64 or f32")),
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Precision::Model => "model",
            Precision::F64 => "f64",
            Precision::F32 => "f32",
        })
    }
}

/// Which layer inputs are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checkpoint {
    /// All.
    All,
    /// Every K-th.
    Every(usize),
}

impl FromStr for Checkpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("\"{text}\" is not a checkpoint rule: choose all or every:K with K of at least 1");
        match text {
            "all" | "auto" => Ok(Checkpoint::All),
            _ => match text.strip_prefix("every:").ok_or_else(wrong)?.parse() {
                Ok(k) if k > 0 => Ok(Checkpoint::Every(k)),
                _ => Err(wrong()),
            },
        }
    }
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Checkpoint::All => f.write_str("all"),
            Checkpoint::Every(k) => write!(f, "every:{k}"),
        }
    }
}

/// A setting and where it came from.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting<T> {
    /// The value.
    pub value: T,
    /// Flag, variable, file, or `automatic`.
    pub origin: String,
}

impl<T> Setting<T> {
    /// A setting with its origin.
    pub fn new(value: T, origin: impl Into<String>) -> Self {
        Setting { value, origin: origin.into() }
    }
}

/// One place that settings may come from; earlier layers win.
#[derive(Clone, Debug, Default)]
pub struct Layer {
    /// Branch of the model.
    pub head: Option<Setting<String>>,
    /// Arithmetic.
    pub precision: Option<Setting<Precision>>,
    /// Threads, at least 1.
    pub threads: Option<Setting<usize>>,
    /// Kept layer inputs.
    pub checkpoint: Option<Setting<Checkpoint>>,
}

/// The settings of a run.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Branch of the model.
    pub head: Option<Setting<String>>,
    /// Arithmetic.
    pub precision: Setting<Precision>,
    /// Threads.
    pub threads: Setting<usize>,
    /// Kept layer inputs.
    pub checkpoint: Setting<Checkpoint>,
}

impl Policy {
    /// Takes each setting from the first layer that has it.
    pub fn resolve(layers: &[Layer]) -> Self {
        let automatic = "automatic";
        Policy {
            head: layers.iter().find_map(|l| l.head.clone()),
            precision: layers
                .iter()
                .find_map(|l| l.precision.clone())
                .unwrap_or(Setting::new(Precision::Model, automatic)),
            threads: layers.iter().find_map(|l| l.threads.clone()).unwrap_or_else(allowed_threads),
            checkpoint: layers
                .iter()
                .find_map(|l| l.checkpoint.clone())
                .unwrap_or(Setting::new(Checkpoint::All, automatic)),
        }
    }

    /// The settings for a log header.
    pub fn to_json(&self) -> Value {
        json!({
            "precision": { "value": self.precision.value.to_string(), "origin": self.precision.origin },
            "threads": { "value": self.threads.value, "origin": self.threads.origin },
            "checkpoint": { "value": self.checkpoint.value.to_string(), "origin": self.checkpoint.origin },
        })
    }
}

/// Threads this process may use by affinity and cgroup, or fewer where `OMP_NUM_THREADS` says so, as batch systems set it.
fn allowed_threads() -> Setting<usize> {
    let allowed = std::thread::available_parallelism().map_or(1, |n| n.get());
    match std::env::var("OMP_NUM_THREADS").ok().and_then(|v| v.trim().parse::<usize>().ok()) {
        Some(n) if n > 0 && n <= allowed => Setting::new(n, "OMP_NUM_THREADS"),
        _ => Setting::new(allowed, "automatic"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn earlier_layers_win() {
        let flags = Layer { threads: Some(Setting::new(3, "--threads")), ..Layer::default() };
        let environment = Layer {
            threads: Some(Setting::new(5, "WEIR_THREADS")),
            precision: Some(Setting::new(Precision::F32, "WEIR_PRECISION")),
            ..Layer::default()
        };
        let policy = Policy::resolve(&[flags, environment]);
        assert_eq!((policy.threads.value, policy.threads.origin.as_str()), (3, "--threads"));
        assert_eq!((policy.precision.value, policy.precision.origin.as_str()), (Precision::F32, "WEIR_PRECISION"));
        assert_eq!(policy.checkpoint.value, Checkpoint::All);
    }

    #[test]
    fn values_are_read_and_written_alike() {
        for text in ["model", "f64", "f32"] {
            assert_eq!(text.parse::<Precision>().unwrap().to_string(), text);
        }
        assert!("bf16".parse::<Precision>().unwrap_err().contains("not in this version"));
        for text in ["all", "every:3"] {
            assert_eq!(text.parse::<Checkpoint>().unwrap().to_string(), text);
        }
        for bad in ["every:0", "every:", "some", "every:-1"] {
            assert!(bad.parse::<Checkpoint>().is_err());
        }
    }
}
