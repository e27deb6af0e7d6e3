//! Makes channels: looks at the origin's playlist, asks for the segment that comes next, and shows each part when it is
//! whole. Invariants: of each channel one look and one segment are under way at a time; a channel that nobody has asked
//! for in a while ends.

use super::{
    ahead::add,
    channel::Channel,
    chunks::{Chunk, Chunker},
    cut::{Cutter, target_for},
    held::Segment,
    inner::Inner,
    look::{Unfit, check, get, look, target, whole},
    maker::{Maker, Settling},
    tracks::{MAX_INIT, Tracks},
};
use std::{collections::VecDeque, sync::Arc, time::Duration};
use tokio::{sync::mpsc, task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;
use weir_relay::source::RawSource;

/// Target durations from the end whose parts are listed, and segments that a channel begins with at most.
const WITH_PARTS: u32 = 3;
const MAX_BEGIN: usize = 8;
/// Longest segment that a channel begins with, in bytes, and how much of it is cut at a time.
const MAX_FIRST: usize = 64 << 20;
const PIECE: usize = 1 << 20;

/// Makes the channels of one source.
pub struct Packager<S> {
    inner: Arc<Inner<S>>,
    wanted: mpsc::Receiver<Arc<Channel>>,
}

impl<S: RawSource> Packager<S> {
    pub(super) fn new(inner: Arc<Inner<S>>, wanted: mpsc::Receiver<Arc<Channel>>) -> Self {
        Self { inner, wanted }
    }

    /// Makes what is asked for, until `cancel`.
    pub async fn run(mut self, cancel: CancellationToken) {
        let mut making = JoinSet::new();
        loop {
            tokio::select! {
                () = cancel.cancelled() => break,
                Some(channel) = self.wanted.recv() => {
                    making.spawn(make(self.inner.clone(), channel));
                }
                Some(ended) = making.join_next(), if !making.is_empty() => {
                    if let Err(error) = ended {
                        tracing::error!(%error, "making a low-latency channel failed");
                    }
                }
            }
        }
        making.shutdown().await;
    }
}

async fn make<S: RawSource>(inner: Arc<Inner<S>>, channel: Arc<Channel>) {
    let begun = begin(&inner, &channel).await;
    let idle = match begun {
        Ok(mut maker) => maker.run().await,
        Err(error) => Err(error),
    };
    inner.segments.retain(|_, known| !Arc::ptr_eq(known, &channel));
    match idle {
        // Forgotten, so that it begins anew with the next request.
        Ok(true) => {
            inner.channels.remove_if(&channel.path, |_, known| Arc::ptr_eq(known, &channel));
            channel.pass();
        }
        Ok(false) => channel.pass(),
        Err(why) => {
            tracing::debug!(%why, "a playlist passes through without low latency");
            channel.pass();
        }
    }
}

async fn begin<S: RawSource>(inner: &Arc<Inner<S>>, channel: &Arc<Channel>) -> Result<Maker<S>, Unfit> {
    let (text, media) = look(inner, &channel.path).await?;
    check(&media)?;
    let Some(last) = media.segments.last() else { return Err(Unfit::Kind("empty")) };
    let map = last.map.clone().ok_or(Unfit::Kind("not fragmented MP4"))?;
    let elsewhere = || Unfit::Kind("of media at another host");
    let path = target(&channel.path, &map.uri).ok_or_else(elsewhere)?;
    let init = whole(get(inner, &path).await?, MAX_INIT).await?;
    let range = match map.byte_range {
        Some(range) => usize::try_from(range.offset).ok().zip(usize::try_from(range.end()).ok()),
        None => Some((0, init.len())),
    };
    let init = range.and_then(|(from, end)| init.get(from..end));
    let tracks = Tracks::of_init(init.ok_or(Unfit::Kind("of a map that its file does not have"))?)?;
    let next = last.media_sequence + 1;
    let mut maker = Maker {
        inner: inner.clone(),
        channel: channel.clone(),
        text,
        media,
        tracks,
        part_target: inner.config.part_target,
        segments: VecDeque::new(),
        next,
        announced: None,
        ahead: None,
        opening: None,
        looking: None,
        look_at: Instant::now(),
        retry_at: Instant::now(),
        failures: 0,
        skip: 0,
        settling: Some(Settling::begin()),
    };
    // The segments whose parts are listed; the newest shows what the chunks are like.
    let mut chunked = Vec::new();
    let mut behind = Duration::ZERO;
    for segment in maker.media.segments.iter().rev().take(MAX_BEGIN) {
        if behind >= maker.media.target_duration * WITH_PARTS {
            break;
        }
        behind += segment.duration;
        let path = target(&channel.path, &segment.uri).ok_or_else(elsewhere)?;
        let body = whole(get(inner, &path).await?, MAX_FIRST).await?;
        let mut chunker = Chunker::default();
        let mut chunks: Vec<Chunk> = Vec::new();
        for piece in body.chunks(PIECE) {
            chunks.extend(chunker.push(piece, &maker.tracks)?);
        }
        if chunks.len() < 2 {
            return Err(Unfit::Kind("of one fragment a segment"));
        }
        chunked.push((Segment::new(segment.media_sequence, segment.uri.clone(), path), chunks, chunker.is_empty()));
    }
    let fragments = chunked.iter().flat_map(|(_, chunks, _)| chunks);
    maker.part_target = target_for(fragments.map(|chunk| chunk.fragment.duration), inner.config.part_target);
    for (mut segment, chunks, exact) in chunked.into_iter().rev() {
        let mut cutter = Cutter::new(maker.part_target);
        for chunk in &chunks {
            add(&mut segment, cutter.push(chunk), &inner.budget)?;
        }
        add(&mut segment, cutter.finish(), &inner.budget)?;
        (segment.whole, segment.exact) = (true, exact);
        maker.hold(segment);
    }
    maker.look_at = Instant::now() + maker.pause();
    Ok(maker)
}
