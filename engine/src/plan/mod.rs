//! What a step does, in order: tiles of centres, where each layer's edge and angle features are kept, and the program that every
//! backend interprets.

pub mod placement;
mod program;
mod tiles;

pub use program::{Op, Place, Program, Slot};
pub use tiles::{tiles, Tile};

use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// Which layer inputs are kept between the forward and the backward pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Checkpoint {
    /// Every layer's.
    #[default]
    All,
    /// Those of layers K, 2K, ...; the others of a segment are rebuilt into a segment buffer when the backward pass enters it.
    Every(usize),
}

/// Not a checkpoint policy.
#[derive(Debug, Error, PartialEq)]
#[error("\"{0}\" is not a checkpoint policy; use all, or every:K with K at least 1")]
pub struct BadCheckpoint(String);

impl FromStr for Checkpoint {
    type Err = BadCheckpoint;

    fn from_str(text: &str) -> Result<Self, BadCheckpoint> {
        let bad = || BadCheckpoint(text.to_string());
        match text.trim().to_ascii_lowercase().as_str() {
            "all" => Ok(Self::All),
            other => match other.strip_prefix("every:").ok_or_else(bad)?.parse::<usize>() {
                Ok(k) if k >= 1 => Ok(Self::Every(k)),
                _ => Err(bad()),
            },
        }
    }
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Every(k) => write!(f, "every:{k}"),
        }
    }
}
