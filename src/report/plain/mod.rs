//! Output for pipes and CI logs: plain lines and groups.

pub mod annotation;
pub mod checked_out;
pub mod ci;
pub mod groups;
pub mod line_buffer;
pub mod lines;
