//! What a policy says of itself: lines for log headers and `weir hardware`, and the memory it opens.

use super::names::variable;
use super::{Policy, Setting};
use crate::faults::Faults;
use crate::kind::{show_bytes, AllocError, File, Hbm, Kind, Ledger, Managed, Pinned, System, Tier};
use crate::topology::Topology;
use std::fmt::Display;

/// A value and who said so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Variable that sets it.
    pub name: String,
    /// For people.
    pub value: String,
    /// Flag, variable, file, or `automatic`.
    pub origin: String,
}

impl Policy {
    /// Every setting with its origin, in the order of the documentation.
    pub fn explain(&self) -> Vec<Line> {
        let mut lines = Vec::new();
        fn line<T>(key: &str, setting: &Setting<T>, value: impl Display) -> Line {
            Line { name: variable(key), value: value.to_string(), origin: setting.origin.clone() }
        }
        macro_rules! plain {
            ($($field:ident),+) => { $(lines.push(line(stringify!($field), &self.$field, &self.$field.value));)+ };
        }
        macro_rules! optional {
            ($($field:ident $show:ident),+) => { $(if let Some(s) = &self.$field {
                lines.push(line(stringify!($field), s, s.value.$show()));
            })+ };
        }
        plain!(backend, device);
        optional!(head to_string);
        plain!(placement);
        let mut host_said = false;
        for tier in &self.tiers {
            if tier.tier.is_host() && std::mem::replace(&mut host_said, true) {
                continue;
            }
            let shared = self.shares.hbm_why.clone().filter(|_| tier.tier == Tier::Hbm);
            let of = shared.unwrap_or_else(|| show_bytes(tier.of));
            let value = format!("{} ({} of {of})", show_bytes(tier.bytes), tier.setting.value);
            let origin = tier.setting.origin.clone();
            lines.push(Line { name: tier.tier.option().into(), value, origin });
        }
        plain!(checkpoint, inside, store, precision, threads, simd);
        let node = &self.shares.node;
        lines.push(line("numa_node", node, node.value.map_or("any".to_string(), |n| n.to_string())));
        if self.tier(Tier::File).is_some() {
            lines.push(line("scratch_dir", &self.scratch_dir, self.scratch_dir.value.display()));
        }
        optional!(cache_dir display, kernel_dir display);
        lines.push(line("graph", &self.graph, if self.graph.value { "on" } else { "off" }));
        plain!(streams, verify);
        optional!(blocks to_string, profile display, log to_string);
        lines
    }

    /// One line: which tiers with how much, and why these.
    pub fn summary(&self) -> String {
        let tiers: Vec<String> = self.tiers.iter().map(|t| format!("{} {}", t.tier, show_bytes(t.bytes))).collect();
        let pool = match self.pool {
            Some(pool) => format!("; they share one memory, {} in all", show_bytes(pool)),
            None => String::new(),
        };
        let kept = match self.shares.kept {
            0 => String::new(),
            kept => format!("; {} left to the MD engine", show_bytes(kept)),
        };
        let why = match &self.placement {
            p if p.is_automatic() && self.pool.is_some() && self.tiers.len() == 1 => {
                "; automatic: moving within one memory gains nothing".into()
            }
            p => format!("; {}", p.origin),
        };
        format!("tiers {}{pool}{kept}{why}; host: {}", tiers.join(", "), self.shares.host_why)
    }

    /// An account per tier: tiers in host memory share the host budget, and all tiers in memory the pool.
    pub fn ledgers(&self) -> Vec<(Tier, Ledger)> {
        let pool = self.pool.map(|bytes| Ledger::new("the memory that tiers share", Tier::Hbm.option(), bytes));
        let make = |name: &str, option, bytes| match &pool {
            Some(pool) => pool.within(name, option, bytes),
            None => Ledger::new(name, option, bytes),
        };
        let host = self.tiers.iter().find(|t| t.tier.is_host());
        let host = host.map(|t| make("host memory", t.tier.option(), t.bytes));
        let ledger = |tier: Tier, bytes| match (&host, tier) {
            (Some(host), t) if t.is_host() => host.within(t.name(), t.option(), bytes),
            (_, Tier::File) => Ledger::new("file", Tier::File.option(), bytes),
            (_, t) => make(t.name(), t.option(), bytes),
        };
        self.tiers.iter().map(|t| (t.tier, ledger(t.tier, t.bytes))).collect()
    }

    /// Node that host memory must be bound to. Where one node has all memory it needs no binding; but beside the only node with cores there
    /// may be one of a device's memory (GH200 in NUMA mode), which Linux falls back to.
    pub fn bound(&self, topology: &Topology) -> Option<usize> {
        self.shares.node.value.filter(|_| topology.has_several_memories())
    }

    /// The kinds of the CPU backend, in the order of the tiers. A GPU backend makes `hbm`, `managed` and `pinned` itself,
    /// from [`Policy::ledgers`].
    ///
    /// # Errors
    /// The scratch folder takes no file.
    pub fn open(&self, topology: &Topology, faults: &Faults) -> Result<Vec<Box<dyn Kind>>, AllocError> {
        let mine = |cpus: &[usize]| cpus.iter().copied().filter(|c| topology.allowed_cpus.contains(c)).collect();
        let own = self.shares.node.value.and_then(|n| topology.node(n));
        let cpus: Vec<usize> = own.map(|n| mine(&n.cpus)).unwrap_or_default();
        let node = self.bound(topology);
        let open = |(tier, ledger)| -> Result<Box<dyn Kind>, AllocError> {
            let (cpus, faults) = (cpus.clone(), faults.clone());
            Ok(match tier {
                Tier::Hbm => Box::new(Hbm::new(ledger, faults)),
                Tier::Managed => Box::new(Managed),
                Tier::Pinned => Box::new(Pinned::new(ledger, node, cpus, faults)),
                Tier::System => Box::new(System::new(ledger, node, cpus, faults)),
                Tier::File => Box::new(File::new(ledger, &self.scratch_dir.value, faults)?),
            })
        };
        self.ledgers().into_iter().map(open).collect()
    }
}
