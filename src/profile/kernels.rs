//! `weir profile --kernels`: the time of a step in the classes of Table II of the seed paper (GEMM, element-wise and indexing, reduce, other).

use super::measure::Case;
use crate::log::Log;
use anyhow::{Context, Result};
use serde::Serialize;
use std::fmt::Write;
use std::time::Instant;
use weir_backends::cpu::{unlimited, Checkpoint, CpuOptions, Inside, Spent};
use weir_backends::gpu::{self, GpuOptions};
use weir_backends::session::Device;
use weir_engine::backend::{Calculator, Request, Results};

/// One class.
#[derive(Clone, Debug, Serialize)]
pub struct Class {
    /// Its name.
    pub name: &'static str,
    /// Time on all threads together, s.
    pub seconds: f64,
    /// Calls of kernels.
    pub calls: u64,
    /// GFLOP/s of a thread, for products.
    pub gflop_s: Option<f64>,
}

/// A step.
#[derive(Clone, Debug, Serialize)]
pub struct Kernels {
    /// Time of the step, s.
    pub wall_s: f64,
    /// Threads.
    pub threads: usize,
    /// Classes.
    pub classes: Vec<Class>,
    /// Kernels of a GPU, one by one; those that the step launched.
    pub kernels: Vec<One>,
}

/// A kernel of a GPU.
#[derive(Clone, Debug, Serialize)]
pub struct One {
    /// As in the text of the kernels.
    pub name: &'static str,
    /// Its class.
    pub class: &'static str,
    /// Launches of the step.
    pub launches: u64,
    /// Time of these on the device, s.
    pub seconds: f64,
}

/// Names of the classes of Table II.
const CLASSES: [&str; 3] = ["GEMM", "element-wise, indexing", "reduce"];

/// Times the kernels of a warm step that keeps everything.
///
/// # Errors
/// What the step meets.
pub fn measure(case: &Case, log: &Log) -> Result<Kernels> {
    if let Some(device) = case.engine.device() {
        return on_device(case, device, log);
    }
    let base = case.engine.cpu_options(log)?;
    // Insides as where nobody has measured anything.
    let (inside, spare, rates, tiers) = (Inside::Auto, None, None, vec![unlimited()]);
    let options =
        CpuOptions { kernels: true, checkpoint: Checkpoint::All, inside, spare, rates, tiers, profile: None, ..base };
    let mut calculator = case.engine.cpu_calculator(case.types, &options)?;
    let wall_s = second_step(case, &mut calculator)?;
    let times = calculator.kernels().context("kernels are not timed on the path of sequential_update")?;
    let threads = options.threads;
    let class = |name, s: Spent| Class {
        name,
        seconds: s.seconds,
        calls: s.calls,
        gflop_s: (s.flop > 0.0 && s.seconds > 0.0).then(|| s.flop / s.seconds / 1e9),
    };
    let mut classes =
        vec![class(CLASSES[0], times.product), class(CLASSES[1], times.element), class(CLASSES[2], times.reduce)];
    let rest = (wall_s * threads as f64 - classes.iter().map(|c| c.seconds).sum::<f64>()).max(0.0);
    classes.push(Class { name: "other and waiting", seconds: rest, calls: 0, gflop_s: None });
    Ok(Kernels { wall_s, threads, classes, kernels: Vec::new() })
}

/// Wall seconds of a second step, which finds everything laid out.
fn second_step(case: &Case, calculator: &mut dyn Calculator) -> Result<f64> {
    let (x, cell, mut out) = (&case.structure.positions, case.structure.cell.as_ref(), Results::default());
    let mut wall_s = 0.0;
    for _ in 0..2 {
        let begin = Instant::now();
        calculator.compute(x, cell, case.parameters, Request::default(), &mut out)?;
        wall_s = begin.elapsed().as_secs_f64();
    }
    Ok(wall_s)
}

/// The same on a device, by events around every launch.
fn on_device(case: &Case, device: &Device, log: &Log) -> Result<Kernels> {
    let base = case.engine.verified_options(device, log)?;
    let tiers = base.tiers[..1].to_vec();
    let options = GpuOptions { kernels: true, checkpoint: Checkpoint::All, tiers, profile: None, ..base };
    let mut calculator = case.engine.gpu_calculator(device, case.types, &options)?;
    let wall_s = second_step(case, &mut calculator)?;
    let name = |class: gpu::Class| match class {
        gpu::Class::Gemm => CLASSES[0],
        gpu::Class::Element => CLASSES[1],
        gpu::Class::Reduce => CLASSES[2],
    };
    let uses = calculator.kernels()?.into_iter().filter(|k| k.launches > 0);
    let kernels: Vec<One> = uses
        .map(|k| One {
            name: k.name,
            class: name(k.class),
            launches: k.launches,
            seconds: k.seconds.unwrap_or_default(),
        })
        .collect();
    let mut classes: Vec<Class> = CLASSES
        .into_iter()
        .map(|name| {
            let own = || kernels.iter().filter(|k| k.class == name);
            let (seconds, calls) = (own().map(|k| k.seconds).sum(), own().map(|k| k.launches).sum());
            Class { name, seconds, calls, gflop_s: None }
        })
        .collect();
    let rest = (wall_s - classes.iter().map(|c| c.seconds).sum::<f64>()).max(0.0);
    classes.push(Class { name: "other and waiting", seconds: rest, calls: 0, gflop_s: None });
    Ok(Kernels { wall_s, threads: 1, classes, kernels })
}

/// The table for people.
pub fn text(kernels: &Kernels) -> String {
    let total = kernels.wall_s * kernels.threads as f64;
    let (on, fused) = match kernels.kernels.is_empty() {
        true => (
            format!("on {} threads", kernels.threads),
            "element-wise kernels contain the sums that are fused into them",
        ),
        false => ("on the device, queued piece by piece".into(), "products contain what is fused with them"),
    };
    let mut text = format!(
        "\nkernels of an unlimited step: {:.4} s {on} ({fused})\n{:<24}{:>10}{:>8}{:>12}{:>10}\n",
        kernels.wall_s, "class", "s", "%", "calls", "GFLOP/s"
    );
    for c in &kernels.classes {
        let rate = c.gflop_s.map_or("-".into(), |r| format!("{r:.1}"));
        let calls = if c.calls > 0 { c.calls.to_string() } else { "-".into() };
        // Writing to a string cannot fail.
        writeln!(text, "{:<24}{:>10.4}{:>8.1}{:>12}{:>10}", c.name, c.seconds, 100.0 * c.seconds / total, calls, rate)
            .expect("text");
    }
    for k in &kernels.kernels {
        writeln!(text, "  {:<22}{:>10.6}{:>8.1}{:>12}", k.name, k.seconds, 100.0 * k.seconds / total, k.launches)
            .expect("text");
    }
    text
}
