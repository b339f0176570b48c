//! `weir profile`: what too little fast memory costs, predicted and measured.

pub mod bench;
mod curve;
mod html;
mod kernels;
mod lines;
pub mod measure;
pub mod placements;
mod rates;

use crate::backend::{Engine, Given};
use crate::cli::ProfileArgs;
use crate::hardware::machine_json;
use crate::log::Log;
use crate::problem::{one_line, print, writable, Usage};
use crate::report::{self, bytes};
use crate::settings::{flags, Sources};
use crate::structures::Reader;
use anyhow::{bail, Context, Result};
use lines::{Measured, Row};
use measure::{Case, Way, Wish};
use serde_json::json;
use std::path::{Path, PathBuf};

/// Titles of the table.
pub const HEAD: [&str; 10] =
    ["placement", "way", "budget", "hbm", "predicted", "measured", "ratio", "x unlimited", "out", "in"];

/// One line of the table.
pub fn cells(row: &Row, measured: &Measured) -> Vec<String> {
    let mut cells = vec![row.placement.clone(), row.way.name().into(), row.budget.clone(), bytes(row.hbm_bytes)];
    if row.infeasible {
        cells.push(format!("smallest {}", bytes(row.smallest_bytes)));
        cells.resize(HEAD.len(), "-".into());
        return cells;
    }
    let moved = |bytes: u64, rate: f64| match bytes {
        0 => "-".to_string(),
        b => format!("{} at {rate:.1} GB/s", report::bytes(b)),
    };
    cells.extend([
        format!("{:.4} s", row.predicted_s),
        format!("{:.4} s", row.measured_s),
        format!("{:.2}", row.predicted_s / row.measured_s),
        format!("{:.2}", row.measured_s / measured.unlimited_s),
        moved(row.out_bytes, row.out_gb_s),
        moved(row.in_bytes, row.in_gb_s),
    ]);
    cells
}

/// The table for people.
pub fn table(measured: &Measured) -> String {
    let mut rows: Vec<Vec<String>> = vec![HEAD.iter().map(|h| h.to_string()).collect()];
    rows.extend(measured.rows.iter().map(|r| cells(r, measured)));
    let widths: Vec<usize> =
        (0..HEAD.len()).map(|k| rows.iter().map(|r| r[k].chars().count()).max().unwrap_or(0)).collect();
    let line = |row: &Vec<String>| {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(c, w)| format!("{c:<w$}", w = *w)).collect();
        format!("{}\n", cells.join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}

fn file(prefix: &Path, suffix: &str) -> PathBuf {
    let mut name = prefix.as_os_str().to_os_string();
    name.push(suffix);
    name.into()
}

/// A list of the command line.
fn parsed<T: std::str::FromStr<Err = String>>(origin: &str, text: &str) -> Result<Vec<T>, Usage> {
    text.split(',').map(str::parse).collect::<Result<_, _>>().map_err(|e| Usage(format!("{origin}: {e}")))
}

/// Runs the command. Lines that were measured before a step failed are written.
///
/// # Errors
/// Unreadable inputs, settings that cannot be followed, steps that fail, outputs that cannot be written.
pub fn run(args: &ProfileArgs, engine: &Engine, sources: &Sources, log: &Log) -> Result<()> {
    let wishes: Vec<Wish> = parsed("--budgets", &args.budgets)?;
    let ways: Vec<Way> = parsed("--ways", &args.ways)?;
    let structure = Reader::new(&args.read)?.first(&args.structure, log)?;
    let types = engine.types(&structure).with_context(|| args.structure.display().to_string())?;
    let parameters = engine.parameters(&Given::read(&args.parameters)?, &structure)?;
    report::header(log, engine, "profile");
    let outputs: Vec<PathBuf> = [".json", ".svg", ".html"].iter().map(|s| file(&args.out, s)).collect();
    for path in &outputs {
        writable(path)?;
    }
    let (mut lines, mut links) = (Vec::new(), String::new());
    for name in &args.placements {
        let (slow, text) =
            placements::open(engine, sources, &flags(&args.compute, None)?, ["--placements", name], log)?;
        links += &text;
        lines.push((name.clone(), slow));
    }
    let calls = args.calls.max(1);
    let case = Case { engine, structure: &structure, types: &types, parameters: &parameters, ways: &ways, calls };
    let mut measured = case.measure(&lines, &wishes, log)?;
    let name = |p: &Path| p.file_name().map_or(String::new(), |n| n.to_string_lossy().into_owned());
    let title = format!("{} on {}, {} atoms", name(&engine.path), name(&args.structure), types.len());
    let kernels = match args.kernels && measured.failed.is_none() {
        true => kernels::measure(&case, log)
            .map_err(|e| measured.failed = Some(format!("--kernels: {}", one_line(&e))))
            .ok(),
        false => None,
    };
    let kernel_text = kernels.as_ref().map_or(String::new(), kernels::text);
    let svg = curve::draw(&measured, &title).unwrap_or_else(|e| {
        measured.failed.get_or_insert(format!("the curve: {e}"));
        String::new()
    });
    let device = report::title(engine);
    let backend = engine.device().map_or("cpu", |d| d.driver().name());
    let mut facts = vec![
        ("weir", env!("CARGO_PKG_VERSION").to_string()),
        ("device", device.clone()),
        ("threads", engine.policy.threads.value.to_string()),
        ("precision", engine.precision().to_string()),
        ("model sha256", engine.model.source.sha256.clone()),
        ("unlimited step", format!("{:.4} s, {}", measured.unlimited_s, bytes(measured.unlimited_bytes))),
        ("steps timed", format!("median of {calls}")),
    ];
    facts.extend(measured.failed.iter().map(|failed| ("stopped at", failed.clone())));
    let object = json!({
        "version": env!("CARGO_PKG_VERSION"), "machine": machine_json(&engine.topology), "backend": backend, "device": device,
        "model_sha256": engine.model.source.sha256, "structure": name(&args.structure), "precision": engine.precision(),
        "threads": engine.policy.threads.value, "calls": calls, "links": links, "profile": measured, "kernels": kernels,
    });
    let texts = [format!("{object}\n"), svg.clone(), html::page(&title, &facts, &measured, &svg, &links, &kernel_text)];
    if let Some(failed) = measured.failed.as_ref().filter(|_| measured.rows.is_empty()) {
        // Files of an earlier profile stay as they are.
        bail!("no line was measured: {failed}");
    }
    // What was measured is told even where a file cannot be written, and what failed comes last.
    let written = outputs.iter().zip(texts).try_for_each(|(path, text)| {
        std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
    });
    let printed = print(&format!("{}{kernel_text}", table(&measured)));
    if let (Err(_), Some(failed)) = (&written, &measured.failed) {
        log.warn(failed);
    }
    written?;
    log.info(&format!("written: {}", outputs.iter().map(|p| p.display().to_string()).collect::<Vec<_>>().join(", ")));
    if let Some(failed) = &measured.failed {
        bail!("stopped after {} line(s), which are written: {failed}", measured.rows.len());
    }
    printed
}
