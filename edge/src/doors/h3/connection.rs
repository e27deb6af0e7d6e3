//! One HTTP/3 connection: accepts request streams until the client leaves, the door drains, or nothing happens for too
//! long. Invariant: every request task is joined before the connection is dropped.

use super::{
    super::{activity::Activity, exchange::Exchange, urgency::Turns},
    code::code,
    port::Port,
    request,
};
use bytes::Bytes;
use h3::{error::Code, server};
use std::{pin::pin, sync::Arc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use weir_relay::http::Protocol;

/// Requests a client may still have on their way when it is told to go away. The `h3` crate counts the announced
/// identifier from the last accepted stream, which must itself stay below it (RFC 9114 section 5.2).
const GOAWAY_ALLOWANCE: usize = 1;

/// Serves one connection to its end.
pub(super) async fn serve(
    quic: quinn::Connection,
    activity: Arc<Activity>,
    exchange: Arc<Exchange>,
    cancel: CancellationToken,
) {
    activity.speaks(Protocol::H3);
    let (port, handles) = Port::new(quic.clone(), exchange.limits.max_header_bytes);
    let mut builder = server::builder();
    // Twice the bound: heads between the two reach `Exchange`, which answers 431; `h3` itself would cut its own 431 off.
    builder.max_field_section_size(u64::from(exchange.limits.max_header_bytes) * 2).send_grease(false);
    let built = tokio::time::timeout(exchange.limits.handshake_timeout, builder.build::<_, Bytes>(port)).await;
    let Ok(Ok(mut connection)) = built else {
        return quic.close(code(Code::H3_INTERNAL_ERROR), b"");
    };
    let mut requests = JoinSet::new();
    let turns = Arc::new(Turns::default());
    let mut draining = false;
    let mut overdue = pin!(activity.overdue(&exchange.limits));
    loop {
        tokio::select! {
            biased;
            () = cancel.cancelled(), if !draining => {
                draining = true;
                if let Err(error) = connection.shutdown(GOAWAY_ALLOWANCE).await {
                    tracing::debug!(%error, "goaway not sent");
                    break;
                }
            }
            Some(_) = requests.join_next(), if !requests.is_empty() => {}
            accepted = connection.accept(), if !(draining && requests.is_empty()) => match accepted {
                Ok(Some(resolver)) => {
                    let Some(handle) = handles.take() else { break };
                    let exchange = exchange.clone();
                    let activity = activity.clone();
                    let way = request::Way { quic: quic.clone(), turns: turns.clone() };
                    requests.spawn(request::serve(resolver, handle, exchange, activity, way));
                }
                // The client said goodbye; what it asked for is still answered.
                Ok(None) => break,
                Err(error) => {
                    if !error.is_h3_no_error() {
                        tracing::debug!(%error, "http/3 connection ended");
                    }
                    return requests.shutdown().await;
                }
            },
            () = &mut overdue => {
                tracing::debug!("connection idle or stalled");
                return requests.shutdown().await;
            }
        }
        if draining && requests.is_empty() {
            break;
        }
    }
    while !requests.is_empty() {
        tokio::select! {
            _ = requests.join_next() => {}
            () = &mut overdue => return requests.shutdown().await,
        }
    }
}
