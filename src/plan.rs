//! `weir plan`: a forecast of memory and time. Nothing is computed but the neighbours.

mod case;
mod helps;
mod largest;
mod machine;
mod outline;
mod rates;
mod table;
mod target;

use crate::backend::Engine;
use crate::cli::PlanArgs;
use crate::log::Log;
use crate::problem::{print, Usage};
use crate::settings::{self, Sources};
use crate::structures::Reader;
use anyhow::{anyhow, bail, Context, Result};
use case::Setup;
use machine::Machine;
use outline::Outlines;
use rayon::ThreadPoolBuilder;
use serde_json::{json, Value};
use std::fmt::Write;
use table::Planned;
use target::{Target, Wishes, HERE};
use weir_allocators::policy::{CheckpointRule, Layer, Precision};
use weir_backends::cpu::{Checkpoint, CpuOptions, Inside, Neighbours, Store};
use weir_backends::gpu::Arithmetic;
use weir_engine::plan::placement::TileSize;
use weir_kernels::Products;

/// Runs the command.
///
/// # Errors
/// Unknown machines and wrong files of them, models that are not planned, what does not fit.
pub fn run(args: &PlanArgs, sources: &Sources, log: &Log) -> Result<()> {
    if args.machine.iter().any(|m| m == "list") {
        return list(args.json);
    }
    let (Some(model), Some(structure)) = (&args.model, &args.structure) else {
        return Err(Usage(
            "weir plan needs a model and a structure: weir plan MODEL STRUCTURE [--machine NAME]".into(),
        )
        .into());
    };
    let machines = machines(args)?;
    let mut flags = settings::flags(&args.compute, args.head.as_deref())?;
    budgets(&mut flags, &args.budget)?;
    let wishes = Wishes::of(&flags);
    let asked = flags.precision.as_ref().map(|p| p.value);
    let elsewhere = machines.iter().all(Option::is_some);
    if elsewhere {
        // What other machines get is not this machine's affair.
        let (head, precision, threads) = (flags.head.take(), flags.precision.take(), flags.threads.take());
        let precision = precision.filter(|p| matches!(p.value, Precision::Model | Precision::F64 | Precision::F32));
        let (checkpoint, inside, store) = (flags.checkpoint.take(), flags.inside.take(), flags.store.take());
        flags = Layer { head, precision, threads, checkpoint, inside, store, ..Layer::default() };
    }
    let settings = match elsewhere {
        true => sources.look(&[flags], &Layer::default())?,
        false => sources.settle(&[flags], &Layer::default())?,
    };
    let engine = Engine::load(model, args.allow_unknown, settings, log)?;
    let precision = asked.unwrap_or(engine.policy.precision.value);
    // What has no kernels yet is refused where its rates are looked up.
    let outlines = Outlines::of(&engine.model, Arithmetic::of(precision).unwrap_or_default().precision);
    let mut targets = Vec::new();
    for machine in machines {
        targets.push(match machine {
            Some(machine) => Target::of(machine, &wishes, precision, outlines.number())?,
            None => Target::here(&engine, log)?,
        });
    }
    // Found before anything is planned.
    for target in &targets {
        outlines.on(target.kind, target.products).map_err(|e| anyhow!("{}: {e}", model.display()))?;
    }
    let pool =
        ThreadPoolBuilder::new().num_threads(engine.policy.threads.value).build().context("cannot start threads")?;
    let reader = Reader::new(&args.read)?;
    let read = reader.first(structure, log)?;
    let place = || structure.display().to_string();
    let types = engine.types(&read).with_context(place)?;
    if types.is_empty() {
        bail!("{}: no atoms to plan for", structure.display());
    }
    let skin = engine.skin.unwrap_or(CpuOptions::default().skin);
    let (weights, cell) = (&engine.model, read.cell.as_ref());
    let neighbours = pool.install(|| Neighbours::find(weights, &types, &read.positions, cell, skin));
    let neighbours = neighbours.with_context(place)?;
    let system = System::of(&engine, &outlines, &neighbours, precision, place());
    pool.install(|| match args.largest {
        true => largest::run(args, &system, &targets),
        false => tables(args, &system, &targets, &neighbours),
    })
}

/// What is planned, for all machines alike.
struct System<'a> {
    structure: String,
    model: String,
    sha256: String,
    outlines: &'a Outlines,
    neighbours: &'a Neighbours,
    precision: Precision,
    checkpoint: Checkpoint,
    inside: Inside,
    store: Store,
    total: TileSize,
}

impl<'a> System<'a> {
    fn of(
        engine: &Engine,
        outlines: &'a Outlines,
        neighbours: &'a Neighbours,
        precision: Precision,
        structure: String,
    ) -> Self {
        let checkpoint = match engine.policy.checkpoint.value {
            CheckpointRule::Auto => Checkpoint::Auto,
            CheckpointRule::All => Checkpoint::All,
            CheckpointRule::Every(k) => Checkpoint::Every(k),
        };
        let (inside, store) = (engine.inside(), engine.store());
        let total = neighbours.census(usize::MAX).total();
        let (model, sha256) = (engine.path.display().to_string(), engine.model.source.sha256.clone());
        System { structure, model, sha256, outlines, neighbours, precision, checkpoint, inside, store, total }
    }

    fn setup<'b>(&'b self, target: &'b Target) -> Result<Setup<'b>> {
        let outline = self.outlines.on(target.kind, target.products).map_err(|e| anyhow!("{}: {e}", self.model))?;
        Ok(Setup { target, outline, checkpoint: self.checkpoint, inside: self.inside, store: self.store })
    }

    /// `f32`, `f64`, `tf32x3` or `f16x3`.
    fn arithmetic(&self) -> &'static str {
        match (self.precision, self.outlines.number()) {
            (Precision::Tf32x3, _) => "tf32x3",
            (Precision::F16x3, _) => "f16x3",
            (_, 8) => "f64",
            _ => "f32",
        }
    }

    fn text(&self) -> String {
        let TileSize { atoms, edges, angles } = self.total;
        let each = |n: u64| n as f64 / atoms.max(1) as f64;
        format!(
            "{:<12}{}, {}\n{:<12}{}: {atoms} atoms, {edges} edges ({:.1} an atom), {angles} angles ({:.0} an atom)\n",
            "model",
            self.model,
            format_args!("{} layers in {}", self.outlines.layers, self.arithmetic()),
            "structure",
            self.structure,
            each(edges),
            each(angles),
        )
    }

    fn json(&self) -> Value {
        json!({
            "model": self.model, "model_sha256": self.sha256,
            "structure": self.structure, "precision": self.arithmetic(), "layers": self.outlines.layers,
            "checkpoint": self.checkpoint.to_string(), "inside": self.inside.to_string(), "store": self.store.to_string(),
            "atoms": self.total.atoms, "edges": self.total.edges, "angles": self.total.angles,
        })
    }
}

/// Plans of all machines; an error where none fits.
fn tables(args: &PlanArgs, system: &System, targets: &[Target], counts: &Neighbours) -> Result<()> {
    let (mut text, mut objects, mut failed) = (system.text(), Vec::new(), None);
    let (checkpoint, inside, store) = (system.checkpoint, system.inside, system.store);
    let _ = writeln!(text, "{:<12}checkpoint {checkpoint}, inside {inside}, store {store}", "policy");
    for target in targets {
        let setup = system.setup(target)?;
        match setup.planned(counts) {
            Ok((tile_edges, problem, plan)) => {
                let units = system.outlines.on(target.kind, Products::F16x3).ok();
                let seconds = plan.prediction.seconds;
                let (smallest, helps) = rayon::join(
                    || setup.smallest(counts).ok(),
                    || helps::helps(&setup, units, counts, system.precision, seconds),
                );
                let planned = Planned { target, tile_edges, problem: &problem, plan: &plan, smallest, helps: &helps };
                objects.push(planned.json());
                text += &format!("\n{}", planned.text());
            }
            Err(e) => {
                let e = case::told(&e);
                let told = format!("machine {}: {e}", target.name);
                objects.push(json!({ "machine": target.name, "error": e }));
                let _ = write!(text, "\n{:<12}{}: {}\n{:<12}{e}\n", "machine", target.name, target.title, "no plan");
                failed = Some((failed.map_or(0, |f: (usize, String)| f.0) + 1, told));
            }
        }
    }
    if let Some((number, told)) = failed {
        if number == targets.len() {
            bail!(told);
        }
    }
    if args.json {
        let mut object = system.json();
        object["machines"] = json!(objects);
        text = format!("{object}\n");
    }
    print(&text)
}

/// The machines of the command line; none is this one.
fn machines(args: &PlanArgs) -> Result<Vec<Option<Machine>>> {
    match (args.machine.is_empty(), args.largest) {
        (true, true) => Ok(machine::known()?.into_iter().map(Some).collect()),
        (true, false) => Ok(vec![None]),
        _ => args.machine.iter().map(|m| if m == HERE { Ok(None) } else { Machine::find(m).map(Some) }).collect(),
    }
}

/// `--budget` as the flags that it stands for.
fn budgets(flags: &mut Layer, given: &[String]) -> Result<(), Usage> {
    for pair in given {
        let Some((tier, size)) = pair.split_once('=') else {
            return Err(Usage(format!("--budget {pair}: write hbm=8GiB,host=50%,file=0")));
        };
        let (key, set) = match tier.trim() {
            "hbm" => ("hbm_budget", flags.hbm_budget.is_some()),
            "host" => ("host_budget", flags.host_budget.is_some()),
            "file" => ("file_budget", flags.file_budget.is_some()),
            other => {
                let near = settings::hint(other, ["hbm", "host", "file"]);
                return Err(Usage(format!("--budget {pair}: {other} is not a budget{near} (hbm, host, file)")));
            }
        };
        if set {
            return Err(Usage(format!("--budget {pair}: the budget of {} is given twice", tier.trim())));
        }
        settings::set(flags, key, &format!("--budget {}", tier.trim()), size)?;
    }
    Ok(())
}

/// The known machines.
fn list(as_json: bool) -> Result<()> {
    let known = machine::known()?;
    if as_json {
        let one =
            |m: &Machine| json!({ "name": m.name, "title": m.title, "notes": m.notes, "figures": table::figures(m) });
        return print(&format!("{}\n", json!({ "machines": known.iter().map(one).collect::<Vec<_>>() })));
    }
    let mut text = format!("{HERE:<20}the machine that the program runs on\n");
    for m in &known {
        let _ = writeln!(text, "{:<20}{}", m.name, m.title);
    }
    text += "A file of the same form works too: hardware-notes/machines, docs/plan.md.\n";
    print(&text)
}
