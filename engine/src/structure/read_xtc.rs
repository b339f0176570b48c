//! GROMACS xtc, frame by frame. The decoder is our own because the one in `molly` (which writes our files) panics on damaged input.

use molly::reader::{FIRSTIDX, MAGICINTS};

use super::adopt::Atoms;
use super::error::StructureError;
use super::xdr::{cell_of_nm, Xdr};
use super::Structure;

/// Magic numbers of the 32-bit and of the 64-bit variant.
const MAGIC: i32 = 1995;
const MAGIC_LARGE: i32 = 2023;

/// Up to this many atoms are stored as plain floats.
const UNCOMPRESSED: u64 = 9;

pub(crate) struct XtcFrames {
    xdr: Xdr,
    atoms: Atoms,
}

impl XtcFrames {
    pub(crate) fn new(xdr: Xdr, atoms: Atoms) -> Self {
        Self { xdr, atoms }
    }

    fn frame(&mut self) -> Result<Option<Structure>, StructureError> {
        let x = &mut self.xdr;
        let Some(magic) = x.begin()? else { return Ok(None) };
        if magic != MAGIC && magic != MAGIC_LARGE {
            return Err(x.content(format!("magic number {MAGIC} or {MAGIC_LARGE} of an xtc frame"), magic));
        }
        let count = x.int("the number of atoms")?;
        let count = u64::try_from(count).map_err(|_| x.content("a number of atoms", count))?;
        self.atoms.expect(&x.path, x.frame, count)?;
        let step = x.int("the step")? as u32;
        let time = x.float("the time")?;
        let mut cell = [0.0; 9];
        for v in &mut cell {
            *v = x.float("the box")?;
        }
        let again = x.int("the number of coordinates")?;
        if i64::from(again) != count as i64 {
            return Err(x.content(format!("the number of atoms, {count}, once more"), again));
        }
        let mut s = Structure {
            step: Some(step.into()),
            time: Some(time).filter(|t| t.is_finite()),
            cell: cell_of_nm(cell),
            ..Structure::default()
        };
        if count <= UNCOMPRESSED {
            for _ in 0..count {
                let mut v = [0.0; 3];
                for c in &mut v {
                    *c = x.float("coordinates")? * 10.0;
                }
                s.positions.push(v);
            }
        } else {
            s.positions = compressed(x, count as usize, magic)?;
        }
        Ok(Some(self.atoms.adopt(s)))
    }
}

impl Iterator for XtcFrames {
    type Item = Result<Structure, StructureError>;

    fn next(&mut self) -> Option<Self::Item> {
        let frame = self.frame().transpose();
        self.xdr.frame += 1;
        frame
    }
}

fn compressed(x: &mut Xdr, count: usize, magic: i32) -> Result<Vec<[f64; 3]>, StructureError> {
    let precision = x.float("the precision")?;
    if !(precision.is_finite() && precision > 0.0) {
        return Err(x.content("a positive precision", precision));
    }
    let mut range = [0i32; 6];
    for v in &mut range {
        *v = x.int("the range of the coordinates")?;
    }
    let small = x.int("the size index")?;
    let bytes = if magic == MAGIC { x.int("the byte count")?.into() } else { x.long("the byte count")? };
    let bytes = u64::try_from(bytes).map_err(|_| x.content("a byte count", bytes))?;
    let data = x.bytes(bytes, "compressed coordinates")?;
    x.bytes((4 - bytes % 4) % 4, "padding")?;
    let decoded = decode(&data, count, range, small);
    let decoded = decoded.ok_or_else(|| x.content("compressed coordinates that fit their header", "damaged ones"))?;
    // The decimals of the file are exact in f64: divide last.
    Ok(decoded.into_iter().map(|v| v.map(|c| c as f64 * 10.0 / precision)).collect())
}

/// Bits, most significant first.
struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    /// Up to 32 bits; `None` behind the end.
    fn take(&mut self, count: u32) -> Option<u32> {
        let mut value = 0u64;
        let mut left = count as usize;
        while left > 0 {
            let byte = *self.bytes.get(self.at / 8)?;
            let here = (8 - self.at % 8).min(left);
            let piece = (u64::from(byte) >> (8 - self.at % 8 - here)) & ((1 << here) - 1);
            value = value << here | piece;
            self.at += here;
            left -= here;
        }
        u32::try_from(value).ok()
    }

    /// Three numbers below `sizes`, mixed into one of `count` bits whose bytes are stored lowest first.
    fn triple(&mut self, count: u32, sizes: [u32; 3]) -> Option<[i64; 3]> {
        let mut value = 0u128;
        let mut shift = 0;
        while shift < count {
            let piece = (count - shift).min(8);
            value |= u128::from(self.take(piece)?) << shift;
            shift += piece;
        }
        let [_, sy, sz] = sizes.map(u128::from);
        let (rest, z) = (value / sz, value % sz);
        Some([i64::try_from(rest / sy).ok()?, (rest % sy) as i64, z as i64])
    }
}

/// Number of bits of `value`.
fn bit_length(value: u128) -> u32 {
    u128::BITS - value.leading_zeros()
}

/// The integer coordinates of `count` atoms; `None` for data that no encoder makes.
fn decode(data: &[u8], count: usize, range: [i32; 6], small: i32) -> Option<Vec<[i64; 3]>> {
    let low = [range[0], range[1], range[2]].map(i64::from);
    let mut sizes = [0u32; 3];
    for k in 0..3 {
        sizes[k] = u32::try_from(i64::from(range[3 + k]) - low[k] + 1).ok().filter(|s| *s > 0)?;
    }
    // Wide ranges are stored coordinate by coordinate.
    let wide = sizes.iter().any(|s| *s > 0xff_ffff);
    let widths = sizes.map(|s| bit_length(s.into()));
    let width = bit_length(sizes.iter().map(|s| u128::from(*s)).product());

    let mut small = usize::try_from(small).ok().filter(|s| (FIRSTIDX..MAGICINTS.len()).contains(s))?;
    let half = |index: usize| i64::from(MAGICINTS[index] / 2);
    let mut smaller = half((small - 1).max(FIRSTIDX));
    let mut offset = half(small);

    let mut bits = Bits { bytes: data, at: 0 };
    let mut out: Vec<[i64; 3]> = Vec::with_capacity(count.min(8 * data.len()));
    let mut run = 0;
    while out.len() < count {
        let mut full = if wide {
            [bits.take(widths[0])?, bits.take(widths[1])?, bits.take(widths[2])?].map(i64::from)
        } else {
            bits.triple(width, sizes)?
        };
        for k in 0..3 {
            full[k] += low[k];
        }
        let mut change = 0;
        if bits.take(1)? == 1 {
            let code = bits.take(5)?;
            run = code / 3;
            change = code as i32 % 3 - 1;
        }
        let mut previous = full;
        for k in 0..run {
            let size = MAGICINTS[small] as u32;
            let step = bits.triple(small as u32, [size; 3])?;
            let near = [0, 1, 2].map(|c| previous[c] + step[c] - offset);
            out.push(near);
            if k == 0 {
                // The first atom of a run is stored after its neighbour (oxygen between its hydrogens).
                out.push(full);
            }
            previous = near;
        }
        if run == 0 {
            out.push(full);
        }
        match change {
            -1 => {
                small -= 1;
                if small < FIRSTIDX {
                    return None;
                }
                offset = smaller;
                smaller = if small > FIRSTIDX { half(small - 1) } else { 0 };
            }
            1 => {
                small += 1;
                if small >= MAGICINTS.len() {
                    return None;
                }
                smaller = offset;
                offset = half(small);
            }
            _ => {}
        }
    }
    // A run past the last atom, or coordinates outside the range, come from damage. Ranges hold for every atom.
    (out.len() == count && out.iter().all(|v| (0..3).all(|k| v[k] >= low[k] && v[k] <= i64::from(range[3 + k]))))
        .then_some(out)
}
