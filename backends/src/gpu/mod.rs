//! DPA3 on GPUs: one executor over three drivers (CUDA, HIP, emulated), kernels from one text.

pub mod cuda;
pub mod driver;
pub mod hip;
mod native;

use driver::{DeviceFacts, DriverError};
use weir_kernels::compile::Options;
use weir_kernels::Chip;

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

/// How kernels are compiled for a device: with compilers of this machine whose code its driver loads.
pub fn compile_options(facts: &DeviceFacts) -> Options {
    let version = facts.driver.split_once('.').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
    Options { cuda: version.filter(|_| matches!(facts.chip, Chip::Cuda(_))), ..Options::here() }
}
