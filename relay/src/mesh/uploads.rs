//! What this node sends to relays at the moment, object by object. Invariant: one object goes to so many relays at a
//! time and no more; whoever comes later asks the next owner, which spreads a hot object.

use std::collections::{HashMap, hash_map::Entry};
use weir_protocol::ids::ResourceHash;

#[derive(Debug, Default)]
pub(super) struct Uploads(HashMap<ResourceHash, u32>);

impl Uploads {
    /// False when the object goes to `most` relays already.
    pub(super) fn begin(&mut self, object: &ResourceHash, most: u32) -> bool {
        let running = self.0.get(object).copied().unwrap_or(0);
        if running < most {
            self.0.insert(*object, running + 1);
        }
        running < most
    }

    pub(super) fn end(&mut self, object: &ResourceHash) {
        if let Entry::Occupied(mut running) = self.0.entry(*object) {
            *running.get_mut() -= 1;
            if *running.get() == 0 {
                running.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mesh::testing::object;

    #[test]
    fn one_object_goes_to_so_many_at_a_time() {
        let mut uploads = Uploads::default();
        assert_eq!([0; 4].map(|_| uploads.begin(&object(1), 3)), [true, true, true, false]);
        assert!(uploads.begin(&object(2), 3));
        uploads.end(&object(1));
        assert!(uploads.begin(&object(1), 3) && !uploads.begin(&object(1), 3) && uploads.begin(&object(1), 4));
        (0..4).for_each(|_| uploads.end(&object(1)));
        uploads.end(&object(2));
        assert!(uploads.0.is_empty());
    }
}
