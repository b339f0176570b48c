//! Judges the length of the steps.

use super::mdp;
use weir_engine::structure::Structure;

/// The longest step that free bonds to hydrogen bear, ps.
const LONGEST: f64 = 0.001;

/// A remark where the steps of these parameters are too long for atoms that the model moves: whatever constraints the parameters name, none acts
/// on a bond that the model has.
pub(super) fn remark(text: &str, atoms: &Structure) -> Option<String> {
    // grompp's own default is the longest that is borne.
    let dt: f64 = mdp::value(text, "dt")?.parse().ok()?;
    let light = atoms.symbols.iter().any(|s| s == "H" || s == "D");
    if !light || dt <= LONGEST {
        return None;
    }
    let held = mdp::value(text, "constraints").is_some_and(|c| !c.eq_ignore_ascii_case("none"));
    let but = if held { ", constraints do not act on the model's atoms" } else { "" };
    Some(format!("dt = {dt} ps: the model's bonds to hydrogen are free{but}; take 0.0005 (at most {LONGEST})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_beyond_a_femtosecond_are_remarked_where_there_is_hydrogen() {
        let atoms = |symbols: &[&str]| Structure {
            symbols: symbols.iter().map(ToString::to_string).collect(),
            ..Structure::default()
        };
        let told = remark("dt = 0.002\nconstraints = h-bonds\n", &atoms(&["C", "H"])).unwrap();
        assert!(told.contains("0.002 ps") && told.contains("constraints do not act"), "{told}");
        assert!(!remark("dt = 0.002\n", &atoms(&["H"])).unwrap().contains("constraints"));
        for (text, symbols) in [("dt = 0.001", ["C", "H"]), ("", ["C", "H"]), ("dt = 0.002", ["C", "O"])] {
            assert_eq!(remark(text, &atoms(&symbols)), None, "{text} {symbols:?}");
        }
    }
}
