//! From a placement policy to the tiers of a CPU calculator.

use super::{CpuTier, TierSpec};
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use weir_allocators::faults::Faults;
use weir_allocators::kind::{AllocError, Kind, Tier};
use weir_allocators::links::{load, measure, store, Key, Link, LinkError, LinkTable};
use weir_allocators::policy::Policy;
use weir_allocators::topology::Topology;

/// Time a measurement of links may take; the promise is two seconds.
const MEASURE: Duration = Duration::from_millis(1600);
/// What a measurement may take of each tier, bytes: it does not stand under the budgets, whose rates it should not change.
const ROOM: u64 = 1 << 34;
/// Share of a direct file copy that leaves the cores alone; the rest is the copy thread's own work. An assumption.
const FILE_OVERLAP: f64 = 0.9;

/// Why the memory of a policy cannot be used.
#[derive(Debug, Error)]
pub enum TierError {
    /// A kind cannot be opened.
    #[error(transparent)]
    Kind(#[from] AllocError),
    /// Its links cannot be measured.
    #[error(transparent)]
    Links(#[from] LinkError),
}

/// Opened tiers.
#[derive(Debug)]
pub struct Opened {
    /// For [`super::CpuOptions::tiers`].
    pub tiers: Vec<CpuTier>,
    /// Rates between them; none where there is one tier only.
    pub links: Option<LinkTable>,
    /// What the user should know.
    pub remarks: Vec<String>,
}

/// The link table of a policy's tiers: the kept one, else measured now (under two seconds) and kept; `anew` measures always.
///
/// # Errors
/// No memory to measure with, or a copy failed.
pub fn measured_links(policy: &Policy, topology: &Topology, anew: bool) -> Result<(LinkTable, Vec<String>), TierError> {
    if !anew {
        if let (Some(table), message) = kept_links(policy, topology) {
            return Ok((table, message.into_iter().collect()));
        }
    }
    let mut free = policy.clone();
    free.pool = None;
    for tier in &mut free.tiers {
        tier.bytes = if tier.tier == Tier::File { tier.of.min(ROOM) } else { ROOM };
    }
    let kinds = free.open(topology, &Faults::none())?;
    let names: Vec<Tier> = kinds.iter().map(|k| k.tier()).collect();
    let others: Vec<&dyn Kind> = kinds[1..].iter().map(Box::as_ref).collect();
    let table = measure(key(policy, topology, &names), kinds[0].as_ref(), &others, MEASURE)?;
    let folder = policy.cache_dir.as_ref().map(|s| s.value.as_path());
    let kept = folder.map(|f| store(f, &table));
    Ok((table, kept.and_then(Result::err).map(|e| e.to_string()).into_iter().collect()))
}

fn key(policy: &Policy, topology: &Topology, tiers: &[Tier]) -> Key {
    let scratch = tiers.contains(&Tier::File).then_some(policy.scratch_dir.value.as_path());
    Key::cpu(topology, tiers, scratch)
}

/// A kept table that has a policy's tiers: its own, or that of all tiers, which `weir hardware --measure` makes. With it, why a kept one
/// was passed over.
pub fn kept_links(policy: &Policy, topology: &Topology) -> (Option<LinkTable>, Option<String>) {
    let Some(folder) = policy.cache_dir.as_ref().map(|s| s.value.as_path()) else { return (None, None) };
    let own: Vec<Tier> = policy.tiers.iter().map(|t| t.tier).collect();
    let all = [Tier::Hbm, Tier::Pinned, Tier::System, Tier::File];
    let mut message = None;
    for tiers in [&own[..], &all, &all[..3]] {
        let (table, why) = load(folder, &key(policy, topology, tiers));
        message = message.or(why);
        if let Some(table) = table.filter(|t| own[1..].iter().all(|&o| t.link(o).is_some())) {
            return (Some(table), message);
        }
    }
    (None, message)
}

/// Opens the tiers of a policy, with rates from the link table. Tiers for which one memory leaves nothing are left out, with a remark.
///
/// # Errors
/// [`TierError`].
pub fn open_tiers(policy: &Policy, topology: &Topology, faults: &Faults) -> Result<Opened, TierError> {
    let kinds: Vec<Arc<dyn Kind>> = policy.open(topology, faults)?.into_iter().map(Arc::from).collect();
    let capacity = capacities(policy, &kinds.iter().map(|k| k.capacity()).collect::<Vec<_>>());
    let (links, mut remarks) = match kinds.len() {
        1 => (None, Vec::new()),
        _ => {
            let (table, remarks) = measured_links(policy, topology, false)?;
            (Some(table), remarks)
        }
    };
    let spare = topology.threads() > policy.threads.value;
    let mut tiers = Vec::with_capacity(kinds.len());
    for (kind, capacity) in kinds.into_iter().zip(capacity) {
        let tier = kind.tier();
        if capacity == 0 && tier != Tier::Hbm {
            remarks.push(format!(
                "tier {tier} gets nothing: hbm has taken the memory that they share; set WEIR_HBM_BUDGET or {}",
                tier.option()
            ));
            continue;
        }
        let link = links.as_ref().and_then(|t| t.link(tier));
        let spec = spec(tier, capacity, link, policy.threads.value, spare);
        tiers.push(CpuTier { spec, kind });
    }
    Ok(Opened { tiers, links, remarks })
}

/// What the planner may use of each tier at once; `most` is what each can give. Tiers that share a memory share it out: written budgets
/// first, then the automatic ones in the order of preference.
pub(crate) fn capacities(policy: &Policy, most: &[u64]) -> Vec<u64> {
    let mut pool = policy.pool.unwrap_or(u64::MAX);
    let mut host = policy.tiers.iter().find(|t| t.tier.is_host()).map_or(0, |t| t.bytes);
    let mut order: Vec<usize> = (0..most.len()).collect();
    order.sort_by_key(|&k| policy.tiers[k].setting.is_automatic());
    let mut out = vec![0; most.len()];
    for k in order {
        let tier = &policy.tiers[k];
        let mut bytes = tier.bytes.min(most[k]);
        if tier.tier != Tier::File {
            bytes = bytes.min(pool);
        }
        if tier.tier.is_host() {
            bytes = bytes.min(host);
            host -= bytes;
        }
        if tier.tier != Tier::File {
            pool -= bytes;
        }
        out[k] = bytes;
    }
    out
}

/// A tier as the planner sees it. A copy thread computes nothing itself but takes one of the cores, unless some are idle.
fn spec(tier: Tier, capacity: u64, link: Option<&Link>, threads: usize, spare: bool) -> TierSpec {
    let shared = if spare { 1.0 } else { 1.0 - 1.0 / threads as f64 };
    let overlap = match (tier, link.and_then(|l| l.direct)) {
        (Tier::Hbm, _) => 0.0,
        (Tier::File, Some(true)) => FILE_OVERLAP.max(shared),
        _ => shared,
    };
    // The computing tier's own rates are not read.
    let (out_rate, in_rate, both, latency) = link.map_or((1e9, 1e9, 0.5, 0.0), |l| {
        let both = (l.both_write / l.write).min(l.both_read / l.read).clamp(0.05, 1.0);
        (l.write, l.read, both, l.latency.0.max(l.latency.1))
    });
    TierSpec { name: tier.name().into(), capacity, out_rate, in_rate, both, latency, overlap }
}
