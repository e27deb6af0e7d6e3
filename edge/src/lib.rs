//! HTTP/3, HTTP/2 and HTTP/1.1 doors, routes and admin of a Weir relay.

pub mod admin;
pub mod doors;
pub mod metrics;
pub mod negotiate;
pub mod routes;
pub mod tls;
pub mod tokens;
