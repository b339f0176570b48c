//! Measured things kept in the cache folder: one JSON file per key, replaced in one step.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A file: the key itself counts, the file's name only finds it.
#[derive(Serialize, Deserialize)]
struct Kept<V> {
    key: String,
    value: V,
}

/// A stable name for a key (FNV-1a).
fn path(folder: &Path, what: &str, key: &str) -> PathBuf {
    let hash = key.bytes().fold(0xcbf2_9ce4_8422_2325u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3));
    folder.join(format!("{what}-{hash:016x}.json"))
}

/// The kept value of a key: none where there is none, with a message where there is one that cannot be used. `what` begins the file's
/// name, `good` judges the value.
pub fn load<V: DeserializeOwned>(
    folder: &Path,
    what: &str,
    key: &str,
    good: impl Fn(&V) -> bool,
) -> (Option<V>, Option<String>) {
    let path = path(folder, what, key);
    let ignored = |why: String| (None, Some(format!("{} is ignored: {why}", path.display())));
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return (None, None),
        Err(e) => return ignored(e.to_string()),
    };
    match serde_json::from_str::<Kept<V>>(&text) {
        Ok(kept) if kept.key != key => ignored("it was made for another machine".into()),
        Ok(kept) if !good(&kept.value) => ignored("what it holds is out of range".into()),
        Ok(kept) => (Some(kept.value), None),
        Err(e) => ignored(e.to_string()),
    }
}

/// Keeps a value. Readers see the old one or the new one, never half.
///
/// # Errors
/// The folder cannot be made or written.
pub fn store<V: Serialize>(folder: &Path, what: &str, key: &str, value: &V) -> io::Result<()> {
    let text = serde_json::to_string_pretty(&Kept { key: key.into(), value })?;
    std::fs::create_dir_all(folder)?;
    let path = path(folder, what, key);
    let new = path.with_extension(format!("{}.{:?}.new", std::process::id(), std::thread::current().id()));
    let write = || {
        let mut file = std::fs::File::create(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&new, &path)
    };
    // A half-written file is of no use; that it may stay is not the news.
    write().inspect_err(|_| drop(std::fs::remove_file(&new)))
}
