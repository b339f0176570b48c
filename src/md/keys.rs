//! The keys that a configuration may have, checked before anything is read from it.

use crate::settings::hint;
use toml::{Table, Value};

/// A section and its keys.
pub struct Section {
    /// Its name.
    pub name: &'static str,
    /// Keys whose values are text or paths: `--set` takes what stands there as it is, also where it could be a number.
    text: &'static [&'static str],
    /// All others.
    other: &'static [&'static str],
}

impl Section {
    /// Names of its keys.
    pub fn keys(&self) -> impl Iterator<Item = &'static str> + Clone {
        self.text.iter().chain(self.other).copied()
    }

    fn has(&self, key: &str) -> bool {
        self.keys().any(|k| k == key)
    }
}

/// All of them. `masses` takes element symbols.
pub const SECTIONS: &[Section] = &[
    Section { name: "model", text: &["path", "head", "aparam"], other: &["allow_unknown", "fparam", "charge_spin"] },
    Section {
        name: "structure",
        text: &["path", "format", "select", "elements", "topology", "index", "atoms"],
        other: &["types"],
    },
    Section {
        name: "compute",
        text: &[
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
        other: &["device", "threads", "skin_A"],
    },
    Section { name: "masses", text: &[], other: &[] },
    Section {
        name: "md",
        text: &["ensemble", "thermostat", "initial_velocities", "frozen"],
        other: &[
            "timestep_fs",
            "steps",
            "time_ps",
            "temperature_K",
            "friction_per_ps",
            "coupling_time_ps",
            "seed",
            "remove_com_every",
            "max_temperature_K",
            "max_displacement_A",
        ],
    },
    Section {
        name: "output",
        text: &["prefix"],
        other: &["energy_every", "trajectory_every", "trajectory_format", "restart_minutes", "plot", "overwrite"],
    },
];

const NPT: &str = "constant pressure is not in this version: run NPT with LAMMPS (fix npt) or i-PI (barostat), with a DeePMD-kit model as the force field, and continue here at constant volume";

/// Refuses unknown sections and keys.
///
/// # Errors
/// A sentence with the nearest valid name.
pub fn check_keys(table: &Table) -> Result<(), String> {
    for (section, value) in table {
        let Some(known) = SECTIONS.iter().find(|s| s.name == section) else {
            if barostat(section) {
                return Err(format!("{section}: {NPT}"));
            }
            let near = hint(section, SECTIONS.iter().map(|s| s.name));
            let inside = SECTIONS.iter().find(|s| s.has(section));
            let inside = inside.map_or(String::new(), |s| format!("; the key {section} belongs under [{}]", s.name));
            return Err(format!("unknown section or key {section}{}", if inside.is_empty() { near } else { inside }));
        };
        let Value::Table(entries) = value else {
            return Err(format!("{section} is a section: write [{section}] and its keys below"));
        };
        if *section == "masses" {
            continue;
        }
        for (key, value) in entries {
            if !known.has(key) {
                if barostat(key) {
                    return Err(format!("{section}.{key}: {NPT}"));
                }
                let near = match SECTIONS.iter().find(|s| s.has(key)) {
                    Some(other) => format!("; did you mean {}.{key}?", other.name),
                    None => hint(key, known.keys()),
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
    let textual = SECTIONS.iter().any(|s| s.name == section && s.text.contains(&name));
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
