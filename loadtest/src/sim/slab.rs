//! Things that come and go by the million, named by keys of 8 bytes. Invariant: a key of something that is gone finds
//! nothing, whatever has taken its place, so that an event about it is simply void.

/// Names one thing in a [`Slab`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Key {
    index: u32,
    stamp: u32,
}

/// The things.
pub(super) struct Slab<T> {
    slots: Vec<(u32, Option<T>)>,
    free: Vec<u32>,
}

impl<T> Slab<T> {
    pub(super) fn new() -> Self {
        Self { slots: Vec::new(), free: Vec::new() }
    }

    pub(super) fn insert(&mut self, value: T) -> Key {
        if let Some(index) = self.free.pop() {
            let slot = &mut self.slots[index as usize];
            slot.1 = Some(value);
            return Key { index, stamp: slot.0 };
        }
        let index = u32::try_from(self.slots.len()).expect("memory ends before four thousand million things");
        self.slots.push((0, Some(value)));
        Key { index, stamp: 0 }
    }

    pub(super) fn get(&self, key: Key) -> Option<&T> {
        let (stamp, value) = self.slots.get(key.index as usize)?;
        if *stamp == key.stamp { value.as_ref() } else { None }
    }

    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let (stamp, value) = self.slots.get_mut(key.index as usize)?;
        if *stamp == key.stamp { value.as_mut() } else { None }
    }

    pub(super) fn remove(&mut self, key: Key) -> Option<T> {
        let slot = self.slots.get_mut(key.index as usize).filter(|slot| slot.0 == key.stamp)?;
        let value = slot.1.take()?;
        slot.0 = slot.0.wrapping_add(1);
        self.free.push(key.index);
        Some(value)
    }

    /// Everything there is, in the order of its places.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Key, &T)> {
        self.slots
            .iter()
            .zip(0..)
            .filter_map(|((stamp, value), index)| value.as_ref().map(|value| (Key { index, stamp: *stamp }, value)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_what_is_gone_finds_nothing() {
        let mut slab = Slab::new();
        let a = slab.insert('a');
        assert_eq!((slab.remove(a), slab.remove(a)), (Some('a'), None));
        let b = slab.insert('b');
        assert_eq!((slab.get(a), slab.get(b), slab.iter().count()), (None, Some(&'b'), 1));
        *slab.get_mut(b).expect("it is there") = 'c';
        assert_eq!(slab.remove(b), Some('c'));
    }
}
