//! Settings of a client: its own, else the environment, else the configuration file.

use crate::Error;
pub use weir_allocators::policy::Layer;
use weir_allocators::policy::{asked_device, read_process, Policy};
use weir_allocators::topology::Topology;
use weir_backends::session::{self, settle, Device};

/// Settings, the machine, and what the user should know.
pub struct Resolved {
    /// How to compute.
    pub policy: Policy,
    /// The machine.
    pub topology: Topology,
    /// Where to compute; none: on the CPU.
    pub device: Option<Device>,
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

/// Reads environment and configuration file and settles everything, the device too. An unknown variable is a remark: it may be meant for
/// another version. `gpu_rank` is the device that the client proposes, where no setting names one; it counts modulo the devices.
///
/// # Errors
/// Wrong values, contradictions, a device that was asked for and is not there, one that is there and cannot be used.
pub fn resolve(own: &Layer, gpu_rank: Option<usize>) -> Result<Resolved, Error> {
    let found = read_process()?;
    let mut layers = vec![own.clone(), found.environment, found.file];
    if let Some(rank) = gpu_rank {
        let mut proposed = Layer::default();
        proposed.set("device", "gpu_rank", &rank.to_string())?;
        layers.push(proposed);
    }
    let (mut policy, topology, device) = settle(&layers, true)?;
    let mut remarks: Vec<String> = found.unknown.iter().map(ToString::to_string).collect();
    remarks.extend(policy.warnings.iter().cloned());
    if let Some(profile) = policy.profile.take() {
        remarks.push(format!("{}: libraries write no traces; it is passed over", profile.origin));
    }
    Ok(Resolved { policy, topology, device, remarks })
}

/// Where a potential will compute, for people; no device is opened.
pub fn outlook() -> String {
    let Ok(found) = read_process() else { return "whatever its settings say, which cannot be read".into() };
    let (backend, index) = asked_device(&[found.environment, found.file], &Topology::here());
    session::outlook(backend.value, index.value)
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
