//! Order of atoms along a Hilbert curve, so that neighbours in space are neighbours in memory.

/// Bits per axis of the curve: 1024 cells an axis, finer than an atom for systems up to a micrometre cubed per 10^9 cells.
const BITS: u32 = 10;

/// Index along the three-dimensional Hilbert curve of integer coordinates below `2^BITS` (Skilling's transposition form).
fn hilbert_index(mut axis: [u32; 3]) -> u32 {
    let mut bit = 1u32 << (BITS - 1);
    while bit > 1 {
        let low = bit - 1;
        for k in 0..3 {
            if axis[k] & bit != 0 {
                axis[0] ^= low;
            } else {
                let swap = (axis[0] ^ axis[k]) & low;
                axis[0] ^= swap;
                axis[k] ^= swap;
            }
        }
        bit >>= 1;
    }
    axis[1] ^= axis[0];
    axis[2] ^= axis[1];
    let mut flip = 0;
    let mut bit = 1u32 << (BITS - 1);
    while bit > 1 {
        if axis[2] & bit != 0 {
            flip ^= bit - 1;
        }
        bit >>= 1;
    }
    let mut index = 0;
    for b in (0..BITS).rev() {
        for value in axis {
            index = (index << 1) | (((value ^ flip) >> b) & 1);
        }
    }
    index
}

/// Input indices of atoms in curve order; `fraction` are coordinates scaled to [0, 1) in each direction. Ties keep input order.
pub fn curve_order(fraction: &[[f64; 3]]) -> Vec<u32> {
    let cells = (1u32 << BITS) as f64;
    let mut keyed: Vec<(u32, u32)> = fraction
        .iter()
        .enumerate()
        .map(|(i, f)| (hilbert_index(f.map(|x| ((x * cells) as u32).min((1 << BITS) - 1))), i as u32))
        .collect();
    keyed.sort_unstable();
    keyed.into_iter().map(|(_, i)| i).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn consecutive_indices_are_neighbouring_cells() {
        let n = 8u32;
        let shift = BITS - 3;
        let mut cells: Vec<(u32, [u32; 3])> = Vec::new();
        for x in 0..n {
            for y in 0..n {
                for z in 0..n {
                    let c = [x, y, z];
                    cells.push((hilbert_index(c.map(|v| v << shift)), c));
                }
            }
        }
        cells.sort_unstable();
        for pair in cells.windows(2) {
            let distance: u32 = (0..3).map(|k| pair[0].1[k].abs_diff(pair[1].1[k])).sum();
            assert_eq!(distance, 1, "{:?} then {:?}", pair[0].1, pair[1].1);
        }
    }

    #[test]
    fn every_atom_appears_once() {
        let fraction: Vec<[f64; 3]> =
            (0..100).map(|i| [(i as f64 * 0.37) % 1.0, (i as f64 * 0.71) % 1.0, 0.5]).collect();
        let mut order = curve_order(&fraction);
        order.sort_unstable();
        assert_eq!(order, (0..100).collect::<Vec<u32>>());
    }
}
