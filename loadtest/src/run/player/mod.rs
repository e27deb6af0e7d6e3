//! The decisions of a player, without I/O, clock and randomness: events and times come as arguments, so what a player would do
//! in an evening is tested in microseconds.

pub(super) mod abr;
pub(super) mod clock;
pub(super) mod cmcd;
pub(super) mod list;
pub(super) mod parsed;
pub(super) mod pathway;
pub(super) mod poll;
pub(super) mod position;
