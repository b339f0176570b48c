//! Says with which masses a run moves its atoms, where they are not simply those of the elements.

use crate::log::{Level, Log};
use serde_json::json;
use std::collections::BTreeMap;
use weir_engine::md::System;
use weir_engine::structure::Structure;

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
