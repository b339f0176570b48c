//! The keys that a configuration may have, checked before anything is read from it.

use crate::settings::hint;
use toml::{Table, Value};

/// Sections and their keys. `masses` takes element symbols.
pub const KEYS: &[(&str, &[&str])] = &[
    ("model", &["path", "head", "allow_unknown", "fparam", "aparam", "charge_spin"]),
    ("structure", &["path", "format", "select", "elements", "topology", "index", "types", "atoms"]),
    (
        "compute",
        &[
            "backend",
            "device",
            "precision",
            "threads",
            "checkpoint",
            "inside",
            "placement",
            "hbm_budget",
            "host_budget",
            "file_budget",
            "store",
            "scratch_dir",
            "skin_A",
        ],
    ),
    ("masses", &[]),
    (
        "md",
        &[
            "ensemble",
            "thermostat",
            "timestep_fs",
            "steps",
            "time_ps",
            "temperature_K",
            "friction_per_ps",
            "coupling_time_ps",
            "seed",
            "initial_velocities",
            "remove_com_every",
            "frozen",
            "max_temperature_K",
            "max_displacement_A",
        ],
    ),
    (
        "output",
        &["prefix", "energy_every", "trajectory_every", "trajectory_format", "restart_minutes", "plot", "overwrite"],
    ),
];

/// Keys whose values are text or paths: `--set` takes what stands there as it is, also where it could be a number.
const TEXT: &[(&str, &[&str])] = &[
    ("model", &["path", "head", "aparam"]),
    ("structure", &["path", "format", "select", "elements", "topology", "index", "atoms"]),
    (
        "compute",
        &[
            "backend",
            "precision",
            "checkpoint",
            "inside",
            "placement",
            "hbm_budget",
            "host_budget",
            "file_budget",
            "store",
            "scratch_dir",
        ],
    ),
    ("md", &["ensemble", "thermostat", "initial_velocities", "frozen"]),
    ("output", &["prefix"]),
];

const NPT: &str = "constant pressure is not in this version: run NPT with LAMMPS (fix npt) or i-PI (barostat), with a DeePMD-kit model as the force field, and continue here at constant volume";

/// Refuses unknown sections and keys.
///
/// # Errors
/// A sentence with the nearest valid name.
pub fn check_keys(table: &Table) -> Result<(), String> {
    for (section, value) in table {
        let Some((_, keys)) = KEYS.iter().find(|(s, _)| s == section) else {
            if barostat(section) {
                return Err(format!("{section}: {NPT}"));
            }
            let near = hint(section, KEYS.iter().map(|(s, _)| *s));
            let inside: Vec<&str> =
                KEYS.iter().filter(|(_, k)| k.contains(&section.as_str())).map(|(s, _)| *s).collect();
            let inside = inside.first().map_or(String::new(), |s| format!("; the key {section} belongs under [{s}]"));
            return Err(format!("unknown section or key {section}{}", if inside.is_empty() { near } else { inside }));
        };
        let Value::Table(entries) = value else {
            return Err(format!("{section} is a section: write [{section}] and its keys below"));
        };
        if *section == "masses" {
            continue;
        }
        for (key, value) in entries {
            if !keys.contains(&key.as_str()) {
                if barostat(key) {
                    return Err(format!("{section}.{key}: {NPT}"));
                }
                let others = KEYS.iter().flat_map(|(s, k)| k.iter().map(move |k| (*s, *k)));
                let elsewhere = others.clone().find(|(s, k)| s != section && k == key);
                let near = match elsewhere {
                    Some((s, k)) => format!("; did you mean {s}.{k}?"),
                    None => hint(key, keys.iter().copied()),
                };
                return Err(format!("unknown key {section}.{key}{near}"));
            }
            if section == "md" && key == "ensemble" {
                if let Some("npt" | "nph" | "npat") = value.as_str().map(str::to_lowercase).as_deref() {
                    return Err(format!("md.ensemble: {NPT}"));
                }
            }
        }
    }
    Ok(())
}

fn barostat(key: &str) -> bool {
    let key = key.to_lowercase();
    ["barostat", "pressure", "stress", "npt"].iter().any(|word| key.contains(word))
}

/// What a value of `--set` means to a key.
fn read(section: &str, name: &str, text: &str) -> Value {
    let parsed =
        format!("v = {text}").parse::<Table>().ok().and_then(|mut t| if t.len() == 1 { t.remove("v") } else { None });
    let textual = TEXT.iter().any(|(s, keys)| *s == section && keys.contains(&name));
    // `--set output.prefix=310` names a file, `'"310"'` in quotes names the same.
    parsed.filter(|v| v.is_str() || !textual).unwrap_or_else(|| Value::String(text.to_string()))
}

/// Applies `section.key=value`; a value that is not TOML, or belongs to a key of text, is text. Returns the key.
///
/// # Errors
/// A sentence saying what is wrong with it.
pub fn apply(table: &mut Table, text: &str) -> Result<String, String> {
    let (key, value) = text.split_once('=').ok_or("expected KEY=VALUE")?;
    let (key, value) = (key.trim(), value.trim());
    let (section, name) = key.split_once('.').ok_or("the key needs its section, as in md.steps=1000")?;
    let value = read(section, name, value);
    match table.entry(section).or_insert_with(|| Value::Table(Table::new())) {
        Value::Table(entries) => entries.insert(name.to_string(), value),
        _ => return Err(format!("{section} is not a section")),
    };
    // Two ways to say how long exclude each other: the one set last wins.
    if let ("md", Some(other)) = (
        section,
        match name {
            "steps" => Some("time_ps"),
            "time_ps" => Some("steps"),
            _ => None,
        },
    ) {
        if let Some(Value::Table(entries)) = table.get_mut("md") {
            entries.remove(other);
        }
    }
    Ok(key.to_string())
}
