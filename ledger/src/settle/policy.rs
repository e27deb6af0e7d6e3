//! The policy file: what a publisher pays, for what, and when.
//!
//! Invariant: a [`Policy`] that was read has every number within its range and every name known, so computing with it
//! cannot fail. An unknown key is an error that names its line.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use weir_protocol::epoch::{DEFAULT_EPOCH_MS, MAX_EPOCH_MS, MIN_EPOCH_MS};
use weir_protocol::grant::PriceClass;
use weir_protocol::{Epoch, PolicyHash, RelayId, UnixMillis};

use crate::evidence::Deadlines;
use crate::leaf::MAX_MESSAGE;
use crate::settle::money::Rate;

/// A thousand thousandths.
const WHOLE: u64 = 1000;
/// Largest number in a policy: integers that JSON carries exactly.
const MAX_NUMBER: u64 = (1 << 53) - 1;

/// Why a policy is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// Not UTF-8, or longer than a leaf may be.
    #[error("a policy is a TOML text of at most 64 KiB")]
    Text,
    /// Not TOML of the expected shape; the text names line and key.
    #[error("{0}")]
    Toml(String),
    /// A value outside its range.
    #[error("policy: {place}: {why}")]
    Value {
        /// Which key, for example `price[2].micro_per_gb`.
        place: String,
        /// What is wrong.
        why: String,
    },
}

/// What was delivered to whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PriceKind {
    /// Bytes to viewers.
    Viewer,
    /// Bytes to another CDN that pulls.
    Service,
    /// Bytes to another relay, out of the receiver's share.
    Peer,
}

impl PriceKind {
    /// The name in files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Service => "service",
            Self::Peer => "peer",
        }
    }

    /// The same in a grant's schedule.
    #[must_use]
    pub const fn class(self) -> PriceClass {
        match self {
            Self::Viewer => PriceClass::Viewer,
            Self::Service => PriceClass::Service,
            Self::Peer => PriceClass::Peer,
        }
    }
}

/// A price.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Price {
    /// For what.
    pub kind: PriceKind,
    /// Region of the relay that delivers; `*` for every other one.
    #[serde(default = "any_region")]
    pub region: String,
    /// First epoch that it holds in.
    #[serde(default)]
    pub from_epoch: u64,
    /// Millionths of the currency's unit for each 10^9 bytes.
    pub micro_per_gb: u64,
}

fn any_region() -> String {
    "*".to_owned()
}

/// How a path's revenue is divided; the relay gets the rest.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Split {
    /// Canonical path prefix. The longest one that covers a claim's path counts.
    pub path: String,
    /// Who made what lies there.
    #[serde(default)]
    pub creator: Option<String>,
    /// The creator's thousandths.
    #[serde(default)]
    pub creator_permille: u64,
    /// The platform's thousandths.
    #[serde(default)]
    pub platform_permille: u64,
}

/// How many epochs a line is held, by grade of evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Hold {
    /// A valid token only.
    pub e0: u64,
    /// What the publisher saw.
    pub e1: u64,
    /// The viewer confirmed.
    pub e2: u64,
    /// And probes measured the relay.
    pub e3: u64,
}

impl Default for Hold {
    fn default() -> Self {
        Self { e0: 168, e1: 72, e2: 24, e3: 24 }
    }
}

/// Caps for one epoch.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Caps {
    /// Bytes that one relay is paid for.
    pub relay_bytes: Option<u64>,
    /// Millionths that everybody together is paid.
    pub budget_micro: Option<u64>,
}

/// Relays that belong together: one operator's account, one network prefix, one provider.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// For people.
    pub name: String,
    /// Its relays.
    pub relays: BTreeSet<RelayId>,
    /// Bytes that they are paid for together in one epoch.
    pub bytes: u64,
}

/// Fills between relays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Peers {
    /// Most thousandths of what a relay earns that go to the relays it was filled from.
    pub share_permille: u64,
}

impl Default for Peers {
    fn default() -> Self {
        Self { share_permille: 200 }
    }
}

/// Which end of the confidence interval claws back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Claw {
    /// The lower bound: only what is certain.
    Low,
    /// The estimate.
    Estimate,
    /// The upper bound: a deterrent.
    High,
}

/// What is done with probes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Probes {
    /// Fewer probes than this change nothing.
    pub least: u64,
    /// Epochs before a line's own that count too.
    pub window_epochs: u64,
    /// Bytes by which a claim may exceed what a probe received: what a door cannot see acknowledged.
    pub slack_bytes: u64,
    /// What is clawed back.
    pub claw: Claw,
}

impl Default for Probes {
    fn default() -> Self {
        Self { least: 30, window_epochs: 168, slack_bytes: 1 << 20, claw: Claw::Estimate }
    }
}

/// When money leaves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Payout {
    /// Less than this, in millionths, waits for the next settlement.
    pub minimum_micro: u64,
}

/// A publisher's policy.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// 1.
    pub version: u64,
    /// Code of the currency, for people and exports: 1 to 12 of `A-Z 0-9`.
    pub currency: String,
    /// Length of an epoch in milliseconds; the log's identity names the same.
    #[serde(default = "default_epoch")]
    pub epoch_ms: u64,
    /// How long after an epoch evidence for it is accepted, in milliseconds: 24 hours.
    #[serde(default = "default_window")]
    pub claim_window_ms: u64,
    /// How long after a token's expiry a response that began before may end, in milliseconds.
    #[serde(default = "default_grace")]
    pub token_grace_ms: u64,
    /// Prices. The most specific one counts: the region's own before `*`, then the latest `from_epoch`.
    #[serde(rename = "price", default)]
    pub prices: Vec<Price>,
    /// Shares by path.
    #[serde(rename = "split", default)]
    pub splits: Vec<Split>,
    /// Holdback.
    #[serde(default)]
    pub hold_epochs: Hold,
    /// Caps.
    #[serde(default)]
    pub caps: Caps,
    /// Accounts.
    #[serde(rename = "group", default)]
    pub groups: Vec<Group>,
    /// Fills.
    #[serde(default)]
    pub peer: Peers,
    /// Probes.
    #[serde(default)]
    pub probes: Probes,
    /// Pay-outs.
    #[serde(default)]
    pub payout: Payout,
}

fn default_epoch() -> u64 {
    DEFAULT_EPOCH_MS
}

fn default_window() -> u64 {
    86_400_000
}

fn default_grace() -> u64 {
    600_000
}

/// A policy with the hash of its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HashedPolicy {
    /// What it says.
    pub policy: Policy,
    /// SHA-256 of the file.
    pub hash: PolicyHash,
}

impl Policy {
    /// Reads a policy file.
    ///
    /// # Errors
    /// [`PolicyError`] names the place.
    pub fn read(file: &[u8]) -> Result<HashedPolicy, PolicyError> {
        let text = std::str::from_utf8(file).ok().filter(|text| text.len() <= MAX_MESSAGE).ok_or(PolicyError::Text)?;
        let policy: Self =
            toml::from_str(text).map_err(|error| PolicyError::Toml(error.to_string().trim_end().to_owned()))?;
        policy.check()?;
        Ok(HashedPolicy { policy, hash: PolicyHash::of(file) })
    }

    /// The price of what a relay of this region delivered.
    #[must_use]
    pub fn price(&self, kind: PriceKind, region: &str, epoch: Epoch) -> Option<Rate> {
        let fits = |price: &&Price| {
            price.kind == kind && price.from_epoch <= epoch.0 && (price.region == region || price.region == "*")
        };
        let best = self.prices.iter().filter(fits).max_by_key(|price| (price.region != "*", price.from_epoch));
        best.map(|price| Rate::per_gb(price.micro_per_gb))
    }

    /// The split for a claim's path: the longest prefix that covers it.
    #[must_use]
    pub fn split(&self, path: &str) -> Option<&Split> {
        self.splits.iter().filter(|split| covers(&split.path, path)).max_by_key(|split| split.path.len())
    }

    fn check(&self) -> Result<(), PolicyError> {
        let fail = |place: &str, why: &str| Err(PolicyError::Value { place: place.to_owned(), why: why.to_owned() });
        if self.version != 1 {
            return fail("version", "this program reads version 1");
        }
        let code = self.currency.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
        if self.currency.is_empty() || self.currency.len() > 12 || !code {
            return fail("currency", "1 to 12 of A-Z and 0-9");
        }
        if !(MIN_EPOCH_MS..=MAX_EPOCH_MS).contains(&self.epoch_ms) {
            return fail("epoch_ms", "1000 (a second) to 2678400000 (31 days)");
        }
        for (place, value) in [
            ("claim_window_ms", self.claim_window_ms),
            ("token_grace_ms", self.token_grace_ms),
            ("hold_epochs.e0", self.hold_epochs.e0),
            ("hold_epochs.e1", self.hold_epochs.e1),
            ("hold_epochs.e2", self.hold_epochs.e2),
            ("hold_epochs.e3", self.hold_epochs.e3),
            ("probes.window_epochs", self.probes.window_epochs),
            ("probes.slack_bytes", self.probes.slack_bytes),
            ("payout.minimum_micro", self.payout.minimum_micro),
        ] {
            if value > MAX_NUMBER {
                return fail(place, "at most 9007199254740991");
            }
        }
        if self.peer.share_permille > WHOLE {
            return fail("peer.share_permille", "0 to 1000");
        }
        let mut seen = BTreeSet::new();
        for (at, price) in self.prices.iter().enumerate() {
            let place = format!("price[{at}]");
            if price.micro_per_gb > MAX_NUMBER {
                return fail(&format!("{place}.micro_per_gb"), "at most 9007199254740991");
            }
            if price.region.is_empty() || price.region.len() > 32 {
                return fail(&format!("{place}.region"), "1 to 32 characters, or * for every other region");
            }
            if !seen.insert((price.kind, price.region.clone(), price.from_epoch)) {
                return fail(&place, "a second price for the same kind, region and epoch");
            }
        }
        let mut paths = BTreeSet::new();
        for (at, split) in self.splits.iter().enumerate() {
            let place = format!("split[{at}]");
            let canonical =
                weir_protocol::CanonicalPath::parse(&split.path).is_ok_and(|path| path.as_str() == split.path);
            if !canonical {
                return fail(&format!("{place}.path"), "a canonical path, such as /creator/");
            }
            if split.creator_permille.saturating_add(split.platform_permille) > WHOLE {
                return fail(&place, "the shares exceed 1000 thousandths");
            }
            if split.creator_permille > 0 && split.creator.is_none() {
                return fail(&format!("{place}.creator"), "a share without a creator's name");
            }
            let name = |name: &String| (1..=64).contains(&name.len()) && !name.chars().any(char::is_control);
            if !split.creator.as_ref().is_none_or(name) {
                return fail(&format!("{place}.creator"), "1 to 64 bytes without control characters");
            }
            if !paths.insert(&split.path) {
                return fail(&format!("{place}.path"), "a second split for the same path");
            }
        }
        let mut relays = BTreeSet::new();
        for (at, group) in self.groups.iter().enumerate() {
            if let Some(relay) = group.relays.iter().find(|relay| !relays.insert(**relay)) {
                return fail(&format!("group[{at}].relays"), &format!("{relay} is in two groups"));
            }
        }
        Ok(())
    }
}

impl Deadlines for Policy {
    fn closes(&self, epoch: Epoch) -> UnixMillis {
        epoch.end(self.epoch_ms).plus_ms(self.claim_window_ms)
    }

    fn epoch_ms(&self) -> u64 {
        self.epoch_ms
    }
}

/// Whether a prefix covers a path, as tokens and grants do: `/film` covers `/film/a` and not `/films`.
#[must_use]
pub fn covers(prefix: &str, path: &str) -> bool {
    let below = path.strip_prefix(prefix);
    below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || prefix.ends_with('/'))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::{Policy, PolicyError, PriceKind};
    use weir_protocol::Epoch;

    const POLICY: &str = "version = 1\ncurrency = \"EUR\"\n\
        [[price]]\nkind = \"viewer\"\nmicro_per_gb = 4000\n\
        [[price]]\nkind = \"viewer\"\nregion = \"eu\"\nmicro_per_gb = 3000\n\
        [[price]]\nkind = \"viewer\"\nregion = \"eu\"\nfrom_epoch = 10\nmicro_per_gb = 2000\n\
        [[split]]\npath = \"/\"\nplatform_permille = 50\n\
        [[split]]\npath = \"/a/\"\ncreator = \"ada\"\ncreator_permille = 100\nplatform_permille = 50\n";

    #[test]
    fn the_most_specific_rule_counts() {
        let policy = Policy::read(POLICY.as_bytes()).unwrap().policy;
        let price = |region, epoch| policy.price(PriceKind::Viewer, region, Epoch(epoch)).map(|rate| rate.micro);
        assert_eq!([price("us", 0), price("eu", 9), price("eu", 10)], [Some(4000), Some(3000), Some(2000)]);
        assert_eq!(policy.price(PriceKind::Service, "eu", Epoch(0)), None);
        assert_eq!(policy.split("/a/film").unwrap().creator.as_deref(), Some("ada"));
        assert_eq!(policy.split("/ab").unwrap().path, "/");
        assert_eq!(policy.hold_epochs.e0, 168);
    }

    #[test]
    fn mistakes_name_their_place() {
        let error = |text: &str| Policy::read(text.as_bytes()).unwrap_err();
        let unknown = error(&POLICY.replace("currency =", "curency ="));
        assert!(
            matches!(&unknown, PolicyError::Toml(text) if text.contains("line 2") && text.contains("curency")),
            "{unknown}"
        );
        for (from, to, place) in [
            ("version = 1", "version = 2", "version"),
            ("\"EUR\"", "\"eur\"", "currency"),
            ("creator_permille = 100", "creator_permille = 999", "split[1]"),
            ("creator = \"ada\"\n", "", "split[1].creator"),
            ("path = \"/a/\"", "path = \"/a/../\"", "split[1].path"),
            ("path = \"/a/\"", "path = \"/\"", "split[1].path"),
            ("from_epoch = 10\n", "", "price[2]"),
        ] {
            let found = error(&POLICY.replace(from, to));
            assert!(matches!(&found, PolicyError::Value { place: at, .. } if at == place), "{found}");
        }
        assert_eq!(error(&"#".repeat(70_000)), PolicyError::Text);
    }
}
