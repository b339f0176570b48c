//! The skin list in device memory, and the launches that make a step's graph of it.

use super::array::{Array, Bump};
use super::buffers::Buffers;
use super::driver::{Driver, DriverError, Memory, Stream};
use super::launch::{args, Launcher};
use super::memory::Held;
use super::search::{most_cells, SearchArrays, GRID_NUMBERS};
use crate::cpu::layout::Layout;
use rayon::prelude::*;
use rayon::ThreadPool;
use std::sync::Arc;
use weir_engine::graph::{by_centre, GraphOptions, NeighbourList};
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

/// What a list has, or has room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Room {
    atoms: u64,
    pairs: u64,
    types: u64,
}

impl Room {
    /// For later lists of the same atoms: their pairs fluctuate by a few per cent.
    fn more(self) -> Self {
        // All of them have numbers of 32 bits, as threads have that look at them.
        let most = self.pairs.max(u64::from(u32::MAX - THREADS));
        Self { pairs: (self.pairs + self.pairs / 16 + 256).min(most), ..self }
    }

    fn holds(self, other: Self) -> bool {
        (self.atoms, self.types) == (other.atoms, other.types) && other.pairs <= self.pairs
    }
}

/// Arrays whose size is the list's.
#[derive(Clone, Copy, Debug, Default)]
struct Arrays {
    first: Array,
    centre: Array,
    owner: Array,
    image: Array,
    reference: Array,
    excluded: Array,
    candidates: Array,
    place: Array,
    slots: Array,
    search: SearchArrays,
}

impl Arrays {
    fn new(base: u64, room: Room) -> (Self, u64) {
        let Room { atoms, pairs, types } = room;
        let mut b = Bump::new(base);
        let arrays = Self {
            first: b.take(atoms + 1, 4),
            centre: b.take(pairs, 4),
            owner: b.take(pairs, 4),
            image: b.take(3 * pairs, 4),
            reference: b.take(3 * atoms, 8),
            excluded: b.take(types * types, 4),
            candidates: b.take(4 * pairs, 8),
            place: b.take(pairs, 4),
            slots: b.take(pairs, 4),
            search: SearchArrays {
                grid: b.take(GRID_NUMBERS, 8),
                wrapped: b.take(3 * atoms, 8),
                image: b.take(3 * atoms, 4),
                bin: b.take(atoms, 4),
                bin_count: b.take(most_cells(atoms), 4),
                first_member: b.take(most_cells(atoms) + 1, 4),
                bin_cursor: b.take(most_cells(atoms), 4),
                member: b.take(atoms, 4),
                member_at: b.take(3 * atoms, 8),
                pair_count: b.take(atoms, 4),
                pair_cursor: b.take(atoms, 4),
                odd: b.take(1, 2),
            },
        };
        (arrays, b.bytes())
    }
}

/// Pairs as the device has them.
struct Columns {
    centre: Vec<u32>,
    owner: Vec<u32>,
    image: Vec<[i32; 3]>,
}

impl Columns {
    fn of(list: &NeighbourList) -> Self {
        let mut centre = vec![0; list.pairs.len()];
        let rows = by_centre(&list.first, &mut centre).into_par_iter().enumerate().with_min_len(256);
        rows.for_each(|(i, row)| row.fill(i as u32));
        let (owner, image) = list.pairs.par_iter().map(|p| (p.owner, p.image)).unzip();
        Self { centre, owner, image }
    }
}

/// A list on the device, with room for later ones of the same atoms. Launches depend on the room only, so that a recorded step serves
/// every list that it holds.
pub struct DeviceList {
    memory: Held,
    arrays: Arrays,
    room: Room,
    edge_slots: u32,
    angle_slots: u32,
}

impl DeviceList {
    /// Brings a list to the device; `positions` are those it was built for.
    ///
    /// # Errors
    /// The driver's.
    pub fn new(
        driver: &Arc<dyn Driver>,
        list: &NeighbourList,
        positions: &[[f64; 3]],
        options: &GraphOptions,
        pool: &ThreadPool,
    ) -> Result<Self, DriverError> {
        let room = needed(list, options).more();
        let memory = Held::new(driver, Memory::Device, Arrays::new(0, room).1)?;
        let (arrays, _) = Arrays::new(memory.array.at, room);
        let new = Self {
            memory,
            arrays,
            room,
            edge_slots: u32::try_from(options.edge_slots).unwrap_or(u32::MAX),
            angle_slots: u32::try_from(options.angle_slots).unwrap_or(u32::MAX),
        };
        new.send(driver, list, positions, options, pool)?;
        Ok(new)
    }

    /// Whether [`DeviceList::send`] can take such a list, and a recorded step of this one serves it.
    pub fn holds(&self, list: &NeighbourList, options: &GraphOptions) -> bool {
        self.room.holds(needed(list, options))
    }

    /// Whether there is room for so many pairs of the same atoms.
    pub fn has_room(&self, pairs: u64) -> bool {
        pairs <= self.room.pairs
    }

    pub(super) fn atoms(&self) -> u64 {
        self.room.atoms
    }

    pub(super) fn types(&self) -> u64 {
        self.room.types
    }

    pub(super) fn search(&self) -> SearchArrays {
        self.arrays.search
    }

    pub(super) fn reference(&self) -> Array {
        self.arrays.reference
    }

    /// Starts of the centres' pairs; their centres, owners and images.
    pub(super) fn pairs(&self) -> [Array; 4] {
        let a = &self.arrays;
        [a.first, a.centre, a.owner, a.image]
    }

    /// Brings a list to where this one lies; there is room for it.
    ///
    /// # Errors
    /// The driver's; the list is of no use then.
    pub fn send(
        &self,
        driver: &Arc<dyn Driver>,
        list: &NeighbourList,
        positions: &[[f64; 3]],
        options: &GraphOptions,
        pool: &ThreadPool,
    ) -> Result<(), DriverError> {
        let arrays = &self.arrays;
        let Columns { centre, owner, image } = pool.install(|| Columns::of(list));
        let excluded: Vec<u32> = options.excluded.iter().map(|&x| u32::from(x)).collect();
        let send = |to: Array, data: &[u8]| match data.is_empty() {
            true => Ok(()),
            // SAFETY: the host's vectors live until the stream has been waited for, below.
            false => unsafe { driver.copy(Stream::Compute, to.at, data.as_ptr() as u64, data.len() as u64) },
        };
        let sent = [
            (arrays.first, bytemuck::cast_slice(&list.first)),
            (arrays.centre, bytemuck::cast_slice(&centre)),
            (arrays.owner, bytemuck::cast_slice(&owner)),
            (arrays.image, bytemuck::cast_slice(image.as_flattened())),
            (arrays.reference, bytemuck::cast_slice(positions.as_flattened())),
            (arrays.excluded, bytemuck::cast_slice(&excluded)),
        ]
        .into_iter()
        .try_for_each(|(to, data)| send(to, data));
        // Waited for even after an error: what was queued reads the vectors above.
        let waited = driver.synchronise(Stream::Compute);
        sent.and(waited)
    }

    /// Bytes on the device.
    pub fn bytes(&self) -> u64 {
        self.memory.array.bytes
    }

    /// Queues the graph of a step: from positions in `b` to edges, angles' offsets and incoming edges. `table` has the translations that
    /// images number; none: they are multiples of lattice vectors.
    ///
    /// # Errors
    /// The driver's.
    pub fn fill(&self, l: &mut Launcher, b: &Buffers, layout: &Layout, table: Array) -> Result<(), DriverError> {
        let (a, k, n) = (&self.arrays, l.kernels, layout.capacity.atoms as u64);
        let blocks = n.div_ceil(SCAN);
        l.driver.fill(Stream::Compute, b.flags.at, 0, b.flags.bytes)?;
        l.driver.fill(Stream::Compute, b.incoming_count.at, 0, b.incoming_count.bytes)?;
        l.each(k.watch, n, args![n as u32, b.positions, a.reference, b.cell, b.flags])?;
        l.each(
            k.measure,
            self.room.pairs,
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
                self.room.types as u32,
                self.edge_slots,
                self.angle_slots,
                a.place,
                a.slots,
                b.edge_count,
                b.angle_count
            ],
        )?;
        l.blocks(
            k.scan_blocks,
            blocks,
            24 * THREADS,
            args![n as u32, b.edge_count, b.angle_count, b.sums, b.sum_totals],
        )?;
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
        l.blocks(k.incoming_offsets, 1, 4 * THREADS, args![n as u32, b.incoming_count, b.first_incoming, b.cursor])?;
        let edges = layout.capacity.edges as u64;
        l.each(k.hand_over, edges, args![b.counts, b.neighbour, b.cursor, b.unsorted])?;
        l.blocks(k.sort_incoming, n, 0, args![b.first_incoming, b.unsorted, b.incoming])?;
        let tiles = layout.tiles.len() as u32;
        if tiles < 2 {
            return Ok(());
        }
        l.driver.fill(Stream::Compute, b.part_count.at, 0, b.part_count.bytes)?;
        let (n, owners) = (n as u32, n);
        l.each(
            k.count_parts,
            owners,
            args![n, tiles, b.tile_centres, b.first_edge, b.first_incoming, b.incoming, b.part_count],
        )?;
        l.blocks(k.incoming_offsets, 1, 4 * THREADS, args![tiles, b.part_count, b.first_part, b.part_cursor])?;
        l.each(
            k.place_parts,
            owners,
            args![n, tiles, b.tile_centres, b.first_edge, b.first_incoming, b.incoming, b.part_cursor, b.unsorted],
        )
    }
}

/// Bytes of a new list of so many pairs on the device.
pub fn list_bytes(atoms: u64, pairs: u64, types: u64) -> u64 {
    Arrays::new(0, Room { atoms, pairs, types }.more()).1
}

fn needed(list: &NeighbourList, options: &GraphOptions) -> Room {
    Room { atoms: list.order.len() as u64, pairs: list.pairs.len() as u64, types: options.types as u64 }
}
