//! How far a run is: a bar on a terminal, lines elsewhere.

use crate::log::{Level, Log};
use crate::report::{duration, Speed};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use std::time::{Duration, Instant};
use weir_engine::md::Simulation;

/// Time between lines where there is no bar.
const BETWEEN: Duration = Duration::from_secs(20);

/// Shows the progress of one run.
pub struct Shown<'a> {
    log: &'a Log,
    bar: Option<ProgressBar>,
    began: Instant,
    first: u64,
    steps: u64,
    last: Instant,
}

impl<'a> Shown<'a> {
    /// Begins at step `first` of `steps`.
    pub fn new(log: &'a Log, first: u64, steps: u64) -> Self {
        let bar = log.draws().then(|| {
            let style = ProgressStyle::with_template("{bar:28} {pos}/{len} steps  {msg}").expect("a constant template");
            ProgressBar::new(steps).with_style(style)
        });
        let now = Instant::now();
        Shown { log, bar, began: now, first, steps, last: now }
    }

    /// After a step.
    pub fn step(&mut self, simulation: &Simulation) {
        let (now, done) = (Instant::now(), simulation.state().step);
        let interval = if self.bar.is_some() { Duration::from_millis(200) } else { BETWEEN };
        if now - self.last < interval && done < self.steps {
            return;
        }
        // The last line would only repeat the summary.
        if self.bar.is_none() && done >= self.steps {
            return;
        }
        self.last = now;
        let made = done - self.first;
        let speed = Speed::new(made, simulation.system().len(), simulation.settings().timestep, now - self.began);
        let left = (self.steps - done) as f64 / speed.steps.max(1e-12);
        let sample = simulation.sample();
        let text = format!("{:.0} K  {:.3} ns/day  {} left", sample.temperature, speed.ns_per_day, duration(left));
        match &self.bar {
            Some(bar) => {
                bar.set_position(done);
                bar.set_message(text);
            }
            None if made > 0 => {
                let fields = json!({
                    "step": done, "steps": self.steps, "time_ps": sample.time, "temperature_K": sample.temperature,
                    "potential_eV": sample.potential, "conserved_eV": sample.conserved,
                    "ns_per_day": speed.ns_per_day, "seconds_left": left,
                });
                self.log.event(Level::Info, "progress", fields, &format!("step {done} of {}: {text}", self.steps));
            }
            None => {}
        }
    }

    /// A line that does not disturb the bar.
    pub fn say(&self, level: Level, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| self.log.say(level, text)),
            None => self.log.say(level, text),
        }
    }

    /// Ends the display; gives the wall time since it began.
    pub fn finish(self) -> Duration {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        self.began.elapsed()
    }
}
