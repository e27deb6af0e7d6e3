//! Metering, ledger and settlement against attacks and crashes: real processes, a real ledger, settled by `weir settle run`
//! and checked by `weir settle verify`.
//!
//! Each attack's test states what it earns and what evidence remains. What a test here does through the wire, the tests in
//! `ledger/tests/ledger/attacks.rs` do to a settlement alone, with more cases.
//!
//! | attack | test | earns | evidence that remains |
//! | --- | --- | --- | --- |
//! | replay | `attacks::claims::a_replay_earns_nothing` | nothing more | one leaf, promised again with the same number; another relay's replay is `not_yours` |
//! | inflation | `attacks::claims::inflation_earns_what_the_token_allows_or_the_publisher_saw` | `max_bytes` of the session, or what was reported, over all paths | the claim's leaf; `session_limit`, `not_reported` |
//! | invented session | `attacks::claims::an_invented_session_earns_nothing` | nothing | the claim's leaf; `no_token`; the token is `invalid` or `not_yours` at the door |
//! | expired or foreign token | `attacks::claims::expired_and_foreign_tokens_earn_nothing` | nothing | claim and token as leaves; `expired_token`, `not_assigned`, `outside_token` |
//! | counter rollback | `attacks::counters::a_rollback_costs_the_epoch` | nothing, and the epoch's honest claims are lost | `contradiction`; two leaves whose proofs anybody verifies |
//! | double counter | `attacks::counters::equivocation_costs_the_epoch` | nothing, likewise | the same; also for a receipt of which sender and ledger were told different ones |
//! | sybil viewers | `attacks::viewers::sybil_viewers_earn_their_relay_its_cap` | the cap of relay and epoch, held longest | E0 lines, `relay_cap`; each session's claim and token |
//! | colluding pair | `attacks::viewers::a_colluding_pair_earns_what_was_seen_or_the_token_allows` | what the publisher saw, else `max_bytes` | claim, viewer's receipt and observation side by side; `not_reported`, `session_limit` |
//! | free-riding peer | `attacks::peers::a_free_rider_gets_the_credit_window` | no money; 8 MiB and one piece of 256 KiB once, on however many streams | no receipt, so no line: the sender's loss is the window |
//! | circular fills | `attacks::peers::fills_in_a_circle_earn_what_a_viewer_is_worth` | the receiver's own share, nothing without viewers | receipts of both; `receiver_share` |
//! | forged checkpoint | `attacks::logs::a_forged_checkpoint_is_refused` | nothing | the relay says so and keeps what it knew; `weir ledger verify` ends with 3 |
//! | fork of the log | `attacks::logs::a_fork_shown_to_two_relays_is_proven` | the withheld claim's pay, until two relays compare | two checkpoints of one size, signed by one key, in two relays' directories; the promise |
#![expect(clippy::unwrap_used, reason = "tests")]

mod attacks;
#[path = "../faults/content.rs"]
#[expect(dead_code, reason = "films are for other tests")]
mod content;
mod crashes;
mod crook;
mod full_disk;
#[path = "../harness/mod.rs"]
mod harness;
#[path = "../../ledger/tests/support/postgres.rs"]
mod postgres;
mod publisher;
mod submitter;
