//! Recording of work, as strict as the vendors': a stream belongs to a recording once it waits for one of its events, and the compute
//! stream must have waited for all of it in the end.

use super::super::driver::{DriverError, Graph, Stream};
use super::{call, State, Work};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// A recording under way.
#[derive(Default)]
pub struct Recording {
    work: Vec<(Stream, Work)>,
    /// How much of each stream that takes part was recorded, and up to where the compute stream has waited for it.
    parts: BTreeMap<Stream, (usize, usize)>,
    /// Marks made in the recording: event to mark, stream, place in it.
    marks: BTreeMap<u32, (u64, Stream, usize)>,
    broken: Option<&'static str>,
}

impl Recording {
    pub fn new() -> Self {
        let mut recording = Self::default();
        recording.parts.insert(Stream::Compute, (0, 0));
        recording
    }

    /// A call that makes the recording worthless.
    pub fn spoil(&mut self, why: &'static str) {
        self.broken = self.broken.or(Some(why));
    }

    pub fn takes(&self, stream: Stream) -> bool {
        self.parts.contains_key(&stream)
    }

    pub fn push(&mut self, stream: Stream, work: Work) {
        self.parts.entry(stream).or_default().0 += 1;
        self.work.push((stream, work));
    }

    pub fn record(&mut self, event: u32, stream: Stream) {
        let mark = self.work.len() as u64 + 1;
        self.push(stream, Work::Record { event, mark });
        self.marks.insert(event, (mark, stream, self.parts[&stream].0));
    }

    /// Whether the wait belongs to the recording.
    pub fn wait(&mut self, stream: Stream, event: u32) -> Result<bool, DriverError> {
        let Some(&(mark, origin, place)) = self.marks.get(&event) else {
            if self.takes(stream) {
                self.spoil("it waits for an event outside");
                return Err(call("wait", "a recording waits for an event outside it"));
            }
            return Ok(false);
        };
        self.push(stream, Work::Wait { event, mark });
        if stream == Stream::Compute {
            let part = self.parts.entry(origin).or_default();
            part.1 = part.1.max(place);
        }
        Ok(true)
    }

    fn end(self) -> Result<Vec<(Stream, Work)>, DriverError> {
        if let Some(why) = self.broken {
            return Err(call("end_capture", why));
        }
        let open = self.parts.iter().find(|(s, (end, waited))| **s != Stream::Compute && waited < end);
        match open {
            Some((stream, _)) => Err(call("end_capture", format!("nobody waits for the end of {stream:?}"))),
            None => Ok(self.work),
        }
    }
}

impl State {
    pub fn begin(&mut self) -> Result<(), DriverError> {
        if self.recording.is_some() {
            return Err(call("begin_capture", "already recording"));
        }
        self.recording = Some(Recording::new());
        Ok(())
    }

    pub fn end(&mut self) -> Result<Graph, DriverError> {
        let recording = self.recording.take().ok_or_else(|| call("end_capture", "not recording"))?;
        self.graphs.push(Some(recording.end()?));
        Ok(Graph(self.graphs.len() as u32 - 1))
    }

    pub fn replay(&mut self, graph: Graph) -> Result<(), DriverError> {
        if self.recording.is_some() {
            return Err(call("replay", "recording"));
        }
        let recorded = self.graphs.get(graph.0 as usize).and_then(Clone::clone);
        let recorded = recorded.ok_or_else(|| call("replay", "no such graph"))?;
        self.replays += 1;
        let others: BTreeSet<Stream> = recorded.iter().map(|w| w.0).filter(|s| *s != Stream::Compute).collect();
        let part = |queues: &mut BTreeMap<Stream, VecDeque<Work>>, begins| {
            for other in &others {
                queues.entry(*other).or_default().push_back(Work::RecordedPart { begins });
            }
        };
        part(&mut self.queues, true);
        // Marks are counted anew, so that every replay has its own.
        let mut marks = BTreeMap::new();
        for (stream, work) in recorded {
            let work = match work {
                Work::Record { event, mark } => {
                    self.queued[event as usize] += 1;
                    marks.insert(mark, self.queued[event as usize]);
                    Work::Record { event, mark: self.queued[event as usize] }
                }
                Work::Wait { event, mark } => Work::Wait { event, mark: marks[&mark] },
                other => other,
            };
            self.queues.entry(stream).or_default().push_back(work);
        }
        part(&mut self.queues, false);
        Ok(())
    }
}
