//! What pushing may take.

use crate::{mesh::tree, upload::UploadLimit};

/// Segments that one version of a playlist lists anew: so many are pushed, and waited for, at most.
pub const MAX_NEW_SEGMENTS: usize = 8;

/// What trees may take of a relay's line: half, the rest is for its viewers.
const PART: f64 = 0.5;
/// What a child takes of a line, in bits a second: the mean of a usual ladder.
const EACH: f64 = 3e6;

/// Bounds of pushing on one node.
#[derive(Debug, Clone)]
pub struct PushConfig {
    /// The most children that this relay feeds for each rendition; below 2 it feeds nobody. Within that it feeds what
    /// half of its line can send.
    pub children: u16,
    /// Renditions that are followed at once; more are pulled.
    pub max_renditions: usize,
    /// What pushed bytes keep to, with everything else that the node sends.
    pub upload: UploadLimit,
}

impl PushConfig {
    /// Children for each rendition of a relay that can send so many Mbit/s and follows so many renditions.
    pub(super) fn offers(&self, megabits: u32, renditions: usize) -> u16 {
        let stated = f64::from(megabits) * 1e6;
        let line = self.upload.rate().map_or(stated, |limit| stated.min(limit.get() as f64 * 8.0));
        let children = tree::children(line * PART, renditions, EACH);
        self.children.min(u16::try_from(children).unwrap_or(u16::MAX))
    }
}

impl Default for PushConfig {
    fn default() -> Self {
        Self { children: tree::MOST_CHILDREN as u16, max_renditions: 64, upload: UploadLimit::none() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::num::NonZeroU64;

    #[test]
    fn a_relay_feeds_what_half_of_its_line_can_send() {
        let config = PushConfig::default();
        assert_eq!([1, 3, 6, 20].map(|renditions| config.offers(100, renditions)), [16, 5, 2, 0]);
        let limit = NonZeroU64::MIN.saturating_add(2_499_999);
        let limited = PushConfig { upload: UploadLimit::new(limit, 10), ..PushConfig::default() };
        assert_eq!([limited.offers(100, 1), limited.offers(6, 1)], [3, 0]);
        assert_eq!(PushConfig { children: 2, ..PushConfig::default() }.offers(1_000, 1), 2);
    }
}
