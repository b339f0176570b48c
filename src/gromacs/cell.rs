//! Box vectors as GROMACS wants them.

use anyhow::{bail, Result};

/// GROMACS refuses vectors that lean over more than this part of another's length.
const MARGIN: f64 = 0.501;

/// Shorter vectors of the same lattice, where GROMACS would refuse these. Positions stay as they are.
///
/// # Errors
/// Cells that are not lower triangular with positive diagonal: the structure would have to be turned.
pub(super) fn reduced(mut cell: [[f64; 3]; 3]) -> Result<[[f64; 3]; 3]> {
    if cell[0][1] != 0.0 || cell[0][2] != 0.0 || cell[1][2] != 0.0 || (0..3).any(|k| cell[k][k] <= 0.0) {
        bail!("GROMACS needs box vectors with a along x, b in the xy plane and positive diagonal, but they are {cell:?} A: rotate the structure first");
    }
    // c by b, then b and c by a: what comes later does not touch what was done.
    for (row, by) in [(2, 1), (1, 0), (2, 0)] {
        let lean = cell[row][by] / cell[by][by];
        if lean.abs() > MARGIN {
            let n = lean.round();
            (0..=by).for_each(|a| cell[row][a] -= n * cell[by][a]);
        }
    }
    Ok(cell)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skewed_boxes_become_short_ones_of_the_same_lattice() {
        let skewed = [[10.0, 0.0, 0.0], [17.0, 9.0, 0.0], [-14.0, 13.5, 8.0]];
        let short = reduced(skewed).unwrap();
        for (row, by) in [(1, 0), (2, 0), (2, 1)] {
            assert!(short[row][by].abs() <= MARGIN * short[by][by], "{short:?}");
        }
        // c - c' must be a whole combination of a and b, and b - b' of a.
        for row in 1..3 {
            let d: [f64; 3] = std::array::from_fn(|k| skewed[row][k] - short[row][k]);
            let of_b = d[1] / 9.0;
            let of_a = (d[0] - of_b * 17.0) / 10.0;
            assert!(d[2] == 0.0 && (of_b - of_b.round()).abs() < 1e-12 && (of_a - of_a.round()).abs() < 1e-12, "{d:?}");
        }
        assert_ne!(short, skewed);
    }

    #[test]
    fn boxes_that_gromacs_takes_are_left_alone_and_turned_ones_refused() {
        // A rhombic dodecahedron leans by exactly one half.
        let dodecahedron = [[8.0, 0.0, 0.0], [0.0, 8.0, 0.0], [4.0, 4.0, 5.6568]];
        assert_eq!(reduced(dodecahedron).unwrap(), dodecahedron);
        for turned in
            [[[0.0, 9.0, 0.0], [9.0, 0.0, 0.0], [0.0, 0.0, 9.0]], [[9.0, 0.0, 0.0], [0.0, -9.0, 0.0], [0.0, 0.0, 9.0]]]
        {
            assert!(reduced(turned).unwrap_err().to_string().contains("rotate the structure"));
        }
    }
}
