//! Raw QUIC between two of the node's sockets: what any transfer costs at least.

use super::STREAMS;
use bytes::Bytes;
use libp2p::identity::Keypair;
use quinn::{RecvStream, SendStream};
use std::sync::Arc;
use tokio::task::JoinSet;
use weir_relay::quic::{BulkConnection, Parts, QuicConfig, Socket};

/// Chunks read at once.
const READ: usize = 64;

pub(super) struct Pair {
    connection: Arc<quinn::Connection>,
    distinct: usize,
    _sockets: [Socket; 2],
    _serving: JoinSet<()>,
}

fn socket() -> anyhow::Result<(Parts, Keypair)> {
    let identity = Keypair::generate_ed25519();
    Ok((Socket::bind(QuicConfig::new("127.0.0.1:0".parse()?, identity.clone()))?, identity))
}

impl Pair {
    pub(super) async fn open(bodies: &[Bytes]) -> anyhow::Result<Self> {
        let (server, identity) = socket()?;
        let (client, _) = socket()?;
        let address = server.socket.local_addr();
        let mut inbound = server.inbound;
        let owned: Arc<[Bytes]> = bodies.into();
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            while let Some(link) = inbound.recv().await {
                serve(link, owned.clone()).await;
            }
        });
        let link = client.dialer.connect(address, identity.public().to_peer_id()).await?;
        Ok(Self {
            connection: Arc::new(link.conn),
            distinct: bodies.len(),
            _sockets: [server.socket, client.socket],
            _serving: serving,
        })
    }

    /// Moves so many bodies; returns the bytes that arrived.
    pub(super) async fn transfer(&self, objects: usize) -> anyhow::Result<u64> {
        let mut streams = JoinSet::new();
        for stream in 0..STREAMS {
            let (connection, distinct) = (self.connection.clone(), self.distinct);
            streams.spawn(async move {
                let mut moved = 0;
                for object in (stream..objects).step_by(STREAMS) {
                    moved += ask(&connection, (object % distinct) as u8).await?;
                }
                Ok::<_, anyhow::Error>(moved)
            });
        }
        let mut moved = 0;
        while let Some(stream) = streams.join_next().await {
            moved += stream??;
        }
        Ok(moved)
    }
}

async fn ask(connection: &quinn::Connection, which: u8) -> anyhow::Result<u64> {
    let (mut send, mut receive) = connection.open_bi().await?;
    send.write_all(&[which]).await?;
    send.finish()?;
    let mut moved = 0;
    let mut chunks = vec![Bytes::new(); READ];
    while let Some(count) = receive.read_chunks(&mut chunks).await? {
        moved += chunks[..count].iter().map(|chunk| chunk.len() as u64).sum::<u64>();
    }
    Ok(moved)
}

async fn serve(link: BulkConnection, bodies: Arc<[Bytes]>) {
    let mut requests = JoinSet::new();
    while let Ok(streams) = link.conn.accept_bi().await {
        requests.spawn(answer(streams, bodies.clone()));
        while requests.try_join_next().is_some() {}
    }
}

async fn answer((mut send, mut receive): (SendStream, RecvStream), bodies: Arc<[Bytes]>) -> anyhow::Result<()> {
    let mut which = [0];
    receive.read_exact(&mut which).await?;
    send.write_all_chunks(&mut [bodies[usize::from(which[0])].clone()]).await?;
    send.finish()?;
    Ok(())
}
