//! How many processes of a job share the node, from what launchers set.

/// A number and the variable that says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launcher {
    /// The number.
    pub value: usize,
    /// Where it comes from; `automatic` where nothing says.
    pub origin: &'static str,
}

/// Counts of the tasks that were started with this one.
const SIZES: [&str; 7] = [
    "OMPI_COMM_WORLD_LOCAL_SIZE",
    "MV2_COMM_WORLD_LOCAL_SIZE",
    "MPI_LOCALNRANKS",
    "PMI_LOCAL_SIZE",
    "PMIX_LOCAL_SIZE",
    "PALS_LOCAL_SIZE",
    "SLURM_STEP_TASKS_PER_NODE",
];

/// Slurm's counts of what a job asked for. In a step they come after all others; outside of any (`salloc -n 72`, then a plain command) they
/// count tasks that nobody has started.
const JOB_SIZES: [&str; 2] = ["SLURM_NTASKS_PER_NODE", "SLURM_TASKS_PER_NODE"];

/// What Slurm sets in every task of a step and nowhere else.
const STEP: [&str; 2] = ["SLURM_STEP_ID", "SLURM_STEP_NUM_TASKS"];

const RANKS: [&str; 8] = [
    "OMPI_COMM_WORLD_LOCAL_RANK",
    "MV2_COMM_WORLD_LOCAL_RANK",
    "MPI_LOCALRANKID",
    "PMI_LOCAL_RANK",
    "PMIX_LOCAL_RANK",
    "PALS_LOCAL_RANKID",
    "FLUX_TASK_LOCAL_ID",
    "SLURM_LOCALID",
];

/// Processes on this node, at least 1.
pub fn tasks_on_node(environment: &dyn Fn(&str) -> Option<String>) -> Launcher {
    let node = environment("SLURM_NODEID").and_then(|t| t.trim().parse().ok()).unwrap_or(0);
    let in_step = STEP.into_iter().all(|name| environment(name).is_some());
    let said = SIZES.into_iter().chain(JOB_SIZES.into_iter().filter(|_| in_step)).find_map(|origin| {
        let text = environment(origin)?;
        let value = per_node(&text, node).filter(|&n| n > 0)?;
        Some(Launcher { value, origin })
    });
    said.unwrap_or(Launcher { value: 1, origin: "automatic" })
}

/// Number of this process among those on the node, from 0.
pub fn local_rank(environment: &dyn Fn(&str) -> Option<String>) -> Option<Launcher> {
    RANKS.into_iter().find_map(|origin| {
        let value = environment(origin)?.trim().parse().ok()?;
        Some(Launcher { value, origin })
    })
}

/// Devices of the node that the job may use, where the launcher says.
pub fn devices_on_node(environment: &dyn Fn(&str) -> Option<String>) -> Option<Launcher> {
    let origin = "SLURM_GPUS_ON_NODE";
    let value = environment(origin)?.trim().parse().ok().filter(|&n| n > 0)?;
    Some(Launcher { value, origin })
}

/// Processes that share a device, this one among them: `tasks` on a node of `devices`, of which this process sees `visible` and takes
/// number `rank` modulo those; none where it was told a device. Where every task can have its own, as a launcher that binds devices gives
/// it, nobody shares.
pub fn tasks_on_device(tasks: usize, devices: usize, visible: usize, rank: Option<usize>) -> usize {
    let devices = devices.max(visible).max(1);
    if tasks <= devices {
        return 1;
    }
    match rank.filter(|&r| visible == devices && r < tasks) {
        // Ranks that leave the same rest.
        Some(rank) => (tasks - 1 - rank % devices) / devices + 1,
        None => tasks.div_ceil(devices),
    }
}

/// Slurm's list `4(x2),3`: four tasks on each of two nodes, three on the next.
fn per_node(text: &str, node: usize) -> Option<usize> {
    let mut first = 0;
    for part in text.trim().split(',') {
        let (count, times) = match part.split_once("(x") {
            Some((count, times)) => (count, times.strip_suffix(')')?.parse().ok()?),
            None => (part, 1usize),
        };
        let count = count.trim().parse().ok()?;
        first += times;
        if node < first {
            return Some(count);
        }
    }
    None
}
