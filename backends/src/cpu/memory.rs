//! The memory of a plan: an arena per tier, and the two streams that copy between them.

use super::share::Shared;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;
use weir_allocators::arena::{poison, unwritten};
use weir_allocators::kind::{Kind, Region};
use weir_allocators::stream::{Copy, Options, Place as At, Record, Stream, Ticket as Pushed};
use weir_engine::backend::ComputeError;
use weir_engine::plan::placement::{InsideSlot, Op, Place, Program, Slot, SlotId, State, Ticket, INSIDE};

/// Copies that may wait in a stream's queue before the interpreter waits for room.
const QUEUE: usize = 256;

/// Arenas and streams of a laid-out program.
#[derive(Default)]
pub struct Memory {
    // Streams first: they are joined before the regions go.
    out: Option<Stream>,
    into: Option<Stream>,
    tickets: Vec<Option<Pushed>>,
    regions: Vec<Option<Arc<Region>>>,
    slots: Vec<Slot>,
    inside: Vec<InsideSlot>,
    /// Parts of insides that are in use, the first so many of [`INSIDE`].
    parts: usize,
    poison: Option<Poison>,
}

/// Test mode: slots are NaN until written and after their last use.
struct Poison {
    /// Slots whose last use is an operation, by operation (forward, then backward).
    dead: Vec<Vec<SlotId>>,
    at: usize,
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Memory({:?}, {} slots)", self.regions, self.slots.len())
    }
}

fn memory(e: impl fmt::Display) -> ComputeError {
    ComputeError::Memory(e.to_string())
}

/// Slots of tier 0 that an operation reads, and that it writes.
fn uses(op: &Op) -> (Vec<SlotId>, Vec<SlotId>) {
    let of = |s: &State| [s.edges, s.angles].into_iter().filter_map(slot_of).collect::<Vec<_>>();
    match op {
        Op::Forward { input, output, .. } | Op::Rebuild { input, output, .. } => (of(input), of(output)),
        Op::Backward { input, adjoint, .. } => (of(input), of(adjoint)),
        Op::Assemble { adjoint, .. } => (of(adjoint), Vec::new()),
        Op::Save { from, to, .. } | Op::Load { from, to, .. } => (vec![*from], vec![*to]),
        _ => Default::default(),
    }
}

fn slot_of(place: Place) -> Option<SlotId> {
    match place {
        Place::Slot(id) => Some(id),
        Place::None | Place::Initial => None,
    }
}

/// Slots whose last use is an operation, by operation (forward, then backward).
pub(crate) fn last_uses(program: &Program) -> Vec<Vec<SlotId>> {
    let ops: Vec<&Op> = program.forward.iter().chain(&program.backward).collect();
    let mut last = vec![usize::MAX; program.slots.len()];
    let mut copies = vec![None; program.tickets as usize];
    for (k, op) in ops.iter().enumerate() {
        if let Op::Save { from, to, ticket } | Op::Load { from, to, ticket } = op {
            copies[*ticket as usize] = Some((*from, *to));
        }
        // A copy holds its ends until it is waited for.
        let ends = match op {
            Op::Wait { ticket } => copies[*ticket as usize].map_or(Vec::new(), |(a, b)| vec![a, b]),
            _ => Vec::new(),
        };
        let (reads, writes) = uses(op);
        for id in reads.into_iter().chain(writes).chain(ends) {
            last[id.0 as usize] = k;
        }
    }
    let mut dead = vec![Vec::new(); ops.len()];
    for (id, &k) in last.iter().enumerate() {
        // What a copy that nobody waits for leaves behind is not touched.
        if k != usize::MAX && program.slots[id].tier == 0 && !matches!(ops[k], Op::Save { .. } | Op::Load { .. }) {
            dead[k].push(SlotId(id as u32));
        }
    }
    dead
}

impl Poison {
    fn new(program: &Program) -> Self {
        Self { dead: last_uses(program), at: 0 }
    }
}

impl Memory {
    /// Takes the memory of every tier, all of it touched, reusing regions of `before` that are long enough.
    ///
    /// # Errors
    /// [`ComputeError::Memory`] naming tier and remedy; a full disk is found here.
    pub fn new(
        kinds: &[Arc<dyn Kind>],
        program: &Program,
        before: Memory,
        poison: bool,
        profile: Option<Instant>,
    ) -> Result<Self, ComputeError> {
        let Memory { out, into, mut regions, .. } = before;
        drop((out, into));
        regions.resize_with(kinds.len(), || None);
        for (k, (region, &need)) in regions.iter_mut().zip(&program.arena_bytes).enumerate() {
            // Atoms without neighbours have slots of no bytes, which still lie in a region.
            let need = if k == 0 { need.max(1) } else { need };
            // Buffers beside the first tier's arena share its budget: what they have grown by, the arena has to give back.
            if let (0, Some(region)) = (k, region.as_mut().and_then(Arc::get_mut)) {
                region.shorten(need);
            }
            if region.as_ref().map_or(0, |r| r.bytes()) < need {
                // The old one goes before the new one comes.
                *region = None;
                *region = Some(Arc::new(kinds[k].allocate(need).map_err(memory)?));
            }
        }
        let copies = program.forward.iter().chain(&program.backward);
        let copies = copies.filter(|op| matches!(op, Op::Save { .. } | Op::Load { .. })).count();
        let options = Options {
            queue: QUEUE,
            records: if profile.is_some() { copies } else { 0 },
            epoch: profile.unwrap_or_else(Instant::now),
            ..Options::default()
        };
        let stream = |name| Stream::new(name, options.clone()).map_err(memory);
        let (out, into) = if copies > 0 { (Some(stream("out")?), Some(stream("in")?)) } else { (None, None) };
        let poison = poison.then(|| Poison::new(program));
        Ok(Self {
            out,
            into,
            tickets: vec![None; program.tickets as usize],
            regions,
            slots: program.slots.clone(),
            inside: program.inside.clone(),
            parts: INSIDE.len(),
            poison,
        })
    }

    /// Starts a step: nothing is under way any more, a failure of the last step is forgotten.
    pub fn begin(&mut self) {
        for stream in [&mut self.out, &mut self.into].into_iter().flatten() {
            // The failure was told by the wait that met it.
            let _ = stream.recover();
        }
        self.tickets.fill(None);
        if let Some(p) = &mut self.poison {
            p.at = 0;
            for slot in &self.inside {
                // SAFETY: nothing runs.
                poison(unsafe { self.range(0, slot.offset, slot.bytes) });
            }
            for k in 0..self.slots.len() {
                if self.slots[k].tier == 0 {
                    // SAFETY: nothing runs.
                    poison(unsafe { self.bytes(SlotId(k as u32)) });
                }
            }
        }
    }

    /// # Safety
    /// Nobody else reaches the slot.
    #[allow(clippy::mut_from_ref)]
    unsafe fn bytes(&self, id: SlotId) -> &mut [u8] {
        let slot = self.slots[id.0 as usize];
        // SAFETY: the caller's promise.
        unsafe { self.range(slot.tier, slot.offset, slot.bytes) }
    }

    /// A slot of the first tier as numbers.
    pub fn slot<T>(&self, id: SlotId) -> Shared<'_, T> {
        let slot = self.slots[id.0 as usize];
        assert_eq!(slot.tier, 0, "only the first tier is computed on");
        // SAFETY: the program lets nothing else write the slot during an operation.
        unsafe { self.numbers(slot.offset, slot.bytes) }
    }

    /// Bytes of the first tier as numbers.
    ///
    /// # Safety
    /// Nothing else writes them while they are used.
    unsafe fn numbers<T>(&self, offset: u64, bytes: u64) -> Shared<'_, T> {
        // SAFETY: the caller's promise.
        let bytes = unsafe { self.range(0, offset, bytes) };
        // SAFETY: inside the region, aligned by the plan.
        unsafe { Shared::from_raw(bytes.as_mut_ptr().cast(), bytes.len() / std::mem::size_of::<T>()) }
    }

    /// Leaves all parts of insides but the first so many alone, from the next step on; their memory stays.
    pub fn use_parts(&mut self, parts: usize) {
        self.parts = parts;
    }

    /// Part of a layer's inside as numbers, where it is kept.
    pub fn inside<T>(&self, layer: usize, part: usize) -> Option<Shared<'_, T>> {
        let slot = self.inside.iter().find(|s| (s.layer, s.part) == (layer, part)).filter(|_| part < self.parts)?;
        // SAFETY: of the step's operations only this layer's write it, and only before its backward ones.
        Some(unsafe { self.numbers(slot.offset, slot.bytes) })
    }

    /// # Safety
    /// Nobody else reaches the bytes.
    #[allow(clippy::mut_from_ref)]
    unsafe fn range(&self, tier: u8, offset: u64, bytes: u64) -> &mut [u8] {
        let region = self.regions[usize::from(tier)].as_ref().expect("a tier with slots has a region");
        let base = region.pointer().expect("only memory is computed on").as_ptr();
        // SAFETY: the planner lays slots out within the arena; exclusive by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(base.add(offset as usize), bytes as usize) }
    }

    fn place(&self, id: SlotId) -> At {
        let slot = self.slots[id.0 as usize];
        let region = self.regions[usize::from(slot.tier)].clone().expect("a tier with slots has a region");
        At { region, offset: slot.offset }
    }

    /// Starts a copy between tiers.
    pub fn copy(&mut self, from: SlotId, to: SlotId, ticket: Ticket) {
        let bytes = self.slots[from.0 as usize].bytes.min(self.slots[to.0 as usize].bytes);
        let copy = Copy { from: self.place(from), to: self.place(to), bytes };
        let stream = if self.slots[from.0 as usize].tier == 0 { &mut self.out } else { &mut self.into };
        let stream = stream.as_mut().expect("a program with copies has streams");
        // SAFETY: the program waits for the ticket before either end is written again (checked by the planner's replay).
        self.tickets[ticket as usize] = Some(unsafe { stream.push(copy, [None, None]) });
    }

    /// Waits for a copy.
    ///
    /// # Errors
    /// What the copy met.
    pub fn wait(&self, ticket: Ticket) -> Result<(), ComputeError> {
        let pushed = self.tickets[ticket as usize].as_ref().expect("programs wait for copies that were started");
        pushed.wait().map_err(memory)
    }

    /// Copies since the last call.
    pub fn records(&self, into: &mut Vec<Record>) {
        for stream in [&self.out, &self.into].into_iter().flatten() {
            stream.records(into);
        }
    }

    /// Poison mode, before an operation: `read` are the slots it reads, with the bytes it reads of them and those of a number.
    ///
    /// # Errors
    /// [`ComputeError::Memory`] when something was never written.
    pub fn check(&self, read: impl Iterator<Item = (SlotId, usize, usize)>) -> Result<(), ComputeError> {
        if self.poison.is_none() {
            return Ok(());
        }
        for (id, bytes, width) in read {
            // SAFETY: nothing writes while the interpreter looks: what was loaded into the slot has been waited for.
            let slot = unsafe { self.bytes(id) };
            if let Some(at) = unwritten(&slot[..bytes], width) {
                return Err(memory(format!("broken plan: slot {} is read at byte {at}, which nobody wrote", id.0)));
            }
        }
        Ok(())
    }

    /// Poison mode, after an operation.
    pub fn done(&mut self) {
        let Some(p) = &mut self.poison else { return };
        let at = p.at;
        p.at += 1;
        let Some(p) = &self.poison else { return };
        for &id in &p.dead[at] {
            // SAFETY: its last use is over and nothing that shares its bytes has begun.
            poison(unsafe { self.bytes(id) });
        }
    }
}
