//! Whole flows of the load tools against small servers on loopback.

#![expect(clippy::unwrap_used, reason = "tests")]

mod impair;
mod media;
mod raw;
mod run;
mod support;
mod viewer;
mod viewer_faults;
