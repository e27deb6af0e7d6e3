//! Which of a relay's messages are good for the ledger. No I/O; a batch of signatures is verified in one equation.

use bytes::Bytes;
use weir_ledger::Submission;
use weir_protocol::{
    PublisherId, RelayId, UnixMillis,
    keys::KeyRing,
    statement::{Evidence, Kind, verify_batch},
    token::UnverifiedToken,
    wire::{Submitted, Verdict},
};

/// What is said of each message, in order.
pub(super) fn judge(relay: RelayId, ring: &KeyRing, messages: &[Submitted]) -> Vec<Result<Submission, Verdict>> {
    let mut verdicts: Vec<Result<Submission, Verdict>> = Vec::with_capacity(messages.len());
    let (mut batch, mut places) = (Vec::new(), Vec::new());
    for message in messages {
        let verdict = match Kind::from_number(message.kind) {
            Some(Kind::Token) => token(ring, &message.message),
            Some(kind @ (Kind::PeerReceipt | Kind::EdgeClaim | Kind::ViewerReceipt | Kind::PayeeChange)) => {
                places.push(verdicts.len());
                batch.push((kind, Bytes::copy_from_slice(&message.message)));
                Err(Verdict::Invalid)
            }
            _ => Err(Verdict::WrongKind),
        };
        verdicts.push(verdict);
    }
    for (place, verified) in places.into_iter().zip(verify_batch(&batch)) {
        verdicts[place] = match verified {
            Ok(evidence) if is_business_of(&relay, &ring.publisher(), &evidence) => Ok(Submission::evidence(&evidence)),
            Ok(_) => Err(Verdict::NotYours),
            Err(_) => Err(Verdict::Invalid),
        };
    }
    verdicts
}

/// A relay submits what it has signed, and what others have signed for its deliveries; nobody fills the log with strangers'
/// business.
fn is_business_of(relay: &RelayId, publisher: &PublisherId, evidence: &Evidence) -> bool {
    match evidence {
        Evidence::PeerReceipt(receipt) => {
            let receipt = receipt.statement();
            receipt.publisher == *publisher && (receipt.sender == *relay || receipt.receiver == *relay)
        }
        Evidence::EdgeClaim(claim) => claim.statement().publisher == *publisher && claim.statement().edge == *relay,
        Evidence::ViewerReceipt(receipt) => {
            receipt.statement().publisher == *publisher && receipt.statement().from_relay(relay).is_some()
        }
        Evidence::PayeeChange(change) => {
            change.statement().publisher == *publisher && change.statement().relay == *relay
        }
    }
}

/// A token is the publisher's own word, whoever brings it; when it was good is judged by the settlement.
fn token(ring: &KeyRing, message: &[u8]) -> Result<Submission, Verdict> {
    let text = std::str::from_utf8(message).map_err(|_| Verdict::Invalid)?;
    let token = UnverifiedToken::parse(text).map_err(|_| Verdict::Invalid)?;
    if *token.issuer() != ring.publisher() {
        return Err(Verdict::NotYours);
    }
    let entry = ring.entries().iter().find(|entry| entry.key_id == *token.kid()).ok_or(Verdict::Invalid)?;
    let key = ring.key(&entry.key_id, entry.not_before).ok_or(Verdict::Invalid)?;
    let claims = token.verify(key, UnixMillis(0), u64::MAX).map_err(|_| Verdict::Invalid)?;
    Submission::token(ring.publisher(), text, &claims).map_err(|_| Verdict::Invalid)
}
