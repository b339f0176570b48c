//! `--select`: which atoms of a file to keep.
//!
//! An expression is made of terms joined by `not`, `and`, `or` (binding in this order) and parentheses. Terms standing side by
//! side (or with commas) are joined by `or`: `SOL NA CL`. A term is
//! - a group of the index file, if one is given and has a group of exactly this name,
//! - `all`, `protein`, `nucleic`, `water`, `ions`,
//! - `name CA`, `resname ALA`, `element O`, each with one word or several with commas, `index 1-100,205` (numbers from 1 in the file),
//! - else a residue name of the file (or a group's name in another capitalisation).

use std::collections::{HashMap, HashSet};

use super::error::StructureError;
use super::index_groups::{read_groups, Group};
use super::open::ReadOptions;
use super::residues::{is_ion, is_nucleic, is_protein, is_water};
use super::Structure;

/// Deeper parentheses are refused.
const MAX_DEPTH: usize = 64;

/// A longer expression is refused: the tree grows with it.
const MAX_LENGTH: usize = 4096;

/// A selection, parsed once for all frames.
pub(crate) struct Selection {
    expression: String,
    tree: Tree,
    groups: HashMap<String, HashSet<usize>>,
}

enum Tree {
    Not(Box<Tree>),
    And(Box<Tree>, Box<Tree>),
    Or(Box<Tree>, Box<Tree>),
    Word(String),
    /// `name`, `resname`, `element` and the words that may stand there.
    Column(&'static str, Vec<String>),
    Index(Vec<(usize, usize)>),
}

impl Selection {
    /// The selection that the options ask for; `None` = all atoms.
    pub(crate) fn new(options: &ReadOptions) -> Result<Option<Self>, StructureError> {
        let Some(expression) = &options.select else { return Ok(None) };
        let groups = match &options.index {
            Some(path) => read_groups(path)?,
            None => Vec::new(),
        };
        Self::parse(expression, groups).map(Some)
    }

    fn parse(expression: &str, groups: Vec<Group>) -> Result<Self, StructureError> {
        let spaced = expression.replace('(', " ( ").replace(')', " ) ");
        let tokens: Vec<&str> = spaced.split_whitespace().collect();
        if expression.len() > MAX_LENGTH {
            let reason = format!("longer than {MAX_LENGTH} characters: put the atoms into a group of an index file");
            return Err(StructureError::Selection { expression: expression.chars().take(60).collect(), reason });
        }
        let mut parser = Parser { expression, tokens: &tokens, at: 0 };
        let tree = parser.or(0)?;
        if parser.at != tokens.len() {
            return Err(parser.error(format!("\"{}\" is not expected here", tokens[parser.at])));
        }
        let groups = groups.into_iter().map(|g| (g.name, g.atoms.into_iter().collect())).collect();
        Ok(Self { expression: expression.to_string(), tree, groups })
    }

    /// Keeps the selected atoms of a frame. Labels of the whole (energy, virial) do not survive a real selection.
    pub(crate) fn apply(&self, s: Structure) -> Result<Structure, StructureError> {
        let keep = self.mask(&self.tree, &s)?;
        let kept = keep.iter().filter(|k| **k).count();
        if kept == 0 {
            return Err(self.error("selects no atom".to_string()));
        }
        if kept == s.len() {
            return Ok(s);
        }
        Ok(subset(s, &keep))
    }

    fn error(&self, reason: String) -> StructureError {
        StructureError::Selection { expression: self.expression.clone(), reason }
    }

    fn mask(&self, tree: &Tree, s: &Structure) -> Result<Vec<bool>, StructureError> {
        let each = |test: &dyn Fn(usize) -> bool| (0..s.len()).map(test).collect();
        Ok(match tree {
            Tree::Not(a) => self.mask(a, s)?.into_iter().map(|x| !x).collect(),
            Tree::And(a, b) => {
                let b = self.mask(b, s)?;
                self.mask(a, s)?.into_iter().zip(b).map(|(x, y)| x && y).collect()
            }
            Tree::Or(a, b) => {
                let b = self.mask(b, s)?;
                self.mask(a, s)?.into_iter().zip(b).map(|(x, y)| x || y).collect()
            }
            Tree::Index(ranges) => {
                let inside = |i: usize| ranges.iter().any(|(a, b)| (*a..=*b).contains(&(s.original[i] + 1)));
                each(&inside)
            }
            Tree::Column(column, words) => {
                let cells = match *column {
                    "name" => &s.names,
                    "resname" => &s.residues,
                    _ => &s.symbols,
                };
                if cells.is_empty() {
                    return Err(self.error(format!("the file has no atom names or residues for \"{column}\"")));
                }
                each(&|i| words.contains(&cells[i]))
            }
            Tree::Word(word) => self.word(word, s)?,
        })
    }

    fn word(&self, word: &str, s: &Structure) -> Result<Vec<bool>, StructureError> {
        let in_group = |group: &HashSet<usize>| -> Result<Vec<bool>, StructureError> {
            if let Some(atom) = group.iter().find(|a| s.file_atoms > 0 && **a >= s.file_atoms) {
                let reason = format!("group \"{word}\" has atom {} but the file has {} atoms", atom + 1, s.file_atoms);
                return Err(self.error(reason));
            }
            Ok(s.original.iter().map(|i| group.contains(i)).collect())
        };
        if let Some(group) = self.groups.get(word) {
            return in_group(group);
        }
        let class: Option<fn(&str) -> bool> = match word.to_ascii_lowercase().as_str() {
            "all" => return Ok(vec![true; s.len()]),
            "protein" => Some(is_protein),
            "nucleic" => Some(is_nucleic),
            "water" => Some(is_water),
            "ions" => Some(is_ion),
            _ => None,
        };
        if let Some(test) = class {
            if s.residues.is_empty() {
                return Err(self.error(format!("the file has no residue names, which \"{word}\" needs")));
            }
            return Ok(s.residues.iter().map(|r| test(r)).collect());
        }
        if s.residues.iter().any(|r| r == word) {
            return Ok(s.residues.iter().map(|r| r == word).collect());
        }
        if let Some((_, group)) = self.groups.iter().find(|(name, _)| name.eq_ignore_ascii_case(word)) {
            return in_group(group);
        }
        if s.residues.iter().any(|r| r.eq_ignore_ascii_case(word)) {
            return Ok(s.residues.iter().map(|r| r.eq_ignore_ascii_case(word)).collect());
        }
        let mut known: Vec<&str> = s.residues.iter().map(String::as_str).collect::<HashSet<_>>().into_iter().collect();
        known.sort_unstable();
        known.truncate(40);
        let mut names: Vec<&str> = self.groups.keys().map(String::as_str).collect();
        names.sort_unstable();
        Err(self.error(format!(
            "\"{word}\" is neither a keyword nor a residue ({}) nor a group of the index file ({})",
            known.join(" "),
            if names.is_empty() { "none given with --index".to_string() } else { names.join(" ") }
        )))
    }
}

/// The atoms of `s` where `keep` is true.
fn subset(s: Structure, keep: &[bool]) -> Structure {
    fn pick<T>(rows: Vec<T>, keep: &[bool]) -> Vec<T> {
        rows.into_iter().zip(keep).filter(|(_, k)| **k).map(|(row, _)| row).collect()
    }
    let n = s.len();
    let mut remarks = s.remarks;
    if s.energy.is_some() || s.virial.is_some() || s.forces.is_some() {
        remarks
            .push("energy, forces and virial in the file belong to all atoms: dropped with the selection".to_string());
    }
    let width = s.aparam.as_ref().map_or(0, |a| a.len() / n.max(1));
    Structure {
        symbols: pick(s.symbols, keep),
        positions: pick(s.positions, keep),
        velocities: s.velocities.map(|v| pick(v, keep)),
        masses: s.masses.map(|m| pick(m, keep)),
        aparam: s.aparam.map(|a| {
            let rows: Vec<Vec<f64>> = a.chunks_exact(width.max(1)).map(<[f64]>::to_vec).collect();
            pick(rows, keep).concat()
        }),
        original: pick(s.original, keep),
        residues: pick(s.residues, keep),
        names: pick(s.names, keep),
        residue_numbers: pick(s.residue_numbers, keep),
        energy: None,
        forces: None,
        virial: None,
        remarks,
        ..s
    }
}

struct Parser<'a> {
    expression: &'a str,
    tokens: &'a [&'a str],
    at: usize,
}

impl Parser<'_> {
    fn error(&self, reason: String) -> StructureError {
        StructureError::Selection { expression: self.expression.to_string(), reason }
    }

    fn peek(&self) -> Option<&str> {
        self.tokens.get(self.at).copied()
    }

    fn accept(&mut self, word: &str) -> bool {
        let found = self.peek().is_some_and(|t| t.eq_ignore_ascii_case(word));
        self.at += usize::from(found);
        found
    }

    fn or(&mut self, depth: usize) -> Result<Tree, StructureError> {
        let mut tree = self.and(depth)?;
        // `or`, or simply the next term.
        while self.accept("or") || self.peek().is_some_and(|t| t != ")") {
            tree = Tree::Or(Box::new(tree), Box::new(self.and(depth)?));
        }
        Ok(tree)
    }

    fn and(&mut self, depth: usize) -> Result<Tree, StructureError> {
        let mut tree = self.unary(depth)?;
        while self.accept("and") {
            tree = Tree::And(Box::new(tree), Box::new(self.unary(depth)?));
        }
        Ok(tree)
    }

    fn unary(&mut self, depth: usize) -> Result<Tree, StructureError> {
        if depth > MAX_DEPTH {
            return Err(self.error(format!("nested deeper than {MAX_DEPTH}")));
        }
        if self.accept("not") {
            return Ok(Tree::Not(Box::new(self.unary(depth + 1)?)));
        }
        if self.accept("(") {
            let tree = self.or(depth + 1)?;
            if !self.accept(")") {
                return Err(self.error("a closing parenthesis is missing".to_string()));
            }
            return Ok(tree);
        }
        for column in ["name", "resname", "element"] {
            if self.accept(column) {
                let words = self.list(column)?;
                return Ok(Tree::Column(column, words));
            }
        }
        if self.accept("index") {
            let words = self.list("index")?;
            let range = |word: &String| {
                let (a, b) = word.split_once('-').unwrap_or((word, word));
                Some((a.trim().parse().ok()?, b.trim().parse().ok()?)).filter(|(a, b)| a <= b)
            };
            let ranges: Option<Vec<(usize, usize)>> = words.iter().map(range).collect();
            return Ok(Tree::Index(
                ranges.ok_or_else(|| self.error("index wants numbers such as 1-100,205".to_string()))?,
            ));
        }
        match self.peek() {
            None => Err(self.error("ends where a term is expected".to_string())),
            Some(word) if matches!(word.to_ascii_lowercase().as_str(), "and" | "or" | ")") => {
                Err(self.error(format!("\"{word}\" where a term is expected")))
            }
            Some(word) => {
                let words: Vec<String> = word.split(',').filter(|w| !w.is_empty()).map(str::to_string).collect();
                self.at += 1;
                let mut terms = words.into_iter().map(Tree::Word);
                let first = terms.next().ok_or_else(|| self.error("a comma where a term is expected".to_string()))?;
                Ok(terms.fold(first, |tree, term| Tree::Or(Box::new(tree), Box::new(term))))
            }
        }
    }

    fn list(&mut self, what: &str) -> Result<Vec<String>, StructureError> {
        let words: Vec<String> =
            self.peek().unwrap_or("").split(',').filter(|w| !w.is_empty()).map(str::to_string).collect();
        self.at += 1;
        if words.is_empty() || words[0] == ")" {
            return Err(self.error(format!("{what} wants a word behind it")));
        }
        Ok(words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn system() -> Structure {
        let atoms = [
            ("ALA", "CA", "C"),
            ("ALA", "HA", "H"),
            ("SOL", "OW", "O"),
            ("SOL", "HW1", "H"),
            ("NA", "NA", "Na"),
            ("LIG", "C1", "C"),
        ];
        Structure {
            symbols: atoms.iter().map(|a| a.2.to_string()).collect(),
            positions: (0..6).map(|i| [f64::from(i), 0.0, 0.0]).collect(),
            residues: atoms.iter().map(|a| a.0.to_string()).collect(),
            names: atoms.iter().map(|a| a.1.to_string()).collect(),
            residue_numbers: vec![1, 1, 2, 2, 3, 4],
            // One virtual site after the water was dropped.
            original: vec![0, 1, 2, 3, 5, 6],
            file_atoms: 7,
            energy: Some(1.0),
            aparam: Some((0..12).map(f64::from).collect()),
            ..Structure::default()
        }
    }

    fn groups() -> Vec<Group> {
        vec![
            Group { name: "Core".to_string(), atoms: vec![0, 5] },
            Group { name: "SOL".to_string(), atoms: vec![6] },
            Group { name: "Far".to_string(), atoms: vec![7] },
        ]
    }

    fn select(expression: &str, groups: Vec<Group>) -> Result<Vec<usize>, StructureError> {
        Ok(Selection::parse(expression, groups)?.apply(system())?.original)
    }

    #[test]
    fn expressions_keep_original_indices() {
        for (expression, expected) in [
            ("all", vec![0, 1, 2, 3, 5, 6]),
            ("protein", vec![0, 1]),
            ("not water", vec![0, 1, 5, 6]),
            ("Protein or LIG", vec![0, 1, 6]),
            ("LIG SOL", vec![2, 3, 6]),
            ("LIG,SOL", vec![2, 3, 6]),
            ("ions", vec![5]),
            ("not (water or ions)", vec![0, 1, 6]),
            ("not water and not protein", vec![5, 6]),
            ("element C,O and not LIG", vec![0, 2]),
            ("name CA or index 7", vec![0, 6]),
            ("index 1-2,6", vec![0, 1, 5]),
            ("not not protein", vec![0, 1]),
            ("sol", vec![2, 3]),
        ] {
            assert_eq!(select(expression, Vec::new()).unwrap(), expected, "{expression}");
        }
        // A second word is a term of its own.
        assert!(select("name CA HW1", Vec::new()).unwrap_err().to_string().contains("HW1"));
    }

    #[test]
    fn groups_of_the_index_file_count_file_atoms_and_go_first() {
        assert_eq!(select("Core", groups()).unwrap(), [0, 5]);
        assert_eq!(select("core", groups()).unwrap(), [0, 5]);
        assert_eq!(select("SOL", groups()).unwrap(), [6]);
        let message = select("Far", groups()).unwrap_err().to_string();
        assert!(message.contains("atom 8") && message.contains("7 atoms"), "{message}");
    }

    #[test]
    fn a_selection_takes_its_rows_and_drops_labels_of_the_whole() {
        let s = Selection::parse("LIG NA", Vec::new()).unwrap().apply(system()).unwrap();
        assert_eq!(s.symbols, ["Na", "C"]);
        assert_eq!(s.aparam, Some(vec![8.0, 9.0, 10.0, 11.0]));
        assert_eq!((s.energy, s.file_atoms, s.residue_numbers.len()), (None, 7, 2));
        assert!(s.remarks[0].contains("energy"));
    }

    #[test]
    fn what_cannot_be_understood_is_refused() {
        for expression in [
            "",
            "not",
            "(protein",
            "protein)",
            "and",
            "water and",
            "name",
            "index x",
            "index 5-1",
            "FOO",
            ",",
            "not protein and protein",
        ] {
            assert!(matches!(select(expression, Vec::new()), Err(StructureError::Selection { .. })), "{expression}");
        }
        assert!(select(&"(".repeat(2_000), Vec::new()).is_err());
        assert!(select(&"all ".repeat(2_000), Vec::new()).is_err());
        assert!(select(&"not ".repeat(1_000), Vec::new()).is_err());
    }
}
