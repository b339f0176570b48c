//! A sweep over steps: freed slots merge with free neighbours and are reused good-fit.
//!
//! Blocks of the arena form a chain in address order. Free ones are also in lists by length, two levels of bits deep (the
//! scheme of TLSF allocators), so that every step of the sweep takes constant time.

use super::layout::Events;

const NONE: u32 = u32::MAX;
/// Parts into which a power of two is split: a block is too long by at most 1/16 before it is cut.
const PARTS: u32 = 16;
/// How many blocks of a list are looked at for an exact length.
const LOOK: usize = 4;

struct Block {
    offset: u64,
    bytes: u64,
    before: u32,
    after: u32,
    free: bool,
    list_before: u32,
    list_after: u32,
}

#[derive(Default)]
struct Pool {
    blocks: Vec<Block>,
    spare: Vec<u32>,
    heads: Vec<u32>,
    rows: u64,
    columns: Vec<u16>,
    last: Option<u32>,
    total: u64,
}

/// Offsets and total.
pub fn sweep(events: &Events, sizes: &[u64]) -> (Vec<u64>, u64) {
    let pool = Pool { heads: vec![NONE; 64 * PARTS as usize], columns: vec![0; 64], ..Pool::default() };
    let mut state = (pool, vec![NONE; sizes.len()], vec![0u64; sizes.len()]);
    events.walk(
        &mut state,
        |(pool, block, offsets), i| {
            if sizes[i] > 0 {
                block[i] = pool.take(sizes[i]);
                offsets[i] = pool.blocks[block[i] as usize].offset;
            }
        },
        |(pool, block, _), i| {
            if sizes[i] > 0 {
                pool.give(block[i]);
            }
        },
    );
    (state.2, state.0.total)
}

/// The list that holds blocks of this length.
fn list(bytes: u64) -> (usize, usize) {
    let row = 63 - bytes.leading_zeros();
    let column = if row >= 4 { (bytes >> (row - 4)) as u32 & (PARTS - 1) } else { 0 };
    (row as usize, column as usize)
}

impl Pool {
    fn take(&mut self, bytes: u64) -> u32 {
        if let Some(block) = self.find(bytes) {
            self.unlist(block);
            let rest = self.blocks[block as usize].bytes - bytes;
            if rest > 0 {
                self.cut(block, bytes, rest);
            }
            self.blocks[block as usize].free = false;
            return block;
        }
        // Nothing fits: the arena grows, from its last block where that is free.
        match self.last {
            Some(last) if self.blocks[last as usize].free => {
                self.unlist(last);
                let block = &mut self.blocks[last as usize];
                self.total += bytes - block.bytes;
                (block.bytes, block.free) = (bytes, false);
                last
            }
            before => {
                let offset = self.total;
                self.total += bytes;
                let block = self.insert(offset, bytes, before.unwrap_or(NONE), NONE);
                self.last = Some(block);
                block
            }
        }
    }

    /// A free block of at least this length: an exact one near the head of its own list, else the first of a longer list, else any
    /// of its own that is long enough.
    fn find(&self, bytes: u64) -> Option<u32> {
        let (row, column) = list(bytes);
        let mut at = self.heads[row * PARTS as usize + column];
        let mut fit = None;
        for _ in 0..LOOK {
            if at == NONE {
                break;
            }
            let block = &self.blocks[at as usize];
            if block.bytes == bytes {
                return Some(at);
            }
            if block.bytes > bytes && fit.is_none_or(|f: u32| self.blocks[f as usize].bytes > block.bytes) {
                fit = Some(at);
            }
            at = block.list_after;
        }
        if fit.is_some() {
            return fit;
        }
        let higher = u32::from(self.columns[row]) & (u32::MAX << (column + 1));
        if higher != 0 {
            return Some(self.heads[row * PARTS as usize + higher.trailing_zeros() as usize]);
        }
        let rows = if row == 63 { 0 } else { self.rows & (u64::MAX << (row + 1)) };
        if rows == 0 {
            return None;
        }
        let row = rows.trailing_zeros() as usize;
        Some(self.heads[row * PARTS as usize + self.columns[row].trailing_zeros() as usize])
    }

    fn give(&mut self, block: u32) {
        let (before, after) = (self.blocks[block as usize].before, self.blocks[block as usize].after);
        let mut block = block;
        if after != NONE && self.blocks[after as usize].free {
            self.unlist(after);
            self.merge(block, after);
        }
        if before != NONE && self.blocks[before as usize].free {
            self.unlist(before);
            self.merge(before, block);
            block = before;
        }
        self.blocks[block as usize].free = true;
        self.enlist(block);
    }

    /// Joins a block to the one before it.
    fn merge(&mut self, left: u32, right: u32) {
        let (bytes, after) = (self.blocks[right as usize].bytes, self.blocks[right as usize].after);
        let block = &mut self.blocks[left as usize];
        block.bytes += bytes;
        block.after = after;
        match after {
            NONE => self.last = Some(left),
            _ => self.blocks[after as usize].before = left,
        }
        self.spare.push(right);
    }

    /// Shortens a block to `bytes` and puts the free rest behind it.
    fn cut(&mut self, block: u32, bytes: u64, rest: u64) {
        let (offset, after) = (self.blocks[block as usize].offset, self.blocks[block as usize].after);
        self.blocks[block as usize].bytes = bytes;
        let tail = self.insert(offset + bytes, rest, block, after);
        match after {
            NONE => self.last = Some(tail),
            _ => self.blocks[after as usize].before = tail,
        }
        self.blocks[tail as usize].free = true;
        self.enlist(tail);
    }

    fn insert(&mut self, offset: u64, bytes: u64, before: u32, after: u32) -> u32 {
        let block = Block { offset, bytes, before, after, free: false, list_before: NONE, list_after: NONE };
        let number = match self.spare.pop() {
            Some(number) => {
                self.blocks[number as usize] = block;
                number
            }
            None => {
                self.blocks.push(block);
                self.blocks.len() as u32 - 1
            }
        };
        if before != NONE {
            self.blocks[before as usize].after = number;
        }
        number
    }

    fn enlist(&mut self, block: u32) {
        let (row, column) = list(self.blocks[block as usize].bytes);
        let head = &mut self.heads[row * PARTS as usize + column];
        let next = std::mem::replace(head, block);
        if next != NONE {
            self.blocks[next as usize].list_before = block;
        }
        (self.blocks[block as usize].list_before, self.blocks[block as usize].list_after) = (NONE, next);
        self.columns[row] |= 1 << column;
        self.rows |= 1 << row;
    }

    fn unlist(&mut self, block: u32) {
        let Block { bytes, list_before, list_after, .. } = self.blocks[block as usize];
        if list_after != NONE {
            self.blocks[list_after as usize].list_before = list_before;
        }
        if list_before != NONE {
            self.blocks[list_before as usize].list_after = list_after;
            return;
        }
        let (row, column) = list(bytes);
        self.heads[row * PARTS as usize + column] = list_after;
        if list_after == NONE {
            self.columns[row] &= !(1 << column);
            if self.columns[row] == 0 {
                self.rows &= !(1 << row);
            }
        }
    }
}
