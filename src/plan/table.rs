//! A plan for people, and the same as JSON.

use super::helps::HelpRow;
use super::machine::Kind;
use super::target::Target;
use crate::report::bytes;
use serde_json::{json, Map, Value};
use std::fmt::Write;
use weir_engine::plan::placement::{LayerRow, Plan, Problem, TileSize, INSIDE};

/// Time step of the speeds, fs.
const TIMESTEP_FS: f64 = 1.0;

/// ns a day at 1 fs a step.
pub fn ns_per_day(seconds: f64) -> f64 {
    TIMESTEP_FS * 1e-6 * 86_400.0 / seconds
}

/// What was planned.
pub struct Planned<'a> {
    /// The machine.
    pub target: &'a Target,
    /// Largest edge count of a tile.
    pub tile_edges: usize,
    /// The question.
    pub problem: &'a Problem,
    /// The answer.
    pub plan: &'a Plan,
    /// The smallest budget of hbm, bytes; none where it was not found.
    pub smallest: Option<u64>,
    /// What would help.
    pub helps: &'a [HelpRow],
}

/// Seconds with three digits.
pub fn seconds(s: f64) -> String {
    let digits = |x: f64| match x {
        x if x >= 99.95 => format!("{x:.0}"),
        x if x >= 9.995 => format!("{x:.1}"),
        x => format!("{x:.2}"),
    };
    match s {
        s if s < 5e-6 => "0 ms".into(),
        s if s >= 0.9995 => format!("{} s", digits(s)),
        s => format!("{} ms", digits(s * 1e3)),
    }
}

/// 10^9 bytes/s.
fn rate(x: f64) -> String {
    format!("{} GB/s", if x >= 1e10 { format!("{:.0}", x / 1e9) } else { format!("{:.1}", x / 1e9) })
}

fn speed(s: f64) -> String {
    let ns = ns_per_day(s);
    let ns = if ns >= 10.0 { format!("{ns:.0}") } else { format!("{ns:.2}") };
    format!("{} a step, {ns} ns/day at 1 fs", seconds(s))
}

impl Planned<'_> {
    /// For people.
    pub fn text(&self) -> String {
        let (mut text, plan, p) = (String::new(), self.plan, &self.plan.prediction);
        // Writing to a string cannot fail.
        let mut line = |label: &str, value: String| writeln!(text, "{label:<12}{value}").expect("text");
        line("machine", format!("{}: {}", self.target.name, self.target.title));
        for remark in &self.target.remarks {
            line("", remark.clone());
        }
        line(
            "compute",
            match (&self.target.speed, self.target.measured) {
                (Some(s), _) => s.text.clone(),
                (None, true) => "rates measured by weir profile".into(),
                (None, false) => "rates estimated, not measured (weir profile measures them)".into(),
            },
        );
        let tiles = self.problem.tiles.len();
        line(
            "tiles",
            format!("{tiles} of at most {} edges; fixed {}", self.tile_edges, bytes(self.problem.fixed_bytes)),
        );
        for (k, tier) in self.problem.tiers.iter().enumerate() {
            let peak = p.peak.get(k).copied().unwrap_or(0);
            let share = 100.0 * peak as f64 / tier.capacity.max(1) as f64;
            let mut row =
                format!("{:<8}peak {:>10} of {:>10} ({share:.0} %)", tier.name, bytes(peak), amount(tier.capacity));
            if k > 0 {
                let at = |v: &[u64]| v.get(k).copied().unwrap_or(0);
                let _ = write!(row, "; out {} at {}", bytes(at(&p.out_bytes)), rate(tier.out_rate));
                let _ = write!(row, ", in {} at {} a step", bytes(at(&p.load_bytes)), rate(tier.in_rate));
            }
            line(if k == 0 { "memory" } else { "" }, row);
        }
        text.push_str(&layers(plan));
        let insides = plan.insides();
        let mut line = |label: &str, value: String| writeln!(text, "{label:<12}{value}").expect("text");
        let kept = INSIDE.iter().zip(insides).filter(|(_, (_, held))| *held > 0);
        let kept: Vec<String> =
            kept.map(|(part, (layers, held))| format!("{part} of {layers} layers {}", bytes(held))).collect();
        if !kept.is_empty() {
            line("inside", kept.join(", "));
        }
        line("step", speed(p.seconds));
        let compute: f64 = p.compute.iter().sum();
        line(
            "",
            format!(
                "computing {}, of it rebuilding {}; copies not hidden {}; no plan is faster than {}{}",
                seconds(compute),
                seconds(p.rebuild),
                seconds((p.seconds - compute).max(0.0)),
                seconds(plan.lower_bound),
                if plan.exact { " (exact)" } else { "" }
            ),
        );
        if let Some(least) = self.smallest {
            line("smallest", format!("{} of hbm would do (--budget hbm={}MiB)", bytes(least), least.div_ceil(1 << 20)));
        }
        if self.helps.is_empty() {
            line("would help", "nothing that was tried gains more than 3 %".into());
        }
        for (k, help) in self.helps.iter().enumerate() {
            let gain = 100.0 * (1.0 - help.seconds / p.seconds);
            let label = if k == 0 { "would help" } else { "" };
            line(label, format!("{}: {} (-{gain:.0} %)", help.what, seconds(help.seconds)));
        }
        text
    }

    /// With raw numbers: bytes, seconds, bytes/s.
    pub fn json(&self) -> Value {
        let (plan, p) = (self.plan, &self.plan.prediction);
        let at = |v: &[u64], k: usize| v.get(k).copied().unwrap_or(0);
        let tier = |(k, t): (usize, &weir_engine::plan::placement::TierSpec)| {
            let mut one = json!({ "name": t.name, "capacity_bytes": t.capacity, "peak_bytes": at(&p.peak, k) });
            if k > 0 {
                one["out_bytes_per_s"] = json!(t.out_rate);
                one["in_bytes_per_s"] = json!(t.in_rate);
                one["both"] = json!(t.both);
                one["latency_s"] = json!(t.latency);
                one["overlap"] = json!(t.overlap);
                one["out_bytes"] = json!(at(&p.out_bytes, k));
                one["in_bytes"] = json!(at(&p.load_bytes, k));
            }
            one
        };
        let names = names(plan);
        let by = |v: &[u64]| names.iter().map(|n| n.to_string()).zip(v.iter().map(|b| json!(b))).collect::<Map<_, _>>();
        let total: TileSize = self.problem.tiles.iter().sum();
        json!({
            "machine": self.target.name,
            "title": self.target.title,
            "remarks": self.target.remarks,
            "figures": self.target.machine.as_ref().map(figures),
            "products": (self.target.kind == Kind::Gpu).then(|| self.target.products.to_string()),
            "compute": match &self.target.speed {
                Some(s) => json!({
                    "flop_per_s": s.flop, "bytes_per_s": s.bytes, "launch_s": s.launch,
                    "activations_per_s": s.activations.is_finite().then_some(s.activations),
                }),
                None => json!(if self.target.measured { "measured" } else { "estimated" }),
            },
            "tiles": { "count": self.problem.tiles.len(), "most_edges": self.tile_edges,
                "edge_capacity": total.edges, "angle_capacity": total.angles },
            "fixed_bytes": self.problem.fixed_bytes,
            "tiers": self.problem.tiers.iter().enumerate().map(tier).collect::<Vec<_>>(),
            "layers": plan.layers().iter().map(|row| json!({
                "layer": row.layer, "edges": by(&row.edges), "angles": by(&row.angles),
            })).collect::<Vec<_>>(),
            "inside": crate::report::insides(plan),
            "seconds": p.seconds,
            "compute_seconds": p.compute.iter().sum::<f64>(),
            "rebuild_seconds": p.rebuild,
            "bound_seconds": plan.lower_bound,
            "timestep_fs": TIMESTEP_FS,
            "ns_per_day": ns_per_day(p.seconds),
            "smallest_hbm_bytes": self.smallest,
            "helps": self.helps.iter().map(|h| json!({ "what": h.what, "seconds": h.seconds })).collect::<Vec<_>>(),
        })
    }
}

/// Figures of a machine with their sources.
pub fn figures(machine: &super::machine::Machine) -> Value {
    let one = |(key, value, source): (String, f64, &str)| (key, json!({ "value": value, "source": source }));
    Value::Object(machine.sources().into_iter().map(one).collect())
}

/// A capacity, which may be none.
fn amount(capacity: u64) -> String {
    if capacity >= u64::MAX / 8 {
        "no limit".into()
    } else {
        bytes(capacity)
    }
}

fn names(plan: &Plan) -> Vec<&str> {
    plan.tiers.iter().map(String::as_str).chain(["rebuilt"]).collect()
}

/// The states that enter each layer, by place. Places that hold nothing are left out, equal layers are one row.
fn layers(plan: &Plan) -> String {
    let rows = plan.layers();
    let names = names(plan);
    let held = |of: fn(&LayerRow) -> &Vec<u64>| -> Vec<usize> {
        (0..names.len()).filter(|&k| rows.iter().any(|r| of(r)[k] > 0)).collect()
    };
    let (edges, angles) = (held(|r| &r.edges), held(|r| &r.angles));
    let mut text = format!("{:<12}", "state");
    for (class, places) in [("edges", &edges), ("angles", &angles)] {
        for &k in places {
            let _ = write!(text, "{:>16}", format!("{class} {}", names[k]));
        }
    }
    text.push('\n');
    let cells = |row: &LayerRow| -> Vec<u64> {
        edges.iter().map(|&k| row.edges[k]).chain(angles.iter().map(|&k| row.angles[k])).collect()
    };
    let show = |b: u64| if b == 0 { "-".to_string() } else { bytes(b) };
    let mut put = |label: &str, cells: &[u64]| {
        let row: String = cells.iter().map(|&b| format!("{:>16}", show(b))).collect();
        let _ = writeln!(text, "{label:<12}{row}");
    };
    let mut at = 0;
    while at < rows.len() {
        let same = rows[at..].iter().take_while(|r| cells(r) == cells(&rows[at])).count();
        let (first, last) = (rows[at].layer, rows[at + same - 1].layer);
        let label = if same == 1 { first.to_string() } else { format!("{first}-{last}, each") };
        put(&label, &cells(&rows[at]));
        at += same;
    }
    let mut sum = vec![0; edges.len() + angles.len()];
    for row in &rows {
        for (s, c) in sum.iter_mut().zip(cells(row)) {
            *s += c;
        }
    }
    put("sum", &sum);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_have_three_digits_and_a_femtosecond_a_step_is_so_many_nanoseconds_a_day() {
        assert_eq!([seconds(0.019), seconds(1.234), seconds(123.4)], ["19.0 ms", "1.23 s", "123 s"]);
        assert!((ns_per_day(0.0864) - 1.0).abs() < 1e-9);
    }
}
