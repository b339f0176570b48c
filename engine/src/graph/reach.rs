//! How long a skin list lasts.

use super::cell::dot;
use super::Cell;

/// What a skin list was built for: all pairs within cutoff + skin at the positions and in the cell of its build.
#[derive(Clone, Debug, PartialEq)]
pub struct Reach {
    /// Edge cutoff, A.
    pub cutoff: f64,
    /// Skin, A.
    pub skin: f64,
    /// Rows of the cell, A.
    pub cell: Option<[[f64; 3]; 3]>,
}

/// How far atoms may be from where a list was built, in a cell that may have changed since.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Drift {
    /// What the change of the cell does to a row vector: `x deformation`; unity where it has not changed.
    pub deformation: [[f64; 3]; 3],
    /// Square of the distance that an atom may have from its deformed place, A^2.
    pub limit2: f64,
}

impl Drift {
    /// Of a list that somebody else answers for.
    pub const ANY: Drift = Drift { deformation: UNITY, limit2: f64::INFINITY };

    /// Whether an atom that was at `from` when the list was built has gone too far.
    pub fn too_far(&self, from: [f64; 3], x: [f64; 3]) -> bool {
        let f = &self.deformation;
        let d: [f64; 3] = std::array::from_fn(|k| x[k] - (from[0] * f[0][k] + from[1] * f[1][k] + from[2] * f[2][k]));
        let d2 = dot(d, d);
        d2 > self.limit2 || !d2.is_finite()
    }
}

const UNITY: [[f64; 3]; 3] = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];

impl Reach {
    /// Distance within which pairs are in the list, A.
    pub fn far(&self) -> f64 {
        self.cutoff + self.skin
    }

    /// How far atoms may drift in a cell; none: in this one a pair within the cutoff could be missing wherever they are.
    ///
    /// With F = h0^-1 h (rows of the old and of the new cell) and u = x - x0 F, a pair that was d0 apart is d0 F + u_j - u_i apart, whatever its
    /// image. So one that is not in the list is farther than s (cutoff + skin) - 2 max |u|, where s is the smallest that F does to the
    /// length of a vector: nothing is missing while |u| is at most half of what s (cutoff + skin) exceeds the cutoff by. (A rotation of the
    /// cell costs nothing; a compression by a thousandth costs 0.007 A of a skin of 1 A around a cutoff of 6 A.)
    pub fn under(&self, cell: Option<&[[f64; 3]; 3]>) -> Option<Drift> {
        let deformation = match (&self.cell, cell) {
            (old, new) if old.as_ref() == new => UNITY,
            (Some(old), Some(new)) => deformation(old, new)?,
            _ => return None,
        };
        let stretch = if deformation == UNITY { 1.0 } else { least_stretch2(&deformation).sqrt() };
        // A hair below, so that rounding in the sums cannot hide a pair.
        let limit = 0.5 * (stretch * self.far() - self.cutoff) * (1.0 - 1e-9);
        // With no skin a list serves its own positions alone.
        (limit >= 0.0).then_some(Drift { deformation, limit2: limit * limit })
    }
}

/// What takes the rows of one cell to those of another.
fn deformation(old: &[[f64; 3]; 3], new: &[[f64; 3]; 3]) -> Option<[[f64; 3]; 3]> {
    let inverse = Cell::new(old).ok()?.inverse;
    // Column a of the inverse is `inverse[a]`.
    Some(std::array::from_fn(|i| std::array::from_fn(|k| (0..3).map(|a| inverse[a][i] * new[a][k]).sum())))
}

/// A bound from below of |d F|^2 / |d|^2: Gershgorin's for the smallest eigenvalue of F F^T, exact where F scales along the axes or rotates.
fn least_stretch2(f: &[[f64; 3]; 3]) -> f64 {
    let row = |i: usize| {
        let apart: f64 = (0..3).filter(|&k| k != i).map(|k| dot(f[i], f[k]).abs()).sum();
        dot(f[i], f[i]) - apart
    };
    // Rounding of its own: a few last bits of numbers near one.
    ((0..3).map(row).fold(f64::INFINITY, f64::min) - 1e-14).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: [[f64; 3]; 3] = [[12.0, 0.0, 0.0], [3.0, 11.0, 0.0], [-2.0, 1.0, 13.0]];

    const REACH: Reach = Reach { cutoff: 6.0, skin: 1.0, cell: Some(OLD) };

    fn times(x: [f64; 3], f: [[f64; 3]; 3]) -> [f64; 3] {
        std::array::from_fn(|k| (0..3).map(|i| x[i] * f[i][k]).sum())
    }

    fn under(f: [[f64; 3]; 3]) -> Option<Drift> {
        REACH.under(Some(&OLD.map(|v| times(v, f))))
    }

    #[test]
    fn a_compressed_cell_leaves_atoms_less_room_and_a_turned_one_as_much() {
        let close = |f, limit: f64| {
            let drift = under(f).unwrap();
            assert!((drift.limit2.sqrt() - limit).abs() < 1e-7, "{drift:?} for {limit}");
        };
        close(UNITY, 0.5);
        let scaled = |s: [f64; 3]| [[s[0], 0.0, 0.0], [0.0, s[1], 0.0], [0.0, 0.0, s[2]]];
        close(scaled([0.99; 3]), 0.5 * (0.99 * 7.0 - 6.0));
        close(scaled([1.02, 0.98, 1.0]), 0.5 * (0.98 * 7.0 - 6.0));
        close(scaled([1.01; 3]), 0.5 * (1.01 * 7.0 - 6.0));
        assert_eq!(under(scaled([0.85; 3])), None);
        let (s, c) = 0.3f64.sin_cos();
        let (turn, back) = ([[c, s, 0.0], [-s, c, 0.0], [0.0, 0.0, 1.0]], [[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]]);
        close(turn, 0.5);
        // An atom that turns with the cell has not moved; one that stays, or turns the other way, has.
        let (x, drift) = ([7.0, -4.0, 2.0], under(turn).unwrap());
        assert!(!drift.too_far(x, times(x, turn)) && drift.too_far(x, x) && drift.too_far(x, times(x, back)));
    }

    #[test]
    fn a_cell_that_comes_or_goes_leaves_no_room() {
        assert_eq!(REACH.under(None), None);
        assert_eq!(Reach { cell: None, ..REACH }.under(Some(&OLD)), None);
        assert!(Reach { cell: None, ..REACH }.under(None).is_some());
    }

    #[test]
    fn no_vector_shrinks_by_more_than_the_bound() {
        let mut state = 9u64;
        let mut next = || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 11) as f64 / (1u64 << 53) as f64 - 0.5
        };
        let mut tight = 0;
        for _ in 0..200 {
            let f: [[f64; 3]; 3] =
                std::array::from_fn(|i| std::array::from_fn(|k| f64::from(u8::from(i == k)) + 0.3 * next()));
            let bound = least_stretch2(&f);
            let mut least = f64::INFINITY;
            for _ in 0..200 {
                let d: [f64; 3] = std::array::from_fn(|_| next());
                let e = times(d, f);
                least = least.min(dot(e, e) / dot(d, d));
            }
            assert!(bound <= least, "{bound} above {least}");
            tight += usize::from(bound > 0.5 * least);
        }
        assert!(tight > 100, "{tight}");
    }
}
