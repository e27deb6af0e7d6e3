//! A scripted HTTP/1.1 origin. Invariants: it answers each path as told and counts every request and every byte it
//! handed to the network; it ends when it is dropped.

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use hyper::{
    body::{Body, Frame, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use std::{
    collections::HashMap,
    convert::Infallible,
    io,
    net::SocketAddr,
    path::{Component, Path, PathBuf},
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
    task::{JoinHandle, JoinSet},
};
use url::Url;

/// Pieces that unpaced bodies are sent in.
const PIECE: usize = 64 * 1024;

/// How one path is answered.
#[derive(Debug, Clone)]
pub(crate) struct Script {
    status: u16,
    headers: Vec<(String, String)>,
    body: Bytes,
    delay: Duration,
    pace: Option<(usize, Duration)>,
    stall_at: Option<usize>,
    break_at: Option<usize>,
    chunked: bool,
    ranges: bool,
}

impl Script {
    /// 200 with this body.
    pub(crate) fn body(body: impl Into<Bytes>) -> Self {
        Self {
            status: 200,
            headers: Vec::new(),
            body: body.into(),
            delay: Duration::ZERO,
            pace: None,
            stall_at: None,
            break_at: None,
            chunked: false,
            ranges: false,
        }
    }

    /// A status without a body.
    pub(crate) fn status(status: u16) -> Self {
        Self { status, ..Self::body("") }
    }

    pub(crate) fn with_status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// A response field. With an `etag`, a matching If-None-Match is answered with 304.
    pub(crate) fn header(mut self, name: &str, value: impl ToString) -> Self {
        self.headers.push((name.to_owned(), value.to_string()));
        self
    }

    /// Waits so long before the head.
    pub(crate) fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Sends the body in pieces of so many bytes, one at once and each further one after a pause.
    pub(crate) fn trickle(mut self, bytes: usize, pause: Duration) -> Self {
        self.pace = Some((bytes, pause));
        self
    }

    /// Sends so many bytes of the body and then waits for [`Upstream::resume`].
    pub(crate) fn stall_at(mut self, bytes: usize) -> Self {
        self.stall_at = Some(bytes);
        self
    }

    /// Sends so many bytes of the body and then breaks the connection.
    pub(crate) fn break_at(mut self, bytes: usize) -> Self {
        self.break_at = Some(bytes);
        self
    }

    /// Does not announce the length.
    pub(crate) fn chunked(mut self) -> Self {
        self.chunked = true;
        self
    }

    /// Answers single byte ranges with 206.
    pub(crate) fn ranges(mut self) -> Self {
        self.ranges = true;
        self
    }
}

/// A request that came.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) method: Method,
    /// Path and query.
    pub(crate) target: String,
    pub(crate) headers: HeaderMap,
}

#[derive(Default)]
struct State {
    scripts: Mutex<HashMap<String, Script>>,
    folder: Option<PathBuf>,
    seen: Mutex<Vec<Seen>>,
    sent: Mutex<HashMap<String, u64>>,
}

/// The origin, running.
pub(crate) struct Upstream {
    address: SocketAddr,
    state: Arc<State>,
    resumed: watch::Sender<u64>,
    task: JoinHandle<()>,
}

impl Upstream {
    /// Answers 404 until told better.
    pub(crate) async fn start() -> Self {
        Self::with(State::default()).await
    }

    /// Serves a folder's files as they are at each request; scripts come first.
    pub(crate) async fn folder(folder: &Path) -> Self {
        Self::with(State { folder: Some(folder.to_owned()), ..State::default() }).await
    }

    async fn with(state: State) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(state);
        let (resumed, resume) = watch::channel(0);
        let task = tokio::spawn(serve(listener, state.clone(), resume));
        Self { address, state, resumed, task }
    }

    /// Answers this path (without query) so from now on.
    pub(crate) fn put(&self, path: &str, script: Script) {
        self.state.scripts.lock().unwrap().insert(path.to_owned(), script);
    }

    /// Lets everything go on that [`Script::stall_at`] holds now.
    pub(crate) fn resume(&self) {
        self.resumed.send_modify(|times| *times += 1);
    }

    pub(crate) fn url(&self, path: &str) -> Url {
        Url::parse(&format!("http://{}{path}", self.address)).unwrap()
    }

    /// Requests so far, of whatever method, for a path (without query).
    pub(crate) fn requests(&self, path: &str) -> usize {
        let seen = self.state.seen.lock().unwrap();
        seen.iter().filter(|seen| seen.target.split('?').next() == Some(path)).count()
    }

    /// Every request so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.state.seen.lock().unwrap().clone()
    }

    /// Bytes of bodies for a path handed to the network so far.
    pub(crate) fn sent(&self, path: &str) -> u64 {
        self.state.sent.lock().unwrap().get(path).copied().unwrap_or_default()
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, state: Arc<State>, resume: watch::Receiver<u64>) {
    // Dropped with this task, it ends all connections.
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (state, resume) = (state.clone(), resume.clone());
        connections.spawn(async move {
            let service = service_fn(move |request| answer(state.clone(), resume.clone(), request));
            // A client that goes away is no concern of the origin.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn answer(
    state: Arc<State>,
    resume: watch::Receiver<u64>,
    request: Request<Incoming>,
) -> Result<Response<Paced>, Infallible> {
    let path = request.uri().path().to_owned();
    let target = request.uri().path_and_query().map_or(path.clone(), ToString::to_string);
    let (method, headers) = (request.method().clone(), request.headers().clone());
    state.seen.lock().unwrap().push(Seen { method: method.clone(), target, headers: headers.clone() });
    let script = state.scripts.lock().unwrap().get(&path).cloned();
    let script = script.or_else(|| from_folder(state.folder.as_deref()?, &path));
    let script = script.unwrap_or_else(|| Script::status(404));
    tokio::time::sleep(script.delay).await;
    Ok(respond(&state, resume, &method, &headers, path, script))
}

fn respond(
    state: &Arc<State>,
    resume: watch::Receiver<u64>,
    method: &Method,
    asked: &HeaderMap,
    path: String,
    mut script: Script,
) -> Response<Paced> {
    let mut response = Response::builder();
    let etag = script.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("etag"));
    let known = asked.get("if-none-match").and_then(|value| value.to_str().ok());
    if etag.is_some_and(|(_, etag)| known == Some(etag)) {
        (script.status, script.body) = (StatusCode::NOT_MODIFIED.as_u16(), Bytes::new());
    } else {
        let range = asked.get("range").filter(|_| script.ranges && script.status == 200);
        let length = script.body.len();
        if let Some((from, to)) = range.and_then(|range| single_range(range.to_str().ok()?, length)) {
            script.status = StatusCode::PARTIAL_CONTENT.as_u16();
            response = response.header("content-range", format!("bytes {from}-{}/{length}", to - 1));
            script.body = script.body.slice(from..to);
        }
        if !script.chunked {
            response = response.header("content-length", script.body.len());
        }
    }
    for (name, value) in &script.headers {
        response = response.header(name, value);
    }
    let (pieces, body) = mpsc::channel(1);
    if method != Method::HEAD {
        let state = state.clone();
        tokio::spawn(send(script.clone(), pieces, resume, move |bytes| {
            *state.sent.lock().unwrap().entry(path.clone()).or_default() += bytes;
        }));
    }
    response.status(script.status).body(Paced(body)).unwrap()
}

/// Sends the body as the script says; ends when nobody reads any more.
async fn send(
    script: Script,
    pieces: mpsc::Sender<io::Result<Bytes>>,
    mut resume: watch::Receiver<u64>,
    count: impl Fn(u64),
) {
    let (size, pause) = script.pace.unwrap_or((PIECE, Duration::ZERO));
    let mut body = script.body;
    let (mut sent, mut stall_at) = (0, script.stall_at);
    loop {
        if script.break_at == Some(sent) {
            // The error closes the connection; whether anybody is left to notice is all the same.
            let _ = pieces.send(Err(io::Error::other("broken as scripted"))).await;
            return;
        }
        if stall_at == Some(sent) {
            stall_at = None;
            resume.mark_unchanged();
            tokio::select! {
                _ = resume.changed() => {}
                () = pieces.closed() => return,
            }
        }
        if body.is_empty() {
            return;
        }
        if sent > 0 && !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
        let stops = [script.break_at, stall_at];
        let room = stops.into_iter().flatten().filter(|at| *at > sent).map(|at| at - sent).min();
        let piece = body.split_to(size.min(body.len()).min(room.unwrap_or(usize::MAX)));
        let bytes = piece.len();
        if pieces.send(Ok(piece)).await.is_err() {
            return;
        }
        sent += bytes;
        count(bytes as u64);
    }
}

fn single_range(range: &str, length: usize) -> Option<(usize, usize)> {
    let (from, to) = range.strip_prefix("bytes=")?.split_once('-')?;
    let (from, to) = match (from, to) {
        ("", suffix) => (length.saturating_sub(suffix.parse().ok()?), length),
        (from, "") => (from.parse().ok()?, length),
        (from, to) => (from.parse().ok()?, to.parse::<usize>().ok()?.saturating_add(1).min(length)),
    };
    (from < to).then_some((from, to))
}

/// A file as an ordinary web server serves it.
fn from_folder(folder: &Path, path: &str) -> Option<Script> {
    let relative = Path::new(path.strip_prefix('/')?);
    if !relative.components().all(|part| matches!(part, Component::Normal(_))) {
        return None;
    }
    let file = folder.join(relative);
    let meta = file.metadata().ok().filter(std::fs::Metadata::is_file)?;
    let body = std::fs::read(&file).ok()?;
    let media_type = match file.extension()?.to_str()? {
        "m3u8" => "application/vnd.apple.mpegurl",
        "ts" => "video/mp2t",
        "m4s" | "mp4" => "video/mp4",
        _ => "application/octet-stream",
    };
    let modified = meta.modified().ok()?;
    let stamp = modified.duration_since(std::time::UNIX_EPOCH).ok()?.as_nanos();
    let script = Script::body(body).header("content-type", media_type).ranges();
    let script = script.header("last-modified", httpdate::fmt_http_date(modified));
    Some(script.header("etag", format!("\"{stamp:x}\"")))
}

/// A body from a channel.
struct Paced(mpsc::Receiver<io::Result<Bytes>>);

impl Body for Paced {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let piece = ready!(self.0.poll_recv(cx));
        Poll::Ready(piece.map(|piece| piece.map(Frame::data)))
    }
}
