//! A member of the network that does what it likes. Invariant: it answers every request with exactly the acts it was
//! told, and keeps each request for the test to see.

use super::{adapter::Adapter, relay::Relay, seen::soon};
use bytes::Bytes;
use libp2p::identity::Keypair;
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{sync::watch, task::JoinSet};
use weir_protocol::{
    ids::RelayId,
    resource::ResourceKey,
    wire::{
        ControlDecoder, ControlFrame, FrameDecoder, Hello, MAX_REQUEST, PlaceRequest, ReplyFrame, Report, Request,
        frame_length,
    },
};
use weir_relay::quic::{BulkDialer, Parts, QuicConfig, Socket, SwarmTransport};

/// One step of an answer.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// A well-formed frame.
    Frame(ReplyFrame),
    /// Any bytes.
    Raw(Bytes),
    /// `Wait`, ten times a second, for ever.
    Waits,
    /// `Wait`, ten times a second, for so long.
    Linger(Duration),
    /// `Wait`, as fast as it goes, for ever.
    Flood,
    /// Nothing more, and the stream stays open.
    Silence,
    /// The stream is reset.
    Reset,
    /// The frame, ten times a second, for ever.
    Again(ReplyFrame),
    /// Nothing until the gate is opened.
    Until(watch::Receiver<bool>),
}

/// The liar. It ends with its handle.
pub(crate) struct Liar {
    pub(crate) id: RelayId,
    adapter: quinn::Connection,
    dialer: BulkDialer,
    asked: Arc<Mutex<Vec<Request>>>,
    acts: Arc<Mutex<Vec<Act>>>,
    _serving: JoinSet<()>,
    _socket: (Socket, SwarmTransport),
}

impl Liar {
    /// Becomes a member.
    pub(crate) async fn join(adapter: &Adapter) -> Self {
        Self::with(adapter, QuicConfig::new("127.0.0.1:0".parse().unwrap(), Keypair::generate_ed25519())).await
    }

    /// The same with this identity and these windows.
    pub(crate) async fn with(adapter: &Adapter, config: QuicConfig) -> Self {
        let id = RelayId::from_public_key(&config.identity.public());
        let Parts { socket, transport, dialer, mut inbound } = Socket::bind(config).unwrap();
        let link = soon("a link", dialer.connect(adapter.address, *adapter.relay.peer_id())).await.unwrap();
        let mut serving = JoinSet::new();
        let connection = link.conn.clone();
        serving.spawn(async move { control(connection.open_bi().await.unwrap()).await });
        let (asked, acts) = (Arc::default(), Arc::default());
        let (told, heard) = (Arc::clone(&acts), Arc::clone(&asked));
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            while let Some(link) = inbound.recv().await {
                connections.spawn(connection_of(link.conn, Arc::clone(&told), Arc::clone(&heard)));
            }
        });
        Self { id, adapter: link.conn, dialer, asked, acts, _serving: serving, _socket: (socket, transport) }
    }

    /// From now on it answers so.
    pub(crate) fn will(&self, acts: Vec<Act>) {
        *self.acts.lock().unwrap() = acts;
    }

    /// What it was asked.
    pub(crate) fn asked(&self) -> Vec<Request> {
        self.asked.lock().unwrap().clone()
    }

    /// What the adapter answers.
    pub(crate) async fn learn(&self, key: &ResourceKey) -> Vec<ReplyFrame> {
        self.ask_adapter(&Request::get(key)).await
    }

    /// What the adapter answers to this.
    pub(crate) async fn ask_adapter(&self, request: &Request) -> Vec<ReplyFrame> {
        soon("the adapter's answer", ask(&self.adapter, request)).await
    }
}

impl Liar {
    /// Takes a place in the tree of a rendition and reports that all is well, as long as what comes back is kept. Returns
    /// once it has been told its place.
    pub(crate) async fn hang(&self, playlist: &ResourceKey) -> JoinSet<()> {
        let (mut send, mut receive) = self.adapter.open_bi().await.unwrap();
        let place = PlaceRequest { children: 8 };
        send.write_chunk(Request::place(playlist, place).encode().unwrap()).await.unwrap();
        soon("a place", receive.read_chunk(1 << 16, true)).await.unwrap().unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let report = Report { fed: true, ..Report::default() };
            while send.write_chunk(report.encode().unwrap()).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            drop(receive);
        });
        tasks
    }

    /// A second connection to the adapter from the same socket, with a control stream of its own.
    pub(crate) async fn join_again(&self, adapter: &Adapter) -> (quinn::Connection, JoinSet<()>) {
        let link = soon("a link", self.dialer.connect(adapter.address, *adapter.relay.peer_id())).await.unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(control(link.conn.open_bi().await.unwrap()));
        (link.conn, tasks)
    }

    /// Closes its first connection to the adapter.
    pub(crate) fn leave(&self) {
        self.adapter.close(quinn::VarInt::from_u32(9), b"the former process is gone");
    }

    /// A connection to a relay, with a control stream; what the relay asks on it is answered as told.
    pub(crate) async fn session(&self, relay: &Relay) -> (quinn::Connection, JoinSet<()>) {
        let (connection, send, receive) = self.dial(relay).await;
        let mut tasks = JoinSet::new();
        tasks.spawn(control((send, receive)));
        tasks.spawn(answer_all(connection.clone(), Arc::clone(&self.acts), Arc::clone(&self.asked)));
        (connection, tasks)
    }

    /// What a relay answers.
    pub(crate) async fn ask(&self, relay: &Relay, request: &Request) -> Vec<ReplyFrame> {
        let link = self.dialer.connect(relay.address, *relay.id.peer_id()).await.unwrap();
        let control = tokio::spawn(control(link.conn.open_bi().await.unwrap()));
        let frames = ask(&link.conn, request).await;
        control.abort();
        frames
    }

    /// A connection to a relay, with a control stream that is the test's.
    pub(crate) async fn dial(&self, relay: &Relay) -> (quinn::Connection, quinn::SendStream, quinn::RecvStream) {
        self.try_dial(relay).await.unwrap()
    }

    /// The same where the relay may close the connection at once; the error says why.
    pub(crate) async fn try_dial(
        &self,
        relay: &Relay,
    ) -> Result<(quinn::Connection, quinn::SendStream, quinn::RecvStream), quinn::ConnectionError> {
        let link = soon("a link", self.dialer.connect(relay.address, *relay.id.peer_id())).await.unwrap();
        let (send, receive) = link.conn.open_bi().await?;
        Ok((link.conn, send, receive))
    }

    /// Sends control frames to a relay and collects what it says until it has answered a Ping.
    pub(crate) async fn control(&self, relay: &Relay, frames: &[ControlFrame]) -> Vec<ControlFrame> {
        let link = self.dialer.connect(relay.address, *relay.id.peer_id()).await.unwrap();
        let (mut send, mut receive) = link.conn.open_bi().await.unwrap();
        for frame in frames {
            send.write_chunk(frame.encode().unwrap()).await.unwrap();
        }
        let mut decoder = ControlDecoder::default();
        let mut heard = Vec::new();
        while !heard.iter().any(|frame| matches!(frame, ControlFrame::Pong(_))) {
            decoder.push(receive.read_chunk(1 << 16, true).await.unwrap().unwrap().bytes);
            while let Some(frame) = decoder.next().unwrap() {
                heard.push(frame);
            }
        }
        heard
    }

    /// Sends the request so many times and reads nothing; it lasts as long as what comes back is kept.
    pub(crate) async fn ask_and_not_read(
        &self,
        relay: &Relay,
        request: &Request,
        times: usize,
    ) -> (quinn::Connection, JoinSet<()>, Vec<quinn::RecvStream>) {
        let link = self.dialer.connect(relay.address, *relay.id.peer_id()).await.unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(control(link.conn.open_bi().await.unwrap()));
        let mut deaf = Vec::new();
        for _ in 0..times {
            let (mut send, receive) = link.conn.open_bi().await.unwrap();
            send.write_chunk(request.encode().unwrap()).await.unwrap();
            send.finish().unwrap();
            deaf.push(receive);
        }
        (link.conn, tasks, deaf)
    }
}

/// Sends one request and collects the answer.
pub(crate) async fn ask(connection: &quinn::Connection, request: &Request) -> Vec<ReplyFrame> {
    let (mut send, mut receive) = connection.open_bi().await.unwrap();
    send.write_chunk(request.encode().unwrap()).await.unwrap();
    send.finish().unwrap();
    let mut decoder = FrameDecoder::new();
    let mut frames = Vec::new();
    while let Some(chunk) = receive.read_chunk(1 << 16, true).await.unwrap() {
        decoder.push(chunk.bytes);
        while let Some(frame) = decoder.next().unwrap() {
            if frame != ReplyFrame::Wait {
                frames.push(frame);
            }
        }
    }
    decoder.finish().unwrap();
    frames
}

/// Sends a request and what follows it on the same stream, and waits until all has arrived.
pub(crate) async fn tell(connection: &quinn::Connection, request: &Request, frames: Vec<ReplyFrame>) {
    let (mut send, _receive) = connection.open_bi().await.unwrap();
    send.write_chunk(request.encode().unwrap()).await.unwrap();
    for frame in frames {
        perform(Act::Frame(frame), &mut send).await.unwrap();
    }
    send.finish().unwrap();
    soon("all read", send.stopped()).await.unwrap();
}

/// Says Hello and listens until the other side goes.
pub(crate) async fn control((mut send, mut receive): (quinn::SendStream, quinn::RecvStream)) {
    let hello = Hello::new("liar");
    send.write_chunk(ControlFrame::Hello(hello).encode().unwrap()).await.unwrap();
    while let Ok(Some(_)) = receive.read_chunk(1 << 16, true).await {}
}

async fn connection_of(connection: quinn::Connection, acts: Arc<Mutex<Vec<Act>>>, asked: Arc<Mutex<Vec<Request>>>) {
    let Ok(first) = connection.accept_bi().await else { return };
    tokio::join!(control(first), answer_all(connection, acts, asked));
}

async fn answer_all(connection: quinn::Connection, acts: Arc<Mutex<Vec<Act>>>, asked: Arc<Mutex<Vec<Request>>>) {
    let mut streams = JoinSet::new();
    while let Ok((send, receive)) = connection.accept_bi().await {
        streams.spawn(answer(send, receive, Arc::clone(&acts), Arc::clone(&asked)));
    }
}

async fn answer(
    mut send: quinn::SendStream,
    mut receive: quinn::RecvStream,
    acts: Arc<Mutex<Vec<Act>>>,
    asked: Arc<Mutex<Vec<Request>>>,
) {
    let mut prefix = [0; 4];
    receive.read_exact(&mut prefix).await.unwrap();
    let mut frame = vec![0; frame_length(prefix, MAX_REQUEST).unwrap()];
    receive.read_exact(&mut frame).await.unwrap();
    asked.lock().unwrap().push(Request::decode(&frame).unwrap());
    let acts = acts.lock().unwrap().clone();
    for act in acts {
        // An asker that has had enough stops the stream.
        if perform(act, &mut send).await.is_err() {
            return;
        }
    }
    let _ = send.finish();
}

async fn perform(act: Act, send: &mut quinn::SendStream) -> Result<(), quinn::WriteError> {
    match act {
        Act::Frame(frame) => {
            send.write_chunk(frame.encode_header().unwrap()).await?;
            match frame.payload() {
                Some(payload) => send.write_chunk(payload.clone()).await,
                None => Ok(()),
            }
        }
        Act::Raw(bytes) => send.write_chunk(bytes).await,
        Act::Waits => loop {
            send.write_chunk(ReplyFrame::Wait.encode_header().unwrap()).await?;
            tokio::time::sleep(Duration::from_millis(100)).await;
        },
        Act::Again(frame) => loop {
            send.write_chunk(frame.encode_header().unwrap()).await?;
            tokio::time::sleep(Duration::from_millis(100)).await;
        },
        Act::Linger(time) => {
            for _ in 0..time.as_millis() / 100 {
                send.write_chunk(ReplyFrame::Wait.encode_header().unwrap()).await?;
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            Ok(())
        }
        Act::Flood => {
            let waits: Bytes = ReplyFrame::Wait.encode_header().unwrap().repeat(4096).into();
            loop {
                send.write_chunk(waits.clone()).await?;
            }
        }
        Act::Silence => std::future::pending().await,
        Act::Until(mut gate) => {
            // A gate that is gone opens nothing any more.
            if gate.wait_for(|open| *open).await.is_err() {
                std::future::pending::<()>().await;
            }
            Ok(())
        }
        Act::Reset => {
            let _ = send.reset(quinn::VarInt::from_u32(7));
            Ok(())
        }
    }
}
