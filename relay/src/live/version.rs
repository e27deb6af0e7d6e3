//! One version of a live playlist, and the forms in which it answers. Invariant: each form is made once, whoever asks.

use super::control::as_blocking;
use crate::object::{Entry, Evidence, Growing};
use bytes::Bytes;
use http::header;
use std::sync::{Arc, OnceLock};
use weir_hls::{Directives, Media, Skip, delta};
use weir_protocol::freshness::Validators;

/// In which form a version answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// As it is, under a URL that names what it must list.
    Blocking,
    /// A delta update under such a URL.
    BlockingDelta,
    /// A delta update of the newest.
    Delta,
}

impl Form {
    /// The form that answers; `None` for the playlist as it is.
    pub fn of(directives: &Directives) -> Option<Self> {
        // Which date ranges were removed of late, this text alone does not tell: who wants those skipped gets all.
        let delta = directives.skip == Some(Skip::Segments);
        match (directives.sequence.is_some(), delta) {
            (true, true) => Some(Self::BlockingDelta),
            (true, false) => Some(Self::Blocking),
            (false, true) => Some(Self::Delta),
            (false, false) => None,
        }
    }
}

/// A live playlist as it was published at one time.
pub struct Version {
    /// The playlist.
    pub entry: Arc<Entry>,
    /// What it says.
    pub media: Arc<Media>,
    forms: [OnceLock<Arc<Entry>>; 3],
}

impl Version {
    pub(super) fn new(entry: Arc<Entry>, media: Arc<Media>) -> Self {
        Self { entry, media, forms: Default::default() }
    }

    /// The playlist in this form. A delta has no signature and no validators: those are over the whole. Where there is
    /// nothing to leave out, the whole is the answer.
    pub fn form(&self, form: Form) -> Arc<Entry> {
        let made = self.forms[form as usize].get_or_init(|| match form {
            Form::Blocking => Arc::new(self.blocking()),
            Form::BlockingDelta | Form::Delta => match self.delta() {
                Some(text) => Arc::new(self.shortened(text, form == Form::BlockingDelta)),
                None if form == Form::Delta => self.entry.clone(),
                None => self.form(Form::Blocking),
            },
        });
        made.clone()
    }

    fn delta(&self) -> Option<Bytes> {
        delta(&self.entry.body.joined()?, &self.media).map(Bytes::from)
    }

    fn blocking(&self) -> Entry {
        let mut head = self.entry.head.clone();
        as_blocking(&mut head.headers, self.media.target_duration);
        self.like(head, self.entry.body.clone())
    }

    fn shortened(&self, text: Bytes, blocking: bool) -> Entry {
        let mut head = self.entry.head.clone();
        head.evidence = Evidence::Trusted;
        head.validators = Validators::default();
        head.length = Some(text.len() as u64);
        for name in [header::ETAG, header::LAST_MODIFIED] {
            head.headers.remove(name);
        }
        if blocking {
            as_blocking(&mut head.headers, self.media.target_duration);
        }
        self.like(head, Growing::whole(text, None))
    }

    fn like(&self, head: crate::object::Head, body: Growing) -> Entry {
        Entry::new(head, body, self.entry.received, self.entry.age_then_ms, self.entry.source)
    }
}
