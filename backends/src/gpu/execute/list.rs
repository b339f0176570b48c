//! The skin list of a step: brought by the host, or found on the device.

use super::super::array::Array;
use super::super::driver::{DriverError, Stream};
use super::super::list::DeviceList;
use super::super::memory::failed;
use super::super::neighbours::SCAN;
use super::super::search::Search;
use super::super::upload::Atoms;
use super::{Executor, Input};
use rayon::ThreadPool;
use weir_engine::backend::ComputeError;
use weir_engine::graph::{GraphOptions, Grid, NeighbourList, Pair};

impl Executor {
    /// A new skin list, built for these positions. Where the old one's memory holds it, its addresses stay, and so does what was recorded.
    ///
    /// # Errors
    /// The driver's.
    pub fn set_list(
        &mut self,
        list: &NeighbourList,
        positions: &[[f64; 3]],
        options: &GraphOptions,
        pool: &ThreadPool,
    ) -> Result<(), ComputeError> {
        // Order and types of the atoms may have changed with it.
        self.atoms_sent = false;
        if !self.list.as_ref().is_some_and(|old| old.holds(list, options)) {
            // The old one goes before the new one comes, and what was recorded before both.
            self.unrecord();
            self.list = None;
        }
        if let Some(old) = self.list.take() {
            let sent = old.send(&self.launcher.driver, list, positions, options, pool);
            if sent.is_ok() {
                self.list = Some(old);
                return Ok(());
            }
            self.forget();
            return sent.map_err(failed);
        }
        let new = DeviceList::new(&self.launcher.driver, list, positions, options, pool);
        self.list = Some(new.map_err(failed)?);
        Ok(())
    }

    /// A new skin list of the same atoms, found on the device through the bins of a grid, under a plan in force. False where there is no room for
    /// its pairs and the host has to make it; there is no list in force then.
    ///
    /// # Errors
    /// The driver's.
    pub fn find_list(&mut self, atoms: Atoms, input: Input, grid: &Grid) -> Result<bool, ComputeError> {
        let Some(list) = self.list.take() else { return Ok(false) };
        let search = Search::new(grid);
        let found = self.find_with(&search, &list, atoms, input);
        // Waited for after an error too: what was queued reads memory of ours.
        let waited = self.driver().synchronise(Stream::Compute);
        self.list = Some(list);
        if found.is_err() || waited.is_err() {
            self.forget();
        }
        waited.map_err(failed)?;
        found
    }

    fn find_with(
        &mut self,
        search: &Search,
        list: &DeviceList,
        atoms: Atoms,
        input: Input,
    ) -> Result<bool, ComputeError> {
        self.launcher.begin();
        self.send_atoms(atoms).map_err(failed)?;
        let staging = self.staging.as_mut().expect("a plan in force");
        let to = self.buffers.positions;
        let from = match input {
            Input::Host(positions) => {
                staging.write(staging.positions, positions.as_flattened());
                staging.positions
            }
            Input::Device { positions, .. } => Array { at: positions, bytes: to.bytes },
        };
        let driver = self.launcher.driver.clone();
        // SAFETY: arrays of buffers and staging, which live as long as the plan, or the caller's, who answers for them until the stream has been
        // waited for.
        unsafe { driver.copy(Stream::Compute, to.at, from.at, to.bytes) }.map_err(failed)?;
        search.count(&mut self.launcher, &self.buffers, list).map_err(failed)?;
        let totals: Vec<u64> = self.read(self.buffers.sum_totals, 3 * list.room.atoms.div_ceil(SCAN) as usize)?;
        let pairs = totals.chunks_exact(3).map(|t| t[0]).sum();
        if !list.has_room(pairs) {
            return Ok(false);
        }
        search.write(&mut self.launcher, list).map_err(failed)?;
        Ok(true)
    }

    /// The pairs of every sorted atom, in no order.
    ///
    /// # Errors
    /// The driver's.
    pub fn read_list(&self) -> Result<Vec<Vec<Pair>>, ComputeError> {
        let Some(list) = &self.list else { return Ok(Vec::new()) };
        let arrays = &list.arrays;
        let first: Vec<u32> = self.read(arrays.first, list.room.atoms as usize + 1)?;
        let pairs = first[first.len() - 1] as usize;
        let (owners, images): (Vec<u32>, Vec<[i32; 3]>) =
            (self.read(arrays.owner, pairs)?, self.read(arrays.image, pairs)?);
        let of =
            |ends: &[u32]| (ends[0] as usize..ends[1] as usize).map(|p| Pair { owner: owners[p], image: images[p] });
        Ok(first.windows(2).map(|ends| of(ends).collect()).collect())
    }

    /// Atoms are in another order from the next list on.
    pub fn renumber(&mut self) {
        self.atoms_sent = false;
    }

    /// Order and types of the atoms, tiles and their capacities, where they have changed.
    pub(super) fn send_atoms(&mut self, atoms: Atoms) -> Result<(), DriverError> {
        if !self.atoms_sent {
            let (driver, types) = (self.launcher.driver.clone(), self.model.types() as u32);
            self.upload.atoms(driver.as_ref(), &self.buffers, &self.layout, atoms, types)?;
            self.atoms_sent = true;
        }
        Ok(())
    }
}
