//! What all channels of a source share. Invariant: channels, and those that wait to be begun, are bounded.

use super::{channel::Channel, held::Budget};
use dashmap::DashMap;
use std::{sync::Arc, time::Duration};
use tokio::sync::mpsc;

/// Channels made at once; further playlists pass through.
const MAX_CHANNELS: usize = 256;
/// Channels that wait to be begun.
const WANTED: usize = 64;

/// What low latency may take and should be.
#[derive(Debug, Clone, Copy)]
pub struct LowLatencyConfig {
    /// What a part should last. Where the origin's chunks are longer, they are the parts.
    pub part_target: Duration,
    /// Bytes of media that all channels hold together.
    pub max_held_bytes: u64,
}

impl Default for LowLatencyConfig {
    fn default() -> Self {
        Self { part_target: Duration::from_millis(500), max_held_bytes: 512 << 20 }
    }
}

/// A source, and the channels that stand in front of it.
pub(super) struct Inner<S> {
    pub(super) source: S,
    pub(super) config: LowLatencyConfig,
    pub(super) budget: Budget,
    /// By path and query of the playlist.
    pub(super) channels: DashMap<String, Arc<Channel>>,
    /// By path and query of the segments that a channel holds or makes.
    pub(super) segments: DashMap<String, Arc<Channel>>,
    /// The media playlists that one multivariant playlist names, by each of them.
    pub(super) siblings: DashMap<String, Arc<Vec<String>>>,
    wants: mpsc::Sender<Arc<Channel>>,
}

impl<S> Inner<S> {
    /// In front of `source`, and where the channels that are wanted come out.
    pub(super) fn new(source: S, config: LowLatencyConfig) -> (Arc<Self>, mpsc::Receiver<Arc<Channel>>) {
        let (wants, wanted) = mpsc::channel(WANTED);
        let inner = Arc::new(Self {
            source,
            config,
            budget: Budget::new(config.max_held_bytes),
            channels: DashMap::new(),
            segments: DashMap::new(),
            siblings: DashMap::new(),
            wants,
        });
        (inner, wanted)
    }

    /// The channel of a playlist; it is begun when there is none and room for one.
    pub(super) fn channel(&self, playlist: &str) -> Option<Arc<Channel>> {
        if let Some(channel) = self.channels.get(playlist) {
            return Some(channel.clone());
        }
        if self.channels.len() >= MAX_CHANNELS {
            return None;
        }
        let place = self.wants.try_reserve().ok()?;
        let channel = self.channels.entry(playlist.to_owned()).or_insert_with(|| {
            let channel = Arc::new(Channel::new(playlist.to_owned()));
            place.send(channel.clone());
            channel
        });
        Some(channel.clone())
    }
}
