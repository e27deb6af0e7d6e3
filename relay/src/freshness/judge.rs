//! The verdict on one response: its freshness for the whole network (RFC 9111 section 4.2), capped for live
//! playlists by the draft-pantos-hls-rfc8216bis appendix B.1: success half a target duration, stale on error until
//! one and a half target durations after the playlist last advanced.

use super::Directives;
use http::{HeaderMap, StatusCode, header};
use std::time::Duration;
use weir_hls::{Playlist, ResourceKind};
use weir_protocol::{
    freshness::{Freshness, MAX_VALIDATOR, Storage, Validators},
    time::UnixMillis,
};

/// What is known about a response when it is judged.
pub struct Judged<'a> {
    /// What it is.
    pub kind: ResourceKind,
    /// Status.
    pub status: StatusCode,
    /// Header fields as received.
    pub headers: &'a HeaderMap,
    /// When the request was sent.
    pub asked: UnixMillis,
    /// When the head arrived.
    pub received: UnixMillis,
    /// The playlist, when it is one.
    pub playlist: Option<&'a Playlist>,
    /// When this body first appeared here: for a live playlist, when it last advanced.
    pub advanced: UnixMillis,
}

/// The verdict.
pub struct Judgement {
    /// Freshness as signed for the network.
    pub freshness: Freshness,
    /// Validators of the body.
    pub validators: Validators,
}

const SECOND: u64 = 1000;
/// Media segments never change under their URI, so without any word of the origin they are kept an hour.
const SEGMENT_DEFAULT_MS: u64 = 3600 * SECOND;
/// Everything else without a word of the origin.
const OTHER_DEFAULT_MS: u64 = 10 * SECOND;
/// Heuristic freshness is a tenth of the time since Last-Modified (RFC 9111 section 4.2.2), at most a day.
const HEURISTIC_CAP_MS: u64 = 24 * 3600 * SECOND;
/// A missing resource is believed missing for a second, and for at most ten whatever the origin says.
const NEGATIVE_DEFAULT_MS: u64 = SECOND;
const NEGATIVE_CAP_MS: u64 = 10 * SECOND;
/// What is not live may be served stale for a day while no source answers, unless the origin forbids it.
const STALE_IF_ERROR_DEFAULT_MS: u64 = 24 * 3600 * SECOND;
/// Judges one response.
pub fn judge(response: &Judged<'_>) -> Judgement {
    let directives = Directives::of(response.headers);
    let validators = validators(response.headers);
    let initial_age_ms = initial_age(response);
    let mut freshness = Freshness {
        created: response.received,
        initial_age_ms,
        ttl_ms: 0,
        stale_while_revalidate_ms: 0,
        stale_if_error_ms: 0,
        store: Storage::Store,
    };
    if !may_store(response, &directives) {
        freshness.store = Storage::Pass;
        return Judgement { freshness, validators };
    }
    let explicit = explicit_ms(response, &directives);
    let forbids_stale = directives.must_revalidate || directives.no_cache || directives.s_maxage.is_some();
    let live = match response.playlist {
        Some(Playlist::Media(media)) if media.is_live() => Some(media.target_duration),
        _ => None,
    };
    if response.status.is_client_error() || response.status.is_server_error() {
        freshness.ttl_ms = explicit.unwrap_or(NEGATIVE_DEFAULT_MS).min(NEGATIVE_CAP_MS);
    } else if let Some(target) = live {
        live_rules(&mut freshness, target, explicit, response.received.0.saturating_sub(response.advanced.0));
        if forbids_stale && directives.stale_if_error.is_none() {
            // RFC 9111 sections 5.2.2.2, 5.2.2.4, 5.2.2.8, 5.2.2.10: the origin's prohibition binds for playlists too.
            freshness.stale_if_error_ms = 0;
        }
    } else {
        freshness.ttl_ms = explicit.unwrap_or_else(|| heuristic_ms(response));
        freshness.stale_while_revalidate_ms = directives.stale_while_revalidate.unwrap_or(0) * SECOND;
        freshness.stale_if_error_ms = match directives.stale_if_error {
            Some(seconds) => seconds * SECOND,
            None if forbids_stale => 0,
            None => STALE_IF_ERROR_DEFAULT_MS,
        };
    }
    if directives.no_cache {
        freshness.ttl_ms = 0;
        freshness.stale_while_revalidate_ms = 0;
    }
    Judgement { freshness, validators }
}

fn live_rules(freshness: &mut Freshness, target: Duration, explicit: Option<u64>, since_advance_ms: u64) {
    let target_ms = u64::try_from(target.as_millis()).unwrap_or(u64::MAX);
    let limit_ms = target_ms.saturating_mul(3) / 2;
    let left_ms = limit_ms.saturating_sub(since_advance_ms);
    // A playlist that should have advanced by now is not served as fresh.
    let cap_ms = if left_ms == 0 { 0 } else { target_ms / 2 };
    freshness.ttl_ms = explicit.map_or(cap_ms, |said| said.min(cap_ms));
    freshness.stale_if_error_ms = left_ms.saturating_sub(freshness.ttl_ms);
}

fn may_store(response: &Judged<'_>, directives: &Directives) -> bool {
    let keeps = matches!(response.status.as_u16(), 200 | 203 | 204 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501);
    // Keys pass through: a relay in a stranger's home never keeps one.
    let key = response.kind == ResourceKind::Key;
    // One representation is kept for a resource; what varies by more than coding or origin is passed through.
    let varies = response.headers.get_all(header::VARY).iter().any(|value| {
        value.to_str().map_or(true, |names| {
            names.split(',').map(str::trim).any(|name| {
                !name.is_empty()
                    && !name.eq_ignore_ascii_case("accept-encoding")
                    && !name.eq_ignore_ascii_case("origin")
            })
        })
    });
    let cookies = response.headers.contains_key(header::SET_COOKIE);
    keeps && !key && !varies && !cookies && !directives.no_store && !directives.private
}

fn explicit_ms(response: &Judged<'_>, directives: &Directives) -> Option<u64> {
    if let Some(seconds) = directives.s_maxage.or(directives.max_age) {
        return Some(seconds * SECOND);
    }
    let expires = response.headers.get(header::EXPIRES)?;
    // An invalid date, "0" above all, means already expired (RFC 9111 section 5.3).
    let Some(expires) = expires.to_str().ok().and_then(date_ms) else { return Some(0) };
    let date = date_header(response).unwrap_or(response.received.0);
    Some(expires.saturating_sub(date))
}

fn heuristic_ms(response: &Judged<'_>) -> u64 {
    let modified = response.headers.get(header::LAST_MODIFIED).and_then(|value| value.to_str().ok()).and_then(date_ms);
    match (response.kind, modified) {
        (ResourceKind::Segment, _) => SEGMENT_DEFAULT_MS,
        (_, Some(modified)) => {
            (date_header(response).unwrap_or(response.received.0).saturating_sub(modified) / 10).min(HEURISTIC_CAP_MS)
        }
        (_, None) => OTHER_DEFAULT_MS,
    }
}

/// RFC 9111 section 4.2.3: the larger of what `Age` says plus the request's duration, and what `Date` implies.
fn initial_age(response: &Judged<'_>) -> u64 {
    let age = response.headers.get(header::AGE).and_then(|value| value.to_str().ok()).map_or(0, |text| {
        text.split(',').next().and_then(|first| first.trim().parse::<u64>().ok()).unwrap_or(0).min(1 << 31) * SECOND
    });
    let delay = response.received.0.saturating_sub(response.asked.0);
    // `Date` has seconds only: less than one second of apparent age is rounding.
    let apparent = date_header(response).map_or(0, |date| {
        let apparent = response.received.0.saturating_sub(date);
        if apparent < SECOND { 0 } else { apparent }
    });
    if age > 0 { apparent.max(age + delay) } else { apparent.max(delay) }
}

fn date_header(response: &Judged<'_>) -> Option<u64> {
    response.headers.get(header::DATE).and_then(|value| value.to_str().ok()).and_then(date_ms)
}

fn date_ms(text: &str) -> Option<u64> {
    let at = httpdate::parse_http_date(text).ok()?;
    u64::try_from(at.duration_since(std::time::UNIX_EPOCH).ok()?.as_millis()).ok()
}

fn validators(headers: &HeaderMap) -> Validators {
    let text = |name| {
        headers
            .get(name)
            .and_then(|value: &http::HeaderValue| value.to_str().ok())
            .filter(|text| !text.is_empty() && text.len() <= MAX_VALIDATOR && text.is_ascii())
            .map(str::to_owned)
    };
    Validators { etag: text(header::ETAG), last_modified: text(header::LAST_MODIFIED) }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue};
    use weir_hls::{Bounds, read};

    const NOW: UnixMillis = UnixMillis(1_800_000_000_000);
    const LIVE: &str =
        "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:4\n#EXT-X-MEDIA-SEQUENCE:7\n#EXTINF:4,\na.ts\n";

    fn verdict(
        kind: ResourceKind,
        status: u16,
        fields: &[(&str, &str)],
        playlist: Option<&Playlist>,
        frozen: u64,
    ) -> Freshness {
        let headers: HeaderMap = fields
            .iter()
            .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap()))
            .collect();
        judge(&Judged {
            kind,
            status: StatusCode::from_u16(status).unwrap(),
            headers: &headers,
            asked: NOW,
            received: NOW,
            playlist,
            advanced: UnixMillis(NOW.0 - frozen),
        })
        .freshness
    }

    #[test]
    fn s_maxage_beats_max_age_beats_expires_beats_a_guess() {
        let segment = |fields: &[(&str, &str)]| verdict(ResourceKind::Segment, 200, fields, None, 0).ttl_ms;
        assert_eq!(segment(&[("cache-control", "max-age=60, s-maxage=5"), ("expires", "0")]), 5_000);
        assert_eq!(segment(&[("cache-control", "max-age=60"), ("expires", "0")]), 60_000);
        assert_eq!(segment(&[("expires", "0")]), 0);
        assert_eq!(segment(&[]), SEGMENT_DEFAULT_MS);
        assert_eq!(segment(&[("cache-control", "no-cache")]), 0);
    }

    #[test]
    fn private_things_keys_and_server_errors_are_never_kept() {
        let store = |kind, status, fields: &[(&str, &str)]| verdict(kind, status, fields, None, 0).store;
        assert_eq!(store(ResourceKind::Segment, 200, &[]), Storage::Store);
        assert_eq!(store(ResourceKind::Segment, 404, &[]), Storage::Store);
        assert_eq!(store(ResourceKind::Key, 200, &[("cache-control", "max-age=60")]), Storage::Pass);
        assert_eq!(store(ResourceKind::Segment, 200, &[("cache-control", "private")]), Storage::Pass);
        assert_eq!(store(ResourceKind::Segment, 200, &[("cache-control", "no-store")]), Storage::Pass);
        assert_eq!(store(ResourceKind::Segment, 200, &[("vary", "accept-encoding, cookie")]), Storage::Pass);
        assert_eq!(store(ResourceKind::Segment, 200, &[("vary", "Accept-Encoding, Origin")]), Storage::Store);
        assert_eq!(store(ResourceKind::Segment, 503, &[]), Storage::Pass);
    }

    #[test]
    fn a_live_playlist_is_capped_and_a_frozen_one_is_not_fresh() {
        let playlist = read(LIVE.as_bytes(), &Bounds::default()).unwrap();
        let live = |fields: &[(&str, &str)], frozen| {
            let found = verdict(ResourceKind::Playlist, 200, fields, Some(&playlist), frozen);
            (found.ttl_ms, found.stale_if_error_ms)
        };
        assert_eq!(live(&[("cache-control", "max-age=600")], 0), (2_000, 4_000));
        assert_eq!(live(&[("cache-control", "max-age=1")], 0), (1_000, 5_000));
        assert_eq!(live(&[], 3_000), (2_000, 1_000));
        assert_eq!(live(&[], 6_000), (0, 0));
        for (forbids, ttl_ms) in
            [("must-revalidate", 2_000), ("max-age=1, proxy-revalidate", 1_000), ("s-maxage=1", 1_000), ("no-cache", 0)]
        {
            assert_eq!(live(&[("cache-control", forbids)], 0), (ttl_ms, 0), "{forbids}");
        }
    }

    #[test]
    fn age_counts_from_the_origin() {
        let found = verdict(ResourceKind::Segment, 200, &[("age", "30"), ("cache-control", "max-age=60")], None, 0);
        assert_eq!(found.initial_age_ms, 30_000);
    }
}
