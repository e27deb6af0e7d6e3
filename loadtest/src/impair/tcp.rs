//! TCP: each direction is a queue of chunks with the time at which they arrive. A half-close takes as long as the bytes
//! before it; a reset is passed on as a reset.
//!
//! A connection through a real link exists one round trip after it was asked for, but the system accepts the client's
//! at once. The round trip is therefore charged to the first bytes, as it would be to TCP on that link.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use bytes::{BufMut, Bytes, BytesMut};
use rand::rngs::Xoshiro256PlusPlus;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;

use super::counters::count;
use super::link::LinkModel;
use super::shared::{Shared, Way};
use super::timer::Timer;

/// Bytes under way per direction of a connection; the sender is held back beyond.
const WINDOW: usize = 8 << 20;
/// Chunks under way per direction of a connection.
const CHUNKS: usize = 8192;
/// Bytes read at a time.
const READ: usize = 64 << 10;

/// Accepts until the proxy is cancelled; owns the connections.
pub(super) async fn run(listener: TcpListener, shared: Arc<Shared>, timer: Timer) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = shared.cancel.cancelled() => break,
            Some(ended) = connections.join_next() => {
                if let Err(error) = ended {
                    tracing::error!(%error, "a connection ended early");
                }
            }
            accepted = listener.accept() => match accepted {
                Ok((client, _)) if connections.len() >= shared.config.max_flows => {
                    count(&shared.counters.refused);
                    reset(&client);
                }
                Ok((client, _)) => {
                    let index = shared.counters.connections.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    connections.spawn(carry(client, index, Arc::clone(&shared), timer.clone()));
                }
                Err(error) => tracing::debug!(%error, "a connection was not accepted"),
            }
        }
    }
    while connections.join_next().await.is_some() {}
}

async fn carry(mut client: TcpStream, index: u64, shared: Arc<Shared>, timer: Timer) {
    let accepted = Instant::now();
    let work = async {
        if shared.is_cut() {
            shared.passes().await;
        }
        let mut server = match TcpStream::connect(shared.config.to).await {
            Ok(server) => server,
            Err(error) => {
                tracing::debug!(%error, "the server is not reached");
                count(&shared.counters.refused);
                reset(&client);
                return;
            }
        };
        let up = shared.config.up.delay();
        let established = accepted + up + shared.config.down.delay();
        let carried = async {
            client.set_nodelay(true)?;
            server.set_nodelay(true)?;
            let (client_read, client_write) = client.split();
            let (server_read, server_write) = server.split();
            let up = Pump { way: Way::Up, model: shared.model(Way::Up, index), not_before: established };
            // The server hears of the connection when the client's first bytes can have reached it.
            let open = established + shared.config.up.delay();
            let down = Pump { way: Way::Down, model: shared.model(Way::Down, index), not_before: open };
            tokio::try_join!(
                up.run(client_read, server_write, &shared, &timer),
                down.run(server_read, client_write, &shared, &timer)
            )
        }
        .await;
        if let Err::<_, io::Error>(error) = carried {
            tracing::debug!(%error, "connection broken");
            reset(&client);
            reset(&server);
        }
    };
    shared.cancel.run_until_cancelled(work).await;
}

/// Makes the end of the stream, which follows, a reset.
fn reset(stream: &TcpStream) {
    if let Err(error) = stream.set_zero_linger() {
        tracing::debug!(%error, "no reset");
    }
}

/// One direction of a connection.
struct Pump {
    way: Way,
    model: LinkModel<Xoshiro256PlusPlus>,
    not_before: Instant,
}

/// Bytes, or at the end none, that arrive at a time.
struct Chunk {
    at: Instant,
    data: Option<(Bytes, OwnedSemaphorePermit)>,
}

impl Pump {
    async fn run(
        mut self,
        mut from: ReadHalf<'_>,
        mut to: WriteHalf<'_>,
        shared: &Shared,
        timer: &Timer,
    ) -> io::Result<()> {
        let (queue, mut arriving) = mpsc::channel::<Chunk>(CHUNKS);
        let window = Arc::new(Semaphore::new(WINDOW));
        let gone = || io::Error::from(io::ErrorKind::BrokenPipe);
        let read = async {
            let queue = queue;
            let mut buffer = BytesMut::new();
            loop {
                buffer.reserve(READ);
                let length = from.read_buf(&mut (&mut buffer).limit(READ)).await?;
                self.model.set(shared.link(self.way));
                let at = self.model.stream(Instant::now().max(self.not_before), length);
                if length == 0 {
                    return queue.send(Chunk { at, data: None }).await.map_err(|_| gone());
                }
                let permits = u32::try_from(length).unwrap_or(u32::MAX);
                let room = Arc::clone(&window).acquire_many_owned(permits).await.map_err(|_| gone())?;
                queue.send(Chunk { at, data: Some((buffer.split().freeze(), room)) }).await.map_err(|_| gone())?;
            }
        };
        let write = async {
            while let Some(chunk) = arriving.recv().await {
                timer.wait(chunk.at).await;
                if shared.is_cut() {
                    shared.passes().await;
                }
                let Some((data, _room)) = chunk.data else {
                    return to.shutdown().await;
                };
                to.write_all(&data).await?;
                count(&shared.counters(self.way).forwarded);
            }
            Ok(())
        };
        tokio::try_join!(read, write).map(|((), ())| ())
    }
}
