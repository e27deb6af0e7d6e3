//! Who serves the streams of live trees.

use futures_util::future::BoxFuture;
use quinn::{RecvStream, SendStream};
use weir_protocol::{ids::RelayId, wire::Request};

/// Serves the streams of live trees: places, subscriptions, pushed objects.
pub trait TreeDoor: Send + Sync + 'static {
    /// Serves one stream whose first frame was `request`. The peer is a member of that publisher's network. The future
    /// ends with the stream's purpose and is dropped with its connection.
    fn serve(&self, peer: RelayId, request: Request, send: SendStream, receive: RecvStream) -> BoxFuture<'static, ()>;
}
