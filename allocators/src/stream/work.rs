//! The thread's side of a stream.

use super::progress::{Progress, StreamError};
use super::push::{Copy, Options, Record, Shared, Task};
use crate::faults::Operation;
use crate::kind::{AllocError, Staging};
use crate::os;
use std::sync::Arc;

/// Copies are cut here, so that the staging and the page cache are used in turns, bytes.
const PIECE: usize = 64 << 20;

pub struct Worker {
    pub name: &'static str,
    pub shared: Arc<Shared>,
    pub progress: Arc<Progress>,
    pub staging: Option<Staging>,
    pub options: Options,
}

/// Tells waiters that nothing more will come, also when the thread unwinds.
struct Stop(Arc<Progress>, Arc<Shared>);

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.stop();
        self.1.lock().closing = true;
        self.1.room.notify_all();
    }
}

impl Worker {
    pub fn run(mut self) {
        let _stop = Stop(self.progress.clone(), self.shared.clone());
        // A wish: cores that are not ours leave the thread where it is.
        let _ = os::pin_thread(&self.options.cpus);
        while let Some(task) = self.next() {
            let outcome = self.work(&task);
            let number = task.number;
            // The regions go before waiters wake: whoever waited may count on being their only owner.
            drop(task);
            self.progress.finish(number, outcome);
        }
    }

    fn next(&self) -> Option<Task> {
        let mut queue = self.shared.lock();
        loop {
            if let Some(task) = queue.tasks.pop_front() {
                drop(queue);
                self.shared.room.notify_one();
                return Some(task);
            }
            if queue.closing {
                return None;
            }
            queue = self.shared.changed.wait(queue).unwrap_or_else(|e| e.into_inner());
        }
    }

    fn work(&mut self, task: &Task) -> Result<(), StreamError> {
        let (stream, number) = (self.name, task.number);
        if let Some(error) = self.progress.failure() {
            return Err(error);
        }
        for ticket in task.after.iter().flatten() {
            // A ticket of this very stream is over already: tickets are done in order.
            ticket.wait().map_err(|e| StreamError::Earlier { stream, number, source: Box::new(e) })?;
        }
        let begin = self.options.epoch.elapsed().as_secs_f64();
        let copy = &task.copy;
        let (from, to, bytes) = (copy.from.region.tier(), copy.to.region.tier(), copy.bytes);
        let failed = |e| StreamError::Copy { stream, number, from, to, bytes, source: Arc::new(e) };
        self.copy(copy).map_err(failed)?;
        if self.options.records > 0 {
            let end = self.options.epoch.elapsed().as_secs_f64();
            let mut queue = self.shared.lock();
            if queue.records.len() == self.options.records {
                queue.records.pop_front();
                queue.lost += 1;
            }
            queue.records.push_back(Record { number, from, to, bytes, begin, end });
        }
        Ok(())
    }

    fn copy(&mut self, copy: &Copy) -> Result<(), AllocError> {
        self.options.faults.check(Operation::Copy)?;
        let (from, to) = (&copy.from.region, &copy.to.region);
        from.check(copy.from.offset, copy.bytes)?;
        to.check(copy.to.offset, copy.bytes)?;
        let mut done = 0;
        while done < copy.bytes {
            let part = (copy.bytes - done).min(PIECE as u64) as usize;
            let (source, target) = (copy.from.offset + done, copy.to.offset + done);
            // SAFETY: both ranges were checked; who pushed the copy promised that nobody else reaches them.
            unsafe {
                match (from.pointer(), to.pointer()) {
                    (Some(base), _) => {
                        to.put(target, base.as_ptr().add(source as usize), part, self.staging.as_mut())?;
                    }
                    (None, Some(base)) => {
                        from.fetch(source, base.as_ptr().add(target as usize), part, self.staging.as_mut())?;
                    }
                    (None, None) => {
                        let why = "is copied to a file through memory only; one side";
                        return Err(AllocError::Unsupported { tier: from.tier(), why, instead: "system" });
                    }
                }
            }
            done += part as u64;
        }
        Ok(())
    }
}
