//! Activations on whole rows: value, or value and derivative from one exponential.

use super::real::Real;
use pulp::{Arch, Simd, WithSimd};
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
    fn other<S: Simd>(&self, s: S, x: T::V<S>) -> (T::V<S>, T::V<S>) {
        let one = T::splat(s, T::from_f64(1.0));
        match self.kind {
            Activation::Silu => silu::<T, S>(s, x),
            Activation::Tanh => {
                // tanh x = 2 sigmoid(2x) - 1
                let two = T::splat(s, T::from_f64(2.0));
                let q = T::exp(s, T::mul(s, x, T::splat(s, T::from_f64(-2.0))));
                let r = T::div(s, one, T::add(s, one, q));
                let t = T::fma(s, r, two, T::splat(s, T::from_f64(-1.0)));
                let four = T::splat(s, T::from_f64(4.0));
                (t, T::mul(s, T::mul(s, four, r), T::sub(s, one, r)))
            }
            Activation::Sigmoid => {
                let r = sigmoid_of_minus::<T, S>(s, T::sub(s, T::splat(s, T::default()), x));
                (r, T::mul(s, r, T::sub(s, one, r)))
            }
            Activation::Linear => (x, one),
            _ => self.lanewise(s, x),
        }
    }

    /// Kinds without a vector form go through the scalar reference.
    #[inline(always)]
    fn lanewise<S: Simd>(&self, s: S, x: T::V<S>) -> (T::V<S>, T::V<S>) {
        let mut lanes = [T::default(); super::real::PAD];
        let mut slopes = [T::default(); super::real::PAD];
        // SAFETY: PAD is at least the lane count of every instruction set.
        unsafe { T::store(s, lanes.as_mut_ptr(), x) };
        for (v, d) in lanes.iter_mut().zip(&mut slopes).take(T::lanes::<S>()) {
            let (value, slope) = self.kind.evaluate(v.to_f64());
            *v = T::from_f64(value);
            *d = T::from_f64(slope);
        }
        // SAFETY: as above.
        unsafe { (T::load(s, lanes.as_ptr()), T::load(s, slopes.as_ptr())) }
    }
}

/// `1 / (1 + exp y)`
#[inline(always)]
fn sigmoid_of_minus<T: Real, S: Simd>(s: S, y: T::V<S>) -> T::V<S> {
    let one = T::splat(s, T::from_f64(1.0));
    T::div(s, one, T::add(s, one, T::exp(s, y)))
}

#[inline(always)]
fn silu<T: Real, S: Simd>(s: S, x: T::V<S>) -> (T::V<S>, T::V<S>) {
    let one = T::splat(s, T::from_f64(1.0));
    let r = sigmoid_of_minus::<T, S>(s, T::sub(s, T::splat(s, T::default()), x));
    (T::mul(s, x, r), T::mul(s, r, T::fma(s, x, T::sub(s, one, r), one)))
}

/// A loop that wants an activation in registers.
pub trait WithFunction<T: Real, S: Simd> {
    /// Runs the loop.
    fn run<F: Function<T, S>>(self, s: S, f: F);
}

/// An activation on registers.
pub trait Function<T: Real, S: Simd>: Copy {
    /// `(f(x), f'(x))`
    fn both(self, s: S, x: T::V<S>) -> (T::V<S>, T::V<S>);
}

#[derive(Clone, Copy)]
struct Other<T>(Activator<T>);

impl<T: Real, S: Simd> Function<T, S> for Other<T> {
    #[inline(always)]
    fn both(self, s: S, x: T::V<S>) -> (T::V<S>, T::V<S>) {
        self.0.other(s, x)
    }
}

/// silut with its constants in registers.
#[derive(Clone, Copy)]
struct Silut<T: Real, S: Simd> {
    threshold: T::V<S>,
    minus_two_k: T::V<S>,
    four_k: T::V<S>,
    offset: T::V<S>,
}

impl<T: Real, S: Simd> Silut<T, S> {
    #[inline(always)]
    fn new(s: S, a: &Activator<T>) -> Self {
        let k = a.slope.to_f64();
        Self {
            threshold: T::splat(s, a.threshold),
            minus_two_k: T::splat(s, T::from_f64(-2.0 * k)),
            four_k: T::splat(s, T::from_f64(4.0 * k)),
            offset: T::splat(s, T::from_f64(a.offset.to_f64() - 1.0)),
        }
    }
}

impl<T: Real, S: Simd> Function<T, S> for Silut<T, S> {
    // Both branches are rational in one exponential: sigmoid(x) below the threshold, sigmoid(2k(x - th)) above it, because
    // tanh z = 2 sigmoid(2z) - 1. Registers wholly below, nearly all of them, take the short way to the same bits.
    #[inline(always)]
    fn both(self, s: S, x: T::V<S>) -> (T::V<S>, T::V<S>) {
        if T::all_less(s, x, self.threshold) {
            return silu::<T, S>(s, x);
        }
        let one = T::splat(s, T::from_f64(1.0));
        let below = T::sub(s, T::splat(s, T::default()), x);
        let above = T::mul(s, self.minus_two_k, T::sub(s, x, self.threshold));
        let r = sigmoid_of_minus::<T, S>(s, T::choose_less(s, x, self.threshold, below, above));
        let rest = T::sub(s, one, r);
        let silu = T::mul(s, x, r);
        let silu_slope = T::mul(s, r, T::fma(s, x, rest, one));
        let tail = T::fma(s, r, T::splat(s, T::from_f64(2.0)), self.offset);
        let tail_slope = T::mul(s, self.four_k, T::mul(s, r, rest));
        (T::choose_less(s, x, self.threshold, silu, tail), T::choose_less(s, x, self.threshold, silu_slope, tail_slope))
    }
}

/// Applies an activation to a block of numbers in place; with `slopes`, also writes the derivatives there.
pub struct ActivationKernel<'a, T> {
    /// Which.
    pub activator: &'a Activator<T>,
    /// In: x. Out: f(x). Length a multiple of [`super::real::PAD`].
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
        let step = T::lanes::<S>();
        assert_eq!(self.values.len() % step, 0, "rows are padded");
        let want = !self.slopes.is_empty();
        assert!(!want || self.slopes.len() == self.values.len());
        let mut at = 0;
        while at < self.values.len() {
            // SAFETY: at + step <= length, checked by the loop and the multiple above.
            unsafe {
                let (v, d) = f.both(s, T::load(s, self.values.as_ptr().add(at)));
                T::store(s, self.values.as_mut_ptr().add(at), v);
                if want {
                    T::store(s, self.slopes.as_mut_ptr().add(at), d);
                }
            }
            at += step;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<T: Real>(tolerance: f64) {
        for name in ["silut", "silut:10", "silut:0.5", "silu", "tanh", "sigmoid", "gelu", "softplus", "relu", "linear"]
        {
            let kind = Activation::parse(name).unwrap();
            let x: Vec<f64> = (-320..320).map(|i| i as f64 * 0.11).collect();
            let mut values: Vec<T> = x.iter().map(|&v| T::from_f64(v)).collect();
            let mut slopes = vec![T::default(); values.len()];
            let input: Vec<f64> = values.iter().map(|v| v.to_f64()).collect();
            let activator = Activator::<T>::new(kind);
            ActivationKernel { activator: &activator, values: &mut values, slopes: &mut slopes }.start(Arch::new());
            for i in 0..x.len() {
                let (f, d) = kind.evaluate(input[i]);
                assert!((values[i].to_f64() - f).abs() <= tolerance * (1.0 + f.abs()), "{name} at {}", x[i]);
                assert!((slopes[i].to_f64() - d).abs() <= tolerance * (1.0 + d.abs()), "{name}' at {}", x[i]);
            }
        }
    }

    #[test]
    fn vector_activations_equal_the_scalar_ones() {
        check::<f64>(4e-15);
        check::<f32>(6e-7);
    }
}
