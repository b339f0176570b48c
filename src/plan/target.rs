//! What is planned for: this machine, or one of a file, with the budgets that were asked for.

use super::machine::{Kind, Machine, TierFile};
use super::rates::Speed;
use crate::backend::Engine;
use crate::log::Log;
use crate::problem::Usage;
use anyhow::Result;
use weir_allocators::faults::Faults;
use weir_allocators::kind::Tier;
use weir_allocators::policy::{Budget, Layer, Placement, Precision};
use weir_backends::cpu::{kept_rates, open_tiers, tile_choices, InstructionSet, Rates, TierSpec};
use weir_backends::gpu::{self, Arithmetic};
use weir_kernels::Products;

/// The name of the machine that the program runs on.
pub const HERE: &str = "here";
/// Worker scratch counted where nobody said how many threads there are.
const THREADS: usize = 8;
/// Share of a copy that does not slow the computation, where a file does not say.
const OVERLAP: f64 = 0.9;

/// Budgets and tiers from the command line, for machines that are not here.
#[derive(Clone, Debug, Default)]
pub struct Wishes {
    /// Tiers; none: all that the machine has.
    pub placement: Option<Vec<Tier>>,
    /// Memory that is computed on.
    pub hbm: Option<Budget>,
    /// Host memory.
    pub host: Option<Budget>,
    /// Disk.
    pub file: Option<Budget>,
    /// Threads.
    pub threads: Option<usize>,
}

impl Wishes {
    /// Of flags.
    pub fn of(flags: &Layer) -> Self {
        let placement = flags.placement.as_ref().and_then(|p| match &p.value {
            Placement::Tiers(tiers) => Some(tiers.clone()),
            Placement::Auto => None,
        });
        let budget = |b: &Option<weir_allocators::policy::Setting<Budget>>| b.as_ref().map(|b| b.value.clone());
        Wishes {
            placement,
            hbm: budget(&flags.hbm_budget),
            host: budget(&flags.host_budget),
            file: budget(&flags.file_budget),
            threads: flags.threads.as_ref().map(|t| t.value),
        }
    }

    fn budget(&self, tier: Tier) -> &Option<Budget> {
        match tier {
            Tier::Hbm => &self.hbm,
            Tier::File => &self.file,
            _ => &self.host,
        }
    }

    fn wants(&self, tier: Tier) -> bool {
        // Which kind of host memory a machine prefers is its own affair.
        let same = |t: &Tier| *t == tier || (t.is_host() && tier.is_host());
        self.placement.as_ref().is_none_or(|p| p.iter().any(same))
    }
}

/// A machine with budgets.
#[derive(Clone, Debug)]
pub struct Target {
    /// As on the command line.
    pub name: String,
    /// For people.
    pub title: String,
    /// What computes.
    pub kind: Kind,
    /// Its file; none: this machine.
    pub machine: Option<Machine>,
    /// Tiers with budgets as capacities.
    pub tiers: Vec<TierSpec>,
    /// Worker threads whose scratch counts.
    pub threads: usize,
    /// Largest edge counts of a tile, in the order in which they are tried.
    pub tiles: Vec<usize>,
    /// How a GPU makes products.
    pub products: Products,
    /// Arithmetic; none: `rates`.
    pub speed: Option<Speed>,
    /// Rates that the backend goes by; none: its question has them.
    pub rates: Option<Rates>,
    /// Instruction set of CPU kernels whose rates nobody knows.
    pub simd: InstructionSet,
    /// Whether a profile has measured them.
    pub measured: bool,
    /// What the user should know.
    pub remarks: Vec<String>,
}

impl Target {
    /// This machine under the policy.
    ///
    /// # Errors
    /// Tiers that cannot be opened or measured.
    pub fn here(engine: &Engine, log: &Log) -> Result<Self> {
        let (policy, topology) = (&engine.policy, &engine.topology);
        if let Some(device) = engine.device() {
            let options = engine.gpu_options(device, log)?;
            return Ok(Target {
                name: HERE.into(),
                title: format!("this machine, {}", device.title()),
                kind: Kind::Gpu,
                machine: None,
                tiers: options.tiers.into_iter().map(|t| t.spec).collect(),
                threads: policy.threads.value,
                tiles: gpu::tile_choices().collect(),
                products: options.products,
                speed: None,
                rates: options.rates,
                simd: InstructionSet::default(),
                measured: engine.rates_measured(),
                remarks: policy.warnings.clone(),
            });
        }
        let opened = open_tiers(policy, topology, &Faults::none())?;
        let tiers: Vec<TierSpec> = opened.tiers.into_iter().map(|t| t.spec).collect();
        let threads = policy.threads.value;
        let mut remarks = policy.warnings.clone();
        remarks.extend(opened.remarks);
        Ok(Target {
            name: HERE.into(),
            kind: Kind::Cpu,
            measured: engine.rates_measured(),
            title: format!("this machine, CPU backend, {threads} threads"),
            machine: None,
            tiers,
            threads,
            tiles: tile_choices(threads).collect(),
            products: Products::Plain,
            speed: None,
            rates: kept_rates(&engine.model, engine.precision(), policy, topology).0,
            simd: InstructionSet::of(policy.simd.value),
            remarks,
        })
    }

    /// A machine of a file. `number` are the bytes of a number.
    ///
    /// # Errors
    /// [`Usage`]: a precision without figures, a tier that the machine has not.
    pub fn of(machine: Machine, wishes: &Wishes, precision: Precision, number: u64) -> Result<Self, Usage> {
        let mut remarks = Vec::new();
        if machine.tasks_per_node.is_some() {
            remarks.push("one of several in a node: the share of one task".into());
        }
        let tiers = tiers(&machine, wishes, &mut remarks)?;
        let threads = wishes.threads.unwrap_or(THREADS);
        Ok(Target {
            name: machine.name.clone(),
            title: machine.title.clone(),
            tiers,
            threads,
            tiles: match machine.kind {
                Kind::Gpu => gpu::tile_choices().collect(),
                Kind::Cpu => tile_choices(threads).collect(),
            },
            products: match precision {
                Precision::Model => machine.compute.products(),
                _ => Arithmetic::of(precision).unwrap_or_default().products,
            },
            speed: Some(Speed::of(&machine, precision, number)?),
            rates: None,
            // Of no account but for ratios; and not this machine's.
            simd: InstructionSet::Avx2,
            measured: false,
            kind: machine.kind,
            machine: Some(machine),
            remarks,
        })
    }
}

fn tiers(machine: &Machine, wishes: &Wishes, remarks: &mut Vec<String>) -> Result<Vec<TierSpec>, Usage> {
    let kinds: Vec<Tier> = machine.tier.iter().filter_map(|t| t.name.parse().ok()).collect();
    let has = |want: &Tier| kinds.iter().any(|t| t == want || (t.is_host() && want.is_host()));
    if let Some(missing) = wishes.placement.iter().flatten().find(|t| !has(t)) {
        let names: Vec<&str> = kinds.iter().map(|t| t.name()).collect();
        return Err(Usage(format!(
            "--placement: {} has no tier {missing} (it has {})",
            machine.name,
            names.join(", ")
        )));
    }
    let mut specs = Vec::new();
    // What is left of the one memory, and of the budget of all host tiers together.
    let mut pool = if machine.one_pool { machine.tier[0].bytes() } else { u64::MAX };
    let mut host = None;
    for (tier, file) in kinds.iter().zip(&machine.tier) {
        if !wishes.wants(*tier) {
            continue;
        }
        let all = file.bytes();
        let asked = wishes.budget(*tier).as_ref().map(|b| b.of(all));
        let mut bytes = asked.unwrap_or(all);
        if *tier != Tier::File {
            if asked.is_none() || *tier != Tier::Hbm {
                bytes = bytes.min(pool);
            }
            pool = pool.saturating_sub(bytes);
        }
        if tier.is_host() && asked.is_some() {
            let left: &mut u64 = host.get_or_insert(bytes);
            bytes = bytes.min(*left);
            *left -= bytes;
        }
        if bytes > all {
            remarks.push(format!("the budget of {tier} is larger than the machine's {:.1} GB", all as f64 / 1e9));
        }
        if bytes == 0 && *tier != Tier::Hbm {
            if asked != Some(0) {
                remarks.push(format!("tier {tier} gets nothing: hbm has taken the memory that they share"));
            }
            continue;
        }
        specs.push(spec(*tier, file, bytes));
    }
    Ok(specs)
}

/// A tier as the planner sees it. Rates with both directions busy that nobody measured are taken as those of one direction.
fn spec(tier: Tier, file: &TierFile, capacity: u64) -> TierSpec {
    let value = |f: &Option<super::machine::Figure>| f.as_ref().map(|f| f.value);
    // The computing tier's own rates are not read.
    let out = value(&file.out_gbs).unwrap_or(1.0);
    let into = value(&file.in_gbs).unwrap_or(1.0);
    let share = |both: Option<f64>, one: f64| both.map_or(1.0, |b| b / one);
    let both = share(value(&file.both_out_gbs), out).min(share(value(&file.both_in_gbs), into));
    TierSpec {
        name: tier.name().into(),
        capacity,
        out_rate: out * 1e9,
        in_rate: into * 1e9,
        both: both.clamp(0.05, 1.0),
        latency: value(&file.latency_us).unwrap_or(0.0) * 1e-6,
        overlap: value(&file.overlap).unwrap_or(OVERLAP),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(name: &str, wishes: &Wishes) -> Target {
        Target::of(Machine::find(name).unwrap(), wishes, Precision::Model, 4).unwrap()
    }

    fn budget(text: &str) -> Option<Budget> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn capacities_are_what_the_reserve_leaves_unless_a_budget_says_otherwise() {
        let whole = target("gh200-96", &Wishes::default());
        assert_eq!(whole.tiers.iter().map(|t| t.capacity).collect::<Vec<_>>(), [94_000_000_000, 480_000_000_000]);
        assert!((whole.tiers[1].both - 148.0 / 297.0).abs() < 1e-9);
        let less = Wishes { hbm: budget("8GiB"), host: budget("50%"), ..Wishes::default() };
        let less = target("gh200-96", &less);
        assert_eq!(less.tiers.iter().map(|t| t.capacity).collect::<Vec<_>>(), [8 << 30, 240_000_000_000]);
        let none = target("laptop", &Wishes { file: budget("0"), ..Wishes::default() });
        assert_eq!(none.tiers.len(), 1);
    }

    #[test]
    fn tiers_of_one_memory_share_it() {
        let mut machine = Machine::find("mi300a").unwrap();
        let mut pinned = Machine::find("gh200-96").unwrap().tier.remove(1);
        pinned.capacity_gb.value = 128.0;
        machine.tier.push(pinned);
        let of = |wishes: &Wishes| Target::of(machine.clone(), wishes, Precision::Model, 4).unwrap();
        let all = of(&Wishes::default());
        assert_eq!(all.tiers.len(), 1, "hbm takes everything");
        let some = of(&Wishes { hbm: budget("25%"), ..Wishes::default() });
        assert_eq!(some.tiers.iter().map(|t| t.capacity).sum::<u64>(), 118_000_000_000);
    }

    #[test]
    fn f32_models_are_planned_with_the_products_that_a_run_would_choose() {
        let of = |name: &str, precision, number| {
            let target = Target::of(Machine::find(name).unwrap(), &Wishes::default(), precision, number).unwrap();
            (target.products, target.speed.unwrap().flop)
        };
        let (three, plain) = (of("h200", Precision::Tf32x3, 4), of("h200", Precision::F32, 4));
        assert!(three.1 > plain.1 && plain.0 == Products::Plain);
        let halves = of("h200", Precision::F16x3, 4);
        assert!(halves.1 > three.1 && halves.0 == Products::F16x3);
        assert_eq!(of("h200", Precision::Model, 4), halves);
        // No figure for its units, no kernels for its units, no units.
        for name in ["dgx-spark", "mi300a", "laptop"] {
            assert_eq!(of(name, Precision::Model, 4).1, of(name, Precision::F32, 4).1, "{name}");
        }
        assert_eq!(of("h200", Precision::Model, 8).1, plain.1 / 2.0);
    }

    #[test]
    fn a_tier_or_precision_that_a_machine_has_not_is_refused() {
        let wishes = Wishes { placement: Some(vec![Tier::Hbm, Tier::File]), ..Wishes::default() };
        let error = Target::of(Machine::find("h200").unwrap(), &wishes, Precision::Model, 4).unwrap_err();
        assert!(error.0.contains("h200 has no tier file"), "{}", error.0);
        for (precision, figure) in [(Precision::Tf32x3, "no tf32x3_tflops"), (Precision::F16x3, "no f16x3_tflops")] {
            let machine = Machine::find("dgx-spark").unwrap();
            let error = Target::of(machine, &Wishes::default(), precision, 4).unwrap_err();
            assert!(error.0.contains(figure), "{}", error.0);
        }
        let error = Target::of(Machine::find("mi300a").unwrap(), &Wishes::default(), Precision::Tf32x3, 4).unwrap_err();
        assert!(error.0.contains("gfx942"), "{}", error.0);
    }
}
