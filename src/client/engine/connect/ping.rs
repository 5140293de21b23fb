//! Negotiates the API version with a ping.
//!
//! The client library requests `/version`, for which the engine starts two programs. The response to `/_ping` has the
//! API version in its headers, and is cheap.

use std::time::Duration;

use bollard::{API_DEFAULT_VERSION, ClientVersion};
use tokio::io::BufReader;

use super::raw::{ConnectionReader, send_request};
use crate::client::engine::connect::endpoint::EngineEndpoint;

/// If the engine takes longer, the client library tries, which reports the error.
const PING_TIMEOUT: Duration = Duration::from_secs(5);

/// The facts in the headers of the response.
pub struct PingInfo {
    /// The newest API version that both sides support.
    pub version: ClientVersion,
    /// Whether it is Podman.
    pub is_podman: bool,
}

/// Pings the engine; `None` if it does not respond as expected.
pub async fn ping(endpoint: &EngineEndpoint) -> Option<PingInfo> {
    let response = async {
        let (reader, mut writer) = tokio::io::split(endpoint.dial().await.ok()?);
        let mut reader: ConnectionReader = BufReader::new(reader);
        let request = "GET /_ping HTTP/1.1\r\nHost: engine\r\nConnection: close\r\n\r\n";
        send_request(&mut reader, &mut writer, request).await.ok()
    };
    let (status, head) = tokio::time::timeout(PING_TIMEOUT, response).await.ok()??;
    (status == 200).then(|| read(&head))?
}

fn read(head: &str) -> Option<PingInfo> {
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
    Some(PingInfo {
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
    fn the_older_version_is_negotiated() {
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
    fn podman_is_detected_and_an_unversioned_response_ignored() {
        let head = "HTTP/1.1 200 OK\r\nAPI-Version: 1.41\r\nLibpod-API-Version: 4.3.1\r\n\r\n";
        assert!(read(head).unwrap().is_podman);
        assert!(read("HTTP/1.1 200 OK\r\n\r\n").is_none());
        assert!(read("HTTP/1.1 200 OK\r\nApi-Version: new\r\n\r\n").is_none());
    }
}
