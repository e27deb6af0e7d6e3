//! Content steering at work: lists are fetched beside playing, as players do, so a steering server that hangs delays nothing.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::task::AbortOnDropHandle;
use url::Url;

use super::pool::authority;
use super::stage::Stage;
use super::viewer::Viewer;
use crate::client::{Error, Get, Protocol};
use crate::run::player::list::{self, List, MAX_LIST};
use crate::run::player::poll::Poll;

/// Steering of one viewer.
#[derive(Debug)]
pub(super) struct Steering {
    poll: Poll,
    asking: Option<AbortOnDropHandle<Answer>>,
}

/// What a steering server said.
#[derive(Debug)]
enum Answer {
    List(List),
    Nothing { status: Option<u16>, retry_after: Option<Duration> },
}

impl Steering {
    pub(super) fn new(server: Url, now: Duration) -> Self {
        Self { poll: Poll::new(server, now), asking: None }
    }
}

impl Viewer {
    /// When steering wants something.
    pub(super) fn steering_due(&self) -> Duration {
        let due = self.steering.as_ref().and_then(|steering| match &steering.asking {
            // What is under way is looked at when the player next has something to do; soon enough in any case.
            Some(_) => Some(self.stage.now() + Duration::from_millis(250)),
            None => steering.poll.due(),
        });
        due.unwrap_or(Duration::MAX)
    }

    /// Looks after steering; says whether the pathway changed.
    pub(super) async fn steer(&mut self) -> bool {
        let now = self.stage.now();
        let Some(steering) = &mut self.steering else { return false };
        if steering.asking.as_ref().is_some_and(|asking| asking.is_finished())
            && let Some(asking) = steering.asking.take()
        {
            match asking.await {
                Ok(Answer::List(list)) => {
                    steering.poll.answered(now, &list);
                    if let Some(pathways) = &mut self.pathways {
                        pathways.apply(&list);
                    }
                    self.stage.write(&self.seat, |tally| tally.steered += 1);
                }
                Ok(Answer::Nothing { status, retry_after }) => steering.poll.failed(now, status, retry_after),
                Err(_) => steering.poll.failed(now, None, None),
            }
        }
        if steering.asking.is_none()
            && steering.poll.due().is_some_and(|due| due <= now)
            && let Some(pathways) = &self.pathways
        {
            let url = steering.poll.url(&pathways.current().id, self.abr.throughput());
            let (stage, seat) = (Arc::clone(&self.stage), self.seat.clone());
            let asking = async move {
                // Not on the connection of the media: a steering server is usually elsewhere.
                let protocol = if url.scheme() == "http" { Protocol::H1 } else { seat.protocol };
                match ask(&stage, &url, protocol, seat.group).await {
                    Ok(answer) => answer,
                    Err(error) => {
                        let (now, host) = (stage.now(), authority(&url));
                        let detail = format!("{url}: {error}");
                        stage.write(&seat, |tally| tally.failed(now, &host, "steering", &detail));
                        Answer::Nothing { status: None, retry_after: None }
                    }
                }
            };
            steering.asking = Some(AbortOnDropHandle::new(tokio::spawn(asking)));
        }
        self.pathways.as_mut().is_some_and(|pathways| pathways.settle(now))
    }
}

async fn ask(stage: &Stage, url: &Url, protocol: Protocol, group: u32) -> Result<Answer, Error> {
    let way = stage.pool.way(url, protocol, group).await?;
    let headers = http::HeaderMap::new();
    let mut body = Vec::new();
    let get = Get { url, headers: &headers, max_body: MAX_LIST };
    let exchange = match way.requester.get(&get, &mut |chunk| body.extend_from_slice(&chunk)).await {
        Ok(exchange) => exchange,
        Err(error) => {
            way.line.retire(way.generation).await;
            return Err(error);
        }
    };
    if !exchange.status.is_success() {
        let retry_after = exchange.headers.get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
        let status = Some(exchange.status.as_u16());
        return Ok(Answer::Nothing { status, retry_after: retry_after.map(Duration::from_secs) });
    }
    match list::read(&body) {
        Ok(list) => Ok(Answer::List(list)),
        Err(error) => Err(Error::Broken(error.to_string())),
    }
}
