//! Neighbour lists of the client's.

use crate::handle::System;
use weir_engine::graph::{Cell, GivenList, Pair};
use weir_ffi::ghosts::check_full;
use weir_ffi::Error;

/// `weir_neighbours`.
#[repr(C)]
pub struct Neighbours {
    /// Atoms of the system.
    pub atoms: usize,
    /// atoms + 1 starts.
    pub first: *const u64,
    /// Neighbours.
    pub neighbour: *const i32,
    /// Three box multiples a pair, or null.
    pub shift: *const i32,
}

/// `count` entries; none are asked of a null pointer.
///
/// # Safety
/// `data` has `count` entries, or `count` is 0.
unsafe fn entries<'a, T>(data: *const T, count: usize) -> &'a [T] {
    match count {
        0 => &[],
        // SAFETY: the caller's promise.
        _ => unsafe { std::slice::from_raw_parts(data, count) },
    }
}

impl Neighbours {
    /// Refuses arrays that are missing, and starts that do not follow each other: all that is read lies below the last of them.
    ///
    /// # Safety
    /// Arrays as long as the header says.
    pub unsafe fn check(&self, atoms: usize) -> Result<(), Error> {
        if self.atoms != atoms {
            return Err(Error::Argument(format!("a neighbour list of {} atoms for {atoms}", self.atoms)));
        }
        if self.first.is_null() {
            return Err(Error::Argument("first of the neighbour list is null".into()));
        }
        // SAFETY: atoms + 1 entries.
        let first = unsafe { entries(self.first, atoms + 1) };
        if !first.is_sorted() {
            return Err(Error::Argument("first of the neighbour list goes down".into()));
        }
        if self.neighbour.is_null() && first[atoms] > 0 {
            return Err(Error::Argument(format!(
                "neighbour of the neighbour list is null, but has {} pairs",
                first[atoms]
            )));
        }
        Ok(())
    }
}

/// A list as last taken over, in the client's words. MD codes hand the same list in for many steps; taking it over again would cost some per cent
/// of a step (4 to 6 % with the preset `tiny`, 9216 atoms of water, EPYC, 2026-11-28), comparing it does not.
#[derive(Default)]
pub(crate) struct Taken {
    first: Vec<u64>,
    neighbour: Vec<i32>,
    shift: Option<Vec<i32>>,
    periodic: bool,
}

impl Taken {
    /// Whether `given` says the same again.
    ///
    /// # Safety
    /// Arrays as long as the header says.
    pub unsafe fn is(&self, given: &Neighbours, periodic: bool) -> bool {
        let (atoms, pairs) = (given.atoms, self.neighbour.len());
        // SAFETY: atoms + 1 entries; where they are those of before, the last says as many pairs as before.
        unsafe {
            self.periodic == periodic
                && self.first.len() == atoms + 1
                && self.first == entries(given.first, atoms + 1)
                && self.neighbour == entries(given.neighbour, pairs)
                && match &self.shift {
                    None => given.shift.is_null(),
                    Some(shift) => !given.shift.is_null() && *shift == entries(given.shift, 3 * pairs),
                }
        }
    }

    /// Keeps what `given` says, in the memory of the list before.
    ///
    /// # Safety
    /// Arrays as long as the header says.
    pub unsafe fn keep(&mut self, given: &Neighbours, periodic: bool) {
        fn fill<T: Copy>(to: &mut Vec<T>, from: &[T]) {
            to.clear();
            to.extend_from_slice(from);
        }
        // SAFETY: the caller's promise; the last start is the number of pairs.
        unsafe {
            fill(&mut self.first, entries(given.first, given.atoms + 1));
            let pairs = self.first[given.atoms] as usize;
            fill(&mut self.neighbour, entries(given.neighbour, pairs));
            if given.shift.is_null() {
                self.shift = None;
            } else {
                fill(self.shift.get_or_insert_default(), entries(given.shift, 3 * pairs));
            }
        }
        self.periodic = periodic;
    }
}

/// # Safety
/// Arrays as long as the header says, and checked ([`Neighbours::check`]).
pub(crate) unsafe fn list(system: &System, given: &Neighbours, cell: Option<&Cell>) -> Result<GivenList, Error> {
    let mut place = vec![u32::MAX; system.atoms];
    system.rows.iter().enumerate().for_each(|(k, &row)| place[row as usize] = k as u32);
    // SAFETY: atoms + 1 entries.
    let starts = unsafe { entries(given.first, system.atoms + 1) };
    let mut list = GivenList { first: vec![0], pairs: Vec::new() };
    for &row in &system.rows {
        for k in starts[row as usize] as usize..starts[row as usize + 1] as usize {
            // SAFETY: k lies below the last start.
            let j = unsafe { *given.neighbour.add(k) };
            let Some(&owner) = usize::try_from(j).ok().and_then(|j| place.get(j)) else {
                return Err(Error::Argument(format!("neighbour {j} of atom {row} is none of {} atoms", system.atoms)));
            };
            let image = match (given.shift.is_null(), cell) {
                (true, _) => [0; 3],
                (false, None) => return Err(Error::Argument("neighbours have shifts, but there is no box".into())),
                // SAFETY: three numbers a pair.
                (false, Some(_)) => unsafe { std::array::from_fn(|a| *given.shift.add(3 * k + a)) },
            };
            if owner != u32::MAX {
                list.pairs.push(Pair { owner, image });
            }
        }
        let end = u32::try_from(list.pairs.len());
        list.first.push(end.map_err(|_| Error::Argument("more than 2^32 pairs in the neighbour list".into()))?);
    }
    let owners: Vec<u32> = list.pairs.iter().map(|p| p.owner).collect();
    let atoms = system.rows.len();
    check_full(atoms, &vec![true; atoms], &list.first, &owners)?;
    Ok(list)
}
