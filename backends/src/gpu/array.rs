//! Arrays in device memory, and the bump layout that places them in one allocation.

use super::driver::Arg;
use crate::cpu::stored::{from_half, to_half};
use weir_kernels::Products;

/// Part of an allocation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Array {
    /// Address.
    pub at: u64,
    /// Bytes.
    pub bytes: u64,
}

impl Array {
    /// As a kernel's argument.
    pub fn arg(&self) -> Arg {
        Arg::Pointer(self.at, self.bytes)
    }

    /// No array: kernels see a null pointer.
    pub const NONE: Array = Array { at: 0, bytes: 0 };
}

/// Lays arrays out one behind the other; from address 0 it only counts.
#[derive(Clone, Copy, Debug)]
pub struct Bump {
    next: u64,
    base: u64,
}

/// Every array begins at a multiple of this.
const ALIGN: u64 = 256;

impl Bump {
    /// From a base address on.
    pub fn new(base: u64) -> Self {
        Self { next: base, base }
    }

    /// An array of `count` numbers of `width` bytes.
    pub fn take(&mut self, count: u64, width: u64) -> Array {
        let array = Array { at: self.next, bytes: count * width };
        self.next += (count * width).div_ceil(ALIGN) * ALIGN;
        array
    }

    /// Bytes so far.
    pub fn bytes(&self) -> u64 {
        self.next - self.base
    }
}

/// Host bytes of arrays that are laid out by a [`Bump`]: what is uploaded in one piece.
#[derive(Debug)]
pub struct Writer {
    bump: Bump,
    /// The bytes, from the base address on; none where they are only counted.
    pub bytes: Vec<u8>,
    counts: bool,
    double: bool,
    /// How matrices of [`Writer::weights`] are cut.
    products: Products,
    /// Largest magnitude in matrices that were.
    pub largest: f64,
    /// The least of the largest magnitudes of the maps that are joined in such matrices, zeros apart.
    pub faintest: f64,
}

/// How many rows products with a matrix have: lanes read the matrix in an order for tiles of 32 columns, or of 16 (`product_of_few` of the
/// kernels' text).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowsOfProducts {
    /// Angles, edges.
    Many,
    /// Nodes, receiving edges that are projected together.
    Few,
    /// As many, and of 32 columns a lane has four of each half (`APART` of `tensor_product`).
    Apart,
    /// As many, and columns of two uses, the first two thirds and the others, which products of halves make together (`tensor_product_of_two`).
    TwoUses,
}

/// The nearest number with ten bits behind the point, halves away from zero: `rounded` of the kernels' text.
fn tf32(x: f32) -> f32 {
    if x.is_finite() {
        f32::from_bits((x.to_bits() + 0x1000) & 0xffff_e000)
    } else {
        x
    }
}

/// What weights are multiplied by before they are cut into halves: `WEIGHT_UNIT` of the kernels' text.
const WEIGHT_UNIT: f32 = 256.0;

/// The largest weight of f16x3: times [`WEIGHT_UNIT`] it is the largest half.
pub const LARGEST_WEIGHT_OF_HALVES: f64 = 65504.0 / WEIGHT_UNIT as f64;

/// What the largest weight of a map must be for halves to tell its numbers as finely as f32 does: 2^-10 times [`WEIGHT_UNIT`] is a quarter, and what
/// two halves leave of that is 2^-25.
pub const FAINTEST_MAP_OF_HALVES: f64 = 1.0 / 1024.0;

/// Two numbers as the halves in a register, and what is short of them.
fn cut_halves(two: [f32; 2]) -> [u32; 2] {
    let near = two.map(|x| to_half(x * WEIGHT_UNIT));
    let short = [0, 1].map(|k| to_half(two[k] * WEIGHT_UNIT - from_half(near[k])));
    [near, short].map(|[low, high]| u32::from(low) | u32::from(high) << 16)
}

/// A number in TF32, and what is short of it.
fn cut_tf32(x: f32) -> [u32; 2] {
    let near = tf32(x);
    [near, tf32(x - near)].map(f32::to_bits)
}

impl Writer {
    /// For messages in f64 or f32, multiplied as told.
    pub fn new(base: u64, double: bool, products: Products) -> Self {
        let products = if double { Products::Plain } else { products };
        let (bytes, counts) = (Vec::new(), false);
        Self { bump: Bump::new(base), bytes, counts, double, products, largest: 0.0, faintest: f64::INFINITY }
    }

    /// One that lays out from address 0 and judges weights, but makes no bytes.
    pub fn counting(double: bool, products: Products) -> Self {
        Self { counts: true, ..Self::new(0, double, products) }
    }

    /// Bytes so far, made or counted.
    pub fn length(&self) -> u64 {
        self.bump.bytes()
    }

    fn put(&mut self, count: u64, width: u64, data: impl Iterator<Item = u8>) -> Array {
        let array = self.bump.take(count, width);
        if self.counts {
            return array;
        }
        self.bytes.resize((array.at - self.bump.base) as usize, 0);
        self.bytes.extend(data);
        self.bytes.resize(self.bump.bytes() as usize, 0);
        array
    }

    /// Numbers of the compute type.
    pub fn reals(&mut self, values: &[f64]) -> Array {
        match self.double {
            true => self.doubles(values),
            false => self.put(values.len() as u64, 4, values.iter().flat_map(|&v| (v as f32).to_le_bytes())),
        }
    }

    /// A row-major matrix that matrix units may multiply; its rows and columns are multiples of 16. For tensor cores its numbers lie as lanes of a
    /// wave read them (`tensor.h` of the kernels' text): of every eight rows that go together what TF32 has of them, and behind that, in TF32 too,
    /// what is short of it; of every sixteen as halves, two in a word.
    /// `faintest` is [`Writer::faintest`] of this matrix: what is joined with a map of larger numbers is rounded as if it stood alone.
    pub fn weights(
        &mut self,
        values: &[f64],
        columns: usize,
        rows_of_products: RowsOfProducts,
        faintest: f64,
    ) -> Array {
        if !self.products.by_tensor_cores() {
            return self.reals(values);
        }
        let rows = values.len() / columns;
        assert!(rows % 16 == 0 && columns % 16 == 0, "{rows} x {columns} weights are no whole tiles");
        let largest = values.iter().fold(0.0, |most: f64, w| most.max(w.abs()));
        (self.largest, self.faintest) = (self.largest.max(largest), self.faintest.min(faintest));
        // Numbers of a lane in a row of a step, which are those of two words.
        let takes = if self.products == Products::F16x3 { 4 } else { 2 };
        let words = values.len() * 4 / takes;
        if self.counts {
            return self.bump.take(words as u64, 4);
        }
        let together = self.products == Products::F16x3 && rows_of_products == RowsOfProducts::TwoUses;
        let mut cut = Vec::with_capacity(words);
        for step in 0..rows / (4 * takes) {
            // Of 32 rows a lane has eight that stand together, two in each step (four of halves); of the last sixteen four.
            let steps = 8 / takes;
            let (from, run) = (step / steps * 32, if step / steps * 32 + 32 <= rows { 8 } else { 4 });
            let number = |at: usize, part: usize| {
                if together {
                    // Of each unit sixteen columns of the first use, then eight of the second, as lanes read them.
                    let (unit, place) = (at / (24 * 8), at % (24 * 8));
                    let (lane, tile) = if place < 128 { (place / 4, place / 2 % 2) } else { ((place - 128) / 2, 2) };
                    let first = if tile < 2 {
                        16 * unit + 2 * (lane / 4) + tile
                    } else {
                        columns / 3 * 2 + 8 * unit + lane / 4
                    };
                    let k = from + run * (lane % 4) + takes * (step % steps) + takes / 2 * (place % 2) + part;
                    return values[k * columns + first] as f32;
                }
                let (block, place) = (at / 64, at % 64);
                let (two, group, column, word) = (place / 16, place / 4 % 4, place / 2 % 2, place % 2);
                let (pair, four) = match rows_of_products {
                    RowsOfProducts::Few => (two % 2, two / 2),
                    _ => (two / 2, two % 2),
                };
                let mut c = block * 8 + 4 * four + 2 * pair + column;
                if rows_of_products == RowsOfProducts::Apart {
                    c = c / 32 * 32 + c % 32 / 8 * 4 + c % 8 / 4 * 16 + c % 4;
                }
                let k = from + run * group + takes * (step % steps) + takes / 2 * word + part;
                values[k * columns + c] as f32
            };
            let word = |at: usize| match self.products {
                Products::F16x3 => cut_halves([0, 1].map(|part| number(at, part))),
                _ => cut_tf32(number(at, 0)),
            };
            let words: Vec<[u32; 2]> = (0..8 * columns).map(word).collect();
            cut.extend(words.iter().map(|w| w[0]));
            cut.extend(words.iter().map(|w| w[1]));
        }
        debug_assert_eq!(cut.len(), words, "what is counted is what is made");
        self.indices(&cut)
    }

    /// Double-precision numbers.
    pub fn doubles(&mut self, values: &[f64]) -> Array {
        self.put(values.len() as u64, 8, values.iter().flat_map(|v| v.to_le_bytes()))
    }

    /// Indices, and words of any other meaning.
    pub fn indices(&mut self, values: &[u32]) -> Array {
        self.put(values.len() as u64, 4, values.iter().flat_map(|v| v.to_le_bytes()))
    }
}
