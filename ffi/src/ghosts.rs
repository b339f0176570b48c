//! Ghost atoms of MD codes: images of the atoms that a rank owns. A list between owned atoms and ghosts becomes a list between owners with
//! images.
//!
//! What is trusted: the list says who neighbours whom (an MD code may be periodic in two directions only, or leave pairs out on purpose, and
//! sends a box all the same). Where every ghost stands a whole number of lattice vectors from its owner, images are those numbers, and the
//! edges have the bits of a periodic search. Where the box is missing or contradicts the ghosts, images are the displacements themselves.

use crate::potential::Rows;
use crate::{Error, Potential};
use weir_engine::backend::{FrameParameters, Request};
use weir_engine::graph::{Cell, Images, Pair};

/// Exchange of one direction within a rank: rows are copied to the rows behind `first`.
#[derive(Clone, Debug, PartialEq)]
pub struct Swap {
    /// Rows that are sent.
    pub sent: Vec<i32>,
    /// First row that receives.
    pub first: i32,
    /// Rank that they are sent to, and rank that is received from.
    pub ranks: (i32, i32),
}

/// Who owns the ghosts.
#[derive(Clone, Debug, PartialEq)]
pub enum Owners {
    /// Told atom by atom; entries of owned atoms are not looked at.
    Mapping(Vec<i32>),
    /// To be followed through the swaps, in their order.
    Swaps(Vec<Swap>),
    /// Nobody says.
    Unknown,
}

/// A neighbour list of an MD code: for each row a centre and its neighbours, ghosts included.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RawList {
    /// Centres.
    pub centres: Vec<i32>,
    /// Start of each row's neighbours, one entry more than centres.
    pub first: Vec<usize>,
    /// Neighbours.
    pub neighbours: Vec<u32>,
}

/// How images are expressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// Whole lattice vectors.
    Lattice,
    /// Displacements.
    Table,
}

/// A list taken over, with the owner of every ghost.
#[derive(Debug)]
pub struct GhostList {
    types: Vec<i32>,
    local: usize,
    owner: Vec<u32>,
    /// Owned atoms that the list has a row for.
    centre: Vec<bool>,
    /// CSR by owned atom: start, neighbour (owned or ghost).
    first: Vec<u32>,
    neighbours: Vec<u32>,
    mode: Mode,
    /// Lattice multiples of every atom, where [`Mode::Lattice`].
    images: Vec<[i32; 3]>,
    table: Vec<[f64; 3]>,
}

/// Owner of every atom.
///
/// # Errors
/// Ghosts that nobody owns, entries out of range, swaps with other ranks, an owner of another type.
fn owners(types: &[i32], local: usize, from: &Owners) -> Result<Vec<u32>, Error> {
    const NONE: u32 = u32::MAX;
    let all = types.len();
    let mut owner: Vec<u32> = (0..all).map(|k| if k < local { k as u32 } else { NONE }).collect();
    match from {
        Owners::Mapping(map) => {
            for ghost in local..all {
                let o = *map.get(ghost).unwrap_or(&-1);
                if !(0..local as i64).contains(&i64::from(o)) {
                    return Err(Error::Argument(format!(
                        "ghost atom {ghost} is mapped to atom {o}, which is none of {local} owned ones"
                    )));
                }
                owner[ghost] = o as u32;
            }
        }
        Owners::Swaps(swaps) => {
            let me = swaps.first().map(|s| s.ranks.0);
            for (number, swap) in swaps.iter().enumerate() {
                if [swap.ranks.0, swap.ranks.1].iter().any(|r| Some(*r) != me) {
                    return Err(Error::Ranks(2));
                }
                for (k, &row) in swap.sent.iter().enumerate() {
                    let to = i64::from(swap.first) + k as i64;
                    let source = usize::try_from(row).ok().and_then(|r| owner.get(r)).copied().unwrap_or(NONE);
                    if source == NONE || !(local as i64..all as i64).contains(&to) {
                        let text =
                            format!("swap {number} copies atom {row} to {to}, of {local} owned atoms and {all} in all");
                        return Err(Error::Argument(text));
                    }
                    owner[to as usize] = source;
                }
            }
        }
        Owners::Unknown => {}
    }
    if let Some(ghost) = owner.iter().position(|&o| o == NONE) {
        return Err(Error::Argument(format!(
            "{} ghost atoms without owners (the first is {ghost}): give a mapping (in LAMMPS: atom_modify map yes) or the swaps of one rank",
            all - local
        )));
    }
    let differs = |&k: &usize| types[k] != types[owner[k] as usize];
    if let Some(ghost) = (local..all).find(differs) {
        let o = owner[ghost];
        return Err(Error::Argument(format!(
            "ghost atom {ghost} has type {}, but its owner, atom {o}, has type {}",
            types[ghost], types[o as usize]
        )));
    }
    Ok(owner)
}

/// A list that holds every pair once is not what is asked for, and would give wrong energies in silence. CSR by atom; neighbours from `local`
/// on and atoms that are no centres are passed over.
///
/// # Errors
/// More than half of the pairs have no counterpart.
pub fn check_full(local: usize, centre: &[bool], first: &[u32], neighbours: &[u32]) -> Result<(), Error> {
    let counted = |i: usize| {
        let row = &neighbours[first[i] as usize..first[i + 1] as usize];
        row.iter().map(|&j| j as usize).filter(move |&j| j < local && j != i && centre[j])
    };
    let key = |i: usize, j: usize| ((i.min(j) as u64) << 32) | i.max(j) as u64;
    // Where every pair has its counterpart, one of the two adds what the other takes away. A new list comes every few steps, and sorting its
    // pairs takes a third of the time of all that is done with them.
    let balance = (0..local).flat_map(|i| counted(i).map(move |j| (i, j)));
    let balance = balance.fold(0u64, |sum, (i, j)| {
        let mixed = mix(key(i, j));
        if i < j {
            sum.wrapping_add(mixed)
        } else {
            sum.wrapping_sub(mixed)
        }
    });
    if balance == 0 {
        return Ok(());
    }
    let mut keys: Vec<u64> = (0..local).flat_map(|i| counted(i).map(move |j| key(i, j))).collect();
    keys.sort_unstable();
    let mut single = 0;
    let mut k = 0;
    while k < keys.len() {
        let same = keys[k..].iter().take_while(|x| **x == keys[k]).count();
        single += same % 2;
        k += same;
    }
    if 2 * single > keys.len() {
        return Err(Error::Argument(format!(
            "the neighbour list holds {single} of {} pairs of owned atoms in one direction only: a full list is needed",
            keys.len()
        )));
    }
    Ok(())
}

/// A number whose bits all depend on all bits of another (the finaliser of MurmurHash3).
fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    x = (x ^ (x >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    x ^ (x >> 33)
}

impl GhostList {
    /// Takes over a list. `types` are those of all atoms, owned ones first; `local` counts those.
    ///
    /// # Errors
    /// Entries out of range, ghosts without owners, half lists.
    pub fn new(types: &[i32], local: usize, raw: &RawList, from: &Owners) -> Result<Self, Error> {
        let all = types.len();
        let owner = owners(types, local, from)?;
        let mut row = vec![None; local];
        for (k, &c) in raw.centres.iter().enumerate() {
            match usize::try_from(c).ok().and_then(|c| row.get_mut(c)) {
                Some(slot) => *slot = Some(k),
                None => {
                    return Err(Error::Argument(format!(
                        "centre {c} of the neighbour list is none of {local} owned atoms"
                    )))
                }
            }
        }
        let mut first = vec![0u32];
        let mut neighbours = Vec::with_capacity(raw.neighbours.len());
        for (i, k) in row.iter().enumerate() {
            if let Some(k) = k {
                for &j in &raw.neighbours[raw.first[*k]..raw.first[*k + 1]] {
                    if j as usize >= all {
                        return Err(Error::Argument(format!("neighbour {j} of atom {i} is none of {all} atoms")));
                    }
                    neighbours.push(j);
                }
            }
            let end = u32::try_from(neighbours.len());
            first.push(end.map_err(|_| Error::Argument("more than 2^32 pairs in the neighbour list".into()))?);
        }
        let centre: Vec<bool> = row.iter().map(Option::is_some).collect();
        check_full(local, &centre, &first, &neighbours)?;
        Ok(GhostList {
            types: types.to_vec(),
            local,
            owner,
            centre,
            first,
            neighbours,
            mode: Mode::Table,
            images: Vec::new(),
            table: Vec::new(),
        })
    }

    /// Owned atoms.
    pub fn local(&self) -> usize {
        self.local
    }

    /// Who owns an atom, ghost or not.
    pub fn owner(&self, atom: usize) -> usize {
        self.owner[atom] as usize
    }

    /// Whether the list has a row for an owned atom.
    pub fn is_centre(&self, atom: usize) -> bool {
        self.centre[atom]
    }

    /// Neighbours of an owned atom.
    pub fn row(&self, atom: usize) -> &[u32] {
        &self.neighbours[self.first[atom] as usize..self.first[atom + 1] as usize]
    }

    /// Types of all atoms, as the list was made with them.
    pub fn types(&self) -> &[i32] {
        &self.types
    }

    /// Owned atoms and ghosts.
    pub fn all(&self) -> usize {
        self.types.len()
    }

    /// Lattice multiples of every atom, if all ghosts stand where the box says.
    fn lattice_images(&self, positions: &[[f64; 3]], cell: &Cell, tolerance: f64) -> Option<Vec<[i32; 3]>> {
        let image = |k: usize| {
            let d = self.displacement(positions, k);
            let n = cell.fractional(d).map(f64::round);
            let near = n.iter().all(|x| x.abs() < 1e6);
            let n = n.map(|x| x as i32);
            let t = cell.translation(n);
            (near && (0..3).all(|a| (d[a] - t[a]).abs() <= tolerance)).then_some(n)
        };
        let ghosts = (self.local..self.types.len()).map(|k| if self.types[k] < 0 { Some([0; 3]) } else { image(k) });
        (0..self.local).map(|_| Some([0; 3])).chain(ghosts).collect()
    }

    /// From the owner to the atom, A.
    fn displacement(&self, positions: &[[f64; 3]], k: usize) -> [f64; 3] {
        let (x, o) = (positions[k], positions[self.owner[k] as usize]);
        [x[0] - o[0], x[1] - o[1], x[2] - o[2]]
    }

    /// Hands the list to a potential, at the positions of all atoms. `error` bounds what rounding did to the client's coordinates, A;
    /// `strict` demands that ghosts stand on the lattice (owners that were derived, not told).
    ///
    /// # Errors
    /// Those of [`Potential::take_list`]; ghosts that are off the lattice, where that is demanded.
    pub fn hand_over(
        &mut self,
        potential: &mut Potential,
        positions: &[[f64; 3]],
        cell: Option<&Rows>,
        error: f64,
        strict: bool,
    ) -> Result<(), Error> {
        let prepared = cell.and_then(|c| Cell::new(c).ok());
        let images = prepared.as_ref().and_then(|c| self.lattice_images(positions, c, error));
        if strict && images.is_none() && self.all() > self.local {
            return Err(Error::Argument(
                "owners of ghost atoms follow from the swaps, but do not stand whole box vectors apart: give a mapping (in LAMMPS: atom_modify map yes)".into(),
            ));
        }
        let mode = if images.is_some() { Mode::Lattice } else { Mode::Table };
        let images = images.unwrap_or_default();
        let pair = |k: usize| {
            let j = self.neighbours[k] as usize;
            let image = match mode {
                Mode::Lattice => images[j],
                Mode::Table if j < self.local => [0; 3],
                Mode::Table => [(j - self.local) as i32 + 1, 0, 0],
            };
            Pair { owner: self.owner[j], image }
        };
        let cell = cell.filter(|_| mode == Mode::Lattice);
        potential.take_pairs(&self.types[..self.local], &positions[..self.local], cell, &self.first, pair)?;
        // Only now: a list that was refused leaves the old one, whose images mean what they meant.
        (self.mode, self.images) = (mode, images);
        Ok(())
    }

    /// A step with the list that was handed over. A box that no longer agrees with the ghosts is no longer used.
    ///
    /// # Errors
    /// Those of [`Potential::compute_given`].
    pub fn compute(
        &mut self,
        potential: &mut Potential,
        positions: &[[f64; 3]],
        cell: Option<&Rows>,
        error: f64,
        parameters: &FrameParameters,
        request: Request,
    ) -> Result<(), Error> {
        let prepared = cell.and_then(|c| Cell::new(c).ok());
        if self.mode == Mode::Lattice && prepared.as_ref().is_none_or(|c| !self.agrees(positions, c, error)) {
            self.hand_over(potential, positions, None, error, false)?;
        }
        let images = match (self.mode, &prepared) {
            (Mode::Lattice, Some(cell)) => Images::Lattice(cell),
            _ => {
                let mut table = std::mem::take(&mut self.table);
                table.clear();
                table.push([0.0; 3]);
                let seen = |k: usize| self.types[k] >= 0;
                let row = |k: usize| if seen(k) { self.displacement(positions, k) } else { [0.0; 3] };
                table.extend((self.local..self.all()).map(row));
                self.table = table;
                Images::Table(&self.table)
            }
        };
        potential.compute_given(&positions[..self.local], images, parameters, request).map(|_| ())
    }

    /// Whether ghosts still are the images that they were.
    fn agrees(&self, positions: &[[f64; 3]], cell: &Cell, error: f64) -> bool {
        (self.local..self.all()).filter(|&k| self.types[k] >= 0).all(|k| {
            let (d, t) = (self.displacement(positions, k), cell.translation(self.images[k]));
            (0..3).all(|a| (d[a] - t[a]).abs() <= error)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_follow_swaps_of_swaps() {
        // Atoms 0 and 1; 2 is an image of 1, 3 an image of that ghost, 4 of atom 0.
        let swap = |sent: &[i32], first| Swap { sent: sent.to_vec(), first, ranks: (0, 0) };
        let swaps = vec![swap(&[1], 2), swap(&[2, 0], 3)];
        assert_eq!(owners(&[0, 1, 1, 1, 0], 2, &Owners::Swaps(swaps.clone())).unwrap(), [0, 1, 1, 1, 0]);
        let wrong = owners(&[0, 1, 1, 1, 1], 2, &Owners::Swaps(swaps.clone())).unwrap_err().to_string();
        assert_eq!(wrong, "ghost atom 4 has type 1, but its owner, atom 0, has type 0");
        let short = owners(&[0, 1, 1, 1, 0, 0], 2, &Owners::Swaps(swaps)).unwrap_err().to_string();
        assert!(short.contains("without owners (the first is 5)"), "{short}");
        let far = vec![Swap { sent: vec![1], first: 2, ranks: (1, 0) }];
        assert!(matches!(owners(&[0, 1, 1], 2, &Owners::Swaps(far)), Err(Error::Ranks(2))));
        assert!(owners(&[0, 1, 1], 2, &Owners::Swaps(vec![swap(&[9], 2)])).is_err());
        assert!(owners(&[0, 1, 1], 2, &Owners::Mapping(vec![0, 1, 2])).is_err());
        assert_eq!(owners(&[0, 1, 1], 2, &Owners::Mapping(vec![-5, -5, 1])).unwrap(), [0, 1, 1]);
        assert!(owners(&[0, 1, 1], 2, &Owners::Unknown).unwrap_err().to_string().contains("atom_modify map yes"));
    }

    #[test]
    fn half_lists_are_refused() {
        let types = [0; 4];
        let raw = |rows: [&[u32]; 4]| RawList {
            centres: vec![0, 1, 2, 3],
            first: (0..5).map(|k| rows[..k].iter().map(|r| r.len()).sum()).collect(),
            neighbours: rows.concat(),
        };
        let full = raw([&[1, 2], &[0, 2], &[0, 1, 3], &[2]]);
        assert!(GhostList::new(&types, 4, &full, &Owners::Unknown).is_ok());
        // A few pairs may lack their counterparts.
        let most = raw([&[1, 2, 3], &[0, 2], &[0, 1, 3], &[2]]);
        assert!(GhostList::new(&types, 4, &most, &Owners::Unknown).is_ok());
        let half = raw([&[1, 2], &[2], &[3], &[]]);
        let e = GhostList::new(&types, 4, &half, &Owners::Unknown).unwrap_err().to_string();
        assert!(e.contains("4 of 4 pairs") && e.contains("a full list is needed"), "{e}");
    }
}
