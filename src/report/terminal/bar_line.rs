//! Text that indicatif draws for a row.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle, TermLike};

/// Filled and empty part of a bar.
const BAR: &str = "━─";

/// Returns what indicatif draws of a hidden progress bar in this many columns. Only `{wide_bar}` adapts to them.
pub fn bar_line(progress: &ProgressBar, template: &str, columns: usize) -> String {
    let line = BarLine {
        columns: columns.clamp(1, usize::from(u16::MAX)) as u16,
        text: Arc::default(),
    };
    let style = ProgressStyle::with_template(template);
    progress.set_style(
        style
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .progress_chars(BAR),
    );
    // Hidden except for this, so that updates between two frames draw nothing.
    progress.set_draw_target(ProgressDrawTarget::term_like(Box::new(line.clone())));
    progress.force_draw();
    progress.set_draw_target(ProgressDrawTarget::hidden());
    let text = line.text.lock().unwrap_or_else(PoisonError::into_inner);
    // Indicatif pads the line to the width of the terminal.
    text.trim_end().to_owned()
}

/// A terminal with a single line. `Screen` puts the lines of all rows on the real one, in one update.
#[derive(Debug, Clone)]
struct BarLine {
    columns: u16,
    text: Arc<Mutex<String>>,
}

impl TermLike for BarLine {
    fn width(&self) -> u16 {
        self.columns
    }

    fn height(&self) -> u16 {
        // Nothing is left out, even if it is too wide.
        u16::MAX
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        let mut line = self.text.lock().unwrap_or_else(PoisonError::into_inner);
        line.push_str(text);
        Ok(())
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        self.write_str(text)
    }

    fn clear_line(&self) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_up(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_down(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_right(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_left(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
}
