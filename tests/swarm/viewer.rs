//! A viewer at the live edge of one relay: it asks for the playlist twice a second and for every segment that it lists,
//! and compares the bytes.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::task::JoinHandle;

use super::{
    channel::{PLAYLIST, body, path},
    harness::{
        fetch::Fetch,
        weir::{Edge, Weir},
    },
};

/// What a viewer got, and what it did not.
#[derive(Debug, Default, Clone)]
pub(crate) struct Seen {
    pub(crate) segments: BTreeSet<u64>,
    pub(crate) failures: Vec<String>,
}

/// A viewer; it ends with its handle.
pub(crate) struct Viewer {
    seen: Arc<Mutex<Seen>>,
    task: JoinHandle<()>,
}

impl Drop for Viewer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Viewer {
    pub(crate) fn at(edge: &Edge) -> Self {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let (playlist, base) = (edge.url(PLAYLIST), edge.url("/"));
        let noted = seen.clone();
        let task = tokio::spawn(async move {
            loop {
                if let Ok(reply) = Fetch::new(&playlist).attempt().await
                    && reply.status == 200
                {
                    let text = reply.text();
                    let listed =
                        text.lines().filter_map(|line| line.strip_prefix('s')?.strip_suffix(".ts")?.parse().ok());
                    for segment in listed {
                        if !noted.lock().unwrap().segments.contains(&segment) {
                            watch(&base, segment, &noted).await;
                        }
                    }
                }
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        });
        Self { seen, task }
    }

    pub(crate) fn seen(&self) -> Seen {
        self.seen.lock().unwrap().clone()
    }
}

async fn watch(base: &url::Url, segment: u64, seen: &Mutex<Seen>) {
    let url = base.join(&path(segment)).unwrap();
    let result = Fetch::new(&url).attempt().await;
    let mut seen = seen.lock().unwrap();
    match result {
        Ok(reply) if reply.status == 200 && reply.body == body(segment) => {
            seen.segments.insert(segment);
        }
        Ok(reply) => seen.failures.push(format!("{segment}: {} and {} bytes", reply.status, reply.body.len())),
        Err(error) => seen.failures.push(format!("{segment}: {error}")),
    }
}
