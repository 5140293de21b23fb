//! Which version of its API an engine speaks, asked in the least expensive way.
//!
//! `/version`, which the client library asks, has the engine start two programs to learn their versions. The
//! answer to `/_ping` has the version in its head, and costs nothing.

use std::time::Duration;

use bollard::{API_DEFAULT_VERSION, ClientVersion};
use tokio::io::BufReader;

use super::raw::{Reader, ask};
use super::way::Way;

/// An engine that takes longer is asked by the client library, which tells what is wrong.
const PATIENCE: Duration = Duration::from_secs(5);

/// What an engine says of itself in the head of any answer.
pub(super) struct Pinged {
    /// The version that both sides speak.
    pub version: ClientVersion,
    /// Whether it is Podman.
    pub is_podman: bool,
}

/// Asks; none where the engine does not answer as expected.
pub(super) async fn ping(way: &Way) -> Option<Pinged> {
    let asked = async {
        let (reader, mut writer) = tokio::io::split(way.dial().await.ok()?);
        let mut reader: Reader = BufReader::new(reader);
        let request = "GET /_ping HTTP/1.1\r\nHost: engine\r\nConnection: close\r\n\r\n";
        ask(&mut reader, &mut writer, request).await.ok()
    };
    let (status, head) = tokio::time::timeout(PATIENCE, asked).await.ok()??;
    (status == 200).then(|| read(&head))?
}

fn read(head: &str) -> Option<Pinged> {
    let header = |wanted: &str| {
        head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case(wanted).then(|| value.trim())
        })
    };
    let (major, minor) = header("api-version")?.split_once('.')?;
    let theirs = (major.parse().ok()?, minor.parse().ok()?);
    let ours = API_DEFAULT_VERSION;
    let (major_version, minor_version) = theirs.min((ours.major_version, ours.minor_version));
    Some(Pinged {
        version: ClientVersion {
            major_version,
            minor_version,
        },
        is_podman: header("libpod-api-version").is_some(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_older_of_both_versions_is_spoken() {
        let docker =
            read("HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\nServer: Docker\r\n\r\n").unwrap();
        assert_eq!(
            (docker.version.major_version, docker.version.minor_version),
            (1, 41)
        );
        assert!(!docker.is_podman);
        let newer = read("HTTP/1.1 200 OK\r\nApi-Version: 1.999\r\n\r\n").unwrap();
        assert_eq!(
            newer.version.minor_version,
            API_DEFAULT_VERSION.minor_version
        );
    }

    #[test]
    fn podman_is_known_and_what_says_nothing_is_asked_otherwise() {
        let head = "HTTP/1.1 200 OK\r\nAPI-Version: 1.41\r\nLibpod-API-Version: 4.3.1\r\n\r\n";
        assert!(read(head).unwrap().is_podman);
        assert!(read("HTTP/1.1 200 OK\r\n\r\n").is_none());
        assert!(read("HTTP/1.1 200 OK\r\nApi-Version: new\r\n\r\n").is_none());
    }
}
