//! Elements from atomic masses.

use crate::element::{mass, SYMBOLS};

/// The element whose standard mass is `given` (g/mol) within 0.015 or 0.1 %, whichever is wider. That takes the rounded masses
/// of force fields (12.01, 16.00, 65.4) and refuses united atoms (CH2 14.027 is not nitrogen 14.007) and repartitioned
/// hydrogens (4.032 is not helium 4.0026).
pub(crate) fn by_mass(given: f64) -> Option<&'static str> {
    let tolerance = (1e-3 * given).max(0.015);
    let distance = |s: &str| (mass(s).unwrap_or(f64::INFINITY) - given).abs();
    let near = |s: &&&'static str| distance(s) <= tolerance;
    let best = SYMBOLS.iter().filter(near).min_by(|a, b| distance(a).total_cmp(&distance(b)))?;
    // Am and Cm and the like share a mass number: no answer is better than a wrong one.
    let shared = SYMBOLS.iter().any(|s| s != best && mass(s) == mass(best));
    (!shared).then_some(best)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masses_of_force_fields_find_their_element() {
        for (m, e) in [
            (1.0, "H"),
            (1.008, "H"),
            (12.0, "C"),
            (12.01, "C"),
            (14.01, "N"),
            (16.0, "O"),
            (35.453, "Cl"),
            (63.55, "Cu"),
        ] {
            assert_eq!(by_mass(m), Some(e));
        }
        for m in [0.0, 14.027, 15.035, 4.032, 3.024, 11.994, f64::NAN, -1.0, 1e300, 2.014, 247.0] {
            assert_eq!(by_mass(m), None, "{m}");
        }
    }
}
