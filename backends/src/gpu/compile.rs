//! Images for a driver's chip.

use super::driver::Driver;
use super::shape::shape_on;
use super::{GpuError, GpuOptions};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use weir_engine::model::Model;
use weir_kernels::cache::Cache;
use weir_kernels::{Chip, Source};

/// Source, chip and driver of an image, and the folders where it was looked for.
type Asked = (Source, Chip, String, [Option<PathBuf>; 2]);
/// The bytes of an image, and what did not go as it should.
type Had = (Vec<u8>, Vec<String>);
/// The last ones, the youngest first: a calculator may have two.
static LAST: Mutex<Vec<(Asked, Had)>> = Mutex::new(Vec::new());
/// Images kept in memory.
const KEPT: usize = 2;

/// The image of a source for a device, and what did not go as it should though it was had.
///
/// # Errors
/// [`GpuError::Compile`].
pub fn image(source: &Source, driver: &dyn Driver, options: &GpuOptions) -> Result<Had, GpuError> {
    let facts = driver.facts();
    #[cfg(feature = "emulated")]
    let compiled = driver.compiled().map(|compiled| translated(source, compiled)).transpose()?;
    #[cfg(feature = "emulated")]
    let source = compiled.as_ref().unwrap_or(source);
    #[cfg(feature = "emulated")]
    if facts.chip == Chip::Host && options.kernel_dir.is_none() && options.cache_dir.is_none() {
        return Ok((host(source, driver.compile_flags())?, Vec::new()));
    }
    let cache = Cache::new(options.kernel_dir.as_deref(), options.cache_dir.as_deref());
    let mut how = super::compile_options(facts);
    how.extra.extend(driver.compile_flags().iter().map(|f| f.to_string()));
    // A comparison with the CPU and the calculator after it ask for the same image: it is compiled once where no folder keeps it, and what went
    // wrong meanwhile is told by whoever asks.
    let keeps = facts.chip != Chip::Host;
    let folders = [&options.kernel_dir, &options.cache_dir].map(Clone::clone);
    let asked = (source.clone(), facts.chip.clone(), facts.driver.clone(), folders);
    let last = || LAST.lock().unwrap_or_else(PoisonError::into_inner);
    if let (true, Some((_, had))) = (keeps, last().iter().find(|l| l.0 == asked)) {
        return Ok(had.clone());
    }
    // Tests ask for the same image at the same time: one compiles it, the others find it.
    #[cfg(feature = "emulated")]
    let turn = turn(source);
    #[cfg(feature = "emulated")]
    let _turn = (facts.chip == Chip::Host).then(|| turn.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
    let obtained = cache.obtain(source, &facts.chip, &how).map_err(|e| GpuError::Compile(e.to_string()))?;
    let had = (obtained.image.bytes, obtained.warnings);
    if keeps {
        let mut last = last();
        last.insert(0, (asked, had.clone()));
        last.truncate(KEPT);
    }
    Ok(had)
}

/// The image that a calculator with these options would load, by the SHA-256 of its bytes. It is compiled where nobody has it.
///
/// # Errors
/// As that calculator's.
pub fn image_digest(driver: &dyn Driver, model: &Model, options: &GpuOptions) -> Result<String, GpuError> {
    let source = Source::dpa3(&shape_on(driver, model, options)?);
    Ok(weir_kernels::cache::digest_of(&image(&source, driver, options)?.0))
}

/// What was made for a key in this process, or is made now by whoever asks first.
#[cfg(feature = "emulated")]
type Once<K, T> = std::sync::LazyLock<Mutex<std::collections::HashMap<K, std::sync::Arc<std::sync::OnceLock<T>>>>>;

#[cfg(feature = "emulated")]
fn once<K: Eq + std::hash::Hash, T: Clone>(made: &Once<K, T>, key: K, make: impl FnOnce() -> T) -> T {
    let slot = made.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_default().clone();
    slot.get_or_init(make).clone()
}

/// The text that does what a vendor's compiler makes of a source; kept by no folder, so each process asks the compiler anew.
#[cfg(feature = "emulated")]
fn translated(source: &Source, compiled: weir_kernels::compiled::Compiled) -> Result<Source, GpuError> {
    static MADE: Once<(Source, weir_kernels::compiled::Compiled), Result<Source, String>> = Once::new(Mutex::default);
    let make = || weir_kernels::compiled::translated(source, compiled).map_err(|e| e.to_string());
    once(&MADE, (source.clone(), compiled), make).map_err(GpuError::Compile)
}

/// Libraries of this process, by source: tests make many calculators of few shapes.
#[cfg(feature = "emulated")]
fn host(source: &Source, flags: &[&str]) -> Result<Vec<u8>, GpuError> {
    static MADE: Once<(Source, String), Result<Vec<u8>, String>> = Once::new(Mutex::default);
    let make = || {
        let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
        weir_kernels::host::compile(source, folder.path(), flags).map_err(|e| e.to_string())
    };
    once(&MADE, (source.clone(), flags.join(" ")), make).map_err(GpuError::Compile)
}

/// What whoever makes an image of a source holds.
#[cfg(feature = "emulated")]
fn turn(source: &Source) -> std::sync::Arc<Mutex<()>> {
    static TURNS: Once<Source, std::sync::Arc<Mutex<()>>> = Once::new(Mutex::default);
    once(&TURNS, source.clone(), std::sync::Arc::default)
}
