//! Machines as the kernel shows them, written as small trees. All are **reconstructed** from documents, none is a dump:
//! the source of each stands beside it. What no source says (core counts apart) is left out.
#![allow(dead_code)]

use std::path::Path;
use tempfile::TempDir;
use weir_allocators::topology::Topology;

pub const GIB: u64 = 1 << 30;

/// A tree below a temporary folder.
pub struct Tree(TempDir);

impl Tree {
    fn new() -> Self {
        Tree(TempDir::new().unwrap())
    }

    pub fn file(&self, path: &str, text: &str) {
        let path = self.0.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    pub fn root(&self) -> &Path {
        self.0.path()
    }

    pub fn read(&self, page: u64, variables: &[(&str, &str)]) -> Topology {
        let find = |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, v)| v.to_string());
        Topology::read(self.root(), page, &find)
    }

    /// Layout of node%d/meminfo: drivers/base/node.c of Linux 6.x.
    fn node(&self, id: usize, cpus: &str, total: u64, free: u64, cache: u64) {
        let (k, folder) = (|b: u64| b / 1024, format!("sys/devices/system/node/node{id}"));
        let used = total - free;
        let text = format!(
            "Node {id} MemTotal:       {} kB\nNode {id} MemFree:        {} kB\nNode {id} MemUsed:        {} kB\n\
             Node {id} Active:         {} kB\nNode {id} Active(file):   {} kB\nNode {id} Inactive(file): {} kB\n\
             Node {id} FilePages:      {} kB\nNode {id} SReclaimable:   {} kB\nNode {id} HugePages_Total:     0\n",
            k(total),
            k(free),
            k(used),
            k(cache),
            k(cache / 2),
            k(cache / 4),
            k(cache),
            k(cache / 4)
        );
        self.file(&format!("{folder}/meminfo"), &text);
        self.file(&format!("{folder}/cpulist"), &format!("{cpus}\n"));
        self.file(&format!("{folder}/distance"), "10 80\n");
    }

    /// Layouts of /proc/meminfo, /proc/self/status and transparent_hugepage/enabled: proc(5) and the kernel's admin guide.
    fn common(&self, online: &str, cpus: &str, total: u64, available: u64, huge: &str) {
        self.file("sys/devices/system/node/online", &format!("{online}\n"));
        self.file(
            "proc/meminfo",
            &format!(
                "MemTotal: {} kB\nMemFree: {} kB\nMemAvailable: {} kB\n",
                total / 1024,
                available / 2048,
                available / 1024
            ),
        );
        self.file(
            "proc/self/status",
            &format!("Name:\tweir\nCpus_allowed_list:\t{cpus}\nMems_allowed_list:\t{online}\n"),
        );
        self.file("sys/kernel/mm/transparent_hugepage/enabled", huge);
        self.file("proc/sys/kernel/osrelease", "6.8.0-1020-nvidia-64k\n");
    }
}

/// *reconstructed*: GH200 in NUMA mode. CPU is node 0, HBM node 1 without cores (NVIDIA/nvbandwidth issue 23); with
/// MIG the driver keeps further empty nodes (drawing in eth-cscs/cscs-docs); 64 KiB pages as in Grace kernels; Neoverse
/// V2 is part 0xd4f (arch/arm64/include/asm/cputype.h).
pub fn gh200() -> Tree {
    let tree = Tree::new();
    tree.common("0-3", "0-71", 574 * GIB, 500 * GIB, "[always] madvise never\n");
    tree.file("sys/kernel/mm/transparent_hugepage/hpage_pmd_size", "536870912\n");
    tree.node(0, "0-71", 480 * GIB, 400 * GIB, 40 * GIB);
    tree.node(1, "", 94 * GIB, 93 * GIB, 0);
    tree.node(2, "", 0, 0, 0);
    tree.node(3, "", 0, 0, 0);
    tree.file("proc/cpuinfo", "processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd4f\n");
    tree.file("proc/driver/nvidia/version", "NVRM version: NVIDIA UNIX Open Kernel Module for aarch64  595.45.04\n");
    tree.file("proc/driver/nvidia/params", "ModifyDeviceFiles: 1\nCoherentGPUMemoryMode: \"\"\n");
    tree
}

/// *reconstructed*: the same in driver mode (CDMM): HBM is no node (NVIDIA developer blog of October 2025; module option
/// `CoherentGPUMemoryMode=driver` in NVIDIA/open-gpu-kernel-modules 595.45.04, nv-reg.h).
pub fn gh200_driver_mode() -> Tree {
    let tree = gh200();
    std::fs::remove_dir_all(tree.root().join("sys/devices/system/node")).unwrap();
    tree.common("0", "0-71", 480 * GIB, 440 * GIB, "[always] madvise never\n");
    tree.node(0, "0-71", 480 * GIB, 400 * GIB, 40 * GIB);
    tree.file("proc/driver/nvidia/params", "ModifyDeviceFiles: 1\nCoherentGPUMemoryMode: \"driver\"\n");
    tree
}

/// *reconstructed*: four GH200 of about 120 GB LPDDR5X each; CPUs are nodes 0-3, HBM nodes 4, 12, 20, 28 (drawing and tables
/// of eth-cscs/cscs-docs, Alps).
pub fn quad_gh200() -> Tree {
    let tree = gh200();
    tree.common("0-4,12,20,28", "0-287", 856 * GIB, 780 * GIB, "[always] madvise never\n");
    for chip in 0..4 {
        tree.node(chip, &format!("{}-{}", 72 * chip, 72 * chip + 71), 120 * GIB, 100 * GIB, 8 * GIB);
        tree.node(4 + 8 * chip, "", 94 * GIB, 93 * GIB, 0);
    }
    tree
}

/// *reconstructed*: a node of four MI300A, each one NUMA node of about 125 GiB with 24 cores (eth-cscs/cscs-docs; LLNL's El
/// Capitan memory page). The processor's name is as AMD prints the part; one pool.
pub fn mi300a() -> Tree {
    let tree = Tree::new();
    tree.common("0-3", "0-95", 500 * GIB, 460 * GIB, "[always] madvise never\n");
    tree.file("sys/kernel/mm/transparent_hugepage/hpage_pmd_size", "2097152\n");
    for apu in 0..4 {
        tree.node(apu, &format!("{}-{}", 24 * apu, 24 * apu + 23), 125 * GIB, 110 * GIB, 8 * GIB);
    }
    tree.file(
        "proc/cpuinfo",
        "processor\t: 0\nvendor_id\t: AuthenticAMD\nmodel name\t: AMD Instinct MI300A Accelerator\n",
    );
    tree
}

/// *reconstructed*: DGX Spark (GB10): one node of about 119 GiB (vLLM issue threads), page cache that the driver counts as
/// used (NVIDIA/k8s-dra-driver thread); cores X925 and A725 (cputype.h).
pub fn gb10() -> Tree {
    let tree = Tree::new();
    tree.common("0", "0-19", 119 * GIB, 103 * GIB, "always [madvise] never\n");
    tree.node(0, "0-19", 119 * GIB, 41 * GIB, 62 * GIB);
    tree.file("proc/cpuinfo", "processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd87\n");
    tree.file("sys/class/dmi/id/product_name", "NVIDIA_DGX_Spark\n");
    tree.file("proc/driver/nvidia/version", "NVRM version: 580\n");
    tree
}

/// *reconstructed*: an x86 server of two sockets with hyper-threads numbered after cores, as Linux numbers them
/// (kernel admin guide, cputopology), and cgroup v2 without limits (admin guide, cgroup-v2).
pub fn server() -> Tree {
    let tree = Tree::new();
    tree.common("0-1", "0-127", 512 * GIB, 480 * GIB, "always [madvise] never\n");
    tree.node(0, "0-31,64-95", 256 * GIB, 200 * GIB, 40 * GIB);
    tree.node(1, "32-63,96-127", 256 * GIB, 230 * GIB, 10 * GIB);
    tree.file("proc/cpuinfo", "processor : 0\nmodel name\t: Intel(R) Xeon(R) Platinum 8462Y+\n");
    tree.file("proc/self/cgroup", "0::/system.slice/slurmstepd.scope/job_7/step_0\n");
    tree.file("sys/fs/cgroup/cgroup.controllers", "cpuset cpu io memory pids\n");
    tree.file("sys/fs/cgroup/system.slice/slurmstepd.scope/job_7/memory.max", "max\n");
    tree.file("sys/fs/cgroup/system.slice/slurmstepd.scope/job_7/step_0/memory.max", "max\n");
    tree.file("sys/fs/cgroup/system.slice/slurmstepd.scope/job_7/step_0/cpu.max", "max 100000\n");
    tree
}

/// *reconstructed*: a container on that server with 16 GiB and 2.5 cores of cgroup v2, its limit one level up (admin
/// guide, cgroup-v2: memory.max, memory.current, memory.stat, cpu.max).
pub fn container() -> Tree {
    let tree = server();
    tree.file("proc/self/cgroup", "0::/pod/box\n");
    tree.file("sys/fs/cgroup/pod/memory.max", &format!("{}\n", 16 * GIB));
    tree.file("sys/fs/cgroup/pod/memory.current", &format!("{}\n", 6 * GIB));
    tree.file("sys/fs/cgroup/pod/memory.stat", &format!("anon 1\nfile 2\ninactive_file {}\n", 2 * GIB));
    tree.file("sys/fs/cgroup/pod/cpu.max", "250000 100000\n");
    tree.file("sys/fs/cgroup/pod/box/memory.max", "max\n");
    tree
}

/// *reconstructed*: the same with cgroup v1 and a path that only the host has (admin guide, cgroup-v1/memory).
pub fn old_container() -> Tree {
    let tree = server();
    tree.file("proc/self/cgroup", "9:memory:/docker/abc\n4:cpu,cpuacct:/docker/abc\n0::/\n");
    tree.file("sys/fs/cgroup/memory/memory.limit_in_bytes", &format!("{}\n", 8 * GIB));
    tree.file("sys/fs/cgroup/memory/memory.usage_in_bytes", &format!("{}\n", 3 * GIB));
    tree.file("sys/fs/cgroup/memory/memory.stat", &format!("cache 5\ntotal_inactive_file {}\n", GIB));
    tree.file("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "400000\n");
    tree.file("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n");
    tree
}
