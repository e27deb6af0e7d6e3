//! The round trip of a TCP connection, from its TLS handshake: the time from the server's flight to the client's answer
//! (RFC 8446 section 2), which is the way there and back and what the client's cryptography takes. The kernel knows better,
//! but says so only to code that is not memory-safe.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};

/// A socket that times answers until it is told to stop.
pub(super) struct Timed<S> {
    socket: S,
    /// When the last bytes were written that nothing has answered.
    asked: Option<Instant>,
    shortest: Option<Duration>,
    over: bool,
}

impl<S> Timed<S> {
    pub(super) fn new(socket: S) -> Self {
        Self { socket, asked: None, shortest: None, over: false }
    }

    /// The handshake is over: the shortest time that an answer took. What follows is timed no more, since a client thinks
    /// before it asks for something.
    pub(super) fn stop(&mut self) -> Option<Duration> {
        self.over = true;
        self.shortest
    }

    fn wrote(&mut self, polled: &Poll<io::Result<usize>>) {
        if !self.over && matches!(polled, Poll::Ready(Ok(1..))) {
            self.asked = Some(Instant::now());
        }
    }

    fn read(&mut self) {
        if let Some(asked) = self.asked.take().filter(|_| !self.over) {
            let took = asked.elapsed();
            self.shortest = Some(self.shortest.map_or(took, |shortest| shortest.min(took)));
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Timed<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.socket).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.read();
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Timed<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.socket).poll_write(cx, buf);
        self.wrote(&polled);
        polled
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.socket).poll_write_vectored(cx, bufs);
        self.wrote(&polled);
        polled
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    #[tokio::test(start_paused = true)]
    async fn the_shortest_answer_before_the_end_counts() {
        let (server, mut client) = duplex(64);
        let mut server = Timed::new(server);
        let mut byte = [0];
        client.write_all(b"hello").await.unwrap();
        server.read_exact(&mut [0; 5]).await.unwrap();
        assert_eq!(server.shortest, None, "nothing was asked");
        for (wait, shortest) in [(40, 40), (25, 25), (30, 25)] {
            server.write_all(b"flight").await.unwrap();
            tokio::time::advance(Duration::from_millis(wait)).await;
            client.write_all(b"!").await.unwrap();
            server.read_exact(&mut byte).await.unwrap();
            assert_eq!(server.shortest, Some(Duration::from_millis(shortest)));
        }
        server.write_all(b"ticket").await.unwrap();
        assert_eq!(server.stop(), Some(Duration::from_millis(25)));
        client.write_all(b"?").await.unwrap();
        server.read_exact(&mut byte).await.unwrap();
        assert_eq!(server.stop(), Some(Duration::from_millis(25)), "a request is no answer");
    }
}
