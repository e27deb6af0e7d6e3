//! An HTTP origin that does as it is told, and remembers what it was asked.

use crate::edge::now;
use bytes::Bytes;
use std::{
    collections::HashMap,
    net::SocketAddr,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, UNIX_EPOCH},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpListener,
    sync::Semaphore,
    task::{JoinHandle, JoinSet},
};
use tokio_rustls::TlsAcceptor;
use weir_relay::clock::Clock;

/// One request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) body: Vec<u8>,
    pub(crate) fields: HashMap<String, String>,
}

impl Seen {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(String::as_str)
    }
}

/// What a response's body does next.
#[derive(Clone)]
pub(crate) enum Step {
    /// These bytes go out.
    Send(Bytes),
    /// Nothing happens until the gate lets one through.
    Gate(Arc<Semaphore>),
    /// Nothing happens for so long.
    Sleep(Duration),
    /// Nothing happens any more.
    Hang,
}

/// One response.
#[derive(Clone)]
pub(crate) struct Reply {
    status: u16,
    fields: Vec<(String, String)>,
    before: Vec<Step>,
    steps: Vec<Step>,
    length: Option<u64>,
    chunked: bool,
    dated: bool,
}

impl Reply {
    /// A whole body with its length.
    pub(crate) fn new(status: u16, body: impl Into<Bytes>) -> Self {
        let body = body.into();
        let length = Some(body.len() as u64);
        Self {
            status,
            fields: Vec::new(),
            before: Vec::new(),
            steps: vec![Step::Send(body)],
            length,
            chunked: false,
            dated: true,
        }
    }

    pub(crate) fn ok(body: impl Into<Bytes>) -> Self {
        Self::new(200, body)
    }

    /// A 304 has no body and no length.
    pub(crate) fn not_modified() -> Self {
        let mut reply = Self::new(304, "");
        reply.length = None;
        reply
    }

    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.fields.push((name.into(), value.into()));
        self
    }

    /// The same head before another body.
    pub(crate) fn replace(mut self, length: u64, steps: Vec<Step>) -> Self {
        self.length = Some(length);
        self.steps = steps;
        self
    }

    /// Announces `length` and then does `steps`; a body that ends earlier is broken off.
    pub(crate) fn steps(length: u64, steps: Vec<Step>) -> Self {
        Self::ok("").replace(length, steps)
    }

    /// Like [`Reply::steps`] in chunked coding, so that nobody knows the length beforehand.
    pub(crate) fn chunked(steps: Vec<Step>) -> Self {
        let mut reply = Self::steps(0, steps);
        reply.length = None;
        reply.chunked = true;
        reply
    }

    /// Does this before the head goes out.
    pub(crate) fn after(mut self, step: Step) -> Self {
        self.before.push(step);
        self
    }

    pub(crate) fn undated(mut self) -> Self {
        self.dated = false;
        self
    }

    fn head(&self, clock: &Clock) -> String {
        let mut head = format!("HTTP/1.1 {} x\r\nconnection: close\r\n", self.status);
        if self.dated && !self.fields.iter().any(|(name, _)| name == "date") {
            let at = UNIX_EPOCH + Duration::from_millis(clock.now().0);
            head += &format!("date: {}\r\n", httpdate::fmt_http_date(at));
        }
        for (name, value) in &self.fields {
            head += &format!("{name}: {value}\r\n");
        }
        if let Some(length) = self.length {
            head += &format!("content-length: {length}\r\n");
        }
        if self.chunked {
            head += "transfer-encoding: chunked\r\n";
        }
        head + "\r\n"
    }
}

/// Says what the n-th request for a path (from 0) is answered.
type Script = Arc<dyn Fn(&Seen, usize) -> Reply + Send + Sync>;

struct Inner {
    clock: Clock,
    scripts: Mutex<HashMap<String, Script>>,
    seen: Mutex<Vec<Seen>>,
    sent: AtomicU64,
}

/// The origin; it stops when dropped.
pub(crate) struct Upstream {
    inner: Arc<Inner>,
    pub(crate) address: SocketAddr,
    task: JoinHandle<()>,
}

impl Upstream {
    pub(crate) async fn start(clock: Clock) -> Self {
        Self::listen(clock, None).await
    }

    /// Behind TLS, with the certificate and key in this file.
    pub(crate) async fn start_tls(clock: Clock, pem: &Path) -> Self {
        use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
        let chain = CertificateDer::pem_file_iter(pem).unwrap().collect::<Result<Vec<_>, _>>().unwrap();
        let key = PrivateKeyDer::from_pem_file(pem).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        Self::listen(clock, Some(TlsAcceptor::from(Arc::new(config)))).await
    }

    async fn listen(clock: Clock, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let inner =
            Arc::new(Inner { clock, scripts: Mutex::default(), seen: Mutex::default(), sent: AtomicU64::new(0) });
        let serving = inner.clone();
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (inner, tls) = (serving.clone(), tls.clone());
                connections.spawn(async move {
                    let _ = stream.set_nodelay(true);
                    match tls {
                        None => inner.serve(stream).await,
                        Some(tls) => match tls.accept(stream).await {
                            Ok(stream) => inner.serve(stream).await,
                            Err(_) => None,
                        },
                    }
                });
                while connections.try_join_next().is_some() {}
            }
        });
        Self { inner, address, task }
    }

    /// From now on `path` (with its query) is answered so.
    pub(crate) fn on(&self, path: &str, script: impl Fn(&Seen, usize) -> Reply + Send + Sync + 'static) {
        self.inner.scripts.lock().unwrap().insert(path.into(), Arc::new(script));
    }

    /// From now on `path` is always answered so.
    pub(crate) fn always(&self, path: &str, reply: Reply) {
        self.on(path, move |_, _| reply.clone());
    }

    /// All requests for `path` so far.
    pub(crate) fn seen(&self, path: &str) -> Vec<Seen> {
        self.inner.seen.lock().unwrap().iter().filter(|seen| seen.path == path).cloned().collect()
    }

    /// How many requests for `path` came so far.
    pub(crate) fn count(&self, path: &str) -> usize {
        self.seen(path).len()
    }

    /// Body bytes written to sockets so far.
    pub(crate) fn sent(&self) -> u64 {
        self.inner.sent.load(Ordering::SeqCst)
    }

    /// Dies with all its connections.
    pub(crate) fn kill(&self) {
        self.task.abort();
    }

    pub(crate) fn url(&self, scheme: &str, path: &str) -> String {
        let host = if scheme == "https" { "localhost" } else { "127.0.0.1" };
        format!("{scheme}://{host}:{}{path}", self.address.port())
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Inner {
    /// Serves one request; `None` when the other side is gone.
    async fn serve<S: AsyncRead + AsyncWrite + Unpin>(&self, mut stream: S) -> Option<()> {
        let seen = request(&mut stream).await?;
        let before = {
            let mut all = self.seen.lock().unwrap();
            let before = all.iter().filter(|other| other.path == seen.path).count();
            all.push(seen.clone());
            before
        };
        let script = self.scripts.lock().unwrap().get(&seen.path).cloned();
        let reply = script.map_or_else(|| Reply::new(404, "no script"), |script| script(&seen, before));
        for step in &reply.before {
            self.step(step, &mut stream, false).await?;
        }
        stream.write_all(reply.head(&self.clock).as_bytes()).await.ok()?;
        stream.flush().await.ok()?;
        for step in &reply.steps {
            self.step(step, &mut stream, reply.chunked).await?;
        }
        if reply.chunked {
            stream.write_all(b"0\r\n\r\n").await.ok()?;
        }
        stream.shutdown().await.ok()
    }

    async fn step<S: AsyncWrite + Unpin>(&self, step: &Step, stream: &mut S, chunked: bool) -> Option<()> {
        match step {
            Step::Send(bytes) if bytes.is_empty() => {}
            Step::Send(bytes) => {
                if chunked {
                    stream.write_all(format!("{:x}\r\n", bytes.len()).as_bytes()).await.ok()?;
                }
                for piece in bytes.chunks(64 * 1024) {
                    stream.write_all(piece).await.ok()?;
                    self.sent.fetch_add(piece.len() as u64, Ordering::SeqCst);
                }
                if chunked {
                    stream.write_all(b"\r\n").await.ok()?;
                }
                stream.flush().await.ok()?;
            }
            Step::Gate(gate) => gate.acquire().await.ok()?.forget(),
            Step::Sleep(time) => tokio::time::sleep(*time).await,
            Step::Hang => std::future::pending().await,
        }
        Some(())
    }
}

async fn request<S: AsyncRead + Unpin>(stream: &mut S) -> Option<Seen> {
    let mut text = Vec::new();
    while !text.ends_with(b"\r\n\r\n") {
        text.push(stream.read_u8().await.ok()?);
    }
    let text = String::from_utf8(text).ok()?;
    let mut lines = text.lines();
    let mut target = lines.next()?.split(' ');
    let (method, path) = (target.next()?.to_owned(), target.next()?.to_owned());
    let fields: HashMap<String, String> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let length = fields.get("content-length").map_or(Ok(0), |length| length.parse()).ok()?;
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some(Seen { method, path, body, fields })
}

/// A gate that lets nobody through yet.
pub(crate) fn gate() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(0))
}

/// A date as HTTP writes it, so many seconds from the tests' beginning.
pub(crate) fn date(seconds: i64) -> String {
    let at = now().0.checked_add_signed(seconds * 1000).unwrap();
    httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_millis(at))
}
