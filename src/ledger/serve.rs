//! `weir ledger serve`: a folder of log files over HTTP, as C2SP tlog-tiles asks for them.
//!
//! Invariant: only names that a log's files have are looked up, so no request reaches anything else in the folder or
//! outside it.

use super::args::ServeArgs;
use crate::exit::{DATA_DIRECTORY, Failure, RUNTIME};
use crate::signals;
use http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderValue, Method, StatusCode};
use std::process::ExitCode;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use weir_edge::doors::{Doors, DoorsConfig};
use weir_ledger::settle::{POLICY_FILE, SETTLEMENT_CSV, SETTLEMENT_JSON};
use weir_ledger::tile::{CHECKPOINT_FILE, Folder, TilePlace};
use weir_relay::http::{Answer, Body, Handler, Request, Response};

/// What changes is fresh for seconds; tiles never change.
const MUTABLE: &str = "public, max-age=5";
const IMMUTABLE: &str = "public, max-age=31536000, immutable";

/// Which log it is: the signed message that ties its key to the publisher.
pub(crate) const IDENTITY_FILE: &str = "identity";

/// Answers requests for a log's files.
pub(crate) struct Files {
    folder: Folder,
    /// What the names stand behind.
    prefix: &'static str,
}

impl Files {
    /// The files of a folder, below a path that begins and ends with `/`.
    pub(crate) fn new(folder: Folder, prefix: &'static str) -> Self {
        Self { folder, prefix }
    }

    /// Content type and freshness of a name that a log's file can have.
    fn kind(name: &str) -> Option<(&'static str, &'static str)> {
        match name {
            CHECKPOINT_FILE => Some(("text/plain; charset=utf-8", MUTABLE)),
            POLICY_FILE => Some(("application/toml", MUTABLE)),
            SETTLEMENT_JSON => Some(("application/json", MUTABLE)),
            IDENTITY_FILE => Some(("application/cose", MUTABLE)),
            SETTLEMENT_CSV => Some(("text/csv; charset=utf-8", MUTABLE)),
            // Openings can be deleted; everything else of a tile is as it is for ever.
            _ => match name.parse::<TilePlace>() {
                Ok(place) if place.kind == weir_ledger::tile::TileKind::Openings => {
                    Some(("application/octet-stream", MUTABLE))
                }
                Ok(_) => Some(("application/octet-stream", IMMUTABLE)),
                Err(_) => None,
            },
        }
    }
}

impl Handler for Files {
    fn call(&self, request: Request) -> Answer {
        let head = request.method == Method::HEAD;
        if !head && request.method != Method::GET {
            let refused = Response::text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are answered here");
            return Answer::Ready(refused.with(ALLOW, HeaderValue::from_static("GET, HEAD")));
        }
        let name = request.uri.path().strip_prefix(self.prefix).unwrap_or_default().to_owned();
        let Some((kind, cache)) = Self::kind(&name) else {
            return Answer::Ready(Response::text(StatusCode::NOT_FOUND, "a log has /checkpoint and /tile/…"));
        };
        let folder = self.folder.clone();
        Answer::Pending(Box::pin(async move {
            let read = tokio::task::spawn_blocking(move || folder.read(&name)).await;
            let bytes = match read {
                Ok(Ok(Some(bytes))) => bytes,
                Ok(Ok(None)) => return Response::text(StatusCode::NOT_FOUND, "this log has no such file"),
                Ok(Err(error)) => {
                    tracing::warn!(%error, "a file of the log cannot be read");
                    return Response::text(StatusCode::INTERNAL_SERVER_ERROR, "the file cannot be read");
                }
                Err(_) => return Response::text(StatusCode::SERVICE_UNAVAILABLE, "shutting down"),
            };
            let response = Response::new(StatusCode::OK)
                .with(CONTENT_TYPE, HeaderValue::from_static(kind))
                .with(CACHE_CONTROL, HeaderValue::from_static(cache))
                .with(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
            if head { response.with(CONTENT_LENGTH, bytes.len().into()) } else { response.body(Body::full(bytes)) }
        }))
    }
}

/// Opens a plain door and serves until it is told to stop.
pub(super) async fn listen(
    handler: Arc<dyn Handler>,
    listen: std::net::SocketAddr,
    exit_with_stdin: bool,
    what: &str,
) -> Result<ExitCode, Failure> {
    let stop = CancellationToken::new();
    signals::listen(stop.clone())
        .map_err(|error| Failure::new(RUNTIME, format!("cannot listen for signals: {error}")))?;
    if exit_with_stdin {
        signals::stop_with_stdin(stop.clone());
    }
    let doors = Doors::bind(DoorsConfig::plain(vec![listen]))?;
    for address in &doors.local_addrs().plain {
        println!("✔ {what}  http://{address}/");
    }
    doors.run(handler, stop).await?;
    Ok(ExitCode::SUCCESS)
}

/// Serves.
pub(super) async fn run(args: ServeArgs) -> Result<ExitCode, Failure> {
    let folder = Folder::new(&args.dir);
    if folder.read(CHECKPOINT_FILE).map_err(|error| Failure::new(DATA_DIRECTORY, error))?.is_none() {
        let advice = "write it first: weir ledger publish --out DIR";
        return Err(Failure::new(DATA_DIRECTORY, format!("{} holds no log; {advice}", args.dir.display())));
    }
    listen(Arc::new(Files::new(folder, "/")), args.listen, args.exit_with_stdin, "log").await
}

#[cfg(test)]
mod tests {
    use super::Files;

    #[test]
    fn only_a_logs_files_have_names() {
        for name in
            ["checkpoint", "identity", "tile/0/x001/234", "tile/entries/000.p/7", "openings/000", "settlement.json"]
        {
            assert!(Files::kind(name).is_some(), "{name}");
        }
        for name in ["", "ledger.key", "../ledger.key", "tile/0/../../ledger.key", "tile/0/000/", "checkpoint/", "tile"]
        {
            assert!(Files::kind(name).is_none(), "{name}");
        }
    }
}
