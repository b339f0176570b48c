//! What an image depends on.

use crate::compile::{flags, own_flags, Options};
use crate::{Chip, Source};
use sha2::{Digest, Sha256};
use std::fmt;

/// Changes when files of images change their form.
const FORM: &str = "weir kernels 1";

/// SHA-256 over everything that shapes an image. File names carry a part of it, files all of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key(String);

impl Key {
    /// Of an image by any compiler: text, definitions, all options, chip. What was looked up where, and for which driver, is not part.
    pub fn new(source: &Source, chip: &Chip, options: &Options) -> Key {
        let kind = match chip {
            Chip::Cuda(_) => "cuda",
            Chip::Hip(_) => "hip",
            Chip::Host => "host",
        };
        let mut fields = vec![FORM.to_string(), kind.into(), chip.to_string()];
        let mut list = |items: Vec<String>| {
            fields.push(items.len().to_string());
            fields.extend(items);
        };
        list(flags(chip));
        list(own_flags(chip).iter().map(|f| f.to_string()).collect());
        list(options.extra.clone());
        list(source.defines.iter().flat_map(|(name, value)| [name.clone(), value.clone()]).collect());
        fields.push(source.text.clone());
        if *chip == Chip::Host {
            // Code for the host uses whatever its processor has.
            fields.push(processor());
        }
        Key(digest(fields.iter().map(String::as_bytes)))
    }

    /// Of an image by this compiler.
    pub(super) fn with(&self, compiler: &str) -> Key {
        Key(digest([self.0.as_bytes(), compiler.as_bytes()].into_iter()))
    }

    /// What file names carry.
    pub(super) fn short(&self) -> &str {
        &self.0[..24]
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What the kernel tells of the processor's instruction sets.
fn processor() -> String {
    let table = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = table.lines().find(|l| l.starts_with("flags") || l.starts_with("Features"));
    format!("{} {}", std::env::consts::ARCH, line.unwrap_or_default())
}

/// SHA-256 of an image's bytes.
pub fn digest_of(image: &[u8]) -> String {
    digest(std::iter::once(image))
}

/// Fields are told apart by their lengths, so that no two lists run into the same bytes.
pub(crate) fn digest<'a>(fields: impl Iterator<Item = &'a [u8]>) -> String {
    let mut hash = Sha256::new();
    for field in fields {
        hash.update((field.len() as u64).to_le_bytes());
        hash.update(field);
    }
    hash.finalize().iter().map(|b| format!("{b:02x}")).collect()
}
