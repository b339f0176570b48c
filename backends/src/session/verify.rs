//! Whether a device computes what the CPU computes: shown once for every image of kernels, device and driver, on a few atoms.

use super::{Session, SessionError};
use crate::cpu::{create_cpu, CpuOptions, PrecisionChoice, Store};
use crate::gpu::{self, GpuOptions};
use crate::session::Device;
use weir_allocators::kept;
use weir_allocators::policy::{Precision, Verify};
use weir_engine::backend::{Calculator, ComputeError, FrameParameters, Request, Results};
use weir_engine::model::Model;
use weir_kernels::{Chip, Products};

/// Atoms looked at, the next fewer where a model refuses so many neighbours. The first number makes centres that two blocks share.
const ATOMS: [usize; 4] = [48, 24, 12, 6];
/// A of the lattice that the atoms are shifted from, and shifts at most.
const LATTICE: [f64; 2] = [1.8, 0.25];
/// Of the largest force: what double precision may differ by. The sums of the two backends have other orders.
const DOUBLE: f64 = 1e-9;
/// Times the error of the CPU's own single precision (of the largest force: [`LEAST`] at least), for multiply-adds and three passes of TF32.
const SINGLE: f64 = 20.0;
/// See [`SINGLE`].
const LEAST: f64 = 1e-5;
/// Of the largest force, for one pass of TF32 and for states stored in fewer bits, where a last bit makes a large step.
const COARSE: f64 = 0.05;

/// Atoms close together that have every kernel's every loop busy: types, and positions in A. Always the same.
fn cluster(model: &Model, atoms: usize) -> (Vec<i32>, Vec<[f64; 3]>) {
    let types = model.types();
    // All elements in turn, or as many as there are atoms.
    let of = |k: usize| if types > atoms { k * types / atoms } else { k % types };
    let place = |k: usize| {
        let site = [k % 4, k / 4 % 4, k / 16];
        // Multiples of an irrational number fill an interval evenly.
        let shift = |axis: usize| ((3 * k + axis + 1) as f64 * 0.618_033_988_749_895).fract() * 2.0 - 1.0;
        std::array::from_fn(|axis| site[axis] as f64 * LATTICE[0] + shift(axis) * LATTICE[1])
    };
    ((0..atoms).map(|k| of(k) as i32).collect(), (0..atoms).map(place).collect())
}

/// Zeros for every input beside positions that a model wants and has no default for.
fn parameters(model: &Model, atoms: usize) -> FrameParameters {
    let zeros = |n: usize| (n > 0).then(|| vec![0.0; n]);
    let fitting = &model.fitting;
    FrameParameters {
        fparam: zeros(fitting.numb_fparam).filter(|_| fitting.default_fparam.is_none()),
        aparam: zeros(fitting.numb_aparam * atoms),
        charge_spin: None,
    }
}

fn forces(calculator: &mut dyn Calculator, x: &[[f64; 3]], p: &FrameParameters) -> Result<Results, ComputeError> {
    let mut results = Results::default();
    calculator.compute(x, None, p, Request::default(), &mut results)?;
    Ok(results)
}

/// Largest difference of forces, eV/A; of energies too, an atom's and an angstrom's.
fn differ(a: &Results, b: &Results) -> f64 {
    let forces = a.forces.iter().flatten().zip(b.forces.iter().flatten());
    let energy = (a.energy - b.energy).abs() / a.forces.len().max(1) as f64;
    let largest = forces.map(|(a, b)| (a - b).abs()).fold(energy, f64::max);
    // A comparison with what is not a number is false, and `max` passes over it.
    if b.forces.iter().flatten().all(|f| f.is_finite()) && energy.is_finite() {
        largest
    } else {
        f64::INFINITY
    }
}

/// What a comparison gave.
struct Verdict {
    atoms: usize,
    difference: f64,
    allowed: f64,
}

impl Session {
    /// As [`Session::gpu_options`], once the device has shown that it computes with them what the CPU computes. Products that `model` left
    /// open and that come out wrong are made by multiply-adds instead, which is said.
    ///
    /// # Errors
    /// The same, and [`SessionError::Wrong`].
    pub fn verified_options(&self, device: &Device) -> Result<(GpuOptions, Vec<String>), SessionError> {
        let mut told = Vec::new();
        loop {
            let (options, remarks) = self.gpu_options(device)?;
            told.extend(remarks);
            let Some(verdict) = self.wrong(device, &options, &mut told)? else { return Ok((options, told)) };
            let Verdict { atoms, difference, allowed } = verdict;
            let open = self.policy.precision.value == Precision::Model && options.products != Products::Plain;
            if !open {
                let (device, precision) = (device.title(), self.precision());
                return Err(SessionError::Wrong { device, precision, atoms, difference, allowed });
            }
            told.push(format!(
                "products by matrix units of {} differ from the CPU's by {difference:.1e} eV/A, where {allowed:.1e} would be allowed: multiply-adds of f32 are used instead. Please report this with driver and chip",
                device.title()
            ));
            self.plain.set(true);
        }
    }

    /// The verdict on a device that computes wrong; none where it computes right, did so before, or need not show it.
    fn wrong(
        &self,
        device: &Device,
        options: &GpuOptions,
        told: &mut Vec<String>,
    ) -> Result<Option<Verdict>, SessionError> {
        let emulated = device.facts().chip == Chip::Host;
        let rule = self.policy.verify.value;
        if self.verified.get() || rule == Verify::Never || (rule == Verify::Auto && emulated) {
            return Ok(None);
        }
        let digest = gpu::image_digest(device.driver().as_ref(), &self.model, options).map_err(|e| device.failed(e))?;
        let key = format!("{}; {digest}", device.title());
        let folder = self.policy.cache_dir.as_ref().map(|s| &s.value);
        let known =
            folder.filter(|_| rule == Verify::Auto).and_then(|f| kept::load(f, "verified", &key, |_: &f64| true).0);
        if known.is_none() {
            let verdict = match self.compared(device, options)? {
                Some(verdict) => verdict,
                None => {
                    told.push("no check of the device: the model refuses the atoms of it".into());
                    self.verified.set(true);
                    return Ok(None);
                }
            };
            if verdict.difference > verdict.allowed {
                return Ok(Some(verdict));
            }
            // Where nothing can be kept the next start checks again.
            if let Some(folder) = folder {
                kept::store(folder, "verified", &key, &verdict.difference).ok();
            }
        }
        self.verified.set(true);
        Ok(None)
    }

    /// Forces of the device beside those of the CPU; none where the CPU refuses them.
    fn compared(&self, device: &Device, options: &GpuOptions) -> Result<Option<Verdict>, SessionError> {
        let model = &self.model;
        let double = model.descriptor.options.sequential_update || !options.precision.is_single(model);
        let on_cpu = |precision, types: &[i32], x: &[[f64; 3]], p: &FrameParameters| {
            let threads = self.policy.threads.value;
            let options = CpuOptions { precision, threads, store: options.store, ..CpuOptions::default() };
            let mut calculator = create_cpu(model.clone(), types, &options)?;
            Ok::<_, SessionError>(forces(&mut calculator, x, p))
        };
        for atoms in ATOMS {
            let ((types, x), p) = (cluster(model, atoms), parameters(model, atoms));
            let Ok(expected) = on_cpu(PrecisionChoice::F64, &types, &x, &p)? else { continue };
            let largest = expected.forces.iter().flatten().fold(0.0f64, |m, f| m.max(f.abs()));
            let number = if double { 8 } else { 4 };
            let rounded = options.store.of(number) != Store::Exact;
            let allowed = match options.products {
                _ if rounded => COARSE * largest,
                _ if double => DOUBLE * largest,
                Products::Tf32 => COARSE * largest,
                _ => {
                    let single = on_cpu(PrecisionChoice::F32, &types, &x, &p)?;
                    let error = single.map_or(0.0, |single| differ(&expected, &single));
                    SINGLE * error.max(LEAST / SINGLE * largest)
                }
            };
            // What leaves the device is not what is looked at.
            let options = GpuOptions { tiers: options.tiers[..1].to_vec(), profile: None, ..options.clone() };
            let mut calculator = self.gpu_calculator(device, &types, &options)?;
            let difference = match forces(&mut calculator, &x, &p) {
                Ok(got) => differ(&expected, &got),
                // Wrong sums may well be no numbers.
                Err(ComputeError::NotFinite { .. }) => f64::INFINITY,
                Err(error) => return Err(error.into()),
            };
            return Ok(Some(Verdict { atoms, difference, allowed }));
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_engine::model::new_model;

    #[test]
    fn atoms_of_the_check_keep_apart_and_some_centres_have_two_blocks() {
        let model = new_model("dpa-3.1-3m", 1).unwrap();
        let (types, x) = cluster(&model, ATOMS[0]);
        assert!(types.iter().all(|&t| (t as usize) < model.types()) && types.windows(2).any(|t| t[0] != t[1]));
        let away = |a: &[f64; 3], b: &[f64; 3]| (0..3).map(|k| (a[k] - b[k]).powi(2)).sum::<f64>().sqrt();
        let cutoff = model.descriptor.options.a_rcut;
        let near: Vec<usize> = x.iter().map(|a| x.iter().filter(|b| away(a, b) < cutoff).count() - 1).collect();
        // From 28 angle edges on a centre has two blocks (SHARED_FROM of the kernels' text).
        assert!(near.iter().any(|&m| m >= 28) && near.iter().any(|&m| m < 28), "{near:?}");
        let pairs = (0..x.len()).flat_map(|i| (0..i).map(move |j| (i, j)));
        let closest = pairs.map(|(i, j)| away(&x[i], &x[j])).fold(f64::INFINITY, f64::min);
        assert!(closest > 1.2, "{closest}");
    }
}
