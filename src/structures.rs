//! Reading structures with the options of the command line.

use crate::backend::tell_remarks;
use crate::cli::StructureArgs;
use crate::log::Log;
use crate::problem::Usage;
use anyhow::{Context, Result};
use std::path::Path;
use weir_engine::structure::{self, Format, Frames, ReadOptions, Structure};

/// Everything that is needed to open a structure file.
pub struct Reader<'a> {
    args: &'a StructureArgs,
    atoms: Option<Structure>,
}

impl<'a> Reader<'a> {
    /// Reads what the options name.
    ///
    /// # Errors
    /// An unknown format, an unreadable `--atoms` file.
    pub fn new(args: &'a StructureArgs) -> Result<Self> {
        let mut reader = Reader { args, atoms: None };
        if let Some(path) = &args.atoms {
            // Names come from the whole structure: --select applies to the frames, --format to them too.
            let plain = ReadOptions { format: None, select: None, ..reader.options()? };
            reader.atoms = Some(structure::read(path, &plain).context("--atoms")?);
        }
        Ok(reader)
    }

    /// The options as the readers take them.
    ///
    /// # Errors
    /// An unknown format.
    pub fn options(&self) -> Result<ReadOptions<'_>> {
        let format = self.args.format.as_deref().map(|name| {
            Format::named(&name.to_lowercase()).ok_or_else(|| {
                let known: Vec<&str> = Format::ALL.iter().map(|f| f.name()).collect();
                Usage(format!("--format: \"{name}\" is unknown; known: {}", known.join(", ")))
            })
        });
        Ok(ReadOptions {
            format: format.transpose()?,
            elements: self.args.elements.clone(),
            topology: self.args.topology.clone(),
            select: self.args.select.clone(),
            index: self.args.index.clone(),
            types: self.args.types.clone(),
            structure: self.atoms.as_ref(),
        })
    }

    /// The first frame; tells its remarks.
    ///
    /// # Errors
    /// Those of the reader.
    pub fn first(&self, path: &Path, log: &Log) -> Result<Structure> {
        let structure = structure::read(path, &self.options()?)?;
        tell_remarks(&structure, path, log);
        Ok(structure)
    }

    /// The first frame, its remarks untold.
    ///
    /// # Errors
    /// Those of the reader.
    pub fn read(&self, path: &Path) -> Result<Structure> {
        Ok(structure::read(path, &self.options()?)?)
    }

    /// All frames.
    ///
    /// # Errors
    /// Those of the reader.
    pub fn frames(&self, path: &Path) -> Result<Frames> {
        Ok(structure::frames(path, &self.options()?)?)
    }
}
