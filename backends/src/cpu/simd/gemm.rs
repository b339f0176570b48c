//! `C (+)= A W` with weights packed once. Every output element is one chain of fused multiply-adds over k in ascending order, so a
//! row's bits do not depend on how many rows are computed together.

use super::real::Real;
use pulp::{Arch, Simd, WithSimd};

/// Most rows computed together, two registers of sums each: 6 fill the 16 registers of AVX2, 10 leave a few of the 32 of AVX-512 and NEON. Fewer
/// than 16 chains would leave a Neoverse V2 (Grace) waiting: four units, four cycles a multiply-add. From 12 rows on compilers put sums into
/// memory (rustc 1.95, AVX-512: 0.65 of the speed that 10 have).
const fn most_rows<S: Simd>() -> usize {
    if S::REGISTER_COUNT >= 32 {
        10
    } else {
        6
    }
}

/// Steps of k in one turn of the inner loop.
const UNROLL: usize = 4;

/// What a product does with the old value of its result.
#[derive(Clone, Copy, Debug)]
pub enum Old<T> {
    /// Nothing.
    Overwritten,
    /// The chain over k starts from it.
    Continued,
    /// The chain starts from zero, and its sum is added to so many times the old value: a chain that starts from a large value would round
    /// every small product against it.
    Joined(T),
}

/// A `K x N` matrix in panels of two registers, `panel[k][lane]`. N is padded to a multiple of the lane count.
#[derive(Clone, Debug, Default)]
pub struct PackedMatrix<T> {
    /// Number of rows of W (width of A).
    pub inputs: usize,
    /// Padded number of columns.
    pub outputs: usize,
    panel: usize,
    data: Vec<T>,
}

/// Numbers in a full panel for this machine.
pub(super) fn panel_width<T: Real>(arch: Arch) -> usize {
    struct Lanes<T>(std::marker::PhantomData<T>);
    impl<T: Real> WithSimd for Lanes<T> {
        type Output = usize;
        #[inline(always)]
        fn with_simd<S: Simd>(self, _: S) -> usize {
            T::lanes::<S>()
        }
    }
    2 * arch.dispatch(Lanes(std::marker::PhantomData::<T>))
}

impl<T: Real> PackedMatrix<T> {
    /// Packs a row-major `inputs x outputs` matrix; `outputs` is a multiple of [`super::real::PAD`].
    pub fn pack(arch: Arch, inputs: usize, outputs: usize, matrix: &[f64]) -> Self {
        assert_eq!(matrix.len(), inputs * outputs);
        assert_eq!(outputs % super::real::PAD, 0, "columns are padded");
        let panel = panel_width::<T>(arch);
        let mut data = Vec::with_capacity(inputs * outputs);
        for from in (0..outputs).step_by(panel) {
            let width = panel.min(outputs - from);
            for k in 0..inputs {
                data.extend(matrix[k * outputs + from..k * outputs + from + width].iter().map(|&w| T::from_f64(w)));
            }
        }
        Self { inputs, outputs, panel, data }
    }

    /// Bytes held.
    pub fn bytes(&self) -> u64 {
        std::mem::size_of_val(self.data.as_slice()) as u64
    }

    /// `c[r][0..columns] (+)= a[r][..] W[.., 0..columns]` for `rows` rows.
    ///
    /// `columns` is a multiple of PAD, at most `outputs`.
    pub fn multiply(
        &self,
        arch: Arch,
        rows: usize,
        a: &[T],
        a_stride: usize,
        c: &mut [T],
        c_stride: usize,
        columns: usize,
        old: Old<T>,
    ) {
        if rows == 0 || columns == 0 {
            return;
        }
        assert!(columns <= self.outputs && columns % super::real::PAD == 0);
        assert!(a_stride >= self.inputs && a.len() >= (rows - 1) * a_stride + self.inputs);
        assert!(c_stride >= columns && c.len() >= (rows - 1) * c_stride + columns);
        arch.dispatch(Multiply { w: self, rows, a: a.as_ptr(), a_stride, c: c.as_mut_ptr(), c_stride, columns, old });
    }
}

struct Multiply<'w, T> {
    w: &'w PackedMatrix<T>,
    rows: usize,
    a: *const T,
    a_stride: usize,
    c: *mut T,
    c_stride: usize,
    columns: usize,
    old: Old<T>,
}

impl<T: Real> WithSimd for Multiply<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let lanes = T::lanes::<S>();
        let panel = self.w.panel;
        assert_eq!(panel, 2 * lanes, "packed for another instruction set");
        // Rows divided evenly: blocks of one to three have fewer chains than a multiply-add takes cycles on two units (8).
        let blocks = self.rows.div_ceil(most_rows::<S>());
        let (each, more) = (self.rows / blocks, self.rows % blocks);
        let mut from = 0;
        while from < self.columns {
            let stored = panel.min(self.w.outputs - from);
            // The columns wanted may end inside a stored panel.
            let wanted = stored.min(self.columns - from);
            // SAFETY: `multiply` checked the ranges of a and c; a panel holds `inputs x stored` numbers from `from * inputs` on.
            unsafe {
                let b = self.w.data.as_ptr().add(from * self.w.inputs);
                let c = self.c.add(from);
                if wanted == 2 * lanes {
                    self.panel::<S, 2>(s, b, stored, c, [each, more, blocks]);
                } else {
                    let mut lane = 0;
                    while lane < wanted {
                        self.panel::<S, 1>(s, b.add(lane), stored, c.add(lane), [each, more, blocks]);
                        lane += lanes;
                    }
                }
            }
            from += stored;
        }
    }
}

impl<T: Real> Multiply<'_, T> {
    /// All rows of one panel, in so many blocks of `each` rows, the first `more` of them with one row more.
    #[inline(always)]
    unsafe fn panel<S: Simd, const N: usize>(
        &self,
        s: S,
        b: *const T,
        b_stride: usize,
        c: *mut T,
        [each, more, blocks]: [usize; 3],
    ) {
        let mut row = 0;
        for block in 0..blocks {
            let rows = each + usize::from(block < more);
            macro_rules! of_rows {
                ($($m:literal)*) => {
                    match rows {
                        $($m => if const { $m <= most_rows::<S>() } {
                            // SAFETY: blocks end with the rows; see `with_simd`.
                            unsafe { self.block::<S, $m, N>(s, row, b, b_stride, c) }
                        },)*
                        _ => unreachable!("blocks have one to ten rows"),
                    }
                };
            }
            of_rows!(1 2 3 4 5 6 7 8 9 10);
            row += rows;
        }
    }

    #[inline(always)]
    unsafe fn block<S: Simd, const M: usize, const N: usize>(
        &self,
        s: S,
        row: usize,
        b: *const T,
        b_stride: usize,
        c: *mut T,
    ) {
        let lanes = T::lanes::<S>();
        // SAFETY: rows row..row + M of a and c are inside the slices given to `multiply`.
        unsafe {
            let a = self.a.add(row * self.a_stride);
            let c = c.add(row * self.c_stride);
            let mut sum = [[T::splat(s, T::default()); N]; M];
            if let Old::Continued = self.old {
                for m in 0..M {
                    for n in 0..N {
                        sum[m][n] = T::load(s, c.add(m * self.c_stride + n * lanes));
                    }
                }
            }
            let (mut b, mut a) = (b, a);
            // Unrolled so that short products (K = 32) do not pay for a loop exit guessed wrong at every block.
            for _ in 0..self.w.inputs / UNROLL {
                for u in 0..UNROLL {
                    step::<T, S, M, N>(s, &mut sum, a.add(u), self.a_stride, b.add(u * b_stride));
                }
                a = a.add(UNROLL);
                b = b.add(UNROLL * b_stride);
            }
            for u in 0..self.w.inputs % UNROLL {
                step::<T, S, M, N>(s, &mut sum, a.add(u), self.a_stride, b.add(u * b_stride));
            }
            if let Old::Joined(keep) = self.old {
                let keep = T::splat(s, keep);
                for m in 0..M {
                    for n in 0..N {
                        let old = T::load(s, c.add(m * self.c_stride + n * lanes));
                        sum[m][n] = T::add(s, T::mul(s, keep, old), sum[m][n]);
                    }
                }
            }
            for m in 0..M {
                for n in 0..N {
                    T::store(s, c.add(m * self.c_stride + n * lanes), sum[m][n]);
                }
            }
        }
    }
}

/// One k: `sum[m][n] += a[m] w[n]`.
///
/// # Safety
/// `a` has M readable rows, `b` N readable registers.
#[inline(always)]
unsafe fn step<T: Real, S: Simd, const M: usize, const N: usize>(
    s: S,
    sum: &mut [[T::V<S>; N]; M],
    a: *const T,
    a_stride: usize,
    b: *const T,
) {
    let lanes = T::lanes::<S>();
    // SAFETY: the caller's promise.
    unsafe {
        let mut w = [T::splat(s, T::default()); N];
        for n in 0..N {
            w[n] = T::load(s, b.add(n * lanes));
        }
        for m in 0..M {
            let x = T::splat(s, *a.add(m * a_stride));
            for n in 0..N {
                sum[m][n] = T::fma(s, x, w[n], sum[m][n]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::set::archs;
    use super::*;

    fn numbers(n: usize, seed: u64) -> Vec<f64> {
        let mut x = seed;
        (0..n)
            .map(|_| {
                x = x.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                (x >> 11) as f64 / (1u64 << 53) as f64 - 0.5
            })
            .collect()
    }

    fn check<T: Real>(arch: Arch, tolerance: f64) {
        for (rows, inputs, outputs) in [(1, 1, 16), (7, 14, 48), (23, 32, 96), (12, 64, 192), (5, 20, 32)] {
            let (a, w) = (numbers(rows * inputs, 3), numbers(inputs * outputs, 5));
            let packed = PackedMatrix::<T>::pack(arch, inputs, outputs, &w);
            let at: Vec<T> = a.iter().map(|&x| T::from_f64(x)).collect();
            for columns in [16, outputs / 16 / 2 * 16, outputs].into_iter().filter(|&c| c > 0) {
                let mut c = vec![T::from_f64(0.25); rows * outputs];
                packed.multiply(arch, rows, &at, inputs, &mut c, outputs, columns, Old::Continued);
                for r in 0..rows {
                    for o in 0..outputs {
                        let sum: f64 = (0..inputs).map(|k| a[r * inputs + k] * w[k * outputs + o]).sum();
                        let expected = if o < columns { 0.25 + sum } else { 0.25 };
                        assert!(
                            (c[r * outputs + o].to_f64() - expected).abs() < tolerance,
                            "{rows} {inputs} {outputs}"
                        );
                    }
                }
                // A row alone has the same bits as among others.
                let mut alone = vec![T::from_f64(0.25); outputs];
                packed.multiply(
                    arch,
                    1,
                    &at[(rows - 1) * inputs..],
                    inputs,
                    &mut alone,
                    outputs,
                    columns,
                    Old::Continued,
                );
                assert_eq!(
                    bytemuck::cast_slice::<T, u8>(&alone),
                    bytemuck::cast_slice::<T, u8>(&c[(rows - 1) * outputs..])
                );
            }
        }
    }

    #[test]
    fn a_product_joins_the_old_value_in_one_rounding() {
        for arch in archs() {
            joins(arch);
        }
    }

    fn joins(arch: Arch) {
        let (rows, inputs, outputs) = (7, 32, 48);
        let (a, w) = (numbers(rows * inputs, 3), numbers(inputs * outputs, 5));
        let packed = PackedMatrix::<f32>::pack(arch, inputs, outputs, &w);
        let at: Vec<f32> = a.iter().map(|&x| x as f32).collect();
        let (old, mut joined, mut sum) = (numbers(rows * outputs, 7), Vec::new(), vec![0.0; rows * outputs]);
        joined.extend(old.iter().map(|&x| 1e4 * x as f32));
        packed.multiply(arch, rows, &at, inputs, &mut sum, outputs, outputs, Old::Overwritten);
        let expected: Vec<f32> = joined.iter().zip(&sum).map(|(old, sum)| 0.7 * old + sum).collect();
        packed.multiply(arch, rows, &at, inputs, &mut joined, outputs, outputs, Old::Joined(0.7));
        assert_eq!(joined, expected);
    }

    #[test]
    fn products_equal_the_plain_sum_and_rows_do_not_depend_on_company() {
        for arch in archs() {
            check::<f64>(arch, 1e-14);
            check::<f32>(arch, 5e-6);
        }
    }
}
