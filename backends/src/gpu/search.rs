//! Finds the pairs of a new skin list on the device, from the positions of a step.

use super::array::Array;
use super::buffers::Buffers;
use super::driver::{Arg, DriverError, Stream};
use super::launch::{args, Launcher};
use super::list::{DeviceList, SearchArrays, GRID_NUMBERS};
use super::neighbours::SCAN;
use weir_engine::graph::Grid;
use weir_kernels::THREADS;

/// A search through the bins of a grid: first [`Search::count`], then, where there is room, [`Search::write`].
pub struct Search {
    numbers: [f64; GRID_NUMBERS as usize],
    counts: [u32; 3],
    looks: [u32; 3],
    periodic: u32,
    reach2: f64,
}

impl Search {
    /// Through the bins of a grid, [`most_bins`](super::list::most_bins) at most.
    pub fn new(grid: &Grid) -> Self {
        let mut numbers = [0.0; GRID_NUMBERS as usize];
        if let Some(cell) = &grid.space.cell {
            numbers[..9].copy_from_slice(cell.rows.as_flattened());
            numbers[9..18].copy_from_slice(cell.inverse.as_flattened());
        }
        numbers[18..21].copy_from_slice(&grid.space.low);
        numbers[21..].copy_from_slice(&grid.space.extent);
        Self {
            numbers,
            counts: grid.count.map(|n| n as u32),
            looks: grid.look.map(|n| n as u32),
            periodic: u32::from(grid.space.cell.is_some()),
            reach2: grid.reach2,
        }
    }

    fn bins(&self) -> u32 {
        self.counts.iter().product()
    }

    /// Queues what counts the pairs of every centre, in `b.sum_totals` by blocks of centres. The search lives until the stream has been waited
    /// for; the list is of no use from here on, until its pairs are written.
    ///
    /// # Errors
    /// The driver's.
    pub fn count(&self, l: &mut Launcher, b: &Buffers, list: &DeviceList) -> Result<(), DriverError> {
        let (k, a, n) = (l.kernels, &list.arrays.search, list.room.atoms);
        let [n0, n1, n2] = self.counts;
        let (from, bytes) = (self.numbers.as_ptr() as u64, 8 * GRID_NUMBERS);
        // SAFETY: the caller keeps the search until the stream has been waited for.
        unsafe { l.driver.copy(Stream::Compute, a.grid.at, from, bytes)? };
        for array in [a.bin_count, a.pair_count] {
            l.driver.fill(Stream::Compute, array.at, 0, array.bytes)?;
        }
        l.each(
            k.bin_atoms,
            n,
            args![
                n as u32,
                b.order,
                b.rule,
                list.room.types as u32,
                b.positions,
                a.grid,
                self.periodic,
                n0,
                n1,
                n2,
                a.wrapped,
                a.image,
                a.bin,
                a.bin_count,
                list.arrays.reference
            ],
        )?;
        let bins = args![self.bins(), a.bin_count, a.first_member, a.bin_cursor];
        l.blocks(k.row_starts, 1, 4 * THREADS, bins)?;
        l.each(k.fill_bins, n, args![n as u32, a.bin, a.wrapped, a.bin_cursor, a.member, a.member_at])?;
        l.blocks(k.count_pairs, n, 0, &self.walk(a, &[a.pair_count]))?;
        // Sums in 64 bits: what is more than there is room for must not come around.
        let counts = args![n as u32, a.pair_count, a.pair_count, b.sums, b.sum_totals];
        l.blocks(k.scan_blocks, n.div_ceil(SCAN), 24 * THREADS, counts)
    }

    /// Queues what writes the pairs that were counted; there is room for all.
    ///
    /// # Errors
    /// The driver's.
    pub fn write(&self, l: &mut Launcher, list: &DeviceList) -> Result<(), DriverError> {
        let (k, p, a, n) = (l.kernels, &list.arrays, &list.arrays.search, list.room.atoms);
        l.blocks(k.row_starts, 1, 4 * THREADS, args![n as u32, a.pair_count, p.first, a.pair_cursor])?;
        l.blocks(k.write_pairs, n, 0, &self.walk(a, &[a.pair_cursor, p.centre, p.owner, p.image]))
    }

    /// Arguments of the kernels that walk through the bins, with what they leave.
    fn walk(&self, a: &SearchArrays, left: &[Array]) -> Vec<Arg> {
        let ([n0, n1, n2], [l0, l1, l2]) = (self.counts, self.looks);
        let bins = args![n0, n1, n2, l0, l1, l2, self.periodic, self.reach2];
        let atoms = [a.grid, a.wrapped, a.image, a.bin, a.first_member, a.member, a.member_at];
        bins.iter().copied().chain(atoms.iter().chain(left).map(|&array| array.into())).collect()
    }
}
