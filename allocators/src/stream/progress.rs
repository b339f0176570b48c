//! How far a stream has come, shared by everybody who waits for it.

use crate::kind::{AllocError, Tier};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

/// Why a copy was not done. Clones share the cause.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StreamError {
    /// The copy itself failed.
    #[error("copy {number} of stream {stream} ({from} to {to}, {bytes} bytes) failed: {source}")]
    Copy {
        /// Name of the stream.
        stream: &'static str,
        /// Number of the copy, from 1.
        number: u64,
        /// Kind read.
        from: Tier,
        /// Kind written.
        to: Tier,
        /// Length, bytes.
        bytes: u64,
        /// What happened.
        source: Arc<AllocError>,
    },
    /// What the copy was to wait for failed.
    #[error("copy {number} of stream {stream} waited for one that failed: {source}")]
    Earlier {
        /// Name of the stream.
        stream: &'static str,
        /// Number of the copy, from 1.
        number: u64,
        /// What happened there.
        source: Box<StreamError>,
    },
    /// The thread is gone.
    #[error("stream {stream} has stopped before copy {number}")]
    Stopped {
        /// Name of the stream.
        stream: &'static str,
        /// Number of the copy, from 1.
        number: u64,
    },
    /// The thread could not be made.
    #[error("stream {stream} could not be started: {source}; lower the number of threads with WEIR_THREADS")]
    Start {
        /// Name of the stream.
        stream: &'static str,
        /// What the system said.
        source: Arc<std::io::Error>,
    },
}

#[derive(Default)]
struct State {
    done: u64,
    failed: Option<(u64, StreamError)>,
    stopped: bool,
}

pub(super) struct Progress {
    name: &'static str,
    state: Mutex<State>,
    moved: Condvar,
}

impl Progress {
    pub fn new(name: &'static str) -> Self {
        Progress { name, state: Mutex::default(), moved: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nobody panics while holding it: only numbers change.
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Counts a copy as over, done or not; the first failure is kept.
    pub fn finish(&self, number: u64, outcome: Result<(), StreamError>) {
        let mut state = self.lock();
        state.done = number;
        if let (Err(error), None) = (outcome, &state.failed) {
            state.failed = Some((number, error));
        }
        drop(state);
        self.moved.notify_all();
    }

    pub fn stop(&self) {
        self.lock().stopped = true;
        self.moved.notify_all();
    }

    pub fn failure(&self) -> Option<StreamError> {
        self.lock().failed.as_ref().map(|(_, e)| e.clone())
    }

    pub fn forgive(&self) -> Option<StreamError> {
        self.lock().failed.take().map(|(_, e)| e)
    }

    pub fn wait(&self, number: u64) -> Result<(), StreamError> {
        let mut state = self.lock();
        while state.done < number {
            if state.stopped {
                return Err(StreamError::Stopped { stream: self.name, number });
            }
            state = self.moved.wait(state).unwrap_or_else(|e| e.into_inner());
        }
        match &state.failed {
            Some((failed, error)) if *failed <= number => Err(error.clone()),
            _ => Ok(()),
        }
    }

    pub fn done(&self) -> u64 {
        self.lock().done
    }
}

/// A place in the order of a stream. Tickets of one stream are done in the order in which they were given.
#[derive(Clone)]
pub struct Ticket {
    pub(super) progress: Arc<Progress>,
    pub(super) number: u64,
}

impl Ticket {
    /// Waits until the copy is over.
    ///
    /// # Errors
    /// It failed, or one before it on the same stream did: nothing after a failure is carried out.
    pub fn wait(&self) -> Result<(), StreamError> {
        self.progress.wait(self.number)
    }

    /// Whether the copy is over, done or failed.
    pub fn is_over(&self) -> bool {
        self.progress.done() >= self.number
    }

    /// Number of the copy on its stream, from 1.
    pub fn number(&self) -> u64 {
        self.number
    }
}

impl std::fmt::Debug for Ticket {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "Ticket({}, {})", self.progress.name, self.number)
    }
}
