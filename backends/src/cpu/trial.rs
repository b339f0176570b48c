//! Whether insides of edges and angles are worth their memory, found out in a run: after some steps the plan gives them room, and steps with
//! and without them take turns in that same memory.

use std::fmt;
use std::sync::Arc;
use weir_engine::plan::placement::INSIDE;

/// Steps before it: a run that ends sooner would not win back what touching the memory costs (0.1 to 3.7 s a GiB, where a step on two
/// cores saves 0.1 s a GiB).
const BEFORE: usize = 20;
/// Pairs of steps, one with insides and one without.
const PAIRS: usize = 6;
/// Share of a step that insides have to save to be given memory: two measurements differ by as much.
pub const WORTH: f64 = 0.03;

/// Bytes that may be tried: asked once, when the trial begins.
#[derive(Clone)]
pub struct Spare(Arc<dyn Fn() -> u64 + Send + Sync>);

impl Spare {
    /// As many as this says.
    pub fn new(bytes: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self(Arc::new(bytes))
    }
}

impl fmt::Debug for Spare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Spare")
    }
}

/// Where a trial stands.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Stage {
    /// So many steps still to come before it.
    Before(usize),
    /// Steps of each kind, s: with insides, without.
    Turns { seconds: [[f64; PAIRS]; 2], made: usize },
    /// Decided.
    Over,
}

/// Steps that take turns, and what they showed.
#[derive(Debug)]
pub struct Trial {
    spare: Spare,
    stage: Stage,
    /// Bytes that insides may have, while they have any.
    room: Option<u64>,
    /// The plan has to be made again.
    asks: bool,
    /// The step runs in memory that no step has used.
    fresh: bool,
    bytes: u64,
    told: Vec<String>,
}

impl Trial {
    /// Nothing tried yet.
    pub fn new(spare: Spare) -> Self {
        let stage = Stage::Before(BEFORE);
        Self { spare, stage, room: None, asks: false, fresh: false, bytes: 0, told: Vec::new() }
    }

    /// Whether the plan has to be made again, without or with insides ([`Trial::room`]); asked before every step.
    pub fn asks(&mut self) -> bool {
        if self.stage == Stage::Before(0) {
            self.stage = Stage::Turns { seconds: Default::default(), made: 0 };
            self.room = Some((self.spare.0)());
            self.asks = true;
        }
        std::mem::take(&mut self.asks)
    }

    /// Bytes that a plan may give to insides of all parts; none: it keeps what it keeps without a trial.
    pub fn room(&self) -> Option<u64> {
        self.room
    }

    /// A plan was made that keeps these layers and bytes of each part.
    pub fn planned(&mut self, insides: [(usize, u64); INSIDE.len()]) {
        self.fresh = true;
        self.bytes = insides[1..].iter().map(|part| part.1).sum();
        if matches!(self.stage, Stage::Turns { .. }) && self.bytes == 0 {
            // There is no room for any, and this plan may keep less than the one before.
            (self.stage, self.room, self.asks) = (Stage::Over, None, true);
        }
    }

    /// Ends the trial without insides; false where they were given up or never offered.
    pub fn withdraw(&mut self) -> bool {
        self.stage = if self.room.is_some() { Stage::Over } else { self.stage };
        self.room.take().is_some()
    }

    /// Parts that the next step is to use, the first so many of [`INSIDE`].
    pub fn parts(&self) -> usize {
        match self.stage {
            Stage::Turns { made, .. } if made % 2 == 1 => 1,
            _ => INSIDE.len(),
        }
    }

    /// The step took so many seconds.
    pub fn took(&mut self, step: f64) {
        if std::mem::take(&mut self.fresh) {
            return;
        }
        match &mut self.stage {
            Stage::Before(left) => *left -= 1,
            Stage::Turns { seconds, made } => {
                seconds[*made % 2][*made / 2] = step;
                *made += 1;
                if *made == 2 * PAIRS {
                    self.decide();
                }
            }
            Stage::Over => {}
        }
    }

    fn decide(&mut self) {
        let Stage::Turns { seconds: [with, without], .. } = self.stage else { return };
        let ratios: [f64; PAIRS] = std::array::from_fn(|k| with[k] / without[k]);
        let [with, without, ratio] = [with, without, ratios].map(median);
        self.stage = Stage::Over;
        let keeps = ratio <= 1.0 - WORTH;
        if !keeps {
            (self.room, self.asks) = (None, true);
        }
        let gib = self.bytes as f64 / (1u64 << 30) as f64;
        self.told.push(match keeps {
            true => format!(
                "insides of layers are kept from now on: {with:.4} s a step instead of {without:.4}, for {gib:.2} GiB (WEIR_INSIDE=rebuild: never)"
            ),
            false => format!(
                "insides of layers are not kept: with {gib:.2} GiB of them a step takes {with:.4} s, without {without:.4} (WEIR_INSIDE=keep: always)"
            ),
        });
    }

    /// What came of it.
    pub fn told(&self) -> &[String] {
        &self.told
    }
}

fn median(mut values: [f64; PAIRS]) -> f64 {
    values.sort_by(f64::total_cmp);
    (values[(PAIRS - 1) / 2] + values[PAIRS / 2]) / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs steps that take `with` or `without` seconds until nothing changes any more; says how often the plan was made and what is kept at
    /// the end.
    fn run(with: f64, without: f64, fits: u64, spare: u64) -> (Vec<Option<u64>>, Trial) {
        let mut trial = Trial::new(Spare::new(move || spare));
        let mut plans = Vec::new();
        let mut turns = [0, 0];
        for step in 0..100 {
            if trial.asks() || step == 0 {
                plans.push(trial.room());
                let bytes = trial.room().map_or(0, |room| room.min(fits));
                trial.planned([(1, 5), (1, bytes / 2), (1, bytes - bytes / 2)]);
            }
            let keeps = trial.room().is_some() && trial.parts() == INSIDE.len();
            if matches!(trial.stage, Stage::Turns { .. }) && !trial.fresh {
                turns[usize::from(!keeps)] += 1;
            }
            // A machine that gets slower all the time.
            let drift = 1.0 + 0.01 * step as f64;
            trial.took(drift * if keeps { with } else { without });
        }
        if plans.len() > 1 && plans[1].is_some_and(|room| room.min(fits) > 0) {
            assert_eq!(turns, [PAIRS, PAIRS]);
        }
        (plans, trial)
    }

    #[test]
    fn insides_that_save_time_stay_and_others_go() {
        let (plans, trial) = run(0.8, 1.0, 1 << 30, 1 << 40);
        assert_eq!(plans, [None, Some(1 << 40)]);
        assert!(trial.room().is_some() && trial.parts() == INSIDE.len() && trial.stage == Stage::Over);
        assert!(
            trial.told()[0].contains("are kept from now on") && trial.told()[0].contains("for 1.00 GiB"),
            "{:?}",
            trial.told()
        );
        for with in [0.99, 1.0, 1.5] {
            let (plans, trial) = run(with, 1.0, 1 << 30, 1 << 40);
            assert_eq!(plans, [None, Some(1 << 40), None]);
            assert!(trial.room().is_none() && trial.stage == Stage::Over);
            assert!(trial.told()[0].contains("not kept"), "{:?}", trial.told());
        }
    }

    #[test]
    fn without_room_nothing_is_tried() {
        for (fits, spare) in [(0, 1 << 40), (1 << 30, 0)] {
            let (plans, trial) = run(0.5, 1.0, fits, spare);
            assert_eq!(plans, [None, Some(spare), None]);
            assert!(trial.room().is_none() && trial.told().is_empty() && trial.stage == Stage::Over);
        }
    }

    #[test]
    fn a_short_run_tries_nothing_and_a_failure_ends_a_trial_once() {
        let mut trial = Trial::new(Spare::new(|| 7));
        assert!(!trial.withdraw());
        trial.planned([(1, 5), (0, 0), (0, 0)]);
        for _ in 0..=BEFORE {
            assert!(!trial.asks() && trial.room().is_none());
            trial.took(1.0);
        }
        assert!(trial.asks() && trial.room() == Some(7));
        assert!(trial.withdraw() && !trial.withdraw() && trial.room().is_none() && !trial.asks());
    }

    /// A step in fresh memory is timed by nobody.
    #[test]
    fn plans_made_between_do_not_count() {
        let mut trial = Trial::new(Spare::new(|| 1 << 20));
        for step in 0..200 {
            trial.asks();
            // Every third step meets a list that needs a new plan: it is slow.
            let fresh = step % 3 == 0;
            if fresh {
                trial.planned([(1, 5), (1, 1 << 20), (1, 1 << 20)]);
            }
            let keeps = trial.room().is_some() && trial.parts() == INSIDE.len();
            trial.took(if fresh {
                1000.0
            } else if keeps {
                0.5
            } else {
                1.0
            });
        }
        assert!(
            trial.room().is_some() && trial.told()[0].contains("0.5000 s a step instead of 1.0000"),
            "{:?}",
            trial.told()
        );
    }
}
