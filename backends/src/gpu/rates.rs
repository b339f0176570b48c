//! Compute rates of a device: what was measured on it, kept from run to run, or an estimate.

use super::driver::DeviceFacts;
use crate::cpu::rates::{good, keep};
use crate::cpu::{Arithmetic, Cost, PrecisionChoice};
use crate::network::Shapes;
use weir_allocators::kept;
use weir_allocators::policy::Policy;
use weir_engine::model::Model;
use weir_engine::plan::placement::{Rates, Work};
use weir_kernels::{Chip, Products};

/// FLOP/s and activations/s of a multiprocessor in single precision: 0.4 of an H100's peak (67 TFLOP/s and, with two special functions
/// each, 1.85e12/s on 132 of them), the efficiency that machine files assume. An assumption: no kernel has been timed on a device.
const UNIT: [f64; 2] = [0.2e12, 5.6e9];
/// The same of the emulated device as a whole, which runs blocks one after another on one core.
const EMULATED: [f64; 2] = [1e9, 0.05e9];
/// Kernels of a layer and a tile: forward, in a rebuild of edges and angles, of angles alone, backward. (Of a layer with angles whose moments are
/// kept and whose slopes are made again; kept, they save the sixth. Others have fewer, models whose updates follow one another more.)
pub const LAUNCHES: [f64; 4] = [3.0, 2.0, 2.0, 6.0];
/// What a kernel takes beside its work, s: assumptions, as in machine files. The emulated device has no such thing.
const CUDA_LAUNCH: f64 = 3e-6;
/// The same on AMD's devices.
const HIP_LAUNCH: f64 = 5e-6;
/// Of all edges, those that carry angles.
const ANGLE_EDGES: f64 = 1.0 / 3.0;

/// Rates from counted products and activations. Ratios to link rates decide plans, not the seconds; double precision is taken for half as
/// fast, which holds for devices of computing centres.
pub fn estimated_rates(model: &Model, precision: PrecisionChoice, products: Products, facts: &DeviceFacts) -> Rates {
    let fitting: usize = model.fitting.layers.iter().map(|l| l.linear.inputs * l.linear.outputs).sum();
    let counted = Arithmetic::of(&Shapes::of(model), fitting);
    let half = if precision.is_single(model) { 1.0 } else { 0.5 };
    let device = UNIT.map(|rate| rate * f64::from(facts.units));
    let ([flop, activations], launch) = match facts.chip {
        Chip::Host => (EMULATED, 0.0),
        Chip::Cuda(_) => (device, CUDA_LAUNCH),
        Chip::Hip(_) => (device, HIP_LAUNCH),
    };
    let flop = flop * faster(products);
    let work = |cost: &Cost, launches: f64| {
        let seconds = |k: usize| (cost.flop[k] / flop + cost.activations[k] / activations) / half;
        let edge = seconds(1) + seconds(2) * ANGLE_EDGES;
        Work { node: seconds(0), edge, angle: seconds(3), tile: launches * launch }
    };
    let layers = |costs: &[Cost], launches| costs.iter().map(|cost| work(cost, launches)).collect::<Vec<_>>();
    let project = layers(&counted.project, 0.0);
    Rates {
        forward: layers(&counted.forward, LAUNCHES[0]),
        rebuild: layers(&counted.rebuild, LAUNCHES[1]),
        rebuild_angles: layers(&counted.rebuild_angles, LAUNCHES[2]),
        backward: layers(&counted.backward, LAUNCHES[3]),
        project: project.iter().map(|w| w.node).sum::<f64>() / project.len().max(1) as f64,
        inside: Vec::new(),
    }
}

/// How much faster matrix units multiply than plain f32: peaks of vendors' tables (H100: 400 TFLOP/s of TF32 sustained, in one pass or three,
/// beside 67; MI300A: 122 beside 61). Three passes of f16 are taken for no faster, for activations and rows bound them too.
fn faster(products: Products) -> f64 {
    match products {
        Products::Plain => 1.0,
        Products::Tf32x3 | Products::Mfma | Products::F16x3 => 2.0,
        Products::Tf32 => 6.0,
    }
}

/// What rates hold for. The emulated device has none: what it takes says nothing of later runs.
fn key(model: &Model, precision: &str, facts: &DeviceFacts) -> Option<String> {
    let DeviceFacts { name, chip, driver, units, .. } = facts;
    let options = &model.descriptor.options;
    // 2: with seconds of a tile. 3: with units, for a chip's partitions have one name (MI300A in SPX and CPX mode).
    (*chip != Chip::Host)
        .then(|| format!("gpu; 3; {name}; {chip}; {units} units; driver {driver}; {precision}; {options:?}"))
}

/// Rates that a profile on such a device has left, with why others were passed over.
pub fn kept_rates(
    model: &Model,
    precision: &str,
    policy: &Policy,
    facts: &DeviceFacts,
) -> (Option<Rates>, Option<String>) {
    match (&policy.cache_dir, key(model, precision, facts)) {
        (Some(folder), Some(key)) => {
            let layers = model.descriptor.options.nlayers;
            kept::load(&folder.value, "rates", &key, |r| good(r, layers))
        }
        _ => (None, None),
    }
}

/// Keeps rates for later runs.
///
/// # Errors
/// The cache folder cannot be written; the message names it.
pub fn keep_rates(
    model: &Model,
    precision: &str,
    policy: &Policy,
    facts: &DeviceFacts,
    rates: &Rates,
) -> Result<(), String> {
    key(model, precision, facts).map_or(Ok(()), |key| keep(&key, policy, rates))
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_allocators::policy::{resolve_here, Layer};
    use weir_engine::model::new_model;

    fn apu(units: u32) -> DeviceFacts {
        DeviceFacts {
            name: "AMD Instinct MI300A".into(),
            chip: Chip::Hip("gfx942".into()),
            driver: "6.3".into(),
            wave: 64,
            units,
            shared: 65_536,
            unit_shared: 65_536,
            reserved_shared: 0,
            memory: 96 << 30,
            pageable: true,
            host_page_tables: false,
            concurrent_managed: true,
            integrated: true,
            host_node: Some(0),
        }
    }

    #[test]
    fn rates_of_a_whole_chip_are_not_taken_for_those_of_its_partition() {
        let folder = tempfile::tempdir().unwrap();
        let mut layer = Layer::default();
        layer.set("cache_dir", "test", folder.path().to_str().unwrap()).unwrap();
        let (policy, _) = resolve_here(&[layer], false).unwrap();
        let model = new_model("tiny", 5).unwrap();
        let (whole, part) = (apu(228), apu(38));
        let rates = estimated_rates(&model, PrecisionChoice::F32, Products::Plain, &whole);
        keep_rates(&model, "f32", &policy, &whole, &rates).unwrap();
        assert!(kept_rates(&model, "f32", &policy, &whole).0.is_some());
        assert!(kept_rates(&model, "f32", &policy, &part).0.is_none());
    }
}
