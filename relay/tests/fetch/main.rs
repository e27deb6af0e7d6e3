//! The fetcher over scripted sources, without sockets or waits: coalescing, failing over, and what is passed through
//! under a bound.
#![expect(clippy::unwrap_used, reason = "tests")]

mod passing;
mod scripted;
mod sharing;
