//! Free ranges of an arena of fixed length, found by size from either end.
//!
//! Between two holes lies at least the smallest range, so that holes are numbered by their first byte in units of at most that size.
//! Numbers of holes of like size are bits in a tree of words: the first and the last are found in a few steps, however many there are.

const NONE: u32 = u32::MAX;

/// A set of numbers below a limit.
#[derive(Debug)]
struct Set {
    /// A bit of a higher level tells that a word of the level below is not zero.
    levels: Vec<Vec<u64>>,
    first: u32,
    last: u32,
}

impl Set {
    fn new(limit: usize) -> Self {
        let mut levels = vec![vec![0; limit.div_ceil(64).max(1)]];
        while levels[levels.len() - 1].len() > 1 {
            levels.push(vec![0; levels[levels.len() - 1].len().div_ceil(64)]);
        }
        Self { levels, first: NONE, last: NONE }
    }

    fn insert(&mut self, number: u32) {
        if self.first == NONE {
            (self.first, self.last) = (number, number);
        } else {
            (self.first, self.last) = (self.first.min(number), self.last.max(number));
        }
        let mut at = number as usize;
        for level in &mut self.levels {
            let word = &mut level[at >> 6];
            let before = *word;
            *word |= 1 << (at & 63);
            if before != 0 {
                return;
            }
            at >>= 6;
        }
    }

    fn remove(&mut self, number: u32) {
        let mut at = number as usize;
        for level in &mut self.levels {
            let word = &mut level[at >> 6];
            *word &= !(1 << (at & 63));
            if *word != 0 {
                break;
            }
            at >>= 6;
        }
        if number == self.first {
            self.first = self.end(|word| word.trailing_zeros());
        }
        if number == self.last {
            self.last = self.end(|word| 63 - word.leading_zeros());
        }
    }

    fn end(&self, bit: impl Fn(u64) -> u32) -> u32 {
        let mut at = 0;
        for level in self.levels.iter().rev() {
            if level[at] == 0 {
                return NONE;
            }
            at = at << 6 | bit(level[at]) as usize;
        }
        at as u32
    }
}

/// Holes of an arena.
#[derive(Debug)]
pub(super) struct Holes {
    base: u64,
    /// Binary logarithm of the unit.
    shift: u32,
    /// First byte and end of the hole that begins in a unit.
    begins: Vec<(u64, u64)>,
    /// The unit where the hole begins that ends in a unit.
    ends: Vec<u32>,
    /// Lengths of ranges, ascending.
    sizes: Vec<u64>,
    /// Holes at least as long as a size and shorter than the next.
    sets: Vec<Set>,
}

impl Holes {
    /// Everything from `base` to `length` is free. Only ranges of these sizes will be taken.
    pub fn new(base: u64, length: u64, sizes: impl Iterator<Item = u64>) -> Self {
        let mut sizes: Vec<u64> = sizes.collect();
        sizes.sort_unstable();
        sizes.dedup();
        // A power of two: divisions took a third of the time.
        let shift = sizes.first().map_or(0, |s| s.ilog2());
        let units = (length.saturating_sub(base) >> shift) as usize + 1;
        let mut holes = Self {
            base,
            shift,
            begins: vec![(0, 0); units],
            ends: vec![NONE; units],
            sets: sizes.iter().map(|_| Set::new(units)).collect(),
            sizes,
        };
        holes.insert(base, length.max(base));
        holes
    }

    /// The rank of a size among the sizes.
    pub fn rank(&self, bytes: u64) -> usize {
        self.sizes.partition_point(|&s| s < bytes)
    }

    fn unit(&self, byte: u64) -> usize {
        ((byte - self.base) >> self.shift) as usize
    }

    fn set(&mut self, bytes: u64) -> Option<&mut Set> {
        let rank = self.sizes.iter().rposition(|&s| s <= bytes)?;
        Some(&mut self.sets[rank])
    }

    fn insert(&mut self, from: u64, to: u64) {
        if from < to {
            let unit = self.unit(from);
            let last = self.unit(to - 1);
            self.begins[unit] = (from, to);
            self.ends[last] = unit as u32;
            if let Some(set) = self.set(to - from) {
                set.insert(unit as u32);
            }
        }
    }

    fn remove(&mut self, unit: usize) -> (u64, u64) {
        let (from, to) = std::mem::take(&mut self.begins[unit]);
        let last = self.unit(to - 1);
        self.ends[last] = NONE;
        if let Some(set) = self.set(to - from) {
            set.remove(unit as u32);
        }
        (from, to)
    }

    /// The offset of a range of one of the sizes: at the lower end of the first hole that is long enough, or at the upper end of the
    /// last; `tight`: of those of the least size.
    pub fn take(&mut self, bytes: u64, rank: usize, up: bool, tight: bool) -> Option<u64> {
        let found = self.sets[rank..].iter().filter(|s| s.first != NONE);
        let unit = match (up, tight) {
            (true, false) => found.map(|s| s.first).min(),
            (false, false) => found.map(|s| s.last).max(),
            (true, true) => found.map(|s| s.first).next(),
            (false, true) => found.map(|s| s.last).next(),
        }?;
        let (from, to) = self.remove(unit as usize);
        if up {
            self.insert(from + bytes, to);
            Some(from)
        } else {
            self.insert(from, to - bytes);
            Some(to - bytes)
        }
    }

    /// Frees a range; it joins the holes beside it.
    pub fn give(&mut self, offset: u64, bytes: u64) {
        let (mut from, mut to) = (offset, offset + bytes);
        if from > self.base {
            let before = self.ends[self.unit(from - 1)];
            if before != NONE && self.begins[before as usize].1 == from {
                from = self.remove(before as usize).0;
            }
        }
        let after = self.unit(to);
        if after < self.begins.len() && self.begins[after].1 > to && self.begins[after].0 == to {
            to = self.remove(after).1;
        }
        self.insert(from, to);
    }
}
