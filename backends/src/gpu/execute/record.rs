//! A step recorded once and run again and again: a graph of the driver.

use super::super::driver::{Driver, DriverError, Graph, Stream};
use super::{Ends, Executor};
use std::sync::Arc;

/// What a recording depends on, beside plan and memory of the list, which drop it when they go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key {
    /// Where positions come from and forces go to.
    pub ends: Ends,
    /// Atomic parameters that the fitting net reads.
    pub per_atom: usize,
    /// Whether images number translations of a table.
    pub table: bool,
}

/// A recorded step.
pub(super) struct Recorded {
    driver: Arc<dyn Driver>,
    graph: Graph,
    key: Key,
    launches: u64,
}

impl Drop for Recorded {
    fn drop(&mut self) {
        self.driver.forget(self.graph);
    }
}

impl Executor {
    /// Queues a step without weights of energies: by what was recorded, by recording it where a step like it has run before, or piece by
    /// piece. The first is never recorded: drivers prepare kernels when they are launched for the first time.
    pub(super) fn queue_or_replay(&mut self, key: Key) -> Result<(), DriverError> {
        // Events of a recording tell no times.
        if !self.options.graph || self.options.kernels || self.trace.is_some() || self.keeps_from_recording() {
            return self.queue(key, false);
        }
        if self.code.recorded.as_ref().is_none_or(|r| r.key != key) {
            self.code.recorded = None;
            if self.code.ran != Some(key) {
                return self.queue(key, false);
            }
            match self.record(key) {
                Ok(recorded) => self.code.recorded = Some(recorded),
                Err(error) => {
                    // What cannot be recorded can be queued, as the step before was; what fails there too is told by that.
                    self.options.graph = false;
                    self.came_up.push(format!(
                        "steps are queued piece by piece from here on, which is slower: the driver has not recorded one ({error})"
                    ));
                    for stream in Stream::ALL {
                        self.launcher.driver.synchronise(stream)?;
                    }
                    self.launcher.launches = 0;
                    self.arenas.begin();
                    return self.queue(key, false);
                }
            }
            self.recordings += 1;
        }
        let recorded = self.code.recorded.as_ref().expect("made above");
        self.launcher.launches = recorded.launches;
        recorded.driver.replay(recorded.graph)?;
        self.replays += 1;
        Ok(())
    }

    fn record(&mut self, key: Key) -> Result<Recorded, DriverError> {
        let driver = self.launcher.driver.clone();
        driver.begin_capture()?;
        let queued = self.queue(key, false);
        let graph = driver.end_capture();
        let launches = self.launcher.launches;
        // Made first, so that a graph is dropped after an error too.
        let recorded = graph.map(|graph| Recorded { driver, graph, key, launches });
        queued?;
        recorded
    }

    /// Whether what goes to a file must not be recorded: in HIP's graphs a node of one stream does not wait for a function of the host in another
    /// one, only for its place in the queue, so that a file would be read before it is written (ROCm/clr, `GraphHostNode`).
    fn keeps_from_recording(&self) -> bool {
        self.arenas.has_file() && self.launcher.driver.name() == "hip"
    }
}
