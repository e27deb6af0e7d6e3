//! A body that one writer appends to while any number of readers follow behind it. Invariant: readers see exactly
//! the bytes pushed, in order, and an end or an error exactly once; a slow reader never slows the writer of a shared
//! body, while a private body (one reader, not stored) holds at most its window.

use super::{Piece, Tree, VerifiedChunk, tree::PAIR};
use bytes::Bytes;
use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

/// How a body ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// Every byte is there.
    Whole,
    /// No source could finish it; the text says why.
    Failed(Arc<str>),
}

struct State {
    pieces: VecDeque<(u64, Piece)>,
    length: u64,
    ended: Option<Ended>,
    tree: Option<Arc<Tree>>,
    readers: HashMap<u64, Slot>,
    next_reader: u64,
    /// Private bodies: somebody has begun to read, so when the last reader leaves nobody wants the rest.
    was_read: bool,
    /// Private bodies: everything before this offset was read and is forgotten.
    forgotten: u64,
    /// Private bodies: bytes that may wait unread, and who waits for room.
    window: Option<u64>,
    writer: Option<Waker>,
}

/// One reader, or somebody who only waits for bytes to come.
struct Slot {
    waker: Option<Waker>,
    reads: bool,
    at: u64,
}

/// The shared body. Cheap to clone.
#[derive(Clone)]
pub struct Growing(Arc<Mutex<State>>);

/// A piece as another relay is sent it.
#[derive(Debug, Clone)]
pub struct PieceRef {
    /// Absolute offset of the piece's first byte.
    pub offset: u64,
    /// The bytes and their signature.
    pub piece: Piece,
}

impl Growing {
    /// An empty shared body; it keeps everything pushed.
    pub fn shared() -> Self {
        Self::with_window(None)
    }

    /// An empty private body for one reader; it forgets what was read, and [`Growing::room`] waits while `window`
    /// bytes are unread.
    pub fn private(window: u64) -> Self {
        Self::with_window(Some(window))
    }

    /// A body that is all there.
    pub fn whole(bytes: Bytes, tree: Option<Tree>) -> Self {
        let body = Self::shared();
        {
            let mut state = body.lock();
            state.length = bytes.len() as u64;
            if !bytes.is_empty() {
                state.pieces.push_back((0, Piece { bytes, signature: None }));
            }
            state.tree = tree.map(Arc::new);
            state.ended = Some(Ended::Whole);
        }
        body
    }

    fn with_window(window: Option<u64>) -> Self {
        Self(Arc::new(Mutex::new(State {
            pieces: VecDeque::new(),
            length: 0,
            ended: None,
            tree: None,
            readers: HashMap::new(),
            next_reader: 0,
            was_read: false,
            forgotten: 0,
            window,
            writer: None,
        })))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic while the lock is held leaves only plain data behind, each field valid by itself.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends a chunk. Bytes that are already there (a resumed transfer starts at a group's or chunk's start) are
    /// skipped; a gap is refused. Returns the body's length now, or `None` when the chunk does not join on or the
    /// body has ended.
    pub fn push(&self, chunk: VerifiedChunk) -> Option<u64> {
        let mut state = self.lock();
        if state.ended.is_some() || chunk.offset > state.length {
            return None;
        }
        let known = (state.length - chunk.offset).min(chunk.piece.bytes.len() as u64);
        let piece = match known {
            0 => chunk.piece,
            // The signature covers the whole chunk, so a cut piece loses it.
            _ => Piece { bytes: chunk.piece.bytes.slice(known as usize..), signature: None },
        };
        if !piece.bytes.is_empty() {
            let offset = state.length;
            state.length += piece.bytes.len() as u64;
            state.pieces.push_back((offset, piece));
            state.forget();
            state.wake_readers();
        }
        Some(state.length)
    }

    /// Remembers a verified inner node of the tree, which must have been set by [`Growing::set_tree`].
    pub fn learn(&self, node: bao_tree::TreeNode, pair: [u8; 64]) {
        if let Some(tree) = &mut self.lock().tree {
            Arc::make_mut(tree).learn(node, pair);
        }
    }

    /// Sets what is known of the body's tree.
    pub fn set_tree(&self, tree: Tree) {
        self.lock().tree = Some(Arc::new(tree));
    }

    /// What is known of the body's tree.
    pub fn tree(&self) -> Option<Arc<Tree>> {
        self.lock().tree.clone()
    }

    /// The inner node's children, when known.
    pub fn parent(&self, node: bao_tree::TreeNode) -> Option<[u8; 64]> {
        self.lock().tree.as_ref().and_then(|tree| tree.parent(node))
    }

    /// The children's hashes of several inner nodes, one pair of 32 bytes after another, when all of them are known.
    pub fn parents(&self, nodes: &[bao_tree::TreeNode]) -> Option<Bytes> {
        if nodes.is_empty() {
            return Some(Bytes::new());
        }
        let state = self.lock();
        let tree = state.tree.as_ref()?;
        let mut pairs = Vec::with_capacity(nodes.len() * PAIR);
        for node in nodes {
            pairs.extend_from_slice(&tree.parent(*node)?);
        }
        Some(pairs.into())
    }

    /// Ends the body; only the first end counts.
    pub fn end(&self, how: Ended) {
        let mut state = self.lock();
        if state.ended.is_none() {
            state.ended = Some(how);
            state.wake_readers();
        }
    }

    /// Whether and how the body has ended.
    pub fn ended(&self) -> Option<Ended> {
        self.lock().ended.clone()
    }

    /// Bytes there so far.
    pub fn length(&self) -> u64 {
        self.lock().length
    }

    /// All bytes of a whole body as its pieces, without joining them. `None` while it grows or when it failed.
    pub fn pieces(&self) -> Option<Vec<Bytes>> {
        let state = self.lock();
        (state.ended == Some(Ended::Whole) && state.window.is_none())
            .then(|| state.pieces.iter().map(|(_, piece)| piece.bytes.clone()).collect())
    }

    /// All bytes of a whole body as one buffer; copies unless it is one piece.
    pub fn joined(&self) -> Option<Bytes> {
        let pieces = self.pieces()?;
        Some(match pieces.len() {
            0 => Bytes::new(),
            1 => pieces[0].clone(),
            _ => pieces.concat().into(),
        })
    }

    /// The bytes from `offset` on that lie in one piece, at most `length` of them.
    pub fn slice(&self, offset: u64, length: usize) -> Option<Bytes> {
        let state = self.lock();
        let piece = state.piece_at(offset)?;
        let start = (offset - piece.0) as usize;
        Some(piece.1.bytes.slice(start..(start + length).min(piece.1.bytes.len())))
    }

    /// The whole piece that holds `offset`, as it came.
    pub fn piece(&self, offset: u64) -> Option<PieceRef> {
        self.lock().piece_at(offset).map(|(offset, piece)| PieceRef { offset: *offset, piece: piece.clone() })
    }

    /// Waits until more than `length` bytes are there or the body has ended.
    pub async fn beyond(&self, length: u64) -> Option<Ended> {
        let mut reader = self.attach(length, None, false);
        std::future::poll_fn(|cx| reader.poll_there(cx)).await
    }

    /// Waits until a private body has room again; at once for a shared one. False when its reader is gone, so that
    /// nobody wants the rest.
    pub async fn room(&self) -> bool {
        std::future::poll_fn(|cx| {
            let mut state = self.lock();
            let Some(window) = state.window else { return Poll::Ready(true) };
            if state.was_read && !state.readers.values().any(|slot| slot.reads) {
                return Poll::Ready(false);
            }
            let unread: u64 = state.pieces.iter().map(|(_, piece)| piece.bytes.len() as u64).sum();
            if unread < window {
                return Poll::Ready(true);
            }
            state.writer = Some(cx.waker().clone());
            Poll::Pending
        })
        .await
    }

    /// True while somebody reads.
    pub fn has_readers(&self) -> bool {
        self.lock().readers.values().any(|slot| slot.reads)
    }

    /// A reader from `offset` up to `end` (exclusive; `None` is the body's end).
    pub fn reader(&self, offset: u64, end: Option<u64>) -> Reader {
        self.attach(offset, end, true)
    }

    fn attach(&self, offset: u64, end: Option<u64>, reads: bool) -> Reader {
        let mut state = self.lock();
        let id = state.next_reader;
        state.next_reader += 1;
        state.was_read |= reads;
        state.readers.insert(id, Slot { waker: None, reads, at: offset });
        state.forget();
        drop(state);
        Reader { body: self.clone(), id, at: offset, end }
    }

    /// Two bodies are the same object.
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl State {
    fn piece_at(&self, offset: u64) -> Option<&(u64, Piece)> {
        let after = self.pieces.partition_point(|(start, _)| *start <= offset);
        let found = self.pieces.get(after.checked_sub(1)?)?;
        (offset < found.0 + found.1.bytes.len() as u64).then_some(found)
    }

    fn wake_readers(&mut self) {
        for slot in self.readers.values_mut() {
            if let Some(waker) = slot.waker.take() {
                waker.wake();
            }
        }
    }

    /// Drops what every reader of a private body has behind it; a range that begins late waits for nothing before it.
    fn forget(&mut self) {
        let wanted = self.readers.values().filter(|slot| slot.reads).map(|slot| slot.at).min();
        let (Some(_), Some(wanted)) = (self.window, wanted) else { return };
        while let Some((start, piece)) = self.pieces.front()
            && start + piece.bytes.len() as u64 <= wanted
        {
            self.forgotten = start + piece.bytes.len() as u64;
            self.pieces.pop_front();
        }
        if let Some(writer) = self.writer.take() {
            writer.wake();
        }
    }

    fn wait(&mut self, id: u64, cx: &Context<'_>) {
        if let Some(slot) = self.readers.get_mut(&id) {
            slot.waker = Some(cx.waker().clone());
        }
    }
}

/// Reads behind the writer.
pub struct Reader {
    body: Growing,
    id: u64,
    at: u64,
    end: Option<u64>,
}

impl Reader {
    /// The next bytes, `None` at the end, an error text when the body failed.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Arc<str>>>> {
        if self.end.is_some_and(|end| self.at >= end) {
            return Poll::Ready(None);
        }
        self.poll_found(cx).map(|found| {
            found.map(|found| {
                found.map(|PieceRef { offset, piece }| {
                    let mut bytes = piece.bytes.slice((self.at - offset) as usize..);
                    if let Some(end) = self.end {
                        bytes.truncate((end - self.at).min(bytes.len() as u64) as usize);
                    }
                    self.advance(bytes.len() as u64);
                    bytes
                })
            })
        })
    }

    /// The whole piece that holds the reader's position, with the signature it came under; the position moves behind
    /// it. `None` at the end, an error text when the body failed.
    pub fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<PieceRef, Arc<str>>>> {
        self.poll_found(cx).map(|found| {
            found.map(|found| {
                found.inspect(|PieceRef { offset, piece }| {
                    self.advance(offset + piece.bytes.len() as u64 - self.at);
                })
            })
        })
    }

    fn poll_found(&self, cx: &mut Context<'_>) -> Poll<Option<Result<PieceRef, Arc<str>>>> {
        let mut state = self.body.lock();
        if let Some((offset, piece)) = state.piece_at(self.at) {
            return Poll::Ready(Some(Ok(PieceRef { offset: *offset, piece: piece.clone() })));
        }
        if self.at < state.forgotten {
            return Poll::Ready(Some(Err("its beginning was for another reader and is gone".into())));
        }
        match &state.ended {
            Some(Ended::Whole) => Poll::Ready(None),
            Some(Ended::Failed(why)) => Poll::Ready(Some(Err(why.clone()))),
            None => {
                state.wait(self.id, cx);
                Poll::Pending
            }
        }
    }

    fn advance(&mut self, bytes: u64) {
        self.at += bytes;
        let mut state = self.body.lock();
        if state.window.is_some() {
            if let Some(slot) = state.readers.get_mut(&self.id) {
                slot.at = self.at;
            }
            state.forget();
        }
    }

    fn poll_there(&mut self, cx: &mut Context<'_>) -> Poll<Option<Ended>> {
        let mut state = self.body.lock();
        if state.length > self.at || state.ended.is_some() {
            return Poll::Ready(state.ended.clone());
        }
        state.wait(self.id, cx);
        Poll::Pending
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut state = self.body.lock();
        state.readers.remove(&self.id);
        state.forget();
        if let Some(writer) = state.writer.take() {
            writer.wake();
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use std::future::poll_fn;

    fn chunk(offset: u64, text: &'static str) -> VerifiedChunk {
        VerifiedChunk::trusted(offset, Bytes::from_static(text.as_bytes()))
    }

    async fn read_all(mut reader: Reader) -> Result<Vec<u8>, Arc<str>> {
        let mut out = Vec::new();
        while let Some(bytes) = poll_fn(|cx| reader.poll_next(cx)).await {
            out.extend_from_slice(&bytes?);
        }
        Ok(out)
    }

    #[tokio::test]
    async fn many_readers_follow_one_writer() {
        let body = Growing::shared();
        body.push(chunk(0, "ab")).unwrap();
        let readers: Vec<_> = (0..50).map(|at| tokio::spawn(read_all(body.reader(at % 3, None)))).collect();
        for (offset, text) in [(2, "cd"), (4, "efg")] {
            tokio::task::yield_now().await;
            assert_eq!(body.push(chunk(offset, text)), Some(offset + text.len() as u64));
        }
        body.end(Ended::Whole);
        for (at, reader) in readers.into_iter().enumerate() {
            assert_eq!(reader.await.unwrap().unwrap(), b"abcdefg"[at % 3..]);
        }
    }

    #[tokio::test]
    async fn overlap_is_skipped_and_a_gap_refused() {
        let body = Growing::shared();
        body.push(chunk(0, "abcd")).unwrap();
        assert_eq!(body.push(chunk(2, "cdef")), Some(6));
        assert_eq!(body.push(chunk(0, "abc")), Some(6));
        assert_eq!(body.push(chunk(7, "x")), None);
        body.end(Ended::Whole);
        assert_eq!(body.push(chunk(6, "late")), None);
        assert_eq!(read_all(body.reader(1, Some(5))).await.unwrap(), b"bcde");
    }

    #[tokio::test]
    async fn a_failed_body_gives_its_bytes_and_then_the_error() {
        let body = Growing::shared();
        body.push(chunk(0, "ab")).unwrap();
        body.end(Ended::Failed("gone".into()));
        body.end(Ended::Whole);
        assert_eq!(read_all(body.reader(0, None)).await.unwrap_err().as_ref(), "gone");
    }

    #[tokio::test]
    async fn a_private_body_holds_its_window_and_tells_when_nobody_reads() {
        let body = Growing::private(4);
        let mut reader = body.reader(0, None);
        body.push(chunk(0, "abcd")).unwrap();
        let waiting = tokio::spawn({
            let body = body.clone();
            async move { body.room().await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        poll_fn(|cx| reader.poll_next(cx)).await.unwrap().unwrap();
        assert!(waiting.await.unwrap());
        drop(reader);
        assert!(!body.room().await);
    }

    #[tokio::test]
    async fn a_late_range_of_a_private_body_waits_for_nothing_before_it() {
        let body = Growing::private(4);
        let mut reader = body.reader(9, Some(11));
        for (offset, text) in [(0, "abcd"), (4, "efgh"), (8, "ijkl")] {
            assert!(body.room().await);
            body.push(chunk(offset, text)).unwrap();
        }
        assert_eq!(poll_fn(|cx| reader.poll_next(cx)).await.unwrap().unwrap(), "jk");
        assert!(read_all(body.reader(0, None)).await.is_err(), "a missing beginning is an error, not a shorter body");
    }

    #[tokio::test]
    async fn waiting_for_bytes_is_not_reading() {
        let body = Growing::private(4);
        body.push(chunk(0, "ab")).unwrap();
        body.beyond(0).await;
        assert!(body.room().await, "whoever waited has yet to read");
    }
}
