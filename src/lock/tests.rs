//! The format, and what the locks of a manifest tell.

use super::*;

/// Returns a lock of services of these names.
pub(super) fn lock(names: &[&str]) -> Lock {
    Lock::new(
        names
            .iter()
            .map(|name| (name.parse().unwrap(), service(name, '1')))
            .collect(),
    )
}

fn service(name: &str, digit: char) -> LockedService {
    LockedService {
        remote: format!("git@git.example.com:x/{name}.git").parse().unwrap(),
        reference: "origin/master".parse().unwrap(),
        name: Some("refs/heads/master".parse().unwrap()),
        path: None,
        commit: digit.to_string().repeat(40).parse().unwrap(),
        image: format!("harbour.example.com/x/{name}").parse().unwrap(),
        digest: Some(
            format!("sha256:{}", digit.to_string().repeat(64))
                .parse()
                .unwrap(),
        ),
        builder: Some("harbour.example.com/x/builders/go:abc".parse().unwrap()),
    }
}
