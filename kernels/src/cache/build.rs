//! Precompiled kernels for machines without a compiler.

use super::key::Key;
use super::{file, name};
use crate::compile::{compile, CompileError, Compiler, Options};
use crate::{Chip, Source};
use serde::Serialize;
use std::fs;
use std::path::Path;

/// One file that was built.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Built {
    /// Its name in the folder.
    pub file: String,
    /// Of the source.
    pub source: String,
    /// What it runs on.
    pub chip: String,
    /// What its lookup compares.
    pub key: String,
    /// What made it.
    pub compiler: String,
    /// Of the image.
    pub bytes: u64,
}

#[derive(Serialize)]
struct Manifest<'a> {
    version: &'static str,
    kernels: &'a [Built],
}

/// What a folder of precompiled kernels holds, by file name; files that are none are left out.
///
/// # Errors
/// A folder that cannot be read.
pub fn list(folder: &Path) -> Result<Vec<Built>, CompileError> {
    let io = |e: std::io::Error| CompileError::Io { path: folder.into(), cause: e.to_string() };
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).map_err(io)? {
        let entry = entry.map_err(io)?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        if !name.ends_with(".kernels") {
            continue;
        }
        let bytes = fs::read(entry.path()).map_err(io)?;
        let Some(header) = file::header(&bytes) else { continue };
        // `SOURCE-CHIP-KEY.kernels`; chips have no hyphens.
        let source = name.split(&format!("-{}-", header.chip)).next().unwrap_or_default().to_string();
        let file::Header { key, chip, compiler, image, .. } = header;
        all.push(Built { file: name, source, chip, key, compiler, bytes: image });
    }
    all.sort_by(|a, b| a.file.cmp(&b.file));
    Ok(all)
}

/// Compiles every source for every chip into a folder that [`Cache::new`](super::Cache::new) takes, with a list for people
/// (`manifest.toml`).
///
/// # Errors
/// A compiler that is missing or refuses; a folder that cannot be written.
pub fn build(sources: &[Source], chips: &[Chip], options: &Options, folder: &Path) -> Result<Vec<Built>, CompileError> {
    let io = |path: &Path| {
        let path = path.to_path_buf();
        move |e: std::io::Error| CompileError::Io { path, cause: e.to_string() }
    };
    fs::create_dir_all(folder).map_err(io(folder))?;
    let mut all = Vec::new();
    // One that is missing is told before the first minute is spent.
    chips.iter().try_for_each(|c| Compiler::find(c, options).map(drop))?;
    for chip in chips {
        for source in sources {
            let image = compile(source, chip, options)?;
            let key = Key::new(source, chip, options);
            let name = name(source, chip, &key);
            file::write(&folder.join(&name), &key, &image).map_err(io(&folder.join(&name)))?;
            all.push(Built {
                file: name,
                source: source.name.clone(),
                chip: chip.to_string(),
                key: key.to_string(),
                compiler: image.compiler,
                bytes: image.bytes.len() as u64,
            });
        }
    }
    let path = folder.join("manifest.toml");
    // With what earlier builds left there.
    let manifest = Manifest { version: env!("CARGO_PKG_VERSION"), kernels: &list(folder)? };
    let text = toml::to_string(&manifest).map_err(|e| CompileError::Io { path: path.clone(), cause: e.to_string() })?;
    fs::write(&path, text).map_err(io(&path))?;
    Ok(all)
}
