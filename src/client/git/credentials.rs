//! Credentials for http(s) remotes: from the URL, `~/.netrc`, or git's credential helpers.
//!
//! They are looked up only after a server asked for them, once for each host however many
//! remotes it has, and never shown: a [`Login`]'s `Debug` names the user alone.

use std::collections::HashMap;
use std::fmt;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::sync::Mutex;

use super::netrc;
use super::{Configuration, Environment};
use crate::source::{GitScheme, GitUrl};

/// A helper may open a browser and wait for a person.
const HELPER_TIMEOUT: Duration = Duration::from_secs(180);

/// A user and a password.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Login {
    pub(super) user: String,
    pub(super) password: String,
}

impl Login {
    pub(super) fn new(user: &str, password: &str) -> Self {
        Self {
            user: user.to_owned(),
            password: password.to_owned(),
        }
    }

    /// Returns what the URL itself says.
    pub(super) fn of_url(url: &GitUrl) -> Option<Self> {
        match (url.user(), url.password()) {
            (user, Some(password)) => Some(Self::new(user.unwrap_or(""), password)),
            // `https://TOKEN@host` is left to the helpers, which git would ask for its password.
            _ => None,
        }
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Login({})", self.user)
    }
}

/// The logins that a process has found so far.
#[derive(Default)]
pub(super) struct Credentials {
    entries: Mutex<HashMap<String, Arc<Mutex<Entry>>>>,
}

#[derive(Default)]
struct Entry {
    current: Option<(Login, Source)>,
    /// The server took the login for one of its repositories: that another one is refused says
    /// nothing about the login.
    accepted: bool,
    exhausted: bool,
    /// What a helper wrote when it gave no login.
    complaint: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Source {
    Netrc,
    Helper,
}

impl Credentials {
    /// Returns a login that worked for another remote of the same host.
    pub(super) async fn known(&self, configuration: &Configuration, url: &GitUrl) -> Option<Login> {
        let entry = self.entry(configuration, url).await;
        let entry = entry.lock().await;
        entry
            .current
            .as_ref()
            .filter(|_| entry.accepted)
            .map(|(login, _)| login.clone())
    }

    /// Returns the login to try next, after the server refused `refused` or asked for one.
    pub(super) async fn next(
        &self,
        configuration: &Configuration,
        environment: &Environment,
        url: &GitUrl,
        refused: Option<&Login>,
    ) -> Result<Login, NoLogin> {
        let entry = self.entry(configuration, url).await;
        // Held while a helper runs, so that fifty remotes of a host ask it once.
        let mut entry = entry.lock().await;
        if let Some((login, source)) = entry.current.clone() {
            if refused != Some(&login) {
                return Ok(login);
            }
            if entry.accepted {
                return Err(NoLogin { complaint: None });
            }
            entry.current = None;
            if source == Source::Helper {
                run_helper("reject", url, Some(&login)).await.ok();
                entry.exhausted = true;
            } else {
                entry.current = ask_helper(&mut entry, url).await;
            }
        } else if !entry.exhausted {
            entry.current = match read_netrc(environment, url).await {
                Some(login) => Some((login, Source::Netrc)),
                None => ask_helper(&mut entry, url).await,
            };
        }
        match &entry.current {
            Some((login, _)) => Ok(login.clone()),
            None => Err(NoLogin {
                complaint: entry.complaint.clone(),
            }),
        }
    }

    /// Notes that a server accepted a login, and tells the helper that gave it.
    pub(super) async fn accept(&self, configuration: &Configuration, url: &GitUrl, login: &Login) {
        let entry = self.entry(configuration, url).await;
        let mut entry = entry.lock().await;
        match &entry.current {
            Some((current, source)) if current == login && !entry.accepted => {
                if *source == Source::Helper {
                    run_helper("approve", url, Some(login)).await.ok();
                }
                entry.accepted = true;
            }
            _ => {}
        }
    }

    async fn entry(&self, configuration: &Configuration, url: &GitUrl) -> Arc<Mutex<Entry>> {
        let mut key = format!("{}@{}", url.user().unwrap_or(""), url.origin());
        if configuration.credentials_use_path {
            key.push_str(url.path());
        }
        self.entries.lock().await.entry(key).or_default().clone()
    }
}

/// There is no login left to try.
pub(super) struct NoLogin {
    /// What a credential helper complained about.
    pub(super) complaint: Option<String>,
}

async fn read_netrc(environment: &Environment, url: &GitUrl) -> Option<Login> {
    let path = environment.home.as_ref()?.join(".netrc");
    let text = tokio::fs::read(path).await.ok()?;
    netrc::find_login(&String::from_utf8_lossy(&text), url.host(), url.user())
}

async fn ask_helper(entry: &mut Entry, url: &GitUrl) -> Option<(Login, Source)> {
    match run_helper("fill", url, None).await {
        Ok(answer) => match parse_answer(&answer) {
            Some(login) => return Some((login, Source::Helper)),
            None => entry.complaint = Some("git's credential helpers gave no password".to_owned()),
        },
        Err(complaint) => entry.complaint = complaint,
    }
    entry.exhausted = true;
    None
}

/// Runs `git credential`, which knows every rule of git's configuration about helpers.
async fn run_helper(
    verb: &str,
    url: &GitUrl,
    login: Option<&Login>,
) -> Result<String, Option<String>> {
    let mut child = Command::new("git")
        .args(["credential", verb])
        // xp runs fifty requests at once beside its progress bars: nothing may ask on the terminal.
        .env("GIT_TERMINAL_PROMPT", "0")
        // What git says of that is recognised by its words.
        .env("LANGUAGE", "en")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|cause| {
            Some(format!(
                "git's credential helpers cannot be asked: `git`: {cause}"
            ))
        })?;
    if let Some(mut stdin) = child.stdin.take() {
        // A helper that does not read its input is not at fault.
        let _ = stdin.write_all(question(url, login).as_bytes()).await;
    }
    match tokio::time::timeout(HELPER_TIMEOUT, child.wait_with_output()).await {
        Err(_) => Err(Some(format!(
            "git's credential helper did not answer within {} s",
            HELPER_TIMEOUT.as_secs()
        ))),
        Ok(Err(cause)) => Err(Some(format!("git's credential helper failed: {cause}"))),
        Ok(Ok(output)) if output.status.success() => {
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        }
        Ok(Ok(output)) => Err(complaint(url, &String::from_utf8_lossy(&output.stderr))),
    }
}

fn question(url: &GitUrl, login: Option<&Login>) -> String {
    let protocol = if url.scheme() == GitScheme::Https {
        "https"
    } else {
        "http"
    };
    let origin = url.origin();
    let host = origin
        .split_once("://")
        .map_or(url.host(), |(_, host)| host);
    let path = url.path().trim_start_matches('/');
    let mut question = format!("protocol={protocol}\nhost={host}\npath={path}\n");
    match login {
        Some(Login { user, password }) => {
            question.push_str(&format!("username={user}\npassword={password}\n"));
        }
        None => {
            if let Some(user) = url.user() {
                question.push_str(&format!("username={user}\n"));
            }
        }
    }
    question.push('\n');
    question
}

fn parse_answer(answer: &str) -> Option<Login> {
    let value = |key: &str| {
        answer
            .lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
    };
    Some(Login::new(value("username")?, value("password")?))
}

/// Leaves out what git always says when no helper has an answer.
fn complaint(url: &GitUrl, stderr: &str) -> Option<String> {
    let line = stderr
        .lines()
        .map(str::trim)
        .find(|line| !line.is_empty() && !line.contains("terminal prompts disabled"))?;
    let mut said = format!("git's credential helper says: {line}");
    if let Some(user) = url.user().filter(|_| url.has_secret_user()) {
        said = said.replace(user, "***");
    }
    Some(said)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> GitUrl {
        text.parse().unwrap()
    }

    #[test]
    fn helpers_are_asked_in_their_own_language() {
        assert_eq!(
            question(&url("https://bob@git.example.com:8443/x/y.git"), None),
            "protocol=https\nhost=git.example.com:8443\npath=x/y.git\nusername=bob\n\n"
        );
        assert_eq!(
            question(&url("http://h/x"), Some(&Login::new("a", "b"))),
            "protocol=http\nhost=h\npath=x\nusername=a\npassword=b\n\n"
        );
        let answer = "protocol=https\nhost=h\nusername=bob\npassword=p=q\n";
        assert_eq!(parse_answer(answer), Some(Login::new("bob", "p=q")));
        assert_eq!(parse_answer("username=bob\n"), None);
    }

    #[test]
    fn only_what_a_helper_says_is_repeated() {
        let disabled = "fatal: could not read Username for 'http://h': terminal prompts disabled\n";
        let remote = url("http://T0KEN@h/x");
        assert_eq!(complaint(&remote, disabled), None);
        let missing =
            format!("git: 'credential-nope' is not a git command. See 'git --help'.\n{disabled}");
        let said = complaint(&remote, &missing).unwrap();
        assert!(said.contains("credential-nope"), "{said}");
        let said = complaint(&remote, "no password for T0KEN@h").unwrap();
        assert!(said.ends_with("no password for ***@h"), "{said}");
    }

    #[test]
    fn a_login_shows_no_password() {
        assert_eq!(
            format!("{:?}", Login::of_url(&url("https://bob:s3cret@h/x"))),
            "Some(Login(bob))"
        );
        assert_eq!(Login::of_url(&url("https://bob@h/x")), None);
    }
}
