//! Bodies that are looked at before they are judged: playlists, and what may be a key. Invariant: what is held of them is
//! bounded.

use super::{RawBody, SourceError};
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, stream};
use std::io::Read;
use weir_hls::MAX_BYTES;

/// Length of an AES-128 key.
pub(super) const KEY_BYTES: u64 = 16;

/// Reads just far enough to know whether a body of unannounced length is as short as a key.
pub(super) async fn measure(mut body: RawBody) -> Result<(RawBody, Option<u64>), SourceError> {
    let mut pieces = Vec::new();
    let mut length = 0;
    while length <= KEY_BYTES {
        let Some(piece) = body.next().await.transpose()? else {
            return Ok((stream::iter(pieces.into_iter().map(Ok)).boxed(), Some(length)));
        };
        length += piece.len() as u64;
        // Empty pieces are not kept, so that their number is bounded.
        pieces.extend((!piece.is_empty()).then_some(piece));
    }
    Ok((stream::iter(pieces.into_iter().map(Ok)).chain(body).boxed(), None))
}

/// A playlist, whole.
pub(super) async fn collect(mut body: RawBody) -> Result<Bytes, SourceError> {
    let mut all = BytesMut::new();
    while let Some(piece) = body.next().await {
        let piece = piece?;
        if all.len() + piece.len() > MAX_BYTES {
            return Err(SourceError::BadResponse(format!("playlist longer than {MAX_BYTES} bytes")));
        }
        all.extend_from_slice(&piece);
    }
    Ok(all.freeze())
}

/// A playlist that came packed.
pub(super) fn unpack(packed: &[u8]) -> Result<Bytes, SourceError> {
    let mut text = Vec::new();
    let limit = MAX_BYTES as u64 + 1;
    flate2::read::MultiGzDecoder::new(packed)
        .take(limit)
        .read_to_end(&mut text)
        .map_err(|error| SourceError::BadResponse(format!("broken gzip: {error}")))?;
    if text.len() > MAX_BYTES {
        return Err(SourceError::BadResponse(format!("playlist unpacks to more than {MAX_BYTES} bytes")));
    }
    Ok(text.into())
}
