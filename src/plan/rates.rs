//! Seconds of operations on a machine, from its figures.
//!
//! An operation takes the longest of three times: its products at the machine's rate, its bytes at the bandwidth of the first tier, its
//! activations at the rate of the special functions. The three are different units of a processor that work at the same time, and the
//! published floors (docs/plan.md) are the largest of the three too; what does not overlap in practice is what the efficiency stands for.
//! Which of the three is the longest is decided for each operation of each layer at the mean counts of the structure, because the planner
//! wants seconds by atom, edge and angle.

use super::machine::{Kind, Machine};
use super::outline::Outline;
use crate::problem::Usage;
use weir_allocators::policy::Precision;
use weir_backends::cpu::{Census, Cost};
use weir_backends::gpu::LAUNCHES;
use weir_engine::plan::placement::{Rates, Work};
use weir_kernels::Products;

/// How a machine computes.
#[derive(Clone, Debug, PartialEq)]
pub struct Speed {
    /// FLOP/s that kernels are taken to reach.
    pub flop: f64,
    /// Bytes/s of the first tier.
    pub bytes: f64,
    /// Activations/s; infinite where the first rate contains them.
    pub activations: f64,
    /// Seconds of a launch.
    pub launch: f64,
    /// For people.
    pub text: String,
}

impl Speed {
    /// Of a machine in a precision. `number` are the bytes of a number.
    ///
    /// `model` of an f32 model is what a run on that chip would choose. Without a figure for those products the next slower one is taken.
    ///
    /// # Errors
    /// [`Usage`] where the machine file has no rate for a precision, or its chip no kernels.
    pub fn of(machine: &Machine, precision: Precision, number: u64) -> Result<Self, Usage> {
        let c = &machine.compute;
        let units = precision == Precision::Model && number == 4 && c.products().by_tensor_cores();
        let precision = match (&c.f16x3_tflops, &c.tf32x3_tflops) {
            (Some(_), _) if units && c.products() == Products::F16x3 => Precision::F16x3,
            (_, Some(_)) if units => Precision::Tf32x3,
            _ => precision,
        };
        let three_passes = |products: Products| {
            let refused =
                |why: String| Usage(format!("precision {products}: {why}: choose model, f32 or another machine"));
            if let Some(chip) = c.chip.as_ref().filter(|chip| !products.on(chip)) {
                return Err(refused(format!("{chip}, the chip of {}, has no units for it", machine.name)));
            }
            let none = || refused(format!("the file of {} has no {products}_tflops", machine.name));
            c.three_passes(products).ok_or_else(none)
        };
        let (peak, factor, name) = match precision {
            Precision::Tf32x3 => (three_passes(Products::Tf32x3)?, 1.0, "three passes of TF32"),
            Precision::F16x3 => (three_passes(Products::F16x3)?, 1.0, "three passes of f16"),
            Precision::Tf32 | Precision::Bf16 => {
                return Err(Usage(format!(
                    "precision {precision}: no figures are known for it: choose model, f64, f32, tf32x3 or f16x3"
                )))
            }
            _ if number == 8 => (&c.f32_tflops, 0.5, "f64 at half the f32 rate (assumption)"),
            _ if units => (&c.f32_tflops, 1.0, "plain f32 (the machine file has no f16x3_tflops or tf32x3_tflops)"),
            _ => (&c.f32_tflops, 1.0, "plain f32"),
        };
        let flop = peak.rate() * factor;
        let bytes = machine.tier[0].bandwidth_gbs.as_ref().map_or(f64::INFINITY, |f| f.value * 1e9);
        let half = if number == 8 { 0.5 } else { 1.0 };
        let activations = c.activations_per_s.as_ref().map_or(f64::INFINITY, |f| f.value * half);
        let launch = match machine.kind {
            Kind::Gpu => c.launch_us.as_ref().map_or(0.0, |f| f.value * 1e-6),
            Kind::Cpu => 0.0,
        };
        let mut text = format!(
            "{name}: {} TFLOP/s x efficiency {}; {} GB/s",
            (peak.value * factor * 100.0).round() / 100.0,
            peak.efficiency,
            (bytes / 1e9).round()
        );
        if activations.is_finite() {
            text += &format!("; {:.2e} activations/s", activations);
        }
        if launch > 0.0 {
            text += &format!("; {} us a launch", launch * 1e6);
        }
        Ok(Speed { flop, bytes, activations, launch, text })
    }

    /// Rates of all operations for configurations like `census`, states stored in `stored` bytes a number.
    pub fn rates(&self, outline: &Outline, census: &Census, stored: u64) -> Rates {
        let all = census.total();
        let per = |n: u64| n as f64 / all.atoms.max(1) as f64;
        let mean = [1.0, per(all.edges), per(census.angle_edges), per(all.angles)];
        let share = census.angle_edges as f64 / all.edges.max(1) as f64;
        let (number, a) = (outline.number() as f64, outline.arithmetic());
        let work = |cost: &Cost, launches: f64| {
            let moved: [f64; 4] =
                std::array::from_fn(|k| cost.stored[k] * stored as f64 + cost.adjoints[k] * number + cost.bytes[k]);
            let sum = |c: &[f64; 4], rate: f64| c.iter().zip(mean).map(|(c, n)| c * n).sum::<f64>() / rate;
            let walls = [(&cost.flop, self.flop), (&moved, self.bytes), (&cost.activations, self.activations)];
            let (c, rate) =
                walls.into_iter().max_by(|a, b| sum(a.0, a.1).total_cmp(&sum(b.0, b.1))).expect("there are three");
            // Edges that carry angles are a share of all edges.
            let edge = (c[1] + c[2] * share) / rate;
            Work { node: c[0] / rate, edge, angle: c[3] / rate, tile: launches * self.launch }
        };
        let layers = |costs: &[Cost], launches: f64| costs.iter().map(|c| work(c, launches)).collect::<Vec<_>>();
        let project = layers(&a.project, 0.0).iter().map(|w| w.node).sum::<f64>() / a.project.len().max(1) as f64;
        Rates {
            forward: layers(&a.forward, LAUNCHES[0]),
            rebuild: layers(&a.rebuild, LAUNCHES[1]),
            rebuild_angles: layers(&a.rebuild_angles, LAUNCHES[2]),
            backward: layers(&a.backward, LAUNCHES[3]),
            project,
            inside: Vec::new(),
        }
    }
}
