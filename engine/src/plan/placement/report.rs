//! A finished plan and how people read it.

use super::inside::INSIDE;
use super::program::Program;
use super::schedule::{Schedule, ANGLES, EDGES};
use std::fmt::{self, Write};

/// What the plan should take. Phases: layers forward, then backward from the last to the first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Prediction {
    /// s of a step.
    pub seconds: f64,
    /// s by phase.
    pub phases: Vec<f64>,
    /// s of computation by phase, rebuilding included.
    pub compute: Vec<f64>,
    /// s of copies out by tier and phase, each direction by itself.
    pub out: Vec<Vec<f64>>,
    /// s of copies in by tier and phase.
    pub load: Vec<Vec<f64>>,
    /// s of rebuilding.
    pub rebuild: f64,
    /// Bytes copied out, by tier.
    pub out_bytes: Vec<u64>,
    /// Bytes copied in, by tier.
    pub load_bytes: Vec<u64>,
    /// Peak bytes by tier; tier 0 with fixed part and banks.
    pub peak: Vec<u64>,
}

/// Tiles that follow one schedule.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupPlan {
    /// How many.
    pub tiles: u32,
    /// Bytes of a state of one tile: edges, angles.
    pub state_bytes: [u64; 2],
    /// Bytes of an adjoint of one tile: edges, angles.
    pub adjoint_bytes: [u64; 2],
    /// What happens to its states.
    pub schedule: Schedule,
}

/// A plan.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// What to run.
    pub program: Program,
    /// Schedules.
    pub groups: Vec<GroupPlan>,
    /// What it should take.
    pub prediction: Prediction,
    /// No plan of this class is faster, s.
    pub lower_bound: f64,
    /// Whether no other choice of schedules is faster under the time model.
    pub exact: bool,
    /// Names of the tiers.
    pub tiers: Vec<String>,
}

/// Where the states that enter one layer are between the passes, bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LayerRow {
    /// Layer.
    pub layer: usize,
    /// Edges by tier, then rebuilt.
    pub edges: Vec<u64>,
    /// Angles by tier, then rebuilt.
    pub angles: Vec<u64>,
}

impl Plan {
    /// One row for every stored state.
    pub fn layers(&self) -> Vec<LayerRow> {
        let layers = self.prediction.phases.len() / 2;
        let row = |layer| {
            let mut row = LayerRow { layer, ..LayerRow::default() };
            for class in [EDGES, ANGLES] {
                let mut by = vec![0; self.tiers.len() + 1];
                for g in &self.groups {
                    let to = g.schedule.keep[class][layer].map_or(self.tiers.len(), usize::from);
                    if g.schedule.depth[class] > layer {
                        by[to] += u64::from(g.tiles) * g.state_bytes[class];
                    }
                }
                *(if class == EDGES { &mut row.edges } else { &mut row.angles }) = by;
            }
            row
        };
        (1..layers).map(row).collect()
    }

    /// Layers and bytes of each part of insides that is kept, as in [`INSIDE`].
    pub fn insides(&self) -> [(usize, u64); 3] {
        let mut sum = [(0, 0); 3];
        for slot in &self.program.inside {
            let (layers, bytes) = &mut sum[slot.part];
            (*layers, *bytes) = (*layers + 1, *bytes + slot.bytes);
        }
        sum
    }

    /// Bytes of states kept by tier, then rebuilt.
    pub fn totals(&self) -> Vec<u64> {
        let mut sum = vec![0; self.tiers.len() + 1];
        for row in self.layers() {
            for (s, (e, a)) in sum.iter_mut().zip(row.edges.iter().zip(&row.angles)) {
                *s += e + a;
            }
        }
        sum
    }

    /// What was chosen, in one line.
    pub fn summary(&self) -> String {
        let totals = self.totals();
        let all: u64 = totals.iter().sum::<u64>().max(1);
        let mut text = format!("{:.4} s a step", self.prediction.seconds);
        let _ = write!(text, " (bound {:.4})", self.lower_bound);
        for (name, bytes) in self.tiers.iter().map(String::as_str).chain(["rebuilt"]).zip(&totals) {
            if *bytes > 0 {
                let _ = write!(text, ", {name} {:.0} %", 100.0 * *bytes as f64 / all as f64);
            }
        }
        let _ = write!(text, " of {} of states", gib(all));
        for (part, (layers, bytes)) in INSIDE.iter().zip(self.insides()) {
            if bytes > 0 {
                let _ = write!(text, ", {} inside {layers} layers' {part}", gib(bytes));
            }
        }
        for (name, peak) in self.tiers.iter().zip(&self.prediction.peak) {
            let _ = write!(text, "; {name} peak {}", gib(*peak));
        }
        text
    }
}

fn gib(bytes: u64) -> String {
    let b = bytes as f64;
    match b {
        b if b >= 1e9 => format!("{:.2} GiB", b / (1u64 << 30) as f64),
        b => format!("{:.2} MiB", b / (1u64 << 20) as f64),
    }
}

impl fmt::Display for Plan {
    /// A table of the layers and the summary.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.tiers.iter().map(String::as_str).chain(["rebuilt"]).collect();
        write!(f, "{:>5}", "state")?;
        for class in ["edges", "angles"] {
            for name in &names {
                write!(f, "{:>18}", format!("{class} {name}"))?;
            }
        }
        writeln!(f)?;
        for row in self.layers() {
            write!(f, "{:>5}", row.layer)?;
            for bytes in row.edges.iter().chain(&row.angles) {
                write!(f, "{:>18}", if *bytes == 0 { "-".into() } else { gib(*bytes) })?;
            }
            writeln!(f)?;
        }
        write!(f, "{}", self.summary())
    }
}
