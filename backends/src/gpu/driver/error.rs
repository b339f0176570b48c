//! What can go wrong with a device.

use thiserror::Error;

/// A driver's failure.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum DriverError {
    /// No library of the driver, or no device.
    #[error("no {driver} device: {cause}")]
    Absent {
        /// `cuda` or `hip`.
        driver: &'static str,
        /// What was looked for and not found.
        cause: String,
    },
    /// A device that is there but cannot be used.
    #[error("{device} is visible but cannot be used: {cause}; set WEIR_BACKEND=cpu to compute without it")]
    Unusable {
        /// Its name, as far as it is known.
        device: String,
        /// Why, with both versions where a driver is too old.
        cause: String,
    },
    /// Not enough memory.
    #[error("{memory} memory: {bytes} bytes wanted, {free} free")]
    OutOfMemory {
        /// Kind.
        memory: &'static str,
        /// Wanted.
        bytes: u64,
        /// Free at that time.
        free: u64,
    },
    /// An image that this device cannot run.
    #[error("kernels cannot be loaded on {chip}: {cause}")]
    Image {
        /// Of the device.
        chip: String,
        /// The driver's word.
        cause: String,
    },
    /// A kernel that the image lacks.
    #[error("no kernel {0} in the loaded image")]
    Kernel(String),
    /// A launch that failed, or a kernel that met an error.
    #[error("kernel {kernel}: {cause}")]
    Launch {
        /// Name.
        kernel: String,
        /// The driver's word.
        cause: String,
    },
    /// A call that this driver does not have.
    #[error("{driver} has no {call}; {instead}")]
    Unsupported {
        /// `cuda 12.2`
        driver: String,
        /// What is missing.
        call: &'static str,
        /// What to use.
        instead: &'static str,
    },
    /// Any other call.
    #[error("{call}: {cause}")]
    Call {
        /// Name of the driver's function.
        call: &'static str,
        /// Name and meaning of the code.
        cause: String,
    },
}
