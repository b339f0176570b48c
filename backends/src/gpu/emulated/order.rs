//! Who waited for whom. A device is free to run the work of two streams in any order that events allow, and at once: such work may not touch the
//! same memory, unless all of it only reads. Every piece of work is looked at with the times of its stream and what that has waited for (vector
//! clocks), by the ranges that it was given.

use super::super::driver::Stream;
use std::collections::HashMap;

const STREAMS: usize = Stream::ALL.len();
/// Streams, and what runs in them as a part of recorded work: that is in order with the compute stream, not with what their queues had before or
/// have after it.
const LANES: usize = 2 * STREAMS;

/// How far a lane has come, and up to where it has waited for the others.
type Clock = [u64; LANES];

/// Bytes that work touches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Touch {
    pub at: u64,
    pub bytes: u64,
    pub writes: bool,
}

impl Touch {
    /// Whether both reach into the same memory and one of them writes.
    pub fn meets(&self, other: &Touch) -> bool {
        let (a, b) = (self, other);
        (a.writes || b.writes) && a.at < b.at.saturating_add(b.bytes) && b.at < a.at.saturating_add(a.bytes)
    }
}

struct Done {
    lane: usize,
    time: u64,
    name: String,
    touches: Vec<Touch>,
}

/// What has run and is not in order with all that is still to come.
#[derive(Default)]
pub struct Order {
    clocks: [Clock; LANES],
    /// Streams that are at work on something recorded.
    recorded: [bool; STREAMS],
    marks: HashMap<(u32, u64), Clock>,
    done: Vec<Done>,
}

impl Order {
    fn lane(&self, stream: Stream) -> usize {
        stream as usize + if self.recorded[stream as usize] { STREAMS } else { 0 }
    }

    /// A stream begins with its part of recorded work, or has ended it.
    pub fn recorded(&mut self, stream: Stream, begins: bool) {
        self.recorded[stream as usize] = begins;
        if begins {
            // What it waits for is in the recording.
            let lane = self.lane(stream);
            let time = self.clocks[lane][lane];
            self.clocks[lane] = [0; LANES];
            self.clocks[lane][lane] = time;
        }
    }

    /// A stream reaches a mark of an event.
    pub fn record(&mut self, stream: Stream, event: u32, mark: u64) {
        self.marks.insert((event, mark), self.clocks[self.lane(stream)]);
    }

    /// A stream has waited for a mark; one of a time that the host has waited for says nothing new.
    pub fn wait(&mut self, stream: Stream, event: u32, mark: u64) {
        let lane = self.lane(stream);
        if let Some(other) = self.marks.get(&(event, mark)) {
            for (mine, theirs) in self.clocks[lane].iter_mut().zip(other) {
                *mine = (*mine).max(*theirs);
            }
        }
    }

    /// The host has waited for a stream: what that has come to, or waited for, is in order with all that is queued from now on.
    pub fn settle(&mut self, stream: Stream) {
        let clock = self.clocks[self.lane(stream)];
        self.done.retain(|d| d.time > clock[d.lane]);
        if self.done.is_empty() {
            self.marks.clear();
        }
    }

    /// Work runs now.
    ///
    /// # Errors
    /// Other work that may run beside it and touches the same memory.
    pub fn run(&mut self, stream: Stream, name: &str, touches: Vec<Touch>) -> Result<(), String> {
        if touches.is_empty() {
            return Ok(());
        }
        let here = self.lane(stream);
        let clock = self.clocks[here];
        for other in self.done.iter().filter(|d| d.lane != here && d.time > clock[d.lane]) {
            for a in &touches {
                if let Some(b) = other.touches.iter().find(|b| a.meets(b)) {
                    let how = |t: &Touch| if t.writes { "writes" } else { "reads" };
                    return Err(format!(
                        "it {} memory at {:#x} that {}, which nobody has put in order with it, {}",
                        how(a),
                        a.at.max(b.at),
                        other.name,
                        how(b)
                    ));
                }
            }
        }
        self.clocks[here][here] += 1;
        let time = self.clocks[here][here];
        // What all others have waited for can meet nothing any more.
        let (clocks, recorded) = (self.clocks, self.recorded);
        // (A lane that is not at work will begin with what the compute stream knows; what stands behind its beginning in the same queue has not
        // run.)
        let at_work = |lane: &usize| *lane < STREAMS || recorded[*lane - STREAMS];
        let open = |d: &Done| (0..LANES).filter(at_work).any(|lane| lane != d.lane && clocks[lane][d.lane] < d.time);
        self.done.retain(open);
        self.done.push(Done { lane: here, time, name: name.into(), touches });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn touch(at: u64, writes: bool) -> Vec<Touch> {
        vec![Touch { at, bytes: 64, writes }]
    }

    #[test]
    fn work_that_nobody_put_in_order_may_not_share_what_one_of_it_writes() {
        let mut order = Order::default();
        order.run(Stream::Compute, "maker", touch(0, true)).unwrap();
        let error = order.run(Stream::Beside, "reader", touch(32, false)).unwrap_err();
        assert!(error.contains("maker") && error.contains("0x20"), "{error}");
        // Elsewhere, or where both read, it may.
        order.run(Stream::Beside, "stranger", touch(64, true)).unwrap();
        order.run(Stream::Out, "reader", touch(256, false)).unwrap();
        order.run(Stream::In, "reader", touch(256, false)).unwrap();
    }

    #[test]
    fn waiting_goes_by_way_of_other_streams_but_not_back() {
        let mut order = Order::default();
        order.run(Stream::Compute, "maker", touch(0, true)).unwrap();
        order.record(Stream::Compute, 0, 1);
        order.wait(Stream::Beside, 0, 1);
        order.run(Stream::Beside, "reader", touch(0, false)).unwrap();
        order.record(Stream::Beside, 1, 1);
        order.wait(Stream::Out, 1, 1);
        order.run(Stream::Out, "copy", touch(0, true)).unwrap();
        assert!(order.run(Stream::Compute, "maker", touch(0, true)).is_err());
        // The mark was made before the copy.
        order.wait(Stream::Compute, 1, 1);
        assert!(order.run(Stream::Compute, "maker", touch(0, true)).is_err());
        order.record(Stream::Out, 2, 1);
        order.wait(Stream::Compute, 2, 1);
        order.run(Stream::Compute, "maker", touch(0, true)).unwrap();
    }

    #[test]
    fn recorded_work_is_in_order_with_the_stream_that_it_was_launched_in_alone() {
        let mut order = Order::default();
        order.run(Stream::Out, "copy before", touch(0, true)).unwrap();
        order.record(Stream::Compute, 0, 1);
        order.recorded(Stream::Out, true);
        order.wait(Stream::Out, 0, 1);
        // The same queue, but nobody has told the compute stream to wait for it.
        assert!(order.run(Stream::Out, "recorded copy", touch(0, true)).is_err());
        order.run(Stream::Out, "recorded copy", touch(64, true)).unwrap();
        order.record(Stream::Out, 1, 1);
        order.recorded(Stream::Out, false);
        order.wait(Stream::Compute, 1, 1);
        assert!(order.run(Stream::Out, "copy after", touch(64, false)).is_err());
        order.record(Stream::Compute, 2, 1);
        order.wait(Stream::Out, 2, 1);
        order.run(Stream::Out, "copy after", touch(64, false)).unwrap();
    }

    #[test]
    fn recorded_work_that_runs_twice_in_a_row_is_in_order() {
        let mut order = Order::default();
        let mut replay = |mark: u64, joined: bool| {
            order.record(Stream::Compute, 0, mark);
            order.recorded(Stream::In, true);
            order.wait(Stream::In, 0, mark);
            let copied = order.run(Stream::In, "copy", touch(0, true));
            order.record(Stream::In, 1, mark);
            order.recorded(Stream::In, false);
            if joined {
                order.wait(Stream::Compute, 1, mark);
            }
            copied.and_then(|()| order.run(Stream::Compute, "reader", touch(0, false)))
        };
        replay(1, true).unwrap();
        replay(2, true).unwrap();
        assert!(replay(3, false).unwrap_err().contains("copy"));
    }

    #[test]
    fn what_the_host_waited_for_is_in_order() {
        let mut order = Order::default();
        order.run(Stream::Compute, "maker", touch(0, true)).unwrap();
        order.run(Stream::Out, "reader", touch(64, false)).unwrap();
        order.settle(Stream::Compute);
        order.run(Stream::In, "copy", touch(0, true)).unwrap();
        // For another stream it has not waited.
        assert!(order.run(Stream::In, "copy", touch(64, true)).is_err());
    }
}
