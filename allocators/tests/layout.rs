//! Promises of arena layouts and of poison.

use std::collections::BTreeMap;
use std::time::Instant;
use weir_allocators::arena::{lay_out, Arena, ArenaError, Layout, Request};
use weir_allocators::faults::Faults;
use weir_allocators::kind::{File, Hbm, Kind, Ledger};

/// xorshift64*: the same cases every time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) % n.max(1)
    }
}

/// No two that are alive together share a byte; everything is aligned and inside.
fn assert_sound(requests: &[Request], layout: &Layout, alignment: u64) {
    // Ends of earlier steps, then beginnings: a lifetime has both its ends.
    let mut events = Vec::new();
    for (i, request) in requests.iter().enumerate().filter(|(_, r)| r.bytes > 0) {
        assert_eq!(layout.offsets[i] % alignment, 0);
        assert!(layout.offsets[i] + request.bytes <= layout.total);
        events.push((u64::from(request.first), true, i));
        events.push((u64::from(request.last) + 1, false, i));
    }
    events.sort();
    let mut alive = BTreeMap::new();
    for (_, begins, i) in events {
        let (offset, end) = (layout.offsets[i], layout.offsets[i] + requests[i].bytes);
        if !begins {
            assert_eq!(alive.remove(&offset), Some(end));
            continue;
        }
        let below: Option<(&u64, &u64)> = alive.range(..=offset).next_back();
        let above = alive.range(offset..).next();
        let apart = below.is_none_or(|(_, &e)| e <= offset) && above.is_none_or(|(&o, _)| o >= end);
        assert!(apart, "request {i} {:?} shares bytes with {below:?} or {above:?}", requests[i]);
        alive.insert(offset, end);
    }
    assert!(layout.total >= layout.load);
}

fn family(kind: u64, n: usize, dice: &mut Dice) -> Vec<Request> {
    let steps = 2 * n as u64;
    (0..n as u64)
        .map(|i| {
            let first = dice.below(steps);
            let longest = if dice.below(4) == 0 { steps } else { 20 };
            let last = first + dice.below(longest);
            let (bytes, first, last) = match kind {
                // Any length, any lifetime.
                0 => (1 + dice.below(1 << 20), first, last),
                // Few lengths.
                1 => ([1 << 20, 300_000, 70_000, 4096][dice.below(4) as usize], first, last),
                // Nested, as saved layers of a forward and backward pass.
                2 => (1 + dice.below(1 << 20), i, 2 * n as u64 - i),
                // Powers of two, and now and then nothing.
                _ => ((1 << dice.below(21)) & !1, first, last),
            };
            Request { bytes, first: first as u32, last: last as u32 }
        })
        .collect()
}

#[test]
fn slots_that_are_alive_together_never_share_a_byte_and_the_total_stays_near_the_load() {
    let mut dice = Dice(7);
    let mut worst = [0f64; 4];
    for round in 0..400 {
        let n = 1 + dice.below(if round % 20 == 0 { 3000 } else { 60 }) as usize;
        let alignment = [64, 4096, 1][round % 3];
        for kind in 0..4 {
            let requests = family(kind, n, &mut dice);
            let layout = lay_out(&requests, alignment);
            assert_sound(&requests, &layout, alignment);
            assert_eq!(layout, lay_out(&requests, alignment), "the same requests got other offsets");
            let factor = layout.total as f64 / layout.load.max(1) as f64;
            worst[kind as usize] = worst[kind as usize].max(factor);
        }
    }
    println!("worst total / load: {worst:?}");
    assert!(worst.iter().all(|&w| w < 1.35), "{worst:?}");
    assert!(worst[2] < 1.0 + 1.0 / 256.0 + 1e-9, "nested lifetimes are laid out exactly: {worst:?}");
}

#[test]
fn one_length_needs_no_byte_more_than_is_alive_at_once() {
    let mut dice = Dice(3);
    for _ in 0..50 {
        let mut requests = family(0, 500, &mut dice);
        requests.iter_mut().for_each(|r| r.bytes = 12_345);
        let layout = lay_out(&requests, 64);
        assert_sound(&requests, &layout, 64);
        assert_eq!(layout.total, layout.load);
    }
}

#[test]
fn a_hundred_and_fifty_thousand_requests_are_laid_out_soundly() {
    let mut dice = Dice(11);
    for kind in 0..4 {
        let requests = family(kind, 150_000, &mut dice);
        let start = Instant::now();
        let layout = lay_out(&requests, 64);
        // 28 to 55 ms where nothing else runs (2026-11-22); quadratic time would be minutes.
        println!("family {kind}: {:?}, total / load {}", start.elapsed(), layout.total as f64 / layout.load as f64);
        assert_sound(&requests, &layout, 64);
    }
}

#[test]
fn nothing_to_lay_out_takes_nothing() {
    let empty = lay_out(&[], 64);
    assert_eq!((empty.total, empty.load), (0, 0));
    let zero = lay_out(&[Request { bytes: 0, first: 5, last: 9 }], 64);
    assert_eq!((zero.total, zero.offsets), (0, vec![0]));
    let far = lay_out(&[Request { bytes: 1, first: u32::MAX, last: u32::MAX }; 3], 64);
    assert_eq!(far.total, 192);
}

#[test]
#[should_panic(expected = "ends before it begins")]
fn a_lifetime_that_ends_before_it_begins_is_refused() {
    lay_out(&[Request { bytes: 8, first: 2, last: 1 }], 64);
}

fn two_slots() -> Layout {
    lay_out(&[Request { bytes: 9000, first: 0, last: 1 }, Request { bytes: 5000, first: 0, last: 1 }], 4096)
}

#[test]
fn poisoned_slots_are_nan_until_written_and_again_when_released() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let ledger = || Ledger::new("test", "WEIR_HBM_BUDGET", 1 << 20);
    let memory = Hbm::new(ledger(), Faults::none());
    let file = File::new(ledger(), folder.path(), Faults::none()).unwrap();
    for kind in [&memory as &dyn Kind, &file] {
        let layout = two_slots();
        let mut region = kind.allocate(layout.total).unwrap();
        region.write_at(0, &vec![0; layout.total as usize]).unwrap();
        let offset = layout.offsets[1];
        let arena = Arena::new(region, layout, true).unwrap();
        // SAFETY: nobody else has the arena.
        let check = |slot, from, bytes, width| unsafe { arena.check(slot, from, bytes, width) };
        for width in [2, 4, 8] {
            let error = check(1, 8, 4992, width).unwrap_err();
            assert!(matches!(error, ArenaError::Unwritten { slot: 1, offset: 8, .. }), "{error}");
        }
        let region = arena.region().clone();
        drop(arena);
        let mut region = std::sync::Arc::into_inner(region).unwrap();
        let mut bytes = vec![1u8; 5000];
        bytes[4096..4100].fill(0xff);
        region.write_at(offset, &bytes).unwrap();
        let arena = Arena::new(region, two_slots(), false).unwrap();
        // SAFETY: nobody else has the arena.
        assert!(unsafe { arena.check(1, 0, 5000, 4) }.is_ok(), "without poison nothing is checked");
    }
    let arena = Arena::new(memory.allocate(1 << 16).unwrap(), two_slots(), true).unwrap();
    // SAFETY: nobody else has the arena.
    unsafe {
        assert!(arena.slice(0).unwrap().chunks_exact(8).all(|b| f64::from_le_bytes(b.try_into().unwrap()).is_nan()));
        arena.slice(0).unwrap().fill(0);
        arena.check(0, 0, 9000, 4).unwrap();
        arena.slice(0).unwrap()[4000..4004].fill(0xff);
        assert!(matches!(arena.check(0, 0, 9000, 4), Err(ArenaError::Unwritten { offset: 4000, .. })));
        arena.check(0, 4004, 4000, 4).unwrap();
        arena.release(0).unwrap();
        assert!(arena.check(0, 8996, 4, 4).is_err());
    }
}

#[test]
fn an_arena_refuses_a_region_that_is_too_short_or_too_coarse() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let ledger = Ledger::new("test", "WEIR_FILE_BUDGET", 1 << 20);
    let file = File::new(ledger, folder.path(), Faults::none()).unwrap();
    let fine = lay_out(&[Request { bytes: 100, first: 0, last: 0 }; 2], 64);
    let error = Arena::new(file.allocate(1 << 16).unwrap(), fine, false).unwrap_err();
    assert!(matches!(error, ArenaError::Alignment { offset: 128, granularity: 4096, .. }), "{error}");
    let error = Arena::new(file.allocate(4096).unwrap(), two_slots(), false).unwrap_err();
    assert!(error.to_string().contains("WEIR_FILE_BUDGET"), "{error}");
}
