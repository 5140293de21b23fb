//! Prompts on a terminal.

use std::io::{self, BufRead as _, Write as _};

/// Asks a question and returns the typed line, or `None` at the end of input.
///
/// Blocks until a line is entered.
pub fn ask(question: &str, default: &str, color: bool) -> io::Result<Option<String>> {
    let mut screen = io::stderr().lock();
    if color {
        write!(screen, "\x1b[1m{question}\x1b[0m [{default}]: ")?;
    } else {
        write!(screen, "{question} [{default}]: ")?;
    }
    screen.flush()?;
    drop(screen);
    let mut line = String::new();
    if io::stdin().lock().read_line(&mut line)? == 0 {
        return Ok(None);
    }
    Ok(Some(line.trim().to_owned()))
}

/// Prints a message to standard error.
pub fn say(text: &str) {
    // If standard error is closed, there is no way to report it.
    _ = writeln!(io::stderr().lock(), "{text}");
}
