//! What the system says about memory: how much this process may use, and how much it does use.
//!
//! Reads files of `/proc` and `/sys`, which are not on any disk; decides nothing.

use std::fs::read_to_string;
use std::path::Path;

use crate::limits::MIN_MEMORY_MB;

/// The most that this process should use by default, in bytes: half of the machine's memory or a
/// third of what its control groups allow, but not less than the lowest value that can be set.
/// `None` where the system does not say.
///
/// A control group also counts what the kernel holds for its sockets: about as much as the server
/// holds for clients that read nothing.
pub(super) fn default_ceiling() -> Option<usize> {
    default_ceiling_below(Path::new("/"))
}

fn default_ceiling_below(root: &Path) -> Option<usize> {
    let meminfo = read_to_string(root.join("proc/meminfo")).ok()?;
    let total = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = total.split_whitespace().next()?.parse().ok()?;
    let bytes = (kib.saturating_mul(1024) / 2).min(group_limit(root).unwrap_or(u64::MAX) / 3);
    Some(usize::try_from(bytes).unwrap_or(usize::MAX).max(MIN_MEMORY_MB << 20))
}

/// The smallest `memory.max`, in bytes, of this process's control group and those that contain it
/// (version 2; cgroups(7), and Documentation/admin-guide/cgroup-v2.rst of Linux). In a container
/// the group is `/`, whose file says how much the container may use.
fn group_limit(root: &Path) -> Option<u64> {
    let groups = read_to_string(root.join("proc/self/cgroup")).ok()?;
    let group = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let mount = root.join("sys/fs/cgroup");
    let group = mount.join(group);
    let all = group.ancestors().take_while(|directory| directory.starts_with(&mount));
    all.filter_map(|one| read_to_string(one.join("memory.max")).ok()?.trim().parse().ok()).min()
}

/// Resident memory in KiB, from `/proc/self/statm` (proc(5)). `None` where there is no such file.
pub(super) fn resident_kib() -> Option<usize> {
    let statm = read_to_string("/proc/self/statm").ok()?;
    let pages: usize = statm.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() / 1024)
}

#[cfg(test)]
mod tests {
    use std::fs::{create_dir_all, remove_dir_all, write};

    use super::*;

    /// The ceiling, in MiB, on a machine with these files.
    fn ceiling_with(name: &str, files: &[(&str, &str)]) -> Option<usize> {
        let root = std::env::temp_dir().join(format!("mio-chat-{name}-{}", std::process::id()));
        for (path, text) in files {
            let path = root.join(path);
            create_dir_all(path.parent().unwrap()).unwrap();
            write(path, text).unwrap();
        }
        let ceiling = default_ceiling_below(&root);
        let _ = remove_dir_all(root);
        ceiling.map(|bytes| bytes >> 20)
    }

    const MEMINFO: (&str, &str) = ("proc/meminfo", "MemTotal:  524288 kB\nMemFree:  1 kB\n");

    #[test]
    fn half_of_the_machine_or_a_third_of_the_least_that_a_group_leaves() {
        let group = ("proc/self/cgroup", "1:name=x:/other\n0::/a/b.service\n");
        let limits =
            |a, b| [("sys/fs/cgroup/a/memory.max", a), ("sys/fs/cgroup/a/b.service/memory.max", b)];
        for (n, (a, b, expected)) in [
            ("max\n", "max\n", 256),
            ("max\n", "100663296\n", 32),
            ("50331648\n", "100663296\n", 16),
            ("max\n", "1099511627776\n", 256),
            ("max\n", "4194304\n", MIN_MEMORY_MB),
        ]
        .into_iter()
        .enumerate()
        {
            let [a, b] = limits(a, b);
            assert_eq!(
                ceiling_with(&format!("groups-{n}"), &[MEMINFO, group, a, b]),
                Some(expected)
            );
        }
    }

    #[test]
    fn in_a_container_its_own_group_is_the_top() {
        let group = ("proc/self/cgroup", "0::/\n");
        let limit = ("sys/fs/cgroup/memory.max", "201326592\n");
        assert_eq!(ceiling_with("container", &[MEMINFO, group, limit]), Some(64));
    }

    #[test]
    fn without_groups_the_machine_counts_and_without_that_nothing() {
        assert_eq!(ceiling_with("machine", &[MEMINFO]), Some(256));
        assert_eq!(ceiling_with("nothing", &[("proc/version", "")]), None);
    }
}
