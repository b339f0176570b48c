//! The kept table of a machine.

use super::{measure, Key, LinkError, LinkTable};
use crate::kept;
use crate::kind::Kind;
use std::path::Path;
use std::time::Duration;

fn text(key: &Key) -> String {
    format!("{}; {}; {}; {}", key.device, key.driver, key.machine, key.tiers)
}

fn good(table: &LinkTable) -> bool {
    let positive = |x: f64| x.is_finite() && x > 0.0;
    let rates = table.links.iter().flat_map(|l| [l.write, l.read, l.both_write, l.both_read]);
    let costs = table.links.iter().flat_map(|l| [l.latency.0, l.latency.1, l.first_touch]);
    rates.chain([table.hbm]).all(positive) && costs.chain([table.hbm_first_touch]).all(|x| x.is_finite() && x >= 0.0)
}

/// The kept table of a key: none where there is none, with a message where there is one that cannot be used.
pub fn load(folder: &Path, key: &Key) -> (Option<LinkTable>, Option<String>) {
    kept::load(folder, "links", &text(key), good)
}

/// Keeps a table. Readers see the old one or the new one, never half.
///
/// # Errors
/// The folder cannot be made or written.
pub fn store(folder: &Path, table: &LinkTable) -> Result<(), LinkError> {
    kept::store(folder, "links", &text(&table.key), table)
        .map_err(|source| LinkError::Cache { folder: folder.to_path_buf(), source })
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
