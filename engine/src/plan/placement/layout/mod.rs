//! Bytes of tier 0 over the course of a program: who is alive when, and offsets for all of it within a length.
//!
//! Edges and angles differ in size by a factor near four, and what is kept and what passes differ in lifetime. So two kinds of range are
//! placed from the two ends of the arena, each in the first hole from its end; which kinds, and whether time runs forward or backward,
//! is tried in turn. (200 tiles of the 3M shape, sizes within 5 %, the best of the ways against the most bytes ever in use: 0.2 to 1.4 %
//! more without other tiles, 0.2 to 3.2 % with one. One heap in the order of the program: 4 to 8 %.)

mod holes;
mod packed;

use holes::Holes;
use packed::packed;

/// A range in use from one event to another.
#[derive(Clone, Copy, Debug)]
struct Lease {
    /// Number of its size.
    kind: u8,
    /// Edges or angles.
    class: u8,
    /// Phases.
    born: u16,
    died: u16,
    /// Events.
    from: u32,
    to: u32,
}

/// What was in use when.
#[derive(Debug, Default)]
pub(super) struct Layout {
    leases: Vec<Lease>,
    /// Twice the number of a lease, and one more at its end.
    events: Vec<u32>,
    sizes: Vec<u64>,
    in_use: u64,
    /// Most bytes in use at once.
    pub peak: u64,
    /// Current phase.
    pub phase: u16,
    copies: bool,
}

/// Offsets by lease, and the bytes of the arena.
pub(super) type Offsets = (Vec<u64>, u64);

/// Leases up to which a slower, tighter way is tried.
const FEW: usize = 2000;
/// Leases above which only the likeliest ways are tried.
const MANY: usize = 100_000;
/// Sizes below this part of the largest share no bytes with others.
const DUST: u64 = 16;

/// Which ranges begin at the lower end of the arena, and in which order the others are met.
#[derive(Clone, Copy, Debug)]
struct Way {
    up: fn(&Lease) -> bool,
    backward: bool,
    /// The tightest hole instead of the first.
    tight: bool,
}

fn edges(l: &Lease) -> bool {
    l.class == 0
}

fn long(l: &Lease) -> bool {
    l.died > l.born + 1
}

const WAYS: [Way; 4] = [
    Way { up: long, backward: false, tight: false },
    Way { up: edges, backward: true, tight: false },
    Way { up: edges, backward: false, tight: false },
    Way { up: edges, backward: true, tight: true },
];

impl Layout {
    /// `copies`: whether states are copied to other tiers and back, which tells the likeliest way.
    pub fn new(copies: bool) -> Self {
        Self { copies, ..Self::default() }
    }

    /// Reserves a range and returns its number.
    pub fn take(&mut self, class: usize, bytes: u64) -> usize {
        let kind = self.sizes.iter().position(|&s| s == bytes).unwrap_or_else(|| {
            self.sizes.push(bytes);
            self.sizes.len() - 1
        });
        // At most two sizes (state, adjoint) of two classes in each of a few size classes of tiles.
        let kind = u8::try_from(kind).expect("few sizes");
        self.in_use += bytes;
        self.peak = self.peak.max(self.in_use);
        let (number, from) = (self.leases.len(), self.events.len() as u32);
        self.events.push(2 * number as u32);
        self.leases.push(Lease { kind, class: class as u8, born: self.phase, died: u16::MAX, from, to: u32::MAX });
        number
    }

    /// Frees a range.
    pub fn give(&mut self, number: usize) {
        let lease = &mut self.leases[number];
        (lease.died, lease.to) = (self.phase, self.events.len() as u32);
        self.in_use -= self.sizes[usize::from(lease.kind)];
        self.events.push(2 * number as u32 + 1);
    }

    /// Frees what is still in use.
    pub fn close(&mut self) {
        for number in 0..self.leases.len() {
            if self.leases[number].to == u32::MAX {
                self.give(number);
            }
        }
    }

    /// Number of ranges.
    pub fn len(&self) -> usize {
        self.leases.len()
    }

    /// An arena of at most `limit` bytes, if one is found; close to the bytes in use where the limit is far above them.
    pub fn within(&self, limit: u64) -> Option<Offsets> {
        if self.peak > limit {
            return None;
        }
        // Where there is much room, little more than what is in use.
        let close = self.peak + self.peak / 200;
        let first = if limit < self.peak + self.peak / 32 { limit } else { close };
        self.at_most(first).or_else(|| if first < limit { self.at_most(limit.min(2 * self.peak)) } else { None })
    }

    /// The shortest arena found.
    pub fn shortest(&self) -> Offsets {
        let mut low = self.peak;
        let mut more = self.peak / 512;
        let mut best = loop {
            if let Some(found) = self.at_most(low) {
                break found;
            }
            low += more.max(super::ALIGN);
            more *= 2;
        };
        low = low.saturating_sub(more / 2).max(self.peak);
        while best.1.saturating_sub(low) > self.peak / 512 {
            let middle = low + (best.1 - low) / 2;
            match self.at_most(middle) {
                Some(found) => best = found,
                None => low = middle,
            }
        }
        best
    }

    fn at_most(&self, limit: u64) -> Option<Offsets> {
        // Ranges are laid from the end too: it has to be as round as their sizes.
        let unit = self.sizes.iter().fold(0, |a, &b| gcd(a, b)).max(1);
        let length = limit - limit % unit;
        if self.leases.len() <= FEW {
            let least = packed(&self.leases, &self.sizes);
            if least.1 <= length {
                return Some(least);
            }
        }
        let likely = if self.copies { [1, 2, 0, 3] } else { [0, 1, 2, 3] };
        let ways = likely.iter().take(if self.leases.len() > MANY { 2 } else { 4 });
        ways.map(|&way| &WAYS[way]).find_map(|way| self.place(way, length)).map(|offsets| (offsets, length))
    }

    fn place(&self, way: &Way, length: u64) -> Option<Vec<u64>> {
        let mut offsets = vec![0; self.leases.len()];
        let large = self.sizes.iter().copied().max().unwrap_or(0).div_ceil(DUST);
        let base = self.dust(large, &mut offsets);
        let mut holes = Holes::new(base, length, self.sizes.iter().copied().filter(|&s| s > 0 && s >= large));
        let ranks: Vec<usize> = self.sizes.iter().map(|&s| holes.rank(s)).collect();
        let mut event = |event: u32, begins: bool| {
            let number = (event >> 1) as usize;
            let lease = &self.leases[number];
            let bytes = self.sizes[usize::from(lease.kind)];
            if bytes < large || bytes == 0 {
                return true;
            }
            if !begins {
                holes.give(offsets[number], bytes);
                return true;
            }
            match holes.take(bytes, ranks[usize::from(lease.kind)], (way.up)(lease), way.tight) {
                Some(offset) => {
                    offsets[number] = offset;
                    true
                }
                None => false,
            }
        };
        let placed = if way.backward {
            self.events.iter().rev().all(|&e| event(e, e & 1 == 1))
        } else {
            self.events.iter().all(|&e| event(e, e & 1 == 0))
        };
        placed.then_some(offsets)
    }

    /// Offsets of small ranges, each size by itself from the start of the arena; the bytes they take.
    fn dust(&self, large: u64, offsets: &mut [u64]) -> u64 {
        let mut top = 0;
        for (kind, &size) in self.sizes.iter().enumerate().filter(|s| *s.1 > 0 && *s.1 < large) {
            let mut free = Vec::new();
            for &event in &self.events {
                let number = (event >> 1) as usize;
                if usize::from(self.leases[number].kind) != kind {
                    continue;
                }
                if event & 1 == 1 {
                    free.push(offsets[number]);
                } else {
                    offsets[number] = free.pop().unwrap_or_else(|| {
                        top += size;
                        top - size
                    });
                }
            }
        }
        top
    }
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 {
        a
    } else {
        gcd(b, a % b)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn freed_bytes_are_used_again_and_neighbours_join() {
        let mut l = Layout::default();
        let a: Vec<usize> = (0..4).map(|_| l.take(0, 256)).collect();
        l.give(a[1]);
        l.give(a[2]);
        let b = l.take(0, 512);
        let offsets = l.place(&WAYS[2], 1024).unwrap();
        assert_eq!((offsets[a[1]], offsets[b]), (256, 256));
        assert_eq!(l.shortest().1, 1024);
        assert!(l.within(1023).is_none());
    }

    #[test]
    fn packing_shares_bytes_between_ranges_of_different_size() {
        let mut l = Layout::default();
        let [a, b] = [l.take(0, 512), l.take(0, 256)];
        l.give(a);
        let c = l.take(0, 768);
        l.give(b);
        l.give(c);
        assert_eq!(l.shortest().1, 1024);
    }

    #[test]
    fn ranges_that_are_alive_together_never_share_a_byte_whichever_way() {
        let mut state = 5u64;
        let mut below = |n: u64| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 33) % n
        };
        for round in 0..60 {
            let mut l = Layout::default();
            let mut open = Vec::new();
            for step in 0..400u64 {
                l.phase = (step / 20) as u16;
                if open.is_empty() || below(5) < if step < 200 { 3 } else { 2 } {
                    let size = [0, 3, 40, 41, 43, 160, 165, 170][below(8) as usize] * 4096;
                    open.push(l.take(usize::from(size > 100 * 4096), size));
                } else {
                    let at = below(open.len() as u64) as usize;
                    l.give(open.swap_remove(at));
                }
            }
            open.into_iter().for_each(|n| l.give(n));
            let shortest = l.shortest();
            let mut found: Vec<Offsets> =
                WAYS.iter().map(|w| (l.place(w, 3 * l.peak).expect("room enough"), 3 * l.peak)).collect();
            found.push(shortest);
            for (offsets, total) in found {
                for (i, a) in l.leases.iter().enumerate() {
                    let size = |l: &Layout, x: &Lease| l.sizes[usize::from(x.kind)];
                    assert!(offsets[i] + size(&l, a) <= total);
                    for (j, b) in l.leases.iter().enumerate().skip(i + 1) {
                        let together = a.from < b.to && b.from < a.to;
                        let apart = offsets[i] + size(&l, a) <= offsets[j] || offsets[j] + size(&l, b) <= offsets[i];
                        assert!(!together || apart, "round {round}: {a:?} and {b:?}");
                    }
                }
            }
        }
    }
}
