//! Tiers, their budgets, and what contradicts them.

use super::machines::*;
use super::{ask, close, cpu, gh, layer, refused};
use weir_allocators::faults::Faults;
use weir_allocators::kind::Tier;
use weir_allocators::policy::{resolve, Device, Surroundings, NAMES};
use weir_allocators::topology::Topology;

#[test]
fn on_the_cpu_hbm_is_nine_tenths_of_what_is_there_and_one_pool_covers_all() {
    let policy = cpu(&[]).unwrap();
    assert_eq!(policy.tiers.len(), 1, "moving within one memory gains nothing");
    close(policy.bytes(Tier::Hbm), 0.9, 103 * GIB);
    close(policy.pool.unwrap(), 0.9, 103 * GIB);
    assert!(policy.summary().contains("gains nothing"), "{}", policy.summary());
    let split = cpu(&[("WEIR_PLACEMENT", "hbm,system,pinned"), ("WEIR_HBM_BUDGET", "20GiB")]).unwrap();
    assert_eq!(split.bytes(Tier::Hbm), 20 * GIB);
    close(split.bytes(Tier::System), 0.7, 103 * GIB);
    // The pool, not the sum of tiers, is what there is; host tiers share one budget.
    let ledgers = split.ledgers();
    let of = |tier| &ledgers.iter().find(|(t, _)| *t == tier).unwrap().1;
    assert_eq!(of(Tier::System).left(), split.bytes(Tier::System));
    let _held = of(Tier::System).take(split.bytes(Tier::System)).unwrap();
    assert_eq!(of(Tier::Pinned).left(), 0);
    close(of(Tier::Hbm).left(), 1.0, 20 * GIB);
    let _more = of(Tier::Hbm).take(20 * GIB).unwrap();
    refused(&[("WEIR_HBM_BUDGET", "104GiB")], &["WEIR_HBM_BUDGET asks for 104.00 GiB", "103.00 GiB"]);
    let both = [("WEIR_HBM_BUDGET", "60GiB"), ("WEIR_HOST_BUDGET", "60GiB")];
    refused(&both, &["WEIR_HBM_BUDGET with WEIR_HOST_BUDGET", "one memory", "120.00 GiB"]);
    let all = cpu(&[("WEIR_HBM_BUDGET", "100GiB")]).unwrap();
    assert_eq!(all.pool, Some(100 * GIB), "a setting may take more than nine tenths");
}

#[test]
fn a_coherent_device_overflows_into_its_own_node_and_hbm_nodes_never_count() {
    let topology = gh200().read(65_536, &[]);
    let policy = ask(&topology, gh(90 * GIB), &[], false).unwrap();
    assert_eq!(policy.tiers.iter().map(|t| t.tier).collect::<Vec<_>>(), [Tier::Hbm, Tier::System]);
    close(policy.bytes(Tier::Hbm), 0.9, 90 * GIB);
    close(policy.bytes(Tier::System), 0.7, 440 * GIB);
    assert_eq!((policy.pool, policy.shares.node.value), (None, Some(0)));
    let message = ask(&topology, gh(90 * GIB), &[("WEIR_NUMA_NODE", "1")], false).unwrap_err().to_string();
    assert!(message.contains("device's memory") && message.contains("[0]"), "{message}");
    assert!(ask(&topology, gh(90 * GIB), &[("WEIR_NUMA_NODE", "7")], false).is_err());
    // Even where the driver names its own HBM node as the nearest.
    let odd = Device::Discrete { name: "GH200".into(), free: GIB, tasks: 1, node: Some(1), coherent: true };
    assert_eq!(ask(&topology, odd, &[], false).unwrap().shares.node.value, Some(0));
}

#[test]
fn a_device_on_a_bus_pins_and_a_shared_memory_has_one_pool() {
    let card = Device::Discrete { name: "H100".into(), free: 78 * GIB, tasks: 1, node: Some(1), coherent: false };
    let policy =
        ask(&server().read(4096, &[]), card, &[("WEIR_FILE_BUDGET", "50GiB"), ("WEIR_SCRATCH_DIR", "/nvme")], false);
    let policy = policy.unwrap();
    assert_eq!(policy.tiers.iter().map(|t| t.tier).collect::<Vec<_>>(), [Tier::Hbm, Tier::Pinned, Tier::File]);
    close(policy.bytes(Tier::Pinned), 0.7, 240 * GIB);
    let apu = Device::Shared { name: "MI300A".into(), cap: Some(96 * GIB), node: Some(3) };
    let policy = ask(&mi300a().read(4096, &[]), apu, &[], false).unwrap();
    close(policy.bytes(Tier::Hbm), 0.9, 96 * GIB);
    assert_eq!(policy.tiers.len(), 1);
    close(policy.pool.unwrap(), 0.9, 118 * GIB);
}

#[test]
fn an_md_engine_keeps_two_gibibytes() {
    let topology = gh200().read(65_536, &[]);
    let policy = ask(&topology, gh(90 * GIB), &[], true).unwrap();
    close(policy.bytes(Tier::Hbm), 0.9, 88 * GIB);
    assert!(policy.summary().contains("2.00 GiB left to the MD engine"), "{}", policy.summary());
    let message = ask(&topology, gh(90 * GIB), &[("WEIR_HBM_BUDGET", "89GiB")], true).unwrap_err().to_string();
    assert!(message.contains("MD engine") && message.contains("88.00 GiB"), "{message}");
    assert!(ask(&topology, gh(90 * GIB), &[("WEIR_HBM_BUDGET", "89GiB")], false).is_ok());
}

#[test]
fn scratch_in_memory_is_refused_a_network_is_warned_of_and_file_gets_its_default() {
    let file = ("WEIR_PLACEMENT", "hbm,file");
    refused(&[file], &["/tmp", "tmpfs", "WEIR_SCRATCH_DIR", "automatic"]);
    refused(&[file, ("WEIR_SCRATCH_DIR", "/nowhere")], &["/nowhere", "WEIR_SCRATCH_DIR"]);
    let far = cpu(&[file, ("WEIR_SCRATCH_DIR", "/lustre")]).unwrap();
    assert!(far.warnings[0].contains("lustre"), "{:?}", far.warnings);
    close(far.bytes(Tier::File), 0.8, 1000 * GIB);
    let near = cpu(&[file, ("WEIR_SCRATCH_DIR", "/nvme"), ("WEIR_FILE_BUDGET", "50%")]).unwrap();
    assert!(near.warnings.is_empty());
    close(near.bytes(Tier::File), 0.5, 1000 * GIB);
    refused(&[file, ("WEIR_SCRATCH_DIR", "/nvme"), ("WEIR_FILE_BUDGET", "2TiB")], &["WEIR_FILE_BUDGET", "/nvme"]);
    // Nobody asked for a file, so that nobody looks at the folder.
    assert_eq!(cpu(&[("WEIR_SCRATCH_DIR", "/nowhere")]).unwrap().bytes(Tier::File), 0);
}

#[test]
fn settings_that_exclude_each_other_are_errors_that_name_both() {
    let contradictions = [
        ("hbm", "WEIR_FILE_BUDGET", "10GiB"),
        ("hbm,system", "WEIR_FILE_BUDGET", "5%"),
        ("hbm,file", "WEIR_FILE_BUDGET", "0"),
        ("hbm,file", "WEIR_HOST_BUDGET", "10GiB"),
        ("hbm,system", "WEIR_HOST_BUDGET", "0%"),
    ];
    for (tiers, name, text) in contradictions {
        let pairs = [("WEIR_PLACEMENT", tiers), (name, text), ("WEIR_SCRATCH_DIR", "/nvme")];
        refused(&pairs, &["contradict", &format!("WEIR_PLACEMENT={tiers}"), name]);
    }
    refused(&[("WEIR_PLACEMENT", "hbm,managed")], &["managed", "GPU", "system"]);
    refused(&[("WEIR_PRECISION", "tf32")], &["WEIR_PRECISION", "needs a GPU"]);
    cpu(&[("WEIR_CHECKPOINT", "all"), ("WEIR_HBM_BUDGET", "1GiB")]).unwrap();
    // One configuration serves both kinds of machine.
    let kept = |device| ask(&gb10().read(4096, &[]), device, &[("WEIR_INSIDE", "keep")], false).unwrap().warnings;
    assert!(kept(gh(90 * GIB)).iter().any(|w| w.contains("WEIR_INSIDE")) && kept(Device::Cpu).is_empty());
    cpu(&[("WEIR_PLACEMENT", "hbm"), ("WEIR_FILE_BUDGET", "0"), ("WEIR_HOST_BUDGET", "0")]).unwrap();
    cpu(&[("WEIR_PLACEMENT", "auto"), ("WEIR_HOST_BUDGET", "1GiB")]).unwrap();
}

#[test]
fn every_value_is_explained_with_its_origin() {
    let policy = cpu(&[("WEIR_HBM_BUDGET", "60GB"), ("WEIR_LOG", "debug"), ("WEIR_HEAD", "water")]).unwrap();
    let lines = policy.explain();
    let line = |name: &str| lines.iter().find(|l| l.name == name).unwrap_or_else(|| panic!("{name} is not explained"));
    assert_eq!(line("WEIR_HBM_BUDGET").origin, "WEIR_HBM_BUDGET");
    assert!(line("WEIR_HBM_BUDGET").value.contains("60GB is read in powers of 1024"), "{lines:?}");
    assert_eq!((line("WEIR_PLACEMENT").value.as_str(), line("WEIR_PLACEMENT").origin.as_str()), ("hbm", "automatic"));
    assert_eq!(
        (line("WEIR_CACHE_DIR").value.as_str(), line("WEIR_CACHE_DIR").origin.as_str()),
        ("/home/ann/.cache/weir", "HOME")
    );
    for name in [
        "WEIR_THREADS",
        "WEIR_STORE",
        "WEIR_CHECKPOINT",
        "WEIR_INSIDE",
        "WEIR_NUMA_NODE",
        "WEIR_HEAD",
        "WEIR_LOG",
        "WEIR_BACKEND",
    ] {
        line(name);
    }
    let known = |name: &str| NAMES.iter().any(|n| name == format!("WEIR_{}", n.key.to_uppercase()));
    assert!(lines.iter().all(|l| known(&l.name)));
}

#[test]
fn a_policy_opens_the_kinds_of_this_machine_within_its_budgets() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let topology = Topology::here();
    let settings = layer(&[
        ("WEIR_PLACEMENT", "hbm,system,file"),
        ("WEIR_HBM_BUDGET", "8MiB"),
        ("WEIR_HOST_BUDGET", "4MiB"),
        ("WEIR_FILE_BUDGET", "2MiB"),
        ("WEIR_SCRATCH_DIR", folder.path().to_str().unwrap()),
    ]);
    let around = Surroundings {
        topology: &topology,
        device: &Device::Cpu,
        in_client: false,
        environment: &|name| std::env::var(name).ok(),
        scratch: &weir_allocators::kind::file_system,
    };
    let policy = resolve(&[settings], &around).unwrap();
    let kinds = policy.open(&topology, &Faults::none()).unwrap();
    let sizes: Vec<(Tier, u64)> = kinds.iter().map(|k| (k.tier(), k.capacity())).collect();
    assert_eq!(sizes, [(Tier::Hbm, 8 << 20), (Tier::System, 4 << 20), (Tier::File, 2 << 20)]);
    for kind in &kinds {
        let message = kind.allocate(16 << 20).unwrap_err().to_string();
        assert!(message.contains(kind.tier().option()), "{message}");
        kind.allocate(1 << 20).unwrap();
    }
}
