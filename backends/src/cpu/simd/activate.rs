//! Activations on whole rows: value, or value and derivative from one exponential.

use super::groups::{each, in_groups, in_wide_groups, load_group, store_group};
use super::real::{Real, PAD};
use pulp::{Arch, NullaryFnOnce, Simd, WithSimd};
use std::mem::MaybeUninit;
use weir_engine::activation::{silut_constants, Activation};

/// An activation with its constants in compute precision.
#[derive(Clone, Copy, Debug)]
pub struct Activator<T> {
    /// Which function.
    pub kind: Activation,
    threshold: T,
    slope: T,
    offset: T,
}

impl<T: Real> Activator<T> {
    /// Prepares the constants (computed in f64, used in T: specification section 3).
    pub fn new(kind: Activation) -> Self {
        let (threshold, (k, c0)) = match kind {
            Activation::Silut { threshold } => (threshold, silut_constants(threshold)),
            _ => (0.0, (0.0, 0.0)),
        };
        Self { kind, threshold: T::from_f64(threshold), slope: T::from_f64(k), offset: T::from_f64(c0) }
    }

    /// Runs `work` with the vector form of this activation: silut, which the published models use, gets code of its own.
    #[inline(always)]
    pub fn with<S: Simd, W: WithFunction<T, S>>(&self, s: S, work: W) {
        match self.kind {
            Activation::Silut { .. } => work.run(s, Silut::new(s, self)),
            _ => work.run(s, Other(*self)),
        }
    }

    #[inline(always)]
    fn other<S: Simd, const U: usize>(&self, s: S, x: [T::V<S>; U]) -> Pairs<T, S, U> {
        let one = T::splat(s, T::from_f64(1.0));
        match self.kind {
            Activation::Silu => silu::<T, S, U>(s, x, T::sigmoid(s, x)),
            Activation::Tanh => {
                // tanh x = 2 sigmoid(2x) - 1
                let two = T::splat(s, T::from_f64(2.0));
                let r = finite_sigmoid::<T, S, U>(s, each!(one, U, u, T::mul(s, x[u], two)));
                let four = T::splat(s, T::from_f64(4.0));
                (
                    each!(one, U, u, T::fma(s, r[u], two, T::splat(s, T::from_f64(-1.0)))),
                    each!(one, U, u, T::mul(s, T::mul(s, four, r[u]), T::sub(s, one, r[u]))),
                )
            }
            Activation::Sigmoid => {
                let r = finite_sigmoid::<T, S, U>(s, x);
                (r, each!(one, U, u, T::mul(s, r[u], T::sub(s, one, r[u]))))
            }
            Activation::Linear => (x, [one; U]),
            _ => self.lanewise(s, x),
        }
    }

    /// Kinds without a vector form go through the scalar reference.
    #[inline(always)]
    fn lanewise<S: Simd, const U: usize>(&self, s: S, x: [T::V<S>; U]) -> Pairs<T, S, U> {
        let mut out = (x, x);
        for u in 0..U {
            let mut lanes = [T::default(); PAD];
            let mut slopes = [T::default(); PAD];
            // SAFETY: PAD is at least the lane count of every instruction set.
            unsafe { T::store(s, lanes.as_mut_ptr(), x[u]) };
            self.scalar(&mut lanes[..T::lanes::<S>()], &mut slopes);
            // SAFETY: as above.
            (out.0[u], out.1[u]) = unsafe { (T::load(s, lanes.as_ptr()), T::load(s, slopes.as_ptr())) };
        }
        out
    }

    // Once in the program, not in every kernel for every size of group: the reference has eleven kinds.
    #[inline(never)]
    fn scalar(&self, values: &mut [T], slopes: &mut [T]) {
        for (v, d) in values.iter_mut().zip(slopes) {
            let (value, slope) = self.kind.evaluate(v.to_f64());
            *v = T::from_f64(value);
            *d = T::from_f64(slope);
        }
    }
}

/// Values and slopes of U registers.
pub type Pairs<T, S, const U: usize> = ([<T as Real>::V<S>; U], [<T as Real>::V<S>; U]);

/// sigmoid of numbers; NaN of what is none, which the bounds of the argument would hide (silu multiplies by x, so it needs no such care).
#[inline(always)]
fn finite_sigmoid<T: Real, S: Simd, const U: usize>(s: S, x: [T::V<S>; U]) -> [T::V<S>; U] {
    let (r, nan) = (T::sigmoid(s, x), T::splat(s, T::from_f64(f64::NAN)));
    let (lowest, highest) = (T::splat(s, T::from_f64(f64::NEG_INFINITY)), T::splat(s, T::from_f64(f64::INFINITY)));
    let r = each!(nan, U, u, T::choose_less(s, x[u], highest, r[u], nan));
    each!(nan, U, u, T::choose_less(s, lowest, x[u], r[u], nan))
}

/// silu and its slope from `r = sigmoid x`.
#[inline(always)]
fn silu<T: Real, S: Simd, const U: usize>(s: S, x: [T::V<S>; U], r: [T::V<S>; U]) -> Pairs<T, S, U> {
    let one = T::splat(s, T::from_f64(1.0));
    let rest = each!(one, U, u, T::sub(s, one, r[u]));
    let inner = each!(one, U, u, T::fma(s, x[u], rest[u], one));
    (each!(one, U, u, T::mul(s, x[u], r[u])), each!(one, U, u, T::mul(s, r[u], inner[u])))
}

/// A loop that wants an activation in registers.
pub trait WithFunction<T: Real, S: Simd> {
    /// Runs the loop.
    fn run<F: Function<T, S>>(self, s: S, f: F);
}

/// An activation on registers.
pub trait Function<T: Real, S: Simd>: Copy {
    /// Most registers at once: more chains under way, more code.
    const WIDEST: usize;
    /// `(f(x), f'(x))` of U registers.
    fn both<const U: usize>(self, s: S, x: [T::V<S>; U]) -> Pairs<T, S, U>;
}

#[derive(Clone, Copy)]
struct Other<T>(Activator<T>);

impl<T: Real, S: Simd> Function<T, S> for Other<T> {
    const WIDEST: usize = 4;

    #[inline(always)]
    fn both<const U: usize>(self, s: S, x: [T::V<S>; U]) -> Pairs<T, S, U> {
        aside(s, self, x)
    }
}

impl<T: Real, S: Simd> Aside<T, S> for Other<T> {
    #[inline(always)]
    fn pairs<const U: usize>(self, s: S, x: [T::V<S>; U]) -> Pairs<T, S, U> {
        self.0.other::<S, U>(s, x)
    }
}

/// What few registers need of an activation.
trait Aside<T: Real, S: Simd>: Copy {
    /// `(f(x), f'(x))` of U registers.
    fn pairs<const U: usize>(self, s: S, x: [T::V<S>; U]) -> Pairs<T, S, U>;
}

/// Registers by way of memory through a function of its own: such code in every kernel for every size of group took the compiler minutes.
#[inline(always)]
fn aside<T: Real, S: Simd, A: Aside<T, S>, const U: usize>(s: S, code: A, x: [T::V<S>; U]) -> Pairs<T, S, U> {
    const { assert!(U <= 8) };
    let (mut values, mut slopes) = (MaybeUninit::<[T; 8 * PAD]>::uninit(), MaybeUninit::<[T; 8 * PAD]>::uninit());
    let (values, slopes) = (values.as_mut_ptr().cast::<T>(), slopes.as_mut_ptr().cast::<T>());
    // SAFETY: groups have at most eight registers, and PAD is at least the lane count of every instruction set; both are written before they
    // are read.
    unsafe {
        store_group(s, values, x);
        s.vectorize(AsideRegisters { s, code, count: U * T::lanes::<S>(), values, slopes });
        (load_group(s, values), load_group(s, slopes))
    }
}

struct AsideRegisters<T, S, A> {
    s: S,
    code: A,
    count: usize,
    /// In: `count` numbers. Out: their activations.
    values: *mut T,
    /// Out: as many slopes.
    slopes: *mut T,
}

impl<T: Real, S: Simd, A: Aside<T, S>> AsideRegisters<T, S, A> {
    #[inline(always)]
    fn group<const U: usize>(&self, at: usize) {
        // SAFETY: the group ends within what `aside` has.
        unsafe {
            let (v, d) = self.code.pairs::<U>(self.s, load_group(self.s, self.values.add(at)));
            store_group(self.s, self.values.add(at), v);
            store_group(self.s, self.slopes.add(at), d);
        }
    }
}

impl<T: Real, S: Simd, A: Aside<T, S>> NullaryFnOnce for AsideRegisters<T, S, A> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let (lanes, mut at) = (T::lanes::<S>(), 0);
        while at + 4 * lanes <= self.count {
            self.group::<4>(at);
            at += 4 * lanes;
        }
        while at < self.count {
            self.group::<1>(at);
            at += lanes;
        }
    }
}

/// silut with its constants in registers.
#[derive(Clone, Copy)]
struct Silut<T: Real, S: Simd> {
    threshold: T::V<S>,
    /// Below it x needs neither the other branch nor a bound of the exponential's argument.
    short: T::V<S>,
    two_k: T::V<S>,
    four_k: T::V<S>,
    offset: T::V<S>,
}

impl<T: Real, S: Simd> Silut<T, S> {
    #[inline(always)]
    fn new(s: S, a: &Activator<T>) -> Self {
        let k = a.slope.to_f64();
        Self {
            threshold: T::splat(s, a.threshold),
            short: T::splat(s, T::from_f64(a.threshold.to_f64().min(T::LARGEST))),
            two_k: T::splat(s, T::from_f64(2.0 * k)),
            four_k: T::splat(s, T::from_f64(4.0 * k)),
            offset: T::splat(s, T::from_f64(a.offset.to_f64() - 1.0)),
        }
    }
}

impl<T: Real, S: Simd> Function<T, S> for Silut<T, S> {
    // Chains are long: 15 cycles a register by four, 14 by eight (Zen 3, 2026-11-28).
    const WIDEST: usize = 8;

    // Both branches are rational in one exponential: sigmoid(x) below the threshold, sigmoid(2k(x - th)) above it, because
    // tanh z = 2 sigmoid(2z) - 1. Registers wholly below, nearly all of them, take the short way to the same bits.
    #[inline(always)]
    fn both<const U: usize>(self, s: S, x: [T::V<S>; U]) -> Pairs<T, S, U> {
        let mut largest = x[0];
        for u in 1..U {
            largest = T::max(s, largest, x[u]);
        }
        let one = T::splat(s, T::from_f64(1.0));
        if T::all_less(s, largest, self.short) {
            let below = T::one_plus_exp_minus(s, x);
            return silu::<T, S, U>(s, x, each!(one, U, u, T::div(s, one, below[u])));
        }
        aside(s, self, x)
    }
}

impl<T: Real, S: Simd> Aside<T, S> for Silut<T, S> {
    // Above the threshold, and below it to the bits of the short way.
    #[inline(always)]
    fn pairs<const U: usize>(self, s: S, x: [T::V<S>; U]) -> Pairs<T, S, U> {
        let one = T::splat(s, T::from_f64(1.0));
        let mut argument = x;
        for u in 0..U {
            let above = T::mul(s, self.two_k, T::sub(s, x[u], self.threshold));
            argument[u] = T::choose_less(s, self.threshold, x[u], above, x[u]);
        }
        let r = T::sigmoid(s, argument);
        let (mut value, mut slope) = (r, r);
        for u in 0..U {
            let rest = T::sub(s, one, r[u]);
            let silu = T::mul(s, x[u], r[u]);
            let silu_slope = T::mul(s, r[u], T::fma(s, x[u], rest, one));
            let tail = T::fma(s, r[u], T::splat(s, T::from_f64(2.0)), self.offset);
            let tail_slope = T::mul(s, self.four_k, T::mul(s, r[u], rest));
            // NaN is above nothing and stays NaN: bounds of the sigmoid's argument would make a number of it.
            value[u] = T::choose_less(s, self.threshold, x[u], tail, silu);
            slope[u] = T::choose_less(s, self.threshold, x[u], tail_slope, silu_slope);
        }
        (value, slope)
    }
}

/// Applies an activation to a block of numbers in place; with `slopes`, also writes the derivatives there.
pub struct ActivationKernel<'a, T> {
    /// Which.
    pub activator: &'a Activator<T>,
    /// In: x. Out: f(x). Length a multiple of [`PAD`].
    pub values: &'a mut [T],
    /// Out: f'(x), same length; empty when not wanted.
    pub slopes: &'a mut [T],
}

impl<T: Real> ActivationKernel<'_, T> {
    /// Runs with the best instruction set.
    pub fn start(self, arch: Arch) {
        arch.dispatch(self);
    }
}

impl<T: Real> WithSimd for ActivationKernel<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        self.activator.with(s, self);
    }
}

impl<T: Real, S: Simd> WithFunction<T, S> for ActivationKernel<'_, T> {
    #[inline(always)]
    fn run<F: Function<T, S>>(self, s: S, f: F) {
        assert_eq!(self.values.len() % PAD, 0, "rows are padded");
        let want = !self.slopes.is_empty();
        assert!(!want || self.slopes.len() == self.values.len());
        let end = self.values.len();
        in_wide_groups!(0, end, U, at, {
            // SAFETY: the group ends within the values, and the slopes are as long.
            unsafe {
                let values = self.values.as_mut_ptr().add(at);
                let (v, d) = f.both::<U>(s, load_group(s, values));
                store_group(s, values, v);
                if want {
                    store_group(s, self.slopes.as_mut_ptr().add(at), d);
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::set::archs;
    use super::*;

    /// Values and slopes of an activation.
    fn activated<T: Real>(arch: Arch, kind: Activation, x: &[f64]) -> (Vec<T>, Vec<T>) {
        let mut values: Vec<T> = x.iter().map(|&v| T::from_f64(v)).collect();
        let mut slopes = vec![T::default(); values.len()];
        let activator = Activator::<T>::new(kind);
        ActivationKernel { activator: &activator, values: &mut values, slopes: &mut slopes }.start(arch);
        (values, slopes)
    }

    const NAMES: [&str; 13] = [
        "silut",
        "silut:10",
        "silut:0.5",
        "silut:100",
        "silut:1000",
        "silu",
        "tanh",
        "sigmoid",
        "gelu",
        "softplus",
        "relu",
        "relu6",
        "linear",
    ];

    fn check<T: Real>(arch: Arch, tolerance: f64) {
        // Where the argument of the exponential is bounded, and far beyond; a group of eight registers each, and all together.
        let mut far: Vec<f64> =
            [86.9, 87.5, 88.0, 100.0, 708.5, 710.0, 1e4, 1e30].iter().flat_map(|&v| [v, -v]).collect();
        far.extend([86.9, -86.9, 87.5, -87.5, 88.0, -88.0, 100.0, -100.0].iter().flat_map(|&v| [v; 128]));
        let near = (-320..320).map(|i| i as f64 * 0.11);
        let x: Vec<f64> = near.chain(far).map(|v| T::from_f64(v).to_f64()).collect();
        for name in NAMES {
            let kind = Activation::parse(name).unwrap();
            let (values, slopes) = activated::<T>(arch, kind, &x);
            for i in 0..x.len() {
                let (f, d) = kind.evaluate(x[i]);
                assert!((values[i].to_f64() - f).abs() <= tolerance * (1.0 + f.abs()), "{name} at {}", x[i]);
                assert!((slopes[i].to_f64() - d).abs() <= tolerance * (1.0 + d.abs()), "{name}' at {}", x[i]);
            }
        }
    }

    fn nan_stays<T: Real>(arch: Arch) {
        for name in NAMES {
            for company in [0.5, 500.0] {
                let mut x = [company; 64];
                x[9] = f64::NAN;
                let (values, _) = activated::<T>(arch, Activation::parse(name).unwrap(), &x);
                for (i, v) in values.iter().enumerate() {
                    assert_eq!(v.to_f64().is_nan(), i == 9, "{name} beside {company}, number {i}");
                }
            }
        }
    }

    #[test]
    fn what_is_no_number_stays_none() {
        for arch in archs() {
            nan_stays::<f64>(arch);
            nan_stays::<f32>(arch);
        }
    }

    #[test]
    fn vector_activations_equal_the_scalar_ones() {
        for arch in archs() {
            check::<f64>(arch, 4e-15);
            check::<f32>(arch, 6e-7);
        }
    }
}
