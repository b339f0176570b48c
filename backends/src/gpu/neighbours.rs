//! The launches that make a step's graph of the skin list.

use super::array::Array;
use super::buffers::Buffers;
use super::driver::{DriverError, Stream};
use super::launch::{args, Launcher};
use super::list::DeviceList;
use crate::cpu::layout::Layout;
use weir_kernels::THREADS;

/// Centres that one block of `scan_blocks` takes; twin of `SCAN`.
pub(super) const SCAN: u64 = 8 * THREADS as u64;

/// What the device says of a step's graph.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// An atom has moved too far for the list.
    pub moved: u16,
    /// A tile overflows its capacities.
    pub overflow: u16,
    /// Two atoms coincide.
    pub coincident: u16,
    /// A coordinate is not finite.
    pub bad: u16,
}

impl From<[u16; 4]> for Flags {
    fn from([moved, overflow, coincident, bad]: [u16; 4]) -> Self {
        Self { moved, overflow, coincident, bad }
    }
}

/// Queues the graph of a step: from positions in `b` to edges, angles' offsets and incoming edges, and their parts in tiles. `table` has the
/// translations that images number; none: they are multiples of lattice vectors.
///
/// # Errors
/// The driver's.
pub fn fill(
    list: &DeviceList,
    l: &mut Launcher,
    b: &Buffers,
    layout: &Layout,
    table: Array,
) -> Result<(), DriverError> {
    let (a, k, n) = (&list.arrays, l.kernels, layout.capacity.atoms as u64);
    let blocks = n.div_ceil(SCAN);
    l.driver.fill(Stream::Compute, b.flags.at, 0, b.flags.bytes)?;
    l.driver.fill(Stream::Compute, b.incoming_count.at, 0, b.incoming_count.bytes)?;
    l.each(k.watch, n, args![n as u32, b.positions, a.reference, b.cell, b.flags])?;
    l.each(
        k.measure,
        list.room.pairs,
        args![
            n as u32,
            a.first,
            a.centre,
            a.owner,
            a.image,
            b.order,
            b.positions,
            b.cell,
            table,
            a.candidates,
            b.flags
        ],
    )?;
    l.blocks(
        k.rank,
        n,
        8 * THREADS,
        args![
            a.first,
            a.candidates,
            a.owner,
            a.image,
            b.order,
            b.types,
            a.excluded,
            list.room.types as u32,
            list.edge_slots,
            list.angle_slots,
            a.place,
            a.slots,
            b.edge_count,
            b.angle_count
        ],
    )?;
    l.blocks(k.scan_blocks, blocks, 24 * THREADS, args![n as u32, b.edge_count, b.angle_count, b.sums, b.sum_totals])?;
    l.blocks(
        k.offsets,
        1,
        28 * THREADS,
        args![
            n as u32,
            blocks as u32,
            b.sums,
            b.sum_totals,
            b.edge_count,
            b.angle_count,
            layout.tiles.len() as u32,
            b.tile_centres,
            b.tile_sizes,
            u32::try_from(layout.capacity.edges).unwrap_or(u32::MAX),
            b.first_edge,
            b.angle_edges,
            b.first_angle,
            b.first_pair,
            b.counts,
            b.flags
        ],
    )?;
    l.each(k.arrange, n, args![n as u32, layout.tiles.len() as u32, b.tile_centres, b.angle_edges, b.turns])?;
    l.blocks(
        k.place_edges,
        n,
        0,
        args![
            a.first,
            a.candidates,
            a.owner,
            a.place,
            a.slots,
            b.first_edge,
            b.centre,
            b.neighbour,
            b.slot,
            b.vector,
            b.distance,
            b.incoming_count
        ],
    )?;
    l.blocks(k.row_starts, 1, 4 * THREADS, args![n as u32, b.incoming_count, b.first_incoming, b.cursor])?;
    let edges = layout.capacity.edges as u64;
    l.each(k.hand_over, edges, args![b.counts, b.neighbour, b.cursor, b.unsorted])?;
    l.blocks(k.sort_incoming, n, 0, args![b.first_incoming, b.unsorted, b.incoming])?;
    match layout.tiles.len() {
        0 | 1 => Ok(()),
        tiles => parts(l, b, n, tiles as u32),
    }
}

/// Queues what finds the parts of owners' incoming edges that lie in each of several tiles. They take the place of what is in order by now.
fn parts(l: &mut Launcher, b: &Buffers, atoms: u64, tiles: u32) -> Result<(), DriverError> {
    let (k, n) = (l.kernels, atoms as u32);
    l.driver.fill(Stream::Compute, b.part_count.at, 0, b.part_count.bytes)?;
    let counted = args![n, tiles, b.tile_centres, b.first_edge, b.first_incoming, b.incoming, b.part_count];
    l.each(k.count_parts, atoms, counted)?;
    l.blocks(k.row_starts, 1, 4 * THREADS, args![tiles, b.part_count, b.first_part, b.part_cursor])?;
    let placed = args![n, tiles, b.tile_centres, b.first_edge, b.first_incoming, b.incoming, b.part_cursor, b.unsorted];
    l.each(k.place_parts, atoms, placed)
}
