//! GROMACS index files (`.ndx`).

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use super::error::StructureError;
use super::lines::Lines;

/// A group of an index file.
pub struct Group {
    /// As written between the brackets.
    pub name: String,
    /// Atom indices from 0, in the file's order.
    pub atoms: Vec<usize>,
}

/// All groups of an index file, in order.
///
/// # Errors
/// A file that cannot be read, numbers before the first group, what is no atom number.
pub fn read_groups(path: &Path) -> Result<Vec<Group>, StructureError> {
    let file = File::open(path).map_err(|e| StructureError::io_path(path, e))?;
    let mut lines = Lines::new(Box::new(BufReader::new(file)), &path.display().to_string());
    let mut groups: Vec<Group> = Vec::new();
    while let Some(line) = lines.next()? {
        let line = line.split(';').next().unwrap_or("").trim();
        if let Some(name) = line.strip_prefix('[') {
            let name = name.trim_end_matches(']').trim().to_string();
            groups.push(Group { name, atoms: Vec::new() });
            continue;
        }
        let mut numbers = Vec::new();
        for word in line.split_whitespace() {
            match word.parse::<u32>() {
                Ok(n) if n > 0 => numbers.push(n as usize - 1),
                _ => return Err(lines.syntax("atom numbers from 1")),
            }
        }
        match groups.last_mut() {
            Some(group) => group.atoms.append(&mut numbers),
            None if numbers.is_empty() => {}
            None => return Err(lines.syntax("[ group name ] before atom numbers")),
        }
    }
    Ok(groups)
}
