//! Notices which playlists are served, for whoever follows what is watched. A full queue loses notices, which come
//! again with the next request.

use crate::{
    fetch::{Hedge, How, Observer},
    object::Entry,
    source::SourceError,
};
use std::{sync::Arc, time::Duration};
use tokio::sync::mpsc;
use weir_hls::ResourceKind;

/// Notices that may wait.
const NOTICES: usize = 1024;

/// An observer that passes everything on to another, and playlists that are served to whoever reads [`Watched`].
pub struct Watching {
    inner: Arc<dyn Observer>,
    notices: mpsc::Sender<Arc<Entry>>,
}

/// Playlists that were served.
pub struct Watched(mpsc::Receiver<Arc<Entry>>);

impl Watched {
    /// The next one; `None` when the fetcher is gone.
    pub async fn next(&mut self) -> Option<Arc<Entry>> {
        self.0.recv().await
    }
}

/// An observer for the fetcher, and the notices that come of it.
pub fn watching(inner: Arc<dyn Observer>) -> (Watching, Watched) {
    let (notices, watched) = mpsc::channel(NOTICES);
    (Watching { inner, notices }, Watched(watched))
}

impl Observer for Watching {
    fn served(&self, entry: &Arc<Entry>, how: How) {
        self.inner.served(entry, how);
        let content_type = entry.head.headers.get(http::header::CONTENT_TYPE);
        let content_type = content_type.and_then(|value| value.to_str().ok());
        let key = &entry.head.key;
        // Of a playlist that varies, the request that selected it is not known here.
        if key.variant.is_none() && ResourceKind::of(key.path.as_str(), content_type) == ResourceKind::Playlist {
            let _ = self.notices.try_send(entry.clone());
        }
    }

    fn asked(&self, label: &'static str, result: Result<(), &SourceError>, took: Duration) {
        self.inner.asked(label, result, took);
    }

    fn filled(&self, label: &'static str, bytes: u64) {
        self.inner.filled(label, bytes);
    }

    fn hedged(&self, how: Hedge) {
        self.inner.hedged(how);
    }

    fn failed_over(&self, why: &SourceError) {
        self.inner.failed_over(why);
    }
}
