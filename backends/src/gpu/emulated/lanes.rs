//! What lanes of a wave ask for together, by place of the kernel text.

use super::{lock, Emulated, Entry, State};
use libloading::Library;
use std::collections::BTreeMap;

/// A place of the text, as compiled.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Kernel.
    pub kernel: String,
    /// Offset in the image, behind the call that looks: `addr2line` tells lines.
    pub offset: u64,
    /// Whether the memory is shared memory.
    pub shared: bool,
    /// Whether it is written.
    pub writes: bool,
}

/// Blocks that may share a first cache, at most.
pub const SHARED_BY: usize = 4;

/// What a place has asked for; of a part of the blocks (`lanes.h`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// Bytes of a lane.
    pub bytes: u64,
    /// Accesses of a wave.
    pub requests: u64,
    /// Lanes that took part in them.
    pub lanes: u64,
    /// Cycles of shared memory or of a first cache, as `lanes.h` of the kernels' text counts them.
    pub cycles: u64,
    /// Lines of 128 bytes of device memory.
    pub lines: u64,
    /// Sectors of 32 bytes of device memory.
    pub sectors: u64,
    /// Words of 4 bytes.
    pub words: u64,
    /// Sectors that a first cache did not hold, with one to four blocks on a multiprocessor (`caches.h`); zero where so many have no room.
    pub missed: [u64; SHARED_BY],
}

/// Blocks of a kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Looked {
    /// Those that were looked at.
    pub looked_at: u64,
    /// All of them.
    pub all: u64,
}

/// Twin of `weir::Asked`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(super) struct Raw {
    site: u64,
    kind: u32,
    bytes: u32,
    requests: u64,
    lanes: u64,
    cycles: u64,
    lines: u64,
    sectors: u64,
    words: u64,
    missed: [u64; SHARED_BY],
}

type AskPlaces = unsafe extern "C" fn(*mut Raw, u64) -> u64;
type AskBlocks = unsafe extern "C" fn(*mut u64, *mut u64);

/// What an image that looks at lanes tells.
#[derive(Clone, Copy)]
pub(super) struct AskLanes {
    places: AskPlaces,
    blocks: AskBlocks,
}

impl AskLanes {
    /// Of an image; none where it does not look at lanes.
    pub(super) fn of(library: &Library) -> Option<Self> {
        // SAFETY: the text exports these with these types (`lanes.h`).
        unsafe {
            let places = library.get::<AskPlaces>(b"weir_asked").ok()?;
            let blocks = library.get::<AskBlocks>(b"weir_looked").ok()?;
            Some(Self { places: *places, blocks: *blocks })
        }
    }
}

impl State {
    /// Takes what a launch has asked for.
    pub(super) fn take_asked(&mut self, entry: &Entry) {
        let Some(ask) = entry.asked else { return };
        // SAFETY: room for nothing is asked for, so nothing is written.
        let count = unsafe { (ask.places)(std::ptr::null_mut(), 0) } as usize;
        let mut places = vec![Raw::default(); count];
        // SAFETY: there is room for as many, of a struct that is the twin of the image's.
        let count = unsafe { (ask.places)(places.as_mut_ptr(), count as u64) } as usize;
        let (mut looked, mut all) = (0, 0);
        // SAFETY: both are there to be written.
        unsafe { (ask.blocks)(&mut looked, &mut all) };
        let blocks = self.looked.entry(entry.name.clone()).or_default();
        blocks.looked_at += looked;
        blocks.all += all;
        for raw in &places[..count] {
            let place =
                Place { kernel: entry.name.clone(), offset: raw.site, shared: raw.kind < 2, writes: raw.kind % 2 == 1 };
            let sum = self.asked.entry(place).or_default();
            sum.bytes = raw.bytes.into();
            sum.requests += raw.requests;
            sum.lanes += raw.lanes;
            sum.cycles += raw.cycles;
            sum.lines += raw.lines;
            sum.sectors += raw.sectors;
            sum.words += raw.words;
            sum.missed.iter_mut().zip(raw.missed).for_each(|(s, n)| *s += n);
        }
    }
}

impl Emulated {
    /// What lanes have asked for so far, under [`super::Watch::Lanes`].
    pub fn asked(&self) -> BTreeMap<Place, Asked> {
        lock(&self.state).asked.clone()
    }

    /// Blocks of each kernel.
    pub fn looked(&self) -> BTreeMap<String, Looked> {
        lock(&self.state).looked.clone()
    }

    /// The image that holds a kernel, where one is loaded: what offsets of places mean.
    pub fn image_of(&self, kernel: &str) -> Option<Vec<u8>> {
        let state = lock(&self.state);
        let entry = state.entries.iter().rev().find(|e| e.name == kernel)?;
        let loaded = state.libraries.get(entry.module as usize)?.as_ref()?;
        Some(loaded.image().to_vec())
    }
}
