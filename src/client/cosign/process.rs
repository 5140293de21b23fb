//! Runs `cosign`.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use super::CosignError;
use crate::base::sanitize::sanitized_line;

/// How long one call may take: a key may be on a server.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Its exit status and output.
#[derive(Debug)]
pub(super) struct ProgramOutput {
    is_success: bool,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl ProgramOutput {
    pub fn is_success(&self) -> bool {
        self.is_success
    }

    /// Returns what it printed to both outputs: help may be on either.
    pub fn text(&self) -> String {
        if self.stdout.is_empty() {
            return String::from_utf8_lossy(&self.stderr).into_owned();
        }
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Returns its errors, each once.
    pub fn errors(&self) -> Vec<String> {
        let text = String::from_utf8_lossy(&self.stderr);
        let lines = text.lines().filter_map(|line| {
            // After a prompt, an error is on the same line.
            let (_, error) = line.split_once("Error: ")?;
            Some(sanitized_line(error.trim()))
        });
        let mut errors: Vec<String> = lines.collect();
        errors.dedup();
        if errors.is_empty() {
            errors.push("it failed without a message".to_owned());
        }
        errors
    }
}

/// Runs it with an input, and kills it when the future is dropped.
pub(super) async fn run(
    program: &Path,
    arguments: &[&str],
    variables: &[(&str, &str)],
    folder: &Path,
    input: &[u8],
) -> Result<ProgramOutput, CosignError> {
    let failed = |source| CosignError::NotRun {
        program: program.to_owned(),
        source,
    };
    let mut child = Command::new(program)
        .args(arguments)
        .envs(variables.iter().copied())
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(failed)?;
    let stdin = child.stdin.take();
    let write = async {
        if let Some(mut stdin) = stdin {
            // It may end without reading.
            _ = stdin.write_all(input).await;
            _ = stdin.shutdown().await;
        }
    };
    let ended = async { tokio::join!(write, child.wait_with_output()).1 };
    match tokio::time::timeout(TIMEOUT, ended).await {
        Ok(output) => {
            let output = output.map_err(failed)?;
            Ok(ProgramOutput {
                is_success: output.status.success(),
                stdout: output.stdout,
                stderr: output.stderr,
            })
        }
        Err(_) => Err(CosignError::Hangs {
            program: program.to_owned(),
            limit: TIMEOUT,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_listed_once_and_without_control_characters() {
        let output = |stderr: &str| ProgramOutput {
            is_success: false,
            stdout: Vec::new(),
            stderr: stderr.as_bytes().to_vec(),
        };
        let printed =
            "WARNING: x\nError: no\u{1b}[2J key\nerror during command execution: no key\n";
        assert_eq!(output(printed).errors(), ["no[2J key"]);
        let prompt = "Enter password for private key: Error: inappropriate ioctl for device\n";
        assert_eq!(output(prompt).errors(), ["inappropriate ioctl for device"]);
        assert_eq!(output("").errors(), ["it failed without a message"]);
    }

    #[tokio::test]
    async fn the_input_is_passed_and_variables_are_set() {
        let arguments = ["-c", "printf '%s %s' \"$KEY\" \"$(cat)\""];
        let ran = run(
            Path::new("/bin/sh"),
            &arguments,
            &[("KEY", "k")],
            Path::new("/"),
            b"in",
        );
        let output = ran.await.unwrap();
        assert!(output.is_success());
        assert_eq!(output.text(), "k in");
    }
}
