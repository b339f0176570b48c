//! Settings of a client: its own, else the environment, else the configuration file.

use crate::Error;
pub use weir_allocators::policy::Layer;
use weir_allocators::policy::{read_process, resolve_here, Policy};
use weir_allocators::topology::Topology;
use weir_backends::session::check_backend;

/// Settings, the machine, and what the user should know.
pub struct Resolved {
    /// How to compute.
    pub policy: Policy,
    /// Where.
    pub topology: Topology,
    /// Unknown variables and other remarks, a sentence each.
    pub remarks: Vec<String>,
}

/// `name=value` pairs, separated by semicolons or white space; names as of the variables, with or without `WEIR_`, capitals or not.
///
/// # Errors
/// Pairs without `=`, unknown names, values that are none.
pub fn parse(text: &str) -> Result<Layer, Error> {
    let mut layer = Layer::default();
    for pair in text.split(|c: char| c == ';' || c.is_whitespace()).filter(|p| !p.is_empty()) {
        let Some((name, value)) = pair.split_once('=') else {
            return Err(Error::Argument(format!("option \"{pair}\" is not of the form name=value")));
        };
        let key = name.to_lowercase();
        let key = key.strip_prefix("weir_").unwrap_or(&key);
        layer.set(key, &format!("option {name}"), value)?;
    }
    Ok(layer)
}

/// Reads environment and configuration file and settles everything. An unknown variable is a remark: it may be meant for another version.
///
/// # Errors
/// Wrong values, contradictions, a backend that this version does not have.
pub fn resolve(own: &Layer) -> Result<Resolved, Error> {
    let found = read_process()?;
    let (policy, topology) = resolve_here(&[own.clone(), found.environment, found.file], true)?;
    check_backend(&policy, "this library")?;
    let mut remarks: Vec<String> = found.unknown.iter().map(ToString::to_string).collect();
    remarks.extend(policy.warnings.iter().cloned());
    Ok(Resolved { policy, topology, remarks })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_named_like_the_variables() {
        let layer = parse("threads=3; WEIR_HEAD=H2O_A\nhbm_budget=1GiB").unwrap();
        assert_eq!(layer.threads.unwrap().value, 3);
        assert_eq!(layer.head.unwrap().value, "H2O_A");
        assert_eq!(layer.hbm_budget.unwrap().origin, "option hbm_budget");
        assert_eq!(parse("  ").unwrap(), Layer::default());
        let wrong = |text: &str| parse(text).unwrap_err().to_string();
        assert_eq!(wrong("threads"), "option \"threads\" is not of the form name=value");
        assert!(wrong("thread=2").contains("threads"), "{}", wrong("thread=2"));
        assert!(wrong("threads=none").starts_with("option threads"), "{}", wrong("threads=none"));
    }
}
