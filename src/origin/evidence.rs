//! The adapter's side of the publisher's tools: statements that they signed, into the ledger that it holds open.
//!
//! Invariant: what is logged was verified with the publisher's keys in force; nothing of an order is logged when one of its
//! messages is refused.

use crate::evidence::{Order, Own, PATH, refuse, twice};
use http::StatusCode;
use serde_json::{Value, json};
use std::sync::{Arc, PoisonError, RwLock};
use tokio::runtime::Handle;
use weir_edge::admin::Command;
use weir_ledger::{Log, Submission, Submitter};
use weir_protocol::{keys::KeyRing, statement::MAX_PROMISED};

/// Takes statements into the ledger.
pub(super) struct EvidenceCommand {
    pub(super) log: Log,
    pub(super) submitter: Submitter,
    pub(super) ring: Arc<RwLock<KeyRing>>,
    pub(super) epoch_ms: u64,
}

type Refusal = (StatusCode, String);

impl EvidenceCommand {
    async fn take(&self, order: Order) -> Result<Value, Refusal> {
        let unfit = |text: String| (StatusCode::UNPROCESSABLE_ENTITY, text);
        let failed = |text: String| (StatusCode::INTERNAL_SERVER_ERROR, text);
        if !(1..=MAX_PROMISED).contains(&order.messages.len()) {
            return Err(unfit(format!("1 to {MAX_PROMISED} messages are taken at once")));
        }
        let ring = self.ring.read().unwrap_or_else(PoisonError::into_inner).clone();
        let own: Result<Vec<Own>, String> = order.messages.iter().map(|sent| Own::verify(sent, &ring)).collect();
        let own = own.map_err(unfit)?;
        if !order.replace {
            refuse(&twice(self.log.store(), &own, self.epoch_ms).await.map_err(failed)?)
                .map_err(|text| (StatusCode::CONFLICT, text))?;
        }
        if order.check {
            return Ok(json!({ "logged": 0 }));
        }
        let submissions: Result<Vec<Submission>, _> = own.iter().map(Own::submission).collect();
        let submissions = submissions.map_err(|error| unfit(error.to_string()))?;
        self.submitter.submit(submissions).await.map_err(|error| failed(error.to_string()))?;
        Ok(json!({ "logged": own.len() }))
    }
}

impl Command for EvidenceCommand {
    fn path(&self) -> &'static str {
        PATH
    }

    fn state(&self) -> Value {
        json!({ "epoch_ms": self.epoch_ms })
    }

    fn change(&self, wanted: Value) -> Result<Value, Refusal> {
        let order: Order =
            serde_json::from_value(wanted).map_err(|error| (StatusCode::UNPROCESSABLE_ENTITY, error.to_string()))?;
        // A command has a thread of its own.
        Handle::current().block_on(self.take(order))
    }
}
