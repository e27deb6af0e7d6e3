//! `weir ledger verify`: a log or a proof, checked by somebody who trusts nobody but a key.

use super::args::VerifyArgs;
use super::fetch::Remote;
use crate::exit::{CHECK_FAILED, CONFIGURATION, Failure};
use std::path::Path;
use std::process::ExitCode;
use weir_ledger::TreeSize;
use weir_ledger::log::InclusionProof;
use weir_ledger::merkle::verify_consistency;
use weir_ledger::note::{SignedCheckpoint, verify_cosignature};
use weir_ledger::settle::{CheckError, check_tree};
use weir_ledger::tile::{CHECKPOINT_FILE, Folder, Resolver, TileKind, TilePlace};

fn failed(error: impl std::fmt::Display) -> Failure {
    Failure::new(CHECK_FAILED, format!("check failed: {error}"))
}

/// Checks.
pub(super) async fn run(args: VerifyArgs) -> Result<ExitCode, Failure> {
    if args.what.ends_with(".tlog-proof") {
        return proof(&args);
    }
    let remote = args.what.starts_with("http://") || args.what.starts_with("https://");
    // What is fetched is checked like a folder, in one that goes when this is over.
    let temporary = tempfile::tempdir().map_err(|error| Failure::new(crate::exit::RUNTIME, error))?;
    let folder = if remote { download(&args, temporary.path()).await? } else { Folder::new(&args.what) };
    let openings = folder.read("openings/000").ok().flatten().is_some() || folder.path().join("openings").is_dir();
    let checkpoint = check_tree(&folder, &args.log_key, openings && !remote).map_err(failed)?;
    let state = checkpoint.checkpoint();
    println!("✔ {}: {} leaves, every tile and entry agrees with root {}", state.origin, state.size, state.root);
    if openings && !remote {
        println!("✔ every opening that is there opens its leaf");
    }
    for witness in &args.witness {
        let cosigned = verify_cosignature(checkpoint.note(), witness).map_err(failed)?;
        println!("✔ cosigned by {} at {} (seconds since 1970)", witness.name(), cosigned.seconds);
    }
    if let Some(since) = &args.since {
        consistent(&folder, &checkpoint, since, &args)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn proof(args: &VerifyArgs) -> Result<ExitCode, Failure> {
    let text = std::fs::read_to_string(&args.what)
        .map_err(|error| Failure::new(CONFIGURATION, format!("cannot read {}: {error}", args.what)))?;
    let proof = InclusionProof::parse(&text, &args.log_key).map_err(failed)?;
    let opening = proof.verify_opening().map_err(failed)?;
    let state = proof.checkpoint.checkpoint();
    println!("✔ leaf {} is under the checkpoint of {} leaves of {}", proof.index, state.size, state.origin);
    println!("✔ it is a {} of {} bytes, received at {}", opening.kind, opening.message.len(), opening.received);
    for witness in &args.witness {
        verify_cosignature(proof.checkpoint.note(), witness).map_err(failed)?;
        println!("✔ cosigned by {}", witness.name());
    }
    Ok(ExitCode::SUCCESS)
}

/// Proves from the folder's tiles that the log begins with what it was before.
fn consistent(folder: &Folder, now: &SignedCheckpoint, since: &Path, args: &VerifyArgs) -> Result<(), Failure> {
    let note = std::fs::read_to_string(since)
        .map_err(|error| Failure::new(CONFIGURATION, format!("cannot read {}: {error}", since.display())))?;
    let before = SignedCheckpoint::verify(&note, &args.log_key).map_err(failed)?;
    let (old, new) = (before.checkpoint(), now.checkpoint());
    let mut resolver = Resolver::consistency(old.size, new.size).map_err(failed)?;
    for place in resolver.wants() {
        let hashes = folder.hashes(&place).map_err(failed)?;
        resolver.give(place, hashes).map_err(failed)?;
    }
    let path = resolver.proof().map_err(failed)?;
    verify_consistency(old.size, old.root, new.size, new.root, &path).map_err(|error| {
        let kept = "keep both checkpoints: together they are the evidence";
        failed(format!("the log does not begin with what it was at {} leaves ({error}); {kept}", old.size))
    })?;
    println!("✔ it begins with the {} leaves of the earlier checkpoint", old.size);
    Ok(())
}

/// Fetches a log's checkpoint, tiles and entries.
async fn download(args: &VerifyArgs, to: &Path) -> Result<Folder, Failure> {
    let bad = |error: String| Failure::new(crate::exit::RUNTIME, error);
    let remote = Remote::new(&args.what).map_err(|error| Failure::new(CONFIGURATION, error))?;
    let folder = Folder::new(to);
    let note = remote.get(CHECKPOINT_FILE).await.map_err(bad)?;
    let note = note.ok_or_else(|| failed(CheckError::Missing(format!("{}/{CHECKPOINT_FILE}", args.what))))?;
    let text = String::from_utf8_lossy(&note).into_owned();
    let size = SignedCheckpoint::verify(&text, &args.log_key).map_err(failed)?.checkpoint().size;
    folder.write(CHECKPOINT_FILE, &note).map_err(failed)?;
    let hashes =
        TilePlace::levels(size).flat_map(|level| TilePlace::added(TileKind::Hashes(level), TreeSize::EMPTY, size));
    for place in hashes.chain(TilePlace::added(TileKind::Entries, TreeSize::EMPTY, size)) {
        let mut found = remote.get(&place.to_string()).await.map_err(bad)?;
        if found.is_none() {
            found = remote.get(&place.full().to_string()).await.map_err(bad)?;
        }
        let bytes = found.ok_or_else(|| failed(CheckError::Missing(format!("{}/{place}", args.what))))?;
        folder.write(&place.to_string(), &bytes).map_err(failed)?;
    }
    Ok(folder)
}
