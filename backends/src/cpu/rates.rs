//! Compute rates of this machine, kept from one run to the next.

use super::simd::InstructionSet;
use weir_allocators::kept;
use weir_allocators::policy::Policy;
use weir_allocators::topology::Topology;
use weir_engine::model::Model;
use weir_engine::plan::placement::{Rates, Work};

/// What rates hold for: machine, instruction set, threads, arithmetic and shape.
fn key(model: &Model, precision: &str, policy: &Policy, topology: &Topology) -> String {
    let (machine, threads, set) = (topology.fingerprint(), policy.threads.value, InstructionSet::of(policy.simd.value));
    format!("cpu; {machine}; {}; {threads} threads; {precision}; {:?}", set.name(), model.descriptor.options)
}

/// Whether rates are some of so many layers.
pub(crate) fn good(rates: &Rates, layers: usize) -> bool {
    let all = [&rates.forward, &rates.rebuild, &rates.rebuild_angles, &rates.backward];
    let inside = |w: &Work| [w.node, w.edge, w.angle].iter().all(|x| x.is_finite());
    let fine = |w: &Work| [w.node, w.edge, w.angle, w.tile].iter().all(|x| x.is_finite() && *x >= 0.0);
    all.iter().all(|list| list.len() == layers && list.iter().all(fine))
        && (rates.inside.is_empty() || rates.inside.len() == layers)
        && rates.inside.iter().all(inside)
        && rates.project.is_finite()
        && rates.project >= 0.0
}

/// Rates that a profile on this machine has left, with why others were passed over.
pub fn kept_rates(
    model: &Model,
    precision: &str,
    policy: &Policy,
    topology: &Topology,
) -> (Option<Rates>, Option<String>) {
    let Some(folder) = &policy.cache_dir else { return (None, None) };
    let layers = model.descriptor.options.nlayers;
    kept::load(&folder.value, "rates", &key(model, precision, policy, topology), |r| good(r, layers))
}

/// Keeps rates for later runs.
///
/// # Errors
/// The cache folder cannot be written; the message names it.
pub fn keep_rates(
    model: &Model,
    precision: &str,
    policy: &Policy,
    topology: &Topology,
    rates: &Rates,
) -> Result<(), String> {
    keep(&key(model, precision, policy, topology), policy, rates)
}

/// Keeps rates under a key.
///
/// # Errors
/// The cache folder cannot be written; the message names it.
pub(crate) fn keep(key: &str, policy: &Policy, rates: &Rates) -> Result<(), String> {
    let Some(folder) = &policy.cache_dir else { return Ok(()) };
    kept::store(&folder.value, "rates", key, rates).map_err(|e| {
        format!("rates cannot be kept in {}: {e}; name another folder with WEIR_CACHE_DIR", folder.value.display())
    })
}
