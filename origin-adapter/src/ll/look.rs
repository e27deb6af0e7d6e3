//! Looks at what the origin has: its playlist, whether a channel can be made of it, and what belongs together.

use super::{ahead::AheadError, inner::Inner};
use bytes::{Bytes, BytesMut};
use futures_util::{FutureExt, StreamExt, future::BoxFuture};
use http::StatusCode;
use std::sync::Arc;
use weir_hls::{Bounds, MAX_BYTES, Media, Playlist, Reference, UriRole, read, resolve};
use weir_relay::source::{RawRequest, RawResponse, RawSource, SourceError};

/// Media playlists of one multivariant playlist that are known as siblings, and sets of such.
const MAX_SIBLINGS: usize = 32;
const MAX_SETS: usize = 1024;

/// Why a playlist passes through.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unfit {
    #[error("it is {0}")]
    Kind(&'static str),
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(transparent)]
    Media(#[from] super::tracks::MediaError),
    #[error(transparent)]
    Ahead(#[from] AheadError),
}

pub(super) fn get<S: RawSource>(
    inner: &Arc<Inner<S>>,
    path: &str,
) -> BoxFuture<'static, Result<RawResponse, SourceError>> {
    let (inner, request) = (inner.clone(), RawRequest { path_and_query: path.to_owned(), ..RawRequest::default() });
    async move {
        let response = inner.source.fetch(&request).await?;
        if response.status != StatusCode::OK {
            return Err(SourceError::BadResponse(format!("status {}", response.status)));
        }
        Ok(response)
    }
    .boxed()
}

pub(super) async fn whole(response: RawResponse, most: usize) -> Result<Bytes, SourceError> {
    let (mut body, mut all) = (response.body, BytesMut::new());
    while let Some(piece) = body.next().await {
        all.extend_from_slice(&piece?);
        if all.len() > most {
            return Err(SourceError::TooLarge(most as u64));
        }
    }
    Ok(all.freeze())
}

pub(super) type Looked = Result<(String, Media), Unfit>;

pub(super) fn look<S: RawSource>(inner: &Arc<Inner<S>>, path: &str) -> BoxFuture<'static, Looked> {
    let (getting, inner, path) = (get(inner, path), inner.clone(), path.to_owned());
    async move {
        let text = whole(getting.await?, MAX_BYTES).await?;
        let text = String::from_utf8(text.to_vec()).map_err(|_| Unfit::Kind("not UTF-8"))?;
        match read(text.as_bytes(), &Bounds::default()) {
            Ok(Playlist::Media(media)) => Ok((text, media)),
            Ok(multivariant @ Playlist::Multivariant(_)) => {
                note_siblings(&inner, &path, &multivariant);
                Err(Unfit::Kind("a multivariant playlist"))
            }
            Err(_) => Err(Unfit::Kind("no playlist that can be read")),
        }
    }
    .boxed()
}

/// Whose reports belong into whose playlist (section 4.4.5.4).
fn note_siblings<S>(inner: &Inner<S>, path: &str, multivariant: &Playlist) {
    let named = multivariant.uris().iter().filter(|uri| matches!(uri.role, UriRole::Variant | UriRole::Rendition));
    let mut paths: Vec<String> = named.filter_map(|uri| target(path, &uri.uri)).take(MAX_SIBLINGS).collect();
    paths.sort_unstable();
    paths.dedup();
    let paths = Arc::new(paths);
    for path in paths.iter() {
        if inner.siblings.len() < MAX_SETS || inner.siblings.contains_key(path) {
            inner.siblings.insert(path.clone(), paths.clone());
        }
    }
}

/// What the origin is asked for, when a reference leads to it.
pub(super) fn target(playlist: &str, uri: &str) -> Option<String> {
    let base = playlist.split('?').next().unwrap_or_default();
    let Reference::SameOrigin { path, query } = resolve(base, uri)? else { return None };
    Some(query.map_or(path.clone(), |query| format!("{path}?{query}")))
}

/// The reference that leads from one playlist to another of the same origin.
pub(super) fn relative(from: &str, to: &str) -> String {
    let from: Vec<&str> = from.split('?').next().unwrap_or_default().split('/').collect();
    let (to_path, query) = to.split_once('?').map_or((to, None), |(path, query)| (path, Some(query)));
    let to: Vec<&str> = to_path.split('/').collect();
    let folders = from.len().min(to.len()).saturating_sub(1);
    let common = (0..folders).take_while(|at| from[*at] == to[*at]).count();
    let mut out = "../".repeat(from.len() - 1 - common);
    out.push_str(&to[common..].join("/"));
    query.map_or(out.clone(), |query| format!("{out}?{query}"))
}

/// What low latency can be made of.
pub(super) fn check(media: &Media) -> Result<(), Unfit> {
    let ranges = || media.segments.iter().any(|segment| segment.byte_range.is_some());
    let kind = if !media.is_live() {
        "not live"
    } else if media.server_control.can_block_reload || media.part_target.is_some() {
        "of low latency already"
    } else if media.i_frames_only {
        "of I-frames only"
    } else if !media.keys.is_empty() {
        "encrypted"
    } else if ranges() {
        "made of byte ranges"
    } else if media.segments.last().is_none_or(|segment| segment.map.is_none()) {
        "not fragmented MP4"
    } else {
        return Ok(());
    };
    Err(Unfit::Kind(kind))
}

#[cfg(test)]
mod tests {
    use super::relative;

    #[test]
    fn references_lead_from_one_playlist_to_another() {
        for (from, to, expected) in [
            ("/ll/a/i.m3u8", "/ll/b/i.m3u8", "../b/i.m3u8"),
            ("/v1.m3u8", "/v2.m3u8?x=1", "v2.m3u8?x=1"),
            ("/a/b/c.m3u8?y", "/d.m3u8", "../../d.m3u8"),
            ("/a.m3u8", "/b/c.m3u8", "b/c.m3u8"),
        ] {
            assert_eq!(relative(from, to), expected, "{from} {to}");
        }
    }
}
