//! Seeds for the fuzz targets, from the files carried in `tests/data` (and `WEIR_SHARED`, where it is set):
//! `cargo run -p weir-engine --example fuzz_seeds -- FOLDER` fills `FOLDER/model_file` and `FOLDER/structure_file`.
//!
//! A seed is a file behind the byte by which the target chooses its format (fuzz/fuzz_targets).
#![allow(missing_docs)]

use std::error::Error;
use std::path::{Path, PathBuf};
use weir_engine::model::{load, to_weir, LoadOptions};
use weir_engine::structure::Format;

/// As in `fuzz_targets/model_file.rs`.
const MODELS: [&str; 7] = ["dp", "pt", "pth", "yaml", "pt2", "pte", "weir"];
/// Larger files make the fuzzer slow without teaching it more.
const LARGEST: usize = 700_000;

struct Seeds {
    folder: PathBuf,
    count: usize,
}

impl Seeds {
    fn new(folder: PathBuf) -> std::io::Result<Self> {
        std::fs::create_dir_all(&folder)?;
        Ok(Seeds { folder, count: 0 })
    }

    fn add(&mut self, choice: usize, bytes: &[u8]) -> std::io::Result<()> {
        if bytes.len() > LARGEST {
            return Ok(());
        }
        let mut seed = vec![choice as u8];
        seed.extend_from_slice(bytes);
        std::fs::write(self.folder.join(format!("seed-{:03}", self.count)), seed)?;
        self.count += 1;
        Ok(())
    }
}

/// All files below a folder, in a fixed order.
fn files(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_path_buf()];
    while let Some(next) = open.pop() {
        for entry in std::fs::read_dir(next)? {
            let path = entry?.path();
            if path.is_dir() {
                open.push(path);
            } else {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

fn main() -> Result<(), Box<dyn Error>> {
    let folder = PathBuf::from(std::env::args_os().nth(1).ok_or("usage: fuzz_seeds FOLDER")?);
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data");
    let mut sources = files(&data)?;
    if let Some(shared) = std::env::var_os("WEIR_SHARED") {
        sources.extend(files(&Path::new(&shared).join("fixtures/models/tiny"))?);
        sources.extend(files(&Path::new(&shared).join("fixtures/models/fixed_sel"))?);
    }
    let mut models = Seeds::new(folder.join("model_file"))?;
    let mut structures = Seeds::new(folder.join("structure_file"))?;
    for path in sources {
        let suffix = path.extension().unwrap_or_default().to_string_lossy().into_owned();
        if let Some(choice) = MODELS.iter().position(|s| *s == suffix) {
            models.add(choice, &std::fs::read(&path)?)?;
            continue;
        }
        let format = match suffix.as_str() {
            "extxyz" => Format::Extxyz,
            "gro" => Format::Gro,
            "pdb" => Format::Pdb,
            "vasp" => Format::Poscar,
            "data" => Format::LammpsData,
            "lammpstrj" => Format::LammpsDump,
            "xtc" => Format::Xtc,
            "trr" => Format::Trr,
            _ => continue,
        };
        let choice = Format::ALL.iter().position(|f| *f == format).ok_or("a format is not listed")?;
        let bytes = std::fs::read(&path)?;
        structures.add(choice, &bytes)?;
        // The upper half of the choices: type numbers have names.
        let named = (128..256).find(|c| c % Format::ALL.len() == choice).ok_or("too many formats")?;
        structures.add(named, &bytes)?;
    }
    let options = LoadOptions::default();
    for name in ["models/tiny.dp", "parity/tiny32/model.dp"] {
        models.add(MODELS.len() - 1, &to_weir(&load(&data.join(name), &options)?)?)?;
    }
    println!("{} models, {} structures", models.count, structures.count);
    if models.count == 0 || structures.count == 0 {
        return Err("no seeds: tests/data is empty".into());
    }
    Ok(())
}
