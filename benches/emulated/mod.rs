//! What benches on the emulated device share: the DPA-3.1-3M shape cut to few layers, and one step of it.

use std::sync::Arc;
use weir_backends::cpu::Neighbours;
use weir_backends::gpu::emulated::{Emulated, EmulatedOptions};
use weir_backends::gpu::{create, GpuOptions};
use weir_engine::backend::{Calculator, FrameParameters, Request, Results};
use weir_engine::model::{new_model, Model};
use weir_engine::structure::Structure;

/// The shape cut to `layers` (first, inner ones, last).
pub fn cut(layers: usize) -> Arc<Model> {
    let mut model = new_model("dpa-3.1-3m", 1).unwrap();
    let d = &mut model.descriptor;
    let last = d.layers.len() - 1;
    d.layers = (0..layers).map(|k| d.layers[if k + 1 == layers { last } else { k }].clone()).collect();
    d.options.nlayers = layers;
    Arc::new(model)
}

/// Type of every atom.
pub fn types(model: &Model, s: &Structure) -> Vec<i32> {
    s.symbols.iter().map(|e| model.type_of(e).expect("the published shape knows every element") as i32).collect()
}

/// Atoms, edges, angle edges and angles of a structure.
pub fn counts(model: &Arc<Model>, s: &Structure) -> [u64; 4] {
    let found = Neighbours::find(model, &types(model, s), &s.positions, s.cell.as_ref(), 1.0).unwrap();
    let census = found.census(usize::MAX);
    let all = census.total();
    [all.atoms, all.edges, census.angle_edges, all.angles]
}

/// One step on a new device; what `look` sees there before it and after it, while the kernels are loaded.
pub fn step<T>(
    device: EmulatedOptions,
    options: &GpuOptions,
    model: &Arc<Model>,
    s: &Structure,
    look: impl Fn(&Emulated) -> T,
) -> [T; 2] {
    let driver = Arc::new(Emulated::new(device));
    let mut calculator = create(driver.clone(), model.clone(), &types(model, s), options).unwrap();
    calculator.prepare(&s.positions, s.cell.as_ref()).unwrap();
    let before = look(&driver);
    let mut out = Results::default();
    calculator
        .compute(&s.positions, s.cell.as_ref(), &FrameParameters::default(), Request::default(), &mut out)
        .unwrap();
    [before, look(&driver)]
}

/// Today, as results are dated.
pub fn date() -> String {
    let date = std::process::Command::new("date").arg("+%F").output();
    date.ok().map_or(String::new(), |o| String::from_utf8_lossy(&o.stdout).trim().to_string())
}
