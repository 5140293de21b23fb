//! Which failures of a connection may pass by themselves.

use std::error::Error;
use std::io;

/// Tells whether a request that got no whole answer may get one a moment later.
///
/// It may where a connection was refused, broke off, ended too early or was silent for too long. It will
/// not where the certificate is wrong, where the name service says that there is no such host, where
/// redirections go in circles, or where what answers does not speak HTTP.
pub fn is_transient(error: &reqwest::Error) -> bool {
    if error.is_builder() || error.is_redirect() {
        return false;
    }
    error.is_timeout() || may_pass(error)
}

fn may_pass(error: &(dyn Error + 'static)) -> bool {
    if error.downcast_ref::<rustls::Error>().is_some() {
        return false;
    }
    if let Some(http) = error.downcast_ref::<hyper::Error>()
        && (http.is_incomplete_message() || http.is_closed() || http.is_canceled())
    {
        return true;
    }
    if let Some(io) = error.downcast_ref::<io::Error>() {
        // The error inside is what counts: its own source would pass over it.
        return match io.get_ref() {
            Some(inside) if is_known(inside) => may_pass(inside),
            _ => passes(io),
        };
    }
    error.source().is_some_and(may_pass)
}

/// Tells whether what stands inside an I/O error says more than its kind.
fn is_known(inside: &(dyn Error + Send + Sync + 'static)) -> bool {
    inside.is::<rustls::Error>() || inside.is::<hyper::Error>() || inside.is::<io::Error>()
}

fn passes(error: &io::Error) -> bool {
    use io::ErrorKind::{
        BrokenPipe, ConnectionAborted, ConnectionRefused, ConnectionReset, HostUnreachable,
        Interrupted, NetworkDown, NetworkUnreachable, NotConnected, TimedOut, UnexpectedEof,
    };
    match error.kind() {
        BrokenPipe | ConnectionAborted | ConnectionRefused | ConnectionReset | HostUnreachable
        | Interrupted | NetworkDown | NetworkUnreachable | NotConnected | TimedOut
        | UnexpectedEof => true,
        // The name service that is away itself, and not one that denies the name.
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
    fn what_breaks_off_may_pass() {
        for kind in [
            io::ErrorKind::ConnectionRefused,
            io::ErrorKind::ConnectionReset,
            io::ErrorKind::UnexpectedEof,
            io::ErrorKind::TimedOut,
        ] {
            assert!(may_pass(&io_error(kind)), "{kind:?}");
            assert!(may_pass(&io::Error::other(io_error(kind))), "{kind:?}");
        }
        let away = "failed to lookup address information: Temporary failure in name resolution";
        assert!(may_pass(&io::Error::other(away)));
    }

    #[test]
    fn what_is_wrong_stays_wrong() {
        let certificate =
            rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
        // As the library wraps it, with a kind that means nothing.
        let wrapped = io::Error::new(io::ErrorKind::UnexpectedEof, certificate);
        assert!(!may_pass(&wrapped));
        let denied = "failed to lookup address information: Name or service not known";
        assert!(!may_pass(&io::Error::other(denied)));
        assert!(!may_pass(&io_error(io::ErrorKind::PermissionDenied)));
    }

    #[tokio::test]
    async fn real_connections_are_told_apart() {
        use std::io::{Read as _, Write as _};
        let answering = |answer: &'static [u8]| {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            std::thread::spawn(move || {
                let (mut connection, _) = listener.accept().unwrap();
                _ = connection.read(&mut [0; 1024]);
                _ = connection.write_all(answer);
            });
            format!("http://{address}/")
        };
        let http = crate::client::http::Http::for_tests();
        let get = async |url: String| match http.plain().get(url).send().await {
            Ok(answer) => answer.bytes().await.unwrap_err(),
            Err(error) => error,
        };
        let truncated = get(answering(
            b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nshort",
        ))
        .await;
        assert!(is_transient(&truncated), "{truncated:?}");
        let silent = get(answering(b"")).await;
        assert!(is_transient(&silent), "{silent:?}");
        let half = get(answering(b"HTTP/1.1 200 OK\r\ncontent-le")).await;
        assert!(is_transient(&half), "{half:?}");
        let other = get(answering(b"SSH-2.0-OpenSSH_9.2\r\n")).await;
        assert!(!is_transient(&other), "{other:?}");
        let closed = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let refused = get(format!("http://{closed}/")).await;
        assert!(is_transient(&refused), "{refused:?}");
        let denied = get("http://no-such-host.invalid/".to_owned()).await;
        let is_away = format!("{denied:?}").contains("Temporary failure");
        assert_eq!(is_transient(&denied), is_away, "{denied:?}");
    }
}
