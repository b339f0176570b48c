//! Promises of the placement policy, on machines that are not here.

#[path = "../machines/mod.rs"]
mod machines;
mod reading;
mod shares;
mod tiers;

use machines::{gb10, GIB};
use std::path::Path;
use weir_allocators::kind::FileSystem;
use weir_allocators::policy::{read, resolve, Device, Layer, Policy, PolicyError, Surroundings};
use weir_allocators::topology::Topology;

fn disk(name: &str, in_memory: bool, network: bool) -> FileSystem {
    FileSystem { name: name.into(), in_memory, network, free: 1000 * GIB }
}

fn layer(pairs: &[(&str, &str)]) -> Layer {
    let found = read(pairs.iter().map(|(n, t)| (n.to_string(), t.to_string()))).unwrap();
    found.strict().unwrap().environment
}

fn ask(topology: &Topology, device: Device, pairs: &[(&str, &str)], in_client: bool) -> Result<Policy, PolicyError> {
    let scratch = |folder: &Path| match folder.to_str().unwrap() {
        "/tmp" => Ok(disk("tmpfs", true, false)),
        "/lustre" => Ok(disk("lustre", false, true)),
        "/nowhere" => Err(std::io::ErrorKind::NotFound.into()),
        _ => Ok(disk("xfs", false, false)),
    };
    let environment = |name: &str| (name == "HOME").then(|| "/home/ann".to_string());
    let around = Surroundings { topology, device: &device, in_client, environment: &environment, scratch: &scratch };
    resolve(&[layer(pairs)], &around)
}

fn cpu(pairs: &[(&str, &str)]) -> Result<Policy, PolicyError> {
    ask(&gb10().read(4096, &[]), Device::Cpu, pairs, false)
}

fn refused(pairs: &[(&str, &str)], words: &[&str]) {
    let message = cpu(pairs).unwrap_err().to_string();
    assert!(words.iter().all(|w| message.contains(w)), "{pairs:?}: {message}");
}

fn gh(free: u64) -> Device {
    Device::Discrete { name: "GH200".into(), free, tasks: 1, node: Some(0), coherent: true }
}

/// A task of a step of four on this machine.
fn step_of_four(rank: &str) -> [(&str, &str); 4] {
    [("SLURM_STEP_ID", "0"), ("SLURM_STEP_NUM_TASKS", "4"), ("SLURM_NTASKS_PER_NODE", "4"), ("SLURM_LOCALID", rank)]
}

fn close(bytes: u64, share: f64, of: u64) {
    assert!((bytes as f64 - share * of as f64).abs() < 1024.0, "{bytes} is not {share} of {of}");
}
