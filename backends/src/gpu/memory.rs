//! The memory of a plan on a device: an arena per tier, copies between them on two streams.

use super::array::Array;
use super::disk::Disk;
use super::driver::{Driver, DriverError, Event, Memory as Where, Side, Stream};
use std::sync::Arc;
use std::time::Instant;
use thiserror::Error;
use weir_allocators::kind::{AllocError, Kind, Region, Tier};
use weir_allocators::stream::Record;
use weir_engine::backend::ComputeError;
use weir_engine::plan::placement::{InsideSlot, Op, Place, Program, Slot, SlotId, Ticket};

/// What stands behind a slow tier.
#[derive(Clone)]
pub enum TierMemory {
    /// The driver's.
    Driver(Where),
    /// A kind of host memory that copies can reach, or of files, which they reach through the host.
    Host(Arc<dyn Kind>),
}

impl TierMemory {
    fn tier(&self) -> Tier {
        match self {
            TierMemory::Driver(Where::Device) => Tier::Hbm,
            TierMemory::Driver(Where::Pinned) => Tier::Pinned,
            TierMemory::Driver(Where::Managed) => Tier::Managed,
            TierMemory::Host(kind) => kind.tier(),
        }
    }
}

/// Device memory that is given back when nobody needs it.
pub struct Held {
    driver: Arc<dyn Driver>,
    memory: Where,
    /// What it is.
    pub array: Array,
}

impl Held {
    /// Takes memory.
    ///
    /// # Errors
    /// The driver's.
    pub fn new(driver: &Arc<dyn Driver>, memory: Where, bytes: u64) -> Result<Self, DriverError> {
        let at = driver.allocate(memory, bytes.max(1))?;
        Ok(Self { driver: driver.clone(), memory, array: Array { at, bytes } })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.driver.free(self.memory, self.array.at);
    }
}

/// An event that is dropped when nobody needs it.
pub struct Mark {
    driver: Arc<dyn Driver>,
    /// Its number.
    pub event: Event,
}

impl Mark {
    /// A new one.
    ///
    /// # Errors
    /// The driver's.
    pub fn new(driver: &Arc<dyn Driver>) -> Result<Self, DriverError> {
        let event = driver.event()?;
        Ok(Self { driver: driver.clone(), event })
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        self.driver.drop_event(self.event);
    }
}

/// The memory of a tier, all of it there.
pub enum Arena {
    None,
    Driver(Held),
    Host(Region),
}

/// Why a tier gives no memory.
#[derive(Debug, Error)]
pub enum Refused {
    /// The driver.
    #[error(transparent)]
    Driver(#[from] DriverError),
    /// A kind of host memory.
    #[error(transparent)]
    Kind(#[from] AllocError),
    /// No address to copy to.
    #[error("tier {0} has no address for a GPU; use WEIR_PLACEMENT=hbm,pinned or hbm,system")]
    Unreachable(Tier),
}

impl Arena {
    /// Takes memory. What the driver migrates is sent to the host and told to stay there: it stands behind the device's own.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn take(driver: &Arc<dyn Driver>, tier: &TierMemory, bytes: u64) -> Result<Self, Refused> {
        match tier {
            _ if bytes == 0 => Ok(Arena::None),
            TierMemory::Driver(memory) => {
                let held = Held::new(driver, *memory, bytes)?;
                if *memory == Where::Managed {
                    let (at, side) = (held.array.at, Side::Host(driver.facts().host_node));
                    driver.advise(at, bytes, side)?;
                    driver.prefetch(at, bytes, side, Stream::Compute)?;
                    driver.synchronise(Stream::Compute)?;
                }
                Ok(Arena::Driver(held))
            }
            TierMemory::Host(kind) => {
                let region = kind.allocate(bytes)?;
                match region.pointer() {
                    Some(_) => Ok(Arena::Host(region)),
                    None => Err(Refused::Unreachable(kind.tier())),
                }
            }
        }
    }

    /// Address of its first byte.
    pub fn base(&self) -> u64 {
        match self {
            Arena::None => 0,
            Arena::Driver(held) => held.array.at,
            Arena::Host(region) => region.pointer().map_or(0, |p| p.as_ptr() as u64),
        }
    }
}

/// Arenas, slots, and an event for every copy.
#[derive(Default)]
pub struct Arenas {
    arenas: Vec<Arena>,
    /// The tier that is a file, where states lie in one.
    disk: Option<(u8, Disk)>,
    slots: Vec<Slot>,
    inside: Vec<InsideSlot>,
    tickets: Vec<Mark>,
    /// Where copies begin, for a profile.
    begins: Vec<Mark>,
    kinds: Vec<Tier>,
    ready: Option<Mark>,
    /// The last copy of each stream.
    last: [Option<Ticket>; 2],
}

/// As the engine's error.
pub fn failed(e: DriverError) -> ComputeError {
    ComputeError::Memory(e.to_string())
}

impl Arenas {
    /// Memory for a program; `tiers[0]` is the device's. `slot` and `profile` as in [`Disk::new`].
    ///
    /// # Errors
    /// What driver or kinds answer.
    pub fn new(
        driver: &Arc<dyn Driver>,
        tiers: &[TierMemory],
        program: &Program,
        slot: u64,
        profile: Option<Instant>,
    ) -> Result<Self, ComputeError> {
        let (mut arenas, mut disk) = (Vec::new(), None);
        for (k, (tier, &bytes)) in tiers.iter().zip(&program.arena_bytes).enumerate() {
            match tier {
                TierMemory::Host(kind) if kind.tier() == Tier::File && bytes > 0 => {
                    let file = kind.allocate(bytes).map_err(|e| ComputeError::Memory(e.to_string()))?;
                    disk = Some((k as u8, Disk::new(driver, file, k as u8, program, slot, profile)?));
                    arenas.push(Arena::None);
                }
                _ => arenas.push(Arena::take(driver, tier, bytes).map_err(|e| ComputeError::Memory(e.to_string()))?),
            }
        }
        let marks = |count| (0..count).map(|_| Mark::new(driver)).collect::<Result<Vec<_>, _>>().map_err(failed);
        let timed = if profile.is_some() { program.tickets } else { 0 };
        Ok(Self {
            arenas,
            disk,
            slots: program.slots.clone(),
            inside: program.inside.clone(),
            tickets: marks(program.tickets)?,
            begins: marks(timed)?,
            kinds: tiers.iter().map(TierMemory::tier).collect(),
            ready: marks(program.tickets.min(1))?.pop(),
            last: [None; 2],
        })
    }

    /// Bytes of the device's own memory.
    pub fn on_device(&self) -> u64 {
        match self.arenas.first() {
            Some(Arena::Driver(held)) => held.array.bytes,
            _ => 0,
        }
    }

    fn array(&self, id: SlotId) -> Array {
        let slot = self.slots[id.0 as usize];
        Array { at: self.arenas[usize::from(slot.tier)].base() + slot.offset, bytes: slot.bytes }
    }

    /// The slot of a place, as kernels see it.
    pub fn place(&self, place: Place) -> Array {
        match place {
            Place::Slot(id) => self.array(id),
            Place::None | Place::Initial => Array::NONE,
        }
    }

    /// A part of a layer's inside, where the plan keeps it.
    pub fn inside(&self, layer: usize, part: usize) -> Option<Array> {
        self.inside.iter().find(|s| (s.layer, s.part) == (layer, part)).map(|slot| self.inside_array(slot))
    }

    fn inside_array(&self, slot: &InsideSlot) -> Array {
        Array { at: self.arenas[0].base() + slot.offset, bytes: slot.bytes }
    }

    /// Queues a copy between tiers behind everything computed so far.
    ///
    /// # Errors
    /// The driver's.
    pub fn copy(&mut self, driver: &dyn Driver, from: SlotId, to: SlotId, ticket: Ticket) -> Result<(), DriverError> {
        let stream = if self.slots[from.0 as usize].tier == 0 { Stream::Out } else { Stream::In };
        let (here, there) = if stream == Stream::Out { (from, to) } else { (to, from) };
        let ready = self.ready.as_ref().expect("a program with copies has an event for them").event;
        driver.record(ready, Stream::Compute)?;
        driver.wait(stream, ready)?;
        if let Some(begin) = self.begins.get(ticket as usize) {
            driver.record(begin.event, stream)?;
        }
        match &self.disk {
            Some((tier, disk)) if *tier == self.slots[there.0 as usize].tier => {
                disk.queue(driver, stream, ticket, self.array(here))?;
            }
            _ => {
                let (a, b) = (self.array(from), self.array(to));
                // SAFETY: both ends are slots of arenas that live as long as the plan, which waits before it lets go of them.
                unsafe { driver.copy(stream, b.at, a.at, a.bytes.min(b.bytes)) }?;
            }
        }
        self.last[usize::from(stream == Stream::In)] = Some(ticket);
        driver.record(self.tickets[ticket as usize].event, stream)
    }

    /// Whether a file's states go through the page cache because of the driver's memory.
    pub fn through_page_cache(&self) -> bool {
        self.disk.as_ref().is_some_and(|(_, disk)| disk.cached)
    }

    /// Whether states go to a file, by functions of the host.
    pub fn has_file(&self) -> bool {
        self.disk.is_some()
    }

    /// Starts a step; none is under way.
    pub fn begin(&self) {
        if let Some((_, disk)) = &self.disk {
            disk.begin();
        }
    }

    /// The end of a step that was waited for.
    ///
    /// # Errors
    /// What a file met.
    pub fn settle(&self) -> Result<(), ComputeError> {
        self.disk.as_ref().map_or(Ok(()), |(_, disk)| disk.settle())
    }

    /// Copies of a step that was waited for, those out first: by events counted from `base`, which stands at `offset` s; then what went
    /// between slots and a file. A copy to a file ends for the device when it is handed over.
    ///
    /// # Errors
    /// The driver's.
    pub fn records(
        &self,
        driver: &dyn Driver,
        base: Event,
        offset: f64,
        program: &Program,
        into: &mut Vec<Record>,
    ) -> Result<(), DriverError> {
        for out in [true, false] {
            let mut number = 0;
            for op in program.forward.iter().chain(&program.backward) {
                let (from, to, ticket) = match *op {
                    Op::Save { from, to, ticket } if out => (from, to, ticket),
                    Op::Load { from, to, ticket } if !out => (from, to, ticket),
                    _ => continue,
                };
                number += 1;
                let time = |mark: &Mark| Ok(offset + driver.elapsed(base, mark.event)?);
                let tier = |id: SlotId| self.kinds[usize::from(self.slots[id.0 as usize].tier)];
                let bytes = self.slots[from.0 as usize].bytes.min(self.slots[to.0 as usize].bytes);
                let (begin, end) = (time(&self.begins[ticket as usize])?, time(&self.tickets[ticket as usize])?);
                into.push(Record { number, from: tier(from), to: tier(to), bytes, begin, end });
            }
        }
        if let Some((_, disk)) = &self.disk {
            disk.records(into);
        }
        Ok(())
    }

    /// Kernels wait for a copy.
    ///
    /// # Errors
    /// The driver's.
    pub fn wait(&self, driver: &dyn Driver, ticket: Ticket) -> Result<(), DriverError> {
        driver.wait(Stream::Compute, self.tickets[ticket as usize].event)
    }

    /// The end of a step: kernels wait for every copy, so that nothing of it runs on beside the next step, and a recording is whole.
    ///
    /// # Errors
    /// The driver's.
    pub fn join(&mut self, driver: &dyn Driver) -> Result<(), DriverError> {
        for ticket in std::mem::take(&mut self.last).into_iter().flatten() {
            self.wait(driver, ticket)?;
        }
        Ok(())
    }

    /// Test mode: insides are of no use before the step has made them.
    ///
    /// # Errors
    /// The driver's.
    pub fn discard_insides(&self, driver: &dyn Driver) -> Result<(), DriverError> {
        let mut arrays = self.inside.iter().map(|slot| self.inside_array(slot));
        arrays.try_for_each(|a| driver.discard(Stream::Compute, a.at, a.bytes))
    }

    /// Test mode: the bytes of a slot are of no use any more.
    ///
    /// # Errors
    /// The driver's.
    pub fn discard(&self, driver: &dyn Driver, id: SlotId) -> Result<(), DriverError> {
        let a = self.array(id);
        if self.slots[id.0 as usize].tier != 0 || a.bytes == 0 {
            return Ok(());
        }
        driver.discard(Stream::Compute, a.at, a.bytes)
    }
}
