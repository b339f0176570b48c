//! Finds the pairs of a new skin list on the device, from the positions that the last step brought there.

use super::array::Array;
use super::buffers::Buffers;
use super::driver::{DriverError, Stream};
use super::launch::{args, Launcher};
use super::neighbours::{DeviceList, SCAN};
use weir_engine::graph::Grid;
use weir_kernels::THREADS;

/// Cells for so many atoms. In a box that is mostly empty they are wider than they might be.
pub fn most_cells(atoms: u64) -> u64 {
    4 * atoms + 64
}

/// Numbers of a grid; twin of `GRID_EXTENT` and what stands before it.
pub(super) const GRID_NUMBERS: u64 = 24;

/// Arrays of a search.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SearchArrays {
    pub grid: Array,
    pub wrapped: Array,
    pub image: Array,
    pub bin: Array,
    pub bin_count: Array,
    pub first_member: Array,
    pub bin_cursor: Array,
    pub member: Array,
    pub member_at: Array,
    pub pair_count: Array,
    pub pair_cursor: Array,
    pub odd: Array,
}

/// A search that has been queued as far as the device can go alone: the pairs are counted.
pub struct Search {
    numbers: [f64; GRID_NUMBERS as usize],
    counts: [u32; 3],
    looks: [u32; 3],
    periodic: u32,
    reach2: f64,
}

impl Search {
    /// Through the cells of a grid, [`most_cells`] at most.
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

    fn cells(&self) -> u64 {
        self.counts.iter().map(|&n| u64::from(n)).product()
    }

    /// Queues what counts the pairs of every centre, in `b.sum_totals` by blocks of centres. The search lives until the stream has been waited
    /// for; the list is of no use from here on, until its pairs are written.
    ///
    /// # Errors
    /// The driver's.
    pub fn count(&self, l: &mut Launcher, b: &Buffers, list: &DeviceList) -> Result<(), DriverError> {
        let (k, a, reference, n) = (l.kernels, &list.search(), list.reference(), list.atoms());
        let ([n0, n1, n2], [l0, l1, l2]) = (self.counts, self.looks);
        let (from, bytes) = (self.numbers.as_ptr() as u64, 8 * GRID_NUMBERS);
        // SAFETY: the caller keeps the search until the stream has been waited for.
        unsafe { l.driver.copy(Stream::Compute, a.grid.at, from, bytes)? };
        for array in [a.bin_count, a.pair_count, a.odd] {
            l.driver.fill(Stream::Compute, array.at, 0, array.bytes)?;
        }
        l.each(
            k.bin_atoms,
            n,
            args![
                n as u32,
                b.order,
                b.rule,
                list.types() as u32,
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
                reference,
                a.odd
            ],
        )?;
        let offsets = args![self.cells() as u32, a.bin_count, a.first_member, a.bin_cursor];
        l.blocks(k.incoming_offsets, 1, 4 * THREADS, offsets)?;
        l.each(k.fill_bins, n, args![n as u32, a.bin, a.wrapped, a.bin_cursor, a.member, a.member_at])?;
        l.blocks(
            k.count_pairs,
            n,
            0,
            args![
                n0,
                n1,
                n2,
                l0,
                l1,
                l2,
                self.periodic,
                self.reach2,
                a.grid,
                a.wrapped,
                a.image,
                a.bin,
                a.first_member,
                a.member,
                a.member_at,
                a.pair_count
            ],
        )?;
        // Sums in 64 bits: what is more than there is room for must not come around.
        let counts = args![n as u32, a.pair_count, a.pair_count, b.sums, b.sum_totals];
        l.blocks(k.scan_blocks, n.div_ceil(SCAN), 24 * THREADS, counts)
    }

    /// Queues what writes them; there is room for all.
    ///
    /// # Errors
    /// The driver's.
    pub fn write(&self, l: &mut Launcher, list: &DeviceList) -> Result<(), DriverError> {
        let (k, a, n) = (l.kernels, &list.search(), list.atoms());
        let ([n0, n1, n2], [l0, l1, l2]) = (self.counts, self.looks);
        let [first, centre, owner, image] = list.pairs();
        l.blocks(k.incoming_offsets, 1, 4 * THREADS, args![n as u32, a.pair_count, first, a.pair_cursor])?;
        l.blocks(
            k.write_pairs,
            n,
            0,
            args![
                n0,
                n1,
                n2,
                l0,
                l1,
                l2,
                self.periodic,
                self.reach2,
                a.grid,
                a.wrapped,
                a.image,
                a.bin,
                a.first_member,
                a.member,
                a.member_at,
                a.pair_cursor,
                centre,
                owner,
                image
            ],
        )
    }
}
