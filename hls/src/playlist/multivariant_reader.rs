//! Reads a multivariant playlist from its tags.
//!
//! Variants go through m3u8-rs as canonical attribute lists (see the folder's head). `EXT-X-MEDIA` does not: it is no
//! more than an attribute list, and m3u8-rs drops a rendition for details that no relay cares about.

use std::fmt::Write as _;

use crate::playlist::error::ReadError;
use crate::playlist::fields::{Fields, Tag, integer, seconds};
use crate::playlist::keys::Keys;
use crate::playlist::multivariant::{Multivariant, Rendition, RenditionKind, Resolution, Variant};

/// Attributes that m3u8-rs reads as quoted strings.
const QUOTED: &[&str] = &["CODECS", "AUDIO", "VIDEO", "SUBTITLES"];

/// What m3u8-rs has no field for.
struct Extra {
    pathway: Option<String>,
    stable_id: Option<String>,
}

pub(crate) fn read(tags: &[Tag<'_>]) -> Result<Multivariant, ReadError> {
    let mut out = Multivariant::default();
    let mut canonical = String::from("#EXTM3U\n");
    let mut extras = Vec::new();
    let mut keys = Keys::default();
    let mut open: Option<Tag<'_>> = None;
    for tag in tags {
        match tag.name {
            "EXT-X-STREAM-INF" => {
                if let Some(open) = open.replace(*tag) {
                    return Err(open.malformed("no URI line follows"));
                }
                let fields = tag.fields()?;
                push_variant(&mut canonical, tag, &fields)?;
                canonical.push('\n');
                extras.push(extra(&fields));
            }
            "" => {
                if open.take().is_none() {
                    return Err(tag.malformed("no EXT-X-STREAM-INF precedes"));
                }
                canonical.push_str(tag.value);
                canonical.push('\n');
            }
            "EXT-X-I-FRAME-STREAM-INF" => {
                if let Some(open) = open {
                    return Err(open.malformed("no URI line follows"));
                }
                let fields = tag.fields()?;
                push_variant(&mut canonical, tag, &fields)?;
                let _ = writeln!(canonical, ",URI=\"{}\"", fields.required("URI")?);
                extras.push(extra(&fields));
            }
            "EXT-X-MEDIA" => out.renditions.push(rendition(tag)?),
            "EXT-X-SESSION-KEY" => keys.add(tag)?,
            _ => {}
        }
    }
    if let Some(open) = open {
        return Err(open.malformed("no URI line follows"));
    }
    out.session_keys = keys.into_uris();
    let read = m3u8_rs::parse_master_playlist_res(canonical.as_bytes())
        .map_err(|_| ReadError::Disagreement("a multivariant playlist"))?;
    if read.variants.len() != extras.len() {
        return Err(ReadError::Disagreement("the number of variants"));
    }
    for (read, extra) in read.variants.into_iter().zip(extras) {
        let list = if read.is_i_frame { &mut out.i_frame_streams } else { &mut out.variants };
        list.push(Variant {
            uri: read.uri,
            bandwidth: read.bandwidth,
            average_bandwidth: read.average_bandwidth,
            codecs: read.codecs,
            resolution: read.resolution.map(|found| Resolution { width: found.width, height: found.height }),
            frame_rate: read.frame_rate,
            audio: read.audio,
            video: read.video,
            subtitles: read.subtitles,
            pathway: extra.pathway,
            stable_id: extra.stable_id,
        });
    }
    Ok(out)
}

/// Writes a variant's tag without a line ending. Every value has been checked for what m3u8-rs makes of it.
fn push_variant(canonical: &mut String, tag: &Tag<'_>, fields: &Fields<'_>) -> Result<(), ReadError> {
    let bandwidth = fields.integer("BANDWIDTH")?.ok_or_else(|| tag.malformed("BANDWIDTH is missing"))?;
    // Writing to a String cannot fail.
    let _ = write!(canonical, "#{}:BANDWIDTH={bandwidth}", tag.name);
    if let Some(average) = fields.integer("AVERAGE-BANDWIDTH")? {
        let _ = write!(canonical, ",AVERAGE-BANDWIDTH={average}");
    }
    if let Some((width, height)) = fields.read("RESOLUTION", resolution, "RESOLUTION is not WIDTHxHEIGHT")? {
        let _ = write!(canonical, ",RESOLUTION={width}x{height}");
    }
    let frames = |text: &str| seconds(text).map(|_| text.trim_matches([' ', '\t']).to_owned());
    if let Some(rate) = fields.read("FRAME-RATE", frames, "FRAME-RATE is not a number")? {
        let _ = write!(canonical, ",FRAME-RATE={rate}");
    }
    for name in QUOTED {
        if let Some(value) = fields.text(name).filter(|value| !value.is_empty()) {
            let _ = write!(canonical, ",{name}=\"{value}\"");
        }
    }
    Ok(())
}

fn resolution(text: &str) -> Option<(u64, u64)> {
    let (width, height) = text.split_once(['x', 'X'])?;
    Some((integer(width)?, integer(height)?))
}

fn extra(fields: &Fields<'_>) -> Extra {
    Extra { pathway: fields.owned("PATHWAY-ID"), stable_id: fields.owned("STABLE-VARIANT-ID") }
}

fn rendition(tag: &Tag<'_>) -> Result<Rendition, ReadError> {
    let fields = tag.fields()?;
    let kind = match fields.required("TYPE")? {
        "AUDIO" => RenditionKind::Audio,
        "VIDEO" => RenditionKind::Video,
        "SUBTITLES" => RenditionKind::Subtitles,
        "CLOSED-CAPTIONS" => RenditionKind::ClosedCaptions,
        _ => return Err(tag.malformed("TYPE is not known")),
    };
    Ok(Rendition {
        kind,
        group: fields.required("GROUP-ID")?.to_owned(),
        name: fields.required("NAME")?.to_owned(),
        language: fields.owned("LANGUAGE"),
        uri: fields.owned("URI"),
        default: fields.flag("DEFAULT"),
        autoselect: fields.flag("AUTOSELECT"),
    })
}
