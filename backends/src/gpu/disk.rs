//! The tier `file` of a device: copies in pieces through page-locked slots. Out: device to slot on the copy stream, slot to file by a
//! thread of the host; in: the reverse. Each direction has slots and a thread of its own, so that link and disk work at once.
//!
//! What the host does stands in the device's streams as host functions (`cuLaunchHostFunc`, `hipLaunchHostFunc`), not in the interpreter:
//! so a step that spills to a file is recorded and run again like any other, nobody waits while a step is queued, and one order holds on
//! every driver. The functions hand work to the threads and wait for it; they never touch the file, because a driver runs the functions of
//! all streams on one thread. Where it does, a function of one direction that waits for its thread holds up those of the other: the directions then
//! overlap by their slots only. They cannot fail either: an error stays with the thread that met it, everything after it is passed over, and
//! the end of the step tells it.

use super::array::Array;
use super::driver::{Driver, DriverError, HostWork, Memory, Stream as Queue};
use super::memory::{failed, Held};
use std::ffi::c_void;
use std::ops::Range;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use weir_allocators::kind::{Region, Tier};
use weir_allocators::stream::{Copy, Options, Place, Record, Stream, Ticket as Pushed};
use weir_engine::backend::ComputeError;
use weir_engine::plan::placement::{Op, Program, Ticket};

/// Slots of a direction. The next piece is read into the slot that the piece before has left, which is right for two.
const SLOTS: usize = 2;
/// Addresses, offsets and lengths of transfers past the page cache are multiples of this, bytes.
const BLOCK: u64 = 4096;

/// Threads and memory.
struct Link {
    slots: Arc<Region>,
    file: Arc<Region>,
    state: Mutex<State>,
    panicked: AtomicBool,
}

struct State {
    out: Stream,
    into: Stream,
    /// Transfers of this step, by piece.
    pushed: Vec<Option<Pushed>>,
}

/// A piece of a copy; host functions get its address.
struct Piece {
    link: Arc<Link>,
    number: usize,
    /// Offset in the slots.
    slot: u64,
    /// Offset in the file.
    file: u64,
    /// Offset in the copy.
    at: u64,
    bytes: u64,
    /// The piece that must be over: out, the one that had this slot before; in, the one that wrote what is read.
    after: Option<usize>,
}

/// Copies between the device and a file.
pub struct Disk {
    pieces: Box<[Piece]>,
    /// Of each copy of the program.
    of: Vec<Range<usize>>,
    link: Arc<Link>,
    /// Whether the page cache is in between, although the file could do without: the kernel does not let the slots' memory past it.
    pub cached: bool,
}

impl Link {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ends(&self, piece: &Piece) -> [Place; 2] {
        let place = |region: &Arc<Region>, offset| Place { region: region.clone(), offset };
        [place(&self.slots, piece.slot), place(&self.file, piece.file)]
    }
}

impl Piece {
    /// Whole blocks: slots and places in the file are padded to them.
    fn whole(&self) -> u64 {
        self.bytes.next_multiple_of(BLOCK)
    }

    fn write(&self) {
        let [from, to] = self.link.ends(self);
        let mut state = self.link.lock();
        // SAFETY: the slot is written again behind `wait_before`, the place in the file as the program allows, in this thread's order.
        let pushed = unsafe { state.out.push(Copy { from, to, bytes: self.whole() }, [None, None]) };
        state.pushed[self.number] = Some(pushed);
    }

    fn read(&self) {
        let [to, from] = self.link.ends(self);
        let mut state = self.link.lock();
        let written = self.after.map(|n| state.pushed[n].clone());
        if let Some(None) = written {
            // What was never written cannot be read: the streams ran otherwise than the program.
            self.link.panicked.store(true, Ordering::Release);
            return;
        }
        let written = written.flatten();
        // SAFETY: the copy out of the slot stands before this function in its stream, and the next one behind `wait`.
        let pushed = unsafe { state.into.push(Copy { from, to, bytes: self.whole() }, [written, None]) };
        state.pushed[self.number] = Some(pushed);
    }

    fn wait_for(&self, number: usize) {
        let pushed = self.link.lock().pushed[number].clone();
        // A failure is told by the end of the step.
        if let Some(pushed) = pushed {
            let _ = pushed.wait();
        }
    }

    fn wait(&self) {
        self.wait_for(self.number);
    }

    fn wait_before(&self) {
        if let Some(number) = self.after {
            self.wait_for(number);
        }
    }
}

/// # Safety
/// `piece` is the address of a live [`Piece`].
unsafe fn act(piece: *mut c_void, work: fn(&Piece)) {
    // SAFETY: the caller's promise; pieces are only read.
    let piece = unsafe { &*piece.cast::<Piece>() };
    if catch_unwind(AssertUnwindSafe(|| work(piece))).is_err() {
        piece.link.panicked.store(true, Ordering::Release);
    }
}

macro_rules! host_functions {
    ($($name:ident $work:ident;)*) => {
        $(unsafe extern "C" fn $name(piece: *mut c_void) {
            // SAFETY: queued by `Disk::queue` with the address of a piece, which lives as long as the plan.
            unsafe { act(piece, Piece::$work) }
        })*
    };
}

host_functions! {
    write_piece write;
    read_piece read;
    await_piece wait;
    await_slot wait_before;
}

impl Disk {
    /// For the copies of a program to and from a tier, whose memory is `file`; slots have `slot` bytes, or fewer where no copy is so long.
    /// With `profile` as zero, transfers are timed.
    ///
    /// # Errors
    /// The driver's, the file's, no thread.
    pub fn new(
        driver: &Arc<dyn Driver>,
        mut file: Region,
        tier: u8,
        program: &Program,
        slot: u64,
        profile: Option<Instant>,
    ) -> Result<Self, ComputeError> {
        let slots = &program.slots;
        let copies: Vec<(Ticket, u32, bool, u64)> = program
            .forward
            .iter()
            .chain(&program.backward)
            .filter_map(|op| {
                let (ticket, from, to, there, out) = match *op {
                    Op::Save { from, to, ticket } => (ticket, from, to, to, true),
                    Op::Load { from, to, ticket } => (ticket, from, to, from, false),
                    _ => return None,
                };
                let bytes = slots[from.0 as usize].bytes.min(slots[to.0 as usize].bytes);
                (slots[there.0 as usize].tier == tier).then_some((ticket, there.0, out, bytes))
            })
            .collect();
        let longest = copies.iter().map(|c| c.3).max().unwrap_or(0);
        let length = slot.min(longest).max(1).next_multiple_of(BLOCK);
        let room = 2 * SLOTS as u64 * length;
        let number: u64 = copies.iter().map(|c| c.3.div_ceil(length)).sum();
        let stream = |name| {
            let options = Options {
                queue: 2 * SLOTS,
                records: if profile.is_some() { number as usize } else { 0 },
                // Slots begin and end at blocks.
                staging: 0,
                epoch: profile.unwrap_or_else(Instant::now),
                ..Options::default()
            };
            Stream::new(name, options).map_err(|e| ComputeError::Memory(e.to_string()))
        };
        let state = State { out: stream("file-out")?, into: stream("file-in")?, pushed: vec![None; number as usize] };
        let locked = locked(driver, room).map_err(failed)?;
        let mut cached = false;
        if let Some(slot) = locked.pointer() {
            // SAFETY: a slot has whole blocks and holds zeros; nobody else has it or the file yet.
            cached = unsafe { file.try_memory(slot) }.map_err(|e| ComputeError::Memory(e.to_string()))?;
        }
        let link = Arc::new(Link {
            slots: Arc::new(locked),
            file: Arc::new(file),
            state: Mutex::new(state),
            panicked: AtomicBool::new(false),
        });
        let mut pieces: Vec<Piece> = Vec::with_capacity(number as usize);
        let mut of = vec![0..0; program.tickets as usize];
        // What was saved to each place, and who had each slot last.
        let mut saved = vec![0..0; slots.len()];
        let mut users = [const { Vec::<usize>::new() }; 2];
        for (ticket, place, out, bytes) in copies {
            let first = pieces.len();
            let offset = slots[place as usize].offset;
            for k in 0..bytes.div_ceil(length) {
                let (at, number) = (k * length, pieces.len());
                let mine = &mut users[usize::from(!out)];
                let turn = (mine.len() % SLOTS) as u64 + if out { 0 } else { SLOTS as u64 };
                let before: &Range<usize> = &saved[place as usize];
                let after = match out {
                    true => mine.len().checked_sub(SLOTS).map(|n| mine[n]),
                    false => before.clone().nth(k as usize).or(before.clone().last()),
                };
                mine.push(number);
                pieces.push(Piece {
                    link: link.clone(),
                    number,
                    slot: turn * length,
                    file: offset + at,
                    at,
                    bytes: length.min(bytes - at),
                    after,
                });
            }
            of[ticket as usize] = first..pieces.len();
            if out {
                saved[place as usize] = first..pieces.len();
            }
        }
        Ok(Self { pieces: pieces.into(), of, link, cached })
    }

    /// Starts a step: nothing is under way, a failure of the last one is forgotten, and so are transfers of a try that did not count.
    pub fn begin(&self) {
        let mut state = self.link.lock();
        // It was told by the end of its step.
        let _ = (state.out.recover(), state.into.recover());
        // After the wait in `recover`: what was still under way has its record by then.
        let mut old = Vec::new();
        state.out.records(&mut old);
        state.into.records(&mut old);
        state.pushed.fill(None);
        self.link.panicked.store(false, Ordering::Release);
    }

    /// Queues a copy of the program; `device` is its end on the device. Once the stream has passed it, what was saved may be overwritten and
    /// loaded again, and what was loaded is there.
    ///
    /// # Errors
    /// The driver's.
    pub fn queue(&self, driver: &dyn Driver, stream: Queue, ticket: Ticket, device: Array) -> Result<(), DriverError> {
        let pieces = &self.pieces[self.of[ticket as usize].clone()];
        let base = self.link.slots.pointer().map_or(0, |p| p.as_ptr() as u64);
        let host = |function: unsafe extern "C" fn(*mut c_void), piece: &Piece| {
            // SAFETY: pieces stay where they are until the streams have been waited for and recordings are dropped.
            unsafe { driver.host(stream, HostWork { function, data: std::ptr::from_ref(piece) as u64 }) }
        };
        for (k, piece) in pieces.iter().enumerate() {
            let (slot, here) = (base + piece.slot, device.at + piece.at);
            if stream == Queue::Out {
                if piece.after.is_some() {
                    host(await_slot, piece)?;
                }
                // SAFETY: both ends lie in memory that lives as long as the plan; nobody else uses the slot, as waited for above.
                unsafe { driver.copy(stream, slot, here, piece.bytes) }?;
                host(write_piece, piece)?;
                continue;
            }
            if k == 0 {
                host(read_piece, piece)?;
            }
            if let Some(next) = pieces.get(k + 1) {
                host(read_piece, next)?;
            }
            host(await_piece, piece)?;
            // SAFETY: as above; the slot has been filled.
            unsafe { driver.copy(stream, here, slot, piece.bytes) }?;
        }
        Ok(())
    }

    /// The end of a step whose streams have been waited for: what was written is in the file.
    ///
    /// # Errors
    /// What reading or writing met.
    pub fn settle(&self) -> Result<(), ComputeError> {
        let state = self.link.lock();
        let outcome = state.out.drain().and(state.into.drain());
        if self.link.panicked.load(Ordering::Acquire) {
            return Err(ComputeError::Memory("tier file: host functions of the step panicked, or ran in another order than the program's; set WEIR_GRAPH=off".into()));
        }
        outcome.map_err(|e| ComputeError::Memory(e.to_string()))
    }

    /// Transfers between slots and file since the last call.
    pub fn records(&self, into: &mut Vec<Record>) {
        let state = self.link.lock();
        state.out.records(into);
        state.into.records(into);
    }
}

/// Page-locked memory that begins at a block and holds zeros, so that nobody ever reads bytes that nobody wrote.
fn locked(driver: &Arc<dyn Driver>, bytes: u64) -> Result<Region, DriverError> {
    let held = Held::new(driver, Memory::Pinned, bytes + BLOCK)?;
    let zeros = vec![0u8; (bytes + BLOCK) as usize];
    // SAFETY: both ends hold the bytes until the stream has been waited for, which happens after an error too.
    let sent = unsafe { driver.copy(Queue::Compute, held.array.at, zeros.as_ptr() as u64, bytes + BLOCK) };
    let waited = driver.synchronise(Queue::Compute);
    sent.and(waited)?;
    let base = NonNull::new(held.array.at.next_multiple_of(BLOCK) as *mut u8);
    let base = base.ok_or(DriverError::Call { call: "allocate", cause: "no address".into() })?;
    // SAFETY: inside what `held` keeps alive, of which a block was kept for the rounding; the host reaches page-locked memory.
    Ok(unsafe { Region::foreign(Tier::Pinned, base, bytes, Box::new(held)) })
}
