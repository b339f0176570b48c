//! `weir model`: looks at model files, converts them, makes random ones.

use crate::backend::Engine;
use crate::log::{Level, Log};
use crate::problem::{apart, print};
use anyhow::Result;
use serde_json::json;
use std::fmt::Write;
use std::path::Path;
use weir_engine::model::{self, info::describe};

/// Lists the heads of a model file.
///
/// # Errors
/// Unreadable models.
pub fn heads(path: &Path) -> Result<()> {
    let mut text = String::new();
    for head in model::heads(path)? {
        // Writing to a string cannot fail.
        write!(text, "{}", head.name).expect("text");
        if !head.aliases.is_empty() {
            write!(text, "  (also {})", head.aliases.join(", ")).expect("text");
        }
        write!(text, "  {} types, {}", head.types, head.fitting).expect("text");
        if !head.observed_types.is_empty() {
            write!(text, ", trained on {}", head.observed_types.join(" ")).expect("text");
        }
        text.push('\n');
        if let Some(description) = &head.description {
            writeln!(text, "    {}", description.trim()).expect("text");
        }
    }
    print(&text)
}

/// Writes a model in another format.
///
/// # Errors
/// Suffixes that are not written, full disks.
pub fn convert(engine: &Engine, out: &Path, log: &Log) -> Result<()> {
    apart("--out", out, &[&engine.path])?;
    model::save(&engine.model, out)?;
    told(&engine.path.display().to_string(), out, log);
    Ok(())
}

/// Makes a random model.
///
/// # Errors
/// Unknown presets, suffixes that are not written, full disks.
pub fn new(preset: &str, seed: u64, out: &Path, log: &Log) -> Result<()> {
    model::save(&model::new_model(preset, seed)?, out)?;
    told(&format!("random {preset}, seed {seed}"), out, log);
    Ok(())
}

fn told(what: &str, out: &Path, log: &Log) {
    let fields = json!({ "written": out.display().to_string(), "from": what });
    log.event(Level::Info, "written", fields, &format!("{} written ({what})", out.display()));
}

/// Tells what a model is.
///
/// # Errors
/// A closed standard output.
pub fn info(engine: &Engine, as_json: bool) -> Result<()> {
    let d = describe(&engine.model);
    if as_json {
        return print(&format!("{}\n", serde_json::to_string_pretty(&d)?));
    }
    let mut text = String::new();
    let mut line = |label: &str, value: String| writeln!(text, "{label:<14}{value}").expect("text");
    line("file", format!("{} ({})", d.path, d.format));
    line("sha256", d.sha256.clone());
    if let Some(origin) = &d.origin_sha256 {
        line("made from", format!("file with sha256 {origin}"));
    }
    line("published as", d.published_as.clone().unwrap_or_else(|| "not a known published file".into()));
    line("licence", d.licence.clone());
    line("head", d.head.clone().unwrap_or_else(|| "none (a single model)".into()));
    line("architecture", d.architecture.clone());
    let p = &d.parameters;
    line("parameters", format!("{} ({} descriptor, {} fitting net)", p.total, p.descriptor, p.fitting));
    line("edge cutoff", format!("{} A (switched from {} A)", d.edge_cutoff[0], d.edge_cutoff[1]));
    line("angle cutoff", format!("{} A (switched from {} A)", d.angle_cutoff[0], d.angle_cutoff[1]));
    line("reach", format!("{} A (edge cutoff times layers)", d.receptive_field));
    line("elements", format!("{}: {}", d.type_map.len(), d.type_map.join(" ")));
    line("needs", if d.needs.is_empty() { "positions only".into() } else { d.needs.join(", ") });
    for option in &d.unusual_options {
        line("unusual", option.clone());
    }
    print(&text)
}
