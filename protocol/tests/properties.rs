//! What holds for every input: one name for one resource, no panic on garbage, no forged byte verifies, and frames do
//! not depend on how the network cut them.
#![expect(clippy::unwrap_used, reason = "tests")]

mod common;

use bytes::Bytes;
use common::{BODY, NOW, head, key, key_list, record, ring, root, signing};
use proptest::prelude::{Strategy, any, prop, prop_assert, prop_assert_eq, proptest};
use weir_protocol::token::UnverifiedToken;
use weir_protocol::wellknown::WellKnown;
use weir_protocol::wire::{ControlDecoder, ControlFrame, FrameDecoder, RefusalReason, ReplyFrame, Request};
use weir_protocol::{
    Generation, KeyRing, PublisherId, ResourceKey, SignedChunk, UnverifiedChunk, UnverifiedHead, UnverifiedRecord,
};

fn frames() -> Vec<ReplyFrame> {
    let chunk = SignedChunk::sign(key().hash(), Generation(42), 0, BODY, &signing()).unwrap();
    vec![
        ReplyFrame::Wait,
        ReplyFrame::Head { head: head().to_wire(), age_ms: 5 },
        ReplyFrame::Chunk { signature: chunk.bytes().clone(), payload: Bytes::from_static(BODY) },
        ReplyFrame::Record(record().to_wire()),
        ReplyFrame::Whole { record: record().to_wire(), age_ms: 6, offset: 16384 },
        ReplyFrame::Parent([9; 64]),
        ReplyFrame::Leaf(Bytes::from_static(BODY)),
        ReplyFrame::Leaf(Bytes::new()),
        ReplyFrame::NotModified { record: record().to_wire(), age_ms: 7 },
        ReplyFrame::Refused { reason: RefusalReason::Overloaded, detail: "later".into() },
        ReplyFrame::Failed { reason: RefusalReason::Other(999), detail: String::new() },
    ]
}

fn encoded(frames: &[ReplyFrame]) -> Vec<u8> {
    let mut out = Vec::new();
    for frame in frames {
        out.extend_from_slice(&frame.encode_header().unwrap());
        out.extend_from_slice(frame.payload().unwrap_or(&Bytes::new()));
    }
    out
}

/// Flips at least one bit of one byte.
fn mutate(bytes: &[u8], place: usize, flip: u8) -> Vec<u8> {
    let mut mutated = bytes.to_vec();
    let place = place % mutated.len();
    mutated[place] ^= flip;
    mutated
}

/// Targets made of the pieces that normalisation treats specially.
fn target() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "/",
        "a",
        "..",
        ".",
        "%2e",
        "%2E%2e",
        "%2f",
        "%2F..",
        "%25",
        "%252e",
        "%C3%BC",
        "ü",
        "|",
        "?",
        "&",
        "=",
        "//",
        "weir_token=x",
        "_HLS_msn=1",
        "_HLS_part=2",
        "_HLS_skip",
        "CMCD=z",
        "~",
        "%7E",
        "+",
        "\"",
        "[",
        "%00",
        "\\",
        "#",
    ]);
    prop::collection::vec(piece, 0..12).prop_map(|pieces| format!("/{}", pieces.concat()))
}

proptest! {
    #[test]
    fn a_canonical_target_is_its_own_canonical_form(target in target()) {
        let publisher = PublisherId([1; 32]);
        if let Ok(key) = ResourceKey::parse(publisher, &target) {
            let canonical = key.path_and_query();
            prop_assert_eq!(&ResourceKey::parse(publisher, &canonical).unwrap(), &key);
            let decoded = key.path.as_str().replace("%2F", "/").replace("%2E", ".");
            prop_assert!(decoded.split('/').all(|segment| segment != ".."), "{}", canonical);
            prop_assert!(canonical.bytes().all(|b| b.is_ascii_graphic()), "{}", canonical);
            prop_assert_eq!(weir_protocol::resource::token_in_query(&canonical), None);
        }
    }

    /// Whatever a player adds for itself, in whatever place, and however it orders its directives: the resource is the same.
    #[test]
    fn what_players_add_never_names_another_resource(
        target in target(),
        added in prop::collection::vec(
            prop::sample::select(vec![
                "weir_token=a.b.c", "weir_steer=1", "weir_cmsd=1", "CMCD=br%3D1%2Cbs", "_HLS_pathway=R1-e2", "_HLS_throughput=5",
                "%77eir_token=t", "CMCD", "",
            ]),
            1..5,
        ),
        places in prop::collection::vec(any::<prop::sample::Index>(), 5),
    ) {
        let publisher = PublisherId([1; 32]);
        let Ok(key) = ResourceKey::parse(publisher, &target) else { return Ok(()) };
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        let mut parameters: Vec<&str> = query.split('&').collect();
        for (parameter, place) in added.iter().zip(places) {
            parameters.insert(place.index(parameters.len() + 1), parameter);
        }
        let with = format!("{path}?{}", parameters.join("&"));
        prop_assert_eq!(ResourceKey::parse(publisher, &with), Ok(key.clone()), "{}", with);
        parameters.reverse();
        let directives = |text: &str| {
            let (_, query) = text.split_once('?').unwrap_or(("", ""));
            query.split('&').filter(|parameter| parameter.starts_with("_HLS_")).map(str::to_owned).collect::<Vec<_>>()
        };
        let reversed = ResourceKey::parse(publisher, &format!("{path}?{}", parameters.join("&"))).unwrap();
        prop_assert_eq!(directives(&reversed.path_and_query()), directives(&key.path_and_query()));
    }

    #[test]
    fn any_text_parses_or_is_refused(text in ".{0,64}") {
        let publisher = PublisherId([1; 32]);
        if let Ok(key) = ResourceKey::parse(publisher, &text) {
            prop_assert_eq!(ResourceKey::parse(publisher, &key.path_and_query()), Ok(key));
        }
        let _ = weir_protocol::resource::token_in_query(&text);
        prop_assert!(UnverifiedToken::parse(&text).is_err());
    }

    #[test]
    fn garbage_never_panics_and_never_verifies(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let ring = ring();
        prop_assert!(KeyRing::verify(root().publisher_id(), &bytes, NOW).is_err());
        prop_assert!(UnverifiedRecord::decode(&bytes).is_err());
        prop_assert!(UnverifiedHead::decode(&bytes).is_err());
        let chunk = UnverifiedChunk(bytes.clone().into());
        prop_assert!(chunk.verify(&ring, &key().hash(), Generation(42), 0, BODY, NOW).is_err());
        let _ = Request::decode(&bytes);
        let _ = ControlFrame::decode(&bytes);
        prop_assert!(WellKnown::parse(&bytes).is_err());
        let mut replies = FrameDecoder::new();
        replies.push(bytes.clone().into());
        while let Ok(Some(_)) = replies.next() {}
        let mut control = ControlDecoder::default();
        control.push(bytes.into());
        while let Ok(Some(_)) = control.next() {}
    }

    #[test]
    fn garbage_behind_a_valid_frame_head_never_panics(
        kind in 0_u8..12,
        body in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let mut decoder = FrameDecoder::new();
        let length = u32::try_from(body.len() + 1).unwrap();
        decoder.push([&length.to_be_bytes()[..], &[kind], &body].concat().into());
        while let Ok(Some(_)) = decoder.next() {}
    }

    #[test]
    fn a_mutated_signed_message_never_verifies(place in any::<usize>(), flip in 1..=u8::MAX) {
        let ring = ring();
        let list = mutate(&key_list(), place, flip);
        prop_assert!(KeyRing::verify(root().publisher_id(), &list, NOW).is_err());

        let record = mutate(&record().to_wire().encode(), place, flip);
        prop_assert!(!UnverifiedRecord::decode(&record).is_ok_and(|r| r.verify(&ring, &key(), NOW).is_ok()));

        let head = mutate(&head().to_wire().encode(), place, flip);
        prop_assert!(!UnverifiedHead::decode(&head).is_ok_and(|h| h.verify(&ring, &key(), NOW).is_ok()));

        let signed = SignedChunk::sign(key().hash(), Generation(42), 0, BODY, &signing()).unwrap();
        let verify = |message: Vec<u8>, payload: &[u8]| {
            UnverifiedChunk(message.into()).verify(&ring, &key().hash(), Generation(42), 0, payload, NOW)
        };
        prop_assert!(verify(mutate(signed.bytes(), place, flip), BODY).is_err());
        prop_assert!(verify(signed.bytes().to_vec(), &mutate(BODY, place, flip)).is_err());
        prop_assert!(verify(signed.bytes().to_vec(), BODY).is_ok());
    }

    #[test]
    fn frames_do_not_depend_on_cuts(cuts in prop::collection::vec(1_usize..400, 1..64)) {
        let frames = frames();
        let bytes = Bytes::from(encoded(&frames));
        let mut decoder = FrameDecoder::new();
        let mut seen = Vec::new();
        let (mut at, mut cuts) = (0, cuts.iter().cycle());
        while at < bytes.len() {
            let end = (at + cuts.next().unwrap()).min(bytes.len());
            decoder.push(bytes.slice(at..end));
            while let Some(frame) = decoder.next().unwrap() {
                seen.push(frame);
            }
            at = end;
        }
        prop_assert!(decoder.finish().is_ok());
        prop_assert_eq!(seen, frames);
    }
}

#[test]
fn every_single_cut_gives_the_same_frames() {
    let frames = frames();
    let bytes = Bytes::from(encoded(&frames));
    for cut in 0..=bytes.len() {
        let mut decoder = FrameDecoder::new();
        let mut seen = Vec::new();
        for part in [bytes.slice(..cut), bytes.slice(cut..)] {
            decoder.push(part);
            while let Some(frame) = decoder.next().unwrap() {
                seen.push(frame);
            }
        }
        decoder.finish().unwrap();
        assert_eq!(seen, frames, "cut at {cut}");
    }
}

#[test]
fn a_truncated_stream_is_noticed() {
    let bytes = encoded(&[ReplyFrame::Leaf(Bytes::from_static(BODY))]);
    for cut in 1..bytes.len() {
        let mut decoder = FrameDecoder::new();
        decoder.push(Bytes::copy_from_slice(&bytes[..cut]));
        assert_eq!(decoder.next(), Ok(None));
        assert!(decoder.finish().is_err(), "cut at {cut}");
    }
}
