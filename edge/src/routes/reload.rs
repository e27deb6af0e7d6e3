//! Live playlists with delivery directives (draft-pantos-hls-rfc8216bis section 6.2.5): answered from the one playlist
//! that is held, however many forms are asked for. Invariant: what is not known to offer directives gets them passed on
//! to its origin, as any query.

use super::{errors, handler::Inner, respond::Asked};
use std::{sync::Arc, time::Instant};
use tokio::time::{Instant as Deadline, timeout_at};
use weir_hls::{DirectiveError, Directives, ResourceKind};
use weir_protocol::resource::ResourceKey;
use weir_relay::{
    fetch::{Ask, How, Reloaded, Served},
    http::Response,
    live::{Form, Version},
};

/// What a request asks of a playlist.
pub(super) type Asks = Result<Directives, DirectiveError>;

/// The playlist that a request with directives is about.
pub(super) fn directed(ask: &Ask) -> Option<(ResourceKey, Asks)> {
    let (plain, query) = ask.key.without_directives()?;
    Some((plain, Directives::of(query).transpose()?))
}

impl Inner {
    pub(super) async fn reload(
        self: Arc<Self>,
        asked: Asked,
        ask: Ask,
        playlist: ResourceKey,
        directives: Asks,
        started: Instant,
    ) -> Response {
        let deadline = Deadline::now() + self.patience(asked.kind);
        let plain = Ask { key: playlist, ..ask.clone() };
        let version = match timeout_at(deadline, self.fetch.version(&plain)).await {
            Ok(Ok(Some(version))) => version,
            // Nothing is known of its directives: what they mean, its origin says.
            Ok(Ok(None)) => return self.otherwise(asked, ask, started).await,
            Ok(Err(error)) => return self.nothing(errors::not_fetched(asked.kind, &error), errors::label(&error)),
            Err(_) => return self.nothing(errors::too_slow(asked.kind), "too_slow"),
        };
        let directives = match directives {
            Ok(directives) => directives,
            Err(_) if !version.media.is_live() || !version.media.server_control.can_block_reload => {
                return self.answer(asked, &version, How::Hit, &Directives::default(), started);
            }
            Err(error) => return errors::bad_request(&error.to_string()),
        };
        match self.fetch.reload(&plain, version, &directives).await {
            Reloaded::Version(version, how) => self.answer(asked, &version, how, &directives, started),
            Reloaded::TooFar => errors::bad_request("_HLS_msn or _HLS_part lies too far ahead of the playlist"),
            Reloaded::Nothing(retry_after) => self.nothing(errors::not_advanced(retry_after), "not_advanced"),
        }
    }

    fn answer(&self, asked: Asked, version: &Version, how: How, directives: &Directives, started: Instant) -> Response {
        let offers = version.media.is_live() && version.media.server_control.can_block_reload;
        // Where nothing is waited for, the answer is the newest playlist.
        let sequence = directives.sequence.filter(|_| offers);
        let form = Form::of(&Directives { sequence, ..*directives });
        let entry = form.map_or_else(|| version.entry.clone(), |form| version.form(form));
        self.finish(asked, &Served { entry, how }, started)
    }

    /// As any resource, but its origin may hold it back.
    async fn otherwise(self: Arc<Self>, mut asked: Asked, ask: Ask, started: Instant) -> Response {
        asked.kind = ResourceKind::Other;
        if let Some(served) = self.fetch.hit_for(&ask) {
            return self.finish(asked, &served, started);
        }
        self.fill(asked, ask, started).await
    }
}
