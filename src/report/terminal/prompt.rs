//! Prompts, messages and results.

use std::io::{self, BufRead as _, Write as _};

use crate::base::error::Failure;

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
pub fn print_message(text: &str) {
    // If standard error is closed, there is no way to report it.
    _ = writeln!(io::stderr().lock(), "{text}");
}

/// Prints a result to standard output. A closed pipe is not an error; a full disk is.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut output = io::stdout().lock();
    match output
        .write_all(text.as_bytes())
        .and_then(|()| output.flush())
    {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::outside(format!(
            "cannot write the result: {error}"
        ))),
        _ => Ok(()),
    }
}
