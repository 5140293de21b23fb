//! URLs of git remotes.

mod relative;

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::base::redact::{REDACTED, Redactor};

/// The protocol of a git remote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum GitScheme {
    /// `http://`
    Http,
    /// `https://`
    Https,
    /// `ssh://` or `user@host:path`
    Ssh,
    /// `git://`
    Git,
    /// `file://` or a path
    File,
}

/// The URL of a git remote.
///
/// `Display` and `Debug` hide passwords and users that may be tokens; [`GitUrl::expose`] returns the original text,
/// only for transports.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GitUrl {
    text: String,
    scheme: GitScheme,
    user: Option<String>,
    password: Option<String>,
    host: String,
    port: Option<u16>,
    path: String,
}

/// An invalid URL of a git remote.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("invalid git remote URL: {0}")]
pub struct InvalidGitUrl(String);

impl GitUrl {
    /// Returns the text as written, including credentials: only for transports, never for display.
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// Returns the protocol.
    pub fn scheme(&self) -> GitScheme {
        self.scheme
    }

    /// Returns the user before `@`, percent-decoded.
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// Returns the password before `@`, percent-decoded: only for transports, never for display.
    pub fn password(&self) -> Option<&str> {
        self.password.as_deref()
    }

    /// Returns whether the user may be a token: `https://TOKEN@host/…`, `TOKEN:@` and
    /// `TOKEN:x-oauth-basic@` are all in use.
    pub fn has_secret_user(&self) -> bool {
        matches!(self.scheme, GitScheme::Http | GitScheme::Https)
            && self.user.as_deref().is_some_and(|user| !user.is_empty())
            && matches!(self.password(), None | Some("" | "x-oauth-basic"))
    }

    /// Returns whether it has a password, or a user that may be a token.
    pub fn has_secrets(&self) -> bool {
        self.password.is_some() || self.has_secret_user()
    }

    /// Returns a redactor for its secrets, both as written and decoded.
    pub fn redactor(&self) -> Redactor {
        let written = self.credentials().map(|(_, written, _)| written);
        let user = self.user().filter(|_| self.has_secret_user());
        let secrets = [written, self.password(), user].into_iter().flatten();
        Redactor::of(secrets.filter(|_| self.has_secrets()).map(str::to_owned))
    }

    /// Returns the text without a password, and without a user that may be a token, so that it can be written to a
    /// configuration file.
    pub fn without_secrets(&self) -> String {
        match self.credentials().filter(|_| self.has_secrets()) {
            None => self.text.clone(),
            // As written, still percent-encoded.
            Some((scheme, written, address)) => match written.split(':').next() {
                Some(user) if !self.has_secret_user() && !user.is_empty() => {
                    format!("{scheme}://{user}@{address}")
                }
                _ => format!("{scheme}://{address}"),
            },
        }
    }

    /// Splits the text into scheme, credentials and the rest; `None` without credentials.
    fn credentials(&self) -> Option<(&str, &str, &str)> {
        self.user.as_ref()?;
        let (scheme, rest) = self.text.split_once("://")?;
        let authority = rest.split('/').next().unwrap_or(rest);
        // The last `@` of the authority ends the credentials.
        let end = authority.rfind('@')?;
        Some((scheme, &rest[..end], &rest[end + 1..]))
    }

    /// Returns the host without the brackets of an IPv6 address; empty for `file`.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns the port, if the URL has one.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// Returns the path as the server expects it: with a leading slash for a URL, and without one for the scp-like
    /// form with a relative path. It is percent-decoded, except for http(s), where the server does that.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Returns scheme, host and port, such as `https://git.example.com`; the path for `file`.
    ///
    /// Connections are pooled and limited by it.
    pub fn origin(&self) -> String {
        let scheme = match self.scheme {
            GitScheme::Http => "http",
            GitScheme::Https => "https",
            GitScheme::Ssh => "ssh",
            GitScheme::Git => "git",
            GitScheme::File => return format!("file://{}", self.path),
        };
        let host = if self.host.contains(':') {
            format!("[{}]", self.host)
        } else {
            self.host.clone()
        };
        match self.port {
            Some(port) => format!("{scheme}://{host}:{port}"),
            None => format!("{scheme}://{host}"),
        }
    }

    /// Returns an http(s) URL without credentials and without a trailing slash.
    pub fn without_credentials(&self) -> String {
        match self.scheme {
            GitScheme::Http | GitScheme::Https | GitScheme::Git => {
                format!("{}{}", self.origin(), self.path.trim_end_matches('/'))
            }
            GitScheme::Ssh | GitScheme::File => self.to_string(),
        }
    }

    /// Returns the URL without a password, and without a user except for ssh, for files that others can read.
    pub fn stripped(&self) -> Self {
        let user = match self.scheme {
            // Part of the address: `git@host` is not `bob@host`.
            GitScheme::Ssh => self.user.clone(),
            _ => None,
        };
        let text = match self.credentials() {
            // As written, still percent-encoded.
            Some((scheme, written, address)) => match written.split(':').next() {
                Some(name) if user.is_some() && !name.is_empty() => {
                    format!("{scheme}://{name}@{address}")
                }
                _ => format!("{scheme}://{address}"),
            },
            None => self.text.clone(),
        };
        Self {
            text,
            user: user.filter(|user| !user.is_empty()),
            password: None,
            ..self.clone()
        }
    }
}

/// URLs with their credentials in JSON, for `#[serde(with)]`: only for documents that are secrets.
pub mod exposed {
    use serde::{Deserialize, Deserializer, Serializer};

    use super::GitUrl;

    /// Writes the URL with its credentials.
    ///
    /// # Errors
    ///
    /// If the serializer fails.
    pub fn serialize<S: Serializer>(url: &GitUrl, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(url.expose())
    }

    /// Reads a URL.
    ///
    /// # Errors
    ///
    /// If it is not the URL of a git remote.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<GitUrl, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl fmt::Display for GitUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.credentials().filter(|_| self.has_secrets()) {
            Some((scheme, _, address)) if self.has_secret_user() => {
                write!(f, "{scheme}://{REDACTED}@{address}")
            }
            Some((scheme, _, address)) => {
                let user = self.user.as_deref().unwrap_or("");
                write!(f, "{scheme}://{user}:{REDACTED}@{address}")
            }
            None => f.write_str(&self.text),
        }
    }
}

impl fmt::Debug for GitUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GitUrl({self})")
    }
}

impl FromStr for GitUrl {
    type Err = InvalidGitUrl;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = |reason: &str| Err(InvalidGitUrl(reason.to_owned()));
        if text.is_empty() {
            return invalid("must not be empty");
        }
        if text.chars().any(|c| c.is_control() || c == ' ') {
            return invalid("must not contain spaces or control characters");
        }
        // Git would parse these as options, or run a program.
        if text.starts_with('-') {
            return invalid("must not start with `-`");
        }
        if let Some((helper, _)) = text.split_once("::")
            && !helper.contains(['/', '@', '['])
        {
            return invalid("remote helpers such as `ext::` are not supported");
        }
        match text.split_once("://") {
            Some((scheme, rest)) => parse_url(text, scheme, rest),
            None => parse_scp_like_or_path(text),
        }
    }
}

fn parse_url(text: &str, scheme: &str, rest: &str) -> Result<GitUrl, InvalidGitUrl> {
    let invalid = |reason: String| Err(InvalidGitUrl(reason));
    let scheme = match scheme.to_ascii_lowercase().as_str() {
        "http" => GitScheme::Http,
        "https" => GitScheme::Https,
        "ssh" | "git+ssh" | "ssh+git" => GitScheme::Ssh,
        "git" => GitScheme::Git,
        "file" => GitScheme::File,
        other => {
            return invalid(format!(
                "`{other}://` is not supported; use ssh, https, http, git or file"
            ));
        }
    };
    let slash = rest.find('/').unwrap_or(rest.len());
    let (authority, path) = rest.split_at(slash);
    if scheme == GitScheme::File {
        if path.is_empty() || path == "/" {
            return invalid("missing path".to_owned());
        }
        if percent_decode(path).contains(char::is_control) {
            return invalid("must not contain encoded control characters".to_owned());
        }
        return Ok(GitUrl {
            text: text.to_owned(),
            scheme,
            user: None,
            password: None,
            host: String::new(),
            port: None,
            path: percent_decode(path),
        });
    }
    let (credentials, address) = match authority.rsplit_once('@') {
        Some((credentials, address)) => (Some(credentials), address),
        None => (None, authority),
    };
    let (user, password) = match credentials {
        None => (None, None),
        Some(credentials) => match credentials.split_once(':') {
            Some((user, password)) => (Some(percent_decode(user)), Some(percent_decode(password))),
            None => (Some(percent_decode(credentials)), None),
        },
    };
    let (host, port) = if let Some(rest) = address.strip_prefix('[') {
        let Some((host, after)) = rest.split_once(']') else {
            return invalid("missing `]` after the IPv6 address".to_owned());
        };
        (host, after.strip_prefix(':'))
    } else {
        match address.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (address, None),
        }
    };
    let port = match port {
        None | Some("") => None,
        Some(port) => match port.parse() {
            Ok(port) => Some(port),
            // The port is not shown: it may be a password with an unencoded slash.
            Err(_) => {
                return invalid(
                    "invalid port after the host; write a `/` in a password as `%2F`".to_owned(),
                );
            }
        },
    };
    check_host(host)?;
    if path.trim_matches('/').is_empty() {
        return invalid("missing repository path after the host".to_owned());
    }
    let path = match scheme {
        GitScheme::Http | GitScheme::Https => path.to_owned(),
        GitScheme::Ssh | GitScheme::Git | GitScheme::File => percent_decode(path),
    };
    for part in [user.as_deref(), password.as_deref(), Some(&path)] {
        // Credential helpers and servers would treat a line break as the start of another line.
        if part.is_some_and(|part| part.contains(char::is_control)) {
            return invalid("must not contain encoded control characters".to_owned());
        }
    }
    if scheme == GitScheme::Ssh && user.as_deref().is_some_and(|user| user.starts_with('-')) {
        return invalid("the user must not start with `-`".to_owned());
    }
    Ok(GitUrl {
        text: text.to_owned(),
        scheme,
        user,
        password,
        host: host.to_owned(),
        port,
        path,
    })
}

fn parse_scp_like_or_path(text: &str) -> Result<GitUrl, InvalidGitUrl> {
    let colon = text.find(':');
    let slash = text.find('/');
    let is_scp_like = colon.is_some_and(|colon| slash.is_none_or(|slash| colon < slash));
    if !is_scp_like {
        if !text.starts_with('/') && !text.starts_with("./") && !text.starts_with("../") {
            return Err(InvalidGitUrl(
                "expected a URL such as https://host/path.git, host:path.git, or an absolute path"
                    .to_owned(),
            ));
        }
        return Ok(GitUrl {
            text: text.to_owned(),
            scheme: GitScheme::File,
            user: None,
            password: None,
            host: String::new(),
            port: None,
            path: text.to_owned(),
        });
    }
    let (address, path) = text.split_once(':').unwrap_or((text, ""));
    let (user, host) = match address.rsplit_once('@') {
        Some((user, host)) => (Some(user.to_owned()), host),
        None => (None, address),
    };
    check_host(host)?;
    if user.as_deref().is_some_and(|user| user.starts_with('-')) {
        return Err(InvalidGitUrl("the user must not start with `-`".to_owned()));
    }
    if path.is_empty() {
        return Err(InvalidGitUrl(
            "missing repository path after the host".to_owned(),
        ));
    }
    if path.starts_with('-') {
        return Err(InvalidGitUrl("the path must not start with `-`".to_owned()));
    }
    Ok(GitUrl {
        text: text.to_owned(),
        scheme: GitScheme::Ssh,
        user,
        password: None,
        host: host.to_owned(),
        port: None,
        path: path.to_owned(),
    })
}

fn check_host(host: &str) -> Result<(), InvalidGitUrl> {
    if host.is_empty() {
        return Err(InvalidGitUrl("missing host".to_owned()));
    }
    // ssh would parse such a host as an option.
    if host.starts_with('-') {
        return Err(InvalidGitUrl("the host must not start with `-`".to_owned()));
    }
    if !host
        .chars()
        .all(|c| c.is_alphanumeric() || "-._:%".contains(c))
    {
        return Err(InvalidGitUrl(format!("invalid host name `{host}`")));
    }
    Ok(())
}

fn percent_decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut index = 0;
    while index < bytes.len() {
        let code = (bytes[index] == b'%')
            .then(|| text.get(index + 1..index + 3))
            .flatten()
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match code {
            Some(byte) => {
                decoded.push(byte);
                index += 3;
            }
            None => {
                decoded.push(bytes[index]);
                index += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> GitUrl {
        text.parse().unwrap()
    }

    #[test]
    fn all_forms_of_urls_are_parsed() {
        let https = url("https://bob:s%40cret@git.example.com:8443/x/y.git");
        assert_eq!(https.scheme(), GitScheme::Https);
        assert_eq!(https.user(), Some("bob"));
        assert_eq!(https.password(), Some("s@cret"));
        assert_eq!(
            (https.host(), https.port(), https.path()),
            ("git.example.com", Some(8443), "/x/y.git")
        );

        let scp = url("git@git.example.com:x/zbackend.git");
        assert_eq!(scp.scheme(), GitScheme::Ssh);
        assert_eq!(
            (scp.user(), scp.host(), scp.path()),
            (Some("git"), "git.example.com", "x/zbackend.git")
        );

        let ssh = url("ssh://git@[::1]:2222/x.git");
        assert_eq!(
            (ssh.host(), ssh.port(), ssh.path()),
            ("::1", Some(2222), "/x.git")
        );
        assert_eq!(ssh.origin(), "ssh://[::1]:2222");
        // As in git: only web servers decode paths themselves.
        assert_eq!(url("ssh://git@h/a%20b/%7ec.git").path(), "/a b/~c.git");
        assert_eq!(url("git://h/a%20b").path(), "/a b");
        assert_eq!(url("file:///srv/a%20b").path(), "/srv/a b");
        assert_eq!(url("https://h/a%20b").path(), "/a%20b");
        assert_eq!(url("git@h:a%20b").path(), "a%20b");

        assert_eq!(url("file:///srv/git/x.git").path(), "/srv/git/x.git");
        assert_eq!(url("/srv/git/x.git").scheme(), GitScheme::File);
    }

    #[test]
    fn a_password_is_never_shown() {
        let with_password = url("https://bob:s3cret@h.example.com/x.git");
        for shown in [
            with_password.to_string(),
            format!("{with_password:?}"),
            with_password.origin(),
            with_password.without_credentials(),
        ] {
            assert!(!shown.contains("s3cret"), "{shown}");
        }
        assert_eq!(
            with_password.to_string(),
            "https://bob:***@h.example.com/x.git"
        );
        assert_eq!(
            url("https://h.example.com/a@b.git").to_string(),
            "https://h.example.com/a@b.git"
        );
    }

    #[test]
    fn a_user_that_may_be_a_token_is_never_shown() {
        for token in ["T0KEN", "T0KEN:", "T0KEN:x-oauth-basic"] {
            let url = url(&format!("https://{token}@h.example.com/x.git"));
            assert_eq!(url.to_string(), "https://***@h.example.com/x.git");
            assert!(!format!("{url:?}").contains("T0KEN"));
        }
        let with_password = url("https://:s3cret@h.example.com/x.git");
        assert_eq!(
            with_password.to_string(),
            "https://:***@h.example.com/x.git"
        );
        assert_eq!(url("ssh://git@h/x").to_string(), "ssh://git@h/x");
    }

    #[test]
    fn a_stripped_url_keeps_everything_but_credentials() {
        for (written, stripped) in [
            (
                "https://bob:s3cret@h:1/x%20y.git/",
                "https://h:1/x%20y.git/",
            ),
            ("https://T0KEN@h/a@b.git", "https://h/a@b.git"),
            ("ssh://g%40t:s3cret@h:22/x", "ssh://g%40t@h:22/x"),
            ("ssh://:s3cret@h/x", "ssh://h/x"),
            ("git://bob@h/x", "git://h/x"),
            ("git@h:x/y.git", "git@h:x/y.git"),
            ("https://h/x", "https://h/x"),
            ("/srv/x", "/srv/x"),
        ] {
            let url = url(written).stripped();
            assert_eq!(url.expose(), stripped);
            assert_eq!(url, stripped.parse().unwrap());
        }
    }

    #[test]
    fn urls_that_git_would_treat_as_options_or_programs_are_rejected() {
        for invalid in [
            "",
            "--upload-pack=touch x",
            "ext::sh -c id",
            "fd::17",
            "ssh://-oProxyCommand=id/x",
            "-oProxyCommand=id:x",
            "git@-oProxyCommand=id:x",
            "host:-x",
            "https://host",
            "https:///x",
            "ftp://host/x",
            "https://host:port/x",
            "https://bob:pa/ss@host/x",
            "ssh://-oProxyCommand=id@host/x",
            "https://a%0ahost=evil@host/x",
            "https://a:b%0d@host/x",
            "git://host/x%00host=other",
            "ssh://host/x%0a",
            "file:///x%00",
            "relative/path",
        ] {
            assert!(invalid.parse::<GitUrl>().is_err(), "{invalid}");
        }
    }

    #[test]
    fn urls_are_written_without_secrets() {
        let written = |text: &str| text.parse::<GitUrl>().unwrap().without_secrets();
        assert_eq!(
            written("https://b%40b:s:c@ret@h:1/x.git"),
            "https://b%40b@h:1/x.git"
        );
        assert_eq!(written("https://:secret@h/x.git"), "https://h/x.git");
        assert_eq!(written("https://T0KEN@h/x.git"), "https://h/x.git");
        assert_eq!(
            written("https://T0KEN:x-oauth-basic@h/x.git"),
            "https://h/x.git"
        );
        assert_eq!(written("ssh://git:secret@h/x.git"), "ssh://git@h/x.git");
        assert_eq!(written("git@h:x.git"), "git@h:x.git");
    }

    #[test]
    fn secrets_are_redacted_as_written_and_decoded() {
        let redacted = |url: &str, text: &str| url.parse::<GitUrl>().unwrap().redactor().text(text);
        let output = redacted(
            "https://bob:s%40cret@h/x",
            "batch: https://bob:s%40cret@h/x/info/lfs s@cret",
        );
        assert_eq!(output, "batch: https://***@h/x/info/lfs ***");
        assert_eq!(redacted("https://T0KEN@h/x", "T0KEN@h"), "***@h");
        assert_eq!(redacted("ssh://git@h/x", "git"), "git");
    }
}
