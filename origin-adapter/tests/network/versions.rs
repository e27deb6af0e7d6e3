//! Today's relay meets tomorrow's.

use super::{adapter::Adapter, liar::Liar, origin::Origin, relay::Relay, seen::soon};
use bytes::{BufMut, Bytes, BytesMut};
use weir_protocol::wire::{ControlDecoder, ControlFrame, Hello};

/// Everything that is heard until the stream ends.
async fn rest(mut heard: quinn::RecvStream) -> Vec<ControlFrame> {
    let mut decoder = ControlDecoder::default();
    let mut frames = Vec::new();
    while let Ok(Some(chunk)) = heard.read_chunk(1 << 16, true).await {
        decoder.push(chunk.bytes);
        while let Some(frame) = decoder.next().unwrap() {
            frames.push(frame);
        }
    }
    frames
}

/// A frame as a later version may send it.
fn invented(kind: u16, payload: &[u8]) -> Bytes {
    let mut cbor = vec![0x82, 0x19];
    cbor.extend_from_slice(&kind.to_be_bytes());
    cbor.extend_from_slice(payload);
    let mut out = BytesMut::new();
    out.put_u32(cbor.len() as u32);
    out.extend_from_slice(&cbor);
    out.freeze()
}

/// Hello of version 2 that also speaks 1, with members of later versions: {0: 2, 1: ["teleport"], 2: "weir/9", 3: 1,
/// 9: {"a": [1]}}.
fn hello_of_version_2() -> Bytes {
    let mut cbor = vec![0x82, 0x01, 0xa5, 0x00, 0x02, 0x01, 0x81, 0x68];
    cbor.extend_from_slice(b"teleport");
    cbor.extend_from_slice(&[0x02, 0x66]);
    cbor.extend_from_slice(b"weir/9");
    cbor.extend_from_slice(&[0x03, 0x01, 0x09, 0xa1, 0x61, b'a', 0x81, 0x01]);
    let mut out = BytesMut::new();
    out.put_u32(cbor.len() as u32);
    out.extend_from_slice(&cbor);
    out.freeze()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_relay_that_still_speaks_this_version_is_understood() {
    let adapter = Adapter::start(Origin::default(), 1).await;
    let relay = Relay::join(&adapter).await;
    let newer = Liar::join(&adapter).await;
    let (_connection, mut send, mut heard) = newer.dial(&relay).await;
    // An optional frame of its own, another with nothing we know in it, and a Ping.
    for bytes in [hello_of_version_2(), invented(0x8777, &[0xa1, 0x00, 0x41, 0x05]), invented(0xffff, &[0xf6])] {
        send.write_chunk(bytes).await.unwrap();
    }
    send.write_chunk(ControlFrame::Ping(7).encode().unwrap()).await.unwrap();
    let mut decoder = ControlDecoder::default();
    let mut frames = Vec::new();
    while !frames.contains(&ControlFrame::Pong(7)) {
        let chunk = soon("frames", heard.read_chunk(1 << 16, true)).await.unwrap().expect("the stream goes on");
        decoder.push(chunk.bytes);
        while let Some(frame) = decoder.next().unwrap() {
            frames.push(frame);
        }
    }
    assert!(matches!(&frames[0], ControlFrame::Hello(hello) if hello.version == 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_common_version_both_hear_why() {
    let adapter = Adapter::start(Origin::default(), 1).await;
    let relay = Relay::join(&adapter).await;
    let newer = Liar::join(&adapter).await;
    for (version, oldest) in [(3, Some(2)), (2, None), (0, None)] {
        let (connection, mut send, heard) = newer.dial(&relay).await;
        let hello = Hello { version, oldest, ..Hello::new("weir/9") };
        send.write_chunk(ControlFrame::Hello(hello).encode().unwrap()).await.unwrap();
        let frames = soon("the end", rest(heard)).await;
        let parted = frames.iter().any(
            |frame| matches!(frame, ControlFrame::Goodbye { reason } if reason.contains("version 1") && reason.contains("update")),
        );
        // The close may overtake the word on a connection that has hardly begun; the code says it too.
        let code = soon("the close", connection.closed()).await.to_string();
        assert!(parted || code.contains("control stream ended"), "{frames:?} {code}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frame_that_may_not_be_ignored_ends_the_connection() {
    let adapter = Adapter::start(Origin::default(), 1).await;
    let relay = Relay::join(&adapter).await;
    let newer = Liar::join(&adapter).await;
    let (connection, mut send, _heard) = newer.dial(&relay).await;
    send.write_chunk(hello_of_version_2()).await.unwrap();
    send.write_chunk(invented(0x0777, &[0xf6])).await.unwrap();
    soon("the close", connection.closed()).await;
}
