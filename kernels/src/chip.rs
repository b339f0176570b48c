//! What kernels are compiled for.

use std::fmt;
use std::str::FromStr;

/// A kind of device.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Chip {
    /// `sm_90a`: a CUDA architecture.
    Cuda(String),
    /// `gfx942`: an AMD architecture.
    Hip(String),
    /// The host's processor, through the emulated driver.
    Host,
}

impl fmt::Display for Chip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Chip::Cuda(arch) | Chip::Hip(arch) => f.write_str(arch),
            Chip::Host => f.write_str("host"),
        }
    }
}

/// A name that is none of a chip.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} names no chip; write sm_90a, gfx942 or host")]
pub struct UnknownChip(pub String);

impl FromStr for Chip {
    type Err = UnknownChip;

    fn from_str(name: &str) -> Result<Chip, UnknownChip> {
        let unknown = || UnknownChip(name.into());
        if name == "host" {
            return Ok(Chip::Host);
        }
        if let Some(number) = name.strip_prefix("sm_") {
            let digits = number.trim_end_matches(['a', 'f']);
            let good = number.len() - digits.len() <= 1 && matches!(digits.len(), 2 | 3);
            return (good && digits.bytes().all(|b| b.is_ascii_digit()))
                .then(|| Chip::Cuda(name.into()))
                .ok_or_else(unknown);
        }
        // Features behind a colon (xnack+) bind code to a mode; plain code runs in every one.
        let number = name.strip_prefix("gfx").ok_or_else(unknown)?;
        let good = matches!(number.len(), 3 | 4) && number.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        good.then(|| Chip::Hip(name.into())).ok_or_else(unknown)
    }
}
