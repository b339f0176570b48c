//! Which atoms of the MD code the model sees, and as what.

use std::path::Path;
use weir_engine::structure::{read, read_groups, ReadOptions};
use weir_ffi::Error;

use super::config::{Config, Group};

/// The model's atoms: indices into the MD code's order (global, from 0), ascending as in the group, and types of the model.
#[derive(Debug, PartialEq)]
pub(super) struct Atoms {
    pub rows: Vec<u32>,
    pub types: Vec<i32>,
}

/// Resolves a configuration for a system of `atoms` atoms.
///
/// # Errors
/// Structures or groups of another system, atoms without element, elements that the model does not know.
pub(super) fn resolve(config: &Config, atoms: usize, type_map: &[String]) -> Result<Atoms, Error> {
    let symbols = match &config.structure {
        Some(path) => of_structure(config, path, atoms)?,
        None => of_lines(config, atoms)?,
    };
    let group = match &config.group {
        Group::All => (0..atoms).collect(),
        Group::Atoms(list) => list.clone(),
        Group::Named(name) => named(config.index.as_deref().unwrap_or(Path::new("")), name)?,
    };
    let mut seen = vec![false; atoms];
    let mut out = Atoms { rows: Vec::new(), types: Vec::new() };
    for atom in group {
        match seen.get_mut(atom).map(|s| std::mem::replace(s, true)) {
            Some(false) => {}
            Some(true) => return Err(Error::Argument(format!("atom {} is twice in the group", atom + 1))),
            None => return Err(Error::Argument(format!("the group has atom {}, the run only {atoms}", atom + 1))),
        }
        match symbols[atom].as_deref() {
            None => {
                let text = format!(
                    "atom {} has no element: add it to an \"element\" line (X: not seen by the model)",
                    atom + 1
                );
                return Err(Error::Argument(text));
            }
            Some("X") => {}
            Some(symbol) => {
                let Some(t) = type_map.iter().position(|s| s == symbol) else {
                    let text = format!(
                        "atom {} is {symbol}, which the model does not know; it knows: {}",
                        atom + 1,
                        type_map.join(" ")
                    );
                    return Err(Error::Argument(text));
                };
                out.rows.push(atom as u32);
                out.types.push(t as i32);
            }
        }
    }
    if out.rows.is_empty() {
        return Err(Error::Argument("the model sees no atom: the group is empty or of virtual sites only".into()));
    }
    Ok(out)
}

/// Sites without mass, which readers drop, are `X`.
fn of_structure(config: &Config, path: &Path, atoms: usize) -> Result<Vec<Option<String>>, Error> {
    let options =
        ReadOptions { topology: config.topology.clone(), elements: config.elements.clone(), ..ReadOptions::default() };
    let s = read(path, &options).map_err(|e| Error::Argument(e.to_string()))?;
    let count = if s.file_atoms > 0 { s.file_atoms } else { s.len() };
    if count != atoms {
        return Err(Error::Argument(format!("{}: {count} atoms, but the run has {atoms}", path.display())));
    }
    let mut symbols = vec![Some("X".to_string()); atoms];
    for (k, symbol) in s.symbols.into_iter().enumerate() {
        let row = s.original.get(k).copied().unwrap_or(k);
        symbols[row] = Some(symbol);
    }
    Ok(symbols)
}

fn of_lines(config: &Config, atoms: usize) -> Result<Vec<Option<String>>, Error> {
    let mut symbols = vec![None; atoms];
    for (symbol, list) in &config.element {
        for &atom in list {
            match symbols.get_mut(atom) {
                None => {
                    let text = format!("element {symbol}: atom {} is none of the run's {atoms}", atom + 1);
                    return Err(Error::Argument(text));
                }
                Some(Some(other)) => {
                    return Err(Error::Argument(format!("atom {} is {other} and {symbol}", atom + 1)));
                }
                Some(place) => *place = Some(symbol.clone()),
            }
        }
    }
    Ok(symbols)
}

fn named(index: &Path, name: &str) -> Result<Vec<usize>, Error> {
    let groups = read_groups(index).map_err(|e| Error::Argument(e.to_string()))?;
    match groups.iter().find(|g| g.name == name) {
        Some(group) => Ok(group.atoms.clone()),
        None => {
            let known: Vec<&str> = groups.iter().map(|g| g.name.as_str()).collect();
            Err(Error::Argument(format!("{}: no group \"{name}\"; there are: {}", index.display(), known.join(", "))))
        }
    }
}
