//! `process_*` metrics read from `/proc/self` at each scrape. A reader of our own, because the `prometheus` crate's
//! brings a procfs parser for five numbers. Where there is no `/proc`, the values are absent.

use prometheus::{
    Counter, Gauge, Registry,
    core::{Collector, Desc},
    proto::MetricFamily,
};
use std::fs;

/// `USER_HZ`: fixed by Linux' ABI on every architecture it is built for today.
const TICKS_PER_SECOND: f64 = 100.0;

/// Collects the standard process metrics.
pub struct ProcessMetrics {
    cpu: Counter,
    resident: Gauge,
    descriptors: Gauge,
    max_descriptors: Gauge,
    start: Gauge,
}

impl ProcessMetrics {
    /// Registers the metrics of this process.
    ///
    /// # Errors
    /// When the registry already holds metrics of these names.
    pub fn register(registry: &Registry) -> Result<(), prometheus::Error> {
        registry.register(Box::new(Self {
            cpu: Counter::new("process_cpu_seconds_total", "User and system CPU time in seconds.")?,
            resident: Gauge::new("process_resident_memory_bytes", "Resident memory in bytes.")?,
            descriptors: Gauge::new("process_open_fds", "Open file descriptors.")?,
            max_descriptors: Gauge::new("process_max_fds", "File descriptors allowed.")?,
            start: Gauge::new("process_start_time_seconds", "Start of the process, Unix time.")?,
        }))
    }

    fn parts(&self) -> [&dyn Collector; 5] {
        [&self.cpu, &self.resident, &self.descriptors, &self.max_descriptors, &self.start]
    }
}

impl Collector for ProcessMetrics {
    fn desc(&self) -> Vec<&Desc> {
        self.parts().into_iter().flat_map(Collector::desc).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let Some(seen) = Sample::read() else { return Vec::new() };
        let more = seen.cpu_seconds - self.cpu.get();
        if more > 0.0 {
            self.cpu.inc_by(more);
        }
        self.resident.set(seen.resident_bytes);
        self.descriptors.set(seen.descriptors);
        self.max_descriptors.set(seen.max_descriptors);
        self.start.set(seen.start_seconds);
        self.parts().into_iter().flat_map(Collector::collect).collect()
    }
}

#[derive(Debug, PartialEq)]
struct Sample {
    cpu_seconds: f64,
    resident_bytes: f64,
    descriptors: f64,
    max_descriptors: f64,
    start_seconds: f64,
}

impl Sample {
    fn read() -> Option<Self> {
        let (cpu_seconds, start_after_boot) = times(&fs::read_to_string("/proc/self/stat").ok()?)?;
        let boot = field(&fs::read_to_string("/proc/stat").ok()?, "btime")?;
        Some(Self {
            cpu_seconds,
            resident_bytes: field(&fs::read_to_string("/proc/self/status").ok()?, "VmRSS:")? * 1024.0,
            descriptors: fs::read_dir("/proc/self/fd").ok()?.count() as f64,
            max_descriptors: field(&fs::read_to_string("/proc/self/limits").ok()?, "Max open files")
                .unwrap_or(f64::INFINITY),
            start_seconds: boot + start_after_boot,
        })
    }
}

/// CPU seconds and start after boot from `/proc/self/stat`. The program's name may hold spaces and brackets, so
/// fields are counted after its last bracket.
fn times(stat: &str) -> Option<(f64, f64)> {
    let fields: Vec<&str> = stat.get(stat.rfind(')')? + 1..)?.split_whitespace().collect();
    let ticks = |place: usize| fields.get(place)?.parse::<f64>().ok();
    Some(((ticks(11)? + ticks(12)?) / TICKS_PER_SECOND, ticks(19)? / TICKS_PER_SECOND))
}

/// The first number on the line that begins with `name`.
fn field(text: &str, name: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn reads_fields_after_a_hostile_program_name() {
        let stat = "1 (a) b (c)) S 2 3 4 5 6 7 8 9 10 11 250 50 0 0 20 0 1 0 4200 1 2";
        assert_eq!(times(stat), Some((3.0, 42.0)));
        assert_eq!(field("VmPeak: 1 kB\nVmRSS:\t  12 kB", "VmRSS:"), Some(12.0));
        assert_eq!(times("no bracket"), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_is_measured() {
        let registry = Registry::new();
        ProcessMetrics::register(&registry).unwrap();
        let value = |name: &str| {
            let family = registry.gather().into_iter().find(|family| family.name() == name).unwrap();
            let metric = &family.get_metric()[0];
            metric.get_gauge().get_value() + metric.get_counter().get_value()
        };
        assert!(value("process_resident_memory_bytes") > 1e6);
        assert!(value("process_open_fds") >= 3.0);
        assert!(value("process_start_time_seconds") > 1e9);
        assert!(value("process_cpu_seconds_total") >= 0.0);
    }
}
