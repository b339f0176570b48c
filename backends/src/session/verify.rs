//! Whether a device computes what the CPU computes: shown once for every image of kernels, kind of device and driver, on a few atoms.

use super::{Device, Session, SessionError};
use crate::cpu::{create_cpu, CpuOptions, InstructionSet, PrecisionChoice, Store};
use crate::gpu::{self, Arithmetic, GpuOptions};
use std::fmt;
use weir_allocators::kept;
use weir_allocators::policy::{Backend, Precision, Verify};
use weir_engine::backend::{Calculator, ComputeError, FrameParameters, Request, Results};
use weir_engine::model::Model;
use weir_engine::plan::placement::{Checkpoint, Inside};
use weir_kernels::Products;

/// Version of the comparison, part of what verdicts are kept by: the next number where other atoms are looked at, or looked at otherwise, where other
/// differences are allowed, and where the host gives the same kernels other numbers. Then every device has to show anew what it computes.
const COMPARISON: u32 = 2;
/// Atoms looked at, the next fewer where so many do not fit. The first number makes centres that two blocks share.
const ATOMS: [usize; 4] = [48, 24, 12, 6];
/// A of the lattice that the atoms are shifted from, and shifts at most.
const LATTICE: [f64; 2] = [1.8, 0.25];
/// A; so near that edges cross the faces.
const CELL: [[f64; 3]; 3] = [[9.0, 0.0, 0.0], [1.0, 9.0, 0.0], [-0.8, 0.7, 7.5]];
/// Times lattice and cell: the next wider where the first is beyond the range of products of halves.
const SPREAD: [f64; 2] = [1.0, 1.3];
/// Steps: the first is queued, the second recorded, the third is the recording.
const STEPS: usize = 3;
/// Of the largest force: what double precision may differ by. The sums of the two backends have other orders.
const DOUBLE: f64 = 1e-9;
/// Times the error of the CPU's own single precision (of the largest force: [`LEAST`] at least), for multiply-adds and three passes of TF32 or f16.
const SINGLE: f64 = 20.0;
/// See [`SINGLE`].
const LEAST: f64 = 1e-5;
/// Of the largest force, for one pass of TF32 and for states stored in fewer bits, where a last bit makes a large step.
const COARSE: f64 = 0.05;
/// Of the energy, for the order of sums.
const ENERGY: f64 = 1e-12;
/// Largest force below which nothing can be told, eV/A.
const NO_FORCE: f64 = 1e-6;

/// Atoms close together that have every kernel's every loop busy: types, and positions in A. Always the same.
fn cluster(model: &Model, atoms: usize, spread: f64) -> (Vec<i32>, Vec<[f64; 3]>) {
    let types = model.types();
    // All elements in turn, or as many as there are atoms.
    let of = |k: usize| if types > atoms { k * types / atoms } else { k % types };
    let place = |k: usize| {
        let site = [k % 4, k / 4 % 4, k / 16];
        // Multiples of an irrational number fill an interval evenly.
        let shift = |axis: usize| ((3 * k + axis + 1) as f64 * 0.618_033_988_749_895).fract() * 2.0 - 1.0;
        std::array::from_fn(|axis| spread * (site[axis] as f64 * LATTICE[0] + shift(axis) * LATTICE[1]))
    };
    ((0..atoms).map(|k| of(k) as i32).collect(), (0..atoms).map(place).collect())
}

/// Zeros for every input beside positions that a model wants and has no default for.
fn parameters(model: &Model, atoms: usize) -> FrameParameters {
    let zeros = |n: usize| (n > 0).then(|| vec![0.0; n]);
    let (fitting, descriptor) = (&model.fitting, &model.descriptor);
    let charged = descriptor.charge_spin.is_some() && descriptor.options.default_chg_spin.is_none();
    FrameParameters {
        fparam: zeros(fitting.numb_fparam).filter(|_| fitting.default_fparam.is_none()),
        aparam: zeros(fitting.numb_aparam * atoms),
        charge_spin: charged.then_some([0.0; 2]),
    }
}

/// Results of the atoms.
fn step(
    calculator: &mut dyn Calculator,
    x: &[[f64; 3]],
    spread: f64,
    p: &FrameParameters,
) -> Result<Results, ComputeError> {
    let (mut results, cell) = (Results::default(), CELL.map(|row| row.map(|x| spread * x)));
    calculator.compute(x, Some(&cell), p, Request::default(), &mut results)?;
    Ok(results)
}

/// Largest difference: of forces (eV/A), of energy and virial (eV) for an atom and an angstrom.
fn differ(a: &Results, b: &Results) -> f64 {
    let each = a.forces.len().max(1) as f64;
    let energy = ((a.energy - b.energy).abs() - ENERGY * a.energy.abs()) / each;
    let virial = a.virial.iter().flatten().zip(b.virial.iter().flatten()).map(|(a, b)| (a - b).abs() / each);
    let forces = a.forces.iter().flatten().zip(b.forces.iter().flatten()).map(|(a, b)| (a - b).abs());
    // A comparison with what is not a number is false, and `max` would pass over it.
    forces.chain(virial).chain([energy]).fold(0.0, |m: f64, d| if d.is_finite() { m.max(d) } else { f64::INFINITY })
}

/// What a comparison gave: eV/A, see [`differ`].
struct Verdict {
    /// That of the kernels which computed it: what was asked for, or what computes steps beyond its range.
    precision: &'static str,
    atoms: usize,
    difference: f64,
    allowed: f64,
}

/// Atoms close together: how many, and times [`LATTICE`].
#[derive(Clone, Copy)]
struct Try {
    atoms: usize,
    spread: f64,
}

impl fmt::Display for Try {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} atoms {:.1} A apart", self.atoms, self.spread * LATTICE[0])
    }
}

/// What one comparison gave.
enum Shown {
    Differs(Verdict),
    /// No finite numbers where the arithmetic of the wider range has some. Whether the model's numbers are beyond the range or the products come out
    /// wrong cannot be told.
    NoNumbers,
    /// Nothing, and why.
    Nothing(String),
}

/// What all comparisons of an arithmetic gave.
enum Compared {
    /// The first that it has numbers for, and the largest that it had none for.
    On(Try, Verdict, Option<Try>),
    /// [`Shown::NoNumbers`] for every number of atoms; the largest that was tried.
    NoNumbers(Try),
    /// Nothing, and why.
    Nothing(String),
}

/// What is known of a device and an arithmetic.
enum Known {
    /// It computes right, or need not show it.
    Right,
    Wrong(Verdict),
    /// Each step is computed twice, for the first time gives no finite numbers, whatever is to blame. What computes them the second time is right.
    NoNumbers,
}

impl Session {
    /// As [`Session::gpu_options`], once the device has shown that it computes with them what the CPU computes. Products that `model` left
    /// open and that come out wrong are made by multiply-adds instead, and those that give no finite numbers by what has f32's range, which is said.
    ///
    /// # Errors
    /// The same, and [`SessionError::Wrong`].
    pub fn verified_options(&self, device: &Device) -> Result<(GpuOptions, Vec<String>), SessionError> {
        let (options, mut told) = self.gpu_options(device)?;
        let open = self.policy.precision.value == Precision::Model;
        let wrong = |v: Verdict| {
            let (device, Verdict { precision, atoms, difference, allowed }) = (device.title(), v);
            SessionError::Wrong { device, precision, atoms, difference, allowed }
        };
        let units = match self.known(device, &options, &mut told)? {
            Known::Right => return Ok((options, told)),
            Known::NoNumbers => {
                let (narrow, wide) = (options.products, options.products.wider().unwrap_or_default());
                let known = format!(
                    "{narrow} gave no finite numbers in any comparison with the CPU, where {wide} did: this model's numbers are beyond its range, or products of halves come out wrong on {} (if this is said of other models too, please report it with driver and chip)",
                    device.title()
                );
                let Some(wider) = self.arithmetic().and_then(Arithmetic::wider).filter(|_| open) else {
                    told.push(format!(
                        "{known}; steps are computed twice: WEIR_PRECISION={wide} or model computes them once"
                    ));
                    return Ok((options, told));
                };
                self.instead.set(Some(wider));
                let (options, remarks) = self.gpu_options(device)?;
                told.extend(remarks);
                told.push(format!("{known}; products of {wide} are used instead"));
                return Ok((options, told));
            }
            Known::Wrong(units) => units,
        };
        if !open || options.products == Products::Plain {
            return Err(wrong(units));
        }
        self.instead.set(Arithmetic::of(Precision::Model));
        let (options, remarks) = self.gpu_options(device)?;
        told.extend(remarks);
        // Without kernels of multiply-adds, or with wrong ones, the units' own difference is what must be known.
        match self.known(device, &options, &mut told) {
            Ok(Known::Right) => {}
            Ok(Known::Wrong(_) | Known::NoNumbers) | Err(_) => return Err(wrong(units)),
        }
        told.push(format!(
            "products by matrix units of {} ({}) differ from the CPU's by {:.1e} eV/A, where {:.1e} would be allowed: multiply-adds of f32 are used instead. Please report this with driver and chip",
            device.title(),
            units.precision,
            units.difference,
            units.allowed
        ));
        Ok((options, told))
    }

    /// What is known of a device that has to show what it computes; right where it did so before in this session.
    fn known(&self, device: &Device, options: &GpuOptions, told: &mut Vec<String>) -> Result<Known, SessionError> {
        let (rule, emulated) = (self.policy.verify.value, self.policy.backend.value == Backend::Emulated);
        if self.verified.get() || rule == Verify::Never || (rule == Verify::Auto && emulated) {
            return Ok(Known::Right);
        }
        // What computes steps beyond the range of the first is looked at too, before it is needed.
        let mut known = Known::Right;
        for options in [options.wider(), Some(options.clone())].into_iter().flatten() {
            known = self.known_of(device, &options, rule == Verify::Always, told)?;
            if matches!(known, Known::Wrong(_)) {
                return Ok(known);
            }
        }
        self.verified.set(true);
        Ok(known)
    }

    /// The same of one arithmetic; `anew`: whatever is kept of earlier starts.
    fn known_of(
        &self,
        device: &Device,
        options: &GpuOptions,
        anew: bool,
        told: &mut Vec<String>,
    ) -> Result<Known, SessionError> {
        let digest = gpu::image_digest(device.driver().as_ref(), &self.model, options).map_err(|e| device.failed(e))?;
        // What adjoints are multiplied by is the host's choice: no image has it.
        let (unit, source) = (gpu::adjoint_unit(&self.model, options.products), &self.model.source);
        let mut key = format!("{}; {digest}; adjoints times {unit:e}; comparison {COMPARISON}", device.title());
        let mut folder = self.policy.cache_dir.as_ref().map(|s| &s.value);
        if options.wider().is_some() {
            // Whether numbers are within the range of halves is the model's affair, not that of the kernels alone: what computes it must not
            // depend on which model came first.
            key += &format!("; {} {}", source.sha256, source.head.as_deref().unwrap_or(""));
            folder = folder.filter(|_| !source.sha256.is_empty());
        }
        if let (Some(folder), false) = (folder, anew) {
            let (verified, message) = kept::load(folder, "verified", &key, |difference: &f64| *difference >= 0.0);
            told.extend(message);
            if verified.is_some() {
                return Ok(Known::Right);
            }
            let (without, message) = kept::load(folder, "no-numbers", &key, |atoms: &usize| *atoms > 0);
            told.extend(message);
            if without.is_some() {
                return Ok(Known::NoNumbers);
            }
        }
        // Where nothing can be kept the next start looks again.
        match self.compared(device, options)? {
            Compared::On(_, verdict, _) if verdict.difference > verdict.allowed => return Ok(Known::Wrong(verdict)),
            Compared::On(on, verdict, beyond) => {
                if let Some(beyond) = beyond {
                    let wide = options.products.wider().unwrap_or_default();
                    told.push(format!("{beyond} left f16's range, {on} did not: steps whose numbers do are computed twice, in {} and then in {wide}, whose range is that of f32; WEIR_PRECISION={wide} computes them once", options.products));
                }
                folder.map(|folder| kept::store(folder, "verified", &key, &verdict.difference).ok());
            }
            Compared::NoNumbers(largest) => {
                folder.map(|folder| kept::store(folder, "no-numbers", &key, &largest.atoms).ok());
                return Ok(Known::NoNumbers);
            }
            Compared::Nothing(why) => told.push(format!("{} was not compared with the CPU: {why}", device.title())),
        }
        Ok(Known::Right)
    }

    /// Results of the device beside those of the CPU, or why there are none to compare.
    fn compared(&self, device: &Device, options: &GpuOptions) -> Result<Compared, SessionError> {
        let (mut why, mut without) = (String::new(), None);
        for on in ATOMS.into_iter().flat_map(|atoms| SPREAD.map(|spread| Try { atoms, spread })) {
            match self.compared_on(device, options, on) {
                Ok(Shown::Differs(verdict)) => return Ok(Compared::On(on, verdict, without)),
                Ok(Shown::Nothing(why)) => return Ok(Compared::Nothing(why)),
                Ok(Shown::NoNumbers) => without = without.or(Some(on)),
                // The run may need less than so many atoms close together; what it lacks itself it will be told.
                Err(SessionError::Check(error @ ComputeError::Memory(_))) => why = error.to_string(),
                Err(error) => return Err(error),
            }
        }
        Ok(without.map_or(Compared::Nothing(why), Compared::NoNumbers))
    }

    /// The same for so many atoms.
    fn compared_on(
        &self,
        device: &Device,
        options: &GpuOptions,
        Try { atoms, spread }: Try,
    ) -> Result<Shown, SessionError> {
        let model = &self.model;
        let ((types, x), p) = (cluster(model, atoms, spread), parameters(model, atoms));
        let on_cpu = |precision| {
            let threads = self.policy.threads.value;
            let simd = InstructionSet::asked(self.policy.simd.value);
            let options = CpuOptions { precision, threads, simd, store: options.store, ..CpuOptions::default() };
            let mut calculator = create_cpu(model.clone(), &types, &options)?;
            Ok::<_, SessionError>(step(&mut calculator, &x, spread, &p))
        };
        let expected = match on_cpu(PrecisionChoice::F64)? {
            Ok(expected) => expected,
            Err(error) => return Ok(Shown::Nothing(format!("the CPU refuses the atoms: {error}"))),
        };
        let largest = expected.forces.iter().flatten().fold(0.0f64, |m, f| m.max(f.abs()));
        if largest < NO_FORCE {
            return Ok(Shown::Nothing(format!("{atoms} atoms close together have no forces in this model")));
        }
        let double = model.descriptor.options.sequential_update || !options.precision.is_single(model);
        let rounded = options.store.of(if double { 8 } else { 4 }) != Store::Exact;
        let allowed = match options.products {
            _ if rounded => COARSE * largest,
            _ if double => DOUBLE * largest,
            Products::Tf32 => COARSE * largest,
            Products::Plain | Products::Tf32x3 | Products::Mfma | Products::F16x3 => {
                let error = on_cpu(PrecisionChoice::F32)?.map_or(0.0, |single| differ(&expected, &single));
                (SINGLE * error).max(LEAST * largest)
            }
        };
        // Which states leave the device is not what is looked at.
        let (tiers, checkpoint, inside) = (options.tiers[..1].to_vec(), Checkpoint::Auto, Inside::Auto);
        let options = GpuOptions { tiers, checkpoint, inside, profile: None, ..options.clone() };
        let mut calculator = self.gpu_calculator(device, &types, &options)?;
        let asked = Arithmetic { precision: options.precision, products: options.products };
        let mut difference = 0.0f64;
        for _ in 0..STEPS {
            difference = difference.max(match step(&mut calculator, &x, spread, &p) {
                Ok(got) => differ(&expected, &got),
                // Wrong sums may well be no numbers, or none that a form of storage holds.
                Err(ComputeError::NotFinite { .. } | ComputeError::Stored { .. }) => f64::INFINITY,
                Err(error) => return Err(error.into()),
            });
            // The other arithmetic's numbers, whose size is looked at apart: without any it is the one that is wrong.
            if calculator.widened_steps() > 0 {
                if difference.is_finite() {
                    return Ok(Shown::NoNumbers);
                }
                let precision = self.name_of(asked.wider().unwrap_or(asked));
                return Ok(Shown::Differs(Verdict { precision, atoms, difference, allowed }));
            }
        }
        Ok(Shown::Differs(Verdict { precision: self.name_of(asked), atoms, difference, allowed }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_engine::model::{new_model, ChargeSpin, Dense, Linear};
    use weir_engine::reference::ResolvedParameters;

    #[test]
    fn whatever_a_model_wants_beside_positions_is_given() {
        let mut model = new_model("tiny", 1).unwrap();
        let (dn, options) = (model.descriptor.options.n_dim, &mut model.descriptor.options);
        options.default_chg_spin = None;
        assert!(ResolvedParameters::new(&model, 6, &parameters(&model, 6)).is_ok());
        model.fitting.numb_fparam = 2;
        (model.fitting.fparam_avg, model.fitting.fparam_inv_std) = (vec![0.0; 2], vec![1.0; 2]);
        model.fitting.numb_aparam = 3;
        (model.fitting.aparam_avg, model.fitting.aparam_inv_std) = (vec![0.0; 3], vec![1.0; 3]);
        let table = |inputs| Dense {
            linear: Linear { inputs, outputs: dn, weight: vec![0.0; inputs * dn], bias: None },
            ..model.fitting.layers[0].clone()
        };
        let mix = Linear { inputs: 2 * dn, outputs: dn, weight: vec![0.0; 2 * dn * dn], bias: None };
        let embedding = ChargeSpin { charge: table(200), spin: table(100), mix };
        model.descriptor.charge_spin = Some(embedding);
        let given = parameters(&model, 6);
        assert!(given.charge_spin.is_some() && ResolvedParameters::new(&model, 6, &given).is_ok(), "{given:?}");
        assert!(ResolvedParameters::new(&model, 6, &FrameParameters::default()).is_err());
    }

    #[test]
    fn what_is_no_number_differs() {
        let a = Results { energy: -1e4, forces: vec![[1.0, 0.0, 0.0]; 2], ..Results::default() };
        assert_eq!(differ(&a, &Results { energy: -1e4 + 1e-9, ..a.clone() }), 0.0, "a last bit of the energy");
        assert!((differ(&a, &Results { energy: -1e4 + 0.2, ..a.clone() }) - 0.1).abs() < 1e-6);
        let forces = |f| Results { forces: vec![[f, 0.0, 0.0]; 2], ..a.clone() };
        assert_eq!((differ(&a, &forces(f64::NAN)), differ(&a, &forces(1.5))), (f64::INFINITY, 0.5));
        let virial = Results { virial: [[0.0, f64::INFINITY, 0.0]; 3], ..a.clone() };
        assert_eq!(differ(&a, &virial), f64::INFINITY);
    }

    #[test]
    fn atoms_of_the_check_keep_apart_and_some_centres_have_two_blocks() {
        let model = new_model("dpa-3.1-3m", 1).unwrap();
        let (types, x) = cluster(&model, ATOMS[0], SPREAD[0]);
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
