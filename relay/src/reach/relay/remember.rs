//! Who is in a network when its adapter does not say. Invariant: members known from elsewhere give way to the adapter's
//! list.

use super::RelayReach;
use crate::peer::Network;
use std::time::Duration;
use tokio::time::Instant;

/// How often the list of members is kept, if it has changed.
const KEEP_EVERY: Duration = Duration::from_secs(5);
/// How long the adapter may take after the start before the kept members are used.
pub(super) const ADAPTER_GRACE: Duration = Duration::from_secs(3);

impl RelayReach {
    /// Keeps the list of members. While the adapter does not answer, goes on with the kept one, or else with those who
    /// have shown a grant here.
    pub(super) fn remember(&mut self, network: &Network, now: Instant) {
        let Some((cache, next)) = self.caches.get_mut(&network.publisher) else { return };
        let (known, makeshift) = (network.members().len(), self.makeshift.contains(&network.publisher));
        if known == 0 || makeshift {
            let links = self.parts.networks.links();
            let away = !links.is_open(&network.adapter);
            if away && now.duration_since(self.began) >= ADAPTER_GRACE {
                let mut members = cache.read();
                if members.is_empty() {
                    let open = links.table();
                    let at = |relay| open.iter().find(|link| link.relay == relay).map(|link| link.address);
                    let shown = network.shown_members().into_iter();
                    members = shown
                        .map(|member| (at(member.relay), member))
                        .map(|(at, member)| (member, at.into_iter().collect()))
                        .collect();
                    self.makeshift.insert(network.publisher);
                }
                if members.len() > known {
                    tracing::info!(
                        members = members.len(),
                        "the adapter does not answer: going on with members known before"
                    );
                    network.set_members(0, members, self.parts.networks.clock().now());
                }
            } else if !away {
                self.makeshift.remove(&network.publisher);
            }
        } else if now >= *next {
            *next = now + KEEP_EVERY;
            cache.keep(network);
        }
    }
}
