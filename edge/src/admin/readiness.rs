//! Whether this process should be sent requests. Invariant: once draining, never ready again.

use dashmap::DashMap;
use std::{
    fmt::Write,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

/// Named conditions that must all hold. Clones share one state.
#[derive(Clone, Default)]
pub struct Readiness {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    checks: DashMap<&'static str, Arc<AtomicBool>>,
    draining: AtomicBool,
}

/// One condition, held by the part that knows. Not fulfilled until set.
#[derive(Clone)]
pub struct Check(Arc<AtomicBool>);

impl Check {
    /// Says whether the condition holds.
    pub fn set(&self, ready: bool) {
        self.0.store(ready, Ordering::Release);
    }
}

impl Readiness {
    /// No conditions yet: ready.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a condition, or finds the one of this name.
    pub fn check(&self, name: &'static str) -> Check {
        Check(self.shared.checks.entry(name).or_default().clone())
    }

    /// Not ready from now on.
    pub fn drain(&self) {
        self.shared.draining.store(true, Ordering::Release);
    }

    /// True after [`Readiness::drain`].
    pub fn is_draining(&self) -> bool {
        self.shared.draining.load(Ordering::Acquire)
    }

    /// True when every condition holds and the process does not drain.
    pub fn is_ready(&self) -> bool {
        !self.is_draining() && self.shared.checks.iter().all(|check| check.load(Ordering::Acquire))
    }

    /// One line for each condition, in the order of their names.
    pub fn report(&self) -> String {
        let mut checks: Vec<(&str, bool)> =
            self.shared.checks.iter().map(|check| (*check.key(), check.load(Ordering::Acquire))).collect();
        checks.sort_unstable();
        let mut text = String::new();
        for (name, ready) in checks {
            writeln!(text, "[{}] {name}", if ready { '+' } else { '-' }).expect("a string takes any text");
        }
        if self.is_draining() {
            text.push_str("[-] draining\n");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_checks_count_and_draining_wins() {
        let readiness = Readiness::new();
        assert!(readiness.is_ready());
        let (store, doors) = (readiness.check("store"), readiness.check("doors"));
        store.set(true);
        assert!(!readiness.is_ready());
        assert_eq!(readiness.report(), "[-] doors\n[+] store\n");
        doors.set(true);
        assert!(readiness.is_ready());
        readiness.drain();
        assert!(!readiness.is_ready());
        assert_eq!(readiness.report(), "[+] doors\n[+] store\n[-] draining\n");
    }
}
