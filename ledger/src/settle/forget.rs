//! Forgetting who watched: what an epoch came to becomes leaves, and what told of its sessions can go.

use std::collections::BTreeSet;

use weir_protocol::statement::{Kind, Unverified};
use weir_protocol::{EdgeClaim, Epoch, Observation, TokenHash, ViewerReceipt};

use crate::evidence::{LeafSource, SourceError};
use crate::settle::json::canonical;
use crate::settle::line::Line;
use crate::settle::run::{SettleError, Settlement};
use crate::settle::totals::Part;

/// Most lines in one leaf of totals.
pub const MAX_PART_LINES: usize = 80;

/// The leaves that keep an epoch's lines: messages of kind [`Kind::EpochTotals`]. All lines of the epoch must have been
/// released, since a line that is held can still change.
///
/// # Errors
/// [`SettleError::Json`].
pub fn totals_messages(settlement: &Settlement, epoch: Epoch) -> Result<Option<Vec<String>>, SettleError> {
    let of_epoch = settlement.lines_with_state().filter(|(line, _)| line.epoch == epoch);
    let (lines, released): (Vec<&Line>, Vec<bool>) = of_epoch.unzip();
    if lines.is_empty() || released.contains(&false) {
        return Ok(None);
    }
    let chunks: Vec<&[&Line]> = lines.chunks(MAX_PART_LINES).collect();
    let parts = chunks.len() as u64;
    let messages = (0..).zip(chunks).map(|(part, lines)| {
        let lines = lines.iter().copied().cloned().collect();
        let size = settlement.tree_size;
        Ok(canonical(&Part { version: 1, epoch, part, parts, size, policy: settlement.policy, lines })?)
    });
    messages.collect::<Result<_, SettleError>>().map(Some)
}

/// The leaves whose openings tell of sessions of settled epochs up to `through` and of no later one: claims, viewers'
/// receipts, observations, and the tokens that only they name.
///
/// # Errors
/// [`SourceError`].
pub fn forgettable(source: &dyn LeafSource, through: Epoch) -> Result<Vec<u64>, SourceError> {
    let mut old: Vec<(u64, TokenHash)> = Vec::new();
    let mut needed: BTreeSet<TokenHash> = BTreeSet::new();
    let mut tokens: Vec<(u64, TokenHash)> = Vec::new();
    source.for_each(&mut |leaf, opening| {
        let Some(opening) = opening else { return };
        if opening.kind == Kind::Token {
            if let Ok(text) = std::str::from_utf8(&opening.message) {
                tokens.push((leaf, TokenHash::of(text)));
            }
            return;
        }
        let message = opening.message.into();
        let told = match opening.kind {
            Kind::EdgeClaim => {
                Unverified::<EdgeClaim>::new(message).claimed().ok().map(|told| (told.epoch, told.token))
            }
            Kind::ViewerReceipt => {
                Unverified::<ViewerReceipt>::new(message).claimed().ok().map(|told| (told.epoch, told.token))
            }
            Kind::Observation => {
                Unverified::<Observation>::new(message).claimed().ok().map(|told| (told.epoch, told.token))
            }
            _ => None,
        };
        match told {
            Some((epoch, token)) if epoch <= through => old.push((leaf, token)),
            Some((_, token)) => {
                needed.insert(token);
            }
            None => {}
        }
    })?;
    // A session that goes on is needed whole: what it was paid for before limits what it is paid for next.
    let named: BTreeSet<TokenHash> = old.iter().map(|(_, token)| *token).collect();
    let gone = tokens.into_iter().filter(|(_, token)| named.contains(token));
    let mut leaves: Vec<u64> =
        old.iter().copied().chain(gone).filter(|(_, token)| !needed.contains(token)).map(|(leaf, _)| leaf).collect();
    leaves.sort_unstable();
    Ok(leaves)
}
