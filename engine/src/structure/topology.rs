//! The part of a GROMACS topology that tells elements: `[ atomtypes ]` and `[ atoms ]` of every molecule type.

use std::collections::HashMap;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use super::error::StructureError;
use super::lines::Lines;
use super::masses::by_mass;
use crate::element::SYMBOLS;

/// Deeper nests of `#include` are refused.
const MAX_DEPTH: usize = 16;

/// So are topologies of more files.
const MAX_FILES: usize = 2000;

/// What a topology says of an atom.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Site {
    /// This element.
    Element(&'static str),
    /// Massless.
    Virtual,
    /// Different molecule types say different things.
    Contradictory,
}

/// Elements by (residue, atom name).
#[derive(Debug, Default)]
pub(crate) struct Topology {
    pub(crate) sites: HashMap<(String, String), Site>,
    /// Includes that could not be read, as written.
    pub(crate) missing: Vec<String>,
    types: HashMap<String, TypeEntry>,
    files: usize,
}

#[derive(Clone, Copy, Debug, Default)]
struct TypeEntry {
    number: Option<usize>,
    mass: Option<f64>,
    virtual_site: bool,
}

impl Topology {
    /// Reads a `.top` or `.itp` with those of its includes that lie beside it. A force field that cannot be found is listed in
    /// `missing`: `[ atoms ]` written by pdb2gmx carry masses.
    pub(crate) fn read(path: &Path) -> Result<Self, StructureError> {
        let mut topology = Topology::default();
        topology.read_file(path, &mut Vec::new())?;
        Ok(topology)
    }

    fn read_file(&mut self, path: &Path, parents: &mut Vec<PathBuf>) -> Result<(), StructureError> {
        let file = File::open(path).map_err(|e| StructureError::io_path(path, e))?;
        let mut lines = Lines::new(Box::new(BufReader::new(file)), &path.display().to_string());
        parents.push(path.to_path_buf());
        self.files += 1;
        let mut section = String::new();
        while let Some(line) = lines.next()? {
            let line = line.split(';').next().unwrap_or("").trim();
            if line.is_empty() {
                continue;
            }
            if let Some(include) = line.strip_prefix("#include") {
                let name = include.trim().trim_matches(['"', '<', '>']).to_string();
                let target = path.parent().unwrap_or(Path::new("")).join(&name);
                if !target.is_file() {
                    self.missing.push(name);
                } else if parents.len() >= MAX_DEPTH || parents.contains(&target) || self.files >= MAX_FILES {
                    let expected = format!("at most {MAX_FILES} included files, {MAX_DEPTH} deep, none of itself");
                    return Err(lines.syntax(expected));
                } else {
                    self.read_file(&target, parents)?;
                }
            } else if line.starts_with('#') {
                // All branches of conditionals are read: they do not change what an atom is.
            } else if let Some(name) = line.strip_prefix('[') {
                section = name.trim_end_matches(']').trim().to_string();
            } else if section == "atomtypes" {
                self.atom_type(line);
            } else if section == "atoms" {
                let fields: Vec<&str> = line.split_whitespace().collect();
                if fields.len() < 5 {
                    return Err(lines.syntax("nr type resnr residue atom [cgnr charge mass]"));
                }
                self.atom(&fields);
            }
        }
        parents.pop();
        Ok(())
    }

    /// `name [bonded type] [atomic number] mass charge ptype ...`
    fn atom_type(&mut self, line: &str) {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let Some(p) = fields.iter().position(|f| matches!(*f, "A" | "D" | "V" | "S")).filter(|p| *p >= 3) else {
            return;
        };
        self.types.insert(
            fields[0].to_string(),
            TypeEntry {
                number: (p >= 4).then(|| fields[p - 3].parse().ok()).flatten(),
                mass: fields[p - 2].parse().ok(),
                virtual_site: matches!(fields[p], "D" | "V"),
            },
        );
    }

    fn atom(&mut self, fields: &[&str]) {
        let (residue, name) = (fields[3], fields[4]);
        let of_type = self.types.get(fields[1]).copied().unwrap_or_default();
        let mass = fields.get(7).and_then(|m| m.parse::<f64>().ok()).or(of_type.mass);
        let site = if of_type.virtual_site || (mass == Some(0.0) && of_type.number.unwrap_or(0) == 0) {
            Site::Virtual
        } else if let Some(symbol) = of_type.number.filter(|z| *z > 0).and_then(|z| SYMBOLS.get(z - 1)) {
            Site::Element(symbol)
        } else if let Some(symbol) = mass.and_then(by_mass).filter(|s| begins_like(name, s)) {
            Site::Element(symbol)
        } else {
            // Repartitioned or united-atom masses: the residue rules or --elements must tell.
            return;
        };
        let entry = self.sites.entry((residue.to_string(), name.to_string())).or_insert(site);
        if *entry != site {
            *entry = Site::Contradictory;
        }
    }
}

/// A guard against masses that were moved between atoms: the name's first letter is the symbol's.
fn begins_like(name: &str, symbol: &str) -> bool {
    let first = name.chars().find(char::is_ascii_alphabetic);
    first.is_some_and(|c| symbol.starts_with(c.to_ascii_uppercase()))
}
