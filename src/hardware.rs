//! `weir hardware`: what the machine is, what may be used of it, and how fast its memories talk to each other.

use crate::cli::HardwareArgs;
use crate::log::Log;
use crate::problem::{print, Usage};
use crate::report::{bytes, settings};
use crate::settings::{flags, set, Settings, Sources};
use anyhow::Result;
use serde_json::{json, Value};
use std::fmt::Write;
use weir_allocators::links::LinkTable;
use weir_allocators::policy::Layer;
use weir_allocators::topology::{Coherent, Topology};
use weir_backends::cpu::{kept_links, measured_links, InstructionSet};
use weir_backends::gpu::devices;
use weir_backends::gpu::driver::{DeviceFacts, DriverError};

/// Runs the command.
///
/// # Errors
/// Settings that cannot be followed, links that cannot be measured, a closed standard output.
pub fn run(args: &HardwareArgs, sources: &Sources, log: &Log) -> Result<()> {
    let flags = flags(&args.compute, None)?;
    let active = sources.look(std::slice::from_ref(&flags), &Layer::default())?;
    let mut remarks = active.policy.warnings.clone();
    let links = if args.measure {
        let everything = every_tier(sources, &flags, &mut remarks)?;
        let (table, messages) = measured_links(&everything.policy, &everything.topology, true)?;
        remarks.extend(messages);
        Some(table)
    } else {
        let everything = every_tier(sources, &flags, &mut remarks)?;
        let (table, message) = kept_links(&everything.policy, &everything.topology);
        remarks.extend(message);
        table
    };
    for remark in &remarks {
        log.warn(remark);
    }
    match args.json {
        true => print(&format!("{}\n", serde_json::to_string_pretty(&as_json(&active, links.as_ref()))?)),
        false => print(&as_text(&active, links.as_ref())),
    }
}

/// The settings with every tier of a CPU in them, unless the user named tiers: what a measurement is to cover. Tiers that this machine
/// cannot give are left out, with a remark.
pub fn every_tier(sources: &Sources, flags: &Layer, remarks: &mut Vec<String>) -> Result<Settings, Usage> {
    let named = sources.look(std::slice::from_ref(flags), &Layer::default())?;
    if named.policy.placement.origin != "automatic" {
        return Ok(named);
    }
    let mut last = None;
    for tiers in ["hbm,pinned,system,file", "hbm,pinned,system"] {
        let mut all = Layer::default();
        set(&mut all, "placement", "all tiers", tiers)?;
        // Budgets say how much may be used, not what can be measured.
        let open = Layer { hbm_budget: None, host_budget: None, file_budget: None, ..flags.clone() };
        match sources.look(&[all, open], &Layer::default()) {
            Ok(settings) => {
                remarks.extend(last.map(|e: Usage| format!("tier file is left out: {e}")));
                return Ok(settings);
            }
            Err(e) => last = Some(e),
        }
    }
    remarks.extend(last.map(|e| format!("links of hbm alone: {e}")));
    Ok(named)
}

/// Numbers as `0-3,8`.
fn ranges(numbers: &[usize]) -> String {
    let mut parts: Vec<(usize, usize)> = Vec::new();
    for &n in numbers {
        match parts.last_mut() {
            Some((_, end)) if *end + 1 == n => *end = n,
            _ => parts.push((n, n)),
        }
    }
    let part = |&(a, b): &(usize, usize)| if a == b { a.to_string() } else { format!("{a}-{b}") };
    parts.iter().map(part).collect::<Vec<_>>().join(",")
}

fn coherent(topology: &Topology) -> Option<String> {
    Some(match topology.coherent.as_ref()? {
        Coherent::Nodes(nodes) => {
            format!("NUMA mode: HBM is node {}, which never counts as host memory", ranges(nodes))
        }
        Coherent::Driver => "driver mode (CDMM): HBM is no NUMA node".into(),
    })
}

fn as_text(active: &Settings, links: Option<&LinkTable>) -> String {
    let (t, p) = (&active.topology, &active.policy);
    let mut text = String::new();
    let out = &mut text;
    // Writing to a string cannot fail.
    let mut line = |label: &str, value: String| writeln!(out, "{label:<12}{value}").expect("text");
    line("processor", t.processor.clone().unwrap_or_else(|| "unknown".into()));
    line("simd", InstructionSet::names(&InstructionSet::here()));
    line("kernel", t.kernel.clone().unwrap_or_else(|| "unknown".into()));
    for n in &t.nodes {
        let cores = if n.cpus.is_empty() { "no cores".into() } else { format!("cores {}", ranges(&n.cpus)) };
        line(
            "node",
            format!("{}: {}, {} of {} free or reclaimable", n.id, cores, bytes(n.available()), bytes(n.total)),
        );
    }
    line("allowed", format!("cores {} by affinity, {} threads worth starting", ranges(&t.allowed_cpus), t.threads()));
    let huge = t
        .huge_bytes
        .map_or("none".into(), |b| format!("{} ({})", bytes(b), format!("{:?}", t.huge_pages).to_lowercase()));
    line("pages", format!("{}, huge {huge}", bytes(t.page_bytes)));
    let limit = t.cgroup.limit.map_or("no memory limit".into(), |l| {
        format!("memory limit {}, {} left", bytes(l), bytes(t.cgroup.left().unwrap_or(0)))
    });
    let cpus = t.cgroup.cpus.map_or(String::new(), |c| format!(", {c} cores' time"));
    line("cgroup", format!("{limit}{cpus}"));
    line("tasks", format!("{} on this node ({})", t.tasks.value, t.tasks.origin));
    if let Some(pool) = &t.pool {
        line("one memory", pool.why.clone());
    }
    if let Some(mode) = coherent(t) {
        line("driver", mode);
    }
    for (driver, device) in gpus() {
        line("gpu", device.map_or_else(|e| format!("{driver}: {e}"), |f| gpu_text(driver, &f)));
    }
    line("figures", "below are those of the CPU; a run on a GPU tells its own".into());
    text.push_str("\nsettings\n");
    for l in p.explain() {
        writeln!(text, "  {:<18} {} ({})", l.name, l.value, l.origin).expect("text");
    }
    writeln!(text, "  {}", p.summary()).expect("text");
    match links {
        None => text.push_str("\nlinks: not measured yet; weir hardware --measure\n"),
        Some(table) => text.push_str(&link_text(table)),
    }
    text
}

/// Devices that are there, usable or not; drivers without any are left out.
fn gpus() -> impl Iterator<Item = (&'static str, Result<DeviceFacts, DriverError>)> {
    devices().into_iter().filter(|(_, d)| !matches!(d, Err(DriverError::Absent { .. })))
}

fn gpu_text(driver: &str, f: &DeviceFacts) -> String {
    let mut text = format!("{} ({}, {driver} {}), {}, {} units", f.name, f.chip, f.driver, bytes(f.memory), f.units);
    if let Some(node) = f.host_node {
        text += &format!(", host node {node}");
    }
    let can = [
        (f.integrated, "shares the host's memory"),
        (f.host_page_tables, "reads host memory in place (host's page tables)"),
        (f.pageable && !f.host_page_tables, "reads host memory in place (faulting)"),
    ];
    can.iter().filter(|(yes, _)| *yes).for_each(|(_, what)| text += &format!("; {what}"));
    text
}

fn gpu_json((driver, device): (&'static str, Result<DeviceFacts, DriverError>)) -> Value {
    match device {
        Err(e) => json!({ "backend": driver, "error": e.to_string() }),
        Ok(f) => json!({
            "backend": driver, "name": f.name, "chip": f.chip.to_string(), "driver": f.driver, "bytes": f.memory,
            "units": f.units, "wave": f.wave, "shared_bytes": f.shared, "host_node": f.host_node,
            "integrated": f.integrated, "host_page_tables": f.host_page_tables, "pageable": f.pageable,
        }),
    }
}

/// The link table for people.
pub fn link_text(table: &LinkTable) -> String {
    let rate = |r: f64| format!("{:.2}", r / 1e9);
    let mut text = format!("\nlinks, GB/s (measured in {:.1} s)\n", table.seconds);
    let head = ["tier", "write", "read", "both w", "both r", "latency us", "touch s/GiB", "direct"];
    let row = |cells: [String; 8]| {
        let cells: Vec<String> =
            cells.iter().enumerate().map(|(k, c)| format!("{c:>w$}", w = if k < 5 { 8 } else { 12 })).collect();
        format!("  {}\n", cells.join(" "))
    };
    text += &row(head.map(String::from));
    let dash = || "-".to_string();
    text += &row([
        "hbm".into(),
        rate(table.hbm),
        dash(),
        dash(),
        dash(),
        dash(),
        format!("{:.3}", table.hbm_first_touch),
        dash(),
    ]);
    for l in &table.links {
        text += &row([
            l.tier.to_string(),
            rate(l.write),
            rate(l.read),
            rate(l.both_write),
            rate(l.both_read),
            format!("{:.1}/{:.1}", l.latency.0 * 1e6, l.latency.1 * 1e6),
            format!("{:.3}", l.first_touch),
            l.direct.map_or(dash(), |d| if d { "yes" } else { "no" }.into()),
        ]);
    }
    text
}

/// The machine as JSON, without names of users, hosts or folders.
pub fn machine_json(topology: &Topology) -> Value {
    let t = topology;
    let node = |n: &weir_allocators::topology::Node| json!({ "id": n.id, "cores": n.cpus.len(), "bytes": n.total, "available_bytes": n.available(), "distances": n.distances });
    json!({
        "processor": t.processor, "instruction_sets": InstructionSet::here().iter().map(|set| set.name()).collect::<Vec<_>>(), "kernel": t.kernel, "nodes": t.nodes.iter().map(node).collect::<Vec<_>>(),
        "allowed_cores": t.allowed_cpus.len(), "threads": t.threads(), "page_bytes": t.page_bytes,
        "huge_bytes": t.huge_bytes, "huge_pages": format!("{:?}", t.huge_pages).to_lowercase(),
        "cgroup_limit_bytes": t.cgroup.limit, "cgroup_left_bytes": t.cgroup.left(), "cgroup_cpus": t.cgroup.cpus,
        "tasks_on_node": t.tasks.value, "one_memory": t.pool.as_ref().map(|p| &p.why), "driver": coherent(t),
    })
}

fn as_json(active: &Settings, links: Option<&LinkTable>) -> Value {
    let p = &active.policy;
    let tier = |t: &weir_allocators::policy::TierBudget| json!({ "tier": t.tier, "bytes": t.bytes, "of_bytes": t.of, "origin": t.setting.origin });
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "machine": machine_json(&active.topology),
        "gpus": gpus().map(gpu_json).collect::<Vec<_>>(),
        "settings": settings(p),
        "tiers": p.tiers.iter().map(tier).collect::<Vec<_>>(),
        "shared_bytes": p.pool,
        "links": links,
    })
}
