//! Fuzzing: what strangers send to a parser, mutated from a committed corpus (docs/decisions/0052). Each target holds its
//! parser to properties, so that a wrong answer counts like a crash.
//!
//! `WEIR_FUZZ_SECONDS` says how long each target runs (`./test` gives them half a minute each; without it one second),
//! `WEIR_FUZZ_SEED` repeats a run. An input that breaks a property is written to `target/fuzz-failures/` and named; put
//! into the corpus, it is tried first ever after.

mod engine;
mod targets;

use engine::run;

#[test]
fn fuzz_playlist() {
    run("playlist", targets::PLAYLIST_WORDS, targets::playlist);
}

#[test]
fn fuzz_cmcd() {
    run("cmcd", targets::CMCD_WORDS, targets::cmcd);
}

#[test]
fn fuzz_structured_fields() {
    run("fields", targets::FIELD_WORDS, targets::fields);
}

#[test]
fn fuzz_tokens_and_targets() {
    run("tokens", targets::TOKEN_WORDS, targets::tokens);
}

#[test]
fn fuzz_range_headers() {
    run("ranges", targets::RANGE_WORDS, targets::ranges);
}
