//! How to compute and where to keep things, and who said so: flags, else environment, else configuration, else automatic.

use crate::cli::ComputeArgs;
use crate::problem::Usage;
use weir_allocators::policy::{nearest, read_process, resolve_here, Found, Layer, Policy, PolicyError, Setting};
use weir_allocators::topology::Topology;
use weir_backends::session::{settle, Device};

/// The settings of a run and the machine they were resolved for.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Every setting with its origin.
    pub policy: Policy,
    /// The machine.
    pub topology: Topology,
    /// Where to compute; none: on the CPU.
    pub device: Option<Device>,
}

/// What environment and configuration file say.
#[derive(Clone, Debug, Default)]
pub struct Sources(Found);

fn usage(error: PolicyError) -> Usage {
    Usage(error.to_string())
}

/// `; did you mean X?` with the name nearest to a wrong one.
pub fn hint<'a>(name: &str, names: impl IntoIterator<Item = &'a str>) -> String {
    match nearest(name, names) {
        "" => String::new(),
        near => format!("; did you mean {near}?"),
    }
}

/// Sets one value of a layer. `key` is a key of [`weir_allocators::policy::NAMES`].
///
/// # Errors
/// Values that are none.
pub fn set(layer: &mut Layer, key: &str, origin: &str, text: &str) -> Result<(), Usage> {
    layer.set(key, origin, text).map_err(usage)
}

/// Flags as a layer.
///
/// # Errors
/// Values that are none.
pub fn flags(args: &ComputeArgs, head: Option<&str>) -> Result<Layer, Usage> {
    let mut layer = Layer::default();
    let given = [
        ("head", "--head", head),
        ("backend", "--backend", args.backend.as_deref()),
        ("device", "--device", args.device.as_deref()),
        ("precision", "--precision", args.precision.as_deref()),
        ("threads", "--threads", args.threads.as_deref()),
        ("checkpoint", "--checkpoint", args.checkpoint.as_deref()),
        ("inside", "--inside", args.inside.as_deref()),
        ("placement", "--placement", args.placement.as_deref()),
        ("hbm_budget", "--hbm-budget", args.hbm_budget.as_deref()),
        ("host_budget", "--host-budget", args.host_budget.as_deref()),
        ("file_budget", "--file-budget", args.file_budget.as_deref()),
        ("scratch_dir", "--scratch-dir", args.scratch_dir.as_deref()),
        ("store", "--store", args.store.as_deref()),
        ("numa_node", "--numa-node", args.numa_node.as_deref()),
    ];
    for (key, origin, text) in given {
        if let Some(text) = text {
            set(&mut layer, key, origin, text)?;
        }
    }
    Ok(layer)
}

impl Sources {
    /// Reads the process environment and the file that `WEIR_CONFIG` names.
    ///
    /// # Errors
    /// Unknown names, wrong values, an unreadable file.
    pub fn read() -> Result<Self, Usage> {
        Ok(Sources(read_process().and_then(Found::strict).map_err(usage)?))
    }

    /// The log level.
    pub fn log(&self) -> Option<&Setting<String>> {
        self.0.environment.log.as_ref().or(self.0.file.log.as_ref())
    }

    /// Flags, environment, `config` (of `weir md`), file; the first that has a value wins. For commands that compute nothing, whatever the backend: no
    /// device is looked for.
    ///
    /// # Errors
    /// Settings that contradict each other or the machine.
    pub fn look(&self, flags: &[Layer], config: &Layer) -> Result<Settings, Usage> {
        let (policy, topology) = resolve_here(&self.layers(flags, config), false).map_err(usage)?;
        Ok(Settings { policy, topology, device: None })
    }

    /// The same for commands that compute on whatever the settings ask for. Opens the device.
    ///
    /// # Errors
    /// As [`Sources::look`]; a device that is absent or cannot be used.
    pub fn settle(&self, flags: &[Layer], config: &Layer) -> Result<Settings, Usage> {
        let settled = settle(&self.layers(flags, config), false);
        let (policy, topology, device) = settled.map_err(|e| Usage(e.to_string()))?;
        Ok(Settings { policy, topology, device })
    }

    fn layers(&self, flags: &[Layer], config: &Layer) -> Vec<Layer> {
        let mut layers = flags.to_vec();
        layers.extend([self.0.environment.clone(), config.clone(), self.0.file.clone()]);
        layers
    }
}
