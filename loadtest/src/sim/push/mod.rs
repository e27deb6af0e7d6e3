//! Live segments go down trees. Where a relay hangs is decided by the real coordinator and the real branches; here stand
//! the messages between them, and the objects that follow.
//!
//! Files use one another in this order: `watched`, `post`, `objects`, `branches`, `messages` and `broken`.

mod branches;
mod broken;
mod messages;
mod objects;
mod post;
mod watched;

pub(super) use self::{
    branches::{died, look_after, tick_bytes, unwatch, watch},
    broken::{broken, orphan, stands},
    messages::{message, poll},
    objects::{head, listed, origin_head, origin_tail, pull_playlist, segment, tail},
    watched::{newest, wait},
};
