//! Says with which masses a run moves its atoms, where they are not simply those of the elements, and with which it was begun.

use crate::log::{Level, Log};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use thiserror::Error;
use weir_engine::md::restart::fingerprint;
use weir_engine::md::{RestartError, System};
use weir_engine::structure::Structure;

/// A run of a version that read no masses from structure files, to be continued by one that does.
#[derive(Debug, Error)]
#[error(
    "{path} was begun without the masses of the structure file: to continue with those of before, give the configuration [masses] with {values} (g/mol)"
)]
pub struct WithoutFile {
    path: PathBuf,
    /// As a configuration has them.
    values: String,
    #[source]
    source: RestartError,
}

/// What a run's identity has of its masses, by [`KEY`].
pub fn identity(system: &System) -> String {
    fingerprint(&format!("{:?}", system.masses))
}

/// The key of masses among what the bits of a run depend on.
pub const KEY: &str = "masses";

/// The refusal of a restart file, which says more where the masses that it was written with are those of the same run but for its structure file's.
pub fn refusal(
    error: RestartError,
    path: &Path,
    before: Option<String>,
    structure: &Structure,
    asked: &BTreeMap<String, f64>,
) -> anyhow::Error {
    if structure.masses.is_none() {
        return error.into();
    }
    let bare = Structure { masses: None, ..structure.clone() };
    let elements = System::new(&bare, asked, vec![false; bare.len()]);
    let Some(elements) = elements.ok().filter(|elements| before == Some(identity(elements))) else {
        return error.into();
    };
    let masses: BTreeMap<&String, f64> = elements.symbols.iter().zip(elements.masses.iter().copied()).collect();
    // With a point, as a configuration may have it, and with all digits.
    let values = masses.iter().map(|(symbol, mass)| format!("{symbol} = {mass:?}")).collect::<Vec<_>>().join(", ");
    WithoutFile { path: path.to_path_buf(), values, source: error }.into()
}

/// One line: element, mass and where it comes from.
pub fn tell(structure: &Structure, asked: &BTreeMap<String, f64>, system: &System, log: &Log) {
    if structure.masses.is_none() && asked.is_empty() {
        return;
    }
    let mut elements = BTreeMap::<&str, (f64, f64)>::new();
    for (symbol, &mass) in system.symbols.iter().zip(&system.masses) {
        let (least, most) = elements.entry(symbol).or_insert((mass, mass));
        (*least, *most) = (least.min(mass), most.max(mass));
    }
    let source = |symbol: &str| match (asked.contains_key(symbol), &structure.masses) {
        (true, _) => "[masses]",
        (false, Some(_)) => "structure file",
        (false, None) => "standard",
    };
    let part = |(symbol, (least, most)): (&&str, &(f64, f64))| {
        let range = if least < most { format!("{least} to {most}") } else { format!("{least}") };
        format!("{symbol} {range} ({})", source(symbol))
    };
    let text = format!("  masses     g/mol: {}", elements.iter().map(part).collect::<Vec<_>>().join(", "));
    let field = |(symbol, (least, most)): (&&str, &(f64, f64))| json!({ "element": symbol, "least": least, "most": most, "from": source(symbol) });
    log.event(Level::Info, "masses", json!({ "masses": elements.iter().map(field).collect::<Vec<_>>() }), &text);
}
