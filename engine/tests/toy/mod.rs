//! Small calculators with known physics, for tests of dynamics and minimisation.
#![allow(dead_code, missing_docs)]

use weir_engine::backend::{Calculator, ComputeError, FrameParameters, Request, Results};
use weir_engine::plan::placement::Plan;
use weir_engine::plan::profile::Profile;

/// The order part of the trait, kept as the real backend keeps it.
#[derive(Default, Clone)]
pub struct Order(pub Vec<u32>);

impl Order {
    /// Sorted by x: depends on the positions, as a space-filling curve does.
    pub fn renew(&mut self, positions: &[[f64; 3]]) {
        self.0 = (0..positions.len() as u32).collect();
        self.0.sort_by(|a, b| positions[*a as usize][0].total_cmp(&positions[*b as usize][0]));
    }
}

/// Independent wells `1/2 k (x - x0)^2`.
#[derive(Clone)]
pub struct Wells {
    pub k: f64,
    pub centres: Vec<[f64; 3]>,
    pub order: Order,
    /// Energy becomes NaN at this call.
    pub fails_at_call: Option<usize>,
    /// The device is lost at that call instead.
    pub lost: bool,
    pub calls: usize,
}

impl Wells {
    pub fn new(k: f64, centres: Vec<[f64; 3]>) -> Self {
        Wells { k, centres, order: Order::default(), fails_at_call: None, lost: false, calls: 0 }
    }
}

impl Calculator for Wells {
    fn compute(
        &mut self,
        positions: &[[f64; 3]],
        _cell: Option<&[[f64; 3]; 3]>,
        _parameters: &FrameParameters,
        _request: Request,
        results: &mut Results,
    ) -> Result<(), ComputeError> {
        self.calls += 1;
        if self.fails_at_call == Some(self.calls) {
            if self.lost {
                return Err(ComputeError::Memory("the device is lost".into()));
            }
            return Err(ComputeError::NotFinite { quantity: "energy", atom: 2, value: f64::NAN });
        }
        results.energy = 0.0;
        results.virial = [[0.0; 3]; 3];
        results.forces = vec![[0.0; 3]; positions.len()];
        for (i, (x, c)) in positions.iter().zip(&self.centres).enumerate() {
            for k in 0..3 {
                let d = x[k] - c[k];
                results.energy += 0.5 * self.k * d * d;
                results.forces[i][k] = -self.k * d;
            }
        }
        Ok(())
    }

    fn prepare(&mut self, _: &[[f64; 3]], _: Option<&[[f64; 3]; 3]>) -> Result<(), ComputeError> {
        Ok(())
    }

    fn plan(&self) -> Option<&Plan> {
        None
    }

    fn profile(&self) -> Option<Profile> {
        None
    }

    fn peak_bytes(&self) -> Vec<(String, u64)> {
        Vec::new()
    }

    fn name(&self) -> &'static str {
        "wells"
    }

    fn reorder(&mut self, positions: &[[f64; 3]], _cell: Option<&[[f64; 3]; 3]>) {
        self.order.renew(positions);
    }

    fn order(&self) -> &[u32] {
        &self.order.0
    }

    fn set_order(&mut self, order: &[u32]) {
        self.order.0 = order.to_vec();
    }
}

/// Lennard-Jones with nearest images in a cubic cell (or none), switched off smoothly at `cutoff`. Sums run in the calculator's order.
#[derive(Clone)]
pub struct LennardJones {
    pub epsilon: f64,
    pub sigma: f64,
    pub cutoff: f64,
    pub order: Order,
}

impl LennardJones {
    pub fn argon() -> Self {
        LennardJones { epsilon: 0.0104, sigma: 3.4, cutoff: 7.0, order: Order::default() }
    }
}

impl Calculator for LennardJones {
    fn compute(
        &mut self,
        positions: &[[f64; 3]],
        cell: Option<&[[f64; 3]; 3]>,
        _parameters: &FrameParameters,
        _request: Request,
        results: &mut Results,
    ) -> Result<(), ComputeError> {
        if self.order.0.len() != positions.len() {
            self.order.renew(positions);
        }
        results.energy = 0.0;
        results.virial = [[0.0; 3]; 3];
        results.forces = vec![[0.0; 3]; positions.len()];
        for (a, &i) in self.order.0.iter().enumerate() {
            for &j in &self.order.0[a + 1..] {
                let (i, j) = (i as usize, j as usize);
                let mut d = [0, 1, 2].map(|k| positions[i][k] - positions[j][k]);
                if let Some(cell) = cell {
                    for k in 0..3 {
                        d[k] -= cell[k][k] * (d[k] / cell[k][k]).round();
                    }
                }
                let r2: f64 = d.iter().map(|x| x * x).sum();
                if r2 >= self.cutoff * self.cutoff {
                    continue;
                }
                let s6 = (self.sigma * self.sigma / r2).powi(3);
                // The factor (1 - r^2/c^2)^4 makes three derivatives vanish at the cutoff.
                let t = 1.0 - r2 / (self.cutoff * self.cutoff);
                let pair = 4.0 * self.epsilon * (s6 * s6 - s6);
                let slope = 4.0 * self.epsilon * (-12.0 * s6 * s6 + 6.0 * s6) / r2;
                results.energy += pair * t.powi(4);
                let f = -(slope * t.powi(4) - pair * 8.0 * t.powi(3) / (self.cutoff * self.cutoff));
                for k in 0..3 {
                    results.forces[i][k] += f * d[k];
                    results.forces[j][k] -= f * d[k];
                    for l in 0..3 {
                        results.virial[k][l] += f * d[k] * d[l];
                    }
                }
            }
        }
        Ok(())
    }

    fn prepare(&mut self, _: &[[f64; 3]], _: Option<&[[f64; 3]; 3]>) -> Result<(), ComputeError> {
        Ok(())
    }

    fn plan(&self) -> Option<&Plan> {
        None
    }

    fn profile(&self) -> Option<Profile> {
        None
    }

    fn peak_bytes(&self) -> Vec<(String, u64)> {
        Vec::new()
    }

    fn name(&self) -> &'static str {
        "lennard-jones"
    }

    fn reorder(&mut self, positions: &[[f64; 3]], _cell: Option<&[[f64; 3]; 3]>) {
        self.order.renew(positions);
    }

    fn order(&self) -> &[u32] {
        &self.order.0
    }

    fn set_order(&mut self, order: &[u32]) {
        self.order.0 = order.to_vec();
    }
}

/// `n^3` argon atoms on a cubic lattice of constant `a`, with its cell.
pub fn lattice(n: usize, a: f64) -> (Vec<[f64; 3]>, [[f64; 3]; 3]) {
    let mut positions = Vec::new();
    for x in 0..n {
        for y in 0..n {
            for z in 0..n {
                positions.push([x as f64 * a, y as f64 * a, z as f64 * a]);
            }
        }
    }
    let l = n as f64 * a;
    (positions, [[l, 0.0, 0.0], [0.0, l, 0.0], [0.0, 0.0, l]])
}
