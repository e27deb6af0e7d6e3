//! `POST /weir/receipt`: a player's signed receipt for what it received, for a session that plays here.

use super::errors;
use http::StatusCode;
use std::future::poll_fn;
use weir_protocol::{
    ViewerReceipt,
    statement::{Statement as _, Unverified},
};
use weir_relay::{
    http::{Body, Response},
    meter::Meter,
};

/// Takes a receipt in. It is kept and submitted to the publisher's ledger; only the latest of a session counts.
pub(super) async fn take(meter: Meter, mut body: Body) -> Response {
    let mut bytes = bytes::BytesMut::new();
    while let Some(piece) = poll_fn(|cx| body.poll_data(cx)).await {
        let Ok(piece) = piece else { return errors::bad_request("the receipt did not arrive whole") };
        if bytes.len() + piece.len() > ViewerReceipt::MAX {
            return errors::bad_request("a receipt has at most 2048 bytes");
        }
        bytes.extend_from_slice(&piece);
    }
    let receipt = Unverified::<ViewerReceipt>::new(bytes.freeze());
    let Ok(claimed) = receipt.claimed() else {
        return errors::bad_request("not a receipt: a COSE_Sign1 message of a viewer receipt is wanted");
    };
    let Some(session) = meter.open_session(&claimed.publisher, &claimed.token) else {
        return errors::not_found("no session with this token plays here");
    };
    if !claimed.is_confirmed_by(&session.claims) {
        return errors::forbidden("the session's token does not confirm the key of this receipt");
    }
    if claimed.from_relay(&meter.me()).is_none() {
        return errors::bad_request("the receipt does not name this relay");
    }
    match receipt.verify() {
        Ok(verified) => {
            meter.viewer_receipt(verified, session);
            errors::said(StatusCode::ACCEPTED, "the receipt goes to the publisher's ledger")
        }
        Err(error) => errors::bad_request(&error.to_string()),
    }
}
