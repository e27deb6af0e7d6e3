//! Doors seen from outside: real sockets, real clients of each HTTP version.

mod admin;
mod bodies;
mod client;
mod drain;
mod hostile;
mod site;
mod urgency;
