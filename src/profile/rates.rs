//! Compute rates of this machine from steps that were timed.

use super::bench::{Bench, Rules, Slow};
use super::measure::{median, Case, Timed};
use crate::log::Log;
use anyhow::{Context, Result};
use serde::Serialize;
use weir_allocators::kind::Tier;
use weir_backends::cpu::{calibrate, Checkpoint, Inside, Rates, WORTH};
use weir_engine::plan::placement::{InsideSlot, Problem, TileSize, Work};

/// A step that keeps insides of layers.
#[derive(Clone, Debug, Serialize)]
pub struct Kept {
    /// Median, s.
    pub seconds: f64,
    /// What it takes of `hbm`, bytes.
    pub bytes: u64,
}

/// Insides that the steps kept.
fn insides(timed: &Timed) -> Result<Vec<InsideSlot>> {
    Ok(timed.calculator.plan().context("no plan")?.program.inside.clone())
}

/// What insides save, where `kept` bytes of each part saved such a share of `seconds`, a step without them: every byte of edges and angles as
/// much as the others. Where little is won, or time is lost, and for a part of which nothing was kept, they save nothing.
fn measured(problem: &Problem, kept: [u64; 3], share: f64, seconds: f64) -> Vec<Work> {
    let all: TileSize = problem.tiles.iter().sum();
    let counts = [all.atoms, all.edges, all.angles].map(|n| n.max(1) as f64);
    let saved = if share >= WORTH { share * seconds } else { 0.0 };
    let byte = saved / (kept[1] + kept[2]).max(1) as f64;
    let of = |(work, bytes): (&Work, &[u64; 3])| {
        let part = |k: usize| if kept[k] > 0 { bytes[k] as f64 * byte / counts[k] } else { 0.0 };
        Work { node: work.node, edge: part(1), angle: part(2), tile: 0.0 }
    };
    problem.rates.inside.iter().zip(&problem.inside_bytes).map(of).collect()
}

impl Case<'_> {
    /// Rates for the lines of this profile, which are about states; those that later runs plan with are kept. Beside them, a step that keeps
    /// insides.
    ///
    /// # Errors
    /// What the steps meet.
    pub(super) fn found(
        &self,
        bench: &Bench,
        rules: &Rules,
        free: &mut Timed,
        log: &Log,
    ) -> Result<(Rates, Option<Kept>)> {
        let mut rates = self.rates(bench, rules, free)?;
        if self.engine.device().is_some() {
            // Devices keep slopes in every step that has room, and no more.
            bench.keep_rates(&rates).unwrap_or_else(|e| log.warn(&e));
            return Ok((rates, None));
        }
        let kept = self.inside(bench, rules, free, &rates)?;
        // Where there was no room to measure, what an earlier profile has found stays.
        let inside = kept.as_ref().map_or_else(|| bench.known_inside().to_vec(), |k| k.1.clone());
        bench.keep_rates(&Rates { inside, ..rates.clone() }).unwrap_or_else(|e| log.warn(&e));
        for work in &mut rates.inside {
            (work.edge, work.angle) = (0.0, 0.0);
        }
        Ok((rates, kept.map(|k| k.0)))
    }

    /// From a step that keeps every state and one that rebuilds.
    fn rates(&self, bench: &Bench, rules: &Rules, free: &mut Timed) -> Result<Rates> {
        let problem = self.question(free.calculator.as_mut())?;
        let taken = "no profile was taken";
        let whole = calibrate(&problem, &insides(free)?, free.profile.as_ref().context(taken)?);
        let every = Checkpoint::Every(if problem.layers > 5 { 4 } else { 2 });
        let rules = Rules { checkpoint: every, ..rules.clone() };
        let mut half = Case { calls: self.calls.min(3), ..*self }.run(bench, &rules, &Slow::default())?;
        let problem = self.question(half.calculator.as_mut())?;
        let rebuilding = calibrate(&problem, &insides(&half)?, half.profile.as_ref().context(taken)?);
        Ok(Rates { rebuild: rebuilding.rebuild, rebuild_angles: rebuilding.rebuild_angles, ..whole })
    }

    /// A step that keeps insides wherever the run's own budget has room beside the calculator that keeps none, and what they save. None where
    /// nothing more fits.
    fn inside(&self, bench: &Bench, rules: &Rules, free: &Timed, rates: &Rates) -> Result<Option<(Kept, Vec<Work>)>> {
        let budget = self.engine.policy.bytes(Tier::Hbm).saturating_sub(free.calculator.peak_bytes()[0].1);
        if budget < bench.smallest(self, rules, &Slow::default())? {
            return Ok(None);
        }
        let rules = Rules { inside: Inside::Keep, hbm: Some(budget), ..rules.clone() };
        let mut timed = self.run(bench, &rules, &Slow::default())?;
        let mut kept = [0; 3];
        for slot in insides(&timed)? {
            kept[slot.part] += slot.bytes;
        }
        if kept[1] + kept[2] == 0 {
            return Ok(None);
        }
        let (seconds, bytes) = (median(&timed.seconds), timed.calculator.peak_bytes()[0].1);
        let problem = Problem { rates: rates.clone(), ..self.question(timed.calculator.as_mut())? };
        let without = median(&free.seconds);
        Ok(Some((Kept { seconds, bytes }, measured(&problem, kept, 1.0 - seconds / without, without))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_saves_its_part_of_what_was_measured_and_a_loss_is_a_gain_of_nobody() {
        let work = |node, edge, angle| Work { node, edge, angle, tile: 0.0 };
        let inside = vec![work(1.0, 2.0, -3.0), work(4.0, 5.0, 6.0)];
        let problem = Problem {
            layers: 2,
            tiles: vec![TileSize { atoms: 1, edges: 3, angles: 7 }, TileSize { atoms: 1, edges: 1, angles: 1 }],
            inside_bytes: vec![[100, 40, 80], [100, 20, 160]],
            rates: Rates { inside, ..Rates::default() },
            ..Problem::default()
        };
        // Half of the 300 bytes were kept, for five seconds of fifty.
        let won = measured(&problem, [0, 60, 90], 0.1, 50.0);
        let saved = |w: &Work| 4.0 * w.edge + 8.0 * w.angle;
        assert!((won.iter().map(saved).sum::<f64>() - 10.0).abs() < 1e-12, "{won:?}");
        assert!((won[0].edge / won[1].edge - 2.0).abs() < 1e-12 && won[1].node == 4.0, "{won:?}");
        for share in [-0.1, 0.0, 0.02] {
            for work in measured(&problem, [0, 60, 90], share, 50.0) {
                assert!(work.node > 0.0 && work.edge == 0.0 && work.angle == 0.0, "{work:?}");
            }
        }
        let edges = measured(&problem, [0, 60, 0], 0.1, 50.0);
        assert!(edges.iter().all(|w| w.edge > 0.0 && w.angle == 0.0), "{edges:?}");
    }
}
