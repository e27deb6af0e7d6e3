//! `weir demo-relay`: an edge that takes orders on its standard input, one JSON object a line, and says on its standard
//! output that each is in force.

use super::door::FaultyDoor;
use super::order::{Faults, Order};
use crate::edge::{self, Around, EdgeArgs};
use crate::exit::Failure;
use serde_json::json;
use std::sync::Arc;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio_util::sync::CancellationToken;

/// Longest order.
const MAX_ORDER: u64 = 4096;

/// Runs until a signal comes or standard input ends: then whoever gives the orders is gone.
pub(crate) async fn run(args: EdgeArgs) -> Result<(), Failure> {
    let faults = Arc::new(Faults::default());
    let stop = CancellationToken::new();
    tokio::spawn(take_orders(faults.clone(), stop.clone()));
    let (gate, clock) = (faults.gate(), faults.clock());
    let around =
        Around { door: Some(Box::new(move |routes| Arc::new(FaultyDoor { routes, faults }))), gate: Some(gate), clock };
    edge::run_within(args, stop, around).await
}

async fn take_orders(faults: Arc<Faults>, stop: CancellationToken) {
    let mut input = BufReader::new(tokio::io::stdin());
    let mut line = String::new();
    loop {
        line.clear();
        match (&mut input).take(MAX_ORDER).read_line(&mut line).await {
            Ok(1..) => println!("{}", obey(&faults, &line)),
            // An error is an end too.
            _ => break,
        }
    }
    stop.cancel();
}

fn obey(faults: &Faults, line: &str) -> serde_json::Value {
    match serde_json::from_str::<Order>(line) {
        Ok(order) => {
            faults.obey(order);
            json!({ "obeyed": order })
        }
        Err(error) => json!({ "refused": error.to_string() }),
    }
}
