//! A revised simplex method with a dense inverse, for the master problem: a few hundred rows, columns that arrive as they are priced.
//!
//! minimise `c x`, `A x = b`, `x >= 0`. The caller brings a feasible basis.

/// Reduced costs above minus this do not improve.
const TOLERANCE: f64 = 1e-9;
/// Pivots between fresh inverses.
const REFRESH: usize = 150;

/// A column: cost and entries (row, value).
#[derive(Clone, Debug, Default)]
pub(super) struct Column {
    pub cost: f64,
    pub entries: Vec<(usize, f64)>,
}

/// Columns, basis and its inverse.
pub(super) struct Simplex {
    rows: usize,
    rhs: Vec<f64>,
    columns: Vec<Column>,
    basis: Vec<usize>,
    basic: Vec<bool>,
    inverse: Vec<f64>,
    values: Vec<f64>,
    pivots: usize,
}

impl Simplex {
    /// Starts from a basis (one column per row); `None` if it is singular or infeasible.
    pub fn new(rhs: Vec<f64>, columns: Vec<Column>, basis: Vec<usize>) -> Option<Self> {
        let rows = rhs.len();
        let mut basic = vec![false; columns.len()];
        for &j in &basis {
            basic[j] = true;
        }
        let mut s = Self { rows, rhs, columns, basis, basic, inverse: Vec::new(), values: Vec::new(), pivots: 0 };
        (s.refresh() && s.values.iter().all(|&x| x >= -1e-7)).then_some(s)
    }

    /// Adds a column and returns its number.
    pub fn add(&mut self, column: Column) -> usize {
        self.columns.push(column);
        self.basic.push(false);
        self.columns.len() - 1
    }

    /// Costs may change between solves.
    pub fn set_cost(&mut self, column: usize, cost: f64) {
        self.columns[column].cost = cost;
    }

    /// Inverts the basis anew.
    fn refresh(&mut self) -> bool {
        let n = self.rows;
        let mut work: Vec<Vec<f64>> = vec![vec![0.0; 2 * n]; n];
        for (k, &j) in self.basis.iter().enumerate() {
            for &(row, value) in &self.columns[j].entries {
                work[row][k] += value;
            }
            work[k][n + k] = 1.0;
        }
        for k in 0..n {
            let (pivot, size) =
                (k..n).map(|i| (i, work[i][k].abs())).max_by(|a, b| a.1.total_cmp(&b.1)).unwrap_or((k, 0.0));
            if size < 1e-12 {
                return false;
            }
            work.swap(k, pivot);
            let scale = 1.0 / work[k][k];
            for x in &mut work[k][k..] {
                *x *= scale;
            }
            let row = std::mem::take(&mut work[k]);
            for (i, other) in work.iter_mut().enumerate() {
                let factor = if i == k { 0.0 } else { other[k] };
                if factor != 0.0 {
                    for (x, y) in other[k..].iter_mut().zip(&row[k..]) {
                        *x -= factor * y;
                    }
                }
            }
            work[k] = row;
        }
        self.inverse = work.iter().flat_map(|row| row[n..].iter().copied()).collect();
        self.values =
            self.inverse.chunks_exact(n).map(|row| row.iter().zip(&self.rhs).map(|(a, b)| a * b).sum()).collect();
        self.pivots = 0;
        true
    }

    /// Duals of all rows.
    pub fn duals(&self) -> Vec<f64> {
        let mut y = vec![0.0; self.rows];
        for (&j, row) in self.basis.iter().zip(self.inverse.chunks_exact(self.rows)) {
            let cost = self.columns[j].cost;
            if cost != 0.0 {
                for (y, x) in y.iter_mut().zip(row) {
                    *y += cost * x;
                }
            }
        }
        y
    }

    /// Objective.
    pub fn objective(&self) -> f64 {
        self.basis.iter().zip(&self.values).map(|(&j, x)| self.columns[j].cost * x).sum()
    }

    /// Values of the basic columns.
    pub fn solution(&self) -> impl Iterator<Item = (usize, f64)> + '_ {
        self.basis.iter().copied().zip(self.values.iter().copied())
    }

    /// Pivots until no present column improves, at most `limit` times. Returns the pivots made.
    pub fn run(&mut self, limit: usize) -> usize {
        for done in 0..limit {
            let y = self.duals();
            let reduced = |c: &Column| c.cost - c.entries.iter().map(|&(r, v)| y[r] * v).sum::<f64>();
            let best = (0..self.columns.len())
                .filter(|&j| !self.basic[j])
                .map(|j| (reduced(&self.columns[j]), j))
                .min_by(|a, b| a.0.total_cmp(&b.0));
            match best {
                Some((cost, j)) if cost < -TOLERANCE => {
                    if !self.enter(j) {
                        return done;
                    }
                }
                _ => return done,
            }
        }
        limit
    }

    fn enter(&mut self, j: usize) -> bool {
        let n = self.rows;
        let direction: Vec<f64> = self
            .inverse
            .chunks_exact(n)
            .map(|row| self.columns[j].entries.iter().map(|&(r, v)| row[r] * v).sum())
            .collect();
        // The largest pivot among the rows that are (nearly) first.
        let mut limit = f64::INFINITY;
        for (&d, &x) in direction.iter().zip(&self.values) {
            if d > 1e-9 {
                limit = limit.min((x.max(0.0) + 1e-11) / d);
            }
        }
        let leaving = direction
            .iter()
            .zip(&self.values)
            .enumerate()
            .filter(|(_, (&d, &x))| d > 1e-9 && x.max(0.0) / d <= limit)
            .max_by(|a, b| a.1 .0.total_cmp(b.1 .0))
            .map(|(i, _)| i);
        let Some(r) = leaving else { return false };
        let step = self.values[r].max(0.0) / direction[r];
        let scale = 1.0 / direction[r];
        let row: Vec<f64> = self.inverse[r * n..(r + 1) * n].iter().map(|x| x * scale).collect();
        for (i, &d) in direction.iter().enumerate() {
            if i != r && d != 0.0 {
                self.values[i] -= step * d;
                for (x, y) in self.inverse[i * n..(i + 1) * n].iter_mut().zip(&row) {
                    *x -= d * y;
                }
            }
        }
        self.inverse[r * n..(r + 1) * n].copy_from_slice(&row);
        self.values[r] = step;
        self.basic[self.basis[r]] = false;
        self.basic[j] = true;
        self.basis[r] = j;
        self.pivots += 1;
        self.pivots < REFRESH || self.refresh()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_program_is_solved_with_its_duals() {
        // max 3 x + 5 y, x <= 4, 2 y <= 12, 3 x + 2 y <= 18: 36 at (2, 6), duals 0, 3/2, 1.
        let mut columns = vec![
            Column { cost: -3.0, entries: vec![(0, 1.0), (2, 3.0)] },
            Column { cost: -5.0, entries: vec![(1, 2.0), (2, 2.0)] },
        ];
        columns.extend((0..3).map(|r| Column { cost: 0.0, entries: vec![(r, 1.0)] }));
        let mut s = Simplex::new(vec![4.0, 12.0, 18.0], columns, vec![2, 3, 4]).unwrap();
        s.run(100);
        assert!((s.objective() + 36.0).abs() < 1e-9);
        let duals = s.duals();
        assert!((duals[0]).abs() < 1e-9 && (duals[1] + 1.5).abs() < 1e-9 && (duals[2] + 1.0).abs() < 1e-9);
        let mut x = s.solution().filter(|v| v.0 < 2).collect::<Vec<_>>();
        x.sort_by_key(|v| v.0);
        assert!((x[0].1 - 2.0).abs() < 1e-9 && (x[1].1 - 6.0).abs() < 1e-9);
    }
}
