//! A small tape of matrix operations in double precision: values forward, adjoints backward.
//!
//! The reference writes DPA3 down as the specification does and lets this tape differentiate it, so that the analytic backward pass
//! of the backends is judged by something that was not derived by hand. Everything is kept; nothing is fast.

use crate::model::Linear;

/// Handle of a matrix on the tape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Var(usize);

enum Op<'m> {
    Leaf,
    /// `x W (+ b)`
    Linear {
        x: Var,
        map: &'m Linear,
    },
    /// elementwise function with its stored derivative
    Map {
        x: Var,
        slope: Vec<f64>,
    },
    /// `sum_k c_k x_k`
    Combine {
        terms: Vec<(Var, f64)>,
    },
    Mul {
        a: Var,
        b: Var,
    },
    /// every row times one number of a column
    ScaleRows {
        x: Var,
        by: Var,
    },
    /// every column times a constant
    ScaleColumns {
        x: Var,
        by: Vec<f64>,
    },
    Gather {
        x: Var,
        rows: Vec<u32>,
    },
    /// rows summed into the row given by `rows`
    Segment {
        x: Var,
        rows: Vec<u32>,
    },
    Concat {
        parts: Vec<Var>,
    },
    Slice {
        x: Var,
        from: usize,
    },
    /// row-wise outer product, `out[r][p * q + q'] = a[r][p] b[r][q']`
    Outer {
        a: Var,
        b: Var,
    },
    /// row-wise scalar product
    Dot {
        a: Var,
        b: Var,
    },
    /// `G[x][d] = 1/3 sum_c H[c][x] H[c][d]`, H stored as 3 x D
    Gram {
        h: Var,
        axis: usize,
    },
    /// rows of `a` where the mask is set, else of `b`
    Choose {
        mask: Vec<bool>,
        a: Var,
        b: Var,
    },
}

struct Node<'m> {
    rows: usize,
    cols: usize,
    value: Vec<f64>,
    op: Op<'m>,
}

/// The tape. `'m` is the life of the weights it refers to.
#[derive(Default)]
pub struct Tape<'m> {
    nodes: Vec<Node<'m>>,
}

impl<'m> Tape<'m> {
    fn push(&mut self, rows: usize, cols: usize, value: Vec<f64>, op: Op<'m>) -> Var {
        assert_eq!(value.len(), rows * cols, "tape: {rows} x {cols} matrix");
        self.nodes.push(Node { rows, cols, value, op });
        Var(self.nodes.len() - 1)
    }

    /// Values of a matrix, row-major.
    pub fn value(&self, x: Var) -> &[f64] {
        &self.nodes[x.0].value
    }

    /// Bytes of all values.
    pub fn bytes(&self) -> u64 {
        self.nodes.iter().map(|n| n.value.len() as u64 * 8).sum()
    }

    /// Rows and columns of a matrix.
    pub fn shape(&self, x: Var) -> (usize, usize) {
        (self.nodes[x.0].rows, self.nodes[x.0].cols)
    }

    /// An input.
    pub fn leaf(&mut self, rows: usize, cols: usize, value: Vec<f64>) -> Var {
        self.push(rows, cols, value, Op::Leaf)
    }

    /// `x W (+ b)` with row vectors.
    pub fn linear(&mut self, x: Var, map: &'m Linear) -> Var {
        let (rows, cols) = self.shape(x);
        assert_eq!(cols, map.inputs, "tape: linear layer input");
        let mut out = vec![0.0; rows * map.outputs];
        let value = self.value(x);
        for (row, out) in value.chunks_exact(cols.max(1)).zip(out.chunks_exact_mut(map.outputs)) {
            if let Some(b) = &map.bias {
                out.copy_from_slice(b);
            }
            for (k, &v) in row.iter().enumerate() {
                for (o, &w) in out.iter_mut().zip(&map.weight[k * map.outputs..(k + 1) * map.outputs]) {
                    *o += v * w;
                }
            }
        }
        self.push(rows, map.outputs, out, Op::Linear { x, map })
    }

    /// Elementwise function given as `x -> (value, derivative)`.
    pub fn map(&mut self, x: Var, f: impl Fn(f64) -> (f64, f64)) -> Var {
        let (rows, cols) = self.shape(x);
        let (value, slope) = self.value(x).iter().map(|&v| f(v)).unzip();
        self.push(rows, cols, value, Op::Map { x, slope })
    }

    /// `sum_k c_k x_k`
    pub fn combine(&mut self, terms: &[(Var, f64)]) -> Var {
        let (rows, cols) = self.shape(terms[0].0);
        let mut out = vec![0.0; rows * cols];
        for &(x, c) in terms {
            assert_eq!(self.shape(x), (rows, cols), "tape: sum of unequal shapes");
            for (o, v) in out.iter_mut().zip(self.value(x)) {
                *o += c * v;
            }
        }
        self.push(rows, cols, out, Op::Combine { terms: terms.to_vec() })
    }

    /// Elementwise product.
    pub fn mul(&mut self, a: Var, b: Var) -> Var {
        let (rows, cols) = self.shape(a);
        assert_eq!(self.shape(b), (rows, cols), "tape: product of unequal shapes");
        let out = self.value(a).iter().zip(self.value(b)).map(|(x, y)| x * y).collect();
        self.push(rows, cols, out, Op::Mul { a, b })
    }

    /// Row r times the r-th number of a column vector.
    pub fn scale_rows(&mut self, x: Var, by: Var) -> Var {
        let (rows, cols) = self.shape(x);
        assert_eq!(self.shape(by), (rows, 1), "tape: row factors");
        let mut out = self.value(x).to_vec();
        for (row, &s) in out.chunks_exact_mut(cols).zip(self.value(by)) {
            row.iter_mut().for_each(|v| *v *= s);
        }
        self.push(rows, cols, out, Op::ScaleRows { x, by })
    }

    /// Column c times a constant.
    pub fn scale_columns(&mut self, x: Var, by: &[f64]) -> Var {
        let (rows, cols) = self.shape(x);
        assert_eq!(by.len(), cols, "tape: column factors");
        let out = self.value(x).iter().enumerate().map(|(i, v)| v * by[i % cols]).collect();
        self.push(rows, cols, out, Op::ScaleColumns { x, by: by.to_vec() })
    }

    /// Row `rows[r]` of x as row r.
    pub fn gather(&mut self, x: Var, rows: &[u32]) -> Var {
        let (_, cols) = self.shape(x);
        let value = self.value(x);
        let out =
            rows.iter().flat_map(|&r| value[r as usize * cols..(r as usize + 1) * cols].iter().copied()).collect();
        self.push(rows.len(), cols, out, Op::Gather { x, rows: rows.to_vec() })
    }

    /// Rows summed into `count` rows.
    pub fn segment_sum(&mut self, x: Var, rows: &[u32], count: usize) -> Var {
        let (_, cols) = self.shape(x);
        let mut out = vec![0.0; count * cols];
        for (row, &r) in self.value(x).chunks_exact(cols).zip(rows) {
            for (o, v) in out[r as usize * cols..(r as usize + 1) * cols].iter_mut().zip(row) {
                *o += v;
            }
        }
        self.push(count, cols, out, Op::Segment { x, rows: rows.to_vec() })
    }

    /// Columns side by side.
    pub fn concat(&mut self, parts: &[Var]) -> Var {
        let rows = self.shape(parts[0]).0;
        let cols = parts.iter().map(|&p| self.shape(p).1).sum();
        let mut out = Vec::with_capacity(rows * cols);
        for r in 0..rows {
            for &p in parts {
                let c = self.shape(p).1;
                out.extend_from_slice(&self.value(p)[r * c..(r + 1) * c]);
            }
        }
        self.push(rows, cols, out, Op::Concat { parts: parts.to_vec() })
    }

    /// Columns `from .. from + width`.
    pub fn slice(&mut self, x: Var, from: usize, width: usize) -> Var {
        let (rows, cols) = self.shape(x);
        let value = self.value(x);
        let out = (0..rows).flat_map(|r| value[r * cols + from..r * cols + from + width].iter().copied()).collect();
        self.push(rows, width, out, Op::Slice { x, from })
    }

    /// Row-wise outer product.
    pub fn outer(&mut self, a: Var, b: Var) -> Var {
        let ((rows, p), (_, q)) = (self.shape(a), self.shape(b));
        let mut out = Vec::with_capacity(rows * p * q);
        for r in 0..rows {
            for i in 0..p {
                let s = self.value(a)[r * p + i];
                out.extend(self.value(b)[r * q..(r + 1) * q].iter().map(|v| s * v));
            }
        }
        self.push(rows, p * q, out, Op::Outer { a, b })
    }

    /// Row-wise scalar product, one column.
    pub fn dot(&mut self, a: Var, b: Var) -> Var {
        let (rows, cols) = self.shape(a);
        let out = (0..rows)
            .map(|r| (0..cols).map(|c| self.value(a)[r * cols + c] * self.value(b)[r * cols + c]).sum())
            .collect();
        self.push(rows, 1, out, Op::Dot { a, b })
    }

    /// `G[x][d] = 1/3 sum_c H[c][x] H[c][d]` for x < axis.
    pub fn gram(&mut self, h: Var, axis: usize) -> Var {
        let (rows, cols) = self.shape(h);
        let d = cols / 3;
        let mut out = vec![0.0; rows * axis * d];
        for r in 0..rows {
            let h = &self.value(h)[r * cols..(r + 1) * cols];
            for x in 0..axis {
                for k in 0..d {
                    out[(r * axis + x) * d + k] = (0..3).map(|c| h[c * d + x] * h[c * d + k]).sum::<f64>() / 3.0;
                }
            }
        }
        self.push(rows, axis * d, out, Op::Gram { h, axis })
    }

    /// Row of `a` where the mask is set, else row of `b`.
    pub fn choose(&mut self, mask: &[bool], a: Var, b: Var) -> Var {
        let (rows, cols) = self.shape(a);
        let mut out = self.value(b).to_vec();
        for r in (0..rows).filter(|&r| mask[r]) {
            out[r * cols..(r + 1) * cols].copy_from_slice(&self.value(a)[r * cols..(r + 1) * cols]);
        }
        self.push(rows, cols, out, Op::Choose { mask: mask.to_vec(), a, b })
    }

    /// Adjoints of every matrix for the given adjoint of `seed`. Empty vectors where nothing arrived.
    pub fn backward(&self, seed: Var, adjoint: Vec<f64>) -> Adjoints {
        let mut bars: Vec<Vec<f64>> = vec![Vec::new(); self.nodes.len()];
        assert_eq!(adjoint.len(), self.value(seed).len(), "tape: seed");
        bars[seed.0] = adjoint;
        for index in (0..self.nodes.len()).rev() {
            if bars[index].is_empty() {
                continue;
            }
            // Adjoints of leaves and of everything else stay readable: the intermediates are compared with DeePMD-kit's.
            let bar = std::mem::take(&mut bars[index]);
            self.propagate(index, &bar, &mut bars);
            bars[index] = bar;
        }
        Adjoints { bars }
    }

    fn propagate(&self, index: usize, bar: &[f64], bars: &mut [Vec<f64>]) {
        let node = &self.nodes[index];
        let (rows, cols) = (node.rows, node.cols);
        let into = |bars: &mut [Vec<f64>], x: Var, f: &mut dyn FnMut(&mut [f64])| {
            let size = self.value(x).len();
            if bars[x.0].is_empty() {
                bars[x.0].resize(size, 0.0);
            }
            f(&mut bars[x.0]);
        };
        match &node.op {
            Op::Leaf => {}
            Op::Linear { x, map } => into(bars, *x, &mut |t| {
                for (t, bar) in t.chunks_exact_mut(map.inputs).zip(bar.chunks_exact(cols)) {
                    for (k, t) in t.iter_mut().enumerate() {
                        let w = &map.weight[k * cols..(k + 1) * cols];
                        *t += w.iter().zip(bar).map(|(w, b)| w * b).sum::<f64>();
                    }
                }
            }),
            Op::Map { x, slope } => into(bars, *x, &mut |t| {
                for ((t, b), s) in t.iter_mut().zip(bar).zip(slope) {
                    *t += b * s;
                }
            }),
            Op::Combine { terms } => {
                for &(x, c) in terms {
                    into(bars, x, &mut |t| t.iter_mut().zip(bar).for_each(|(t, b)| *t += c * b));
                }
            }
            Op::Mul { a, b } => {
                for (x, y) in [(*a, *b), (*b, *a)] {
                    let other = self.value(y);
                    into(bars, x, &mut |t| {
                        for ((t, b), o) in t.iter_mut().zip(bar).zip(other) {
                            *t += b * o;
                        }
                    });
                }
            }
            Op::ScaleRows { x, by } => {
                let (xv, sv) = (self.value(*x), self.value(*by));
                into(bars, *x, &mut |t| t.iter_mut().enumerate().for_each(|(i, t)| *t += bar[i] * sv[i / cols]));
                into(bars, *by, &mut |t| {
                    for r in 0..rows {
                        t[r] += (0..cols).map(|c| bar[r * cols + c] * xv[r * cols + c]).sum::<f64>();
                    }
                });
            }
            Op::ScaleColumns { x, by } => {
                into(bars, *x, &mut |t| t.iter_mut().enumerate().for_each(|(i, t)| *t += bar[i] * by[i % cols]));
            }
            Op::Gather { x, rows: from } => into(bars, *x, &mut |t| {
                for (bar, &r) in bar.chunks_exact(cols).zip(from) {
                    let t = &mut t[r as usize * cols..(r as usize + 1) * cols];
                    t.iter_mut().zip(bar).for_each(|(t, b)| *t += b);
                }
            }),
            Op::Segment { x, rows: to } => into(bars, *x, &mut |t| {
                for (t, &r) in t.chunks_exact_mut(cols).zip(to) {
                    let bar = &bar[r as usize * cols..(r as usize + 1) * cols];
                    t.iter_mut().zip(bar).for_each(|(t, b)| *t += b);
                }
            }),
            Op::Concat { parts } => {
                let mut at = 0;
                for &p in parts {
                    let c = self.shape(p).1;
                    into(bars, p, &mut |t| {
                        for r in 0..rows {
                            for k in 0..c {
                                t[r * c + k] += bar[r * cols + at + k];
                            }
                        }
                    });
                    at += c;
                }
            }
            Op::Slice { x, from } => {
                let width = self.shape(*x).1;
                into(bars, *x, &mut |t| {
                    for r in 0..rows {
                        for k in 0..cols {
                            t[r * width + from + k] += bar[r * cols + k];
                        }
                    }
                });
            }
            Op::Outer { a, b } => {
                let (p, q) = (self.shape(*a).1, self.shape(*b).1);
                let (av, bv) = (self.value(*a), self.value(*b));
                into(bars, *a, &mut |t| {
                    for r in 0..rows {
                        for i in 0..p {
                            t[r * p + i] += (0..q).map(|k| bar[r * cols + i * q + k] * bv[r * q + k]).sum::<f64>();
                        }
                    }
                });
                into(bars, *b, &mut |t| {
                    for r in 0..rows {
                        for k in 0..q {
                            t[r * q + k] += (0..p).map(|i| bar[r * cols + i * q + k] * av[r * p + i]).sum::<f64>();
                        }
                    }
                });
            }
            Op::Dot { a, b } => {
                let width = self.shape(*a).1;
                for (x, y) in [(*a, *b), (*b, *a)] {
                    let other = self.value(y);
                    into(bars, x, &mut |t| {
                        t.iter_mut().enumerate().for_each(|(i, t)| *t += bar[i / width] * other[i]);
                    });
                }
            }
            Op::Gram { h, axis } => {
                let width = self.shape(*h).1;
                let d = width / 3;
                let hv = self.value(*h);
                into(bars, *h, &mut |t| {
                    for r in 0..rows {
                        for x in 0..*axis {
                            for k in 0..d {
                                let g = bar[r * cols + x * d + k] / 3.0;
                                for c in 0..3 {
                                    t[r * width + c * d + x] += g * hv[r * width + c * d + k];
                                    t[r * width + c * d + k] += g * hv[r * width + c * d + x];
                                }
                            }
                        }
                    }
                });
            }
            Op::Choose { mask, a, b } => {
                for (x, wanted) in [(*a, true), (*b, false)] {
                    into(bars, x, &mut |t| {
                        for r in (0..rows).filter(|&r| mask[r] == wanted) {
                            for k in 0..cols {
                                t[r * cols + k] += bar[r * cols + k];
                            }
                        }
                    });
                }
            }
        }
    }
}

/// Result of a backward pass.
pub struct Adjoints {
    bars: Vec<Vec<f64>>,
}

impl Adjoints {
    /// Adjoint of a matrix; `None` when the seed does not depend on it.
    pub fn of(&self, x: Var) -> Option<&[f64]> {
        Some(self.bars[x.0].as_slice()).filter(|b| !b.is_empty())
    }
}
