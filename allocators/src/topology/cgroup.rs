//! Limits around the process, of both versions of cgroups.

use super::cores::parse_list;
use super::text;
use std::path::{Path, PathBuf};

/// Limits; none where there is none.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cgroup {
    /// Memory limit, bytes: that of the group on the way to the root which has least left.
    pub limit: Option<u64>,
    /// Taken within the group of that limit and not droppable, bytes.
    pub used: u64,
    /// Cores' worth of time.
    pub cpus: Option<f64>,
    /// Cores of all that share the rest of that limit, where files say (version 2).
    pub cores: Option<usize>,
}

impl Cgroup {
    /// What may still be taken, bytes; none without a limit.
    pub fn left(&self) -> Option<u64> {
        self.limit.map(|l| l.saturating_sub(self.used))
    }
}

/// Version 1 says "no limit" with a number near 2^63.
const UNLIMITED: u64 = 1 << 60;

pub fn read(root: &Path) -> Cgroup {
    let table = text(root, "proc/self/cgroup").unwrap_or_default();
    let mut group = Cgroup::default();
    for line in table.lines() {
        let mut parts = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next()) else { continue };
        let has = |name: &str| controllers.split(',').any(|c| c == name);
        if controllers.is_empty() {
            let unified = ["sys/fs/cgroup", "sys/fs/cgroup/unified"];
            let mount = unified.into_iter().find(|m| root.join(m).join("cgroup.controllers").exists());
            let folders = up(root, mount.unwrap_or(unified[0]), path);
            for (k, folder) in folders.iter().enumerate() {
                let limit = [number(folder, "memory.max"), number(folder, "memory.high")].into_iter().flatten().min();
                if tighten(&mut group, folder, limit, "memory.current", "inactive_file") {
                    group.cores = cores(&folders[k..]);
                }
                share(&mut group, two(folder, "cpu.max"));
            }
        }
        if has("memory") {
            for folder in up(root, "sys/fs/cgroup/memory", path) {
                let limit = number(&folder, "memory.limit_in_bytes").filter(|&l| l < UNLIMITED);
                if tighten(&mut group, &folder, limit, "memory.usage_in_bytes", "total_inactive_file") {
                    group.cores = None;
                }
            }
        }
        if has("cpu") {
            let mount = if root.join("sys/fs/cgroup/cpu").exists() { "cpu" } else { "cpu,cpuacct" };
            for folder in up(root, &format!("sys/fs/cgroup/{mount}"), path) {
                let quota = number(&folder, "cpu.cfs_quota_us");
                share(&mut group, quota.zip(number(&folder, "cpu.cfs_period_us")));
            }
        }
    }
    group
}

/// The group's folder and those around it. In a container the path may be the host's, which is not mounted; then the root of
/// the mount is the group itself.
fn up(root: &Path, mount: &str, path: &str) -> Vec<PathBuf> {
    let mount = root.join(mount);
    let inner = Path::new(path.trim_start_matches('/'));
    inner.ancestors().map(|p| mount.join(p)).filter(|p| p.is_dir()).collect()
}

fn number(folder: &Path, file: &str) -> Option<u64> {
    text(folder, file)?.parse().ok()
}

fn two(folder: &Path, file: &str) -> Option<(u64, u64)> {
    let text = text(folder, file)?;
    let mut words = text.split_whitespace().map(|w| w.parse().ok());
    Some((words.next()??, words.next()??))
}

/// Takes a folder's limit where it is the tightest: the one with least left, not the smallest. Says whether it is.
fn tighten(group: &mut Cgroup, folder: &Path, limit: Option<u64>, usage: &str, cache: &str) -> bool {
    let Some(limit) = limit else { return false };
    let statistics = text(folder, "memory.stat").unwrap_or_default();
    let droppable = statistics.lines().find_map(|l| l.strip_prefix(cache)?.trim().parse::<u64>().ok());
    let used = number(folder, usage).unwrap_or(0).saturating_sub(droppable.unwrap_or(0));
    let tightest = group.left().is_none_or(|left| limit.saturating_sub(used) < left);
    if tightest {
        (group.limit, group.used) = (Some(limit), used);
    }
    tightest
}

/// Cores of a group: by quotas of it and of those around it, and by the nearest list of cores.
fn cores(around: &[PathBuf]) -> Option<usize> {
    let quotas = around.iter().filter_map(|folder| two(folder, "cpu.max")).filter(|q| q.1 > 0);
    let quota = quotas.map(|(quota, period)| quota.div_ceil(period).max(1) as usize).min();
    let list = around.iter().find_map(|folder| text(folder, "cpuset.cpus.effective"));
    let set = list.map(|list| parse_list(&list).len()).filter(|&n| n > 0);
    quota.into_iter().chain(set).min()
}

fn share(group: &mut Cgroup, quota: Option<(u64, u64)>) {
    if let Some((quota, period)) = quota.filter(|&(_, period)| period > 0) {
        let cpus = quota as f64 / period as f64;
        group.cpus = Some(group.cpus.map_or(cpus, |c| c.min(cpus)));
    }
}
