//! Relative URLs, as in `.gitmodules`.

use super::{GitUrl, InvalidGitUrl};

impl GitUrl {
    /// Resolves the URL of a submodule against this URL: `./…` and `../…` are relative to it and keep its host and
    /// credentials; all others are absolute.
    ///
    /// # Errors
    ///
    /// The URL is invalid, or leads above the host or the root folder.
    pub fn join(&self, text: &str) -> Result<Self, InvalidGitUrl> {
        if !text.starts_with("./") && !text.starts_with("../") {
            return text.parse();
        }
        let above = || {
            InvalidGitUrl(format!(
                "`{text}` leads above the root of {}",
                self.without_credentials()
            ))
        };
        let base = self.expose().trim_end_matches('/');
        // The path starts here; nothing before it may be removed.
        let start = match base.split_once("://") {
            Some((scheme, rest)) => {
                let authority = rest.find('/').unwrap_or(rest.len());
                scheme.len() + "://".len() + authority
            }
            None if base.starts_with('/') || base.starts_with('.') => 0,
            None => base.find(':').map_or(0, |colon| colon + 1),
        };
        let (prefix, mut path) = base.split_at(start);
        let mut rest = text;
        loop {
            if let Some(after) = rest.strip_prefix("./") {
                rest = after;
            } else if let Some(after) = rest.strip_prefix("../") {
                if path.is_empty() {
                    return Err(above());
                }
                path = path.rfind('/').map_or("", |slash| &path[..slash]);
                rest = after;
            } else {
                break;
            }
        }
        let rest = rest.trim_end_matches('/');
        if rest.split('/').any(|part| matches!(part, ".." | "." | "")) {
            return Err(above());
        }
        // Only `host:path` has a path without a leading slash.
        let is_scp_like = path.is_empty() && prefix.ends_with(':');
        let slash = if is_scp_like { "" } else { "/" };
        format!("{prefix}{path}{slash}{rest}").parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_urls_are_resolved_like_git() {
        for (base, text, expected) in [
            ("https://h/x/y.git", "../z.git", "https://h/x/z.git"),
            ("https://h/x/y.git/", "../../w/z.git", "https://h/w/z.git"),
            ("https://h/x/y.git", "./z.git", "https://h/x/y.git/z.git"),
            (
                "https://bob:p@h:8443/x/y",
                "../z/",
                "https://bob:p@h:8443/x/z",
            ),
            ("git@h:x/y.git", "../z.git", "git@h:x/z.git"),
            ("git@h:x/y.git", "../../z.git", "git@h:z.git"),
            ("git@h:/x/y.git", "../z.git", "git@h:/x/z.git"),
            ("ssh://git@h/x/y", ".././../z", "ssh://git@h/z"),
            ("file:///srv/x.git", "../z.git", "file:///srv/z.git"),
            ("/srv/x.git", "../z.git", "/srv/z.git"),
            ("https://h/x", "https://other/z", "https://other/z"),
            ("https://h/x", "git@other:z", "git@other:z"),
        ] {
            let base: GitUrl = base.parse().unwrap();
            let joined = base.join(text).unwrap();
            assert_eq!(joined.expose(), expected, "{base:?} {text}");
        }
    }

    #[test]
    fn urls_above_the_host_and_programs_are_rejected() {
        for (base, text) in [
            ("https://h/x", "../../z"),
            ("https://h/x", "../../../other/z"),
            ("git@h:x", "../../z"),
            ("/srv/x", "../../../z"),
            ("file:///srv/x", "../../../z"),
            ("https://h/x", "../a/../../../z"),
            ("https://h/x", "../"),
            ("https://h/x", "ext::sh -c id"),
            ("https://h/x", "--upload-pack=id"),
            ("https://h/x", "sub"),
            ("https://h/x", ""),
        ] {
            let base: GitUrl = base.parse().unwrap();
            assert!(base.join(text).is_err(), "{base:?} {text}");
        }
        let base: GitUrl = "https://bob:s3cret@h/x".parse().unwrap();
        let error = base.join("../../z").unwrap_err();
        assert!(!error.to_string().contains("s3cret"), "{error}");
    }
}
