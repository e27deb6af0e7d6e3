//! When a player asks its steering server, and what the answer means for the next time (draft-pantos-content-steering
//! section 4): 410 ends steering, 429 waits as told, anything else is asked again after the last time to live.

use std::time::Duration;

use url::Url;

use super::list::List;
use super::pathway::set_parameter;

/// Time to live before the first list came.
const FIRST_TTL: Duration = Duration::from_secs(300);
/// Shortest wait between two polls.
const LEAST_WAIT: Duration = Duration::from_secs(1);

/// The polls of one player.
#[derive(Debug, Clone)]
pub(crate) struct Poll {
    server: Url,
    ttl: Duration,
    due: Option<Duration>,
}

impl Poll {
    /// A player that has just read where its steering server is: it asks at once.
    pub(crate) fn new(server: Url, now: Duration) -> Self {
        Self { server, ttl: FIRST_TTL, due: Some(now) }
    }

    /// When to ask; `None` when steering has ended.
    pub(crate) fn due(&self) -> Option<Duration> {
        self.due
    }

    /// What to ask (section 4.3).
    pub(crate) fn url(&self, pathway: &str, throughput: Option<f64>) -> Url {
        let mut url = self.server.clone();
        set_parameter(&mut url, "_HLS_pathway", &format!("\"{pathway}\""));
        if let Some(throughput) = throughput {
            set_parameter(&mut url, "_HLS_throughput", &format!("{:.0}", throughput.min(1e15)));
        }
        url
    }

    /// A list came.
    pub(crate) fn answered(&mut self, now: Duration, list: &List) {
        self.ttl = list.ttl;
        self.due = Some(now + self.ttl.max(LEAST_WAIT));
        if let Some(next) = list.reload_uri.as_deref().and_then(|uri| self.server.join(uri).ok()) {
            self.server = next;
        }
    }

    /// No list came.
    pub(crate) fn failed(&mut self, now: Duration, status: Option<u16>, retry_after: Option<Duration>) {
        self.due = match status {
            Some(410) => None,
            Some(429) => Some(now + retry_after.unwrap_or(self.ttl).max(LEAST_WAIT)),
            _ => Some(now + self.ttl),
        };
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::super::list;
    use super::*;

    #[test]
    fn the_answers_decide_when_to_ask_again() {
        let s = Duration::from_secs;
        let mut poll = Poll::new(Url::parse("https://s/steer.json?v=1").unwrap(), s(5));
        assert_eq!(poll.due(), Some(s(5)));
        assert_eq!(
            poll.url("A", Some(1e6)).as_str(),
            "https://s/steer.json?v=1&_HLS_pathway=%22A%22&_HLS_throughput=1000000"
        );
        let list = list::read(br#"{"VERSION":1,"TTL":20,"RELOAD-URI":"next","PATHWAY-PRIORITY":["A"]}"#).unwrap();
        poll.answered(s(6), &list);
        assert_eq!((poll.due(), poll.url("A", None).path()), (Some(s(26)), "/next"));
        poll.failed(s(26), Some(503), None);
        assert_eq!(poll.due(), Some(s(46)));
        poll.failed(s(46), Some(429), Some(s(3)));
        assert_eq!(poll.due(), Some(s(49)));
        poll.failed(s(49), Some(410), None);
        assert_eq!(poll.due(), None);
    }
}
