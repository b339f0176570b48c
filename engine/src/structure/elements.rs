//! Elements of atoms that a file only names: from `--elements`, the file's own element column, a topology, or the residue rules,
//! in this order.

use std::collections::HashMap;
use std::fs::File;
use std::io::BufReader;

use super::error::StructureError;
use super::lines::Lines;
use super::open::ReadOptions;
use super::residues::{meaning, Meaning};
use super::symbols::symbol;
use super::topology::{Site, Topology};

/// What became of an atom name.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Resolved {
    /// An atom of this element.
    Element(&'static str),
    /// A virtual site: dropped.
    Virtual,
}

/// Resolves (residue, atom name, element column) to elements; every combination is looked up once.
pub(crate) struct Elements {
    path: String,
    /// Residue (`*` = any) and atom name to element.
    table: HashMap<(String, String), &'static str>,
    topology: Topology,
    /// By residue, then name and column together: lookups need no allocation.
    cache: HashMap<String, HashMap<String, Resolved>>,
    key: String,
}

impl Elements {
    pub(crate) fn new(path: &str, options: &ReadOptions) -> Result<Self, StructureError> {
        let table = match &options.elements {
            Some(file) => read_table(file)?,
            None => HashMap::new(),
        };
        let topology = match &options.topology {
            Some(file) => Topology::read(file)?,
            None => Topology::default(),
        };
        Ok(Self { path: path.to_string(), table, topology, cache: HashMap::new(), key: String::new() })
    }

    /// Element of atom number `atom` (from 0). `column` is the file's own element column, blank where there is none.
    pub(crate) fn resolve(
        &mut self,
        frame: u64,
        atom: usize,
        residue: &str,
        name: &str,
        column: &str,
    ) -> Result<Resolved, StructureError> {
        self.key.clear();
        self.key.push_str(name);
        self.key.push('\0');
        self.key.push_str(column);
        if let Some(found) = self.cache.get(residue).and_then(|of_residue| of_residue.get(&self.key)) {
            return Ok(*found);
        }
        let found = self.look_up(frame, atom, residue, name, column)?;
        self.cache.entry(residue.to_string()).or_default().insert(self.key.clone(), found);
        Ok(found)
    }

    fn look_up(
        &self,
        frame: u64,
        atom: usize,
        residue: &str,
        name: &str,
        column: &str,
    ) -> Result<Resolved, StructureError> {
        let in_table = |r: &str| self.table.get(&(r.to_string(), name.to_string()));
        if let Some(element) = in_table(residue).or_else(|| in_table("*")) {
            return Ok(if *element == "X" { Resolved::Virtual } else { Resolved::Element(element) });
        }
        let by_rule = meaning(residue, name);
        if by_rule == Meaning::VirtualSite {
            return Ok(Resolved::Virtual);
        }
        if let Some(element) = symbol(column).filter(|s| *s != "X") {
            return Ok(Resolved::Element(element));
        }
        match self.topology.sites.get(&(residue.to_string(), name.to_string())) {
            Some(Site::Element(element)) => return Ok(Resolved::Element(element)),
            Some(Site::Virtual) => return Ok(Resolved::Virtual),
            Some(Site::Contradictory) | None => {}
        }
        let unknown = |seen: String| {
            let mut hint =
                "; give --elements FILE (lines \"[residue] atom-name element\") or --topology FILE.top".to_string();
            if !self.topology.missing.is_empty() {
                hint = format!("{hint} (not found: {})", self.topology.missing.join(", "));
            }
            StructureError::UnknownElement { path: self.path.clone(), frame, atom: atom + 1, seen, hint }
        };
        match by_rule {
            _ if !column.is_empty() => Err(unknown(column.to_string())),
            Meaning::Element(element) => Ok(Resolved::Element(element)),
            Meaning::Ambiguous(choices) => Err(StructureError::AmbiguousElement {
                path: self.path.clone(),
                atom: atom + 1,
                name: name.to_string(),
                residue: residue.to_string(),
                choices: choices.join(" or "),
            }),
            Meaning::VirtualSite => Ok(Resolved::Virtual),
            Meaning::Unknown => Err(unknown(format!("{name} of residue {residue}"))),
        }
    }
}

/// Lines `atom-name element` or `residue atom-name element`; `#` begins a comment, `*` is any residue, `X` a virtual site.
fn read_table(path: &std::path::Path) -> Result<HashMap<(String, String), &'static str>, StructureError> {
    let file = File::open(path).map_err(|e| StructureError::io_path(path, e))?;
    let mut lines = Lines::new(Box::new(BufReader::new(file)), &path.display().to_string());
    let mut table = HashMap::new();
    while let Some(line) = lines.next()? {
        let fields: Vec<&str> = line.split('#').next().unwrap_or("").split_whitespace().collect();
        let (residue, name, element) = match fields[..] {
            [] => continue,
            [name, element] => ("*", name, element),
            [residue, name, element] => (residue, name, element),
            _ => return Err(lines.syntax("[residue] atom-name element")),
        };
        let Some(element) = symbol(element) else {
            return Err(lines.syntax("an element symbol, or X for a virtual site, in the last column"));
        };
        table.insert((residue.to_string(), name.to_string()), element);
    }
    Ok(table)
}
