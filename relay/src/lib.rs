//! The Weir node: where bytes come from (`source`), where they are kept (`store`), how one fill feeds many readers
//! (`object`, `fetch`), how relays talk (`quic`, `control`, `peer`), who should be asked (`mesh`), who may do what
//! (`access`), what live playlists promise (`live`) and how they are pushed (`push`), and what was delivered (`meter`). Doors and programs stand above
//! it; `weir-protocol` and `weir-hls` below.

pub mod access;
pub mod clock;
pub mod control;
pub mod fetch;
pub mod freshness;
pub mod http;
pub mod live;
pub mod mesh;
pub mod meter;
pub mod node;
pub mod object;
pub mod peer;
pub mod push;
pub mod quic;
pub mod reach;
pub mod source;
pub mod store;
pub mod upload;
