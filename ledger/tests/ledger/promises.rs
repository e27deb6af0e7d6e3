//! From submission to proof.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use weir_ledger::log::{
    CHECKPOINT_EVERY, InclusionProof, InclusionProofError, Log, LogError, LogKeys, Publisher, SubmitError,
    WitnessClient, Writer,
};
use weir_ledger::merkle::verify_consistency;
use weir_ledger::note::{KeyKind, NoteKey, NoteVerifier};
use weir_ledger::tile::{CHECKPOINT_FILE, Folder};
use weir_ledger::{Salt, SignedCheckpoint, Store, StoreUrl, Submission};
use weir_protocol::statement::{Evidence, INCLUSION_WITHIN_MS, Kind, Unverified, verify_batch};
use weir_protocol::{InclusionPromise, UnixMillis};

use crate::world::{ORIGIN, World, relay};

pub(crate) fn note_key() -> NoteKey {
    NoteKey::new(ORIGIN, KeyKind::Log, &[0x66; 32]).unwrap()
}

pub(crate) async fn log(world: &World, folder: &std::path::Path) -> Log {
    let store = Store::open(&StoreUrl::Redb(folder.join("ledger.redb")), ORIGIN).await.unwrap();
    Log::new(store, LogKeys { publisher: world.publisher(), note: note_key(), promises: world.signing() })
}

pub(crate) struct Nobody;

impl WitnessClient for Nobody {
    fn key(&self) -> &NoteVerifier {
        unreachable!("there is no witness")
    }

    async fn post(&self, _body: String) -> Result<(u16, String), String> {
        Err("there is no witness".into())
    }
}

/// Some evidence as it comes from the network: verified in a batch.
fn evidence(count: u64) -> (World, Vec<Evidence>) {
    let mut world = World::new();
    world.at(0, 10);
    let token = world.token("s", |_| {});
    let first = world.leaves.len();
    for bytes in 0..count {
        world.claim(&relay(1), 0, token, bytes);
    }
    let messages: Vec<_> =
        world.leaves[first..].iter().map(|leaf| (leaf.kind, bytes::Bytes::from(leaf.message.clone()))).collect();
    let verified = verify_batch(&messages).into_iter().map(Result::unwrap).collect();
    (world, verified)
}

#[tokio::test]
async fn a_submitter_holds_a_promise_and_soon_a_proof() {
    let (world, evidence) = evidence(300);
    let temporary = tempfile::tempdir().unwrap();
    let log = log(&world, temporary.path()).await;
    let submissions: Vec<_> = evidence.iter().take(200).map(Submission::evidence).collect();
    let acknowledged = log.record(submissions.clone(), world.now, || Salt(rand::random())).await.unwrap();
    // The promise is the publisher's, and names what the submitter can open.
    let wire = Unverified::<InclusionPromise>::new(acknowledged.promise.bytes().clone());
    let promise = wire.verify_with(&world.ring()).unwrap();
    assert_eq!(promise.statement().include_by.since(world.now), INCLUSION_WITHIN_MS);
    for (leaf, placed) in promise.statement().leaves.iter().zip(&acknowledged.placed) {
        assert_eq!((leaf.index, leaf.commitment), (placed.index, placed.opening.commitment().0));
    }
    // Submitted again, it is the same leaf with the same salt.
    let again = log.record(submissions, world.now.plus_ms(5), || Salt(rand::random())).await.unwrap();
    assert!(
        again
            .placed
            .iter()
            .zip(&acknowledged.placed)
            .all(|(a, b)| a.index == b.index && a.opening == b.opening && !a.fresh)
    );
    let checkpoint = log.sign_checkpoint().await.unwrap();
    let proof = log.prove(77, &checkpoint).await.unwrap();
    let text = proof.to_string();
    let read = InclusionProof::parse(&text, note_key().verifier()).unwrap();
    assert_eq!((&read, read.verify_opening().unwrap()), (&proof, &acknowledged.placed[77].opening));
    // A submitter that kept its opening needs none in the proof.
    let commitment = acknowledged.placed[77].opening.commitment();
    InclusionProof { opening: None, ..read.clone() }.verify(&commitment).unwrap();
    assert!(read.verify(&acknowledged.placed[78].opening.commitment()).is_err());
    // Nothing in the text can be changed unnoticed.
    for at in 0..text.len() {
        let mut changed = text.clone().into_bytes();
        changed[at] ^= 1;
        let Ok(changed) = String::from_utf8(changed) else { continue };
        let accepted = InclusionProof::parse(&changed, note_key().verifier())
            .is_ok_and(|proof| proof.verify_opening().is_ok_and(|opening| *opening == acknowledged.placed[77].opening));
        assert!(!accepted, "byte {at}");
    }
    assert!(matches!(read.verify_opening(), Ok(opening) if opening.kind == Kind::EdgeClaim));
    assert!(matches!(InclusionProof { opening: None, ..read }.verify_opening(), Err(InclusionProofError::NoOpening)));
    // The later log begins with the earlier one.
    log.record(evidence[200..].iter().map(Submission::evidence).collect(), world.now, || Salt(rand::random()))
        .await
        .unwrap();
    let later = log.sign_checkpoint().await.unwrap();
    let (old, new) = (checkpoint.checkpoint(), later.checkpoint());
    let path = log.prove_consistency(old.size, new.size).await.unwrap();
    verify_consistency(old.size, old.root, new.size, new.root, &path).unwrap();
    assert_eq!(log.sign_checkpoint().await.unwrap(), later, "nothing new, nothing signed");
}

#[tokio::test(start_paused = true)]
async fn every_message_is_in_a_published_checkpoint_within_a_minute() {
    let (world, evidence) = evidence(600);
    let temporary = tempfile::tempdir().unwrap();
    let log = log(&world, temporary.path()).await;
    let folder = Folder::new(temporary.path().join("published"));
    let cancel = CancellationToken::new();
    let salt = Arc::new(AtomicU64::new(0));
    let salts = move || {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&salt.fetch_add(1, Ordering::Relaxed).to_be_bytes());
        Salt(bytes)
    };
    let start = tokio::time::Instant::now();
    let begun = world.now;
    let clock = move || begun.plus_ms(u64::try_from(start.elapsed().as_millis()).unwrap());
    let (writer, submitter) = Writer::new(log.clone(), clock, salts);
    let publisher: Publisher<Nobody> =
        Publisher::new(log.clone(), Some(folder.clone()), false, vec![], CHECKPOINT_EVERY);
    let tasks = [tokio::spawn(writer.run(cancel.clone())), tokio::spawn(publisher.run(cancel.clone()))];
    let mut waiting = Vec::new();
    for chunk in evidence.chunks(50) {
        tokio::time::sleep(Duration::from_millis(1700)).await;
        let (submitter, submissions) = (submitter.clone(), chunk.iter().map(Submission::evidence).collect());
        waiting.push(tokio::spawn(async move { submitter.submit(submissions).await.unwrap() }));
    }
    for acknowledged in waiting {
        let acknowledged = acknowledged.await.unwrap();
        let promise = acknowledged.promise.statement();
        let last = acknowledged.placed.last().unwrap().index;
        // As a relay would: it looks at the published checkpoint until the promised time.
        loop {
            let note = folder.read(CHECKPOINT_FILE).unwrap().map(|bytes| String::from_utf8(bytes).unwrap());
            let seen = note.map(|note| SignedCheckpoint::verify(&note, note_key().verifier()).unwrap());
            if seen.is_some_and(|seen| seen.checkpoint().size.get() > last) {
                break;
            }
            assert!(clock() <= promise.include_by, "leaf {last} is late");
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
    cancel.cancel();
    for task in tasks {
        task.await.unwrap();
    }
    let refused = submitter.submit(vec![Submission::evidence(&evidence[0])]).await;
    assert!(matches!(refused, Err(SubmitError::Closed)));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_submitters_share_a_commit_and_each_gets_its_own_answer() {
    let (world, evidence) = evidence(400);
    let temporary = tempfile::tempdir().unwrap();
    let log = log(&world, temporary.path()).await;
    let now = world.now;
    let (writer, submitter) = Writer::new(log.clone(), move || now, || Salt(rand::random()));
    let writer = tokio::spawn(writer.run(CancellationToken::new()));
    let evidence = Arc::new(evidence);
    let tasks: Vec<_> = (0..40)
        .map(|task| {
            let (submitter, evidence) = (submitter.clone(), Arc::clone(&evidence));
            tokio::spawn(async move {
                let own = &evidence[task * 10..task * 10 + 10];
                let acknowledged = submitter.submit(own.iter().map(Submission::evidence).collect()).await.unwrap();
                let messages = acknowledged.placed.iter().map(|placed| placed.opening.message.as_slice());
                assert!(messages.eq(own.iter().map(|evidence| &evidence.bytes()[..])));
                assert_eq!(acknowledged.promise.statement().leaves.len(), 10);
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let count = submitter.submit(vec![]).await;
    assert!(matches!(count, Err(SubmitError::Log(error)) if matches!(*error, LogError::Count(0))));
    drop(submitter);
    writer.await.unwrap();
    assert_eq!(log.store().head().await.unwrap().size.get(), 400);
}

#[tokio::test]
async fn a_log_that_was_put_back_signs_nothing_more() {
    let (world, evidence) = evidence(20);
    let temporary = tempfile::tempdir().unwrap();
    let file = temporary.path().join("ledger.redb");
    let record = async |from: usize, to: usize| {
        let log = log(&world, temporary.path()).await;
        log.record(evidence[from..to].iter().map(Submission::evidence).collect(), world.now, || Salt(rand::random()))
            .await
            .unwrap();
        log.sign_checkpoint().await
    };
    record(0, 10).await.unwrap();
    let copy = std::fs::read(&file).unwrap();
    let signed = record(10, 15).await.unwrap();
    // The disk is replaced by an older copy, with the newer checkpoint kept elsewhere and put back.
    std::fs::write(&file, copy).unwrap();
    {
        let log = log(&world, temporary.path()).await;
        log.keep(&signed).await.unwrap();
    }
    let refused = record(15, 20).await.unwrap_err();
    assert!(
        matches!(refused, LogError::RolledBack { .. }) && refused.to_string().contains("two histories"),
        "{refused}"
    );
    assert!(UnixMillis(0) < world.now);
}
