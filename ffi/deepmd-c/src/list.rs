//! Neighbour lists of clients: pointers that are read when a call says that they are new.

use crate::handle::{check_ok, Handle};
use std::ffi::{c_char, c_int, c_void};
use weir_ffi::catch::quiet;
use weir_ffi::ghosts::{Owners, RawList, Swap};
use weir_ffi::Error;

/// Keeps pointers only, as the interface demands: the arrays must live until the call that uses them ends.
pub struct Nlist {
    inum: c_int,
    ilist: *const c_int,
    numneigh: *const c_int,
    firstneigh: *const *const c_int,
    swaps: c_int,
    sendnum: *const c_int,
    recvnum: *const c_int,
    firstrecv: *const c_int,
    sendlist: *const *const c_int,
    sendproc: *const c_int,
    recvproc: *const c_int,
    ranks: c_int,
    mask: u32,
    mapping: *const c_int,
}

/// More ranks than any machine has: what an old client, which passes no number of ranks, leaves in that place.
const GARBAGE: c_int = 1_000_000;

/// # Safety
/// `data` has `count` entries, or is null.
unsafe fn slice<'a>(data: *const c_int, count: c_int, what: &str) -> Result<&'a [c_int], Error> {
    let count = usize::try_from(count).map_err(|_| Error::Argument(format!("{what}: {count} entries")))?;
    match (count, data.is_null()) {
        (0, _) => Ok(&[]),
        (_, true) => Err(Error::Argument(format!("{what} of the neighbour list is null"))),
        // SAFETY: the caller's promise.
        _ => Ok(unsafe { std::slice::from_raw_parts(data, count) }),
    }
}

impl Nlist {
    /// More than one rank is refused, on every rank alike and before anything is waited for.
    pub fn check_ranks(&self) -> Result<(), Error> {
        match self.ranks {
            n if n > 1 && n < GARBAGE => Err(Error::Ranks(n)),
            _ => Ok(()),
        }
    }

    /// Reads the list.
    ///
    /// # Safety
    /// The arrays are as long as the numbers beside them say.
    pub unsafe fn read(&self) -> Result<RawList, Error> {
        // SAFETY: as promised.
        let centres = unsafe { slice(self.ilist, self.inum, "ilist") }?.to_vec();
        let mut list = RawList { first: vec![0], centres, neighbours: Vec::new() };
        if !list.centres.is_empty() && (self.numneigh.is_null() || self.firstneigh.is_null()) {
            return Err(Error::Argument("numneigh or firstneigh of the neighbour list is null".into()));
        }
        for &i in &list.centres {
            let at = usize::try_from(i).map_err(|_| Error::Argument(format!("centre {i} in the neighbour list")))?;
            // SAFETY: both are indexed by the atom, which is a centre of the list.
            let row = unsafe { slice(*self.firstneigh.add(at), *self.numneigh.add(at), "firstneigh") }?;
            list.neighbours.extend(row.iter().map(|&j| j as u32 & self.mask));
            list.first.push(list.neighbours.len());
        }
        Ok(list)
    }

    /// Who owns the ghosts: `all` atoms.
    ///
    /// # Safety
    /// The arrays are as long as the numbers beside them say; the mapping has `all` entries.
    pub unsafe fn owners(&self, all: c_int) -> Result<Owners, Error> {
        if !self.mapping.is_null() {
            // SAFETY: as promised.
            return Ok(Owners::Mapping(unsafe { slice(self.mapping, all, "mapping") }?.to_vec()));
        }
        if self.swaps <= 0 {
            return Ok(Owners::Unknown);
        }
        // SAFETY: as promised, for all arrays of swaps and for the rows of each.
        let swaps = unsafe {
            let (sendnum, recvnum) =
                (slice(self.sendnum, self.swaps, "sendnum")?, slice(self.recvnum, self.swaps, "recvnum")?);
            let (to, from) =
                (slice(self.sendproc, self.swaps, "sendproc")?, slice(self.recvproc, self.swaps, "recvproc")?);
            let first = slice(self.firstrecv, self.swaps, "firstrecv")?;
            if self.sendlist.is_null() {
                return Err(Error::Argument("sendlist of the neighbour list is null".into()));
            }
            (0..self.swaps as usize)
                .map(|s| {
                    // What one rank sends itself it also receives.
                    if sendnum[s] != recvnum[s] {
                        return Err(Error::Ranks(2));
                    }
                    let sent = slice(*self.sendlist.add(s), sendnum[s], "sendlist")?.to_vec();
                    Ok(Swap { sent, first: first[s], ranks: (to[s], from[s]) })
                })
                .collect::<Result<Vec<_>, Error>>()?
        };
        Ok(Owners::Swaps(swaps))
    }
}

fn new(nlist: Nlist) -> *mut Nlist {
    Box::into_raw(Box::new(nlist))
}

/// A list without swaps.
#[no_mangle]
pub extern "C" fn DP_NewNlist(
    inum: c_int,
    ilist: *const c_int,
    numneigh: *const c_int,
    firstneigh: *const *const c_int,
) -> *mut Nlist {
    let none = std::ptr::null();
    DP_NewNlist_comm(
        inum,
        ilist,
        numneigh,
        firstneigh,
        0,
        none,
        none,
        none,
        std::ptr::null(),
        none,
        none,
        std::ptr::null_mut(),
        1,
    )
}

/// A list with the swaps of a domain decomposition. `world` (an MPI communicator) is not used: one rank has nobody to talk to.
#[no_mangle]
pub extern "C" fn DP_NewNlist_comm(
    inum: c_int,
    ilist: *const c_int,
    numneigh: *const c_int,
    firstneigh: *const *const c_int,
    nswap: c_int,
    sendnum: *const c_int,
    recvnum: *const c_int,
    firstrecv: *const c_int,
    sendlist: *const *const c_int,
    sendproc: *const c_int,
    recvproc: *const c_int,
    _world: *mut c_void,
    nprocs: c_int,
) -> *mut Nlist {
    new(Nlist {
        inum,
        ilist,
        numneigh,
        firstneigh,
        swaps: nswap,
        sendnum,
        recvnum,
        firstrecv,
        sendlist,
        sendproc,
        recvproc,
        ranks: nprocs,
        mask: u32::MAX,
        mapping: std::ptr::null(),
    })
}

/// Bits of a neighbour that are its index.
///
/// # Safety
/// Null, or a list that was not deleted and that no other thread uses.
#[no_mangle]
pub unsafe extern "C" fn DP_NlistSetMask(nl: *mut Nlist, mask: c_int) {
    // SAFETY: the caller's promise.
    if let Some(list) = unsafe { nl.as_mut() } {
        list.mask = mask as u32;
    }
}

/// Owner of every atom, ghosts included.
///
/// # Safety
/// As [`DP_NlistSetMask`].
#[no_mangle]
pub unsafe extern "C" fn DP_NlistSetMapping(nl: *mut Nlist, mapping: *const c_int) {
    // SAFETY: the caller's promise.
    if let Some(list) = unsafe { nl.as_mut() } {
        list.mapping = mapping;
    }
}

/// Deletes a list; null is harmless.
///
/// # Safety
/// As [`DP_NlistSetMask`]; the list is not used again.
#[no_mangle]
pub unsafe extern "C" fn DP_DeleteNlist(nl: *mut Nlist) {
    if !nl.is_null() {
        // SAFETY: made by Box::into_raw above, given up by the caller.
        quiet((), || drop(unsafe { Box::from_raw(nl) }));
    }
}

/// Always empty: a list is looked at when it is used.
#[no_mangle]
pub extern "C" fn DP_NlistCheckOK(_nl: *const Nlist) -> *const c_char {
    // SAFETY: null is harmless.
    unsafe { check_ok(std::ptr::null::<Handle>()) }
}
