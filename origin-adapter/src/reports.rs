//! What players report to `/weir/cmcd` (CTA-5004-A event mode), counted. Invariant: nothing of a report is kept here but
//! numbers; whoever wants more listens, and gets it once.

use prometheus::{IntCounter, IntCounterVec, Opts, Registry};
use std::sync::{Arc, OnceLock};
use weir_hls::cmcd::{Cmcd, EventError, EventKind, PlayerState, events};

/// Gets the reports of one body.
pub type Listener = Arc<dyn Fn(&[Cmcd]) + Send + Sync>;

/// What became of a body.
#[derive(Debug, PartialEq, Eq)]
pub enum Taken {
    /// It is counted.
    Counted,
    /// It is none.
    Refused(EventError),
}

/// Counters of reports.
pub struct Reports {
    events: IntCounterVec,
    rebuffering: IntCounter,
    failed: IntCounter,
    unread: IntCounter,
    listener: OnceLock<Listener>,
}

impl Reports {
    /// Counters in `registry`.
    ///
    /// # Errors
    /// Their names are taken.
    pub fn register(registry: &Registry) -> Result<Arc<Self>, prometheus::Error> {
        let counter = |name: &str, help: &str| -> Result<IntCounter, prometheus::Error> {
            let counter = IntCounter::new(name, help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok(counter)
        };
        let opts = Opts::new("weir_cmcd_reports_total", "Reports that players sent, by event");
        let events = IntCounterVec::new(opts, &["event"])?;
        registry.register(Box::new(events.clone()))?;
        Ok(Arc::new(Self {
            events,
            rebuffering: counter("weir_cmcd_rebuffering_total", "Reports of players that ran out of buffer")?,
            failed: counter("weir_cmcd_failed_requests_total", "Reported responses with a status of 400 or above")?,
            unread: counter("weir_cmcd_unread_total", "Reports that could not be read")?,
            listener: OnceLock::new(),
        }))
    }

    /// Who gets what was reported, beside the counters; the first one stays.
    pub fn listen(&self, listener: Listener) {
        let _ = self.listener.set(listener);
    }

    /// Takes one body in.
    pub fn take(&self, body: &[u8]) -> Taken {
        self.read(body).map_or_else(Taken::Refused, |_| Taken::Counted)
    }

    /// Takes one body in, and gives its reports to whoever knows whose they are.
    ///
    /// # Errors
    /// [`EventError`]: there is no report in it.
    pub fn read(&self, body: &[u8]) -> Result<Vec<Cmcd>, EventError> {
        let (reports, unread) = events(body).inspect_err(|_| self.unread.inc())?;
        self.unread.inc_by(unread as u64);
        for report in &reports {
            self.events.with_label_values(&[report.event.map_or("other", label)]).inc();
            let stalled = report.starved || report.state == Some(PlayerState::Rebuffering);
            self.rebuffering.inc_by(u64::from(stalled));
            self.failed.inc_by(u64::from(report.status.is_some_and(|status| status >= 400)));
        }
        if let Some(listener) = self.listener.get() {
            listener(&reports);
        }
        Ok(reports)
    }
}

fn label(event: EventKind) -> &'static str {
    match event {
        EventKind::PlayState => "play-state",
        EventKind::Error => "error",
        EventKind::Time => "time",
        EventKind::Content => "content",
        EventKind::Bitrate => "bitrate",
        EventKind::Response => "response",
        EventKind::Other => "other",
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[test]
    fn reports_are_counted_and_heard_once() {
        let registry = Registry::new();
        let reports = Reports::register(&registry).unwrap();
        let heard = Arc::new(Mutex::new(0));
        let count = heard.clone();
        reports.listen(Arc::new(move |all| *count.lock().unwrap() += all.len()));
        let body = b"e=rr,ts=1,rc=503\ne=ps,sta=r,ts=2\nnothing\n";
        assert_eq!(reports.take(body), Taken::Counted);
        assert_eq!(reports.take(b"nothing"), Taken::Refused(EventError::Nothing));
        assert_eq!(*heard.lock().unwrap(), 2);
        let events = |label: &str| reports.events.with_label_values(&[label]).get();
        assert_eq!((events("response"), events("play-state"), reports.unread.get()), (1, 1, 2));
        assert_eq!((reports.failed.get(), reports.rebuffering.get()), (1, 1));
    }
}
