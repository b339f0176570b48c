//! Whether insides of edges and angles are worth their memory, found out in a run: after some steps the plan gives them
//! room, and steps with and without them take turns in that same memory.

use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::Arc;
use weir_allocators::kind::show_bytes;
use weir_engine::plan::placement::INSIDE;

/// Steps before it: a run that ends sooner would not win back what touching the memory costs (0.1 to 3.7 s a GiB, where a
/// step on two cores saves 0.1 s a GiB).
const BEFORE: usize = 20;
/// Pairs of steps, one with insides and one without.
const PAIRS: usize = 6;
/// Share of a step that insides have to save to be given memory: two measurements differ by as much.
pub const WORTH: f64 = 0.03;

/// Bytes that may be tried, asked when a trial begins. Clones count trials together: calculators that are made anew again
/// and again wait twice as many steps each time.
#[derive(Clone)]
pub struct Spare {
    bytes: Arc<dyn Fn() -> u64 + Send + Sync>,
    trials: Arc<AtomicU32>,
}

impl Spare {
    /// As many as this says.
    pub fn new(bytes: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self { bytes: Arc::new(bytes), trials: Arc::default() }
    }
}

impl fmt::Debug for Spare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Spare({:?} trials)", self.trials)
    }
}

/// Where a trial stands.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Stage {
    /// So many steps still to come before it.
    Before(usize),
    /// Steps of each kind, s: with insides, without.
    Turns { seconds: [[f64; PAIRS]; 2], made: usize },
    /// What was tried is to be given back.
    Lost,
    /// Decided.
    Over,
}

/// What is to happen to the plan before a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Change {
    /// Nothing.
    Nothing,
    /// Insides get so many bytes.
    Give(u64),
    /// They get none any more.
    TakeBack,
}

/// Steps that take turns, and what they showed.
#[derive(Debug)]
pub struct Trial {
    spare: Spare,
    stage: Stage,
    /// The step runs in memory that no step has used.
    fresh: bool,
    /// Insides of edges and angles, bytes.
    bytes: u64,
    told: Vec<String>,
}

impl Trial {
    /// Nothing tried yet.
    pub fn new(spare: Spare) -> Self {
        let stage = Stage::Before(BEFORE << spare.trials.load(Ordering::Relaxed).min(16));
        Self { spare, stage, fresh: false, bytes: 0, told: Vec::new() }
    }

    /// What is to happen before the next step; answered by [`Trial::begin`] or [`Trial::withdrawn`].
    pub fn change(&self) -> Change {
        match self.stage {
            Stage::Before(0) => Change::Give((self.spare.bytes)()),
            Stage::Lost => Change::TakeBack,
            _ => Change::Nothing,
        }
    }

    /// Insides have memory: turns begin.
    pub fn begin(&mut self) {
        self.spare.trials.fetch_add(1, Ordering::Relaxed);
        self.stage = Stage::Turns { seconds: Default::default(), made: 0 };
    }

    /// Insides have no memory, and will have none; why, where that is not told yet.
    pub fn withdrawn(&mut self, why: Option<String>) {
        self.stage = Stage::Over;
        self.told.extend(why.map(|why| format!("insides of layers are not kept: {why}")));
    }

    /// Whether what was tried is still to be given back.
    pub fn is_lost(&self) -> bool {
        self.stage == Stage::Lost
    }

    /// A plan came into force that keeps so many bytes of insides of edges and angles. Other bytes: turns begin anew.
    pub fn planned(&mut self, bytes: u64) {
        if let (Stage::Turns { made, .. }, true) = (&mut self.stage, bytes != self.bytes) {
            *made = 0;
        }
        (self.fresh, self.bytes) = (true, bytes);
    }

    /// Parts that the next step is to use, the first so many of [`INSIDE`].
    pub fn parts(&self) -> usize {
        match self.stage {
            Stage::Turns { made, .. } if kind(made) == 1 => 1,
            Stage::Lost => 1,
            _ => INSIDE.len(),
        }
    }

    /// The step took so many seconds.
    pub fn took(&mut self, step: f64) {
        if std::mem::take(&mut self.fresh) {
            return;
        }
        match &mut self.stage {
            Stage::Before(left) => *left = left.saturating_sub(1),
            Stage::Turns { seconds, made } => {
                seconds[kind(*made)][*made / 2] = step;
                *made += 1;
                if *made == 2 * PAIRS {
                    self.decide();
                }
            }
            Stage::Lost | Stage::Over => {}
        }
    }

    fn decide(&mut self) {
        let Stage::Turns { seconds: [with, without], .. } = self.stage else { return };
        let ratio = median(std::array::from_fn(|k| with[k] / without[k]));
        let keeps = ratio <= 1.0 - WORTH;
        self.stage = if keeps { Stage::Over } else { Stage::Lost };
        let (verdict, other) = match keeps {
            true => ("kept from now on", "rebuild: never"),
            false => ("not kept", "keep: always"),
        };
        let ([with, without], bytes) = ([with, without].map(|all| seconds(median(all))), show_bytes(self.bytes));
        self.told.push(format!(
            "insides of layers are {verdict}: with {bytes} of them a step takes {ratio:.2} times as long \
             ({with}, {without} without; WEIR_INSIDE={other})"
        ));
    }

    /// What came of it.
    pub fn told(&self) -> &[String] {
        &self.told
    }
}

/// Which kind a step is: 0 with insides, 1 without. One pair begins with the one and the next with the other, so that a
/// machine that gets slower favours neither.
fn kind(made: usize) -> usize {
    made.div_ceil(2) % 2
}

fn median(mut values: [f64; PAIRS]) -> f64 {
    values.sort_by(f64::total_cmp);
    (values[(PAIRS - 1) / 2] + values[PAIRS / 2]) / 2.0
}

fn seconds(s: f64) -> String {
    match s {
        s if s < 0.1 => format!("{:.3} ms", 1e3 * s),
        s => format!("{s:.4} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Steps that take `with` or `without` seconds, on a machine that gets slower all the time; `fits` bytes have room. What
    /// happened to the plan.
    fn run(spare: &Spare, with: f64, without: f64, fits: u64, steps: usize) -> (Vec<(usize, Change)>, Trial) {
        let (mut trial, mut changes, mut keeps) = (Trial::new(spare.clone()), Vec::new(), false);
        trial.planned(0);
        for step in 0..steps {
            let change = trial.change();
            match change {
                Change::Nothing => {}
                Change::Give(bytes) if bytes.min(fits) == 0 => trial.withdrawn(None),
                Change::Give(bytes) => {
                    trial.planned(bytes.min(fits));
                    trial.begin();
                    keeps = true;
                }
                Change::TakeBack => {
                    assert_eq!(trial.parts(), 1);
                    trial.planned(0);
                    trial.withdrawn(None);
                    keeps = false;
                }
            }
            if change != Change::Nothing {
                changes.push((step, change));
            }
            let slower = 1.0 + 0.01 * step as f64;
            trial.took(slower * if keeps && trial.parts() == INSIDE.len() { with } else { without });
        }
        (changes, trial)
    }

    #[test]
    fn insides_that_save_time_stay_and_others_go() {
        let spare = || Spare::new(|| 1 << 40);
        let (changes, trial) = run(&spare(), 0.8, 1.0, 1 << 30, 100);
        assert_eq!(changes, [(1 + BEFORE, Change::Give(1 << 40))]);
        assert!(trial.stage == Stage::Over && trial.parts() == INSIDE.len());
        let [told] = trial.told() else { panic!("{:?}", trial.told()) };
        let expected = "are kept from now on: with 1.00 GiB of them a step takes 0.80 times as long";
        assert!(told.contains(expected), "{told}");
        // Three per cent are asked for, and getting slower by one per cent a step does not count.
        for with in [0.98, 1.0, 1.5] {
            let (changes, trial) = run(&spare(), with, 1.0, 1 << 30, 100);
            let given = (1 + BEFORE, Change::Give(1 << 40));
            assert_eq!(changes, [given, (given.0 + 1 + 2 * PAIRS, Change::TakeBack)], "{with}");
            assert!(trial.stage == Stage::Over && trial.told()[0].contains("are not kept"), "{:?}", trial.told());
        }
    }

    #[test]
    fn where_there_is_no_room_or_no_time_nothing_is_tried() {
        for (spare, fits, steps) in [(0, 1 << 30, 100), (1 << 40, 0, 100), (1 << 40, 1 << 30, 1 + BEFORE)] {
            let (changes, trial) = run(&Spare::new(move || spare), 0.5, 1.0, fits, steps);
            assert!(changes.iter().all(|(_, c)| *c != Change::TakeBack) && trial.told().is_empty(), "{changes:?}");
            assert_eq!(changes.len(), usize::from(steps == 100));
        }
    }

    #[test]
    fn calculators_made_anew_wait_twice_as_long_each_time() {
        let spare = Spare::new(|| 1 << 30);
        let begins: Vec<usize> = (0..4).map(|_| run(&spare, 0.5, 1.0, 1, 500).0[0].0).collect();
        assert_eq!(begins, [1 + BEFORE, 1 + 2 * BEFORE, 1 + 4 * BEFORE, 1 + 8 * BEFORE]);
    }

    /// A step in fresh memory counts for nobody.
    #[test]
    fn plans_made_between_do_not_count() {
        let mut trial = Trial::new(Spare::new(|| 1 << 20));
        for step in 0..200 {
            if let Change::Give(bytes) = trial.change() {
                trial.planned(bytes);
                trial.begin();
            }
            // Every third step meets a list that needs a new plan: it is slow.
            let fresh = step % 3 == 0;
            if fresh {
                trial.planned(trial.bytes);
            }
            let usual = if trial.bytes > 0 && trial.parts() == INSIDE.len() { 0.05 } else { 1.0 };
            trial.took(if fresh { 1000.0 } else { usual });
        }
        let [told] = trial.told() else { panic!("{:?}", trial.told()) };
        assert!(told.contains("takes 0.05 times as long (50.000 ms, 1.0000 s without"), "{told}");
    }

    /// What is decided is about the bytes that are held.
    #[test]
    fn turns_begin_anew_where_other_bytes_are_held() {
        let mut trial = Trial::new(Spare::new(|| 1 << 30));
        trial.planned(1 << 30);
        trial.begin();
        for step in 0..40 {
            // Fast at first, with all bytes; then few are left, which save nothing.
            if step == 8 {
                trial.planned(1 << 20);
            }
            trial.took(if step < 8 && trial.parts() == INSIDE.len() { 0.1 } else { 1.0 });
        }
        let [told] = trial.told() else { panic!("{:?}", trial.told()) };
        assert!(trial.is_lost() && told.contains("with 1.00 MiB of them a step takes 1.00 times as long"), "{told}");
    }
}
