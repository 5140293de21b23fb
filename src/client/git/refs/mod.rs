//! References: a remote's, and those a working copy knows.

pub mod known;
pub mod list;
pub mod names;
pub mod pkt_line;
pub mod remote;
