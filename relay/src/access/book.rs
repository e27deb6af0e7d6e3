//! A publisher's takedowns as one node knows them, whichever way they came: bytes in, and whether to pass them on out.
//!
//! Invariants: for each target the takedown with the highest serial number counts, so a replayed older one changes
//! nothing, also after a newer one has lifted it; a takedown is new, and so passed on, once; no more than
//! [`MAX_HELD_TAKEDOWNS`] are held, and what had to make room is not taken back again.

use super::Rules;
use bytes::Bytes;
use minicbor::{Decoder, Encoder};
use std::collections::HashMap;
use weir_protocol::{
    ids::PublisherId,
    keys::KeyRing,
    takedown::{SignedTakedown, Takedown, TakedownError, Target, UnverifiedTakedown},
    time::UnixMillis,
};

/// Takedowns of one publisher that are held, those that have ended included.
pub const MAX_HELD_TAKEDOWNS: usize = 4096;
/// Version of the kept form.
const VERSION: u8 = 1;

/// What became of a takedown that was offered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It was not known: pass it on.
    New(Takedown),
    /// Exactly this one is held.
    Known,
    /// A newer one of the same target is held, or was.
    Older,
    /// There is no room; every takedown that is held still holds.
    Full,
    /// It cannot be judged here yet: its key or ours may be the newer one.
    Unjudged,
    /// It is a forgery or no takedown; whoever sent it has verified nothing.
    Forged(TakedownError),
}

struct Held {
    bytes: Bytes,
    takedown: Takedown,
    sequence: u64,
}

/// The takedowns of one publisher.
pub struct TakedownBook {
    publisher: PublisherId,
    held: HashMap<Target, Held>,
    /// Serial numbers up to this one may have been forgotten: a takedown of an unknown target must be newer.
    floor: UnixMillis,
    sequence: u64,
    digest: u64,
}

impl TakedownBook {
    /// Nothing is taken down.
    pub fn new(publisher: PublisherId) -> Self {
        Self { publisher, held: HashMap::new(), floor: UnixMillis(0), sequence: 0, digest: 0 }
    }

    /// Takes a signed takedown, from wherever it came.
    pub fn offer(&mut self, bytes: &Bytes, ring: &KeyRing, now: UnixMillis) -> Verdict {
        let unverified = UnverifiedTakedown(bytes.clone());
        // What is known needs no signature check: a flood of repetitions costs next to nothing.
        match unverified.claimed() {
            Ok(claimed) if claimed.publisher != self.publisher => {
                return Verdict::Forged(TakedownError::WrongPublisher(claimed.publisher));
            }
            Ok(claimed) => {
                if let Some(verdict) = self.superseded(&claimed, bytes) {
                    return verdict;
                }
            }
            Err(error) => return Verdict::Forged(error),
        }
        match unverified.verify(ring, now) {
            Ok(signed) => self.accept(&signed, now),
            Err(TakedownError::UnknownKey(_) | TakedownError::Keys(_) | TakedownError::FromTheFuture { .. }) => {
                Verdict::Unjudged
            }
            Err(error) => Verdict::Forged(error),
        }
    }

    /// Takes a takedown that was signed here or verified.
    pub fn accept(&mut self, signed: &SignedTakedown, now: UnixMillis) -> Verdict {
        let takedown = signed.takedown();
        if let Some(verdict) = self.superseded(takedown, signed.bytes()) {
            return verdict;
        }
        if !self.held.contains_key(&takedown.target) && !self.make_room(now) {
            return Verdict::Full;
        }
        self.hold(signed.bytes().clone(), takedown.clone());
        Verdict::New(takedown.clone())
    }

    fn superseded(&self, takedown: &Takedown, bytes: &Bytes) -> Option<Verdict> {
        match self.held.get(&takedown.target) {
            Some(held) if held.bytes == *bytes => Some(Verdict::Known),
            Some(held) => (held.takedown.serial >= takedown.serial).then_some(Verdict::Older),
            None => (takedown.serial <= self.floor).then_some(Verdict::Older),
        }
    }

    /// Forgets the oldest takedown that holds no more.
    fn make_room(&mut self, now: UnixMillis) -> bool {
        if self.held.len() < MAX_HELD_TAKEDOWNS {
            return true;
        }
        let ended = self.held.iter().filter(|(_, held)| !held.takedown.holds_at(now));
        let Some((target, serial)) =
            ended.map(|(target, held)| (target.clone(), held.takedown.serial)).min_by_key(|(_, serial)| *serial)
        else {
            return false;
        };
        self.floor = self.floor.max(serial);
        self.forget(&target);
        true
    }

    fn forget(&mut self, target: &Target) {
        if let Some(held) = self.held.remove(target) {
            self.digest ^= digest(&held.bytes);
        }
    }

    fn hold(&mut self, bytes: Bytes, takedown: Takedown) {
        self.forget(&takedown.target);
        self.sequence += 1;
        self.digest ^= digest(&bytes);
        self.held.insert(takedown.target.clone(), Held { bytes, takedown, sequence: self.sequence });
    }

    /// A number that two books with the same takedowns share; 0 for none.
    pub fn digest(&self) -> u64 {
        self.digest
    }

    /// Counts what was accepted; the argument of [`TakedownBook::since`].
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// What was accepted after that many, in its order.
    pub fn since(&self, sequence: u64) -> Vec<Bytes> {
        let mut newer: Vec<_> = self.held.values().filter(|held| held.sequence > sequence).collect();
        newer.sort_by_key(|held| held.sequence);
        newer.into_iter().map(|held| held.bytes.clone()).collect()
    }

    /// What holds now.
    pub fn in_force(&self, now: UnixMillis) -> Vec<Takedown> {
        let mut holding: Vec<Takedown> =
            self.held.values().map(|held| &held.takedown).filter(|takedown| takedown.holds_at(now)).cloned().collect();
        holding.sort_by_key(|takedown| takedown.serial);
        holding
    }

    /// The highest serial number seen.
    pub fn newest(&self) -> UnixMillis {
        self.held.values().map(|held| held.takedown.serial).max().unwrap_or_default().max(self.floor)
    }

    /// Everything that holds or will end, compiled.
    pub fn rules(&self) -> Rules {
        let mut rules = Rules::default();
        for Held { takedown, .. } in self.held.values() {
            if takedown.until.is_none_or(|until| until > takedown.serial) {
                rules.insert(&takedown.target, takedown.until);
            }
        }
        rules
    }

    /// The form that is kept on disk.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut e = Encoder::new(&mut out);
        let mut write = || -> Result<(), minicbor::encode::Error<std::convert::Infallible>> {
            e.array(3)?.u8(VERSION)?.encode(self.floor)?.array(self.held.len() as u64)?;
            for bytes in self.since(0) {
                e.bytes(&bytes)?;
            }
            Ok(())
        };
        write().expect("writing to a Vec cannot fail");
        out
    }

    /// Reads the kept form. Signatures are not checked again: each was when it was accepted, and a key that has been
    /// rotated out since must not bring back what was taken down.
    ///
    /// # Errors
    /// A text that says what is wrong with it.
    pub fn decode(publisher: PublisherId, kept: &[u8]) -> Result<Self, String> {
        let mut book = Self::new(publisher);
        let mut d = Decoder::new(kept);
        let mut read = || -> Result<(), minicbor::decode::Error> {
            let wrong = minicbor::decode::Error::message;
            if d.array()? != Some(3) || d.u8()? != VERSION {
                return Err(wrong("another version"));
            }
            let floor = d.decode()?;
            let count = d.array()?.filter(|count| *count <= MAX_HELD_TAKEDOWNS as u64).ok_or(wrong("too many"))?;
            for _ in 0..count {
                let bytes = Bytes::copy_from_slice(d.bytes()?);
                let claimed = UnverifiedTakedown(bytes.clone()).claimed().map_err(|_| wrong("no takedown"))?;
                if claimed.publisher != publisher {
                    return Err(wrong("another publisher's takedown"));
                }
                book.hold(bytes, claimed);
            }
            book.floor = floor;
            Ok(())
        };
        read().map_err(|error| error.to_string())?;
        Ok(book)
    }
}

fn digest(bytes: &[u8]) -> u64 {
    let mut first = [0; 8];
    first.copy_from_slice(&blake3::hash(bytes).as_bytes()[..8]);
    u64::from_be_bytes(first)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use weir_protocol::{
        keys::{KeyEntry, RootKey, SigningKey, SigningKeyList},
        resource::{CanonicalPath, ResourceKey},
    };

    const NOW: UnixMillis = UnixMillis(1_800_000_000_000);

    fn root() -> RootKey {
        RootKey::from_bytes(&[1; 32])
    }

    fn signing() -> SigningKey {
        SigningKey::from_bytes(&[2; 32])
    }

    fn ring() -> KeyRing {
        let keys = vec![KeyEntry::new(&signing(), UnixMillis(0), NOW.plus_ms(1 << 40))];
        let list =
            SigningKeyList { publisher: root().publisher_id(), issued: NOW, expires: NOW.plus_ms(1 << 40), keys };
        KeyRing::verify(root().publisher_id(), &list.sign(&root()).unwrap(), NOW).unwrap()
    }

    fn signed(path: &str, serial: u64, until: Option<UnixMillis>) -> Bytes {
        let target = Target::path(CanonicalPath::parse(path).unwrap());
        let takedown =
            Takedown { publisher: root().publisher_id(), serial: UnixMillis(NOW.0 - 10_000 + serial), until, target };
        SignedTakedown::sign(takedown, &signing()).bytes().clone()
    }

    fn book() -> TakedownBook {
        TakedownBook::new(root().publisher_id())
    }

    fn covers(book: &TakedownBook, path: &str) -> bool {
        book.rules().cover(&ResourceKey::parse(root().publisher_id(), path).unwrap(), NOW)
    }

    #[test]
    fn a_takedown_is_new_once_and_a_lifted_one_stays_lifted() {
        let (mut book, ring) = (book(), ring());
        let down = signed("/film/", 1, None);
        assert!(matches!(book.offer(&down, &ring, NOW), Verdict::New(_)));
        assert_eq!(book.offer(&down, &ring, NOW), Verdict::Known);
        assert!(covers(&book, "/film/a.ts"));
        let lift = signed("/film/", 2, Some(UnixMillis(NOW.0 - 10_000 + 2)));
        assert!(matches!(book.offer(&lift, &ring, NOW), Verdict::New(_)));
        assert!(!covers(&book, "/film/a.ts"));
        assert_eq!(book.offer(&down, &ring, NOW), Verdict::Older, "a replay takes nothing down again");
        assert!(!covers(&book, "/film/a.ts"));
    }

    #[test]
    fn forgeries_and_what_cannot_be_judged_are_told_apart() {
        let (mut book, ring) = (book(), ring());
        let mut forged = signed("/film/", 1, None).to_vec();
        *forged.last_mut().unwrap() ^= 1;
        assert!(matches!(book.offer(&forged.into(), &ring, NOW), Verdict::Forged(_)));
        assert!(matches!(book.offer(&Bytes::from_static(b"noise"), &ring, NOW), Verdict::Forged(_)));
        assert_eq!(book.offer(&signed("/a", 1 << 30, None), &ring, NOW), Verdict::Unjudged);
        let target = Target::path(CanonicalPath::parse("/").unwrap());
        let takedown = Takedown { publisher: root().publisher_id(), serial: NOW, until: None, target };
        let other = SignedTakedown::sign(takedown, &SigningKey::from_bytes(&[9; 32]));
        assert_eq!(book.offer(other.bytes(), &ring, NOW), Verdict::Unjudged);
        assert!(book.rules().is_empty());
    }

    #[test]
    fn a_full_book_forgets_what_has_ended_and_never_takes_it_back() {
        let (mut book, ring) = (book(), ring());
        let first = signed("/0", 1, None);
        assert!(matches!(book.offer(&first, &ring, NOW), Verdict::New(_)));
        for n in 1..MAX_HELD_TAKEDOWNS {
            let takedown = signed(&format!("/{n}"), 100 + n as u64, None);
            assert!(matches!(book.offer(&takedown, &ring, NOW), Verdict::New(_)));
        }
        let next = signed("/next", 9000, None);
        assert_eq!(book.offer(&next, &ring, NOW), Verdict::Full);
        let lift = signed("/0", 2, Some(UnixMillis(0)));
        assert!(matches!(book.offer(&lift, &ring, NOW), Verdict::New(_)));
        assert!(matches!(book.offer(&next, &ring, NOW), Verdict::New(_)));
        assert_eq!(book.offer(&first, &ring, NOW), Verdict::Older, "its lifting was forgotten, its number was not");
        assert!(!covers(&book, "/0") && covers(&book, "/next"));
        assert_eq!(book.in_force(NOW).len(), MAX_HELD_TAKEDOWNS);
    }

    #[test]
    fn a_book_survives_a_restart() {
        let (mut book, ring) = (book(), ring());
        for n in 0..20 {
            book.offer(&signed(&format!("/{n}"), n, None), &ring, NOW);
        }
        let again = TakedownBook::decode(root().publisher_id(), &book.encode()).unwrap();
        assert_eq!((again.digest(), again.since(0)), (book.digest(), book.since(0)));
        assert!(covers(&again, "/7/x"));
        assert!(TakedownBook::decode(PublisherId::from_bytes([9; 32]), &book.encode()).is_err());
        assert!(TakedownBook::decode(root().publisher_id(), b"\x83\x02").is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        /// Whatever the order and however often, the newest of each target counts, and books that have seen the same
        /// agree.
        #[test]
        fn order_and_repetition_do_not_matter(order in prop::collection::vec((0u8..4, 0u64..8, any::<bool>()), 1..40)) {
            let ring = ring();
            let offers: Vec<Bytes> = order
                .iter()
                .map(|(path, serial, lift)| {
                    // One content for each serial number, as an honest publisher signs.
                    let lifted = *serial % 2 == 1 || *lift && *serial == 99;
                    signed(&format!("/{path}"), *serial, lifted.then_some(UnixMillis(0)))
                })
                .collect();
            let (mut one, mut other) = (book(), book());
            offers.iter().for_each(|bytes| drop(one.offer(bytes, &ring, NOW)));
            offers.iter().rev().chain(&offers).for_each(|bytes| drop(other.offer(bytes, &ring, NOW)));
            prop_assert_eq!(one.digest(), other.digest());
            for path in 0..4 {
                let newest = order.iter().filter(|(of, _, _)| *of == path).map(|(_, serial, _)| *serial).max();
                let down = newest.is_some_and(|serial| serial % 2 == 0);
                prop_assert_eq!(covers(&one, &format!("/{path}")), down);
            }
        }
    }
}
