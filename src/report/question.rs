//! Questions on a terminal.

use std::io::{self, BufRead as _, Write as _};

/// Asks a question, and returns the line that was typed; none where the input has ended.
///
/// Blocks until there is a line.
pub fn ask(question: &str, default: &str, color: bool) -> io::Result<Option<String>> {
    let mut screen = io::stderr().lock();
    match color {
        true => write!(screen, "\x1b[1m{question}\x1b[0m [{default}]: ")?,
        false => write!(screen, "{question} [{default}]: ")?,
    }
    screen.flush()?;
    drop(screen);
    let mut line = String::new();
    if io::stdin().lock().read_line(&mut line)? == 0 {
        return Ok(None);
    }
    Ok(Some(line.trim().to_owned()))
}

/// Says something beside the result, a line or more.
pub fn say(text: &str) {
    // Nobody is left to be told that nobody can be told.
    _ = writeln!(io::stderr().lock(), "{text}");
}
