//! What of a request is counted, and charged to its session, when its response is over.

use crate::metrics::{ByteSource, EdgeMetrics, Kind};
use http::StatusCode;
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};
use weir_relay::{
    clock::Clock,
    http::Protocol,
    meter::{Account, Charge, Outcome},
};

/// What of a request is counted.
pub(super) struct Booking {
    pub(super) protocol: Protocol,
    pub(super) kind: Kind,
    pub(super) source: ByteSource,
    pub(super) started: Instant,
    /// What it is charged to.
    pub(super) charge: Option<(Charge, Clock)>,
}

impl Booking {
    /// The response begins to leave.
    pub(super) fn begin(self, metrics: Arc<EdgeMetrics>, status: StatusCode) -> Booked {
        let Self { protocol, kind, source, started, charge } = self;
        Booked { metrics, status, protocol, kind, source, started, charge: Mutex::new(charge) }
    }
}

/// A response on its way, which is counted when it is over.
pub(super) struct Booked {
    metrics: Arc<EdgeMetrics>,
    status: StatusCode,
    protocol: Protocol,
    kind: Kind,
    source: ByteSource,
    started: Instant,
    /// Taken once, when the response is over: never waited for.
    charge: Mutex<Option<(Charge, Clock)>>,
}

impl Account for Booked {
    fn settle(&self, outcome: Outcome) {
        self.metrics.response_bytes(self.protocol, self.source, outcome.handed);
        self.metrics.request_finished(self.protocol, self.status, self.kind, self.started.elapsed());
        let charge = self.charge.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((charge, clock)) = charge {
            charge.settle(&outcome, clock.now());
        }
    }
}
