//! Who learns how pushing fares.

use std::time::Duration;

/// What is timed of a pushed object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Its head is here.
    Head,
    /// All of it is here.
    Whole,
}

impl Stage {
    /// The label used in metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::Head => "head",
            Self::Whole => "whole",
        }
    }
}

/// What happens in trees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PushEvent {
    /// A parent has accepted this relay.
    Subscribed,
    /// A parent was lost: connection or subscription ended.
    LostGone,
    /// A parent was lost: it fell silent.
    LostSilent,
    /// A parent was left: it lets what the playlist lists wait.
    LostLate,
    /// A parent was left: it sent what does not verify.
    LostCorrupt,
    /// A child was let go because it cannot keep up.
    ChildTooSlow,
    /// A child was sent elsewhere because there is no room.
    ChildRedirected,
}

impl PushEvent {
    /// The label used in metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::Subscribed => "subscribed",
            Self::LostGone => "lost_gone",
            Self::LostSilent => "lost_silent",
            Self::LostLate => "lost_late",
            Self::LostCorrupt => "lost_corrupt",
            Self::ChildTooSlow => "child_too_slow",
            Self::ChildRedirected => "child_redirected",
        }
    }
}

/// Learns how pushing fares. Called where objects pass: must not block.
pub trait PushObserver: Send + Sync + 'static {
    /// A pushed object has come so far, `after` the adapter had its head (by two clocks: only as good as they agree).
    fn arrived(&self, stage: Stage, after: Duration) {
        let _ = (stage, after);
    }
    /// Something happened.
    fn happened(&self, event: PushEvent) {
        let _ = event;
    }
}
