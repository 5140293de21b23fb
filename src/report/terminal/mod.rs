//! Output on a terminal: live rows, redrawn in place.

mod bar_line;
pub mod bars;
pub mod prompt;
pub mod row;
pub mod screen;
pub mod size;
pub mod transfer;
