//! Timing copies between real regions.

use super::{Key, Link, LinkError, LinkTable};
use crate::kind::{Kind, Region};
use crate::stream::{Copy, Options, Place, Stream};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Length of a measured region, bytes: several times the last-level cache of most parts, allocated in milliseconds.
const REGION: u64 = 64 << 20;
/// Length of one copy, bytes; a slow disk is asked few of them.
const PIECE: u64 = 8 << 20;
/// Length of the shortest copy, for latency, bytes.
const SMALL: u64 = 4096;

/// Measures copies within `hbm` and between it and each of `others`, each with its own stream as the executor has, in at
/// most `limit` (two seconds are enough) where no single copy of 8 MiB takes longer than its share.
///
/// # Errors
/// No memory, or a copy failed.
pub fn measure(key: Key, hbm: &dyn Kind, others: &[&dyn Kind], limit: Duration) -> Result<LinkTable, LinkError> {
    let start = Instant::now();
    // Four timings a tier and one of hbm; half of the time goes to allocating, settling files and latencies.
    let slice = limit / 2 / (4 * others.len() as u32 + 1);
    let bytes = affordable(hbm, limit / 4 / (2 + 2 * others.len() as u32))?;
    let options = || Options { queue: 16, ..Options::default() };
    let mut streams = (Stream::new("out", options())?, Stream::new("in", options())?);
    let (source, hbm_first_touch) = fresh(hbm, bytes)?;
    let (target, _) = fresh(hbm, bytes)?;
    let rate = one_way(&mut streams.0, &source, &target, bytes, slice)?;
    let mut links = Vec::with_capacity(others.len());
    for kind in others {
        let bytes = bytes.min(kind.capacity() / 2 / PIECE * PIECE).max(PIECE);
        let (out, first_touch) = fresh(*kind, bytes)?;
        let write = one_way(&mut streams.0, &source, &out, bytes, slice)?;
        // Another region, written whole, so that reading it meets real bytes.
        let (back, _) = fresh(*kind, bytes)?;
        fill(&mut streams.0, &source, &back, bytes, slice)?;
        back.settle()?;
        let read = one_way(&mut streams.1, &back, &target, bytes, slice)?;
        let latency = (latency(&mut streams.0, &source, &out, slice)?, latency(&mut streams.1, &back, &target, slice)?);
        back.settle()?;
        let both = both_ways(&mut streams, [&source, &out, &back, &target], bytes, slice)?;
        let (both_write, both_read) = both;
        links.push(Link {
            tier: kind.tier(),
            write,
            read,
            both_write,
            both_read,
            latency,
            first_touch,
            direct: out.direct(),
        });
    }
    let made = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    Ok(LinkTable { key, hbm: rate, hbm_first_touch, links, seconds: start.elapsed().as_secs_f64(), made })
}

/// Length of a region whose first touch fits into a time: a virtual machine may have to get its pages from the host, at
/// a hundred times the usual cost (10 s/GiB against 0.1, 2-core x86 virtual machine, November 2026).
fn affordable(hbm: &dyn Kind, time: Duration) -> Result<u64, LinkError> {
    let start = Instant::now();
    drop(hbm.allocate(PIECE)?);
    let pieces = (time.as_secs_f64() / start.elapsed().as_secs_f64().max(1e-9)) as u64;
    Ok((pieces.saturating_mul(PIECE)).min(REGION).min(hbm.capacity() / 4 / PIECE * PIECE).max(PIECE))
}

/// A region and its cost in s/GiB.
fn fresh(kind: &dyn Kind, bytes: u64) -> Result<(Arc<Region>, f64), LinkError> {
    let start = Instant::now();
    let region = kind.allocate(bytes)?;
    let seconds = start.elapsed().as_secs_f64();
    Ok((Arc::new(region), seconds / (bytes as f64 / (1u64 << 30) as f64)))
}

fn piece(from: &Arc<Region>, to: &Arc<Region>, offset: u64, bytes: u64) -> Copy {
    let place = |region: &Arc<Region>| Place { region: region.clone(), offset };
    Copy { from: place(from), to: place(to), bytes }
}

/// Bytes per second of pieces in turn, until the time is over. What a page cache took in is sent to the disk within the
/// time, so that it counts.
fn one_way(
    stream: &mut Stream,
    from: &Arc<Region>,
    to: &Arc<Region>,
    bytes: u64,
    time: Duration,
) -> Result<f64, LinkError> {
    let start = Instant::now();
    let mut moved = 0;
    while moved == 0 || start.elapsed() < time {
        // SAFETY: only this function uses the regions, and it waits for each piece.
        unsafe { stream.push(piece(from, to, moved % bytes, PIECE), [None, None]) }.wait()?;
        moved += PIECE;
    }
    to.settle()?;
    Ok(moved as f64 / start.elapsed().as_secs_f64())
}

/// Writes as much of a region as the time allows.
fn fill(
    stream: &mut Stream,
    from: &Arc<Region>,
    to: &Arc<Region>,
    bytes: u64,
    time: Duration,
) -> Result<(), LinkError> {
    let start = Instant::now();
    for offset in (0..bytes).step_by(PIECE as usize) {
        if start.elapsed() > time {
            break;
        }
        // SAFETY: only this function uses the regions, and it waits for each piece.
        unsafe { stream.push(piece(from, to, offset, PIECE), [None, None]) }.wait()?;
    }
    Ok(())
}

/// Median of seconds from push to wait of a short copy.
fn latency(stream: &mut Stream, from: &Arc<Region>, to: &Arc<Region>, time: Duration) -> Result<f64, LinkError> {
    let start = Instant::now();
    let mut samples = Vec::with_capacity(31);
    while samples.len() < 31 && (samples.is_empty() || start.elapsed() < time / 4) {
        let begin = Instant::now();
        // SAFETY: only this function uses the regions, and it waits for the copy.
        unsafe { stream.push(piece(from, to, 0, SMALL), [None, None]) }.wait()?;
        samples.push(begin.elapsed().as_secs_f64());
    }
    samples.sort_by(f64::total_cmp);
    Ok(samples[samples.len() / 2])
}

/// Bytes per second out and in while both streams are busy.
fn both_ways(
    streams: &mut (Stream, Stream),
    [source, out, back, target]: [&Arc<Region>; 4],
    bytes: u64,
    time: Duration,
) -> Result<(f64, f64), LinkError> {
    std::thread::scope(|scope| {
        let (writer, reader) = (&mut streams.0, &mut streams.1);
        let other = scope.spawn(move || one_way(reader, back, target, bytes, time));
        let write = one_way(writer, source, out, bytes, time);
        // A panic there is a bug of ours, and this thread should show it.
        let read = other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        Ok((write?, read))
    })
}
