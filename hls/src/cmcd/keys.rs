//! The keys that somebody here uses, with their types and units. Every other key is passed over.
//!
//! Invariant: a number is non-negative and at most [`MAX_NUMBER`]; a text is at most [`MAX_VALUE`] bytes; there are at
//! most [`MAX_NEXT`] next objects.

use super::{
    item::{Bare, Item, Value},
    query::decode,
};
use std::fmt;

/// Largest number, in the unit of its key: beyond it nobody is honest.
const MAX_NUMBER: u64 = 1 << 53;
/// Longest text of a key, in bytes.
const MAX_VALUE: usize = 1024;
/// Longest session or content identifier, in bytes (CTA-5004: 64 characters).
const MAX_ID: usize = 128;
/// Next objects of one report.
const MAX_NEXT: usize = 8;

/// A text that names a viewer's session or what is watched: compared and counted, never logged.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Opaque(String);

impl Opaque {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Opaque {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{} bytes>", self.0.len())
    }
}

/// `ot`: what is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ObjectType {
    /// `m`: a playlist or manifest.
    Manifest,
    /// `a`.
    Audio,
    /// `v`.
    Video,
    /// `av`: both in one.
    Muxed,
    /// `i`: initialisation segment.
    Init,
    /// `c`: captions or subtitles.
    Caption,
    /// `tt`: ISOBMFF timed text.
    TimedText,
    /// `k`: key, licence or certificate.
    Key,
    /// `o`, and anything else.
    Other,
}

/// `st`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StreamType {
    /// `v`: all segments are there.
    OnDemand,
    /// `l`: segments become available over time; also `ll`, low latency.
    Live,
}

/// `e` of a version 2 report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// `ps`: the player's state has changed.
    PlayState,
    /// `e`: an error.
    Error,
    /// `t`: at a regular interval.
    Time,
    /// `c`: another content identifier.
    Content,
    /// `b`: the rendition has changed.
    Bitrate,
    /// `rr`: a response was received.
    Response,
    /// Anything else, such as advertisements and custom ones.
    Other,
}

/// `sta` of a version 2 report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PlayerState {
    /// `s`: starting.
    Starting,
    /// `p`.
    Playing,
    /// `k`: seeking.
    Seeking,
    /// `r`: rebuffering.
    Rebuffering,
    /// `a`: paused.
    Paused,
    /// `e`: ended.
    Ended,
    /// `f`: a fatal error.
    Failed,
    /// `q`: quit, and anything else.
    Other,
}

/// An object that the player will ask for next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Next {
    /// A reference relative to the request's URL, percent-encoding as the player wrote it.
    pub uri: String,
    /// First and last byte; no last one: to the end.
    pub range: Option<(u64, Option<u64>)>,
}

/// One report. A value that was not said is `None` or false.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cmcd {
    /// `v`; 0 when not said, which means 1.
    pub version: u8,
    /// `bl`: what is buffered, in ms; of several, the least.
    pub buffer_ms: Option<u64>,
    /// `bs`: the buffer ran empty since the last request.
    pub starved: bool,
    /// `su`: at the start, after a seek or after running empty.
    pub startup: bool,
    /// `br`: of the object, in kbit/s; of several, the highest.
    pub bitrate_kbps: Option<u64>,
    /// `tb`: the highest rendition of the content, in kbit/s.
    pub top_kbps: Option<u64>,
    /// `d`: duration of the object, in ms.
    pub duration_ms: Option<u64>,
    /// `dl`: until its first sample is needed, in ms.
    pub deadline_ms: Option<u64>,
    /// `mtp`: measured by the client, in kbit/s.
    pub throughput_kbps: Option<u64>,
    /// `rtp`: more than this is of no use, in kbit/s.
    pub requested_kbps: Option<u64>,
    /// `pr`: playback rate in thousandths; 0 is standing still.
    pub rate_thousandths: Option<u64>,
    /// `nor`, with `nrr` or the parameter `r`.
    pub next: Vec<Next>,
    /// `ot`.
    pub object: Option<ObjectType>,
    /// `st`.
    pub stream: Option<StreamType>,
    /// `sid`.
    pub session: Option<Opaque>,
    /// `cid`.
    pub content: Option<Opaque>,
    /// `e`.
    pub event: Option<EventKind>,
    /// `ts`: when, in ms since 1970.
    pub at_ms: Option<u64>,
    /// `sta`.
    pub state: Option<PlayerState>,
    /// `rc`: status of the response.
    pub status: Option<u16>,
    /// `url`: what was asked for. It may hold a token: never to be logged.
    pub url: Option<Opaque>,
    /// `ttfb`: to the first byte, in ms.
    pub first_byte_ms: Option<u64>,
    /// `ttlb`: to the last byte, in ms.
    pub last_byte_ms: Option<u64>,
    /// `sn`: grows by one with each report of a mode.
    pub sequence: Option<u64>,
}

impl Cmcd {
    /// Takes one key in; false if it is not known or cannot be read.
    pub(super) fn set(&mut self, key: &str, value: &Value) -> bool {
        match key {
            "v" => set(&mut self.version, one(value).and_then(whole).and_then(|v| u8::try_from(v).ok())),
            "bl" => some(&mut self.buffer_ms, several(value).into_iter().min()),
            "br" => some(&mut self.bitrate_kbps, several(value).into_iter().max()),
            "tb" => some(&mut self.top_kbps, several(value).into_iter().max()),
            "mtp" => some(&mut self.throughput_kbps, several(value).into_iter().max()),
            "d" => some(&mut self.duration_ms, one(value).and_then(whole)),
            "dl" => some(&mut self.deadline_ms, one(value).and_then(whole)),
            "rtp" => some(&mut self.requested_kbps, several(value).into_iter().max()),
            "pr" => some(&mut self.rate_thousandths, one(value).and_then(thousandths)),
            "ts" => some(&mut self.at_ms, one(value).and_then(whole)),
            "ttfb" => some(&mut self.first_byte_ms, one(value).and_then(whole)),
            "ttlb" => some(&mut self.last_byte_ms, one(value).and_then(whole)),
            "sn" => some(&mut self.sequence, one(value).and_then(whole)),
            "rc" => some(&mut self.status, one(value).and_then(whole).and_then(|code| u16::try_from(code).ok())),
            "bs" => set(&mut self.starved, flag(value)),
            "su" => set(&mut self.startup, flag(value)),
            "sid" => some(&mut self.session, one(value).and_then(|item| opaque(item, MAX_ID))),
            "cid" => some(&mut self.content, one(value).and_then(|item| opaque(item, MAX_ID))),
            "url" => some(&mut self.url, one(value).and_then(|item| opaque(item, MAX_VALUE))),
            "ot" => some(&mut self.object, one(value).and_then(word).map(object)),
            "st" => some(&mut self.stream, one(value).and_then(word).and_then(stream)),
            "e" => some(&mut self.event, one(value).and_then(word).map(event)),
            "sta" => some(&mut self.state, one(value).and_then(word).map(state)),
            "nor" => self.next_objects(value),
            "nrr" => self.next_range(value),
            _ => false,
        }
    }

    fn next_objects(&mut self, value: &Value) -> bool {
        // Version 1 said the range before or after the object.
        let range = self.next.first().filter(|next| next.uri.is_empty()).and_then(|next| next.range);
        let mut found: Vec<Next> = value.iter().filter_map(next).take(MAX_NEXT).collect();
        if let Some(first) = found.first_mut() {
            first.range = first.range.or(range);
            self.next = found;
            return true;
        }
        false
    }

    fn next_range(&mut self, value: &Value) -> bool {
        let Some(range) = one(value).and_then(word).and_then(range) else { return false };
        match self.next.first_mut() {
            Some(next) => next.range = next.range.or(Some(range)),
            // The object follows, or is the one asked for now.
            None => self.next.push(Next { uri: String::new(), range: Some(range) }),
        }
        true
    }
}

fn some<T>(slot: &mut Option<T>, value: Option<T>) -> bool {
    let read = value.is_some();
    if read {
        *slot = value;
    }
    read
}

fn set<T>(slot: &mut T, value: Option<T>) -> bool {
    match value {
        Some(value) => {
            *slot = value;
            true
        }
        None => false,
    }
}

fn one(value: &Value) -> Option<&Item> {
    value.first()
}

fn thousandths(item: &Item) -> Option<u64> {
    match item.bare {
        Bare::Number(number) => u64::try_from(number).ok().filter(|number| *number <= MAX_NUMBER),
        _ => None,
    }
}

/// A whole number; what stands behind a point is cut off.
fn whole(item: &Item) -> Option<u64> {
    thousandths(item).map(|number| number / 1000)
}

fn several(value: &Value) -> Vec<u64> {
    value.iter().filter_map(whole).collect()
}

fn flag(value: &Value) -> Option<bool> {
    match one(value)?.bare {
        Bare::Flag(flag) => Some(flag),
        _ => None,
    }
}

/// A text or token.
fn word(item: &Item) -> Option<&str> {
    match &item.bare {
        Bare::Text(text) | Bare::Token(text) if text.len() <= MAX_VALUE => Some(text),
        _ => None,
    }
}

fn opaque(item: &Item, longest: usize) -> Option<Opaque> {
    let text = match &item.bare {
        // A session may be named by a bare number.
        Bare::Number(number) if *number >= 0 => (number / 1000).to_string(),
        _ => word(item)?.to_owned(),
    };
    (!text.is_empty() && text.len() <= longest).then_some(Opaque(text))
}

fn next(item: &Item) -> Option<Next> {
    let written = word(item)?;
    // Version 1 percent-encodes the whole reference; version 2 writes it as it is. A reference without a character that
    // the encoding takes away is either.
    let encoded =
        written.contains("%2F") || written.contains("%2f") || written.contains("%3F") || written.contains("%3f");
    let uri = if encoded && !written.contains('/') { decode(written)? } else { written.to_owned() };
    let said = item.parameters.iter().find(|(name, _)| name == "r");
    let range = said.and_then(|(_, bare)| match bare {
        Bare::Text(text) | Bare::Token(text) => range(text),
        _ => None,
    });
    (!uri.is_empty() && !uri.chars().any(char::is_control)).then_some(Next { uri, range })
}

/// `a-b` or `a-`. A range from the end (`-b`) names no bytes without the length, so nobody fetches it beforehand.
fn range(text: &str) -> Option<(u64, Option<u64>)> {
    let (first, last) = text.split_once('-')?;
    let digits =
        |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<u64>().ok()).flatten();
    let first = digits(first)?;
    if last.is_empty() {
        return Some((first, None));
    }
    let last = digits(last)?;
    (first <= last).then_some((first, Some(last)))
}

fn object(word: &str) -> ObjectType {
    match word {
        "m" => ObjectType::Manifest,
        "a" => ObjectType::Audio,
        "v" => ObjectType::Video,
        "av" => ObjectType::Muxed,
        "i" => ObjectType::Init,
        "c" => ObjectType::Caption,
        "tt" => ObjectType::TimedText,
        "k" => ObjectType::Key,
        _ => ObjectType::Other,
    }
}

fn stream(word: &str) -> Option<StreamType> {
    match word {
        "v" => Some(StreamType::OnDemand),
        "l" | "ll" => Some(StreamType::Live),
        _ => None,
    }
}

fn event(word: &str) -> EventKind {
    match word {
        "ps" => EventKind::PlayState,
        "e" => EventKind::Error,
        "t" => EventKind::Time,
        "c" => EventKind::Content,
        "b" | "bc" => EventKind::Bitrate,
        "rr" => EventKind::Response,
        _ => EventKind::Other,
    }
}

fn state(word: &str) -> PlayerState {
    match word {
        "s" => PlayerState::Starting,
        "p" => PlayerState::Playing,
        "k" => PlayerState::Seeking,
        "r" => PlayerState::Rebuffering,
        "a" => PlayerState::Paused,
        "e" => PlayerState::Ended,
        "f" => PlayerState::Failed,
        _ => PlayerState::Other,
    }
}
