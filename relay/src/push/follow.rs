//! Decides which renditions a relay follows: live media playlists that its viewers, or other relays, ask it for.
//! Invariant: a rendition is followed by one subscription at a time, and no more than the bound at once.

use super::{
    Watched,
    feed::Feed,
    node::Push,
    subscription::{Subscription, Wanted},
};
use crate::{live::media_of, object::Entry, peer::Networks};
use std::{collections::HashMap, sync::Arc, time::Duration};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;
use weir_hls::Media;
use weir_protocol::ids::ResourceHash;

/// Playlists remembered as not live, and for how long.
const MAX_DULL: usize = 1024;
const DULL_FOR: Duration = Duration::from_secs(10);
/// Playlists read at once.
const MAX_READING: usize = 16;
/// How long a playlist may take to be whole.
const WHOLE: Duration = Duration::from_secs(5);

type Read = (Arc<Entry>, Option<Media>);

/// Follows until `cancel`.
pub(super) async fn run(push: &Push, networks: &Networks, mut watched: Watched, cancel: CancellationToken) {
    let mut following: HashMap<ResourceHash, watch::Sender<Instant>> = HashMap::new();
    let mut dull: HashMap<ResourceHash, Instant> = HashMap::new();
    let mut reading: JoinSet<Read> = JoinSet::new();
    let mut subscriptions: JoinSet<ResourceHash> = JoinSet::new();
    loop {
        tokio::select! {
            () = cancel.cancelled() => break,
            Some(entry) = watched.next() => {
                let now = Instant::now();
                if let Some(wanted) = following.get(&entry.hash) {
                    wanted.send_replace(now);
                } else if reading.len() < MAX_READING && dull.get(&entry.hash).is_none_or(|until| *until <= now) {
                    // Not read again while it is being read.
                    remember(&mut dull, entry.hash, now);
                    reading.spawn(async move {
                        let media = timeout(WHOLE, media_of(&entry)).await.ok().flatten();
                        (entry, media)
                    });
                }
            }
            Some(read) = reading.join_next(), if !reading.is_empty() => {
                let Ok((entry, media)) = read else { continue };
                let key = &entry.head.key;
                let live = media.filter(Media::is_live).filter(|_| entry.is_shareable());
                if let (Some(media), Some(network)) = (live, networks.get(&key.publisher))
                    && following.len() < push.config().max_renditions
                {
                    let feed = Arc::new(Feed::new(key.clone(), 0, false));
                    push.add_feed(feed.clone());
                    let (wanted, watched) = watch::channel(Instant::now());
                    following.insert(entry.hash, wanted);
                    dull.remove(&entry.hash);
                    let wanted = Wanted { watched, target: media.target_duration };
                    let subscription = Subscription::new(push.clone(), network, feed, wanted);
                    let (hash, cancel) = (entry.hash, cancel.clone());
                    subscriptions.spawn(async move {
                        subscription.run(cancel).await;
                        hash
                    });
                }
            }
            Some(ended) = subscriptions.join_next(), if !subscriptions.is_empty() => {
                if let Ok(hash) = ended {
                    following.remove(&hash);
                }
            }
        }
    }
    reading.shutdown().await;
    while subscriptions.join_next().await.is_some() {}
}

fn remember(dull: &mut HashMap<ResourceHash, Instant>, hash: ResourceHash, now: Instant) {
    if dull.len() >= MAX_DULL {
        dull.retain(|_, until| *until > now);
    }
    if dull.len() < MAX_DULL {
        dull.insert(hash, now + DULL_FOR);
    }
}
