//! Pairs that a client's list lacks though they stand within the model's cutoff.
//!
//! A list is trusted about who neighbours whom. But LAMMPS takes bonded neighbours out of its lists by default (`special_bonds`), which no model
//! without classical bonds can mean; so the first list of a handle is compared with a search of our own.

use crate::ghosts::GhostList;
use crate::Potential;
use std::fmt;
use weir_engine::graph::{GraphOptions, NeighbourList};

/// What a list lacks.
#[derive(Clone, Debug, PartialEq)]
pub struct Missing {
    /// Pairs, each counted once.
    pub pairs: usize,
    /// The nearest of them: indices of the client's, ghosts behind owned atoms.
    pub nearest: [usize; 2],
    /// Their distance, A.
    pub distance: f64,
    /// Within which was looked, A.
    pub cutoff: f64,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Missing { pairs, nearest: [i, j], distance, cutoff } = self;
        write!(
            f,
            "the neighbour list lacks {pairs} pairs of atoms within the model's cutoff of {cutoff} A; the nearest, of atoms {i} and {j} (counted \
             from 0, ghosts last), are {distance:.3} A apart. The model does not see these pairs. In LAMMPS, bonds of the data file take bonded \
             neighbours out: say special_bonds lj/coul 1 1 1; neigh_modify exclude does so on purpose"
        )
    }
}

impl GhostList {
    /// Pairs of centres with any atom within a cutoff that are not in the list; virtual atoms, atoms that are no centres (with their ghosts)
    /// and pairs of types for which `absent` says so are left out on purpose. None: nothing is missing, or positions cannot be searched,
    /// which the step will tell. Atoms and ghosts are taken as an isolated system: what is periodic, and where, the ghosts say.
    pub fn missing(
        &self,
        positions: &[[f64; 3]],
        cutoff: f64,
        error: f64,
        absent: impl Fn(i32, i32) -> bool,
    ) -> Option<Missing> {
        // A pair at the cutoff weighs nothing and may be judged otherwise by the client.
        let within = cutoff * (1.0 - 1e-6) - 2.0 * error;
        let order: Vec<u32> = (0..self.all() as u32).collect();
        let own = NeighbourList::build(positions, None, self.types(), &order, within, 0.0).ok()?;
        // In which centre's row an atom was seen last.
        let mut row_of = vec![u32::MAX; self.all()];
        let (mut rows, mut least, mut nearest) = (0usize, f64::INFINITY, [0; 2]);
        for i in (0..self.local()).filter(|&i| self.is_centre(i)) {
            self.row(i).iter().for_each(|&j| row_of[j as usize] = i as u32);
            for pair in &own.pairs[own.first[i] as usize..own.first[i + 1] as usize] {
                let j = pair.owner as usize;
                let meant = self.is_centre(self.owner(j)) && !absent(self.types()[i], self.types()[j]);
                if !meant || row_of[j] == i as u32 {
                    continue;
                }
                rows += 1;
                let d2: f64 = (0..3).map(|k| (positions[j][k] - positions[i][k]).powi(2)).sum();
                if d2 < least {
                    (least, nearest) = (d2, [i, j]);
                }
            }
        }
        // Seen from both ends, through a ghost where there is one.
        let pairs = rows.div_ceil(2);
        (rows > 0).then(|| Missing { pairs, nearest, distance: least.sqrt(), cutoff })
    }

    /// Tells once what the list lacks within `cutoff`. `error` is that of [`GhostList::hand_over`].
    pub fn tell_missing(&self, potential: &mut Potential, positions: &[[f64; 3]], cutoff: f64, error: f64) {
        if !potential.warns() {
            return;
        }
        let options = GraphOptions::of(potential.model());
        let absent = |a: i32, b: i32| options.excluded[a as usize * options.types + b as usize];
        // Threads of our own for a moment: those of everybody (rayon's) would stay with the client. Where there can be none, nothing is compared.
        let Ok(pool) = rayon::ThreadPoolBuilder::new().num_threads(potential.threads()).build() else { return };
        if let Some(missing) = pool.install(|| self.missing(positions, cutoff, error, absent)) {
            potential.tell(vec![missing.to_string()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ghosts::{Owners, RawList};

    /// A line of atoms 1 A apart, the last of them a ghost of the first.
    fn line(types: &[i32], centres: &[i32], rows: &[&[u32]]) -> GhostList {
        let first = (0..=rows.len()).map(|k| rows[..k].iter().map(|r| r.len()).sum()).collect();
        let raw = RawList { centres: centres.to_vec(), first, neighbours: rows.concat() };
        GhostList::new(types, 3, &raw, &Owners::Mapping(vec![0, 1, 2, 0])).unwrap()
    }

    const X: [[f64; 3]; 4] = [[0.0; 3], [1.0, 0.0, 0.0], [2.0, 0.0, 0.0], [3.0, 0.0, 0.0]];

    #[test]
    fn pairs_that_are_left_out_on_purpose_are_not_missed() {
        let never = |_, _| false;
        // All pairs within 1.5 A; the image of atom 2 beside atom 0 is not among the ghosts.
        let whole = line(&[0, 1, 0, 0], &[0, 1, 2], &[&[1], &[0, 2], &[1, 3]]);
        assert_eq!(whole.missing(&X, 1.5, 1e-9, never), None);
        let told = whole.missing(&X, 2.5, 1e-9, never).unwrap();
        assert_eq!((told.pairs, told.distance), (2, 2.0), "{told}");
        // A pair with a ghost, and one of owned atoms.
        let fewer = line(&[0, 1, 0, 0], &[0, 1, 2], &[&[], &[2], &[1]]);
        let told = fewer.missing(&X, 1.5, 1e-9, never).unwrap();
        assert_eq!((told.pairs, told.nearest), (2, [0, 1]), "{told}");
        assert!(told.to_string().contains("special_bonds") && told.to_string().contains("1.000 A"), "{told}");
        // Types that the model does not let see each other, a virtual atom, an atom that is no centre.
        let apart = |a, b| a != b;
        assert_eq!(fewer.missing(&X, 1.5, 1e-9, apart).unwrap().nearest, [2, 3]);
        let virtual_atom = line(&[0, -1, 0, 0], &[0, 1, 2], &[&[], &[], &[3]]);
        assert_eq!(virtual_atom.missing(&X, 1.5, 1e-9, never), None);
        let no_centre = line(&[0, 1, 0, 0], &[0, 2], &[&[], &[3]]);
        assert_eq!(no_centre.missing(&X, 1.5, 1e-9, never), None);
        assert_eq!(fewer.missing(&[[f64::NAN; 3]; 4], 1.5, 1e-9, never), None);
    }
}
