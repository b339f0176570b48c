//! Files of images: one line that says what it is, a header, the compiler's log, the image.

use super::key::{digest, Key};
use crate::compile::Image;
use crate::Chip;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

const MAGIC: &str = "weir kernels 1\n";

#[derive(Serialize, Deserialize)]
pub(super) struct Header {
    pub key: String,
    pub chip: String,
    pub compiler: String,
    pub log: u64,
    pub image: u64,
    pub digest: String,
}

/// What a file says of itself; none where it is no file of kernels.
pub(super) fn header(bytes: &[u8]) -> Option<Header> {
    split(bytes).ok().map(|(header, _)| header)
}

fn split(bytes: &[u8]) -> Result<(Header, &[u8]), &'static str> {
    let rest = bytes.strip_prefix(MAGIC.as_bytes()).ok_or("no file of kernels in this form")?;
    let end = rest.windows(2).position(|w| w == b"\n\n").ok_or("it ends early")?;
    let header = std::str::from_utf8(&rest[..end]).map_err(|_| "its header is no text")?;
    let header = toml::from_str(header).map_err(|_| "its header cannot be read")?;
    Ok((header, &rest[end + 2..]))
}

/// Why a file was not used.
pub(super) enum Unread {
    /// There is none.
    Absent,
    /// It is not what its name says, or damaged.
    Bad(String),
}

/// An image, if the file holds that of this key, whole.
pub(super) fn read(path: &Path, key: &Key, chip: &Chip) -> Result<Image, Unread> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(Unread::Absent),
        Err(e) => return Err(Unread::Bad(e.to_string())),
    };
    parse(&bytes, key, chip).map_err(|why| Unread::Bad(why.into()))
}

fn parse(bytes: &[u8], key: &Key, chip: &Chip) -> Result<Image, &'static str> {
    let (header, content) = split(bytes)?;
    if header.key != key.to_string() || header.chip != chip.to_string() {
        return Err("it was made of another text, with other options or for another chip");
    }
    if header.log.checked_add(header.image) != Some(content.len() as u64) {
        return Err("it is damaged: its length is wrong");
    }
    let (log, image) = content.split_at(header.log as usize);
    if digest([log, image].into_iter()) != header.digest {
        return Err("it is damaged: its digest is wrong");
    }
    let log = String::from_utf8_lossy(log).into_owned();
    Ok(Image { chip: chip.clone(), bytes: image.to_vec(), log, compiler: header.compiler })
}

/// Writes an image. Readers see no file, an older one, or the whole new one, however many processes write it at once.
pub(super) fn write(path: &Path, key: &Key, image: &Image) -> io::Result<()> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let header = Header {
        key: key.to_string(),
        chip: image.chip.to_string(),
        compiler: image.compiler.clone(),
        log: image.log.len() as u64,
        image: image.bytes.len() as u64,
        digest: digest([image.log.as_bytes(), &image.bytes].into_iter()),
    };
    let header = toml::to_string(&header).map_err(io::Error::other)?;
    // Ranks on other nodes share the folder, not the process numbers.
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let new = path.with_extension(format!("{}.{}.{number}.new", host.trim(), std::process::id()));
    let put = || {
        let mut file = fs::File::create(&new)?;
        file.write_all(MAGIC.as_bytes())?;
        file.write_all(header.as_bytes())?;
        file.write_all(b"\n")?;
        file.write_all(image.log.as_bytes())?;
        file.write_all(&image.bytes)?;
        file.sync_all()?;
        fs::rename(&new, path)
    };
    // A half-written file is of no use; that it may stay is not the news.
    put().inspect_err(|_| drop(fs::remove_file(&new)))
}
