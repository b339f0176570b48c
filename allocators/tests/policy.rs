//! Promises of the placement policy, on machines that are not here.

mod machines;

use machines::*;
use std::path::Path;
use weir_allocators::faults::Faults;
use weir_allocators::kind::{FileSystem, Tier};
use weir_allocators::policy::{
    read, resolve, Budget, CheckpointRule, Device, Layer, Placement, Policy, PolicyError, Surroundings, NAMES,
};
use weir_allocators::topology::{tasks_on_device, Topology};

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

#[test]
fn amounts_are_read_in_powers_of_1024_and_that_is_said() {
    for (text, bytes, said) in
        [("60GiB", 60 * GIB, false), ("60GB", 60 * GIB, true), ("60G", 60 * GIB, true), ("60 g", 60 * GIB, true)]
    {
        let budget: Budget = text.parse().unwrap();
        assert_eq!(budget.of(0), bytes);
        assert_eq!(budget.to_string().contains("powers of 1024"), said, "{budget}");
    }
    for (text, bytes) in [("0", 0), ("512MiB", GIB / 2), ("1.5TiB", 1536 * GIB), ("10B", 10), ("4kib", 4096)] {
        assert_eq!(text.parse::<Budget>().unwrap().of(1), bytes, "{text}");
    }
    assert_eq!("80%".parse::<Budget>().unwrap().of(1000), 800);
    for text in ["", "60", "GiB", "-1GiB", "101%", "nan%", "1e3G", "6.0.0G", "60GiBs", "99999999TiB", "10X"] {
        let message = text.parse::<Budget>().unwrap_err();
        assert!(message.contains("60GiB"), "{message}");
    }
}

#[test]
fn values_are_written_as_they_are_read() {
    for text in ["auto", "hbm", "hbm,pinned,file", "hbm,system", "hbm,managed"] {
        assert_eq!(text.parse::<Placement>().unwrap().to_string(), text);
    }
    for text in ["auto", "all", "every:3"] {
        assert_eq!(text.parse::<CheckpointRule>().unwrap().to_string(), text);
    }
    for (text, word) in
        [("pinned,hbm", "write hbm,pinned"), ("hbm,hbm", "twice"), ("hbm,pined", "pinned"), ("", "tier")]
    {
        let message = text.parse::<Placement>().unwrap_err();
        assert!(message.contains(word), "{text}: {message}");
    }
}

#[test]
fn a_variable_nobody_knows_is_an_error_with_the_nearest_name_and_module_systems_pass() {
    let one = |name: &str| read([(name.to_string(), "x".to_string())]).unwrap();
    for (name, near) in
        [("WEIR_THREAD", "WEIR_THREADS"), ("WEIR_HBMBUDGET", "WEIR_HBM_BUDGET"), ("WEIR_PLACE", "WEIR_PLACEMENT")]
    {
        let found = one(name);
        assert_eq!(found.unknown.len(), 1, "inside a client it is reported, not fatal");
        let message = found.strict().unwrap_err().to_string();
        assert!(message.ends_with(&format!("did you mean {near}?")), "{message}");
    }
    for name in ["ROOT", "HOME", "DIR", "VERSION", "LIB", "INC", "BASE", "SHARED"] {
        one(&format!("WEIR_{name}")).strict().unwrap();
    }
    one("WEIRD").strict().unwrap();
}

#[test]
fn every_value_is_checked_and_the_error_names_variable_and_choices() {
    let wrong = [
        ("WEIR_BACKEND", "gpu", "emulated"),
        ("WEIR_BACKEND", "wgpu", "does not exist yet"),
        ("WEIR_DEVICE", "first", "index"),
        ("WEIR_PLACEMENT", "ram", "system"),
        ("WEIR_HBM_BUDGET", "60", "60GiB"),
        ("WEIR_CHECKPOINT", "every:0", "every:K"),
        ("WEIR_INSIDE", "all", "rebuild"),
        ("WEIR_STORE", "f64", "bf16"),
        ("WEIR_PRECISION", "fp32", "tf32x3"),
        ("WEIR_THREADS", "0", "65536"),
        ("WEIR_SIMD", "avx", "avx512"),
        ("WEIR_NUMA_NODE", "-1", "node"),
        ("WEIR_GRAPH", "yes", "off"),
        ("WEIR_STREAMS", "3", "2"),
        ("WEIR_VERIFY", "sometimes", "always"),
    ];
    for (name, text, word) in wrong {
        let message = read([(name.to_string(), text.to_string())]).unwrap_err().to_string();
        assert!(message.starts_with(name) && message.contains(text) && message.contains(word), "{message}");
    }
    let unset = read([("WEIR_THREADS".to_string(), String::new())]).unwrap();
    assert_eq!(unset.environment, Layer::default(), "empty counts as unset");
}

#[test]
fn flags_win_over_the_environment_and_that_over_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weir.toml");
    std::fs::write(&path, "threads = 3\nstore = \"f32\"\nhbm_budget = \"1GiB\"\ngraph = false\n").unwrap();
    let pairs = [("WEIR_CONFIG", path.to_str().unwrap()), ("WEIR_STORE", "bf16"), ("WEIR_HBM_BUDGET", "2GiB")];
    let found = read(pairs.map(|(n, t)| (n.to_string(), t.to_string()))).unwrap().strict().unwrap();
    let mut flags = Layer::default();
    flags.set("hbm_budget", "--hbm-budget", "3GiB").unwrap();
    let topology = gb10().read(4096, &[]);
    let none = |_: &str| None;
    let scratch = |_: &Path| Ok(disk("xfs", false, false));
    let around = Surroundings {
        topology: &topology,
        device: &Device::Cpu,
        in_client: false,
        environment: &none,
        scratch: &scratch,
    };
    let policy = resolve(&[flags, found.environment, found.file], &around).unwrap();
    assert_eq!(
        (policy.bytes(Tier::Hbm), policy.tier(Tier::Hbm).unwrap().setting.origin.as_str()),
        (3 * GIB, "--hbm-budget")
    );
    assert_eq!((policy.store.value.to_string().as_str(), policy.store.origin.as_str()), ("bf16", "WEIR_STORE"));
    assert!(policy.threads.value == 3 && policy.threads.origin.contains("weir.toml"), "{:?}", policy.threads);
    assert!(!policy.graph.value && policy.checkpoint.is_automatic());
    for (text, word) in [
        ("thread = 3", "did you mean threads"),
        ("config = \"x\"", "unknown"),
        ("threads = [1]", "array"),
        ("=", "weir.toml"),
    ] {
        std::fs::write(&path, text).unwrap();
        let message = read([("WEIR_CONFIG".to_string(), path.to_str().unwrap().to_string())]).unwrap_err().to_string();
        assert!(message.contains(word), "{text}: {message}");
    }
    let message = read([("WEIR_CONFIG".to_string(), "/nowhere.toml".to_string())]).unwrap_err().to_string();
    assert!(message.contains("WEIR_CONFIG (/nowhere.toml)"), "{message}");
}

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
fn tasks_divide_the_host_share_and_bound_tasks_share_only_their_own_node() {
    let four = step_of_four("2");
    let tree = quad_gh200();
    let device = || Device::Discrete { name: "GH200".into(), free: 90 * GIB, tasks: 1, node: Some(2), coherent: true };
    let loose = ask(&tree.read(65_536, &four), device(), &[], false).unwrap();
    assert_eq!((loose.shares.node.value, loose.shares.host), (Some(2), 108 * GIB / 4));
    assert!(loose.shares.host_why.contains("divided by 4 tasks (SLURM_NTASKS_PER_NODE)"), "{}", loose.shares.host_why);
    assert_eq!((loose.device.value, loose.device.origin.as_str()), (2, "SLURM_LOCALID"));
    tree.file("proc/self/status", "Cpus_allowed_list:\t144-215\nMems_allowed_list:\t0-3\n");
    let bound = ask(&tree.read(65_536, &four), device(), &[], false).unwrap();
    assert_eq!(bound.shares.host, 108 * GIB);
}

#[test]
fn host_memory_is_bound_wherever_linux_could_take_it_from_another_node() {
    let bound = |tree: &Tree, device: Device, pairs: &[(&str, &str)]| {
        let topology = tree.read(4096, &[]);
        ask(&topology, device, pairs, false).unwrap().bound(&topology)
    };
    // One node has cores, the other is HBM.
    assert_eq!(bound(&gh200(), gh(90 * GIB), &[]), Some(0));
    assert_eq!(bound(&gh200(), Device::Cpu, &[]), Some(0));
    // HBM is no node there; the empty ones of MIG give nothing either.
    assert_eq!(bound(&gh200_driver_mode(), gh(90 * GIB), &[]), None);
    assert_eq!(bound(&gb10(), Device::Cpu, &[]), None);
    assert_eq!(bound(&server(), Device::Cpu, &[("WEIR_NUMA_NODE", "1")]), Some(1));
    assert_eq!(bound(&server(), Device::Cpu, &[]), None, "a process on both sockets uses both");
}

#[test]
fn tasks_divide_the_disk_that_all_of_them_write_to() {
    let pairs = [("WEIR_PLACEMENT", "hbm,file"), ("WEIR_SCRATCH_DIR", "/nvme")];
    let of = |tasks: &[(&str, &str)], budget: &[(&str, &str)]| {
        let pairs: Vec<_> = pairs.iter().chain(budget).copied().collect();
        ask(&server().read(4096, tasks), Device::Cpu, &pairs, false)
    };
    let four = step_of_four("1");
    close(of(&[], &[]).unwrap().bytes(Tier::File), 0.8, 1000 * GIB);
    close(of(&four, &[]).unwrap().bytes(Tier::File), 0.8, 250 * GIB);
    close(of(&four, &[("WEIR_FILE_BUDGET", "50%")]).unwrap().bytes(Tier::File), 0.5, 250 * GIB);
    // Bytes that somebody has written may be more than a part, but not more than there are.
    assert_eq!(of(&four, &[("WEIR_FILE_BUDGET", "251GiB")]).unwrap().bytes(Tier::File), 251 * GIB);
    let message = of(&four, &[("WEIR_FILE_BUDGET", "1001GiB")]).unwrap_err().to_string();
    assert!(message.contains("/nvme") && message.contains("1000.00 GiB"), "{message}");
}

#[test]
fn tasks_that_share_a_device_divide_what_it_has_free_and_say_so() {
    let tree = server();
    let card = |tasks| Device::Discrete { name: "H100".into(), free: 80 * GIB, tasks, node: Some(1), coherent: false };
    let of = |tasks, pairs: &[(&str, &str)]| ask(&tree.read(4096, &[]), card(tasks), pairs, false);
    let two = of(2, &[]).unwrap();
    close(two.bytes(Tier::Hbm), 0.9, 40 * GIB);
    let line = two.explain().into_iter().find(|l| l.name == "WEIR_HBM_BUDGET").unwrap();
    assert_eq!(line.value, "36.00 GiB (90 % of 80.00 GiB free / 2 tasks on this device)");
    let alone = of(1, &[]).unwrap();
    close(alone.bytes(Tier::Hbm), 0.9, 80 * GIB);
    assert!(!alone.explain().iter().any(|l| l.value.contains("tasks on this device")));
    close(of(4, &[("WEIR_HBM_BUDGET", "50%")]).unwrap().bytes(Tier::Hbm), 0.5, 20 * GIB);
    let message = of(2, &[("WEIR_HBM_BUDGET", "41GiB")]).unwrap_err().to_string();
    assert!(message.contains("2 tasks on this device") && message.contains("40.00 GiB"), "{message}");
}

#[test]
fn tasks_share_a_device_only_where_there_are_more_of_them_than_devices() {
    // Tasks, devices of the node, devices seen, rank: sharers.
    for (tasks, devices, visible, rank, expected) in [
        (1, 4, 4, Some(0), 1),
        (4, 4, 4, Some(3), 1),
        // Each sees the one that its launcher gave it.
        (4, 4, 1, Some(2), 1),
        // Five on four: the first device has two.
        (5, 4, 4, Some(0), 2),
        (5, 4, 4, Some(4), 2),
        (5, 4, 4, Some(1), 1),
        (8, 4, 1, Some(5), 2),
        (8, 4, 4, None, 2),
        (3, 0, 1, Some(1), 3),
        (2, 0, 0, None, 2),
    ] {
        let got = tasks_on_device(tasks, devices, visible, rank);
        assert_eq!(got, expected, "{tasks} tasks, {devices} devices, {visible} seen, rank {rank:?}");
    }
    let tree = server();
    for card in 0..4 {
        tree.file(&format!("proc/driver/nvidia/gpus/0000:0{card}:00.0/information"), "Model: NVIDIA H100\n");
        let simds = if card == 0 { 0 } else { 440 };
        tree.file(
            &format!("sys/class/kfd/kfd/topology/nodes/{card}/properties"),
            &format!("cpu_cores_count 1\nsimd_count {simds}\n"),
        );
    }
    let four = step_of_four("1");
    let topology = tree.read(4096, &four);
    assert_eq!((topology.devices.nvidia, topology.devices.amd), (4, 3));
    assert_eq!(topology.tasks_on_device(1, topology.devices.nvidia, false), 1, "bound, one each");
    // The job has one of the machine's four.
    let all: Vec<_> = four.into_iter().chain([("SLURM_GPUS_ON_NODE", "1")]).collect();
    assert_eq!(tree.read(4096, &all).tasks_on_device(1, 4, false), 4);
}

#[test]
fn the_cgroup_caps_the_host_share() {
    for (tree, left) in [(container(), 12 * GIB), (old_container(), 6 * GIB)] {
        let policy = ask(&tree.read(4096, &[]), Device::Cpu, &[], false).unwrap();
        assert_eq!(policy.shares.host, left);
        assert!(policy.shares.host_why.contains("cgroup"));
        let tasks = tree.read(4096, &[("MPI_LOCALNRANKS", "2")]);
        assert_eq!(ask(&tasks, Device::Cpu, &[], false).unwrap().shares.host, left / 2);
    }
    let whole = ask(&server().read(4096, &[]), Device::Cpu, &[], false).unwrap();
    assert_eq!((whole.shares.node.value, whole.shares.host), (None, 480 * GIB), "one process may use both sockets");
    let one = ask(&server().read(4096, &[]), Device::Cpu, &[("WEIR_NUMA_NODE", "1")], false).unwrap();
    assert_eq!(one.shares.host, 240 * GIB);
}

#[test]
fn what_may_be_taken_for_speed_is_half_of_the_free_memory_by_part_of_the_cores() {
    let spare = |now: &Topology, threads, pairs: &[(&str, &str)], in_client| {
        let policy = ask(now, Device::Cpu, pairs, in_client).unwrap();
        let written = !policy.tier(Tier::Hbm).unwrap().setting.is_automatic();
        policy.shares.spare(now, threads, written) as f64 / GIB as f64
    };
    let of = |tree: &Tree, threads| spare(&tree.read(4096, &[]), threads, &[], false);
    let close = |got: f64, expected: f64| assert!((got - expected).abs() < 1e-6, "{got} {expected}");
    // All cores may take half; so runs that share the cores cannot take more together.
    close(of(&server(), 128), 240.0);
    close(of(&server(), 16), 30.0);
    close(of(&server(), 1), 1.875);
    // Tasks that have all cores each share the memory all the same.
    let four = server().read(4096, &[("MPI_LOCALNRANKS", "4")]);
    close(spare(&four, 128, &[], false), 60.0);
    close(spare(&four, 16, &[], false), 30.0);
    // Of a budget that somebody wrote the cores are no matter; what is free is.
    close(spare(&server().read(4096, &[]), 1, &[("WEIR_HBM_BUDGET", "50%")], false), 240.0);
    // A group's rest of 12 GiB counts by the group's cores, three of them by its quota; the machine's part is 11.25 GiB for three.
    close(of(&container(), 3), 11.25 / 2.0);
    close(of(&container(), 1), 3.75 / 2.0);
    // A job of 64 GiB and 32 cores: four programs of eight in it, each on cores of its own, share them.
    let job = server();
    let folder = "sys/fs/cgroup/system.slice/slurmstepd.scope/job_7";
    job.file(&format!("{folder}/memory.max"), &format!("{}\n", 64 * GIB));
    job.file(&format!("{folder}/memory.current"), "0\n");
    job.file(&format!("{folder}/cpuset.cpus.effective"), "0-15,64-79\n");
    job.file("proc/self/status", "Cpus_allowed_list:\t0-7\nMems_allowed_list:\t0-1\n");
    close(of(&job, 8), 64.0 * (8.0 / 32.0) / 2.0);
    close(of(&job, 32), 32.0);
    // A quota of a container inside of the group of the limit is not the group's.
    let pod = container();
    std::fs::remove_file(pod.root().join("sys/fs/cgroup/pod/cpu.max")).unwrap();
    pod.file("sys/fs/cgroup/pod/box/cpu.max", "200000 100000\n");
    pod.file("sys/fs/cgroup/cpuset.cpus.effective", "0-127\n");
    close(of(&pod, 2), 12.0 * (2.0 / 128.0) / 2.0);
    // Version 1 does not say whose cores they are: all of the machine's.
    close(of(&old_container(), 16), 6.0 * (16.0 / 128.0) / 2.0);
    // Inside an engine its part stays.
    close(spare(&server().read(4096, &[]), 128, &[], true), 239.0);
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

/// Keywords of the Python package and the page of variables are written by hand: both have every setting.
#[test]
fn every_setting_is_a_keyword_of_python_and_on_the_page_of_variables() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let page = std::fs::read_to_string(root.join("docs/environment.md")).unwrap();
    let stub = std::fs::read_to_string(root.join("ffi/python/python/weir/_settings.pyi")).unwrap();
    // `head` is a keyword that the package's classes name themselves; the others without one are no settings of a calculation.
    let elsewhere = ["head", "config", "shared"];
    for key in NAMES.iter().map(|n| n.key) {
        assert!(page.contains(&format!("`WEIR_{}`", key.to_uppercase())), "docs/environment.md lacks {key}");
        let keyword = stub.lines().any(|l| l.trim_start().starts_with(&format!("{key}: ")));
        assert_eq!(keyword, !elsewhere.contains(&key), "{key} in _settings.pyi");
    }
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
