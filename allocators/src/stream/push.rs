//! The caller's side of a stream.

use super::progress::{Progress, StreamError, Ticket};
use super::work;
use crate::faults::Faults;
use crate::kind::{Region, Staging, Tier};
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Instant;

/// An offset in a region.
#[derive(Clone, Debug)]
pub struct Place {
    /// Where.
    pub region: Arc<Region>,
    /// How far into it, bytes; a multiple of the region's granularity.
    pub offset: u64,
}

/// Bytes to be moved. In a file, the rest of the last block written is undefined afterwards.
#[derive(Clone, Debug)]
pub struct Copy {
    /// From here.
    pub from: Place,
    /// To here. At most one of the two is a file.
    pub to: Place,
    /// How many, bytes.
    pub bytes: u64,
}

/// What a copy took, when profiling.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Record {
    /// Number of the copy on its stream, from 1.
    pub number: u64,
    /// Kind read.
    pub from: Tier,
    /// Kind written.
    pub to: Tier,
    /// Length, bytes.
    pub bytes: u64,
    /// Began, seconds since [`Options::epoch`].
    pub begin: f64,
    /// Ended, seconds since [`Options::epoch`].
    pub end: f64,
}

/// How a stream is made.
#[derive(Clone, Debug)]
pub struct Options {
    /// Copies that may wait in the queue; pushing one more blocks until one is over.
    pub queue: usize,
    /// Records kept for [`Stream::records`]; 0 for none. When full, the oldest are lost.
    pub records: usize,
    /// Staging between memory and a file past the page cache, bytes; 0 for streams that meet no file.
    pub staging: usize,
    /// Cores for the thread; empty for any.
    pub cpus: Vec<usize>,
    /// Zero of the times in records; one for all streams of a trace.
    pub epoch: Instant,
    /// Faults on purpose.
    pub faults: Faults,
}

impl Default for Options {
    fn default() -> Self {
        let (cpus, faults, epoch) = (Vec::new(), Faults::none(), Instant::now());
        Options { queue: 256, records: 0, staging: 4 << 20, cpus, epoch, faults }
    }
}

pub(super) struct Task {
    pub copy: Copy,
    pub after: [Option<Ticket>; 2],
    pub number: u64,
}

#[derive(Default)]
pub(super) struct Queue {
    pub tasks: VecDeque<Task>,
    pub records: VecDeque<Record>,
    pub lost: u64,
    pub closing: bool,
}

pub(super) struct Shared {
    pub queue: Mutex<Queue>,
    pub changed: Condvar,
    pub room: Condvar,
}

impl Shared {
    pub fn lock(&self) -> MutexGuard<'_, Queue> {
        // Nobody panics while holding it.
        self.queue.lock().unwrap_or_else(|e| e.into_inner())
    }
}

/// A copy thread and its queue. Dropping it carries out what was pushed (nothing after a failure) and joins the thread.
pub struct Stream {
    name: &'static str,
    shared: Arc<Shared>,
    progress: Arc<Progress>,
    capacity: usize,
    last: u64,
    thread: Option<JoinHandle<()>>,
}

impl Stream {
    /// Starts the thread and makes everything that it will need.
    ///
    /// # Errors
    /// No thread or no memory for staging.
    pub fn new(name: &'static str, options: Options) -> Result<Self, StreamError> {
        let start = |e| StreamError::Start { stream: name, source: Arc::new(e) };
        let staging = (options.staging > 0).then(|| Staging::new(options.staging)).transpose().map_err(start)?;
        let capacity = options.queue.max(1);
        let queue = Queue {
            tasks: VecDeque::with_capacity(capacity),
            records: VecDeque::with_capacity(options.records),
            ..Queue::default()
        };
        let shared = Arc::new(Shared { queue: Mutex::new(queue), changed: Condvar::new(), room: Condvar::new() });
        let progress = Arc::new(Progress::new(name));
        let worker = work::Worker { name, shared: shared.clone(), progress: progress.clone(), staging, options };
        let builder = std::thread::Builder::new().name(format!("weir-{name}"));
        let thread = builder.spawn(move || worker.run()).map_err(start)?;
        Ok(Stream { name, shared, progress, capacity, last: 0, thread: Some(thread) })
    }

    /// Name in errors and traces.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Queues a copy that begins once both tickets in `after` (of any stream) are over. Blocks while the queue is full.
    ///
    /// # Safety
    /// Until the ticket is over, nobody writes the source range or touches the destination range, except copies that
    /// are ordered by this stream or by `after`.
    pub unsafe fn push(&mut self, copy: Copy, after: [Option<Ticket>; 2]) -> Ticket {
        self.last += 1;
        let mut queue = self.shared.lock();
        // A thread that is gone takes nothing more; its tickets say so.
        while queue.tasks.len() >= self.capacity && !queue.closing {
            queue = self.shared.room.wait(queue).unwrap_or_else(|e| e.into_inner());
        }
        queue.tasks.push_back(Task { copy, after, number: self.last });
        drop(queue);
        self.shared.changed.notify_one();
        Ticket { progress: self.progress.clone(), number: self.last }
    }

    /// Waits for a ticket of this or another stream.
    ///
    /// # Errors
    /// As [`Ticket::wait`].
    pub fn wait(&self, ticket: &Ticket) -> Result<(), StreamError> {
        ticket.wait()
    }

    /// Waits for everything pushed.
    ///
    /// # Errors
    /// The first failure.
    pub fn drain(&self) -> Result<(), StreamError> {
        self.progress.wait(self.last)
    }

    /// Waits for everything pushed and forgets a failure, which is returned, so that the stream can be used
    /// again. Tickets from before no longer tell of it.
    pub fn recover(&mut self) -> Option<StreamError> {
        let outcome = self.progress.wait(self.last);
        self.progress.forgive().or(outcome.err())
    }

    /// Takes the records since the last call, in order, into `into`; returns how many were lost to a full ring.
    pub fn records(&self, into: &mut Vec<Record>) -> u64 {
        let mut queue = self.shared.lock();
        into.extend(queue.records.drain(..));
        std::mem::take(&mut queue.lost)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.shared.lock().closing = true;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            // A panic there was told to every waiter as a stop.
            let _ = thread.join();
        }
    }
}
