//! What becomes of each claim of an epoch.
//!
//! Invariant: an item's claimed bytes are its accepted bytes plus its reductions, at every step. Everything here is
//! fixed when the epoch closes; what probes claw back later is applied to the lines.

use std::collections::{BTreeMap, HashMap};

use weir_protocol::statement::ClaimClass;
use weir_protocol::time::CLOCK_SKEW_MS;
use weir_protocol::token::TokenUse;
use weir_protocol::{CanonicalPath, EdgeClaim, Epoch, RelayId, TokenHash, UnixMillis};

use crate::evidence::{Book, Terms, Token, TokenFault};
use crate::settle::line::Grade;
use crate::settle::money::{Rate, cap};
use crate::settle::policy::{Policy, PriceKind};
use crate::settle::reason::Reason;

/// A claim under judgement.
#[derive(Debug, Clone)]
pub(super) struct Item {
    pub(super) relay: RelayId,
    pub(super) kind: PriceKind,
    pub(super) path: String,
    pub(super) rate: Option<Rate>,
    pub(super) grade: Grade,
    pub(super) claimed: u64,
    pub(super) accepted: u64,
    pub(super) rejected: BTreeMap<Reason, u64>,
    session: Option<(String, u64)>,
    cap_bytes: Option<u64>,
    /// The session's token, and what is known of all that it was sent by this relay in this epoch.
    backing: Option<(TokenHash, Vec<(u64, Reason)>)>,
}

impl Item {
    fn limit(&mut self, to: u64, reason: Reason) {
        let cut = self.accepted.saturating_sub(to);
        if cut > 0 {
            self.accepted -= cut;
            *self.rejected.entry(reason).or_insert(0) += cut;
        }
    }

    fn refuse(&mut self, reason: Reason) {
        self.limit(0, reason);
    }
}

/// How many bytes each session was paid for in the epochs before.
pub(super) type Sessions = HashMap<String, u64>;

/// Judges all claims of an epoch. `probed` tells whether enough probes measured a relay by then.
pub(super) fn judge(
    book: &Book,
    policy: &Policy,
    epoch: Epoch,
    sessions: &mut Sessions,
    probed: impl Fn(&RelayId) -> bool,
) -> Vec<Item> {
    let mut items: Vec<Item> = Vec::new();
    let mut places = HashMap::new();
    for claim in book.claims.get(&epoch).into_iter().flatten() {
        places.insert(series(&claim.statement), items.len());
        items.push(one(book, policy, &claim.statement, claim.received, &probed));
    }
    for late in book.late_claims.get(&epoch).into_iter().flatten() {
        let at = *places.entry(series(late)).or_insert_with(|| {
            let mut item =
                one(book, policy, &EdgeClaim { bytes: 0, aborted_bytes: 0, ..late.clone() }, UnixMillis(0), &probed);
            item.rejected.clear();
            items.push(item);
            items.len() - 1
        });
        let more = late.claimed().saturating_sub(items[at].claimed);
        items[at].claimed += more;
        if more > 0 {
            *items[at].rejected.entry(Reason::Late).or_insert(0) += more;
        }
    }
    limit_to_evidence(&mut items);
    limit_sessions(&mut items, sessions);
    limit_relays(&mut items, policy);
    limit_groups(&mut items, policy);
    limit_budget(&mut items, policy);
    items
}

fn series(claim: &EdgeClaim) -> (RelayId, ClaimClass, weir_protocol::TokenHash, String) {
    (claim.edge, claim.class, claim.token, claim.path.clone())
}

/// Judges one claim by itself.
fn one(
    book: &Book,
    policy: &Policy,
    claim: &EdgeClaim,
    received: UnixMillis,
    probed: &impl Fn(&RelayId) -> bool,
) -> Item {
    let kind = match claim.class {
        ClaimClass::Viewer => PriceKind::Viewer,
        ClaimClass::Service => PriceKind::Service,
    };
    let terms = book.terms(&claim.edge, claim.epoch, policy.epoch_ms);
    let covering: Option<&Terms> = terms.iter().copied().find(|terms| terms.covers(&claim.path));
    let region = covering.map_or("", |terms| terms.grant.region.as_str());
    let signed = covering.and_then(|terms| terms.micro_per_gib(kind.class())).map(Rate::per_gib);
    let mut item = Item {
        relay: claim.edge,
        kind,
        path: policy.split(&claim.path).map_or_else(String::new, |split| split.path.clone()),
        rate: signed.or_else(|| policy.price(kind, region, claim.epoch)),
        grade: Grade::E0,
        claimed: claim.claimed(),
        accepted: claim.claimed(),
        rejected: BTreeMap::new(),
        session: None,
        cap_bytes: covering.and_then(Terms::cap_bytes),
        backing: None,
    };
    let token = book.token(&claim.token);
    if let Some(reason) = refusal(book, policy, claim, received, covering.is_some(), token.as_ref()) {
        item.refuse(reason);
        return item;
    }
    if item.rate.is_none() {
        item.refuse(Reason::NoPrice);
    }
    if let Ok(token) = token {
        back(book, claim, &token, probed, &mut item);
        item.session = token.claims.max_bytes.map(|most| (token.claims.sid.clone(), most));
    }
    item
}

/// Why a claim is refused altogether.
fn refusal(
    book: &Book,
    policy: &Policy,
    claim: &EdgeClaim,
    received: UnixMillis,
    granted: bool,
    token: Result<&Token, &TokenFault>,
) -> Option<Reason> {
    let contradicts = |at: &crate::evidence::Misconduct| at.relay == claim.edge && at.epoch == claim.epoch;
    if book.misconduct.iter().any(contradicts) {
        return Some(Reason::Contradiction);
    }
    let (start, end) = (claim.epoch.start(policy.epoch_ms), claim.epoch.end(policy.epoch_ms));
    let inside = claim.first.plus_ms(CLOCK_SKEW_MS) >= start && claim.last < end.plus_ms(CLOCK_SKEW_MS);
    // A claim cannot speak of what had not happened yet when it arrived.
    let ahead = received != UnixMillis(0) && claim.last > received.plus_ms(CLOCK_SKEW_MS);
    if !inside || ahead {
        return Some(Reason::OutsideEpoch);
    }
    if !granted {
        return Some(Reason::NoGrant);
    }
    let claims = match token {
        Ok(token) => &token.claims,
        Err(TokenFault::Missing) => return Some(Reason::NoToken),
        Err(TokenFault::Bad) => return Some(Reason::BadToken),
    };
    let expiry = UnixMillis::from_secs(claims.exp).plus_ms(CLOCK_SKEW_MS);
    if claim.first >= expiry || claim.last >= expiry.plus_ms(policy.token_grace_ms) {
        return Some(Reason::ExpiredToken);
    }
    if !claims.assigns(&claim.edge) {
        return Some(Reason::NotAssigned);
    }
    let usage = match claims.usage {
        TokenUse::Viewer => ClaimClass::Viewer,
        TokenUse::Service => ClaimClass::Service,
    };
    let covered = CanonicalPath::parse(&claim.path).is_ok_and(|path| claims.covers(&path));
    (usage != claim.class || !covered).then_some(Reason::OutsideToken)
}

/// Grades a claim by the evidence for it, and notes every bound that the evidence sets.
fn back(book: &Book, claim: &EdgeClaim, token: &Token, probed: &impl Fn(&RelayId) -> bool, item: &mut Item) {
    let seen = book.seen(claim.epoch, &claim.edge, &claim.token).map(|seen| &seen.observation);
    let mut bounds = Vec::new();
    if let Some(listed) = seen.and_then(|seen| seen.listed_bytes) {
        bounds.push((listed, Reason::NotListed));
    }
    if let Some(reported) = seen.and_then(|seen| seen.reported_bytes) {
        item.grade = Grade::E1;
        bounds.push((reported, Reason::NotReported));
    }
    if let Some(imported) = seen.and_then(|seen| seen.imported_bytes) {
        item.grade = Grade::E1;
        bounds.push((imported, Reason::NotImported));
    }
    if let Some(confirmed) = book.confirmed(claim.epoch, &claim.edge, &claim.token, token) {
        item.grade = Grade::E2;
        bounds.push((confirmed, Reason::NotConfirmed));
    }
    // Probes measure how a relay counts, not whether its viewers exist: without any sign of the viewer they prove nothing.
    if item.grade >= Grade::E1 && probed(&claim.edge) {
        item.grade = Grade::E3;
    }
    item.backing = Some((claim.token, bounds));
}

/// Evidence is of a session at a relay: it bounds the claims for all its paths together. A relay that spread a session
/// over many paths would otherwise be paid up to the bound for each.
fn limit_to_evidence(items: &mut [Item]) {
    let mut by_session: BTreeMap<(RelayId, TokenHash), Vec<usize>> = BTreeMap::new();
    for (at, item) in items.iter().enumerate() {
        if let Some((token, _)) = &item.backing {
            by_session.entry((item.relay, *token)).or_default().push(at);
        }
    }
    for places in by_session.into_values() {
        // The same for each of them: one epoch, one relay, one token.
        let bounds = items[places[0]].backing.take().map_or_else(Vec::new, |(_, bounds)| bounds);
        for (most, reason) in bounds {
            limit_together(items, &places, most, reason);
        }
    }
}

/// What a session's token allows is for all its relays together, and for all epochs together.
fn limit_sessions(items: &mut [Item], sessions: &mut Sessions) {
    let mut by_session: BTreeMap<String, (u64, Vec<usize>)> = BTreeMap::new();
    for (at, item) in items.iter().enumerate() {
        if let Some((sid, most)) = &item.session {
            let entry = by_session.entry(sid.clone()).or_insert((0, Vec::new()));
            // A session that was given a second token may fetch what the larger one allows.
            entry.0 = entry.0.max(*most);
            entry.1.push(at);
        }
    }
    for (sid, (most, places)) in by_session {
        let used = sessions.entry(sid).or_insert(0);
        limit_together(items, &places, most.saturating_sub(*used), Reason::SessionLimit);
        *used = places.iter().fold(*used, |used, at| used.saturating_add(items[*at].accepted));
    }
}

fn limit_relays(items: &mut [Item], policy: &Policy) {
    let mut by_relay: BTreeMap<RelayId, Vec<usize>> = BTreeMap::new();
    items.iter().enumerate().for_each(|(at, item)| by_relay.entry(item.relay).or_default().push(at));
    for places in by_relay.into_values() {
        let signed = places.iter().filter_map(|at| items[*at].cap_bytes).min();
        if let Some(most) = [policy.caps.relay_bytes, signed].into_iter().flatten().min() {
            limit_together(items, &places, most, Reason::RelayCap);
        }
    }
}

fn limit_groups(items: &mut [Item], policy: &Policy) {
    for group in &policy.groups {
        let places: Vec<usize> = (0..items.len()).filter(|at| group.relays.contains(&items[*at].relay)).collect();
        limit_together(items, &places, group.bytes, Reason::GroupCap);
    }
}

fn limit_budget(items: &mut [Item], policy: &Policy) {
    let Some(budget) = policy.caps.budget_micro else { return };
    let amount = |item: &Item| u128::from(item.rate.map_or(0, |rate| rate.amount(item.accepted)));
    if items.iter().map(amount).sum::<u128>() <= u128::from(budget) {
        return;
    }
    let fine = |item: &Item| item.rate.map_or(0, |rate| rate.fine_amount(item.accepted));
    let whole: u128 = items.iter().map(fine).sum();
    for item in items.iter_mut().filter(|item| item.accepted > 0) {
        let to = u128::from(item.accepted).saturating_mul(u128::from(budget).saturating_mul(1_000_000)) / whole.max(1);
        item.limit(u64::try_from(to).unwrap_or(u64::MAX), Reason::Budget);
    }
}

fn limit_together(items: &mut [Item], places: &[usize], most: u64, reason: Reason) {
    let accepted: Vec<u64> = places.iter().map(|at| items[*at].accepted).collect();
    for (at, to) in places.iter().zip(cap(&accepted, most)) {
        items[*at].limit(to, reason);
    }
}
