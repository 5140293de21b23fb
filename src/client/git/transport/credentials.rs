//! Credentials for http(s) remotes: from the URL, a file that xp was given, `~/.netrc`, or git's credential helpers.
//!
//! They are looked up only after a server requests them, and once per host regardless of the number of
//! remotes. They are never printed: the `Debug` output of a [`Login`] contains only the user.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::sync::Mutex;

use super::netrc;
use crate::base::units;
use crate::client::git::{GitConfiguration, GitEnvironment};
use crate::model::source::{GitScheme, GitUrl};

/// A helper may open a browser and wait for the user.
const HELPER_TIMEOUT: Duration = Duration::from_secs(180);

/// A user and a password.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    pub user: String,
    pub password: String,
}

impl Login {
    pub fn new(user: &str, password: &str) -> Self {
        Self {
            user: user.to_owned(),
            password: password.to_owned(),
        }
    }

    /// Returns the login in the URL.
    pub fn of_url(url: &GitUrl) -> Option<Self> {
        match (url.user(), url.password()) {
            (user, Some(password)) => Some(Self::new(user.unwrap_or(""), password)),
            // For `https://TOKEN@host`, git asks the helpers for the password.
            _ => None,
        }
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Login({})", self.user)
    }
}

/// The logins found so far in this process.
#[derive(Default)]
pub struct GitCredentials {
    entries: Mutex<HashMap<String, Arc<Mutex<HostEntry>>>>,
    /// The remotes that were contacted: these request a login if they require one.
    contacted: Mutex<HashSet<GitUrl>>,
}

#[derive(Default)]
struct HostEntry {
    current: Option<(Login, LoginSource)>,
    /// The server accepted the login for one of its repositories: if it then denies access to another one, the
    /// login is still valid.
    accepted: bool,
    exhausted: bool,
    /// The helper's output if it returned no login.
    helper_message: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum LoginSource {
    File,
    Helper,
}

impl GitCredentials {
    /// Records that a request is sent to a remote.
    pub async fn record_contact(&self, url: &GitUrl) {
        let mut contacted = self.contacted.lock().await;
        if !contacted.contains(url) {
            contacted.insert(url.clone());
        }
    }

    /// Returns whether a request was sent to a remote.
    pub async fn was_contacted(&self, url: &GitUrl) -> bool {
        self.contacted.lock().await.contains(url)
    }

    /// Returns a login that the server accepted for another remote of the same host.
    pub async fn accepted_login(
        &self,
        configuration: &GitConfiguration,
        url: &GitUrl,
    ) -> Option<Login> {
        let entry = self.entry(configuration, url).await;
        let entry = entry.lock().await;
        entry
            .current
            .as_ref()
            .filter(|_| entry.accepted)
            .map(|(login, _)| login.clone())
    }

    /// Returns the login to try next, after the server rejected `refused` or requested one.
    pub async fn next_login(
        &self,
        configuration: &GitConfiguration,
        environment: &GitEnvironment,
        url: &GitUrl,
        refused: Option<&Login>,
    ) -> Result<Login, NoLogin> {
        let entry = self.entry(configuration, url).await;
        // The lock is held while a helper runs, so that it runs only once for many remotes of one host.
        let mut entry = entry.lock().await;
        if let Some((login, source)) = entry.current.clone() {
            if refused != Some(&login) {
                return Ok(login);
            }
            if entry.accepted {
                return Err(NoLogin {
                    helper_message: None,
                });
            }
            entry.current = None;
            if source == LoginSource::Helper {
                run_helper("reject", url, Some(&login)).await.ok();
                entry.exhausted = true;
            } else {
                entry.current = query_helper(&mut entry, url).await;
            }
        } else if !entry.exhausted {
            let login = match read_stored(environment, url).await {
                None => read_netrc(environment, url).await,
                login => login,
            };
            entry.current = match login {
                Some(login) => Some((login, LoginSource::File)),
                None => query_helper(&mut entry, url).await,
            };
        }
        match &entry.current {
            Some((login, _)) => Ok(login.clone()),
            None => Err(NoLogin {
                helper_message: entry.helper_message.clone(),
            }),
        }
    }

    /// Records that a server accepted a login, and approves it with the helper that returned it.
    pub async fn accept(&self, configuration: &GitConfiguration, url: &GitUrl, login: &Login) {
        let entry = self.entry(configuration, url).await;
        let mut entry = entry.lock().await;
        match &entry.current {
            Some((current, source)) if current == login && !entry.accepted => {
                if *source == LoginSource::Helper {
                    run_helper("approve", url, Some(login)).await.ok();
                }
                entry.accepted = true;
            }
            _ => {}
        }
    }

    async fn entry(&self, configuration: &GitConfiguration, url: &GitUrl) -> Arc<Mutex<HostEntry>> {
        let mut key = format!("{}@{}", url.user().unwrap_or(""), url.origin());
        if configuration.credentials_use_path {
            key.push_str(url.path());
        }
        self.entries.lock().await.entry(key).or_default().clone()
    }
}

/// All logins were tried.
pub struct NoLogin {
    /// The message of a credential helper.
    pub helper_message: Option<String>,
}

async fn read_stored(environment: &GitEnvironment, url: &GitUrl) -> Option<Login> {
    let path = environment.stored_logins.as_ref()?;
    let text = tokio::fs::read_to_string(path).await.ok()?;
    stored_login(&text, url)
}

/// Returns the login for a URL from the format of git's `store` helper: URLs with user and password.
fn stored_login(text: &str, url: &GitUrl) -> Option<Login> {
    let stored: Vec<GitUrl> = text.lines().filter_map(|it| it.parse().ok()).collect();
    let matching = |it: &&GitUrl| {
        it.origin() == url.origin() && url.user().is_none_or(|user| it.user() == Some(user))
    };
    let exact = stored.iter().filter(matching);
    let exact = exact.clone().find(|it| it.path() == url.path());
    let found = exact.or_else(|| stored.iter().find(matching));
    found.and_then(Login::of_url)
}

async fn read_netrc(environment: &GitEnvironment, url: &GitUrl) -> Option<Login> {
    let path = environment.home.as_ref()?.join(".netrc");
    let text = tokio::fs::read(path).await.ok()?;
    netrc::find_login(&String::from_utf8_lossy(&text), url.host(), url.user())
}

async fn query_helper(entry: &mut HostEntry, url: &GitUrl) -> Option<(Login, LoginSource)> {
    match run_helper("fill", url, None).await {
        Ok(output) => match parse_helper_output(&output) {
            Some(login) => return Some((login, LoginSource::Helper)),
            None => {
                entry.helper_message =
                    Some("git's credential helpers returned no password".to_owned())
            }
        },
        Err(helper_message) => entry.helper_message = helper_message,
    }
    entry.exhausted = true;
    None
}

/// Runs `git credential`, which implements all of git's configuration of helpers.
async fn run_helper(
    verb: &str,
    url: &GitUrl,
    login: Option<&Login>,
) -> Result<String, Option<String>> {
    let mut child = Command::new("git")
        .args(["credential", verb])
        // Many requests run concurrently below progress bars: no program may prompt on the terminal.
        .env("GIT_TERMINAL_PROMPT", "0")
        // We match git's message about that.
        .env("LANGUAGE", "en")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|cause| Some(format!("cannot run `git credential`: {cause}")))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A helper may not read its input.
        let _ = stdin.write_all(helper_input(url, login).as_bytes()).await;
    }
    match tokio::time::timeout(HELPER_TIMEOUT, child.wait_with_output()).await {
        Err(_) => Err(Some(format!(
            "git's credential helper did not respond within {}",
            units::limit(HELPER_TIMEOUT)
        ))),
        Ok(Err(cause)) => Err(Some(format!("git's credential helper failed: {cause}"))),
        Ok(Ok(output)) if output.status.success() => {
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        }
        Ok(Ok(output)) => Err(helper_message(
            url,
            &String::from_utf8_lossy(&output.stderr),
        )),
    }
}

fn helper_input(url: &GitUrl, login: Option<&Login>) -> String {
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
    let mut helper_input = format!("protocol={protocol}\nhost={host}\npath={path}\n");
    match login {
        Some(Login { user, password }) => {
            helper_input.push_str(&format!("username={user}\npassword={password}\n"));
        }
        None => {
            if let Some(user) = url.user() {
                helper_input.push_str(&format!("username={user}\n"));
            }
        }
    }
    helper_input.push('\n');
    helper_input
}

fn parse_helper_output(output: &str) -> Option<Login> {
    let value = |key: &str| {
        output
            .lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
    };
    Some(Login::new(value("username")?, value("password")?))
}

/// Returns the helper's first line, without the message that git always prints if no helper returns a login.
fn helper_message(url: &GitUrl, stderr: &str) -> Option<String> {
    let line = stderr
        .lines()
        .map(str::trim)
        .find(|line| !line.is_empty() && !line.contains("terminal prompts disabled"))?;
    let line = url.redactor().text(line);
    Some(format!("git's credential helper failed: {line}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> GitUrl {
        text.parse().unwrap()
    }

    #[test]
    fn helper_input_and_output_follow_the_protocol() {
        assert_eq!(
            helper_input(&url("https://bob@git.example.com:8443/x/y.git"), None),
            "protocol=https\nhost=git.example.com:8443\npath=x/y.git\nusername=bob\n\n"
        );
        assert_eq!(
            helper_input(&url("http://h/x"), Some(&Login::new("a", "b"))),
            "protocol=http\nhost=h\npath=x\nusername=a\npassword=b\n\n"
        );
        let output = "protocol=https\nhost=h\nusername=bob\npassword=p=q\n";
        assert_eq!(parse_helper_output(output), Some(Login::new("bob", "p=q")));
        assert_eq!(parse_helper_output("username=bob\n"), None);
    }

    #[test]
    fn stored_logins_are_those_of_the_server() {
        let text = "https://a:one@h/x\nhttps://b:p%40%3A@h/y\nhttp://c:three@h:8080/x\n";
        let login = |it: &str| stored_login(text, &url(it));
        assert_eq!(login("https://h/y"), Some(Login::new("b", "p@:")));
        assert_eq!(login("https://h/other"), Some(Login::new("a", "one")));
        assert_eq!(login("https://b@h/x"), Some(Login::new("b", "p@:")));
        assert_eq!(login("http://h:8080/z"), Some(Login::new("c", "three")));
        for other in ["http://h/x", "https://h:8443/x", "https://c@h/x"] {
            assert_eq!(login(other), None, "{other}");
        }
    }

    #[test]
    fn helper_messages_are_reported_without_secrets() {
        let disabled = "fatal: could not read Username for 'http://h': terminal prompts disabled\n";
        let remote = url("http://T0KEN@h/x");
        assert_eq!(helper_message(&remote, disabled), None);
        let missing =
            format!("git: 'credential-nope' is not a git command. See 'git --help'.\n{disabled}");
        let message = helper_message(&remote, &missing).unwrap();
        assert!(message.contains("credential-nope"), "{message}");
        let message = helper_message(&remote, "no password for T0KEN@h").unwrap();
        assert!(message.ends_with("no password for ***@h"), "{message}");
    }

    #[test]
    fn debug_output_hides_the_password() {
        assert_eq!(
            format!("{:?}", Login::of_url(&url("https://bob:s3cret@h/x"))),
            "Some(Login(bob))"
        );
        assert_eq!(Login::of_url(&url("https://bob@h/x")), None);
    }
}
