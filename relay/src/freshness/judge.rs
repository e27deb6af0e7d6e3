//! The verdict on one response: whether it may be kept (RFC 9111 section 3) and its freshness for the whole network
//! (section 4.2), capped for live playlists by their own rules.

use super::{Directives, age, dates, live};
use http::{HeaderMap, HeaderName, StatusCode, header};
use weir_hls::{Playlist, ResourceKind};
use weir_protocol::{
    freshness::{Freshness, MAX_VALIDATOR, Storage, Validators},
    time::UnixMillis,
    vary::Vary,
};

/// Which rules count beside the standard's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Rules {
    /// Video: live playlists are capped, media segments are kept without a word of the origin, and errors are believed
    /// for seconds only.
    #[default]
    Video,
    /// RFC 9111 alone (`--http-strict`). Encryption keys are still never kept.
    Strict,
}

/// What is known of a response when it is judged.
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
    /// The request carried `Authorization`.
    pub authorized: bool,
    /// Which rules count.
    pub rules: Rules,
}

/// The verdict.
pub struct Judgement {
    /// Freshness as signed for the network.
    pub freshness: Freshness,
    /// Validators of the body.
    pub validators: Validators,
    /// What it varies by.
    pub vary: Vary,
    /// Fields that only whoever asked may see.
    pub withheld: Vec<HeaderName>,
    /// The origin itself said how long it is fresh.
    pub explicit: bool,
}

const SECOND: u64 = 1000;
/// Media segments never change under their URI, so without any word of the origin they are kept an hour.
const SEGMENT_DEFAULT_MS: u64 = 3600 * SECOND;
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
    let vary = Vary::parse(response.headers.get_all(header::VARY).iter().map(|line| line.to_str().unwrap_or("*")));
    let explicit = explicit_ms(response, &directives);
    let mut freshness = Freshness {
        created: response.received,
        initial_age_ms: age::initial(response.headers, response.asked, response.received),
        ttl_ms: 0,
        stale_while_revalidate_ms: 0,
        stale_if_error_ms: 0,
        store: Storage::Store,
    };
    if may_store(response, &directives, &vary, explicit.is_some()) {
        lifetimes(&mut freshness, response, &directives, explicit);
    } else {
        freshness.store = Storage::Pass;
    }
    Judgement {
        freshness,
        validators: validators(response.headers),
        vary,
        withheld: directives.withheld,
        explicit: explicit.is_some(),
    }
}

fn lifetimes(freshness: &mut Freshness, response: &Judged<'_>, directives: &Directives, explicit: Option<u64>) {
    let forbids_stale = directives.forbids_stale();
    let live = match response.playlist {
        Some(Playlist::Media(media)) if media.is_live() && response.rules == Rules::Video => {
            Some(media.target_duration)
        }
        _ => None,
    };
    let status = response.status;
    if (status.is_client_error() || status.is_server_error()) && response.rules == Rules::Video {
        let guess = || heuristic_ms(response, directives).max(negative_default_ms(status));
        freshness.ttl_ms = explicit.unwrap_or_else(guess).min(NEGATIVE_CAP_MS);
    } else if let Some(target) = live {
        live::cap(freshness, target, explicit, response.received.since(response.advanced));
        if forbids_stale && directives.stale_if_error.is_none() {
            // RFC 9111 sections 5.2.2.2, 5.2.2.4, 5.2.2.8, 5.2.2.10: the origin's prohibition binds for playlists too.
            freshness.stale_if_error_ms = 0;
        }
    } else {
        freshness.ttl_ms = explicit.unwrap_or_else(|| heuristic_ms(response, directives));
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
    if directives.must_revalidate || directives.no_cache {
        // What must be validated once stale is not served while that goes on, nor instead of it.
        freshness.stale_while_revalidate_ms = 0;
        freshness.stale_if_error_ms = 0;
    }
}

fn may_store(response: &Judged<'_>, directives: &Directives, vary: &Vary, explicit: bool) -> bool {
    let status = response.status;
    // These are about a request's conditions or range, not about the resource.
    if matches!(status, StatusCode::PRECONDITION_FAILED | StatusCode::RANGE_NOT_SATISFIABLE) {
        return false;
    }
    // Keys pass through: a relay in a stranger's home never keeps one.
    if response.kind == ResourceKind::Key || status.is_informational() || *vary == Vary::Anything || directives.private
    {
        return false;
    }
    // RFC 9111 section 5.2.2.3: whoever understands the status may store what others may not.
    let forbidden = match directives.must_understand {
        true => !is_understood(status),
        false => directives.no_store,
    };
    if forbidden || (response.authorized && !directives.opens_authorized()) {
        return false;
    }
    let said = explicit || directives.public;
    // A cookie is somebody's own until the origin says that everybody may have it.
    if response.headers.contains_key(header::SET_COOKIE) && !said {
        return false;
    }
    said || is_heuristically_cacheable(status)
}

/// RFC 9110 section 15.1.
fn is_heuristically_cacheable(status: StatusCode) -> bool {
    matches!(status.as_u16(), 200 | 203 | 204 | 206 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501)
}

/// The final statuses of RFC 9110 section 15, whose caching requirements this cache conforms to.
fn is_understood(status: StatusCode) -> bool {
    matches!(status.as_u16(), 200..=206 | 300..=305 | 307 | 308 | 400..=417 | 421 | 422 | 426 | 500..=505)
}

fn explicit_ms(response: &Judged<'_>, directives: &Directives) -> Option<u64> {
    if let Some(seconds) = directives.lifetime() {
        return Some(seconds * SECOND);
    }
    if directives.targeted || !response.headers.contains_key(header::EXPIRES) {
        return None;
    }
    // An invalid date, "0" above all, means already expired (RFC 9111 section 5.3), and so do two.
    let Some(expires) = dates::field(response.headers, header::EXPIRES) else { return Some(0) };
    let date = dates::field(response.headers, header::DATE).unwrap_or(response.received.0);
    Some(expires.saturating_sub(date))
}

fn heuristic_ms(response: &Judged<'_>, directives: &Directives) -> u64 {
    if !is_heuristically_cacheable(response.status) && !directives.public {
        return 0;
    }
    if response.kind == ResourceKind::Segment && response.rules == Rules::Video && response.status.is_success() {
        return SEGMENT_DEFAULT_MS;
    }
    let Some(modified) = dates::field(response.headers, header::LAST_MODIFIED) else { return 0 };
    let date = dates::field(response.headers, header::DATE).unwrap_or(response.received.0);
    (date.saturating_sub(modified) / 10).min(HEURISTIC_CAP_MS)
}

fn negative_default_ms(status: StatusCode) -> u64 {
    if is_heuristically_cacheable(status) { NEGATIVE_DEFAULT_MS } else { 0 }
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
    use proptest::prelude::*;
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
            authorized: false,
            rules: Rules::Video,
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
        assert_eq!(store(ResourceKind::Segment, 200, &[("vary", "accept-encoding, *")]), Storage::Pass);
        assert_eq!(store(ResourceKind::Segment, 200, &[("vary", "accept-encoding, cookie")]), Storage::Store);
        assert_eq!(store(ResourceKind::Segment, 200, &[("vary", "Accept-Encoding, Origin")]), Storage::Store);
        assert_eq!(store(ResourceKind::Segment, 503, &[]), Storage::Pass);
        assert_eq!(store(ResourceKind::Segment, 200, &[("set-cookie", "a=b")]), Storage::Pass);
        assert_eq!(store(ResourceKind::Segment, 200, &[("set-cookie", "a=b"), ("expires", "0")]), Storage::Store);
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

    proptest! {
        /// RFC 9111 sections 4.2.1 and 4.2.3 written down a second time, as plainly as they stand there.
        #[test]
        fn lifetime_and_age_are_what_the_standard_says(
            s_maxage in proptest::option::of(0_u64..100_000),
            max_age in proptest::option::of(0_u64..100_000),
            expires in proptest::option::of(-50_000_i64..100_000),
            modified in proptest::option::of(0_u64..1_000_000),
            age in proptest::option::of(0_u64..100_000),
            date in -1_000_i64..50_000,
            delay in 0_u64..5_000,
        ) {
            let at = |seconds: i64| {
                let millis = NOW.0.checked_add_signed(seconds * 1000).unwrap();
                httpdate::fmt_http_date(std::time::UNIX_EPOCH + std::time::Duration::from_millis(millis))
            };
            let mut headers = HeaderMap::new();
            let mut set = |name: &str, value: String| {
                headers.append(name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(&value).unwrap());
            };
            // Dates are `date` seconds before the arrival.
            set("date", at(-date));
            if let Some(seconds) = s_maxage { set("cache-control", format!("s-maxage={seconds}")); }
            if let Some(seconds) = max_age { set("cache-control", format!("max-age={seconds}")); }
            if let Some(seconds) = expires { set("expires", at(seconds - date)); }
            if let Some(seconds) = modified { set("last-modified", at(-date - seconds as i64)); }
            if let Some(seconds) = age { set("age", seconds.to_string()); }
            let judged = judge(&Judged {
                kind: ResourceKind::Other,
                status: StatusCode::OK,
                headers: &headers,
                asked: UnixMillis(NOW.0 - delay),
                received: NOW,
                playlist: None,
                advanced: NOW,
                authorized: false,
                rules: Rules::Strict,
            });
            let lifetime = match (s_maxage, max_age, expires, modified) {
                (Some(seconds), ..) | (None, Some(seconds), ..) => seconds * 1000,
                (None, None, Some(seconds), _) => seconds.max(0) as u64 * 1000,
                (None, None, None, Some(seconds)) => (seconds * 100).min(86_400_000),
                (None, None, None, None) => 0,
            };
            prop_assert_eq!(judged.freshness.ttl_ms, lifetime);
            let apparent_age = date.max(0) as u64 * 1000;
            let corrected_age_value = age.unwrap_or(0) * 1000 + delay;
            let initial = apparent_age.max(corrected_age_value);
            prop_assert_eq!(judged.freshness.initial_age_ms, initial);
            let fresh_for = lifetime.saturating_sub(initial);
            prop_assert_eq!(judged.freshness.is_fresh(judged.freshness.age_at(NOW.plus_ms(fresh_for))), false);
            if fresh_for > 0 {
                prop_assert!(judged.freshness.is_fresh(judged.freshness.age_at(NOW.plus_ms(fresh_for - 1))));
            }
        }
    }
}
