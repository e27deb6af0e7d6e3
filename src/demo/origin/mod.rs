//! The demo's built-in HLS origin: one film and one endless live channel, in three forms, made from a clip of 8 s inside the binary.
//!
//! It stands for a platform's own origin: plain HTTP on loopback, and nothing in it knows of relays. Everything but
//! [`serve()`] is pure and takes the clock as an argument: [`Origin::answer`] turns a request and an instant into a
//! response. Invariant: what is served for a URI depends only on the URI, apart from the live playlists, which depend on
//! the clock as well; so a restarted origin continues the same channel with the same bytes.
//!
//! | Path | What it is |
//! |---|---|
//! | `/film/master.m3u8` | film of 128 s, with an end |
//! | `/live/master.m3u8` | live channel: the last six complete segments |
//! | `/ll/master.m3u8` | the same channel as Low-Latency HLS: four parts a segment, blocking reloads, delta updates |
//! | `/chunked/master.m3u8` | the live channel with segments of four fragments, of which the newest comes as it is made |
//! | `/{film,live,ll,chunked}/{360p,540p,720p}/index.m3u8` | media playlist of a rendition |
//! | `/{film,live,ll,chunked}/{360p,540p,720p}/init.mp4`, `seg-N.m4s` | its media |
//! | `/ll/{360p,540p,720p}/seg-N.P.m4s` | part P of segment N; who asks for the next one waits for it |

mod answer;
mod boxes;
mod calendar;
mod clip;
mod conditions;
mod cut;
mod error;
mod fragment;
mod low_latency;
mod playlist;
mod programme;
mod serve;
mod stats;
mod track;

pub(crate) use answer::Origin;
pub(crate) use serve::serve;
pub(crate) use stats::{OriginStats, Totals};
