//! From settings and surroundings to bytes per tier.

use super::names::variable;
use super::shares::{shares, Device, Shares, Surroundings};
use super::{
    Backend, Budget, CheckpointRule, Inside, Layer, Placement, PolicyError, Precision, Setting, Simd, Store, Verify,
};
use crate::kind::{file_system, show_bytes, Tier};
use crate::topology::Topology;
use std::path::PathBuf;

/// A tier that may be used, and how much of it.
#[derive(Clone, Debug, PartialEq)]
pub struct TierBudget {
    /// Which.
    pub tier: Tier,
    /// How much, bytes. Tiers in host memory share theirs; with a [`Policy::pool`], all tiers in memory share that.
    pub bytes: u64,
    /// The setting it comes from.
    pub setting: Setting<Budget>,
    /// What a percentage is taken of, bytes.
    pub of: u64,
}

/// How to compute and where to keep things, with every origin.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct Policy {
    pub backend: Setting<Backend>,
    pub device: Setting<usize>,
    pub head: Option<Setting<String>>,
    pub placement: Setting<Placement>,
    /// Tiers in order of preference, `hbm` first.
    pub tiers: Vec<TierBudget>,
    /// What all tiers in memory may take together, bytes, where they share one.
    pub pool: Option<u64>,
    pub checkpoint: Setting<CheckpointRule>,
    pub inside: Setting<Inside>,
    pub store: Setting<Store>,
    pub precision: Setting<Precision>,
    pub threads: Setting<usize>,
    pub simd: Setting<Simd>,
    pub scratch_dir: Setting<PathBuf>,
    pub cache_dir: Option<Setting<PathBuf>>,
    pub kernel_dir: Option<Setting<PathBuf>>,
    pub graph: Setting<bool>,
    pub streams: Setting<usize>,
    pub blocks: Option<Setting<usize>>,
    pub verify: Setting<Verify>,
    pub profile: Option<Setting<PathBuf>>,
    pub log: Option<Setting<String>>,
    /// Where the bytes come from.
    pub shares: Shares,
    /// What the user should know.
    pub warnings: Vec<String>,
}

impl Policy {
    /// The budget of a tier; none where it may not be used.
    pub fn tier(&self, tier: Tier) -> Option<&TierBudget> {
        self.tiers.iter().find(|t| t.tier == tier)
    }

    /// Bytes of a tier; 0 where it may not be used.
    pub fn bytes(&self, tier: Tier) -> u64 {
        self.tier(tier).map_or(0, |t| t.bytes)
    }
}

/// Backend and index of a device: what has to be known before the rest can be resolved. The index is the local rank where nobody says.
pub fn asked_device(layers: &[Layer], topology: &Topology) -> (Setting<Backend>, Setting<usize>) {
    let backend = layers.iter().find_map(|l| l.backend.clone()).unwrap_or_else(|| Setting::automatic(Backend::Auto));
    let rank = topology.rank.as_ref().map(|r| Setting::new(r.value, r.origin));
    let index = layers.iter().find_map(|l| l.device.clone()).or(rank).unwrap_or_else(|| Setting::automatic(0));
    (backend, index)
}

/// Takes each setting from the first layer that has it (flags, environment, file), the rest from the machine.
///
/// # Errors
/// Settings that contradict each other, ask for more than there is, or for what the machine has not; every error names
/// the setting.
pub fn resolve(layers: &[Layer], around: &Surroundings) -> Result<Policy, PolicyError> {
    macro_rules! pick {
        ($field:ident) => {
            layers.iter().find_map(|l| l.$field.clone())
        };
        ($field:ident, $default:expr) => {
            pick!($field).unwrap_or_else(|| Setting::automatic($default))
        };
    }
    let asked = Asked {
        placement: pick!(placement).filter(|p| p.value != Placement::Auto),
        hbm: pick!(hbm_budget),
        host: pick!(host_budget),
        file: pick!(file_budget),
        scratch: pick!(scratch_dir).unwrap_or_else(|| match (around.environment)("TMPDIR") {
            Some(folder) => Setting::new(folder.into(), "TMPDIR"),
            None => Setting::automatic("/tmp".into()),
        }),
    };
    let precision = pick!(precision, Precision::Model);
    let on_device_only =
        matches!(precision.value, Precision::Tf32x3 | Precision::F16x3 | Precision::Tf32 | Precision::Bf16);
    if on_device_only && *around.device == Device::Cpu {
        let why = format!("precision {} needs a GPU: choose model, f64 or f32", precision.value);
        return Err(PolicyError::Value { origin: precision.origin, why });
    }
    let shares = shares(layers, around)?;
    let mut warnings = Vec::new();
    let inside = pick!(inside, Inside::Auto);
    if inside.value == Inside::Keep && *around.device != Device::Cpu {
        warnings.push(format!(
            "{}: on a GPU that keeps what auto keeps, the slopes of the angle edges' second map; all else is faster rebuilt",
            inside.origin
        ));
    }
    let placement = asked.placement(around)?;
    let tiers = asked.budgets(&placement.value, &shares, around, &mut warnings)?;
    let pool = asked.pool(&tiers, &shares)?;
    let (backend, device) = asked_device(layers, around.topology);
    Ok(Policy {
        backend,
        device,
        head: pick!(head),
        placement: Setting::new(Placement::Tiers(placement.value), placement.origin),
        tiers,
        pool,
        checkpoint: pick!(checkpoint, CheckpointRule::Auto),
        inside,
        store: pick!(store, Store::Exact),
        precision,
        threads: pick!(threads).unwrap_or_else(|| threads(around)),
        simd: pick!(simd, Simd::Auto),
        scratch_dir: asked.scratch,
        cache_dir: pick!(cache_dir).or_else(|| cache(around)),
        kernel_dir: pick!(kernel_dir),
        graph: pick!(graph, true),
        streams: pick!(streams, 2),
        verify: pick!(verify, Verify::Auto),
        blocks: pick!(blocks),
        profile: pick!(profile),
        log: pick!(log),
        shares,
        warnings,
    })
}

/// [`resolve`] for this machine, where the CPU computes.
///
/// # Errors
/// As [`resolve`].
pub fn resolve_here(layers: &[Layer], in_client: bool) -> Result<(Policy, Topology), PolicyError> {
    let topology = Topology::here();
    let around = Surroundings {
        topology: &topology,
        device: &Device::Cpu,
        in_client,
        environment: &|name| std::env::var(name).ok(),
        scratch: &file_system,
    };
    let policy = resolve(layers, &around)?;
    Ok((policy, topology))
}

struct Asked {
    placement: Option<Setting<Placement>>,
    hbm: Option<Setting<Budget>>,
    host: Option<Setting<Budget>>,
    file: Option<Setting<Budget>>,
    scratch: Setting<PathBuf>,
}

fn is_zero(budget: &Option<Setting<Budget>>) -> bool {
    matches!(budget, Some(b) if b.value.of(u64::MAX) == 0)
}

impl Asked {
    /// The tiers, from the setting or from the machine.
    fn placement(&self, around: &Surroundings) -> Result<Setting<Vec<Tier>>, PolicyError> {
        if let Some(Setting { value: Placement::Tiers(tiers), origin }) = &self.placement {
            self.agree(tiers, origin)?;
            if tiers.contains(&Tier::Managed) && *around.device == Device::Cpu {
                return Err(PolicyError::NeedsDevice { origin: origin.clone(), tier: "managed" });
            }
            return Ok(Setting::new(tiers.clone(), origin.clone()));
        }
        let mut tiers = vec![Tier::Hbm];
        match around.device {
            _ if is_zero(&self.host) => {}
            Device::Discrete { coherent: true, .. } => tiers.push(Tier::System),
            Device::Discrete { coherent: false, .. } => tiers.push(Tier::Pinned),
            // Moving between tiers of one memory gains nothing, unless somebody asks for it.
            Device::Cpu | Device::Shared { .. } if self.host.is_some() => tiers.push(Tier::System),
            Device::Cpu | Device::Shared { .. } => {}
        }
        if self.file.is_some() && !is_zero(&self.file) {
            tiers.push(Tier::File);
        }
        Ok(Setting::automatic(tiers))
    }

    /// Checks budgets against a placement that somebody wrote.
    fn agree(&self, tiers: &[Tier], origin: &str) -> Result<(), PolicyError> {
        let written = tiers.iter().map(|t| t.name()).collect::<Vec<_>>().join(",");
        let first = format!("{origin}={written}");
        let contradiction = |budget: &Setting<Budget>, why: &str| {
            let second = format!("{}={}", budget.origin, budget.value);
            Err(PolicyError::Contradiction { first: first.clone(), second, why: why.into() })
        };
        let host = tiers.iter().any(|t| t.is_host());
        match &self.host {
            Some(b) if host && is_zero(&self.host) => contradiction(b, "raise the budget or leave the host tiers out")?,
            Some(b) if !host && !is_zero(&self.host) => {
                contradiction(b, "add system or pinned to the tiers or unset it")?
            }
            _ => {}
        }
        match &self.file {
            Some(b) if tiers.contains(&Tier::File) && is_zero(&self.file) => {
                contradiction(b, "raise the budget or leave file out")
            }
            Some(b) if !tiers.contains(&Tier::File) && !is_zero(&self.file) => {
                contradiction(b, "add file to the tiers or unset it")
            }
            _ => Ok(()),
        }
    }

    fn budgets(
        &self,
        tiers: &[Tier],
        shares: &Shares,
        around: &Surroundings,
        warnings: &mut Vec<String>,
    ) -> Result<Vec<TierBudget>, PolicyError> {
        let budget = |tier, asked: &Option<Setting<Budget>>, share, of, what: String| {
            let setting = asked.clone().unwrap_or_else(|| Setting::automatic(Budget::Share(share)));
            let bytes = setting.value.of(of);
            if bytes > of {
                return Err(PolicyError::TooMuch { origin: setting.origin, what, need: bytes, have: of });
            }
            Ok(TierBudget { tier, bytes, setting, of })
        };
        tiers
            .iter()
            .map(|&tier| match tier {
                Tier::Hbm => {
                    let kept = match shares.kept {
                        0 => String::new(),
                        kept => format!(" beside {} for the MD engine", show_bytes(kept)),
                    };
                    let shared = shares.hbm_why.as_ref().map_or(String::new(), |why| format!(" ({why})"));
                    budget(tier, &self.hbm, 0.9, shares.hbm, format!("fast memory{shared}{kept}"))
                }
                Tier::File => {
                    let (folder, origin) = (&self.scratch.value, &self.scratch.origin);
                    let facts = (around.scratch)(folder).map_err(|e| PolicyError::Scratch {
                        origin: origin.clone(),
                        folder: folder.clone(),
                        why: e.to_string(),
                    })?;
                    if facts.in_memory {
                        return Err(PolicyError::ScratchInMemory {
                            origin: origin.clone(),
                            folder: folder.clone(),
                            file_system: facts.name,
                        });
                    }
                    if facts.network {
                        warnings.push(format!(
                            "scratch folder {} is on {}, reached over a network: a local disk in {} is faster",
                            folder.display(),
                            facts.name,
                            variable("scratch_dir")
                        ));
                    }
                    // Every task of the machine writes a file of its own there.
                    let tasks = around.topology.tasks.value.max(1);
                    let part = if tasks > 1 { format!(", free / {tasks} tasks") } else { String::new() };
                    // Bytes that somebody has written are for whoever finds room: another task may have a disk of its own, or have taken its part.
                    let written = matches!(&self.file, Some(Setting { value: Budget::Bytes(..), .. }));
                    let (of, part) = if written { (facts.free, "") } else { (facts.free / tasks as u64, &*part) };
                    budget(tier, &self.file, 0.8, of, format!("disk at {}{part}", folder.display()))
                }
                _ => budget(tier, &self.host, 0.7, shares.host, format!("host memory ({})", shares.host_why)),
            })
            .collect()
    }

    /// What all tiers of one memory get together: 90 %, or more where settings say so and it is there.
    fn pool(&self, tiers: &[TierBudget], shares: &Shares) -> Result<Option<u64>, PolicyError> {
        let Some(all) = shares.pool else { return Ok(None) };
        let written = |t: &&TierBudget| !t.setting.is_automatic();
        let hbm: Vec<&TierBudget> = tiers.iter().filter(|t| t.tier == Tier::Hbm).filter(written).collect();
        let host: Vec<&TierBudget> = tiers.iter().filter(|t| t.tier.is_host()).filter(written).take(1).collect();
        let need = hbm.iter().chain(&host).map(|t| t.bytes).sum::<u64>();
        if need > all {
            let origins: Vec<&str> = hbm.iter().chain(&host).map(|t| t.setting.origin.as_str()).collect();
            let what = "one memory that all tiers share".to_string();
            return Err(PolicyError::TooMuch { origin: origins.join(" with "), what, need, have: all });
        }
        Ok(Some(Budget::Share(0.9).of(all).max(need)))
    }
}

/// Cores of affinity and cgroup, or fewer where `OMP_NUM_THREADS` says so, as batch systems set it.
fn threads(around: &Surroundings) -> Setting<usize> {
    let allowed = around.topology.threads();
    // Nested counts ("4,2") begin with the outermost.
    let said = (around.environment)("OMP_NUM_THREADS").and_then(|t| t.split(',').next()?.trim().parse::<usize>().ok());
    match said {
        Some(n) if n > 0 && n <= allowed => Setting::new(n, "OMP_NUM_THREADS"),
        _ => Setting::automatic(allowed),
    }
}

fn cache(around: &Surroundings) -> Option<Setting<PathBuf>> {
    let folder =
        |name: &'static str| Some((name, PathBuf::from((around.environment)(name).filter(|t| !t.is_empty())?)));
    let (origin, base) = folder("XDG_CACHE_HOME").or_else(|| folder("HOME").map(|(n, p)| (n, p.join(".cache"))))?;
    Some(Setting::new(base.join("weir"), origin))
}
