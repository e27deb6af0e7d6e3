//! Settlement: a pure function from the log's openings and a policy to amounts, the same bytes on every machine.
//!
//! * `policy`: the file that says what is paid.
//! * `reason`: the codes of everything that is not paid.
//! * `money`: integer arithmetic.
//! * `claims`: what becomes of each claim; `fills`: of each peer receipt; `epoch`: the lines of one epoch.
//! * `run`: all epochs, and who gets what; `totals`: what an epoch came to, as a leaf of its own; `forget`: what can go
//!   then.
//! * `json`, `csv`: the two published forms.
//! * `check`: the whole computation again, from a folder that somebody else published.

mod check;
mod claims;
mod csv;
mod epoch;
mod fills;
mod forget;
mod json;
mod line;
mod money;
mod policy;
mod reason;
mod run;
mod totals;

pub(crate) use csv::field as csv_field;

pub use check::{CheckError, Checked, POLICY_FILE, SETTLEMENT_CSV, SETTLEMENT_JSON, check_folder, check_tree};
pub use forget::{MAX_PART_LINES, forgettable, totals_messages};
pub use json::{JsonError, canonical};
pub use line::{Grade, Line};
pub use money::{Rate, cap, divide, millionths};
pub use policy::{
    Caps, Claw, Group, HashedPolicy, Hold, Payout, Peers, Policy, PolicyError, Price, PriceKind, Probes, Split, covers,
};
pub use reason::Reason;
pub use run::{
    CreatorTotal, MisconductNote, ParkedEpoch, PayStatus, Payable, PlatformTotal, ProbeNote, RelayTotal, SettleError,
    SettleInput, Settlement, settle,
};
pub use totals::TotalsError;
