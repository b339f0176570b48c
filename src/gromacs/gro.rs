//! Writes a `.gro` file with six decimals: 1e-6 nm, and velocities with seven.

use anyhow::{bail, Result};
use std::fmt::Write;
use weir_engine::structure::Structure;

/// nm of an A.
const NM: f64 = 0.1;

/// A between the atoms and the wall of a box that was made, however the molecule turns: twice that, to the next image, is more than a cutoff.
const GAP: f64 = 10.0;

/// Name and residue of an atom, as they stand in structure and topology.
pub(super) fn label(s: &Structure, atom: usize) -> (i64, &str, &str) {
    let residue = s.residues.get(atom).map_or("SYS", |r| r.as_str());
    let name = s.names.get(atom).unwrap_or(&s.symbols[atom]);
    (s.residue_numbers.get(atom).copied().unwrap_or(1), if residue.is_empty() { "UNK" } else { residue }, name)
}

/// The frame, its cell in short vectors; without a cell, in the middle of a cube in which it can turn and stay 1 nm from the walls.
///
/// # Errors
/// Cells that are not lower triangular with positive diagonal, atoms too far away for the columns.
pub(super) fn write(s: &Structure) -> Result<String> {
    let mut shift = [0.0; 3];
    let cell = match s.cell {
        Some(cell) => super::cell::reduced(cell)?,
        None => {
            let axis = |a: usize| {
                let ends = s.positions.iter().map(|x| x[a]);
                ends.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), x| (l.min(x), h.max(x)))
            };
            let middle: [f64; 3] = std::array::from_fn(|a| 0.5 * (axis(a).0 + axis(a).1));
            let far = |x: &[f64; 3]| (0..3).map(|a| (x[a] - middle[a]).powi(2)).sum::<f64>().sqrt();
            let side = 2.0 * (s.positions.iter().map(far).fold(0.0, f64::max) + GAP);
            shift = middle.map(|m| 0.5 * side - m);
            [[side, 0.0, 0.0], [0.0, side, 0.0], [0.0, 0.0, side]]
        }
    };
    let mut text = format!("written by weir gromacs prepare\n{:5}\n", s.len());
    for atom in 0..s.len() {
        let (number, residue, name) = label(s, atom);
        let _ = write!(text, "{:5}{residue:<5.5}{name:>5.5}{:5}", number.rem_euclid(100_000), (atom + 1) % 100_000);
        for a in 0..3 {
            let x = (s.positions[atom][a] + shift[a]) * NM;
            if x.abs() >= 999.0 {
                bail!("atom {} is {x} nm away from the origin: too far for a .gro file", atom + 1);
            }
            let _ = write!(text, "{x:11.6}");
        }
        if let Some(v) = &s.velocities {
            for v in &v[atom] {
                let _ = write!(text, "{:11.7}", v * NM);
            }
        }
        text.push('\n');
    }
    let c = cell.map(|row| row.map(|x| x * NM));
    let mut sides = vec![c[0][0], c[1][1], c[2][2]];
    if c[1][0] != 0.0 || c[2][0] != 0.0 || c[2][1] != 0.0 {
        sides.extend([0.0, 0.0, c[1][0], 0.0, c[2][0], c[2][1]]);
    }
    for x in sides {
        let _ = write!(text, "{x:12.7}");
    }
    text.push('\n');
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_engine::structure::{read_bytes, Format, ReadOptions};

    #[test]
    fn what_is_written_reads_back() {
        let mut s = Structure {
            symbols: vec!["O".into(), "H".into(), "H".into()],
            positions: vec![[1.234567, -2.0, 3.5], [2.0, 2.5, 3.25], [0.125, 0.5, 12.0]],
            velocities: Some(vec![[1.5, -0.25, 0.0]; 3]),
            cell: Some([[20.0, 0.0, 0.0], [5.0, 19.0, 0.0], [-4.0, 3.0, 18.0]]),
            residues: vec!["SOL".into(); 3],
            names: vec!["OW".into(), "HW1".into(), "HW2".into()],
            residue_numbers: vec![7; 3],
            ..Structure::default()
        };
        let back = |s: &Structure| {
            let text = write(s).unwrap();
            read_bytes(Format::Gro, text.as_bytes(), &ReadOptions::default()).unwrap().remove(0)
        };
        let r = back(&s);
        assert_eq!((&r.symbols, &r.names, &r.residue_numbers), (&s.symbols, &s.names, &s.residue_numbers));
        let near = |a: &[[f64; 3]], b: &[[f64; 3]]| {
            a.as_flattened().iter().zip(b.as_flattened()).all(|(x, y)| (x - y).abs() < 1e-5)
        };
        assert!(near(&r.positions, &s.positions) && near(&r.velocities.unwrap(), s.velocities.as_ref().unwrap()));
        assert!(near(&r.cell.unwrap(), &s.cell.unwrap()));
        // Without a cell everything lies in a cube, at least 1 nm from its walls.
        s.cell = None;
        let r = back(&s);
        let side = r.cell.unwrap()[0][0];
        assert!(r.positions.iter().flatten().all(|x| *x > 10.0 - 1e-5 && *x < side - 10.0 + 1e-5), "{r:?}");
        assert!(side < 20.0 + 2.0 * 10.0, "{side}");
        s.cell = Some([[0.0, 20.0, 0.0], [20.0, 0.0, 0.0], [0.0, 0.0, 20.0]]);
        assert!(write(&s).unwrap_err().to_string().contains("rotate the structure"));
    }
}
