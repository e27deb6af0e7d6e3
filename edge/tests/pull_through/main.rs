//! The pull-through edge as a whole, in one process: a scripted upstream, `Trusted<Upstream>`, the fetcher over the
//! store, and the routes, asked directly and through real doors. Time is a clock that the tests set; what must wait
//! waits at a gate.
#![expect(clippy::unwrap_used, reason = "tests")]

mod caching;
mod disk;
mod doors;
mod edge;
mod failures;
mod low_latency;
mod passing;
mod players;
mod playlists;
mod ranges;
mod redirects;
mod requests;
mod sharing;
mod tokens;
mod upstream;
mod varying;
