//! The stable names and URIs in the multivariant playlists that are asked about, read from the origin now and then: a
//! clone on another port needs each URI spelt out. Invariant: at most [`MAX_KEPT`] playlists are kept, each for
//! [`KEPT_FOR`], and one is asked for at a time.

use crate::own::text_of;
use std::{collections::HashMap, sync::Arc, time::Duration};
use tokio::{
    sync::Mutex,
    time::{Instant, timeout},
};
use weir_hls::{
    Reference, resolve,
    steering::{StableUri, stable_uris},
};
use weir_relay::source::{RawRequest, RawSource};

const MAX_KEPT: usize = 256;
const KEPT_FOR: Duration = Duration::from_secs(30);
/// A playlist that cannot be read is not asked for again so soon.
const PATIENCE: Duration = Duration::from_secs(2);

/// URIs by path of their playlist.
#[derive(Default)]
pub(super) struct Variants(Mutex<HashMap<String, Kept>>);

/// When a playlist was read, and what it names.
type Kept = (Instant, Arc<[StableUri]>);

impl Variants {
    /// Every stable name of the playlist at `path`, with its path on the origin instead of the URI as written. Empty when
    /// the playlist cannot be had.
    pub(super) async fn of(&self, source: &dyn RawSource, path: &str) -> Arc<[StableUri]> {
        let mut kept = self.0.lock().await;
        let now = Instant::now();
        if let Some((_, uris)) = kept.get(path).filter(|(at, _)| now.duration_since(*at) < KEPT_FOR) {
            return uris.clone();
        }
        let request = RawRequest { path_and_query: path.to_owned(), ..RawRequest::default() };
        let text = timeout(PATIENCE, async {
            let response = source.fetch(&request).await.ok().filter(|response| response.status.is_success())?;
            text_of(response).await
        });
        let text = text.await.ok().flatten().unwrap_or_default();
        let found = stable_uris(&text).into_iter().filter_map(|found| {
            let reference = resolve(path, &found.uri)?;
            // What names a host of its own stays there, on every pathway.
            let same = matches!(reference, Reference::SameOrigin { .. });
            same.then(|| StableUri { uri: reference.to_string(), ..found })
        });
        let uris: Arc<[StableUri]> = found.collect();
        kept.retain(|_, (at, _)| now.duration_since(*at) < KEPT_FOR);
        if kept.len() < MAX_KEPT {
            kept.insert(path.to_owned(), (now, uris.clone()));
        }
        uris
    }
}
