//! DPA3 on GPUs: one executor over three drivers (CUDA, HIP, emulated), kernels from one text.

pub mod cuda;
pub mod driver;
pub mod hip;
mod native;

use driver::{DeviceFacts, DriverError};

/// Every device of every driver; a driver that is not there has one entry that says so. No device is touched.
pub fn devices() -> Vec<(&'static str, Result<DeviceFacts, DriverError>)> {
    let all = [("cuda", cuda::devices()), ("hip", hip::devices())];
    all.into_iter()
        .flat_map(|(name, found)| {
            let entries = found.unwrap_or_else(|error| vec![Err(error)]);
            entries.into_iter().map(move |entry| (name, entry)).collect::<Vec<_>>()
        })
        .collect()
}
