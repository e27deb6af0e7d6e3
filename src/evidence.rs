//! What the publisher's tools state in its ledger: signed here, and logged by the running adapter that holds the ledger, or
//! in the store itself when none runs.
//!
//! Invariant: a tool's statements are all logged or it fails; logging one again after a failure makes no second leaf.

use crate::{
    exit::{CHECK_FAILED, CONFIGURATION, Failure, RUNTIME},
    ledger::{Ledger, now},
    private::exchange,
};
use bytes::Bytes;
use data_encoding::BASE64;
use http::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{net::SocketAddr, path::Path, time::Duration};
use tokio::time::timeout;
use weir_ledger::{Store, Submission, log::SubmissionError};
use weir_origin::{keys::PublisherKeys, observe::imported};
use weir_protocol::{
    Epoch, Observation, ProbeCommitment, ProbeReveal, PublisherId, RelayId, SigningKey, TokenHash,
    keys::KeyRing,
    statement::{Kind, MAX_PROMISED, StatementError, Unverified, Verified},
};

/// Where a running adapter takes statements.
pub(crate) const PATH: &str = "/api/v1/evidence";
/// Limit for one exchange.
const PATIENCE: Duration = Duration::from_secs(30);
/// Whether an adapter is there shows soon.
const GLANCE: Duration = Duration::from_secs(3);
/// Longest list of messages in one exchange, in bytes as base64; a command has at most 64 KiB.
const MAX_SENT: usize = 60 * 1024;

/// A statement by the publisher.
#[derive(Debug, Clone)]
pub(crate) enum Own {
    Observation(Verified<Observation>),
    Commitment(Verified<ProbeCommitment>),
    Reveal(Verified<ProbeReveal>),
}

impl Own {
    pub(crate) fn observation(statement: Observation, key: &SigningKey) -> Result<Self, StatementError> {
        Verified::sign_as_publisher(statement, key).map(Self::Observation)
    }

    pub(crate) fn commitment(statement: ProbeCommitment, key: &SigningKey) -> Result<Self, StatementError> {
        Verified::sign_as_publisher(statement, key).map(Self::Commitment)
    }

    pub(crate) fn reveal(statement: ProbeReveal, key: &SigningKey) -> Result<Self, StatementError> {
        Verified::sign_as_publisher(statement, key).map(Self::Reveal)
    }

    /// Reads what a tool sent; the error is for whoever sent it.
    pub(crate) fn verify(sent: &Sent, ring: &KeyRing) -> Result<Self, String> {
        let bytes: Bytes = BASE64.decode(sent.message.as_bytes()).map_err(|error| format!("message: {error}"))?.into();
        let verified = match Kind::from_number(sent.kind) {
            Some(Kind::Observation) => Unverified::new(bytes).verify_with(ring).map(Self::Observation),
            Some(Kind::ProbeCommitment) => Unverified::new(bytes).verify_with(ring).map(Self::Commitment),
            Some(Kind::ProbeReveal) => Unverified::new(bytes).verify_with(ring).map(Self::Reveal),
            _ => return Err(format!("kind {}: observations and lists of probes are taken here", sent.kind)),
        };
        verified.map_err(|error| error.to_string())
    }

    pub(crate) fn submission(&self) -> Result<Submission, SubmissionError> {
        match self {
            Self::Observation(statement) => Submission::statement(statement),
            Self::Commitment(statement) => Submission::statement(statement),
            Self::Reveal(statement) => Submission::statement(statement),
        }
    }

    fn sent(&self) -> Sent {
        let (kind, bytes) = match self {
            Self::Observation(statement) => (Kind::Observation, statement.bytes()),
            Self::Commitment(statement) => (Kind::ProbeCommitment, statement.bytes()),
            Self::Reveal(statement) => (Kind::ProbeReveal, statement.bytes()),
        };
        Sent { kind: kind.number(), message: BASE64.encode(bytes) }
    }
}

/// The places of imported sums among these statements that the ledger has a sum for already.
pub(crate) async fn twice(
    store: &Store,
    statements: &[Own],
    epoch_ms: u64,
) -> Result<Vec<(Epoch, RelayId, TokenHash)>, String> {
    let places: Vec<_> = statements
        .iter()
        .filter_map(|own| match own {
            Own::Observation(said) => {
                let said = said.statement();
                said.imported_bytes.map(|_| (said.epoch, said.relay, said.token))
            }
            _ => None,
        })
        .collect();
    if places.is_empty() {
        return Ok(places);
    }
    imported(store, &places, epoch_ms).await.map_err(|error| error.to_string())
}

/// A statement on its way to the adapter.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Sent {
    pub(crate) kind: u8,
    /// Base64.
    pub(crate) message: String,
}

/// What is asked of the adapter.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Order {
    pub(crate) messages: Vec<Sent>,
    /// Only say whether they would be logged.
    pub(crate) check: bool,
    /// Also those that stand in place of a sum that was imported before.
    pub(crate) replace: bool,
}

/// The publisher's ledger for its tools.
pub(crate) struct Evidence {
    pub(crate) keys: PublisherKeys,
    pub(crate) epoch_ms: u64,
    way: Way,
}

enum Way {
    Adapter(SocketAddr),
    Store(Box<Ledger>),
}

impl Evidence {
    /// The ledger of the adapter whose data is in `data`: at `admin`, when that adapter runs there.
    pub(crate) async fn open(data: &Path, admin: SocketAddr) -> Result<Self, Failure> {
        let epoch_ms = Ledger::epoch_ms_in(data)?;
        let keys = PublisherKeys::load_or_create(data)?;
        let way = if status(admin).await.is_some_and(|status| is_of(&status, &keys.publisher())) {
            Way::Adapter(admin)
        } else {
            let ledger = Ledger::open_in(data).await?;
            ledger.add_key_list().await?;
            Way::Store(Box::new(ledger))
        };
        Ok(Self { keys, epoch_ms, way })
    }

    /// Logs statements; nothing is logged when one of them stands in place of an imported sum and `replace` is false.
    pub(crate) async fn add(&self, statements: &[Own], replace: bool) -> Result<(), Failure> {
        match &self.way {
            Way::Adapter(admin) => {
                for check in [true, false] {
                    for order in orders(statements, check, replace) {
                        post(*admin, &order).await?;
                    }
                }
                Ok(())
            }
            Way::Store(ledger) => {
                if !replace {
                    let found = twice(ledger.log.store(), statements, self.epoch_ms).await;
                    refuse(&found.map_err(|error| Failure::new(RUNTIME, error))?)
                        .map_err(|text| Failure::new(CHECK_FAILED, text))?;
                }
                let submissions: Result<Vec<Submission>, _> = statements.iter().map(Own::submission).collect();
                let submissions = submissions.map_err(|error| Failure::new(RUNTIME, error))?;
                for some in submissions.chunks(MAX_PROMISED) {
                    ledger.add(some.to_vec()).await?;
                }
                Ok(())
            }
        }
    }
}

/// Says that a sum was imported before, if one was.
pub(crate) fn refuse(found: &[(Epoch, RelayId, TokenHash)]) -> Result<(), String> {
    let Some((epoch, relay, _)) = found.first() else { return Ok(()) };
    Err(format!(
        "{} sums of these sessions were imported before, the first of epoch {epoch} at {relay}: a later one counts \
         instead, not in addition; import all files of an epoch together, and say --replace",
        found.len()
    ))
}

fn orders(statements: &[Own], check: bool, replace: bool) -> Vec<Order> {
    let mut orders: Vec<Order> = Vec::new();
    let mut length = 0;
    for own in statements {
        let sent = own.sent();
        let full = length + sent.message.len() > MAX_SENT
            || orders.last().is_none_or(|order| order.messages.len() == MAX_PROMISED);
        if full || orders.is_empty() {
            orders.push(Order { messages: Vec::new(), check, replace });
            length = 0;
        }
        // What stands around a message is less than so much.
        length += sent.message.len() + 32;
        if let Some(order) = orders.last_mut() {
            order.messages.push(sent);
        }
    }
    orders
}

async fn post(admin: SocketAddr, order: &Order) -> Result<(), Failure> {
    let body = serde_json::to_vec(order).map_err(|error| Failure::new(RUNTIME, error))?;
    let answer = timeout(PATIENCE, exchange(admin, PATH, Method::POST, body)).await;
    let (status, text) = answer.map_err(|_| Failure::new(RUNTIME, format!("{admin} does not answer")))??;
    if status == StatusCode::OK {
        return Ok(());
    }
    if status == StatusCode::NOT_FOUND {
        let text = "takes no evidence: its private address has to be on loopback";
        return Err(Failure::new(CONFIGURATION, format!("the adapter at {admin} {text}")));
    }
    Err(Failure::new(CHECK_FAILED, format!("the adapter at {admin} refuses: {}", text.trim_end())))
}

/// What a running adapter says of itself, if one is there.
pub(crate) async fn status(admin: SocketAddr) -> Option<Value> {
    let answer = timeout(GLANCE, exchange(admin, "/api/v1/status", Method::GET, Vec::new())).await;
    let (status, text) = answer.ok()?.ok()?;
    (status == StatusCode::OK).then(|| serde_json::from_str(&text).ok()).flatten()
}

fn is_of(status: &Value, publisher: &PublisherId) -> bool {
    status["publisher"] == publisher.to_string().as_str() && !status["ledger"].is_null()
}

/// A number that is higher than any before it: the time, so that it rises over restarts and machines.
pub(crate) fn counter() -> u64 {
    now().0.max(1)
}
