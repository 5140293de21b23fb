//! Classifies connection errors as transient or permanent.

use std::error::Error;
use std::io;

/// Returns whether a request that got no complete response is worth retrying.
///
/// It is transient if the connection was refused, was lost, ended too early or timed out. It is permanent if the
/// certificate is invalid, the host name does not exist, there are too many redirects, or the server does not speak
/// HTTP.
pub fn is_transient(error: &reqwest::Error) -> bool {
    if error.is_builder() || error.is_redirect() {
        return false;
    }
    error.is_timeout() || is_transient_cause(error)
}

fn is_transient_cause(error: &(dyn Error + 'static)) -> bool {
    if error.downcast_ref::<rustls::Error>().is_some() {
        return false;
    }
    if let Some(http) = error.downcast_ref::<hyper::Error>()
        && (http.is_incomplete_message() || http.is_closed() || http.is_canceled())
    {
        return true;
    }
    if let Some(io) = error.downcast_ref::<io::Error>() {
        // `source` would skip the inner error, which is the one that matters.
        return match io.get_ref() {
            Some(inside) if is_informative(inside) => is_transient_cause(inside),
            _ => is_transient_io(io),
        };
    }
    error.source().is_some_and(is_transient_cause)
}

/// Returns whether the inner error of an I/O error is more informative than its kind.
fn is_informative(inside: &(dyn Error + Send + Sync + 'static)) -> bool {
    inside.is::<rustls::Error>() || inside.is::<hyper::Error>() || inside.is::<io::Error>()
}

fn is_transient_io(error: &io::Error) -> bool {
    use io::ErrorKind::{
        BrokenPipe, ConnectionAborted, ConnectionRefused, ConnectionReset, HostUnreachable,
        Interrupted, NetworkDown, NetworkUnreachable, NotConnected, TimedOut, UnexpectedEof,
    };
    match error.kind() {
        BrokenPipe | ConnectionAborted | ConnectionRefused | ConnectionReset | HostUnreachable
        | Interrupted | NetworkDown | NetworkUnreachable | NotConnected | TimedOut
        | UnexpectedEof => true,
        // The name server is unavailable, as opposed to "no such host".
        _ => error
            .to_string()
            .contains("Temporary failure in name resolution"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn io_error(kind: io::ErrorKind) -> io::Error {
        kind.into()
    }

    #[test]
    fn lost_connections_are_transient() {
        for kind in [
            io::ErrorKind::ConnectionRefused,
            io::ErrorKind::ConnectionReset,
            io::ErrorKind::UnexpectedEof,
            io::ErrorKind::TimedOut,
        ] {
            assert!(is_transient_cause(&io_error(kind)), "{kind:?}");
            assert!(
                is_transient_cause(&io::Error::other(io_error(kind))),
                "{kind:?}"
            );
        }
        let unavailable =
            "failed to lookup address information: Temporary failure in name resolution";
        assert!(is_transient_cause(&io::Error::other(unavailable)));
    }

    #[test]
    fn permanent_errors_are_not_transient() {
        let certificate =
            rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
        // The library wraps it with a meaningless kind.
        let wrapped = io::Error::new(io::ErrorKind::UnexpectedEof, certificate);
        assert!(!is_transient_cause(&wrapped));
        let denied = "failed to lookup address information: Name or service not known";
        assert!(!is_transient_cause(&io::Error::other(denied)));
        assert!(!is_transient_cause(&io_error(
            io::ErrorKind::PermissionDenied
        )));
    }

    #[tokio::test]
    async fn errors_of_real_connections_are_classified() {
        use std::io::{Read as _, Write as _};
        let server_with = |response: &'static [u8]| {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            std::thread::spawn(move || {
                let (mut connection, _) = listener.accept().unwrap();
                _ = connection.read(&mut [0; 1024]);
                _ = connection.write_all(response);
            });
            format!("http://{address}/")
        };
        let http = crate::client::http::Http::for_tests();
        let get = async |url: String| match http.plain().get(url).send().await {
            Ok(answer) => answer.bytes().await.unwrap_err(),
            Err(error) => error,
        };
        let truncated = get(server_with(
            b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nshort",
        ))
        .await;
        assert!(is_transient(&truncated), "{truncated:?}");
        let silent = get(server_with(b"")).await;
        assert!(is_transient(&silent), "{silent:?}");
        let half = get(server_with(b"HTTP/1.1 200 OK\r\ncontent-le")).await;
        assert!(is_transient(&half), "{half:?}");
        let other = get(server_with(b"SSH-2.0-OpenSSH_9.2\r\n")).await;
        assert!(!is_transient(&other), "{other:?}");
        let closed = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let refused = get(format!("http://{closed}/")).await;
        assert!(is_transient(&refused), "{refused:?}");
        let denied = get("http://no-such-host.invalid/".to_owned()).await;
        let is_unavailable = format!("{denied:?}").contains("Temporary failure");
        assert_eq!(is_transient(&denied), is_unavailable, "{denied:?}");
    }
}
