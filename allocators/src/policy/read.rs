//! The environment and the configuration file.

use super::names::{variable, MODULES, NAMES, OUTSIDE_FILE};
use super::{nearest, Layer, PolicyError};
use std::path::Path;

/// What was read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    /// Settings of variables.
    pub environment: Layer,
    /// Settings of the file that `WEIR_CONFIG` names.
    pub file: Layer,
    /// Variables that nobody knows. A program stops at them ([`Found::strict`]); inside a client they are reported once.
    pub unknown: Vec<PolicyError>,
}

impl Found {
    /// Settings, if every variable was known.
    ///
    /// # Errors
    /// The first unknown one.
    pub fn strict(self) -> Result<Self, PolicyError> {
        match self.unknown.first() {
            Some(unknown) => Err(unknown.clone()),
            None => Ok(self),
        }
    }
}

/// Reads variables (those that do not begin with `WEIR_` are passed over, empty ones count as unset) and the file that
/// `WEIR_CONFIG` names: TOML, the variables' names without `WEIR_` in small letters.
///
/// # Errors
/// Wrong values, an unreadable file, unknown keys in it.
pub fn read(variables: impl IntoIterator<Item = (String, String)>) -> Result<Found, PolicyError> {
    let mut found = Found::default();
    let mut pairs: Vec<_> = variables.into_iter().filter(|(n, t)| n.starts_with("WEIR_") && !t.is_empty()).collect();
    // The order of the environment is no order: the first error should be the same every time.
    pairs.sort();
    for (name, text) in pairs {
        let plain = &name["WEIR_".len()..];
        let key = NAMES.iter().map(|n| n.key).find(|k| variable(k) == name);
        match key {
            Some("config") => found.file = file(Path::new(&text))?,
            Some("shared") => {}
            Some(key) => found.environment.set(key, &name, &text)?,
            None if MODULES.contains(&plain) => {}
            None => {
                let near = variable(nearest(plain, NAMES.iter().map(|n| n.key)));
                found.unknown.push(PolicyError::Unknown { what: "environment variable".into(), name, near });
            }
        }
    }
    Ok(found)
}

/// [`read`] of this process's environment.
///
/// # Errors
/// As [`read`].
pub fn read_process() -> Result<Found, PolicyError> {
    read(std::env::vars_os().filter_map(|(name, text)| {
        let name = name.into_string().ok().filter(|n| n.starts_with("WEIR_"))?;
        Some((name, text.to_string_lossy().into_owned()))
    }))
}

fn file(path: &Path) -> Result<Layer, PolicyError> {
    let origin = format!("WEIR_CONFIG ({})", path.display());
    let wrong = |why: String| PolicyError::File { origin: origin.clone(), why };
    let text = std::fs::read_to_string(path).map_err(|e| wrong(e.to_string()))?;
    let table: toml::Table = text.parse().map_err(|e: toml::de::Error| wrong(e.to_string()))?;
    let keys = || NAMES.iter().map(|n| n.key).filter(|k| !OUTSIDE_FILE.contains(k));
    let mut layer = Layer::default();
    for (key, value) in &table {
        if !keys().any(|k| k == key) {
            let near = nearest(key, keys()).to_string();
            return Err(PolicyError::Unknown { what: format!("key in {origin}:"), name: key.clone(), near });
        }
        let text = match value {
            toml::Value::String(text) => text.clone(),
            toml::Value::Integer(number) => number.to_string(),
            toml::Value::Boolean(flag) if key == "graph" => if *flag { "on" } else { "off" }.to_string(),
            other => return Err(wrong(format!("{key} must be text or a number, not {}", other.type_str()))),
        };
        layer.set(key, &format!("{origin}, {key}"), &text)?;
    }
    Ok(layer)
}
