//! Streams at work.

use super::super::driver::{Arg, DriverError, HostWork, Stream};
use super::order::Touch;
use super::{call, lock, Counts, Eagerness, Emulated, Entry, Raw, Run, State, Work};
use std::time::Instant;

impl Emulated {
    pub(super) fn queue(&self, stream: Stream, work: Work) {
        let mut state = lock(&self.state);
        match &mut state.recording {
            Some(recording) if recording.takes(stream) => recording.push(stream, work),
            _ => state.queues.entry(stream).or_default().push_back(work),
        }
    }

    /// Runs one stream until it is empty or, with `until`, an event has been reached.
    pub(super) fn drain(
        &self,
        state: &mut State,
        stream: Stream,
        until: Option<(u32, u64)>,
    ) -> Result<(), DriverError> {
        loop {
            if until.is_some_and(|(event, mark)| state.reached[event as usize] >= mark) {
                return Ok(());
            }
            if self.eagerness == Eagerness::Eager {
                for other in Stream::ALL {
                    if other != stream {
                        self.run_ready(state, other)?;
                    }
                }
            }
            let Some(work) = state.queues.entry(stream).or_default().pop_front() else { return Ok(()) };
            if let Work::Wait { event, mark } = work {
                if state.reached[event as usize] < mark {
                    let holder = Stream::ALL.into_iter().find(|other| {
                        let has =
                            |w: &Work| matches!(w, Work::Record { event: e, mark: m } if *e == event && *m >= mark);
                        *other != stream && state.queues.get(other).is_some_and(|q| q.iter().any(has))
                    });
                    let Some(holder) = holder else { return Err(call("wait", "an event that nobody will record")) };
                    self.drain(state, holder, Some((event, mark)))?;
                }
                state.order.wait(stream, event, mark);
                continue;
            }
            self.work(state, stream, work)?;
        }
    }

    /// Runs what a stream can run without others.
    fn run_ready(&self, state: &mut State, stream: Stream) -> Result<(), DriverError> {
        while let Some(work) = state.queues.entry(stream).or_default().pop_front() {
            if let Work::Wait { event, mark } = work {
                if state.reached[event as usize] < mark {
                    state.queues.entry(stream).or_default().push_front(work);
                    return Ok(());
                }
                state.order.wait(stream, event, mark);
                continue;
            }
            self.work(state, stream, work)?;
        }
        Ok(())
    }

    fn work(&self, state: &mut State, stream: Stream, work: Work) -> Result<(), DriverError> {
        match work {
            Work::Launch { function, grid, block, shared, args } => {
                let entry = state.entries[function].clone();
                let failed = |cause| DriverError::Launch { kernel: entry.name.clone(), cause };
                if state.libraries[entry.module as usize].is_none() {
                    return Err(failed("its image was unloaded".into()));
                }
                let known = if self.guessed { &[][..] } else { &args };
                let touches: Vec<(usize, Touch)> = touches(known, entry.written).collect();
                apart(&touches, entry.handed).map_err(failed)?;
                let ordered = state.order.run(stream, &entry.name, touches.into_iter().map(|(_, t)| t).collect());
                ordered.map_err(failed)?;
                self.launch_now(state, stream, &entry, grid, block, shared, &args)
            }
            Work::Copy { to, from, bytes } => {
                let ends = [(to, true), (from, false)].map(|(at, writes)| Touch { at, bytes, writes });
                state.order.run(stream, "a copy", ends.to_vec()).map_err(|e| call("copy", e))?;
                // SAFETY: whoever queued the copy answers for both ends.
                unsafe { lock(&self.heap).copy(to, from, bytes) }.map_err(|e| call("copy", e))
            }
            Work::Fill { to, byte, bytes } => {
                let touch = Touch { at: to, bytes, writes: true };
                state.order.run(stream, "a fill", vec![touch]).map_err(|e| call("fill", e))?;
                lock(&self.heap).mark(to, bytes, true).map_err(|e| call("fill", e))?;
                // SAFETY: `mark` found the range inside an allocation of this heap.
                unsafe { std::slice::from_raw_parts_mut(to as *mut u8, bytes as usize) }.fill(byte);
                Ok(())
            }
            Work::Discard { address, bytes } => {
                let touch = Touch { at: address, bytes, writes: true };
                state.order.run(stream, "a discard", vec![touch]).map_err(|e| call("discard", e))?;
                lock(&self.heap).mark(address, bytes, false).map_err(|e| call("discard", e))
            }
            Work::RecordedPart { begins } => {
                state.order.recorded(stream, begins);
                Ok(())
            }
            Work::Record { event, mark } => {
                state.order.record(stream, event, mark);
                let reached = &mut state.reached[event as usize];
                *reached = (*reached).max(mark);
                state.times[event as usize] = Some(Instant::now());
                Ok(())
            }
            Work::Host(HostWork { function, data }) => {
                // SAFETY: whoever queued it answers for function and argument.
                unsafe { function(data as *mut std::ffi::c_void) };
                Ok(())
            }
            Work::Wait { .. } => Ok(()),
        }
    }

    fn launch_now(
        &self,
        state: &mut State,
        stream: Stream,
        entry: &Entry,
        grid: u32,
        block: u32,
        shared: u32,
        args: &[Arg],
    ) -> Result<(), DriverError> {
        let failed = |cause: String| DriverError::Launch { kernel: entry.name.clone(), cause };
        let mut heap = lock(&self.heap);
        let raw = args.iter().enumerate().map(|(k, arg)| {
            let (value, bytes, words) = match *arg {
                Arg::Pointer(0, _) => (0, 0, 0),
                Arg::Pointer(at, bytes) => {
                    let words = heap.words(at, bytes).map_err(|e| failed(format!("argument {k}: {e}")))?;
                    if words.is_none() && bytes > 0 {
                        return Err(failed(format!("argument {k} is not memory of the device")));
                    }
                    (at, bytes, words.unwrap_or(0))
                }
                Arg::U32(v) => (u64::from(v), 0, 0),
                Arg::U64(v) => (v, 0, 0),
                Arg::F64(v) => (v.to_bits(), 0, 0),
            };
            Ok(Raw { value, bytes, words })
        });
        let raw: Vec<Raw> = raw.collect::<Result<_, DriverError>>()?;
        let mut run = Run {
            grid,
            threads: block,
            shared,
            wave: self.facts.wave,
            time: state.time,
            pad: 0,
            args: raw.as_ptr(),
            counts: Counts::default(),
            fault: [0; 256],
        };
        let guard = |ranges: &[(u64, u64)], shut: i32| {
            if let Some(guard) = entry.guard {
                // SAFETY: whole allocations and checked parts of them; only the sanitizer's notes change.
                ranges.iter().for_each(|&(at, bytes)| unsafe { guard(at, bytes, shut) });
            }
        };
        let all = if entry.guard.is_some() { heap.ranges() } else { Vec::new() };
        guard(&all, 1);
        let open = args.iter().filter_map(|a| if let Arg::Pointer(at, bytes) = *a { Some((at, bytes)) } else { None });
        guard(&open.filter(|(at, _)| *at != 0).collect::<Vec<_>>(), 0);
        // SAFETY: the library was made from our own prelude, whose structs are these; all ranges were checked above.
        let status = unsafe { (entry.run)(entry.kernel, &mut run) };
        state.time = run.time;
        guard(&all, 0);
        if status != 0 {
            let end = run.fault.iter().position(|b| *b == 0).unwrap_or(run.fault.len());
            return Err(failed(String::from_utf8_lossy(&run.fault[..end]).into_owned()));
        }
        state.take_asked(entry);
        let total = state.counts.entry(entry.name.clone()).or_default();
        total.launches += 1;
        total.beside += u64::from(stream == Stream::Beside);
        total.read_bytes += run.counts.read_bytes;
        total.written_bytes += run.counts.written_bytes;
        total.fma += run.counts.fma;
        total.activations += run.counts.activations;
        total.shared_bytes += run.counts.shared_bytes;
        total.block_bytes += run.counts.block_bytes;
        total.phase_bytes += run.counts.phase_bytes;
        Ok(())
    }
}

/// Memory behind the arguments of a launch, with their numbers; `written` has a bit for each that the kernel may write.
fn touches(args: &[Arg], written: u64) -> impl Iterator<Item = (usize, Touch)> + '_ {
    args.iter().enumerate().filter_map(move |(k, arg)| match *arg {
        Arg::Pointer(at, bytes) if bytes > 0 => Some((k, Touch { at, bytes, writes: written >> k & 1 > 0 })),
        _ => None,
    })
}

/// An argument that a kernel may write reaches into no other one's memory, unless both are `handed`: of all other arrays kernels say so
/// (`restrict`), and compilers rely on it.
fn apart(touches: &[(usize, Touch)], handed: u64) -> Result<(), String> {
    for (k, a) in touches.iter().filter(|(_, a)| a.writes) {
        let both = |other: usize| handed >> k & handed >> other & 1 > 0;
        if let Some((other, _)) = touches.iter().find(|(other, b)| other != k && a.meets(b) && !both(*other)) {
            return Err(format!("argument {k}, which it may write, overlaps argument {other}"));
        }
    }
    Ok(())
}
