//! One file for each theme; the table is in `main.rs`.

mod claims;
mod counters;
mod logs;
mod peers;
mod viewers;
