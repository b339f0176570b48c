//! What kernels are compiled for.

use std::fmt;

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
