//! What a process may take of a machine that it shares: tasks, nodes, groups.

use super::machines::*;
use super::{ask, close, gh, step_of_four};
use weir_allocators::kind::Tier;
use weir_allocators::policy::Device;
use weir_allocators::topology::{tasks_on_device, Topology};

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
