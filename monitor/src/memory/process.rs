//! What the system says of this process: memory, time, open files.
//!
//! Before: `/proc`. After: the metrics whose names all Prometheus clients share.

#![expect(clippy::disallowed_methods, reason = "the edge reads what the system tells")]

use std::fs;

/// Clock ticks in a second, as `/proc` counts them on every architecture that driftd is built for.
const TICKS: f64 = 100.0;

/// Returns the bytes that are in RAM.
pub(crate) fn resident_bytes() -> Option<u64> {
    resident(&fs::read_to_string("/proc/self/status").ok()?)
}

/// Returns the processor time used so far.
pub(crate) fn cpu_seconds() -> Option<f64> {
    cpu(&fs::read_to_string("/proc/self/stat").ok()?)
}

/// Returns the number of open files and sockets.
pub(crate) fn open_fds() -> Option<usize> {
    Some(fs::read_dir("/proc/self/fd").ok()?.count())
}

fn resident(status: &str) -> Option<u64> {
    let size = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    size.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1_024)
}

/// The program's name, in parentheses, may hold anything; behind it the fields are numbers.
fn cpu(stat: &str) -> Option<f64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut times = fields.split_ascii_whitespace().skip(11);
    let (user, system): (f64, f64) = (times.next()?.parse().ok()?, times.next()?.parse().ok()?);
    Some((user + system) / TICKS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_says_is_read() {
        let status = "Name:\tdriftd\nVmHWM:\t  9000 kB\nVmRSS:\t    8200 kB\nThreads:\t9\n";
        assert_eq!(resident(status), Some(8_200 * 1_024));
        assert_eq!(resident("Name:\tdriftd\n"), None);
        let stat = "12 (a) b) S 1 12 12 0 -1 4194560 900 0 3 0 150 25 0 0 20 0 9 0 777";
        assert_eq!(cpu(stat), Some(1.75));
        assert_eq!(cpu("12 (a"), None);
    }

    #[test]
    fn this_process_is_described() {
        assert!(resident_bytes().is_some_and(|bytes| 1 << 20 < bytes));
        assert!(cpu_seconds().is_some());
        assert!(open_fds().is_some_and(|files| 2 < files));
    }
}
