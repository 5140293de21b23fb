//! References: a remote's, and those a working copy knows.

pub mod cached;
pub mod list;
pub mod names;
pub mod pkt_line;
pub mod remote;
