//! Writes `weir.dat`.

use std::fmt::Write;
use std::path::Path;

/// Atom numbers from 1 of ascending indices from 0, as ranges with strides.
pub(super) fn ranges(atoms: &[usize]) -> Vec<String> {
    let mut words = Vec::new();
    let mut k = 0;
    while k < atoms.len() {
        let first = atoms[k];
        let step = atoms.get(k + 1).map_or(1, |next| next - first);
        let mut end = k;
        while end + 1 < atoms.len() && atoms[end + 1] - atoms[end] == step {
            end += 1;
        }
        // Two atoms apart are no stride yet: the second may begin a longer range.
        if end == k || (end == k + 1 && step > 1) {
            words.push(format!("{}", first + 1));
            k += 1;
            continue;
        }
        let stride = if step > 1 { format!(":{step}") } else { String::new() };
        words.push(format!("{}-{}{stride}", first + 1, atoms[end] + 1));
        k = end + 1;
    }
    words
}

/// Lines `key words ...` of a bearable length.
fn lines(key: &str, words: &[String]) -> String {
    let mut text = String::new();
    let mut line = key.to_string();
    for word in words {
        if line.len() + word.len() > 118 {
            text += &line;
            text.push('\n');
            line = key.to_string();
        }
        line.push(' ');
        line += word;
    }
    text + &line + "\n"
}

/// The configuration of a run: `atoms` (from 0, ascending) of these elements.
pub(super) fn write(model: &Path, head: Option<&str>, atoms: &[(usize, &str)], group: bool, periodic: bool) -> String {
    let mut text = String::from("# Weir's part of a GROMACS run: gmx mdrun -plumed weir.dat (docs/gromacs.md)\n");
    let _ = writeln!(text, "model {}", model.display());
    if let Some(head) = head {
        let _ = writeln!(text, "head {head}");
    }
    let _ = writeln!(text, "pbc {}", if periodic { "yes" } else { "no" });
    text += "energy_log weir_energy.xvg\nenergy_every 100\n";
    if group {
        // One line: the key may stand once.
        let all: Vec<usize> = atoms.iter().map(|a| a.0).collect();
        let _ = writeln!(text, "group {}", ranges(&all).join(" "));
    }
    let mut symbols: Vec<&str> = Vec::new();
    atoms.iter().for_each(|a| {
        if !symbols.contains(&a.1) {
            symbols.push(a.1)
        }
    });
    for symbol in symbols {
        let own: Vec<usize> = atoms.iter().filter(|a| a.1 == symbol).map(|a| a.0).collect();
        text += &lines(&format!("element {symbol}"), &ranges(&own));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn water_is_two_ranges() {
        let atoms: Vec<(usize, &str)> = (0..9).map(|k| (k, if k % 3 == 0 { "O" } else { "H" })).collect();
        let text = write(Path::new("/m.dp"), Some("A"), &atoms, true, true);
        assert!(text.contains("model /m.dp\nhead A\npbc yes\n") && text.contains("\ngroup 1-9\n"), "{text}");
        assert!(text.contains("\nelement O 1-7:3\n") && text.contains("\nelement H 2-3 5-6 8-9\n"), "{text}");
        assert_eq!(ranges(&[0, 4, 5, 6, 9, 12, 15, 40]), ["1", "5-7", "10-16:3", "41"]);
        assert_eq!(ranges(&[0, 5]), ["1", "6"]);
        let many = lines("element H", &vec!["100-200".to_string(); 40]);
        assert!(many.lines().count() > 2 && many.lines().all(|l| l.starts_with("element H 100") && l.len() <= 120));
    }
}
