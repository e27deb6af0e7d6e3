//! Members that send, open and hold more than is theirs. Invariant of all: the others are served meanwhile, and what the
//! flood uses is bounded.

use super::{
    adapter::Adapter,
    liar::{Liar, control},
    origin::{Origin, Page, bytes},
    relay::{Relay, Setup},
    seen::{soon, until},
};
use libp2p::identity::Keypair;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use weir_protocol::{
    keys::SigningKey,
    resource::CanonicalPath,
    takedown::{SignedTakedown, Takedown, Target},
    wire::{ControlDecoder, ControlFrame, Hello, Request},
};
use weir_relay::{
    clock::Clock,
    peer::PeerLimits,
    quic::{QuicConfig, Tuning},
};

const MIB: usize = 1 << 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn control_frames_without_end_are_read_at_a_rate() {
    let adapter = Adapter::start(Origin::default(), 1).await;
    let relay = Relay::join(&adapter).await;
    let liar = Liar::join(&adapter).await;
    relay.knows(2).await;
    let publisher = relay.network.publisher;
    let begun = Instant::now();
    let (connection, mut send, mut heard) = liar.dial(&relay).await;
    let mut flood = JoinSet::new();
    flood.spawn(async move {
        send.write_chunk(ControlFrame::Hello(Hello::new("flood")).encode().unwrap()).await.unwrap();
        // A new takedown each time, signed by a key that nobody knows: each costs its receiver a look.
        let key = SigningKey::from_bytes(&[99; 32]);
        for n in 0u64.. {
            let target = Target::path(CanonicalPath::parse(&format!("/{n}")).unwrap());
            let takedown = Takedown { publisher, serial: Clock::System.now(), until: None, target };
            let frame = ControlFrame::Takedowns(vec![SignedTakedown::sign(takedown, &key).bytes().clone()]);
            let ping = ControlFrame::Ping(n);
            for frame in [frame, ping] {
                if send.write_chunk(frame.encode().unwrap()).await.is_err() {
                    return;
                }
            }
        }
    });
    let pongs = async {
        let (mut decoder, mut count) = (ControlDecoder::default(), 0u64);
        while begun.elapsed() < Duration::from_secs(4) {
            let Ok(Ok(Some(chunk))) =
                tokio::time::timeout(Duration::from_millis(200), heard.read_chunk(1 << 16, true)).await
            else {
                continue;
            };
            decoder.push(chunk.bytes);
            while let Some(frame) = decoder.next().unwrap() {
                count += u64::from(matches!(frame, ControlFrame::Pong(_)));
            }
        }
        count
    };
    let viewers = async {
        for n in 0..20 {
            let path = format!("/{n}.ts");
            adapter.origin.put(&path, Page::new(bytes(100_000, n)));
            assert_eq!(relay.body(&path).await, Ok(bytes(100_000, n)));
        }
    };
    let (count, ()) = tokio::join!(pongs, viewers);
    // Three units and one for each pair, 200 units a second after the first 2048.
    let most = (2048 + 200 * (begun.elapsed().as_secs() + 1)) / 4;
    assert!(count > 0 && count <= most, "{count} pairs were read, at most {most} should be");
    assert!(connection.close_reason().is_none(), "a node with a newer key list would look the same");
    assert_eq!(relay.network.withdrawn().book().sequence(), 0);
    flood.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_address_gets_its_share_of_connections_and_no_more() {
    let adapter = Adapter::start(Origin::default(), 1).await;
    let limits = PeerLimits { per_address: 4, ..PeerLimits::default() };
    let relay = Relay::with(&adapter, Setup { limits, ..Setup::default() }).await;
    let liar = Liar::join(&adapter).await;
    relay.knows(2).await;
    let mut open = Vec::new();
    let mut tasks = JoinSet::new();
    for _ in 0..4 {
        let (connection, mut send, mut heard) = liar.dial(&relay).await;
        send.write_chunk(ControlFrame::Hello(Hello::new("liar")).encode().unwrap()).await.unwrap();
        // A handshake ends here before it ends there: the relay's own Hello says that the place is taken.
        assert!(soon("its Hello", heard.read_chunk(1 << 16, true)).await.unwrap().is_some());
        tasks.spawn(async move {
            let _open = send;
            while let Ok(Some(_)) = heard.read_chunk(1 << 16, true).await {}
        });
        open.push(connection);
    }
    // The stream is refused with the connection, sooner or later.
    let why = match liar.try_dial(&relay).await {
        Err(why) => why.to_string(),
        Ok((one_more, mut send, _heard)) => {
            let _ = send.write_chunk(ControlFrame::Hello(Hello::new("one more")).encode().unwrap()).await;
            soon("the end", one_more.closed()).await.to_string()
        }
    };
    assert!(why.contains("too many connections"), "{why}");
    assert!(open.iter().all(|connection| connection.close_reason().is_none()));
    // A place that is given back can be taken again.
    open.pop().unwrap().close(quinn::VarInt::from_u32(9), b"done");
    soon("a place", async {
        loop {
            let Ok((connection, send, receive)) = liar.try_dial(&relay).await else { continue };
            let speaking = tokio::time::timeout(Duration::from_millis(300), control((send, receive)));
            if speaking.await.is_err() && connection.close_reason().is_none() {
                return;
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_of_a_kept_body_that_is_too_slow_is_cut() {
    let adapter = Adapter::start(Origin::default(), 1).await;
    let limits =
        PeerLimits { least_rate: 4 * MIB as u64, slow_grace: Duration::from_millis(300), ..PeerLimits::default() };
    let relay = Relay::with(&adapter, Setup { limits, ..Setup::default() }).await;
    let tuning = Tuning { stream_receive_window: 64 << 10, receive_window: 64 << 10, ..Tuning::default() };
    let config = QuicConfig { tuning, ..QuicConfig::new("127.0.0.1:0".parse().unwrap(), Keypair::generate_ed25519()) };
    let slow = Liar::with(&adapter, config).await;
    relay.knows(2).await;
    adapter.origin.put("/x.ts", Page::new(bytes(3 * MIB, 1)));
    assert!(relay.body("/x.ts").await.is_ok());
    let request = Request::get(&relay.key("/x.ts"));
    let (connection, tasks, mut deaf) = slow.ask_and_not_read(&relay, &request, 1).await;
    let mut stream = deaf.pop().unwrap();
    let reading = async {
        let mut read = 0;
        loop {
            match stream.read_chunk(16 << 10, true).await {
                Ok(Some(chunk)) => read += chunk.bytes.len(),
                Ok(None) => panic!("it was sent whole"),
                Err(_) => return read,
            }
            tokio::time::sleep(Duration::from_millis(40)).await;
        }
    };
    let read = soon("the cut", reading).await;
    assert!(read < 3 * MIB, "{read}");
    // What it held is let go, and others get the whole.
    let other = Relay::join(&adapter).await;
    until("the third", || other.network.members().len() == 3).await;
    assert!(other.body("/x.ts").await == Ok(bytes(3 * MIB, 1)));
    drop((connection, tasks));
}
