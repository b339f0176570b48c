//! The kept table: one JSON file per key, replaced in one step.

use super::{measure, Key, LinkError, LinkTable};
use crate::kind::Kind;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A stable name for a key (FNV-1a); the file holds the key itself, which is what counts.
fn path(folder: &Path, key: &Key) -> PathBuf {
    let text = format!("{}\0{}\0{}\0{}", key.device, key.driver, key.machine, key.tiers);
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3));
    folder.join(format!("links-{hash:016x}.json"))
}

/// The kept table of a key: none where there is none, with a message where there is one that cannot be used.
pub fn load(folder: &Path, key: &Key) -> (Option<LinkTable>, Option<String>) {
    let path = path(folder, key);
    let ignored = |why: String| (None, Some(format!("link table {} is ignored: {why}", path.display())));
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return (None, None),
        Err(e) => return ignored(e.to_string()),
    };
    let table: LinkTable = match serde_json::from_str(&text) {
        Ok(table) => table,
        Err(e) => return ignored(e.to_string()),
    };
    if table.key != *key {
        return ignored("it was made for another machine".into());
    }
    let positive = |x: f64| x.is_finite() && x > 0.0;
    let rates = table.links.iter().flat_map(|l| [l.write, l.read, l.both_write, l.both_read]);
    let costs = table.links.iter().flat_map(|l| [l.latency.0, l.latency.1, l.first_touch]);
    if !rates.chain([table.hbm]).all(positive)
        || !costs.chain([table.hbm_first_touch]).all(|x| x.is_finite() && x >= 0.0)
    {
        return ignored("it holds rates that are none".into());
    }
    (Some(table), None)
}

/// Keeps a table. Readers see the old one or the new one, never half.
///
/// # Errors
/// The folder cannot be made or written.
pub fn store(folder: &Path, table: &LinkTable) -> Result<(), LinkError> {
    let failed = |source| LinkError::Cache { folder: folder.to_path_buf(), source };
    let text = serde_json::to_string_pretty(table).map_err(|e| failed(e.into()))?;
    std::fs::create_dir_all(folder).map_err(failed)?;
    let path = path(folder, &table.key);
    let new = path.with_extension(format!("{}.{:?}.new", std::process::id(), std::thread::current().id()));
    let write = || {
        let mut file = std::fs::File::create(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&new, &path)
    };
    write().map_err(|e| {
        // The half-written file is of no use; that it may stay is not the news.
        let _ = std::fs::remove_file(&new);
        failed(e)
    })
}

/// The kept table, else a measured one, which is kept. Messages tell what the cache did not do.
///
/// # Errors
/// Measuring failed.
pub fn obtain(
    folder: Option<&Path>,
    key: Key,
    hbm: &dyn Kind,
    others: &[&dyn Kind],
    limit: Duration,
) -> Result<(LinkTable, Vec<String>), LinkError> {
    let (kept, message) = folder.map_or((None, None), |f| load(f, &key));
    let mut messages: Vec<String> = message.into_iter().collect();
    if let Some(table) = kept {
        return Ok((table, messages));
    }
    let table = measure(key, hbm, others, limit)?;
    if let Some(Err(error)) = folder.map(|f| store(f, &table)) {
        messages.push(error.to_string());
    }
    Ok((table, messages))
}
