//! A GROMACS topology as one list of lines: includes put in place, conditionals followed, so that a molecule type can be changed.

use anyhow::{bail, Context, Result};
use std::collections::HashSet;
use std::path::{Path, PathBuf};

/// Deeper nests of `#include` are refused.
const DEPTH: usize = 16;

/// A line of the flattened topology.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub text: String,
    /// Its conditionals hold.
    pub active: bool,
    /// The section it stands in, such as `atoms`.
    pub section: String,
}

impl Line {
    /// Fields without comment; none of directives, headings, blank lines.
    pub fn fields(&self) -> Vec<&str> {
        let text = self.text.split(';').next().unwrap_or("").trim();
        if text.starts_with(['#', '[', '*']) {
            return Vec::new();
        }
        text.split_whitespace().collect()
    }

    fn heading(&self) -> Option<&str> {
        Some(self.text.split(';').next()?.trim().strip_prefix('[')?.trim_end_matches(']').trim())
    }
}

/// A topology.
pub(super) struct Topology {
    pub lines: Vec<Line>,
    /// Includes that were not found; they stay in place.
    pub missing: Vec<String>,
    folders: Vec<PathBuf>,
    defined: HashSet<String>,
    conditions: Vec<bool>,
    section: String,
    /// Section of lines whose condition does not hold, where one begins among them.
    passed_over: Option<String>,
}

/// A molecule type: its lines and number of atoms.
pub(super) struct Kind {
    pub name: String,
    pub lines: std::ops::Range<usize>,
    pub atoms: usize,
}

impl Topology {
    /// Reads a `.top`. `folders` are searched for includes after the file's own, then those of `GMXLIB`; `defines` are names that hold.
    ///
    /// # Errors
    /// Files that cannot be read, includes of themselves, conditionals without end.
    pub fn read(path: &Path, folders: &[PathBuf], defines: &[String]) -> Result<Self> {
        let mut folders = folders.to_vec();
        folders.extend(std::env::var_os("GMXLIB").iter().flat_map(std::env::split_paths));
        let mut topology = Topology {
            lines: Vec::new(),
            missing: Vec::new(),
            folders,
            defined: defines.iter().cloned().collect(),
            conditions: Vec::new(),
            section: String::new(),
            passed_over: None,
        };
        topology.file(path, 0)?;
        if !topology.conditions.is_empty() {
            bail!("{}: an #ifdef has no #endif", path.display());
        }
        Ok(topology)
    }

    fn file(&mut self, path: &Path, depth: usize) -> Result<()> {
        if depth > DEPTH {
            bail!("{}: includes are nested deeper than {DEPTH}", path.display());
        }
        let text = std::fs::read_to_string(path).with_context(|| format!("{}", path.display()))?;
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            let mut line = line.to_string();
            // A backslash at the end joins lines.
            while line.trim_end().ends_with('\\') {
                let kept = line.trim_end().trim_end_matches('\\').to_string();
                line = kept + " " + lines.next().unwrap_or("");
            }
            let active = self.conditions.iter().all(|c| *c);
            let bare = line.split(';').next().unwrap_or("").trim().to_string();
            let word = bare.split_whitespace().nth(1).unwrap_or("").to_string();
            match bare.split_whitespace().next().unwrap_or("") {
                "#ifdef" => self.conditions.push(self.defined.contains(&word)),
                "#ifndef" => self.conditions.push(!self.defined.contains(&word)),
                "#else" => match self.conditions.last_mut() {
                    Some(c) => *c = !*c,
                    None => bail!("{}: #else without #ifdef", path.display()),
                },
                "#endif" => {
                    let why = || format!("{}: #endif without #ifdef", path.display());
                    self.conditions.pop().with_context(why)?;
                }
                "#define" if active => {
                    self.defined.insert(word);
                }
                "#undef" if active => {
                    self.defined.remove(&word);
                }
                "#include" => {
                    let name = bare["#include".len()..].trim().trim_matches(['"', '<', '>']).to_string();
                    if let Some(found) = self.find(&name, path) {
                        self.push(format!("; from {name}"), active);
                        self.file(&found, depth + 1)?;
                        continue;
                    }
                    if active {
                        self.missing.push(name);
                    }
                }
                _ => {}
            }
            let heading =
                bare.starts_with('[').then(|| bare.trim_start_matches('[').trim_end_matches(']').trim().to_string());
            match heading {
                Some(name) if active => self.section = name,
                // Another definition would begin a section here.
                Some(name) => self.passed_over = Some(name),
                None => {}
            }
            if active {
                self.passed_over = None;
            }
            self.push(line, active);
        }
        Ok(())
    }

    fn push(&mut self, text: String, active: bool) {
        let section = self.passed_over.as_ref().unwrap_or(&self.section).clone();
        self.lines.push(Line { text, active, section });
    }

    fn find(&self, name: &str, from: &Path) -> Option<PathBuf> {
        let beside = from.parent().unwrap_or(Path::new("")).to_path_buf();
        std::iter::once(&beside).chain(&self.folders).map(|f| f.join(name)).find(|p| p.is_file())
    }

    /// Molecule types, in order.
    pub fn kinds(&self) -> Vec<Kind> {
        let mut kinds: Vec<Kind> = Vec::new();
        let mut named = true;
        for (k, line) in self.lines.iter().enumerate().filter(|(_, l)| l.active) {
            match line.heading() {
                Some("moleculetype") => {
                    kinds.push(Kind { name: String::new(), lines: k..self.lines.len(), atoms: 0 });
                    named = false;
                    let earlier = kinds.len() - 1;
                    if let Some(before) = earlier.checked_sub(1).and_then(|b| kinds.get_mut(b)) {
                        before.lines.end = before.lines.end.min(k);
                    }
                }
                Some("system" | "molecules" | "intermolecular_interactions") => {
                    if let Some(last) = kinds.last_mut() {
                        last.lines.end = last.lines.end.min(k);
                    }
                }
                _ => {}
            }
            let (fields, Some(last)) = (line.fields(), kinds.last_mut()) else { continue };
            match (line.section.as_str(), fields.first()) {
                ("moleculetype", Some(name)) if !named => {
                    last.name = (*name).to_string();
                    named = true;
                }
                ("atoms", Some(_)) => last.atoms += 1,
                _ => {}
            }
        }
        kinds
    }

    /// Lines of `[ molecules ]`: their index, name, count.
    ///
    /// # Errors
    /// Lines without a count, or none at all.
    pub fn molecules(&self) -> Result<Vec<(usize, String, usize)>> {
        let mut out = Vec::new();
        for (k, line) in self.lines.iter().enumerate().filter(|(_, l)| l.active && l.section == "molecules") {
            match line.fields()[..] {
                [] => {}
                [name, count, ..] if count.parse::<usize>().is_ok() => {
                    out.push((k, name.to_string(), count.parse().unwrap_or_default()));
                }
                _ => bail!("[ molecules ]: expected a name and a count, found \"{}\"", line.text.trim()),
            }
        }
        if out.is_empty() {
            bail!("the topology has no [ molecules ]: give the .top file, not an .itp");
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn includes_and_conditionals_are_followed() {
        let folder = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        put("lig.itp", "[ moleculetype ]\nLIG 3\n[ atoms ]\n1 CT 1 LIG C1 1 0 \\\n 12\n2 CT 1 LIG C2 2 0 12\n#ifdef POSRES\n[ position_restraints ]\n1 1 9 9 9\n#endif\n");
        put("a.top", "#include \"ff/none.itp\"\n#include \"lig.itp\"\n#ifdef FLEX\n[ moleculetype ]\nSOL 2\n[ atoms ]\n1 OW 1 SOL OW 1 0\n#else\n[ moleculetype ]\nSOL 2\n[ atoms ]\n1 OW 1 SOL OW 1 0\n2 HW 1 SOL HW 1 0\n#endif\n[ system ]\nx\n[ molecules ]\nLIG 1 ; one\nSOL 4\n");
        let read = |defines: &[String]| Topology::read(&folder.path().join("a.top"), &[], defines).unwrap();
        let t = read(&[]);
        let counts = |t: &Topology| t.kinds().iter().map(|k| (k.name.clone(), k.atoms)).collect::<Vec<_>>();
        assert_eq!(counts(&t), [("LIG".to_string(), 2), ("SOL".to_string(), 2)]);
        assert_eq!(counts(&read(&["FLEX".to_string()]))[1].1, 1);
        assert_eq!(t.missing, ["ff/none.itp"]);
        let molecules: Vec<(String, usize)> = t.molecules().unwrap().into_iter().map(|(_, n, c)| (n, c)).collect();
        assert_eq!(molecules, [("LIG".to_string(), 1), ("SOL".to_string(), 4)]);
        put("b.top", "#ifdef X\n");
        assert!(Topology::read(&folder.path().join("b.top"), &[], &[]).is_err());
        put("c.top", "#include \"c.top\"\n");
        assert!(Topology::read(&folder.path().join("c.top"), &[], &[]).err().unwrap().to_string().contains("nested"));
    }
}
