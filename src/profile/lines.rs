//! The lines of a profile: placements, ways and budgets, one after another.

use super::bench::{Rules, Slow};
use super::measure::{Way, Wish};
use super::rates::Kept;
use crate::log::Log;
use crate::problem::one_line;
use anyhow::Result;
use serde::Serialize;

/// One line of the profile.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Tiers, as in `WEIR_PLACEMENT`.
    pub placement: String,
    /// What was allowed.
    pub way: Way,
    /// The budget as asked for.
    pub budget: String,
    /// The budget, bytes.
    pub hbm_bytes: u64,
    /// The smallest budget of this way, bytes.
    pub smallest_bytes: u64,
    /// Whether the budget is below that; then nothing was measured.
    pub infeasible: bool,
    /// Predicted time of a step, s.
    pub predicted_s: f64,
    /// Median of the measured steps, s.
    pub measured_s: f64,
    /// All of them, s.
    pub calls_s: Vec<f64>,
    /// Predicted time of rebuilding in a step, s.
    pub rebuild_s: f64,
    /// Copied out of `hbm` a step, bytes.
    pub out_bytes: u64,
    /// Copied into it, bytes.
    pub in_bytes: u64,
    /// Achieved while copying out, GB/s.
    pub out_gb_s: f64,
    /// Achieved while copying in, GB/s.
    pub in_gb_s: f64,
    /// Largest bytes by tier.
    pub peak_bytes: Vec<(String, u64)>,
}

impl Row {
    /// A line before anything is known of it.
    fn empty(placement: &str, way: Way, wish: &Wish) -> Self {
        Row {
            placement: placement.to_string(),
            way,
            budget: wish.to_string(),
            hbm_bytes: 0,
            smallest_bytes: 0,
            infeasible: false,
            predicted_s: 0.0,
            measured_s: 0.0,
            calls_s: Vec::new(),
            rebuild_s: 0.0,
            out_bytes: 0,
            in_bytes: 0,
            out_gb_s: 0.0,
            in_gb_s: 0.0,
            peak_bytes: Vec::new(),
        }
    }

    /// What was asked for, for people.
    fn title(&self) -> String {
        format!("{} {} {}", self.placement, self.way.name(), self.budget)
    }
}

/// All lines.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    /// Atoms.
    pub atoms: usize,
    /// Median of an unlimited step, s.
    pub unlimited_s: f64,
    /// What it takes of `hbm`, bytes.
    pub unlimited_bytes: u64,
    /// With insides of layers kept wherever the budget has room; none on GPUs and where nothing more fits.
    pub inside: Option<Kept>,
    /// Lines.
    pub rows: Vec<Row>,
    /// The line after them that could not be had, and why: what the steps met, or forces that differ between two plans, which would be a fault
    /// of ours.
    pub failed: Option<String>,
}

impl Measured {
    /// Adds every placement, way and budget. The first error ends it; lines that took hours are not given up for the one after them.
    /// `rules` hold for all lines; `smallest` is the smallest budget under rules, bytes; `step` fills a line in.
    pub(super) fn sweep(
        &mut self,
        rules: &Rules,
        placements: &[(String, Slow)],
        ways: &[Way],
        budgets: &[Wish],
        smallest: &mut dyn FnMut(&Rules, &Slow) -> Result<u64>,
        step: &mut dyn FnMut(Row, &Rules, &Slow) -> Result<Row>,
        log: &Log,
    ) {
        for (name, slow) in placements {
            for &way in ways {
                let (spill, rebuild, checkpoint) = way.terms();
                let rules = Rules { spill, rebuild, checkpoint, ..rules.clone() };
                let mut least = None;
                for wish in budgets {
                    let mut row = Row::empty(name, way, wish);
                    let title = row.title();
                    let filled = || -> Result<Row> {
                        row.smallest_bytes = match least {
                            Some(bytes) => bytes,
                            None => smallest(&rules, slow)?,
                        };
                        least = Some(row.smallest_bytes);
                        row.hbm_bytes = match wish {
                            // Room for the holes of a layout: 100 % is to hold everything.
                            Wish::Share(s) if *s >= 1.0 => (self.unlimited_bytes as f64 * s * 1.05) as u64,
                            Wish::Share(s) => (self.unlimited_bytes as f64 * s) as u64,
                            Wish::Smallest => row.smallest_bytes,
                        };
                        row.infeasible = row.hbm_bytes < row.smallest_bytes;
                        match row.infeasible {
                            true => Ok(row),
                            false => {
                                let rules = Rules { hbm: Some(row.hbm_bytes), ..rules.clone() };
                                step(row, &rules, slow)
                            }
                        }
                    };
                    match filled() {
                        Ok(row) => {
                            log.info(&line(&row));
                            self.rows.push(row);
                        }
                        Err(error) => {
                            self.failed = Some(format!("{title}: {}", one_line(&error)));
                            return;
                        }
                    }
                }
            }
        }
    }
}

/// A line for the log.
fn line(row: &Row) -> String {
    let head = row.title();
    match row.infeasible {
        true => format!("{head}: not possible below {}", crate::report::bytes(row.smallest_bytes)),
        false => format!("{head}: predicted {:.4} s, measured {:.4} s", row.predicted_s, row.measured_s),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::LogFormat;
    use crate::log::Level;
    use anyhow::bail;
    use weir_backends::cpu::Permission;

    fn swept(fails_at: usize) -> Measured {
        let (inside, failed) = (None, None);
        let mut measured =
            Measured { atoms: 3, unlimited_s: 1.0, unlimited_bytes: 1000, inside, rows: Vec::new(), failed };
        let mut calls = 0;
        let mut step = |row: Row, rules: &Rules, _: &Slow| {
            calls += 1;
            assert_eq!(rules.hbm, Some(row.hbm_bytes));
            match calls == fails_at {
                true => bail!("no space left"),
                false => Ok(Row { measured_s: 2.0, ..row }),
            }
        };
        let mut smallest = |rules: &Rules, _: &Slow| match (rules.spill, rules.rebuild) {
            (Permission::Forbidden, _) => Ok(600),
            (_, Permission::Forbidden) if fails_at == 0 => bail!("nothing can be planned"),
            _ => Ok(200),
        };
        let placements = ["hbm,system", "hbm,file"].map(|p| (p.to_string(), Slow::default()));
        let budgets = [Wish::Share(1.0), Wish::Share(0.5), Wish::Smallest];
        let log = Log::new(Level::Error, LogFormat::Text);
        measured.sweep(&Rules::free(), &placements, &Way::ALL, &budgets, &mut smallest, &mut step, &log);
        measured
    }

    #[test]
    fn lines_before_one_that_fails_are_kept_and_that_one_is_named() {
        let whole = swept(usize::MAX);
        assert_eq!((whole.rows.len(), &whole.failed), (18, &None));
        let lines: Vec<_> = whole.rows[..3].iter().map(|r| (r.hbm_bytes, r.smallest_bytes, r.infeasible)).collect();
        assert_eq!(lines, [(1050, 600, false), (500, 600, true), (600, 600, false)]);
        // Two lines of the first way are steps, three of each of the others.
        let late = swept(12);
        assert_eq!(late.failed.as_deref(), Some("hbm,file spill 50%: no space left"));
        assert_eq!(late.rows.len(), 13);
        assert!(late.rows.iter().zip(&whole.rows).all(|(a, b)| a.title() == b.title() && a.measured_s == b.measured_s));
        let unplanned = swept(0);
        assert_eq!(unplanned.failed.as_deref(), Some("hbm,system spill 100%: nothing can be planned"));
        assert_eq!(unplanned.rows.len(), 3);
    }
}
