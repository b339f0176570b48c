//! From a source to an image for the driver's chip.

use super::driver::Driver;
use super::{GpuError, GpuOptions};
use weir_kernels::cache::Cache;
#[cfg(feature = "emulated")]
use weir_kernels::Chip;
use weir_kernels::Source;

/// The image of a source for a device.
///
/// # Errors
/// [`GpuError::Compile`].
pub fn image(source: &Source, driver: &dyn Driver, options: &GpuOptions) -> Result<Vec<u8>, GpuError> {
    match &driver.facts().chip {
        #[cfg(feature = "emulated")]
        Chip::Host => host(source, driver.compile_flags(), options.cache_dir.as_deref()),
        chip => {
            let cache = Cache::new(options.kernel_dir.as_deref(), options.cache_dir.as_deref());
            let obtained = cache.obtain(source, chip, &super::compile_options(driver.facts()));
            Ok(obtained.map_err(|e| GpuError::Compile(e.to_string()))?.image.bytes)
        }
    }
}

/// Libraries of this process, by source, and those kept in the cache folder: tests make many calculators of few shapes.
#[cfg(feature = "emulated")]
fn host(source: &Source, flags: &[&str], cache: Option<&std::path::Path>) -> Result<Vec<u8>, GpuError> {
    use std::collections::HashMap;
    use std::sync::{Arc, LazyLock, Mutex, OnceLock, PoisonError};
    type Slot = Arc<OnceLock<Result<Vec<u8>, String>>>;
    static MADE: LazyLock<Mutex<HashMap<(Source, String), Slot>>> = LazyLock::new(Mutex::default);
    let slot = MADE
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .entry((source.clone(), flags.join(" ")))
        .or_default()
        .clone();
    let made = slot.get_or_init(|| {
        let made = match cache {
            Some(folder) => weir_kernels::host::obtain(source, folder, flags),
            None => {
                let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
                weir_kernels::host::compile(source, folder.path(), flags)
            }
        };
        made.map_err(|e| e.to_string())
    });
    made.clone().map_err(GpuError::Compile)
}
