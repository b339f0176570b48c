//! The electron-configuration rows that feed the type layer of models with `use_econf_tebd` (specification section 11).
//!
//! A row has two entries (spins) for each orbital from 1s to 7p, +c where occupied and -c where empty, with c chosen so that the
//! row has length one. Subshells fill by Hund's rule: a half-filled orbital has its second entry set.

use super::error::ModelError;

/// Entries of a row: two for each of 59 orbitals.
pub const WIDTH: usize = 118;

/// Ground-state configurations, one element a line.
const CONFIGURATIONS: &str = include_str!("econf.txt");

/// Subshells in the order of the row, with their number of orbitals.
const SUBSHELLS: [(&str, usize); 19] = [
    ("1s", 1),
    ("2s", 1),
    ("2p", 3),
    ("3s", 1),
    ("3p", 3),
    ("3d", 5),
    ("4s", 1),
    ("4p", 3),
    ("4d", 5),
    ("4f", 7),
    ("5s", 1),
    ("5p", 3),
    ("5d", 5),
    ("5f", 7),
    ("6s", 1),
    ("6p", 3),
    ("6d", 5),
    ("7s", 1),
    ("7p", 3),
];

/// Rows of the elements of a type map, T x [`WIDTH`], row-major.
///
/// # Errors
/// [`ModelError::Entry`] for a type that is not an element symbol.
pub fn econf_rows(type_map: &[String]) -> Result<Vec<f64>, ModelError> {
    let mut rows = Vec::with_capacity(type_map.len() * WIDTH);
    for (index, name) in type_map.iter().enumerate() {
        let occupied = occupation(name).ok_or_else(|| {
            let problem =
                format!("\"{name}\" is no element symbol, so it has no electron configuration (use_econf_tebd)");
            ModelError::entry(format!("type_map[{index}]"), problem)
        })?;
        push_row(&occupied, &mut rows);
    }
    Ok(rows)
}

/// Electrons in each subshell of an element.
fn occupation(element: &str) -> Option<[usize; 19]> {
    let line = CONFIGURATIONS.lines().find(|l| l.split(' ').next() == Some(element))?;
    let mut electrons = [0; 19];
    for part in line.split(' ').skip(1) {
        if let Some(core) = part.strip_prefix('[').and_then(|p| p.strip_suffix(']')) {
            electrons = occupation(core)?;
            continue;
        }
        let shell = SUBSHELLS.iter().position(|(name, _)| *name == &part[..2])?;
        electrons[shell] = part[2..].parse().ok()?;
    }
    Some(electrons)
}

fn push_row(electrons: &[usize; 19], rows: &mut Vec<f64>) {
    let value = 1.0 / (WIDTH as f64).sqrt();
    let sign = |occupied: bool| if occupied { value } else { -value };
    for ((_, orbitals), &count) in SUBSHELLS.iter().zip(electrons) {
        for orbital in 0..*orbitals {
            let pair = count > orbitals + orbital;
            rows.extend([sign(pair), sign(pair || count > orbital)]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::element::SYMBOLS;

    #[test]
    fn every_element_has_as_many_occupied_spins_as_its_atomic_number() {
        let names: Vec<String> = SYMBOLS.iter().map(|s| s.to_string()).collect();
        let rows = econf_rows(&names).unwrap();
        for (z, row) in rows.chunks_exact(WIDTH).enumerate() {
            assert_eq!(row.iter().filter(|v| **v > 0.0).count(), z + 1, "{}", names[z]);
            assert!((row.iter().map(|v| v * v).sum::<f64>() - 1.0).abs() < 1e-12);
        }
        // Iron by hand: argon, 3d6 (one pair), 4s2.
        let iron = &rows[25 * WIDTH..26 * WIDTH];
        let spins: String = iron.iter().take(32).map(|v| if *v > 0.0 { '1' } else { '0' }).collect();
        assert_eq!(spins, "11111111111111111111010101011100");
        assert!(econf_rows(&["HW".to_string()]).is_err());
    }

    #[test]
    fn rows_equal_the_table_that_deepmd_kit_uses() {
        let Some(shared) = crate::model::test_support::shared() else { return };
        let text = std::fs::read_to_string(shared.join("fixtures/econf_table.json")).unwrap();
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        let table = json["table"].as_object().unwrap();
        assert_eq!(table.len(), 118);
        for (name, row) in table {
            let expected: Vec<f64> = row.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect();
            assert_eq!(econf_rows(std::slice::from_ref(name)).unwrap(), expected, "{name}");
        }
    }
}
