//! Parses `.netrc` the way curl, and therefore git, does.

use super::credentials::Login;

/// Returns the login for a host; with a user, only from an entry for this user.
pub fn find_login(netrc: &str, host: &str, user: Option<&str>) -> Option<Login> {
    let mut entry = NetrcEntry::default();
    let mut tokens = NetrcTokens { rest: netrc };
    while let Some(token) = tokens.next() {
        match token.as_str() {
            "machine" => {
                if let Some(login) = entry.login(user) {
                    return Some(login);
                }
                let matches = tokens.next()?.eq_ignore_ascii_case(host);
                entry = NetrcEntry {
                    matches,
                    ..NetrcEntry::default()
                };
            }
            "default" => {
                if let Some(login) = entry.login(user) {
                    return Some(login);
                }
                entry = NetrcEntry {
                    matches: true,
                    ..NetrcEntry::default()
                };
            }
            "login" => entry.user = tokens.next(),
            "password" => entry.password = tokens.next(),
            "account" => {
                tokens.next();
            }
            "macdef" => tokens.skip_macro(),
            _ => {}
        }
    }
    entry.login(user)
}

#[derive(Default)]
struct NetrcEntry {
    matches: bool,
    user: Option<String>,
    password: Option<String>,
}

impl NetrcEntry {
    fn login(&self, wanted: Option<&str>) -> Option<Login> {
        let user = self.user.as_deref().or(wanted)?;
        let password = self.password.as_deref()?;
        (self.matches && wanted.is_none_or(|wanted| wanted == user))
            .then(|| Login::new(user, password))
    }
}

struct NetrcTokens<'a> {
    rest: &'a str,
}

impl NetrcTokens<'_> {
    /// Returns the next word, or quoted text with escapes resolved; skips comments.
    fn next(&mut self) -> Option<String> {
        loop {
            self.rest = self.rest.trim_start();
            if !self.rest.starts_with('#') {
                break;
            }
            self.rest = self.rest.split_once('\n').map_or("", |(_, rest)| rest);
        }
        if self.rest.is_empty() {
            return None;
        }
        if let Some(quoted) = self.rest.strip_prefix('"') {
            let mut token = String::new();
            let mut characters = quoted.char_indices();
            while let Some((index, character)) = characters.next() {
                match character {
                    '"' => {
                        self.rest = &quoted[index + 1..];
                        return Some(token);
                    }
                    '\\' => match characters.next()?.1 {
                        'n' => token.push('\n'),
                        'r' => token.push('\r'),
                        't' => token.push('\t'),
                        other => token.push(other),
                    },
                    other => token.push(other),
                }
            }
            return None;
        }
        let end = self
            .rest
            .find(char::is_whitespace)
            .unwrap_or(self.rest.len());
        let (token, rest) = self.rest.split_at(end);
        self.rest = rest;
        Some(token.to_owned())
    }

    /// Skips a macro, which ends at the next empty line.
    fn skip_macro(&mut self) {
        self.rest = self.rest.find("\n\n").map_or("", |end| &self.rest[end..]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NETRC: &str = "\
# a comment with machine git.example.com login wrong password wrong
machine other.example.com login eve password e
macdef init
machine git.example.com login macro password macro

machine git.example.com
  login alice
  password \"with space \\\"quoted\\\"\"
machine git.example.com login bob password b0b
machine half.example.com login only
default login anonymous password guest
";

    #[test]
    fn entries_are_found_by_host_and_user() {
        let find = |host, user| find_login(NETRC, host, user);
        assert_eq!(
            find("git.example.com", None),
            Some(Login::new("alice", "with space \"quoted\""))
        );
        assert_eq!(
            find("GIT.example.com", Some("bob")),
            Some(Login::new("bob", "b0b"))
        );
        assert_eq!(
            find("other.example.com", None),
            Some(Login::new("eve", "e"))
        );
        assert_eq!(
            find("half.example.com", None),
            Some(Login::new("anonymous", "guest"))
        );
        assert_eq!(find("git.example.com", Some("carol")), None);
    }

    #[test]
    fn invalid_files_have_no_login() {
        for broken in [
            "",
            "machine",
            "machine h login",
            "machine h login a password \"x",
            "password p login l",
        ] {
            assert_eq!(find_login(broken, "h", None), None, "{broken}");
        }
    }
}
