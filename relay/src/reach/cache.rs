//! The members of a network, kept for a start without its adapter. Invariant: the file is replaced whole; one that
//! cannot be read, or is of another version, counts as none.

use crate::{mesh::Member, peer::Network};
use serde::{Deserialize, Serialize};
use std::{
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
};
use weir_protocol::{
    ids::{PublisherId, RelayId},
    time::UnixMillis,
    wire::{MAX_MEMBER_ADDRESSES, MAX_MEMBERS},
};

const VERSION: u16 = 1;
/// Longest file that is read, in bytes.
const MAX_FILE: u64 = 1 << 20;

#[derive(Serialize, Deserialize)]
struct Kept {
    version: u16,
    members: Vec<KeptMember>,
}

#[derive(Serialize, Deserialize, PartialEq)]
struct KeptMember {
    relay: RelayId,
    addresses: Vec<SocketAddr>,
    region: String,
    weight: u32,
    since: UnixMillis,
}

/// The members of one network on disk.
pub(super) struct MemberCache {
    path: PathBuf,
    written: Option<Vec<u8>>,
}

impl MemberCache {
    pub(super) fn new(data: &Path, publisher: &PublisherId) -> Self {
        Self { path: data.join("networks").join(format!("{publisher}.members.json")), written: None }
    }

    /// What was known last.
    pub(super) fn read(&self) -> Vec<(Member, Vec<SocketAddr>)> {
        let size = fs::metadata(&self.path).map(|meta| meta.len());
        if !size.is_ok_and(|size| size <= MAX_FILE) {
            return Vec::new();
        }
        let kept = fs::read(&self.path).ok().and_then(|json| serde_json::from_slice::<Kept>(&json).ok());
        let members = kept.filter(|kept| kept.version == VERSION).map(|kept| kept.members).unwrap_or_default();
        let member = |mut member: KeptMember| {
            member.addresses.truncate(MAX_MEMBER_ADDRESSES);
            let KeptMember { relay, region, weight, since, addresses } = member;
            (Member::new(relay, region.into(), weight, since), addresses)
        };
        members.into_iter().take(MAX_MEMBERS).map(member).collect()
    }

    /// Keeps what is known now, if there is something new. Nothing known is not worth keeping: it is what one knows
    /// before the adapter has answered.
    pub(super) fn keep(&mut self, network: &Network) {
        // Whoever was granted some paths only shows its grant; from a list kept here it would get everything.
        let listed = network.listed().into_iter().filter(|listed| !listed.scoped);
        let mut members: Vec<_> = listed.map(|listed| listed.member).take(MAX_MEMBERS).collect();
        if members.is_empty() {
            return;
        }
        members.sort_unstable_by_key(|member| member.relay);
        let member = |member: Member| {
            let mut addresses = network.addresses_of(&member.relay);
            addresses.truncate(MAX_MEMBER_ADDRESSES);
            let Member { relay, weight, since, .. } = member;
            KeptMember { relay, addresses, region: member.region.to_string(), weight, since }
        };
        let kept = Kept { version: VERSION, members: members.into_iter().map(member).collect() };
        let Ok(json) = serde_json::to_vec(&kept) else { return };
        if self.written.as_ref() == Some(&json) {
            return;
        }
        match self.write(&json) {
            Ok(()) => self.written = Some(json),
            Err(error) => tracing::warn!(path = %self.path.display(), %error, "the list of members could not be kept"),
        }
    }

    fn write(&self, json: &[u8]) -> io::Result<()> {
        if let Some(directory) = self.path.parent() {
            fs::create_dir_all(directory)?;
        }
        let beside = self.path.with_extension("new");
        fs::write(&beside, json)?;
        fs::File::open(&beside)?.sync_all()?;
        fs::rename(&beside, &self.path)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_or_newer_file_counts_as_none() {
        let data = tempfile::tempdir().unwrap();
        let cache = MemberCache::new(data.path(), &PublisherId([7; 32]));
        assert!(cache.read().is_empty());
        let relay = RelayId::from(libp2p::PeerId::random());
        let (addresses, since) = (vec!["192.0.2.1:9".parse().unwrap()], UnixMillis(7));
        let members = vec![KeptMember { relay, addresses, region: "eu".into(), weight: 3, since }];
        cache.write(&serde_json::to_vec(&Kept { version: VERSION, members }).unwrap()).unwrap();
        let read = cache.read();
        let (member, addresses) = &read[0];
        assert_eq!((member.relay, &*member.region, member.weight, member.since), (relay, "eu", 3, UnixMillis(7)));
        assert_eq!((read.len(), addresses), (1, &vec!["192.0.2.1:9".parse().unwrap()]));
        cache.write(&serde_json::to_vec(&Kept { version: VERSION + 1, members: Vec::new() }).unwrap()).unwrap();
        assert!(cache.read().is_empty());
        cache.write(b"{").unwrap();
        assert!(cache.read().is_empty());
    }
}
