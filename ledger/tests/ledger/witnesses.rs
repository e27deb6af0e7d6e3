//! Witnesses: they sign what only grows, and remember it.

use std::sync::Arc;
use std::time::Duration;

use weir_ledger::log::{Publisher, WitnessClient};
use weir_ledger::merkle::{NodeHash, RootHash, TreeSize};
use weir_ledger::note::{Checkpoint, KeyKind, NoteKey, NoteVerifier, verify_cosignature};
use weir_ledger::witness::{AddCheckpoint, Answer, Refusal, Witness, WitnessState, WitnessStateError};
use weir_ledger::{Salt, SignedCheckpoint, Submission};
use weir_protocol::UnixMillis;
use weir_protocol::statement::Kind;

use crate::promises::{log, note_key};
use crate::world::{ORIGIN, World};

const NOW: UnixMillis = UnixMillis(1_800_000_000_000);

fn key() -> NoteKey {
    NoteKey::new("witness.example/w1", KeyKind::Witness, &[0x77; 32]).unwrap()
}

fn open(folder: &std::path::Path) -> Result<WitnessState, WitnessStateError> {
    let logs = vec![note_key().verifier().clone()];
    WitnessState::open(Witness::new(key(), logs.clone()), &logs, folder)
}

/// A witness in this process, asked by its text interface.
struct Near {
    key: NoteVerifier,
    state: Arc<WitnessState>,
}

impl WitnessClient for Near {
    fn key(&self) -> &NoteVerifier {
        &self.key
    }

    async fn post(&self, body: String) -> Result<(u16, String), String> {
        let request = AddCheckpoint::parse(&body).map_err(ToOwned::to_owned)?;
        Ok(match self.state.add(&request, NOW).map_err(|error| error.to_string())? {
            Ok(signature) => (200, format!("{signature}\n")),
            Err(Refusal::Conflict(size)) => (409, format!("{size}\n")),
            Err(refusal) => (refusal.status(), refusal.to_string()),
        })
    }
}

#[tokio::test]
async fn a_log_that_grows_is_cosigned_again_and_again() {
    let world = World::new();
    let temporary = tempfile::tempdir().unwrap();
    let log = log(&world, temporary.path()).await;
    let near = |state: &Arc<WitnessState>| Near { key: key().verifier().clone(), state: Arc::clone(state) };
    let state = Arc::new(open(&temporary.path().join("witness")).unwrap());
    let mut publisher = Publisher::new(log.clone(), None, false, vec![near(&state)], Duration::from_secs(1));
    for round in 0..5_u64 {
        let leaves =
            (0..=round * 90 % 250).map(|n| Submission::own(Kind::Mark, &(round * 1000 + n).to_be_bytes()).unwrap());
        log.record(leaves.collect(), world.now, || Salt(rand::random())).await.unwrap();
        let checkpoint = publisher.publish().await.unwrap();
        assert_eq!(verify_cosignature(checkpoint.note(), key().verifier()).unwrap().seconds, NOW.as_secs());
        let kept = log.checkpoint().await.unwrap().unwrap();
        assert_eq!(kept, checkpoint, "the signature is kept with the checkpoint");
    }
    // A publisher that starts anew asks the witness which size it knows; so does one whose witness starts anew.
    drop(publisher);
    drop(state);
    let state = Arc::new(open(&temporary.path().join("witness")).unwrap());
    log.record(vec![Submission::own(Kind::Mark, b"more").unwrap()], world.now, || Salt(rand::random())).await.unwrap();
    let mut publisher = Publisher::new(log.clone(), None, false, vec![near(&state)], Duration::from_secs(1));
    let checkpoint = publisher.publish().await.unwrap();
    verify_cosignature(checkpoint.note(), key().verifier()).unwrap();
}

fn signed(size: u64, root: [u8; 32]) -> SignedCheckpoint {
    let checkpoint = Checkpoint { origin: ORIGIN.into(), size: TreeSize::new(size), root: RootHash::from_bytes(root) };
    checkpoint.sign(&note_key()).unwrap()
}

fn ask(state: &WitnessState, old: u64, proof: Vec<NodeHash>, checkpoint: &SignedCheckpoint) -> Result<(), Refusal> {
    let request = AddCheckpoint { old: TreeSize::new(old), proof, note: checkpoint.note().clone() };
    let request = AddCheckpoint::parse(&request.to_string()).unwrap();
    state.add(&request, NOW).unwrap().map(|_| ())
}

#[test]
fn a_second_history_is_not_cosigned_whoever_shows_it() {
    let temporary = tempfile::tempdir().unwrap();
    let state = open(temporary.path()).unwrap();
    let honest = signed(5, [1; 32]);
    ask(&state, 0, vec![], &honest).unwrap();
    ask(&state, 5, vec![], &honest).unwrap();
    // The same size with another root, shown to another relay: refused, and the two notes are the proof.
    let fork = signed(5, [2; 32]);
    assert_eq!(ask(&state, 5, vec![], &fork), Err(Refusal::Forked));
    assert!(weir_ledger::note::Fork::between(&honest, &fork).is_some());
    // A larger tree that does not begin with the signed one.
    assert_eq!(ask(&state, 5, vec![NodeHash::from_bytes([3; 32])], &signed(8, [4; 32])), Err(Refusal::Inconsistent));
    // A smaller one, and one that skips what the witness knows.
    assert_eq!(ask(&state, 4, vec![], &signed(4, [5; 32])), Err(Refusal::Conflict(TreeSize::new(5))));
    assert_eq!(ask(&state, 0, vec![], &signed(9, [6; 32])), Err(Refusal::Conflict(TreeSize::new(5))));
    assert_eq!(ask(&state, 9, vec![], &signed(8, [6; 32])).unwrap_err().status(), 400);
    // After a restart it knows the same.
    let again = open(temporary.path()).unwrap();
    assert_eq!(ask(&again, 0, vec![], &fork), Err(Refusal::Conflict(TreeSize::new(5))));
}

#[test]
fn strangers_are_refused() {
    let temporary = tempfile::tempdir().unwrap();
    let state = open(temporary.path()).unwrap();
    let other = NoteKey::new("other.example", KeyKind::Log, &[1; 32]).unwrap();
    let checkpoint =
        Checkpoint { origin: "other.example".into(), size: TreeSize::EMPTY, root: RootHash::of_empty_tree() };
    let unknown = ask(&state, 0, vec![], &checkpoint.sign(&other).unwrap());
    assert_eq!(unknown.unwrap_err().status(), 404);
    let forger = NoteKey::new(ORIGIN, KeyKind::Log, &[2; 32]).unwrap();
    let forged = signed(3, [1; 32]).checkpoint().clone().sign(&forger).unwrap();
    assert_eq!(ask(&state, 0, vec![], &forged).unwrap_err().status(), 403);
    assert_eq!(ask(&state, 0, vec![NodeHash::from_bytes([0; 32])], &signed(3, [1; 32])), Err(Refusal::Inconsistent));
}

#[test]
fn a_damaged_state_signs_nothing() {
    let temporary = tempfile::tempdir().unwrap();
    let state = open(temporary.path()).unwrap();
    ask(&state, 0, vec![], &signed(5, [1; 32])).unwrap();
    let file = std::fs::read_dir(temporary.path()).unwrap().next().unwrap().unwrap().path();
    let note = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, note.replace("\n5\n", "\n4\n")).unwrap();
    assert!(matches!(open(temporary.path()), Err(WitnessStateError::Damaged { .. })));
}

#[test]
fn requests_are_bounded_before_they_are_read() {
    let note = signed(3, [1; 32]).to_string();
    let hash = NodeHash::from_bytes([0; 32]).to_string();
    let request = |lines: usize| format!("old 1\n{}\n{note}", format!("{hash}\n").repeat(lines));
    assert!(AddCheckpoint::parse(&request(63)).is_ok());
    assert_eq!(AddCheckpoint::parse(&request(64)), Err("more than 63 hashes"));
    for bad in ["", "old 1\n", "old 01\n\nx", "new 1\n\nx", &"a".repeat(100_000), &format!("old 1\nnonsense\n\n{note}")]
    {
        assert!(AddCheckpoint::parse(bad).is_err(), "{:?}", &bad[..bad.len().min(20)]);
    }
    assert_eq!(Answer::read(409, "17\n"), Ok(Answer::Conflict(TreeSize::new(17))));
    assert!(Answer::read(422, "no").is_err() && Answer::read(200, "no signature").is_err());
}
