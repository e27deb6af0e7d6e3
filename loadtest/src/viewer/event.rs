//! What a viewer tells while it plays. Times are microseconds or seconds as named; URLs are whole, queries included.

use std::collections::BTreeMap;

use serde::Serialize;

/// A resource that was fetched with success.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Fetched {
    /// The URL.
    pub url: String,
    /// Host and port that served it.
    pub relay: String,
    /// 200 or 206.
    pub status: u16,
    /// `h1`, `h2` or `h3`, as the response came.
    pub version: &'static str,
    /// Bytes of body.
    pub bytes: u64,
    /// Time to open a connection, when one had to be opened.
    pub connect_us: Option<u64>,
    /// From sending the request to the first byte of body.
    pub first_byte_us: u64,
    /// From sending the request to its end.
    pub total_us: u64,
    /// `Cache-Status` (RFC 9211), all its lines.
    pub cache_status: Option<String>,
    /// `Server-Timing`, all its lines.
    pub server_timing: Option<String>,
    /// `Via` (RFC 9110 section 7.6.3), all its lines.
    pub via: Option<String>,
    /// The response fields of [`super::Config::observe`] that were there.
    pub observed: BTreeMap<String, String>,
}

/// A media segment that was fetched.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SegmentEvent {
    /// How it was fetched.
    pub fetched: Fetched,
    /// Its media sequence number.
    pub media_sequence: u64,
    /// Its duration by the playlist, in seconds.
    pub duration_seconds: f64,
    /// `BANDWIDTH` of its rendition, in bit/s; absent when a media playlist is played directly.
    pub bandwidth: Option<u64>,
    /// Media loaded ahead of the play-head after this segment, in seconds; 0 when not in real time.
    pub buffer_seconds: f64,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A rendition was chosen.
    Rendition {
        /// URL of its playlist as the multivariant playlist has it.
        uri: String,
        /// `BANDWIDTH`, in bit/s.
        bandwidth: u64,
    },
    /// A playlist was fetched.
    Playlist {
        /// How.
        fetched: Fetched,
    },
    /// An initialisation section was fetched.
    Init {
        /// How.
        fetched: Fetched,
    },
    /// A segment was fetched.
    Segment(SegmentEvent),
    /// A request failed.
    Failure {
        /// The URL.
        url: String,
        /// Host and port.
        relay: String,
        /// A class of [`crate::client::Error::class`], or `status-` with the number.
        class: String,
        /// The whole reason, for people.
        reason: String,
    },
    /// The viewer goes on at another host.
    Failover {
        /// Host and port left.
        from: String,
        /// Host and port chosen.
        to: String,
        /// Class of the failure.
        class: String,
    },
    /// The buffer had run empty and play goes on.
    Stall {
        /// How long play stood still.
        seconds: f64,
    },
    /// Segments were left out: they had slid out of the playlist, were given up, or are gaps.
    Skipped {
        /// How many.
        count: u64,
    },
    /// Something received cannot be right.
    Integrity {
        /// The URL.
        url: String,
        /// Class, as counted in [`super::Summary::integrity`].
        class: &'static str,
        /// The details.
        detail: String,
    },
}
