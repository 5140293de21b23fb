//! Output for pipes and CI logs: plain lines and groups.

pub mod ci;
pub mod groups;
pub mod line_buffer;
pub mod lines;
