//! The log: takes verified messages, promises inclusion, signs checkpoints and publishes files.
//!
//! * `submission`: what may become a leaf.
//! * `record`: the log itself over a store.
//! * `writer`: many submitters, one durable commit for all that wait.
//! * `publish`: checkpoints, witnesses and files.
//! * `proof`: "is my message in the log?", in a form that is checked offline.

mod proof;
mod publish;
mod record;
mod submission;
mod writer;

pub use proof::{InclusionProof, InclusionProofError};
pub use publish::{CHECKPOINT_EVERY, PublishError, Publisher, WitnessClient};
pub use record::{Acknowledged, Log, LogError, LogKeys};
pub use submission::{PublishersOwn, Submission, SubmissionError};
pub use writer::{MAX_WAITING, SubmitError, Submitter, Writer};
