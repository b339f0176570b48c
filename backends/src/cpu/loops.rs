//! Short loops over rows that both passes share, or that one has of its own: biases, sums, the symmetrised moments and their adjoint.

use super::clock::Class;
use super::context::Context;
use super::simd::{ActivationKernel, Real};
use crate::network::PAD;

/// Adds a bias to rows and activates them.
pub fn bias_activate<T: Real>(ctx: &Context<T>, rows: &mut [T], bias: &[T], slopes: &mut [T]) {
    ctx.run(
        Class::Element,
        #[inline(always)]
        || {
            for row in rows.chunks_exact_mut(bias.len()) {
                for (x, b) in row.iter_mut().zip(bias) {
                    *x = x.plus(*b);
                }
            }
        },
    );
    ctx.clock
        .time(Class::Element, || ActivationKernel { activator: ctx.activator, values: rows, slopes }.start(ctx.arch));
}

/// `q` of a centre from its moments (7.2): `q[x][d] = 1/3 sum_c H[c][x] H[c][d]`.
pub fn gram<T: Real>(ctx: &Context<T>, h: &[T], q: &mut [T]) {
    let s = ctx.s;
    let (q_edge, q_node) = q[..s.gram()].split_at_mut(s.axis * s.ep);
    for (width, h, q) in [(s.ep, &h[..3 * s.ep], q_edge), (s.np, &h[3 * s.ep..s.moments()], q_node)] {
        ctx.run(
            Class::Reduce,
            #[inline(always)]
            || {
                for (x, row) in q.chunks_exact_mut(width).enumerate() {
                    let axis: [f64; 3] = std::array::from_fn(|c| h[c * width + x].to_f64() / 3.0);
                    for d in 0..width {
                        let sum = axis[0] * h[d].to_f64()
                            + axis[1] * h[width + d].to_f64()
                            + axis[2] * h[2 * width + d].to_f64();
                        row[d] = T::from_f64(sum);
                    }
                }
            },
        );
    }
}

/// `out = a + b`
pub fn add_rows<T: Real>(a: &[T], b: &[T], out: &mut [T]) {
    for ((o, x), y) in out.iter_mut().zip(a).zip(b) {
        *o = x.plus(*y);
    }
}

/// `out = bar * r * slope`, r repeated for every row.
pub fn scaled_product<T: Real>(ctx: &Context<T>, bar: &[T], r: &[T], slope: &[T], out: &mut [T]) {
    let width = r.len();
    ctx.run(
        Class::Element,
        #[inline(always)]
        || {
            for ((out, bar), slope) in
                out.chunks_exact_mut(width).zip(bar.chunks_exact(width)).zip(slope.chunks_exact(width))
            {
                for (((out, bar), r), slope) in out.iter_mut().zip(bar).zip(r).zip(slope) {
                    *out = bar.times(*r).times(*slope);
                }
            }
        },
    );
}

/// `bar = bar + change`
pub fn join<T: Real>(ctx: &Context<T>, bar: &mut [T], change: &[T]) {
    ctx.run(
        Class::Element,
        #[inline(always)]
        || {
            for (x, y) in bar.iter_mut().zip(change) {
                *x = x.plus(*y);
            }
        },
    );
}

/// Adjoint of [`gram`].
pub fn gram_backward<T: Real>(ctx: &Context<T>, h: &[T], q_bar: &[T], h_bar: &mut [T]) {
    let s = ctx.s;
    let (edge_bar, node_bar) = h_bar.split_at_mut(3 * s.ep);
    let parts = [
        (s.ep, &h[..3 * s.ep], &q_bar[..s.axis * s.ep], edge_bar),
        (s.np, &h[3 * s.ep..s.moments()], &q_bar[s.axis * s.ep..s.gram()], node_bar),
    ];
    for (width, h, q_bar, h_bar) in parts {
        for c in 0..3 {
            let (h, out) = (&h[c * width..(c + 1) * width], &mut h_bar[c * width..(c + 1) * width]);
            ctx.run(
                Class::Reduce,
                #[inline(always)]
                || {
                    for d in 0..width {
                        let mut sum = 0.0;
                        for x in 0..s.axis {
                            sum += q_bar[x * width + d].to_f64() * h[x].to_f64();
                        }
                        out[d] = T::from_f64(sum / 3.0);
                    }
                    for (x, row) in q_bar.chunks_exact(width).enumerate() {
                        // PAD sums side by side: one chain over the row would wait for itself.
                        let mut sums = [0.0; PAD];
                        for (row, h) in row.chunks_exact(PAD).zip(h.chunks_exact(PAD)) {
                            for ((sum, q), h) in sums.iter_mut().zip(row).zip(h) {
                                *sum += q.to_f64() * h.to_f64();
                            }
                        }
                        out[x] = T::from_f64(out[x].to_f64() + sums.iter().sum::<f64>() / 3.0);
                    }
                },
            );
        }
    }
}
