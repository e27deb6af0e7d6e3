//! CPU time of server processes, from `/proc/PID/stat`: the sum over all threads, ended ones included, without child
//! processes. The kernel counts in clock ticks (10 ms on usual systems), so short runs resolve little.

use std::path::PathBuf;

use serde::Serialize;

/// A process whose CPU time cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the CPU time of process {pid} from {}: {reason}", path.display())]
pub struct CpuError {
    pid: u32,
    path: PathBuf,
    reason: String,
}

/// CPU time of processes since they started, in ticks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Ticks {
    user: u64,
    system: u64,
}

impl Ticks {
    /// Reads and adds up all processes.
    pub(crate) fn read(pids: &[u32]) -> Result<Self, CpuError> {
        let mut sum = Self::default();
        for &pid in pids {
            let path = PathBuf::from(format!("/proc/{pid}/stat"));
            let error = |reason: String| CpuError { pid, path: path.clone(), reason };
            let text = std::fs::read_to_string(&path).map_err(|e| error(e.to_string()))?;
            let one = Self::parse(&text).ok_or_else(|| error("not in the form of proc_pid_stat(5)".to_owned()))?;
            sum.user += one.user;
            sum.system += one.system;
        }
        Ok(sum)
    }

    /// Fields 14 and 15 of proc_pid_stat(5). The name in field 2 may hold spaces and brackets: count from the last one.
    fn parse(stat: &str) -> Option<Self> {
        let (_, rest) = stat.rsplit_once(')')?;
        let mut fields = rest.split_ascii_whitespace().skip(11);
        Some(Self { user: fields.next()?.parse().ok()?, system: fields.next()?.parse().ok()? })
    }
}

/// CPU time that server processes spent during a run.
#[derive(Debug, Clone, Serialize)]
pub struct ServerCpu {
    /// The processes measured.
    pub pids: Vec<u32>,
    /// Seconds in user mode.
    pub user_seconds: f64,
    /// Seconds in the kernel.
    pub system_seconds: f64,
    /// Both.
    pub seconds: f64,
    /// CPU-seconds per 10⁹ bytes of body; absent when no byte came.
    pub seconds_per_gigabyte: Option<f64>,
    /// CPU-microseconds per finished request; absent when none finished.
    pub microseconds_per_request: Option<f64>,
}

impl ServerCpu {
    /// What was spent between two readings, for so many body bytes and finished requests.
    pub(crate) fn between(pids: &[u32], before: Ticks, after: Ticks, bytes: u64, requests: u64) -> Self {
        let hertz = rustix::param::clock_ticks_per_second() as f64;
        let user_seconds = after.user.saturating_sub(before.user) as f64 / hertz;
        let system_seconds = after.system.saturating_sub(before.system) as f64 / hertz;
        let seconds = user_seconds + system_seconds;
        Self {
            pids: pids.to_vec(),
            user_seconds,
            system_seconds,
            seconds,
            seconds_per_gigabyte: (bytes > 0).then(|| seconds * 1e9 / bytes as f64),
            microseconds_per_request: (requests > 0).then(|| seconds * 1e6 / requests as f64),
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_and_spaces_does_not_shift_the_fields() {
        let stat = "42 (a) b (c)) S 1 42 42 0 -1 4194560 100 200 0 0 150 50 7 8 20 0 3 0 100 1 1";
        assert_eq!(Ticks::parse(stat), Some(Ticks { user: 150, system: 50 }));
        assert_eq!(Ticks::parse("42 (short) S 1"), None);
    }

    #[test]
    fn this_process_can_be_read_and_an_absent_one_is_named() {
        Ticks::read(&[std::process::id()]).unwrap();
        let error = Ticks::read(&[u32::MAX]).unwrap_err();
        assert!(error.to_string().contains(&u32::MAX.to_string()), "{error}");
    }

    #[test]
    fn figures_are_per_gigabyte_and_request() {
        let hertz = rustix::param::clock_ticks_per_second();
        let after = Ticks { user: 3 * hertz, system: hertz };
        let cpu = ServerCpu::between(&[1], Ticks::default(), after, 2_000_000_000, 1000);
        assert_eq!(cpu.seconds_per_gigabyte, Some(2.0));
        assert_eq!(cpu.microseconds_per_request, Some(4000.0));
        assert_eq!(ServerCpu::between(&[1], Ticks::default(), after, 0, 0).seconds_per_gigabyte, None);
    }
}
