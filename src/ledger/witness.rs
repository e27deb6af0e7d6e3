//! `weir ledger witness`: cosigns checkpoints of logs that only grow.

use super::args::WitnessArgs;
use super::open::now;
use super::serve;
use crate::exit::{CONFIGURATION, DATA_DIRECTORY, Failure};
use crate::{serving, settings};
use http::header::{ALLOW, CONTENT_TYPE};
use http::{HeaderValue, Method, StatusCode};
use std::future::poll_fn;
use std::process::ExitCode;
use std::sync::Arc;
use weir_ledger::note::{KeyKind, NoteKey};
use weir_ledger::witness::{AddCheckpoint, MAX_REQUEST, Refusal, Witness, WitnessState};
use weir_relay::http::{Answer, Body, Handler, Request, Response};
use weir_relay::node::load_or_create_secret;

const KEY: &str = "witness.key";

/// Answers `add-checkpoint`.
struct Cosigner {
    state: Arc<WitnessState>,
}

impl Handler for Cosigner {
    fn call(&self, request: Request) -> Answer {
        if request.uri.path() != "/add-checkpoint" {
            return Answer::Ready(Response::text(StatusCode::NOT_FOUND, "a witness answers POST /add-checkpoint"));
        }
        if request.method != Method::POST {
            let refused = Response::text(StatusCode::METHOD_NOT_ALLOWED, "a witness answers POST /add-checkpoint");
            return Answer::Ready(refused.with(ALLOW, HeaderValue::from_static("POST")));
        }
        let state = Arc::clone(&self.state);
        Answer::Pending(Box::pin(async move {
            let Some(body) = collect(request.body).await else {
                return Response::text(StatusCode::BAD_REQUEST, "the request is too long, or broke off");
            };
            let parsed =
                std::str::from_utf8(&body).map_err(|_| "the request is no text").and_then(AddCheckpoint::parse);
            let parsed = match parsed {
                Ok(parsed) => parsed,
                Err(why) => return Response::text(StatusCode::BAD_REQUEST, why),
            };
            match tokio::task::spawn_blocking(move || state.add(&parsed, now())).await {
                Ok(Ok(Ok(signature))) => Response::new(StatusCode::OK)
                    .with(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"))
                    .body(Body::full(format!("{signature}\n"))),
                Ok(Ok(Err(refusal))) => refused(&refusal),
                Ok(Err(error)) => {
                    tracing::error!(%error, "the witness signs nothing");
                    Response::text(StatusCode::INTERNAL_SERVER_ERROR, "the witness's state cannot be kept")
                }
                Err(_) => Response::text(StatusCode::SERVICE_UNAVAILABLE, "shutting down"),
            }
        }))
    }
}

/// The whole body; `None` if it is too long or breaks off.
async fn collect(mut body: Body) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    while let Some(piece) = poll_fn(|context| body.poll_data(context)).await {
        bytes.extend_from_slice(&piece.ok()?);
        if bytes.len() > MAX_REQUEST {
            return None;
        }
    }
    Some(bytes)
}

fn refused(refusal: &Refusal) -> Response {
    let status = StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::BAD_REQUEST);
    tracing::warn!(%refusal, "not cosigned");
    match refusal {
        // The size alone, as the specification says.
        Refusal::Conflict(size) => {
            Response::text(status, size.to_string()).with(CONTENT_TYPE, HeaderValue::from_static("text/x.tlog.size"))
        }
        _ => Response::text(status, refusal.to_string()),
    }
}

/// Serves.
pub(super) async fn run(args: WitnessArgs) -> Result<ExitCode, Failure> {
    let data = args.data.unwrap_or_else(|| settings::data_directory("witness"));
    serving::prepare(&data)?;
    let (secret, _) = load_or_create_secret(&data.join(KEY))?;
    let key = NoteKey::new(&args.name, KeyKind::Witness, &secret)
        .map_err(|error| Failure::new(CONFIGURATION, format!("--name {}: {error}", args.name)))?;
    println!("✔ witness key  {}", key.verifier());
    let witness = Witness::new(key, args.log.clone());
    let state = WitnessState::open(witness, &args.log, data.join("logs"))
        .map_err(|error| Failure::new(DATA_DIRECTORY, error))?;
    serve::listen(Arc::new(Cosigner { state: Arc::new(state) }), args.listen, args.exit_with_stdin, "witness").await
}
