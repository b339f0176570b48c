//! Compute rates from a measured step: the estimate's shape (per atom, edge, angle), scaled so that every layer takes what it took.

use weir_engine::plan::placement::{InsideSlot, Op, Problem, Rates, Work};
use weir_engine::plan::profile::Profile;

/// Seconds by layer.
#[derive(Clone, Debug, Default)]
struct Measured {
    forward: Vec<f64>,
    rebuild: Vec<f64>,
    backward: Vec<f64>,
    project: f64,
    projections: usize,
}

/// Rates for which the spans of `profile`, a step of `problem` that kept these insides, come out as measured. Layers that the step did
/// not rebuild get the factor of their forward pass. Fitting, assembly and geometry, which every plan pays alike, are shared out over
/// the layers' backward work.
pub fn calibrate(problem: &Problem, kept: &[InsideSlot], profile: &Profile) -> Rates {
    let layers = problem.layers;
    let mut m = Measured {
        forward: vec![0.0; layers],
        rebuild: vec![0.0; layers],
        backward: vec![0.0; layers],
        ..Measured::default()
    };
    let mut rebuilt = vec![vec![]; layers];
    let mut common = 0.0;
    for span in &profile.spans {
        let seconds = span.end - span.begin;
        match span.op {
            Op::Forward { layer, .. } => m.forward[layer] += seconds,
            Op::Rebuild { layer, tile, output, .. } if output.edges != weir_engine::plan::placement::Place::None => {
                m.rebuild[layer] += seconds;
                rebuilt[layer].push(tile);
            }
            Op::Backward { layer, .. } | Op::Gather { layer, .. } | Op::Finish { layer } | Op::Clear { layer } => {
                m.backward[layer] += seconds;
            }
            Op::Project { .. } => {
                m.project += seconds;
                m.projections += 1;
            }
            Op::Geometry | Op::Fit | Op::Assemble { .. } => common += seconds,
            Op::Rebuild { .. } | Op::Save { .. } | Op::Load { .. } | Op::Wait { .. } => {}
        }
    }
    let base = &problem.rates;
    let total = |w: &Work| problem.tiles.iter().map(|t| w.seconds(t)).sum::<f64>();
    let factor = |measured: f64, expected: f64, otherwise: f64| {
        if expected > 0.0 {
            measured / expected
        } else {
            otherwise
        }
    };
    let atoms: u64 = problem.tiles.iter().map(|t| t.atoms).sum();
    let per_projection = (atoms as f64 * m.projections as f64).max(1.0);
    let mut out = base.clone();
    for l in 0..layers {
        let forward = factor(m.forward[l], total(&base.forward[l]), 1.0);
        out.forward[l] = base.forward[l].times(forward);
        let expected: f64 = rebuilt[l].iter().map(|&t| base.rebuild[l].seconds(&problem.tiles[t])).sum();
        let rebuild = factor(m.rebuild[l], expected, forward);
        out.rebuild[l] = base.rebuild[l].times(rebuild);
        out.rebuild_angles[l] = base.rebuild_angles[l].times(rebuild);
        let backward = m.backward[l] + common / layers as f64;
        let saved: f64 = kept.iter().filter(|slot| slot.layer == l).map(|slot| slot.saves(base, &problem.tiles)).sum();
        let backward = factor(backward, total(&base.backward[l]) - saved, 1.0);
        out.backward[l] = base.backward[l].times(backward);
        if let Some(inside) = out.inside.get_mut(l) {
            *inside = inside.times(backward);
        }
    }
    out.project = m.project / per_projection;
    out
}
