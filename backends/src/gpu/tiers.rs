//! From a placement policy to the tiers of a GPU calculator, with link rates measured now.

use super::driver::{Driver, DriverError, Memory, Stream};
use super::memory::{Arena, Held, Refused, TierMemory};
use super::{hbm, GpuTier};
use crate::cpu::tiers::{capacities, measured_links, TierError};
use std::sync::Arc;
use std::time::Instant;
use thiserror::Error;
use weir_allocators::faults::Faults;
use weir_allocators::kind::{show_bytes, File, Kind, Ledger, System, Tier};
use weir_allocators::policy::Policy;
use weir_allocators::topology::Topology;
use weir_engine::plan::placement::TierSpec;

/// Longest copy of a measurement, bytes.
const LONGEST: u64 = 64 << 20;
/// First copy, which tells how long the others may be.
const FIRST: u64 = 1 << 20;
/// Shortest that tells a rate.
const SHORTEST: u64 = 64 << 10;
/// Time that one timed copy should take, s.
const SLICE: f64 = 2e-3;
/// Rates where there is no room to measure, bytes/s and s: a PCIe 4.0 link. An assumption.
const ASSUMED: Link = Link { out: 20e9, into: 20e9, both: 0.8, latency: 20e-6 };
/// Share of a copy that leaves the kernels alone. Copy engines work beside them, and their share of the bandwidth is small; but copies of
/// memory that is not page-locked go through the driver's own buffers, by its threads. Assumptions, not measured.
const OVERLAP: [f64; 2] = [1.0, 0.5];

/// Opened tiers.
pub struct Opened {
    /// For [`super::GpuOptions::tiers`].
    pub tiers: Vec<GpuTier>,
    /// What the user should know.
    pub remarks: Vec<String>,
}

/// Why the memory of a policy cannot be used with a GPU.
#[derive(Debug, Error)]
pub enum GpuTierError {
    /// The scratch folder, or its links.
    #[error(transparent)]
    File(#[from] TierError),
    /// The driver has not, or refuses, what a tier needs.
    #[error("tier {tier}: {error}; choose other tiers with WEIR_PLACEMENT")]
    Refused {
        /// Which.
        tier: Tier,
        /// Why.
        error: Refused,
    },
}

/// Rates between the device and a tier: bytes/s, the factor on them while both directions are busy, s of the shortest copy.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Link {
    out: f64,
    into: f64,
    both: f64,
    latency: f64,
}

/// Opens the tiers of a policy that was resolved for this device. Tiers for which one memory leaves nothing are left out, with a remark.
///
/// # Errors
/// [`GpuTierError`].
pub fn open_tiers(policy: &Policy, topology: &Topology, driver: &Arc<dyn Driver>) -> Result<Opened, GpuTierError> {
    let file = match policy.tier(Tier::File) {
        Some(budget) => {
            let ledger = Ledger::new(Tier::File.name(), Tier::File.option(), budget.bytes);
            Some(File::new(ledger, &policy.scratch_dir.value, Faults::none()).map_err(TierError::Kind)?)
        }
        None => None,
    };
    let most = |tier: Tier| file.as_ref().filter(|_| tier == Tier::File).map_or(u64::MAX, |f| f.capacity());
    let capacity = capacities(policy, &policy.tiers.iter().map(|t| most(t.tier)).collect::<Vec<_>>());
    let mut opened = Opened { tiers: vec![hbm(capacity[0])], remarks: Vec::new() };
    for (budget, capacity) in policy.tiers.iter().zip(capacity).skip(1) {
        let tier = budget.tier;
        if capacity == 0 {
            let why = match tier {
                Tier::File => "gets nothing: its folder has no room; set WEIR_SCRATCH_DIR or",
                _ => "gets nothing: other tiers have taken the memory that they share; set WEIR_HBM_BUDGET or",
            };
            opened.remarks.push(format!("tier {tier} {why} {}", tier.option()));
            continue;
        }
        let memory = memory(policy, topology, tier, capacity);
        let room = (capacity / 2).min(opened.tiers[0].spec.capacity / 8).min(LONGEST);
        let link = match measure(driver, &memory, room) {
            Ok(Some(link)) => link,
            // No room is no reason to refuse: the planner asks for what it needs.
            Ok(None) | Err(Refused::Driver(DriverError::OutOfMemory { .. })) => {
                opened
                    .remarks
                    .push(format!("tier {tier}: no room to measure its link; {} GB/s are assumed", ASSUMED.out / 1e9));
                ASSUMED
            }
            Err(error) => return Err(GpuTierError::Refused { tier, error }),
        };
        let (link, memory) = match &file {
            Some(file) if tier == Tier::File => {
                let (disk, remarks) = disk_link(policy, topology)?;
                opened.remarks.extend(remarks);
                (link.through(&disk), TierMemory::Host(Arc::new(file.clone())))
            }
            _ => (link, memory),
        };
        let facts = driver.facts();
        let staged = tier == Tier::System && !facts.host_page_tables;
        if staged && !policy.placement.is_automatic() {
            let why = "is not page-locked, so that the driver copies it through buffers of its own";
            opened.remarks.push(format!("tier system {why}: pinned is faster on {}", facts.name));
        }
        let spec = TierSpec {
            name: tier.name().into(),
            capacity,
            out_rate: link.out,
            in_rate: link.into,
            both: link.both,
            latency: link.latency,
            overlap: OVERLAP[usize::from(staged)],
        };
        opened.tiers.push(GpuTier { spec, memory });
    }
    Ok(opened)
}

impl Link {
    /// Two links one behind the other, both at work at once: the slower one's rates, what both cost.
    fn through(self, other: &Link) -> Link {
        Link {
            out: self.out.min(other.out),
            into: self.into.min(other.into),
            both: self.both.min(other.both),
            latency: self.latency + other.latency,
        }
    }
}

/// Rates between host memory and the scratch folder, as the CPU backend measures and keeps them, with what the user should know.
fn disk_link(policy: &Policy, topology: &Topology) -> Result<(Link, Vec<String>), TierError> {
    let mut alone = policy.clone();
    alone.tiers.retain(|t| matches!(t.tier, Tier::Hbm | Tier::File));
    let (table, remarks) = measured_links(&alone, topology, false)?;
    let link = table.link(Tier::File).map_or(ASSUMED, |l| Link {
        out: l.write,
        into: l.read,
        both: (l.both_write / l.write).min(l.both_read / l.read).clamp(0.05, 1.0),
        latency: l.latency.0.max(l.latency.1),
    });
    Ok((link, remarks))
}

/// What hands out a tier, or for a file the slots between it and the device. Ordinary memory is bound to the node of the policy, which is the device's own unless somebody says otherwise.
fn memory(policy: &Policy, topology: &Topology, tier: Tier, capacity: u64) -> TierMemory {
    match tier {
        Tier::Managed => TierMemory::Driver(Memory::Managed),
        Tier::System => {
            let node = policy.bound(topology);
            let cpus = node
                .and_then(|n| topology.node(n))
                .map_or(Vec::new(), |n| n.cpus.iter().copied().filter(|c| topology.allowed_cpus.contains(c)).collect());
            // Regions are whole pages, which the planner does not know of.
            let ledger = Ledger::new(tier.name(), tier.option(), capacity.next_multiple_of(2 << 20));
            TierMemory::Host(Arc::new(System::new(ledger, node, cpus, Faults::none())))
        }
        Tier::Hbm | Tier::Pinned | Tier::File => TierMemory::Driver(Memory::Pinned),
    }
}

/// A piece of device memory and one of a tier, both twice as long as a copy.
struct Bench<'a> {
    driver: &'a Arc<dyn Driver>,
    device: Held,
    other: Arena,
    bytes: u64,
}

impl<'a> Bench<'a> {
    fn new(driver: &'a Arc<dyn Driver>, memory: &TierMemory, bytes: u64) -> Result<Self, Refused> {
        let device = Held::new(driver, Memory::Device, 2 * bytes)?;
        let other = Arena::take(driver, memory, 2 * bytes)?;
        driver.fill(Stream::Compute, device.array.at, 0, 2 * bytes)?;
        driver.synchronise(Stream::Compute)?;
        let bench = Self { driver, device, other, bytes };
        // Both halves hold something before they are read.
        bench.seconds(&[Stream::Out], bytes)?;
        bench.seconds(&[Stream::Out, Stream::In], bytes)?;
        Ok(bench)
    }

    /// Seconds of copies of so many bytes on these streams at once: out of the first halves, into the second.
    fn seconds(&self, streams: &[Stream], bytes: u64) -> Result<f64, DriverError> {
        let (device, other) = (self.device.array.at, self.other.base());
        let begin = Instant::now();
        for &stream in streams {
            let (to, from) = match stream {
                Stream::Out => (other, device),
                _ => (device + self.bytes, other + if streams.len() > 1 { self.bytes } else { 0 }),
            };
            // SAFETY: both pieces are twice as long as the longest copy, and live until the streams have been waited for.
            unsafe { self.driver.copy(stream, to, from, bytes)? };
        }
        for &stream in streams {
            self.driver.synchronise(stream)?;
        }
        Ok(begin.elapsed().as_secs_f64())
    }

    fn median(&self, streams: &[Stream], bytes: u64, times: usize) -> Result<f64, DriverError> {
        let mut all = (0..times).map(|_| self.seconds(streams, bytes)).collect::<Result<Vec<_>, _>>()?;
        all.sort_by(f64::total_cmp);
        Ok(all[times / 2].max(1e-9))
    }
}

/// Rates of a tier; none where `room` is too little to tell. A few milliseconds on a device.
fn measure(driver: &Arc<dyn Driver>, memory: &TierMemory, room: u64) -> Result<Option<Link>, Refused> {
    if room < SHORTEST {
        return Ok(None);
    }
    let first = Bench::new(driver, memory, FIRST.min(room))?;
    let rate = first.bytes as f64 / first.median(&[Stream::Out], first.bytes, 3)?;
    let bytes = ((rate * SLICE) as u64).clamp(first.bytes, room) / 4096 * 4096;
    let bench = if bytes > 2 * first.bytes {
        drop(first);
        Bench::new(driver, memory, bytes)?
    } else {
        first
    };
    let latency = bench.median(&[Stream::Out], 4096, 9)?;
    let moved = bench.bytes as f64;
    // What every copy costs however short is counted by itself.
    let rate = |seconds: f64| moved / (seconds - latency).max(seconds / 2.0);
    let (out, into) = (bench.median(&[Stream::Out], bench.bytes, 3)?, bench.median(&[Stream::In], bench.bytes, 3)?);
    let both = bench.median(&[Stream::Out, Stream::In], bench.bytes, 3)?;
    let link = Link { out: rate(out), into: rate(into), both: (out.max(into) / both).clamp(0.05, 1.0), latency };
    Ok(Some(link))
}

impl std::fmt::Display for GpuTier {
    /// `pinned 20.00 GiB, 24.1 GB/s out, 25.3 GB/s in`
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let s = &self.spec;
        write!(f, "{} {}", s.name, show_bytes(s.capacity))?;
        match s.name == Tier::Hbm.name() {
            true => Ok(()),
            false => write!(f, ", {:.1} GB/s out, {:.1} GB/s in", s.out_rate / 1e9, s.in_rate / 1e9),
        }
    }
}
