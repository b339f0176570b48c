//! What stops a plan.

use super::problem::Checkpoint;
use std::fmt;
use thiserror::Error;
use weir_allocators::kind::show_bytes;

/// A setting that makes a plan fit; found by planning with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Help {
    /// Another policy.
    Checkpoint(Checkpoint),
    /// Slower tiers, with this many bytes together.
    Tier {
        /// Bytes
        bytes: u64,
    },
    /// More of a tier.
    Budget {
        /// Its name.
        tier: String,
        /// Bytes
        bytes: u64,
    },
}

impl fmt::Display for Help {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Checkpoint(policy) => write!(f, "WEIR_CHECKPOINT={policy}"),
            Self::Tier { bytes } => write!(f, "a further tier of at least {} in WEIR_PLACEMENT", setting(*bytes)),
            Self::Budget { tier, bytes } => write!(f, "{}={}", variable(tier), setting(*bytes)),
        }
    }
}

/// Bytes as a budget is written, rounded up.
fn setting(bytes: u64) -> String {
    format!("{}MiB", bytes.div_ceil(1 << 20))
}

/// The variable that sets a tier's budget.
fn variable(tier: &str) -> &'static str {
    match tier {
        "hbm" => "WEIR_HBM_BUDGET",
        "file" => "WEIR_FILE_BUDGET",
        _ => "WEIR_HOST_BUDGET",
    }
}

fn list(help: &[Help]) -> String {
    help.iter().map(Help::to_string).collect::<Vec<_>>().join(", or ")
}

/// No plan.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum PlanError {
    /// The question contradicts itself.
    #[error("placement problem: {0}")]
    Problem(String),
    /// Too little memory.
    #[error("tier {tier} lacks {} of {}, of which {} are given; what would fit: {}", show_bytes(need.saturating_sub(*have)), show_bytes(*need), show_bytes(*have), list(help))]
    TooSmall {
        /// Tier
        tier: String,
        /// The least bytes of the tier, everything else as it is.
        need: u64,
        /// Bytes given.
        have: u64,
        /// What would help, the mildest first.
        help: Vec<Help>,
    },
}
