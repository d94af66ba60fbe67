//! What the system lets this process use: the least limit of its cgroups, else the machine's RAM.
//!
//! Before: `/proc` and `/sys/fs/cgroup`. After: [`super::Budget`] is compared with it.

use std::path::{Path, PathBuf};

/// Where cgroups are mounted everywhere.
const MOUNT: &str = "/sys/fs/cgroup";

/// Version 1 writes no limit as a number near 2^63, rounded to pages.
const UNLIMITED: u64 = 1 << 60;

/// Returns the limit in bytes; nothing where the system tells none. `read` returns a file's text.
pub(super) fn of_system(read: &dyn Fn(&Path) -> Option<String>) -> Option<u64> {
    let groups = read(Path::new("/proc/self/cgroup")).unwrap_or_default();
    let cgroup = files(&groups).iter().filter_map(|path| limit(&read(path)?)).min();
    let machine = read(Path::new("/proc/meminfo")).as_deref().and_then(machine);
    cgroup.into_iter().chain(machine).min()
}

/// Returns the files that may hold a limit: of the group itself and of all above it. Inside a
/// container the mount's root is the group itself.
fn files(groups: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(group)) = (fields.next(), fields.next()) else { continue };
        let (mount, name) = if controllers.is_empty() {
            (PathBuf::from(MOUNT), "memory.max")
        } else if controllers.split(',').any(|it| it == "memory") {
            (Path::new(MOUNT).join("memory"), "memory.limit_in_bytes")
        } else {
            continue;
        };
        let group = Path::new(group.trim_start_matches('/'));
        files.extend(group.ancestors().map(|it| mount.join(it).join(name)));
    }
    files
}

/// Reads the content of such a file; `max` is no limit.
fn limit(text: &str) -> Option<u64> {
    text.trim().parse().ok().filter(|bytes| *bytes < UNLIMITED)
}

fn machine(meminfo: &str) -> Option<u64> {
    let total = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    total.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1_024)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const MEMINFO: &str = "MemTotal:       16384 kB\nMemFree:         1024 kB\n";

    fn limit_of(files: &[(&str, &str)]) -> Option<u64> {
        let files: BTreeMap<&Path, &str> =
            files.iter().map(|(path, text)| (Path::new(*path), *text)).collect();
        of_system(&|path| files.get(path).map(|text| (*text).to_owned()))
    }

    #[test]
    fn the_least_limit_on_the_way_up_counts() {
        let files = [
            ("/proc/meminfo", MEMINFO),
            ("/proc/self/cgroup", "0::/system.slice/driftd.service\n"),
            ("/sys/fs/cgroup/system.slice/driftd.service/memory.max", "8388608\n"),
            ("/sys/fs/cgroup/system.slice/memory.max", "4194304\n"),
        ];
        assert_eq!(limit_of(&files), Some(4_194_304));
        assert_eq!(limit_of(&files[..3]), Some(8_388_608));
        assert_eq!(limit_of(&files[..2]), Some(16_384 * 1_024));
    }

    #[test]
    fn no_limit_is_the_machine() {
        let files = [
            ("/proc/meminfo", MEMINFO),
            ("/proc/self/cgroup", "0::/\n"),
            ("/sys/fs/cgroup/memory.max", "max\n"),
        ];
        assert_eq!(limit_of(&files), Some(16_384 * 1_024));
        assert_eq!(limit_of(&files[1..]), None);
        assert_eq!(limit_of(&[]), None);
    }

    #[test]
    fn a_container_sees_its_own_limit_at_the_root() {
        let files = [
            ("/proc/meminfo", MEMINFO),
            ("/proc/self/cgroup", "0::/../../pod1/c2\n"),
            ("/sys/fs/cgroup/memory.max", "2097152\n"),
        ];
        assert_eq!(limit_of(&files), Some(2_097_152));
    }

    #[test]
    fn the_first_version_is_read_too() {
        let mut files = [
            ("/proc/meminfo", MEMINFO),
            ("/proc/self/cgroup", "12:cpu,cpuacct:/a\n9:memory:/docker/abc\n1:name=systemd:/a\n"),
            ("/sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes", "9223372036854771712\n"),
            ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "1048576\n"),
        ];
        assert_eq!(limit_of(&files), Some(1_048_576));
        files[3].1 = "9223372036854771712\n";
        assert_eq!(limit_of(&files), Some(16_384 * 1_024));
    }
}
