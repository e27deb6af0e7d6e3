//! The scenario file. Every key is explained in `loadtest/scenarios/mesh/flash_crowd.toml` as well; an unknown key is an
//! error.

use super::Expect;
use serde::Deserialize;

/// A scenario.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// A short name, for the report.
    pub name: String,
    /// What it shows, in a sentence or two.
    #[serde(default)]
    pub about: String,
    /// Simulated time, in seconds.
    pub seconds: u32,
    /// Relays that are up at the beginning.
    pub relays: u32,
    /// Viewers in all.
    pub viewers: u32,
    /// Seed of everything random.
    #[serde(default = "one")]
    pub seed: u64,
    /// Delays, losses, and the adapter's place.
    pub network: Network,
    /// Where relays and viewers are.
    #[serde(rename = "region")]
    pub regions: Vec<Region>,
    /// What lines relays have.
    #[serde(rename = "relay")]
    pub classes: Vec<RelayClass>,
    /// The publisher's origin.
    #[serde(default)]
    pub origin: Origin,
    /// Live channels; absent: none.
    pub live: Option<Live>,
    /// A catalogue; absent: none.
    pub vod: Option<Vod>,
    /// Who watches, and when they come.
    #[serde(rename = "watch")]
    pub watch: Viewers,
    /// How relays come and go; absent: they stay.
    pub churn: Option<Churn>,
    /// Relays that work against the others; absent: none.
    pub malice: Option<Malice>,
    /// Regions that are cut off for a time.
    #[serde(default, rename = "cut")]
    pub cuts: Vec<Cut>,
    /// The control plane.
    #[serde(default)]
    pub control: Control,
    /// What must hold at the end.
    #[serde(default)]
    pub expect: Expect,
}

fn one() -> u64 {
    1
}

/// Delays, losses, and the adapter's place.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// Mean of the exponentially distributed delay that each message has on top of its path's, in milliseconds.
    pub jitter_ms: f64,
    /// Packets lost on a path, in percent.
    pub loss_percent: f64,
    /// The region in which the adapter is.
    pub adapter_region: String,
    /// The adapter's upload, in Mbit/s.
    pub adapter_mbps: f64,
    /// How a line is shared by what leaves it.
    #[serde(default)]
    pub weights: Weights,
}

/// How a line is shared by the transfers that leave it: weights relative to one another.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Weights {
    /// Live segments pushed to another relay.
    pub push: f64,
    /// Live segments to viewers, or that another relay asked for.
    pub live: f64,
    /// Everything else.
    pub rest: f64,
}

impl Default for Weights {
    fn default() -> Self {
        Self { push: 8.0, live: 4.0, rest: 2.0 }
    }
}

/// A region: a disc in a plane whose unit of length is a millisecond of one-way delay.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Region {
    /// Its name.
    pub name: String,
    /// Share of the relays and viewers, relative to the other regions'.
    pub share: f64,
    /// Its middle, in milliseconds of one-way delay.
    pub at_ms: [f64; 2],
    /// Its radius, in milliseconds of one-way delay.
    pub radius_ms: f64,
}

/// A kind of line that relays have.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RelayClass {
    /// Its name.
    pub name: String,
    /// Share of the relays, relative to the other classes'.
    pub share: f64,
    /// Upload, in Mbit/s.
    pub up_mbps: f64,
    /// Download, in Mbit/s.
    pub down_mbps: f64,
    /// One-way delay of the access line, in milliseconds.
    pub access_ms: f64,
    /// How they are reached.
    pub nat: Nat,
    /// The most that a relay keeps, in MiB.
    #[serde(default = "ten_gibibytes")]
    pub cache_mib: u64,
}

fn ten_gibibytes() -> u64 {
    10_240
}

/// How the relays of a class are reached: shares relative to one another.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Nat {
    /// A public address, or a mapped port: everybody can dial.
    pub direct: f64,
    /// A cone NAT: reached by hole punching, from everybody but symmetric ones.
    pub cone: f64,
    /// A symmetric NAT: reaches direct relays only, is reached by nobody (`peer-only`).
    pub symmetric: f64,
}

impl Default for Nat {
    fn default() -> Self {
        Self { direct: 0.0, cone: 0.0, symmetric: 0.0 }
    }
}

/// The publisher's origin as the adapter sees it.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Origin {
    /// From the adapter's request to the first byte, in milliseconds.
    pub first_byte_ms: f64,
    /// Rate of a transfer, in Mbit/s.
    pub mbps: f64,
}

impl Default for Origin {
    fn default() -> Self {
        Self { first_byte_ms: 20.0, mbps: 2_000.0 }
    }
}

/// Live channels. Each rendition is pushed down a tree of its own in every region.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Live {
    /// Channels; viewers are spread over them by Zipf's law with the exponent below.
    #[serde(default = "one_channel")]
    pub channels: u32,
    /// Zipf's exponent of the channels' popularity.
    #[serde(default)]
    pub zipf: f64,
    /// Share of the viewers who watch live.
    pub share: f64,
    /// Length of a segment, in seconds.
    pub segment_s: f64,
    /// Bit rates of the renditions, in kbit/s.
    pub kbps: Vec<f64>,
    /// Share of the viewers of each rendition.
    pub kbps_share: Vec<f64>,
    /// The origin publishes a segment while it is being encoded, in pieces of so many milliseconds; 0: when it is whole.
    #[serde(default)]
    pub piece_ms: f64,
    /// Segments in a playlist.
    #[serde(default = "ten")]
    pub window: u32,
    /// Segments behind the newest one at which players begin.
    #[serde(default = "three")]
    pub hold_back: u32,
    /// Part of its line that a relay gives to its children in trees, over all renditions.
    #[serde(default = "third")]
    pub feeding: f64,
    /// Children that a relay has in one tree, at most.
    #[serde(default = "sixteen")]
    pub most_children: u32,
}

fn one_channel() -> u32 {
    1
}

fn ten() -> u32 {
    10
}

fn three() -> u32 {
    3
}

fn third() -> f64 {
    0.33
}

fn sixteen() -> u32 {
    16
}

/// A catalogue whose titles are asked for by Zipf's law.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vod {
    /// Titles.
    pub titles: u32,
    /// Length of a title, in minutes.
    pub minutes: f64,
    /// Zipf's exponent of the titles' popularity.
    pub zipf: f64,
    /// Share of the viewers who watch from the catalogue.
    pub share: f64,
    /// Length of a segment, in seconds.
    pub segment_s: f64,
    /// Bit rate, in kbit/s.
    pub kbps: f64,
    /// Media that a player loads ahead, in seconds.
    #[serde(default = "thirty")]
    pub ahead_s: f64,
}

fn thirty() -> f64 {
    30.0
}

/// Who watches.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Viewers {
    /// Corners of the curve of arrivals: at so many seconds, this share of the viewers has come. Between them it is
    /// straight.
    pub arrive: Vec<[f64; 2]>,
    /// Mean length of a viewing, in minutes, exponentially distributed; 0: nobody leaves. Who leaves is followed by
    /// another viewer.
    #[serde(default)]
    pub minutes: f64,
    /// Download of a viewer, in Mbit/s.
    pub down_mbps: f64,
    /// One-way delay between a viewer and a relay near by, beside the relay's own access line, in milliseconds.
    pub access_ms: f64,
    /// How long a player waits for a relay that says nothing, in seconds.
    #[serde(default = "five")]
    pub give_up_s: f64,
}

fn five() -> f64 {
    5.0
}

/// How relays come and go. Lifetimes are exponentially distributed; for each relay that leaves another one comes, with
/// an identity and a cache of its own.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Churn {
    /// Median lifetime, in minutes.
    pub median_minutes: f64,
    /// Share of those who vanish (power, line) instead of closing their connections.
    #[serde(default)]
    pub silent_share: f64,
    /// Mean time until another relay has come, in seconds.
    #[serde(default)]
    pub replaced_after_s: f64,
}

/// Relays that work against the others. Their own viewers are served: an attacker wants to be paid.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Malice {
    /// Share of the relays.
    pub share: f64,
    /// What they do: shares relative to one another.
    pub behaviour: Behaviours,
}

/// What malicious relays do when another relay relies on them: shares relative to one another.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Behaviours {
    /// Send bytes that do not verify.
    pub wrong_bytes: f64,
    /// Send a few bytes a second.
    pub drip: f64,
    /// Say that they have everything, and keep the asker waiting.
    pub liar: f64,
    /// Accept connections and requests, and answer nothing.
    pub silence: f64,
}

/// A region that is cut off from all others for a time.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cut {
    /// The region.
    pub region: String,
    /// When it begins, in seconds.
    pub from_s: f64,
    /// When it ends, in seconds.
    pub until_s: f64,
}

/// The control plane: what is sent beside bodies, and how often.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Control {
    /// Changes of the membership are sent together, so often, in milliseconds.
    pub members_every_ms: f64,
    /// After this long without a word the adapter takes a relay for gone, in seconds.
    pub members_idle_s: f64,
    /// Bytes that name one relay in a change of the membership.
    pub member_bytes: u32,
    /// Neighbours in the gossip mesh.
    pub gossip_degree: u32,
    /// An announcement (a takedown, say) goes through the whole network so often, in seconds; 0: never.
    pub announce_every_s: f64,
    /// Size of an announcement, with the frame around it.
    pub announce_bytes: u32,
    /// Every relay tells all others so often how it is, in seconds; 0: never.
    pub status_every_s: f64,
    /// But all together at most so many times a second.
    pub statuses_per_s: f64,
    /// Size of a status, with its envelope, signature and packet.
    pub status_bytes: u32,
    /// A connection that is silent sends a packet so often, in seconds.
    pub keep_alive_s: f64,
}

impl Default for Control {
    fn default() -> Self {
        Self {
            members_every_ms: 1_000.0,
            members_idle_s: 30.0,
            member_bytes: 110,
            gossip_degree: 6,
            announce_every_s: 60.0,
            announce_bytes: 320,
            status_every_s: 30.0,
            statuses_per_s: 1.0,
            status_bytes: 400,
            keep_alive_s: 15.0,
        }
    }
}
