//! Why settings and model do not make a calculator.

use crate::cpu::{CpuError, NoKernels, TierError};
use crate::gpu::driver::DriverError;
use crate::gpu::{GpuError, GpuTierError};
use thiserror::Error;
use weir_allocators::policy::PolicyError;
use weir_engine::backend::ComputeError;

/// Why settings and model do not make a calculator.
#[derive(Debug, Error)]
pub enum SessionError {
    /// The emulated device was left out of this program.
    #[error(
        "{0}: this program was built without the emulated device; build one with it: cargo build --release --features emulated"
    )]
    NotBuilt(String),
    /// The device that was asked for is not there, or of no use.
    #[error("{origin}: {error}{}", remedy(error))]
    Device {
        /// Who asked for it.
        origin: String,
        /// The driver's word.
        error: DriverError,
    },
    /// A device that nobody named and that cannot be used: what computes instead must be said.
    #[error("{device} is visible but cannot be used: {cause}; set WEIR_BACKEND=cpu to compute without it")]
    Unusable {
        /// Its name and driver.
        device: String,
        /// Why.
        cause: String,
    },
    /// An instruction set that cannot be had.
    #[error("{origin}: {error}")]
    InstructionSet {
        /// Who asked for it.
        origin: String,
        /// What there is instead.
        error: NoKernels,
    },
    /// An arithmetic without kernels.
    #[error("{origin}: precision {precision} has no kernels yet; choose model, f64, f32, tf32x3, f16x3 or tf32")]
    Precision {
        /// Who asked for it.
        origin: String,
        /// Its name.
        precision: String,
    },
    /// A device on which kernels come out wrong.
    #[error(
        "{device} computes wrong: forces, energy or virial of {atoms} atoms in {precision} differ from the CPU's by {difference:.1e} (eV/A), where {allowed:.1e} would be allowed. Do not trust it: set WEIR_BACKEND=cpu, and report this with driver and chip (WEIR_VERIFY=never computes all the same)"
    )]
    Wrong {
        /// Its name and driver.
        device: String,
        /// Arithmetic of the messages.
        precision: &'static str,
        /// Atoms that were looked at.
        atoms: usize,
        /// Largest difference, eV/A.
        difference: f64,
        /// What rounding explains, eV/A.
        allowed: f64,
    },
    /// The plain path keeps everything in ordinary memory: what it cannot follow is refused.
    #[error("{0}: this model uses sequential_update, whose path keeps everything exactly, in memory, and follows no budget: unset it")]
    Plain(String),
    /// Settings that cannot be followed.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// A step of a device's check.
    #[error("comparison of the device with the CPU: {0} (WEIR_VERIFY=never leaves it out)")]
    Check(#[from] ComputeError),
    /// A tier.
    #[error(transparent)]
    Tier(#[from] TierError),
    /// The CPU backend.
    #[error(transparent)]
    Cpu(#[from] CpuError),
    /// A tier of a GPU.
    #[error(transparent)]
    GpuTier(#[from] GpuTierError),
    /// The GPU backend.
    #[error(transparent)]
    Gpu(#[from] GpuError),
}

/// Unusable devices name their own.
fn remedy(error: &DriverError) -> &'static str {
    match error {
        DriverError::Unusable { .. } => "",
        _ => "; set WEIR_BACKEND=cpu to compute without it",
    }
}
