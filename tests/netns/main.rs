//! Relays behind NATs: real `weir` processes in network namespaces, with nftables as the routers. Needs root, `ip`,
//! `nft`, `miniupnpd` and `curl`. What connected how, and in what time, is kept in `target/test-artifacts/netns.txt`.
#![expect(clippy::unwrap_used, reason = "tests")]

mod lab;
mod mapped;
mod moving;
mod nats;
mod node;
mod restart;
mod same_lan;
mod table;
