//! From lifetimes to offsets.

use super::{colour, rank, sweep};

/// A slot to be laid out: its length and the steps during which it is alive, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// Length, bytes. Nothing is reserved for zero.
    pub bytes: u64,
    /// First step that writes it.
    pub first: u32,
    /// Last step that reads it, at least `first`.
    pub last: u32,
}

impl Request {
    /// Whether both are alive at some step.
    pub fn overlaps(&self, other: &Request) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

/// Where every slot lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Offset of each request, bytes, in the order of the requests.
    pub offsets: Vec<u64>,
    /// Length of each request, bytes.
    pub bytes: Vec<u64>,
    /// Length of the arena, bytes.
    pub total: u64,
    /// Largest sum of (aligned) lengths alive at one step, bytes: no layout is shorter.
    pub load: u64,
}

/// Requests up to which the quadratic method is worth its time.
const FEW: usize = 1500;
/// Above the load by less than one part in this many, no other method is tried.
const CLOSE: u64 = 256;

/// Lays out slots so that no two that are alive together share a byte. Offsets are multiples of `alignment` (a power of
/// two; 64 for memory, 4096 for files), and the same requests always get the same offsets.
///
/// Three methods, the shortest result is taken: lengths coloured each on their own (exact where all lengths are equal); a
/// sweep over steps with good-fit reuse and merging of neighbours (exact where lifetimes are nested, as those of a forward
/// and backward pass are); and, for few requests, largest first into the lowest gap. No bound is proven; on
/// the random families of the tests the total stays below 1.35 times the load (1.03 for 150,000 requests).
///
/// # Panics
/// `alignment` is no power of two, a request ends before it begins, or the sum of lengths passes 2^63.
#[track_caller]
pub fn lay_out(requests: &[Request], alignment: u64) -> Layout {
    assert!(alignment.is_power_of_two(), "an alignment of {alignment} bytes is no power of two");
    let wrong = requests.iter().position(|r| r.first > r.last);
    assert!(wrong.is_none(), "request {wrong:?} ends before it begins");
    let sizes: Vec<u64> = requests.iter().map(|r| r.bytes.next_multiple_of(alignment)).collect();
    let sum = sizes.iter().try_fold(0u64, |s, &b| s.checked_add(b));
    assert!(sum.is_some_and(|s| s < 1 << 63), "the lengths of all requests sum to 2^63 bytes or more");
    let events = Events::new(requests);
    let load = events.load(&sizes);
    let enough = |total: u64| total <= load + load / CLOSE;
    let (mut offsets, mut total) = colour::colour(&events, &sizes).unwrap_or((Vec::new(), u64::MAX));
    type Method<'a> = &'a dyn Fn() -> (Vec<u64>, u64);
    let sweep: Method = &|| sweep::sweep(&events, &sizes);
    let rank: Method = &|| rank::rank(requests, &sizes);
    for method in [sweep, rank].iter().take(if requests.len() <= FEW { 2 } else { 1 }) {
        if enough(total) {
            break;
        }
        let other = method();
        if other.1 < total {
            (offsets, total) = other;
        }
    }
    Layout { offsets, bytes: requests.iter().map(|r| r.bytes).collect(), total, load }
}

/// Beginnings and ends of lifetimes in the order of steps; at one step beginnings come before ends.
pub(super) struct Events {
    /// Request numbers by first step, ties by number.
    pub begins: Vec<u32>,
    /// Request numbers by last step, ties by falling number.
    pub ends: Vec<u32>,
    first: Vec<u32>,
    last: Vec<u32>,
}

impl Events {
    fn new(requests: &[Request]) -> Self {
        let first: Vec<u32> = requests.iter().map(|r| r.first).collect();
        let last: Vec<u32> = requests.iter().map(|r| r.last).collect();
        let begins = ordered(&first, false);
        let ends = ordered(&last, true);
        Events { begins, ends, first, last }
    }

    /// Calls `begin` and `end` in the order in which they happen: ends of earlier steps, then beginnings.
    pub fn walk<S>(&self, state: &mut S, mut begin: impl FnMut(&mut S, usize), mut end: impl FnMut(&mut S, usize)) {
        let mut next = 0;
        for &request in &self.begins {
            let step = self.first[request as usize];
            while next < self.ends.len() && self.last[self.ends[next] as usize] < step {
                end(state, self.ends[next] as usize);
                next += 1;
            }
            begin(state, request as usize);
        }
    }

    fn load(&self, sizes: &[u64]) -> u64 {
        let mut state = (0u64, 0u64);
        self.walk(
            &mut state,
            |(now, most), i| {
                *now += sizes[i];
                *most = (*most).max(*now);
            },
            |(now, _), i| *now -= sizes[i],
        );
        state.1
    }
}

/// Numbers of the keys in rising order of key. Steps are small numbers, so that counting is faster than comparing.
fn ordered(keys: &[u32], falling_ties: bool) -> Vec<u32> {
    let most = keys.iter().max().map_or(0, |&m| m as usize);
    if most > 4 * keys.len() + 1024 {
        let mut order: Vec<u32> = (0..keys.len() as u32).collect();
        let tie = |i: u32| if falling_ties { u32::MAX - i } else { i };
        order.sort_unstable_by_key(|&i| (keys[i as usize], tie(i)));
        return order;
    }
    let mut place = vec![0u32; most + 2];
    for &key in keys {
        place[key as usize + 1] += 1;
    }
    for step in 0..=most {
        place[step + 1] += place[step];
    }
    let mut order = vec![0u32; keys.len()];
    let mut put = |i: usize| {
        let at = &mut place[keys[i] as usize];
        order[*at as usize] = i as u32;
        *at += 1;
    };
    if falling_ties {
        (0..keys.len()).rev().for_each(&mut put);
    } else {
        (0..keys.len()).for_each(&mut put);
    }
    order
}
