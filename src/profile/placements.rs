//! Tiers behind the first, opened and their links measured, for steps whose budgets others set.

use super::bench::Slow;
use crate::backend::Engine;
use crate::hardware::link_text;
use crate::log::Log;
use crate::settings::{set, Sources};
use anyhow::Result;
use weir_allocators::faults::Faults;
use weir_allocators::policy::Layer;
use weir_backends::cpu::{measured_links, open_tiers};
use weir_backends::gpu::{self, GpuTier};

/// The tiers of a placement (`hbm,pinned`) that `origin` asks for, where this engine computes, and their links for people.
///
/// # Errors
/// Settings that cannot be followed, tiers that cannot be opened or measured.
pub fn open(
    engine: &Engine,
    sources: &Sources,
    flags: &Layer,
    [origin, placement]: [&str; 2],
    log: &Log,
) -> Result<(Slow, String)> {
    let mut layer = Layer::default();
    set(&mut layer, "placement", origin, placement)?;
    // The lines set their own; this one only keeps hbm from taking all of a shared memory. On a GPU links are measured through it.
    let hbm = if engine.device().is_some() { "50%" } else { "1MiB" };
    set(&mut layer, "hbm_budget", origin, hbm)?;
    let settings = sources.settle(&[layer, flags.clone()], &Layer::default())?;
    if let Some(device) = engine.device() {
        let opened = gpu::open_tiers(&settings.policy, &settings.topology, device.driver())?;
        opened.remarks.iter().for_each(|r| log.warn(r));
        let tiers: Vec<GpuTier> = opened.tiers.into_iter().skip(1).collect();
        let links = tiers.iter().map(|t| format!("{t}\n")).collect();
        return Ok((Slow { gpu: tiers, ..Slow::default() }, links));
    }
    let mut links = String::new();
    if settings.policy.tiers.len() > 1 {
        let (table, remarks) = measured_links(&settings.policy, &settings.topology, true)?;
        remarks.iter().for_each(|r| log.warn(r));
        links = link_text(&table);
    }
    let opened = open_tiers(&settings.policy, &settings.topology, &Faults::none())?;
    let tiers = opened.tiers.into_iter().skip(1).collect();
    Ok((Slow { cpu: tiers, ..Slow::default() }, links))
}
