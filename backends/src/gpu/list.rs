//! The skin list in device memory, with what finding a new one needs.

use super::array::{Array, Bump};
use super::driver::{Driver, DriverError, Memory, Stream};
use super::memory::Held;
use rayon::prelude::*;
use rayon::ThreadPool;
use std::sync::Arc;
use weir_engine::graph::{by_centre, GraphOptions, NeighbourList};
use weir_kernels::THREADS;

/// Bins for so many atoms. In a cell that is mostly empty they are wider than they might be.
pub fn most_bins(atoms: u64) -> u64 {
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
}

/// What a list has, or has room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Room {
    pub atoms: u64,
    pub pairs: u64,
    pub types: u64,
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
pub(super) struct Arrays {
    pub first: Array,
    pub centre: Array,
    pub owner: Array,
    pub image: Array,
    pub reference: Array,
    pub excluded: Array,
    pub candidates: Array,
    pub place: Array,
    pub slots: Array,
    pub search: SearchArrays,
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
                bin_count: b.take(most_bins(atoms), 4),
                first_member: b.take(most_bins(atoms) + 1, 4),
                bin_cursor: b.take(most_bins(atoms), 4),
                member: b.take(atoms, 4),
                member_at: b.take(3 * atoms, 8),
                pair_count: b.take(atoms, 4),
                pair_cursor: b.take(atoms, 4),
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
    pub(super) arrays: Arrays,
    pub(super) room: Room,
    pub(super) edge_slots: u32,
    pub(super) angle_slots: u32,
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
}

/// Bytes of a new list of so many pairs on the device.
pub fn list_bytes(atoms: u64, pairs: u64, types: u64) -> u64 {
    Arrays::new(0, Room { atoms, pairs, types }.more()).1
}

fn needed(list: &NeighbourList, options: &GraphOptions) -> Room {
    Room { atoms: list.order.len() as u64, pairs: list.pairs.len() as u64, types: options.types as u64 }
}
