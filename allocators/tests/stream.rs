//! Promises of copy streams.

use std::sync::Arc;
use std::time::{Duration, Instant};
use weir_allocators::faults::{Faults, Operation};
use weir_allocators::kind::{File, Hbm, Kind, Ledger, Region};
use weir_allocators::stream::{Copy, Options, Place, Stream, StreamError, Ticket};

fn hbm(bytes: u64) -> Region {
    Hbm::new(Ledger::new("hbm", "WEIR_HBM_BUDGET", bytes), Faults::none()).allocate(bytes).unwrap()
}

fn file(bytes: u64, faults: Faults) -> Region {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let ledger = Ledger::new("file", "WEIR_FILE_BUDGET", bytes);
    // The file has no name, so that the folder may go before it.
    File::new(ledger, folder.path(), faults).unwrap().allocate(bytes).unwrap()
}

fn copy(from: (&Arc<Region>, u64), to: (&Arc<Region>, u64), bytes: u64) -> Copy {
    let place = |(region, offset): (&Arc<Region>, u64)| Place { region: region.clone(), offset };
    Copy { from: place(from), to: place(to), bytes }
}

fn push(stream: &mut Stream, copy: Copy, after: [Option<Ticket>; 2]) -> Ticket {
    // SAFETY: tests touch the ranges only after waiting.
    unsafe { stream.push(copy, after) }
}

fn bytes_of(region: Arc<Region>) -> Vec<u8> {
    let mut region = Arc::into_inner(region).expect("the stream keeps a region after its ticket");
    let mut bytes = vec![0; region.bytes() as usize];
    region.read_at(0, &mut bytes).unwrap();
    bytes
}

#[test]
fn bytes_arrive_through_memory_and_file_in_the_order_of_tickets() {
    let length = 3 << 20;
    let mut source = hbm(length);
    let pattern: Vec<u8> = (0..length).map(|i| (i * 13 + i / 255) as u8).collect();
    source.write_at(0, &pattern).unwrap();
    let (source, disk) = (Arc::new(source), Arc::new(file(length + 4096, Faults::none())));
    let (middle, target) = (Arc::new(hbm(length)), Arc::new(hbm(length)));
    let options = || Options { staging: 64 << 10, queue: 2, ..Options::default() };
    let mut out = Stream::new("out", options()).unwrap();
    let mut back = Stream::new("in", options()).unwrap();
    push(&mut out, copy((&source, 0), (&middle, 0), length), [None, None]);
    // From an address off the blocks and of odd length, so that staging is needed; two streams, ordered by tickets.
    let odd = length - 64 - 1;
    let first = push(&mut out, copy((&middle, 64), (&disk, 4096), odd), [None, None]);
    let head = push(&mut out, copy((&middle, 0), (&target, 0), 64), [None, None]);
    let last = push(&mut back, copy((&disk, 4096), (&target, 64), odd), [Some(first.clone()), Some(head)]);
    back.wait(&last).unwrap();
    assert!(first.is_over() && last.is_over() && first.number() == 2);
    out.drain().unwrap();
    let got = bytes_of(target);
    assert!(got[..length as usize - 1] == pattern[..length as usize - 1]);
}

#[test]
fn a_chain_of_dependent_copies_over_two_streams_keeps_its_order() {
    let (a, b) = (Arc::new(hbm(1 << 16)), Arc::new(hbm(1 << 16)));
    let mut streams =
        [Stream::new("even", Options::default()).unwrap(), Stream::new("odd", Options::default()).unwrap()];
    let mut last: Option<Ticket> = None;
    // Each copy moves the result of the one before it on, 64 bytes further.
    let mut first = hbm(4096);
    first.write_at(0, &[42; 64]).unwrap();
    last = Some(push(&mut streams[0], copy((&Arc::new(first), 0), (&a, 0), 64), [last.take(), None]));
    for i in 1..900u64 {
        let (from, to) = if i % 2 == 1 { (&a, &b) } else { (&b, &a) };
        let step = copy((from, (i - 1) * 64), (to, i * 64), 64);
        last = Some(push(&mut streams[i as usize % 2], step, [last.take(), None]));
    }
    last.unwrap().wait().unwrap();
    drop(streams);
    let b = bytes_of(b);
    assert!(b[899 * 64..900 * 64].iter().all(|&x| x == 42));
}

#[test]
fn an_error_is_kept_told_at_wait_and_stops_what_follows() {
    let (a, b) = (Arc::new(hbm(1 << 16)), Arc::new(hbm(1 << 16)));
    let options = Options { faults: Faults::fail(Operation::Copy, 2), ..Options::default() };
    let mut stream = Stream::new("out", options).unwrap();
    let mut other = Stream::new("in", Options::default()).unwrap();
    let part = |i: u64| copy((&a, i * 64), (&b, i * 64), 64);
    let tickets: Vec<Ticket> = (0..4).map(|i| push(&mut stream, part(i), [None, None])).collect();
    let late = push(&mut other, part(9), [Some(tickets[3].clone()), None]);
    tickets[0].wait().unwrap();
    for ticket in &tickets[1..] {
        let error = ticket.wait().unwrap_err();
        assert!(matches!(&error, StreamError::Copy { number: 2, stream: "out", bytes: 64, .. }), "{error}");
        assert!(error.to_string().contains("copy number 2 was made to fail"), "{error}");
    }
    assert!(matches!(late.wait(), Err(StreamError::Earlier { stream: "in", number: 1, .. })));
    assert!(stream.drain().is_err());
    assert!(stream.recover().is_some() && other.recover().is_some());
    push(&mut stream, part(0), [None, None]).wait().unwrap();
    assert!(stream.recover().is_none());
}

#[test]
fn a_copy_outside_of_its_region_is_an_error_not_a_write() {
    let (a, b) = (Arc::new(hbm(4096)), Arc::new(hbm(4096)));
    let mut stream = Stream::new("out", Options::default()).unwrap();
    let error = push(&mut stream, copy((&a, 0), (&b, 64), 4096), [None, None]).wait().unwrap_err();
    assert!(matches!(error, StreamError::Copy { .. }), "{error}");
    stream.recover();
    let (x, y) = (Arc::new(file(4096, Faults::none())), Arc::new(file(4096, Faults::none())));
    let error = push(&mut stream, copy((&x, 0), (&y, 0), 4096), [None, None]).wait().unwrap_err();
    assert!(error.to_string().contains("through memory"), "{error}");
}

#[test]
fn dropping_a_stream_finishes_its_work_also_after_an_error() {
    let mut source = hbm(1 << 20);
    source.write_at(0, &[9; 1 << 20]).unwrap();
    let (source, target) = (Arc::new(source), Arc::new(hbm(1 << 20)));
    let mut stream = Stream::new("out", Options::default()).unwrap();
    for i in 0..100 {
        push(&mut stream, copy((&source, i * 10_000), (&target, i * 10_000), 10_000), [None, None]);
    }
    drop(stream);
    assert!(bytes_of(target)[..1_000_000].iter().all(|&b| b == 9));
    let target = Arc::new(hbm(1 << 20));
    let options = Options { faults: Faults::fail(Operation::Copy, 1), queue: 4, ..Options::default() };
    let mut stream = Stream::new("out", options).unwrap();
    let tickets: Vec<_> =
        (0..50).map(|_| push(&mut stream, copy((&source, 0), (&target, 0), 64), [None, None])).collect();
    drop(stream);
    assert!(tickets.iter().all(|t| t.wait().is_err()), "tickets outlive their stream");
    assert!(bytes_of(target).iter().all(|&b| b == 0));
}

#[test]
fn records_tell_when_and_how_much_and_the_ring_does_not_grow() {
    let (a, b) = (Arc::new(hbm(1 << 20)), Arc::new(hbm(1 << 20)));
    let epoch = Instant::now();
    let mut stream = Stream::new("out", Options { records: 8, epoch, ..Options::default() }).unwrap();
    for i in 1..=10 {
        push(&mut stream, copy((&a, 0), (&b, 0), i * 1000), [None, None]);
    }
    stream.drain().unwrap();
    let mut records = Vec::new();
    assert_eq!(stream.records(&mut records), 2, "the two oldest are lost");
    assert_eq!(records.iter().map(|r| r.bytes).collect::<Vec<_>>(), (3..=10).map(|i| i * 1000).collect::<Vec<_>>());
    let end = epoch.elapsed().as_secs_f64();
    assert!(records.iter().all(|r| 0.0 <= r.begin && r.begin <= r.end && r.end <= end));
    assert!(records.windows(2).all(|w| w[0].end <= w[1].begin));
    records.clear();
    assert_eq!((stream.records(&mut records), records.len()), (0, 0));
}

#[test]
fn a_full_queue_holds_the_caller_back_and_loses_nothing() {
    let (a, b) = (Arc::new(hbm(8 << 20)), Arc::new(hbm(8 << 20)));
    let mut stream = Stream::new("out", Options { queue: 1, ..Options::default() }).unwrap();
    let start = Instant::now();
    for _ in 0..64 {
        push(&mut stream, copy((&a, 0), (&b, 0), 8 << 20), [None, None]);
    }
    stream.drain().unwrap();
    assert!(start.elapsed() < Duration::from_secs(60));
}
