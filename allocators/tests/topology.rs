//! Promises of the topology parsers, on trees of machines that are not here.

mod machines;

use machines::*;
use weir_allocators::topology::{local_rank, parse_list, tasks_on_node, Coherent, HugePages, Topology};

fn hosts(topology: &Topology) -> Vec<usize> {
    topology.host_nodes().map(|n| n.id).collect()
}

#[test]
fn hbm_nodes_of_gh200_never_count_as_host_memory() {
    let one = gh200().read(65_536, &[]);
    assert_eq!(hosts(&one), [0]);
    assert_eq!(one.coherent, Some(Coherent::Nodes(vec![1])));
    assert_eq!(one.node(0).unwrap().available(), 440 * GIB);
    assert_eq!((one.allowed_cpus.len(), one.page_bytes, one.huge_bytes), (72, 65_536, Some(512 << 20)));
    assert_eq!((one.huge_pages, one.pool.clone()), (HugePages::Always, None));
    assert_eq!(one.processor.as_deref(), Some("Arm Neoverse V2"));
    let four = quad_gh200().read(65_536, &[]);
    assert_eq!(hosts(&four), [0, 1, 2, 3]);
    assert_eq!(four.coherent, Some(Coherent::Nodes(vec![4, 12, 20, 28])));
}

#[test]
fn driver_mode_of_gh200_is_told_from_numa_mode() {
    let topology = gh200_driver_mode().read(65_536, &[]);
    assert_eq!((hosts(&topology), topology.nodes.len()), (vec![0], 1));
    assert_eq!(topology.coherent, Some(Coherent::Driver));
    assert_ne!(topology.fingerprint(), gh200().read(65_536, &[]).fingerprint());
}

#[test]
fn measured_rates_hold_when_a_virtual_machine_is_given_more_memory() {
    let before = server().read(4096, &[]);
    let mut after = before.clone();
    after.nodes[0].total *= 2;
    assert_eq!(after.fingerprint(), before.fingerprint());
    after.allowed_cpus.pop();
    assert_ne!(after.fingerprint(), before.fingerprint());
}

#[test]
fn machines_of_one_memory_are_known() {
    let apu = mi300a().read(4096, &[]);
    assert!(apu.pool.as_ref().unwrap().why.contains("MI300A"));
    assert_eq!((hosts(&apu).len(), apu.coherent.clone()), (4, None));
    let spark = gb10().read(4096, &[]);
    assert!(spark.pool.as_ref().unwrap().why.contains("GB10"));
    // The page cache can be dropped: it is not lost as the driver's own count has it.
    assert_eq!(spark.node(0).unwrap().available(), 103 * GIB);
    assert_eq!(server().read(4096, &[]).pool, None);
}

#[test]
fn a_server_has_two_host_nodes_and_no_limits() {
    let topology = server().read(4096, &[]);
    assert_eq!(hosts(&topology), [0, 1]);
    assert_eq!(topology.node(1).unwrap().cpus.len(), 64);
    assert_eq!((topology.cgroup.limit, topology.cgroup.cpus, topology.threads()), (None, None, 128));
    assert_eq!(topology.huge_pages, HugePages::Madvise);
}

#[test]
fn limits_of_both_cgroup_versions_are_found_also_one_level_up() {
    let new = container().read(4096, &[]);
    assert_eq!((new.cgroup.limit, new.cgroup.left()), (Some(16 * GIB), Some(12 * GIB)));
    assert_eq!((new.cgroup.cpus, new.threads()), (Some(2.5), 3));
    let old = old_container().read(4096, &[]);
    assert_eq!((old.cgroup.limit, old.cgroup.left()), (Some(8 * GIB), Some(6 * GIB)));
    assert_eq!(old.threads(), 4);
}

/// Variables of a step, with two more.
fn step<'a>(name: &'a str, value: &'a str, other: &'a str, text: &'a str) -> [(&'a str, &'a str); 4] {
    [("SLURM_STEP_ID", "0"), ("SLURM_STEP_NUM_TASKS", "8"), (name, value), (other, text)]
}

#[test]
fn launchers_say_how_many_tasks_share_the_node() {
    let tasks = |pairs: &[(&str, &str)]| {
        let find = |n: &str| pairs.iter().find(|(k, _)| *k == n).map(|(_, v)| v.to_string());
        let tasks = tasks_on_node(&find);
        (tasks.value, tasks.origin, local_rank(&find).map(|r| r.value))
    };
    assert_eq!(tasks(&[]), (1, "automatic", None));
    let four = step("SLURM_NTASKS_PER_NODE", "4", "SLURM_LOCALID", "3");
    assert_eq!(tasks(&four), (4, "SLURM_NTASKS_PER_NODE", Some(3)));
    let list = step("SLURM_TASKS_PER_NODE", "4(x2),3", "SLURM_NODEID", "2");
    assert_eq!(tasks(&list).0, 3);
    assert_eq!(tasks(&list[..3]).0, 4);
    assert_eq!(tasks(&[("SLURM_TASKS_PER_NODE", "72"), ("OMPI_COMM_WORLD_LOCAL_SIZE", "2")]).0, 2);
    assert_eq!(tasks(&[("MPI_LOCALNRANKS", "8"), ("MPI_LOCALRANKID", "5")]), (8, "MPI_LOCALNRANKS", Some(5)));
    assert_eq!(tasks(&[("PMI_LOCAL_SIZE", "6")]).0, 6);
    for broken in ["", "0", "x", "(x2)", "4(x", "-1"] {
        assert_eq!(tasks(&step("SLURM_TASKS_PER_NODE", broken, "SLURM_NODEID", "0")).0, 1, "{broken}");
    }
}

#[test]
fn a_process_outside_a_step_has_the_whole_machine() {
    let tasks = |pairs: &[(&str, &str)]| {
        let tasks = tasks_on_node(&|n| pairs.iter().find(|(k, _)| *k == n).map(|(_, v)| v.to_string()));
        (tasks.value, tasks.origin)
    };
    for job in ["SLURM_NTASKS_PER_NODE", "SLURM_TASKS_PER_NODE"] {
        let inside = step(job, "72", "SLURM_LOCALID", "0");
        assert_eq!(tasks(&inside), (72, job));
        // As `salloc -n 72` leaves it, and with one of the two alone, which some sites export.
        assert_eq!(tasks(&[(job, "72")]), (1, "automatic"));
        for one in 0..2 {
            assert_eq!(tasks(&[(job, "72"), inside[one]]), (1, "automatic"), "{inside:?}");
        }
        // The step's own count, and launchers', need no such witness.
        assert_eq!(tasks(&[(job, "72"), ("SLURM_STEP_TASKS_PER_NODE", "2")]).0, 2);
        assert_eq!(tasks(&[(job, "72"), ("PMIX_LOCAL_SIZE", "3")]).0, 3);
    }
}

#[test]
fn an_empty_or_broken_tree_is_a_machine_of_one_node() {
    let folder = tempfile::tempdir().unwrap();
    let nothing = Topology::read(folder.path(), 4096, &|_| None);
    assert_eq!((nothing.nodes.len(), nothing.threads()), (1, 1));
    let tree = server();
    tree.file("proc/meminfo", "MemTotal: many kB\nMemFree:\n: :\n");
    tree.file("sys/devices/system/node/online", "a-b,,7-,99999999999999999999\n");
    tree.file("sys/fs/cgroup/system.slice/slurmstepd.scope/job_7/step_0/cpu.max", "100 0\n");
    let topology = tree.read(4096, &[]);
    assert_eq!((topology.nodes.len(), topology.memory.total), (1, 0));
}

#[test]
fn lists_of_cores_are_read_as_the_kernel_writes_them() {
    assert_eq!(parse_list("0-2,8,10-11\n"), [0, 1, 2, 8, 10, 11]);
    assert_eq!(parse_list(""), [] as [usize; 0]);
    assert!(parse_list("0-18446744073709551615").len() <= 65_536);
}

#[test]
fn this_machine_is_read() {
    let here = Topology::here();
    assert!(here.host_nodes().count() > 0 && here.memory.total > 0 && !here.allowed_cpus.is_empty());
    assert!(here.nodes.iter().all(|n| n.free <= n.total && n.available() <= n.total));
}
