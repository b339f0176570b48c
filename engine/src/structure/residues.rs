//! Residue names that MD people use, and what an atom name means inside them.

use super::symbols::symbol;
use crate::element::atomic_number;

const PROTEIN: &[&str] = &[
    "ALA", "ARG", "ASN", "ASP", "CYS", "GLN", "GLU", "GLY", "HIS", "ILE", "LEU", "LYS", "MET", "PHE", "PRO", "SER",
    "THR", "TRP", "TYR", "VAL", // protonation states and disulfides of the force fields
    "HID", "HIE", "HIP", "HSD", "HSE", "HSP", "HISA", "HISB", "HISD", "HISE", "HISH", "HIS1", "HIS2", "CYX", "CYM",
    "CYSH", "CYS2", "CYN", "ASH", "ASPH", "ASPP", "GLH", "GLUH", "GLUP", "LYN", "LYSH", "LSN", "ARGN", "TYM", "TYRU",
    "QLN", "HYP", "NLE", "ORN", "PGLU", // caps
    "ACE", "NME", "NMA", "NAC", "NH2", "NHE", "FOR", // with phosphorus or selenium
    "SEP", "TPO", "PTR", "MSE", "SEC", "CSE",
];

const NUCLEIC: &[&str] = &[
    "A", "C", "G", "U", "T", "I", "DA", "DC", "DG", "DT", "DU", "DI", "RA", "RC", "RG", "RU", "ADE", "CYT", "GUA",
    "THY", "URA",
];

const WATER: &[&str] = &[
    "SOL", "HOH", "WAT", "H2O", "DOD", "TIP", "TIP3", "TIP3P", "TIP4", "TIP4P", "TIP5", "TIP5P", "TP3", "TP4", "TP5",
    "T3P", "T4P", "T5P", "T3H", "SPC", "SPCE", "SPC/E", "OPC", "OPC3", "T4E", "TP4E", "TIP4E",
];

const LIPIDS: &[&str] = &[
    "POPC", "POPE", "POPS", "POPG", "POPA", "DPPC", "DPPE", "DPPS", "DPPG", "DOPC", "DOPE", "DOPS", "DOPG", "DMPC",
    "DMPE", "DMPG", "DLPC", "DLPE", "DSPC", "DSPE", "CHL1", "CHOL",
];

/// Beads that the Martini force field calls like this are no atoms, also where their residue is a lipid known atom by atom.
const BEADS: &[&str] = &["NC3", "NH3", "PO4", "PO3", "CNO", "ROH", "GL0", "GL1", "GL2", "GL3", "GL4"];

/// Names of ions beyond the element symbol.
const ION_NAMES: &[(&str, &str)] = &[
    ("SOD", "Na"),
    ("POT", "K"),
    ("CLA", "Cl"),
    ("CAL", "Ca"),
    ("LIT", "Li"),
    ("RUB", "Rb"),
    ("CES", "Cs"),
    ("CAD", "Cd"),
    ("BAR", "Ba"),
    ("IOD", "I"),
];

/// Massless sites of water models.
const VIRTUAL_SITES: &[&str] = &["M", "MW", "MW1", "MW2", "EP", "EPW", "EP1", "EP2", "LP", "LP1", "LP2", "LPA", "LPB"];

/// Amino acid, also with the `N` and `C` prefixes that AMBER gives to termini.
pub(crate) fn is_protein(residue: &str) -> bool {
    let known = |r: &str| PROTEIN.contains(&r);
    known(residue)
        || (residue.len() == 4 && residue.is_ascii() && residue.starts_with(['N', 'C']) && known(&residue[1..]))
}

/// Nucleotide, also with the `5`, `3`, `N` suffixes that AMBER gives to termini.
pub(crate) fn is_nucleic(residue: &str) -> bool {
    NUCLEIC.contains(&residue)
        || residue.strip_suffix(['5', '3', 'N']).is_some_and(|r| r.len() > 1 && NUCLEIC.contains(&r))
        || residue.strip_suffix(['5', '3']).is_some_and(|r| NUCLEIC.contains(&r))
}

/// Amino acid or nucleotide: such residues are linked to chains.
pub fn is_polymer(residue: &str) -> bool {
    is_protein(residue) || is_nucleic(residue)
}

/// Water of any model.
pub(crate) fn is_water(residue: &str) -> bool {
    WATER.contains(&residue.to_ascii_uppercase().as_str())
}

/// A residue that is one ion and carries its name.
pub(crate) fn is_ion(residue: &str) -> bool {
    residue == "ION" || residue == "IONS" || ion(residue).is_some()
}

/// Element of an ion's name: `NA`, `NA+`, `SOD`, `ZN2+`, `FE3`.
fn ion(name: &str) -> Option<&'static str> {
    let letters = name.trim_end_matches(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-')).to_ascii_uppercase();
    if let Some((_, element)) = ION_NAMES.iter().find(|(n, _)| *n == letters) {
        return Some(element);
    }
    match letters.as_str() {
        // Nucleotides and groups that carry an element's symbol as their name.
        "H" | "C" | "N" | "O" | "S" | "P" | "B" | "U" | "V" | "Y" | "W" => None,
        _ => atomic_number(&letters).and_then(|_| symbol(&letters)).filter(|s| *s != "X"),
    }
}

/// What an atom name means.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Meaning {
    /// This element.
    Element(&'static str),
    /// A site without mass, to be dropped.
    VirtualSite,
    /// One of several elements.
    Ambiguous(Vec<&'static str>),
    /// Nothing known.
    Unknown,
}

/// The element that `name` means in `residue`, by the conventions of PDB, GROMACS, AMBER and CHARMM.
pub(crate) fn meaning(residue: &str, name: &str) -> Meaning {
    let bare = name.trim_start_matches(|c: char| c.is_ascii_digit() || c == '\'' || c == '*');
    let first = bare.chars().next().unwrap_or(' ').to_ascii_uppercase();
    let letter = |allowed: &str| {
        let mut text = [0u8; 4];
        match first {
            'D' => Meaning::Element("H"),
            c if allowed.contains(c) => match symbol(c.encode_utf8(&mut text)) {
                Some(s) => Meaning::Element(s),
                None => Meaning::Unknown,
            },
            _ => Meaning::Unknown,
        }
    };
    if is_water(residue) {
        return if VIRTUAL_SITES.contains(&bare) { Meaning::VirtualSite } else { letter("OH") };
    }
    if let (Some(of_residue), Some(of_name)) = (ion(residue), ion(name)) {
        if of_residue == of_name {
            return Meaning::Element(of_name);
        }
    }
    if residue == "ION" || residue == "IONS" {
        return ion(name).map_or(Meaning::Unknown, Meaning::Element);
    }
    if is_protein(residue) {
        return match residue {
            "MSE" | "SEC" | "CSE" if bare.to_ascii_uppercase().starts_with("SE") => Meaning::Element("Se"),
            "SEP" | "TPO" | "PTR" => letter("HCNOSP"),
            _ => letter("HCNOS"),
        };
    }
    if is_nucleic(residue) {
        return letter("HCNOP");
    }
    if LIPIDS.contains(&residue) {
        return if BEADS.contains(&bare) { Meaning::Unknown } else { letter("HCNOP") };
    }
    of_unknown_residue(bare)
}

/// Outside known residues a name counts only if it has one reading: `C1`, `OXT`, `Cl2`, `ZN`, but not `CA`, `CL1` or `NB`.
fn of_unknown_residue(bare: &str) -> Meaning {
    let letters: String = bare.chars().take_while(char::is_ascii_alphabetic).collect();
    if ION_NAMES.iter().any(|(n, _)| *n == letters) || letters.is_empty() {
        return Meaning::Unknown;
    }
    let one = symbol(&letters[..1]).filter(|s| *s != "X" && atomic_number(&letters[..1]).is_some());
    let two = letters.get(..2).filter(|t| atomic_number(t).is_some_and(|z| z <= 94)).and_then(symbol);
    // `Cl` spells the element; `CL` and `Ca` in the sense of C-alpha do not occur in mixed case.
    let mixed_case = letters.len() >= 2 && letters.as_bytes()[1].is_ascii_lowercase();
    match (one, two) {
        (_, Some(two)) if mixed_case => Meaning::Element(two),
        (Some("H"), Some("He" | "Ho" | "Hf")) => Meaning::Element("H"),
        (Some(one), Some(two)) => Meaning::Ambiguous(vec![one, two]),
        (Some(one), None) => Meaning::Element(one),
        (None, Some(two)) => Meaning::Element(two),
        (None, None) => Meaning::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_mean_what_their_residue_says() {
        let element = |residue, name| match meaning(residue, name) {
            Meaning::Element(e) => e,
            other => panic!("{residue} {name}: {other:?}"),
        };
        for (residue, name, expected) in [
            ("ALA", "CA", "C"),
            ("CA", "CA", "Ca"),
            ("CAL", "CAL", "Ca"),
            ("CA2+", "CA", "Ca"),
            ("NA", "NA", "Na"),
            ("NA+", "NA+", "Na"),
            ("SOD", "SOD", "Na"),
            ("ION", "CL", "Cl"),
            ("GLU", "CD", "C"),
            ("SER", "HG", "H"),
            ("CYS", "SG", "S"),
            ("LEU", "1HD2", "H"),
            ("NLEU", "CD1", "C"),
            ("MSE", "SE", "Se"),
            ("MET", "SD", "S"),
            ("ARG", "NE", "N"),
            ("SOL", "HW1", "H"),
            ("TIP3", "OH2", "O"),
            ("DG5", "HO5'", "H"),
            ("DC", "P", "P"),
            ("U", "O2'", "O"),
            ("G3", "C1*", "C"),
            ("I", "I", "I"),
            ("DOD", "D1", "H"),
            ("LIG", "C12", "C"),
            ("LIG", "Cl1", "Cl"),
            ("LIG", "HB1", "H"),
            ("POPC", "C210", "C"),
            ("ZN", "ZN", "Zn"),
            ("HEM", "Fe", "Fe"),
        ] {
            assert_eq!(element(residue, name), expected, "{residue} {name}");
        }
        for (residue, name) in
            [("LIG", "CA"), ("LIG", "CL1"), ("LIG", "NA"), ("HEM", "NB"), ("HEM", "FE"), ("UNK", "HG1"), ("MOL", "SI")]
        {
            assert!(matches!(meaning(residue, name), Meaning::Ambiguous(_)), "{residue} {name}");
        }
        for (residue, name) in [
            ("LIG", "LP1"),
            ("LIG", "SOD"),
            ("ALA", "ZN"),
            ("LIG", "12"),
            ("SOL", "XX"),
            ("LIG", "é1"),
            ("", ""),
            ("DPPC", "PO4"),
        ] {
            assert_eq!(meaning(residue, name), Meaning::Unknown, "{residue} {name}");
        }
        for name in ["MW", "M", "EP", "EPW", "LP1"] {
            assert_eq!(meaning("SOL", name), Meaning::VirtualSite);
        }
    }
}
