//! quinn behind the `h3` crate's transport traits. Written here rather than taken from `h3-quinn` for four reasons:
//! the client's STOP_SENDING is visible while an answer is pending; body chunks reach quinn as `Bytes` without a copy;
//! frames that `h3` would buffer without limit are cut off by a budget; and a send stream that is dropped unfinished
//! is reset, where quinn alone would end it cleanly.
//!
//! Invariant: no stream is read past its budget.

use super::{
    code::code,
    handle::{Budget, Handles, Outgoing, StreamHandle},
};
use bytes::{Buf, Bytes};
use futures_util::stream::{BoxStream, Stream, StreamExt, unfold};
use h3::{
    error::Code,
    quic::{self, ConnectionErrorIncoming, StreamErrorIncoming, StreamId, WriteBuf},
};
use quinn::{ConnectionError, ReadError, VarInt, WriteError};
use std::{
    future::Future,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
};

/// What all unidirectional streams of a connection may bring, ...
const CONTROL_BUDGET: u64 = 256 * 1024;
/// ... and what each request adds for its PRIORITY_UPDATE frames and QPACK instructions.
const CONTROL_BUDGET_PER_REQUEST: u64 = 512;
/// Frame headers and reserved frames around a request's head.
const HEAD_SLACK: u64 = 4 * 1024;

type Pair = (quinn::SendStream, quinn::RecvStream);
type Accepted<T> = BoxStream<'static, Result<T, ConnectionError>>;

/// One QUIC connection for `h3`.
pub(super) struct Port {
    opener: Opener,
    incoming_bi: Accepted<Pair>,
    incoming_uni: Accepted<quinn::RecvStream>,
    head_budget: u64,
    control: Budget,
    handles: Handles,
}

impl Port {
    /// Wraps a connection whose request heads may have `max_header_bytes`.
    pub(super) fn new(quic: quinn::Connection, max_header_bytes: u32) -> (Self, Handles) {
        let handles = Handles::default();
        let port = Self {
            opener: Opener::new(quic.clone()),
            incoming_bi: unfold(quic.clone(), |quic| async { Some((quic.accept_bi().await, quic)) }).boxed(),
            incoming_uni: unfold(quic, |quic| async { Some((quic.accept_uni().await, quic)) }).boxed(),
            // A head a little over the bound is answered with 431; one far over it ends the stream.
            head_budget: u64::from(max_header_bytes) * 2 + HEAD_SLACK,
            control: Budget::new(CONTROL_BUDGET),
            handles: handles.clone(),
        };
        (port, handles)
    }
}

impl quic::Connection<Bytes> for Port {
    type RecvStream = RecvHalf;
    type OpenStreams = Opener;

    fn poll_accept_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<RecvHalf, ConnectionErrorIncoming>> {
        let recv = ready!(accepted(&mut self.incoming_uni, cx)).map_err(connection_error)?;
        Poll::Ready(Ok(RecvHalf::new(recv, self.control.clone())))
    }

    fn poll_accept_bidi(&mut self, cx: &mut Context<'_>) -> Poll<Result<BothHalves, ConnectionErrorIncoming>> {
        let (send, recv) = ready!(accepted(&mut self.incoming_bi, cx)).map_err(connection_error)?;
        self.control.add(CONTROL_BUDGET_PER_REQUEST, CONTROL_BUDGET);
        let stopped = send.stopped();
        let handle = StreamHandle {
            stopped: Box::pin(async move {
                let _ = stopped.await;
            }),
            outgoing: Outgoing::default(),
            budget: Budget::new(self.head_budget),
        };
        let both = BothHalves {
            send: SendHalf::new(send, handle.outgoing.clone()),
            recv: RecvHalf::new(recv, handle.budget.clone()),
        };
        self.handles.put(handle);
        Poll::Ready(Ok(both))
    }

    fn opener(&self) -> Opener {
        self.opener.clone()
    }
}

impl quic::OpenStreams<Bytes> for Port {
    type BidiStream = BothHalves;
    type SendStream = SendHalf;

    fn poll_open_bidi(&mut self, cx: &mut Context<'_>) -> Poll<Result<BothHalves, StreamErrorIncoming>> {
        self.opener.poll_open_bidi(cx)
    }

    fn poll_open_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<SendHalf, StreamErrorIncoming>> {
        self.opener.poll_open_send(cx)
    }

    fn close(&mut self, code: Code, reason: &[u8]) {
        self.opener.close(code, reason);
    }
}

/// Opens streams of our own (control and QPACK).
pub(super) struct Opener {
    quic: quinn::Connection,
    bi: Accepted<Pair>,
    uni: Accepted<quinn::SendStream>,
}

impl Opener {
    fn new(quic: quinn::Connection) -> Self {
        Self {
            bi: unfold(quic.clone(), |quic| async { Some((quic.open_bi().await, quic)) }).boxed(),
            uni: unfold(quic.clone(), |quic| async { Some((quic.open_uni().await, quic)) }).boxed(),
            quic,
        }
    }
}

impl Clone for Opener {
    fn clone(&self) -> Self {
        Self::new(self.quic.clone())
    }
}

impl quic::OpenStreams<Bytes> for Opener {
    type BidiStream = BothHalves;
    type SendStream = SendHalf;

    fn poll_open_bidi(&mut self, cx: &mut Context<'_>) -> Poll<Result<BothHalves, StreamErrorIncoming>> {
        let (send, recv) = ready!(accepted(&mut self.bi, cx)).map_err(lost)?;
        Poll::Ready(Ok(BothHalves {
            send: SendHalf::new(send, Outgoing::default()),
            recv: RecvHalf::new(recv, Budget::new(CONTROL_BUDGET)),
        }))
    }

    fn poll_open_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<SendHalf, StreamErrorIncoming>> {
        let send = ready!(accepted(&mut self.uni, cx)).map_err(lost)?;
        Poll::Ready(Ok(SendHalf::new(send, Outgoing::default())))
    }

    fn close(&mut self, reason_code: Code, reason: &[u8]) {
        self.quic.close(code(reason_code), reason);
    }
}

/// A request stream before it is split.
pub(super) struct BothHalves {
    send: SendHalf,
    recv: RecvHalf,
}

impl quic::BidiStream<Bytes> for BothHalves {
    type SendStream = SendHalf;
    type RecvStream = RecvHalf;

    fn split(self) -> (SendHalf, RecvHalf) {
        (self.send, self.recv)
    }
}

impl quic::RecvStream for BothHalves {
    type Buf = Bytes;

    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, StreamErrorIncoming>> {
        self.recv.poll_data(cx)
    }

    fn stop_sending(&mut self, error_code: u64) {
        self.recv.stop_sending(error_code);
    }

    fn recv_id(&self) -> StreamId {
        self.recv.recv_id()
    }
}

impl quic::SendStream<Bytes> for BothHalves {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        self.send.poll_ready(cx)
    }

    fn send_data<T: Into<WriteBuf<Bytes>>>(&mut self, data: T) -> Result<(), StreamErrorIncoming> {
        self.send.send_data(data)
    }

    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        self.send.poll_finish(cx)
    }

    fn reset(&mut self, reset_code: u64) {
        self.send.reset(reset_code);
    }

    fn send_id(&self) -> StreamId {
        self.send.send_id()
    }
}

/// The receiving half.
pub(super) struct RecvHalf {
    stream: quinn::RecvStream,
    budget: Budget,
    ended: bool,
}

impl RecvHalf {
    fn new(stream: quinn::RecvStream, budget: Budget) -> Self {
        Self { stream, budget, ended: false }
    }
}

impl quic::RecvStream for RecvHalf {
    type Buf = Bytes;

    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, StreamErrorIncoming>> {
        // The read holds no state of its own, so a new one at each poll loses nothing.
        let chunk = ready!(pin!(self.stream.read_chunk(usize::MAX, true)).poll(cx)).map_err(read_error)?;
        let Some(chunk) = chunk else {
            self.ended = true;
            return Poll::Ready(Ok(None));
        };
        if !self.budget.take(chunk.bytes.len() as u64) {
            let _ = self.stream.stop(code(Code::H3_EXCESSIVE_LOAD));
            return Poll::Ready(Err(StreamErrorIncoming::StreamTerminated {
                error_code: Code::H3_EXCESSIVE_LOAD.value(),
            }));
        }
        Poll::Ready(Ok(Some(chunk.bytes)))
    }

    fn stop_sending(&mut self, error_code: u64) {
        // Stopping a stream that has ended already is no fault.
        let _ = self.stream.stop(VarInt::from_u64(error_code).unwrap_or(VarInt::MAX));
    }

    fn recv_id(&self) -> StreamId {
        stream_id(self.stream.id())
    }
}

impl Drop for RecvHalf {
    fn drop(&mut self) {
        if !self.ended {
            // RFC 9114 section 4.1: a server that needs no more of a request says so with this code; quinn alone would
            // send 0, which is none of HTTP/3's.
            let _ = self.stream.stop(code(Code::H3_NO_ERROR));
        }
    }
}

/// The sending half.
pub(super) struct SendHalf {
    stream: quinn::SendStream,
    writing: Option<WriteBuf<Bytes>>,
    payload: Option<Bytes>,
    outgoing: Outgoing,
    ended: bool,
}

impl SendHalf {
    fn new(stream: quinn::SendStream, outgoing: Outgoing) -> Self {
        Self { stream, writing: None, payload: None, outgoing, ended: false }
    }
}

impl quic::SendStream<Bytes> for SendHalf {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        while let Some(data) = self.writing.as_mut().filter(|data| data.has_remaining()) {
            let chunk = data.chunk();
            let shared = self.payload.as_ref().filter(|payload| payload.as_ptr_range().contains(&chunk.as_ptr()));
            let written = if let Some(payload) = shared {
                let mut whole = [payload.slice_ref(chunk)];
                ready!(pin!(self.stream.write_chunks(&mut whole)).poll(cx)).map(|written| written.bytes)
            } else {
                ready!(Pin::new(&mut self.stream).poll_write(cx, chunk))
            };
            data.advance(written.map_err(write_error)?);
        }
        self.writing = None;
        self.payload = None;
        Poll::Ready(Ok(()))
    }

    fn send_data<T: Into<WriteBuf<Bytes>>>(&mut self, data: T) -> Result<(), StreamErrorIncoming> {
        if self.writing.is_some() {
            return Err(StreamErrorIncoming::ConnectionErrorIncoming {
                connection_error: ConnectionErrorIncoming::InternalError("a frame is still being sent".into()),
            });
        }
        if let Some(urgency) = self.outgoing.take_urgency() {
            // Streams of our own (control, QPACK) stand at 0, before every response. A stream that is gone needs none.
            let _ = self.stream.set_priority(-1 - i32::from(urgency));
        }
        self.writing = Some(data.into());
        self.payload = self.outgoing.take();
        Ok(())
    }

    fn poll_finish(&mut self, _: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        self.ended = true;
        Poll::Ready(self.stream.finish().map_err(|error| StreamErrorIncoming::Unknown(Box::new(error))))
    }

    fn reset(&mut self, reset_code: u64) {
        self.ended = true;
        // Resetting a stream that has ended already is no fault.
        let _ = self.stream.reset(VarInt::from_u64(reset_code).unwrap_or(VarInt::MAX));
    }

    fn send_id(&self) -> StreamId {
        stream_id(self.stream.id())
    }
}

impl Drop for SendHalf {
    fn drop(&mut self) {
        if !self.ended {
            let _ = self.stream.reset(code(Code::H3_REQUEST_CANCELLED));
        }
    }
}

fn accepted<T>(stream: &mut Accepted<T>, cx: &mut Context<'_>) -> Poll<Result<T, ConnectionError>> {
    Pin::new(stream).poll_next(cx).map(|next| next.expect("the stream repeats for ever"))
}

fn stream_id(id: quinn::StreamId) -> StreamId {
    StreamId::try_from(u64::from(id)).expect("QUIC stream ids are below 2^62")
}

fn connection_error(error: ConnectionError) -> ConnectionErrorIncoming {
    match error {
        ConnectionError::ApplicationClosed(close) => {
            ConnectionErrorIncoming::ApplicationClose { error_code: close.error_code.into() }
        }
        ConnectionError::TimedOut => ConnectionErrorIncoming::Timeout,
        error => ConnectionErrorIncoming::Undefined(Arc::new(error)),
    }
}

fn lost(error: ConnectionError) -> StreamErrorIncoming {
    StreamErrorIncoming::ConnectionErrorIncoming { connection_error: connection_error(error) }
}

fn read_error(error: ReadError) -> StreamErrorIncoming {
    match error {
        ReadError::Reset(code) => StreamErrorIncoming::StreamTerminated { error_code: code.into_inner() },
        ReadError::ConnectionLost(error) => lost(error),
        error => StreamErrorIncoming::Unknown(Box::new(error)),
    }
}

fn write_error(error: WriteError) -> StreamErrorIncoming {
    match error {
        WriteError::Stopped(code) => StreamErrorIncoming::StreamTerminated { error_code: code.into_inner() },
        WriteError::ConnectionLost(error) => lost(error),
        error => StreamErrorIncoming::Unknown(Box::new(error)),
    }
}
