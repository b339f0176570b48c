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

    /// `(f(x), f'(x))` of a register. Kinds without a vector form go through the scalar reference, lane by lane.
    #[inline(always)]
    pub fn both<S: Simd>(&self, s: S, x: T::V<S>) -> (T::V<S>, T::V<S>) {
        let one = T::splat(s, T::from_f64(1.0));
        match self.kind {
            Activation::Silut { .. } => self.silut(s, x),
            Activation::Silu => {
                let minus = T::splat(s, T::from_f64(-1.0));
                let r = T::div(s, one, T::add(s, one, T::exp(s, T::mul(s, x, minus))));
                let slope = T::mul(s, r, T::fma(s, x, T::sub(s, one, r), one));
                (T::mul(s, x, r), slope)
            }
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
                let minus = T::splat(s, T::from_f64(-1.0));
                let r = T::div(s, one, T::add(s, one, T::exp(s, T::mul(s, x, minus))));
                (r, T::mul(s, r, T::sub(s, one, r)))
            }
            Activation::Linear => (x, one),
            _ => self.lanewise(s, x),
        }
    }

    // Both branches of silut are rational in one exponential: sigmoid(x) below the threshold, sigmoid(2k(x - th)) above it,
    // because tanh z = 2 sigmoid(2z) - 1.
    #[inline(always)]
    fn silut<S: Simd>(&self, s: S, x: T::V<S>) -> (T::V<S>, T::V<S>) {
        let one = T::splat(s, T::from_f64(1.0));
        let threshold = T::splat(s, self.threshold);
        let k = T::splat(s, self.slope);
        let zero = T::splat(s, T::from_f64(0.0));
        let below = T::sub(s, zero, x);
        let k2 = T::splat(s, T::from_f64(-2.0 * self.slope.to_f64()));
        let above = T::mul(s, k2, T::sub(s, x, threshold));
        let r = T::div(s, one, T::add(s, one, T::exp(s, T::choose_less(s, x, threshold, below, above))));
        let rest = T::sub(s, one, r);
        let silu = T::mul(s, x, r);
        let silu_slope = T::mul(s, r, T::fma(s, x, rest, one));
        let offset = T::splat(s, T::from_f64(self.offset.to_f64() - 1.0));
        let tail = T::fma(s, r, T::splat(s, T::from_f64(2.0)), offset);
        let tail_slope = T::mul(s, T::mul(s, T::splat(s, T::from_f64(4.0)), k), T::mul(s, r, rest));
        (T::choose_less(s, x, threshold, silu, tail), T::choose_less(s, x, threshold, silu_slope, tail_slope))
    }

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
    pub fn run(self, arch: Arch) {
        arch.dispatch(self);
    }
}

impl<T: Real> WithSimd for ActivationKernel<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let step = T::lanes::<S>();
        assert_eq!(self.values.len() % step, 0, "rows are padded");
        let want = !self.slopes.is_empty();
        assert!(!want || self.slopes.len() == self.values.len());
        let mut at = 0;
        while at < self.values.len() {
            // SAFETY: at + step <= length, checked by the loop and the multiple above.
            unsafe {
                let (v, d) = self.activator.both(s, T::load(s, self.values.as_ptr().add(at)));
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
            ActivationKernel { activator: &activator, values: &mut values, slopes: &mut slopes }.run(Arch::new());
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
