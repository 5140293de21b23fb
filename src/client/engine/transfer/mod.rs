//! Images: lookup, tags, pull and push.

pub mod images;
pub mod inventory;
pub mod lookup;
pub mod messages;
pub mod push;
