//! The header and the last lines of every run.

use crate::backend::Engine;
use crate::log::{Level, Log};
use serde_json::{json, Map, Value};
use std::time::Duration;
use weir_allocators::policy::Policy;
use weir_backends::cpu::InstructionSet;
use weir_backends::gpu::GpuTier;
use weir_engine::backend::Calculator;
use weir_engine::plan::placement::{Plan, INSIDE};

const CITE: [&str; 2] = [
    "DPA3: D. Zhang, A. Peng, C. Cai et al., \"Graph neural network model for the era of large atomistic models\", arXiv:2506.01686 (2025)",
    "DeePMD-kit: J. Zeng, D. Zhang, A. Peng et al., \"DeePMD-kit v3: A Multiple-Backend Framework for Machine Learning Potentials\", J. Chem. Theory Comput. 21, 4375 (2025)",
];

/// The processor's name, where the system tells it.
pub fn device() -> String {
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let named =
        cpuinfo.lines().find_map(|l| l.strip_prefix("model name")?.split_once(':').map(|(_, v)| v.trim().to_string()));
    named.unwrap_or_else(|| format!("{} processor", std::env::consts::ARCH))
}

/// What computes: a device, or the processor and the instruction set that its kernels use.
pub fn title(engine: &Engine) -> String {
    let set = || engine.instruction_set().map_or(String::new(), |set| format!(", {}", set.name()));
    engine.device().map_or_else(|| format!("cpu: {}{}", device(), set()), |d| d.title())
}

/// The header of a run.
pub fn header(log: &Log, engine: &Engine, command: &str) {
    for warning in &engine.policy.warnings {
        log.warn(warning);
    }
    if !log.shows(Level::Info) {
        return;
    }
    let (model, policy) = (&engine.model, &engine.policy);
    let source = &model.source;
    let gpu = engine.device();
    let backend = gpu.map_or("cpu", |d| d.driver().name());
    let device = gpu.map_or_else(device, |d| d.facts().name.clone());
    let head = source.head.as_deref().unwrap_or("none");
    let head_origin = policy.head.as_ref().map_or("the model's own", |h| h.origin.as_str());
    let fields = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "command": command,
        "model": source.path,
        "model_format": source.format,
        "model_sha256": source.sha256,
        "head": source.head,
        "backend": backend,
        "device": device,
        "instruction_set": engine.instruction_set().map(InstructionSet::name),
        "chip": gpu.map(|d| d.facts().chip.to_string()),
        "driver": gpu.map(|d| d.facts().driver.clone()),
        "compute_precision": engine.precision(),
        "settings": settings(policy),
        "cite": CITE,
    });
    let mut lines = vec![
        format!("weir {} · {command}", env!("CARGO_PKG_VERSION")),
        format!("  model       {} ({}), sha256 {}", source.path, source.format, source.sha256),
        format!("  head        {head} ({head_origin})"),
        format!("  device      {}", title(engine)),
    ];
    let mut others = Vec::new();
    for line in policy.explain() {
        let name = key(&line.name);
        match name.as_str() {
            "backend" | "head" | "log" => {}
            "precision" => lines.push(row(&name, &format!("{} = {}", line.value, engine.precision()), &line.origin)),
            // The line of the processor says which it is.
            "simd" if line.origin == "automatic" => {}
            "device" | "numa_node" | "graph" | "streams" | "verify" | "cache_dir" | "kernel_dir"
                if line.origin == "automatic" =>
            {
                others.push(format!("{name} {}", line.value));
            }
            _ => lines.push(row(&name, &line.value, &line.origin)),
        }
    }
    lines.push(format!("  automatic   {}", others.join(", ")));
    lines.push(format!("  memory      {}", policy.summary()));
    lines.push(format!("  cite        {}", CITE[0]));
    lines.push(format!("              {}", CITE[1]));
    log.event(Level::Info, "header", fields, &lines.join("\n"));
}

/// What a run computes in after all, where the comparison of its device with the CPU chose otherwise than the header said.
pub fn changed(log: &Log, engine: &Engine, before: &str) {
    let (now, line) = (engine.precision(), engine.policy.explain().into_iter().find(|l| key(&l.name) == "precision"));
    if let (true, Some(line)) = (now != before, line) {
        let fields = json!({ "compute_precision": now, "before": before });
        let text = row("precision", &format!("{} = {now}, not {before}", line.value), &line.origin);
        log.event(Level::Info, "precision", fields, &text);
    }
}

fn row(name: &str, value: &str, origin: &str) -> String {
    format!("  {name:<11} {value} ({origin})")
}

/// `WEIR_HBM_BUDGET` as `hbm_budget`.
fn key(variable: &str) -> String {
    variable.trim_start_matches("WEIR_").to_lowercase()
}

/// Every setting with its origin.
pub fn settings(policy: &Policy) -> Value {
    let line = |l: weir_allocators::policy::Line| (key(&l.name), json!({ "value": l.value, "origin": l.origin }));
    Value::Object(policy.explain().into_iter().map(line).collect::<Map<_, _>>())
}

/// A tier of a GPU with its link.
pub fn tier_json(tier: &GpuTier) -> Value {
    let s = &tier.spec;
    json!({
        "tier": s.name, "bytes": s.capacity, "out_bytes_per_s": s.out_rate, "in_bytes_per_s": s.in_rate,
        "both_factor": s.both, "latency_s": s.latency, "overlap": s.overlap,
    })
}

/// The tiers of a GPU with the links that were just measured.
pub fn tiers(log: &Log, tiers: &[GpuTier]) {
    let fields = json!({ "tiers": tiers.iter().map(tier_json).collect::<Vec<_>>() });
    let text = tiers.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    log.event(Level::Info, "tiers", fields, &format!("  tiers       {text}"));
}

/// What came up in steps, but for what was `told` before, to whoever says it.
pub fn remarks(calculator: &dyn Calculator, told: &mut Vec<String>, say: impl Fn(&str)) {
    for remark in calculator.came_up() {
        if !told.contains(remark) {
            say(remark);
            told.push(remark.clone());
        }
    }
}

/// `1 step`, `2 steps`.
pub fn count(number: u64, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// How many steps of a run (or frames: `what`) were computed twice; none where none was.
pub fn widened(number: u64, what: &str) -> Option<String> {
    let [its, was, each] = if number == 1 { ["its", "was", "it"] } else { ["their", "were", "each"] };
    let text = || {
        let counted = count(number, what);
        format!("{counted} left the range of {its} products and {was} computed twice, the second time in tf32x3: WEIR_PRECISION=tf32x3 computes {each} once")
    };
    (number > 0).then(text)
}

/// What steps have settled by themselves, but for the first `told`, to whoever says it; how many there are.
pub fn settled(calculator: &dyn Calculator, told: usize, say: impl Fn(&str)) -> usize {
    calculator.settled().iter().skip(told).for_each(|r| say(r));
    calculator.settled().len()
}

/// What the planner chose, in one line.
pub fn plan(log: &Log, calculator: &dyn Calculator, measured: bool) {
    if let Some(plan) = calculator.plan() {
        let peaks = plan.tiers.iter().cloned().zip(plan.prediction.peak.iter().copied());
        let fields = json!({
            "predicted_seconds": plan.prediction.seconds, "rates_measured": measured, "rebuild_seconds": plan.prediction.rebuild,
            "out_bytes": plan.prediction.out_bytes, "in_bytes": plan.prediction.load_bytes,
            "peak_bytes": peaks.collect::<std::collections::BTreeMap<_, _>>(),
        });
        log.event(
            Level::Info,
            "plan",
            fields,
            &format!("  plan        {}{}", if measured { "" } else { "estimated " }, plan.summary()),
        );
    }
}

/// Layers and bytes of the parts of insides that a plan keeps.
pub fn insides(plan: &Plan) -> Value {
    let part = |(name, (layers, bytes)): (&&str, (usize, u64))| {
        (name.to_string(), json!({ "layers": layers, "bytes": bytes }))
    };
    Value::Object(INSIDE.iter().zip(plan.insides()).map(part).collect())
}

/// The plan in force; null where nothing is planned.
pub fn plan_json(calculator: &dyn Calculator, measured: bool) -> Value {
    let Some(plan) = calculator.plan() else { return Value::Null };
    let by_tier = |bytes: &[u64]| -> Value {
        let names = plan.tiers.iter().map(String::as_str).chain(["rebuilt"]);
        let all = names.zip(bytes).filter(|(_, b)| **b > 0).map(|(n, b)| (n.to_string(), json!(b)));
        Value::Object(all.collect())
    };
    let row = |row: &weir_engine::plan::placement::LayerRow| json!({ "layer": row.layer, "edges": by_tier(&row.edges), "angles": by_tier(&row.angles) });
    let p = &plan.prediction;
    json!({
        "tiles": plan.groups.iter().map(|g| g.tiles).sum::<u32>(),
        "states": by_tier(&plan.totals()),
        "layers": plan.layers().iter().map(row).collect::<Vec<_>>(),
        "inside": insides(plan),
        "arena_bytes": by_tier(&plan.program.arena_bytes),
        "peak_bytes": by_tier(&p.peak),
        "out_bytes": by_tier(&p.out_bytes),
        "in_bytes": by_tier(&p.load_bytes),
        "predicted_seconds": p.seconds,
        "rebuild_seconds": p.rebuild,
        "rates_measured": measured,
    })
}

/// The counts of a device's memory; null where there is none.
pub fn device_memory_json(calculator: &dyn Calculator) -> Value {
    let Some(m) = calculator.device_memory() else { return Value::Null };
    json!({ "planned_bytes": m.planned, "held_bytes": m.held, "used_bytes": m.used, "all_bytes": m.all })
}

/// Speeds of a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Speed {
    /// Steps a second.
    pub steps: f64,
    /// Thousands of atoms times steps a second.
    pub katom_steps: f64,
    /// Simulated nanoseconds a day.
    pub ns_per_day: f64,
}

impl Speed {
    /// Speed of `steps` of `timestep` ps on `atoms` atoms.
    pub fn new(steps: u64, atoms: usize, timestep: f64, wall: Duration) -> Self {
        let rate = steps as f64 / wall.as_secs_f64().max(1e-9);
        Speed { steps: rate, katom_steps: rate * atoms as f64 / 1e3, ns_per_day: rate * timestep * 1e-3 * 86_400.0 }
    }
}

/// Duration as `1 h 02 min`, `3 min 20 s`, `4.2 s` or `3.1 ms`.
pub fn duration(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match whole {
        0 => format!("{:.1} ms", seconds * 1e3),
        1..=59 => format!("{seconds:.1} s"),
        60..=3599 => format!("{} min {:02} s", whole / 60, whole % 60),
        _ => format!("{} h {:02} min", whole / 3600, whole % 3600 / 60),
    }
}

/// Bytes as `1.5 GiB`.
pub fn bytes(count: u64) -> String {
    match count {
        0..=1023 => format!("{count} B"),
        1024..=1_048_575 => format!("{:.1} KiB", count as f64 / 1024.0),
        1_048_576..=1_073_741_823 => format!("{:.1} MiB", count as f64 / 1_048_576.0),
        _ => format!("{:.2} GiB", count as f64 / 1_073_741_824.0),
    }
}

/// Peak memory by tier, as `cpu 1.5 GiB`.
pub fn peak(tiers: &[(String, u64)]) -> String {
    tiers.iter().map(|(name, b)| format!("{name} {}", bytes(*b))).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speeds_are_consistent() {
        // 1,000 steps of 1 fs in 86.4 s: 1 ps in a thousandth of a day.
        let speed = Speed::new(1000, 2000, 1e-3, Duration::from_secs_f64(86.4));
        assert!((speed.ns_per_day - 1.0).abs() < 1e-9);
        assert!((speed.katom_steps - 2.0 * speed.steps).abs() < 1e-9);
    }

    #[test]
    fn amounts_read_well() {
        assert_eq!(duration(4.24), "4.2 s");
        assert_eq!(duration(200.0), "3 min 20 s");
        assert_eq!(duration(3720.0), "1 h 02 min");
        assert_eq!(bytes(1_610_612_736), "1.50 GiB");
        assert_eq!([0, 1, 2].map(|n| count(n, "step")), ["0 steps", "1 step", "2 steps"]);
        assert!(widened(1, "frame")
            .unwrap()
            .starts_with("1 frame left the range of its products and was computed twice"));
        assert!(widened(2, "step").unwrap().starts_with("2 steps left the range of their products and were computed"));
    }
}
