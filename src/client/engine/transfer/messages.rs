//! The message streams of builds, pulls and pushes.

use bollard::errors::Error;
use futures_util::{Stream, StreamExt as _};

/// Ignores the client library's error about a trailing line end.
///
/// The library parses a message as soon as it is complete. If the line end of the last message arrives in a separate
/// chunk, the library waits for another message and reports an error when there is none. A truncated message is a
/// different error, because the HTTP response is then incomplete.
pub fn ignore_trailing_bytes<T>(
    messages: impl Stream<Item = Result<T, Error>>,
) -> impl Stream<Item = Result<T, Error>> {
    messages.take_while(|message| {
        let is_end =
            matches!(message, Err(Error::IOError { err }) if err.to_string() == BYTES_REMAINING);
        std::future::ready(!is_end)
    })
}

/// The library's error if bytes are left that are not a complete message.
const BYTES_REMAINING: &str = "bytes remaining on stream";

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bollard::Docker;
    use bollard::query_parameters::CreateImageOptionsBuilder;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// Pulls from an engine that responds in these chunks, and returns the number of messages or the first error.
    async fn pull(pieces: &'static [&'static str]) -> Result<usize, String> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            let (mut connection, _) = listener.accept().await.unwrap();
            _ = connection.read(&mut [0; 4096]).await;
            let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
            _ = connection.write_all(head.as_bytes()).await;
            for piece in pieces {
                let chunk = match *piece {
                    "cut" => return,
                    piece => format!("{:x}\r\n{piece}\r\n", piece.len()),
                };
                _ = connection.write_all(chunk.as_bytes()).await;
                _ = connection.flush().await;
                tokio::time::sleep(Duration::from_millis(30)).await;
            }
        });
        let engine = Docker::connect_with_http(&address, 10, bollard::API_DEFAULT_VERSION).unwrap();
        let options = CreateImageOptionsBuilder::default().from_image("x").build();
        let messages = ignore_trailing_bytes(engine.create_image(Some(options), None, None));
        let messages: Vec<_> = messages.collect().await;
        let count = messages.len();
        match messages.into_iter().find_map(Result::err) {
            Some(error) => Err(format!("{error:?}")),
            None => Ok(count),
        }
    }

    #[tokio::test]
    async fn a_line_end_may_be_a_separate_chunk() {
        const ONE: &str = "{\"status\":\"one\"}\r\n";
        assert_eq!(pull(&[ONE, ONE, ""]).await, Ok(2));
        assert_eq!(
            pull(&[ONE, "{\"status\":\"two\"}", "\r\n", ""]).await,
            Ok(2)
        );
        assert_eq!(
            pull(&["{\"status\":\"one\"}", "\r\n", ONE, ""]).await,
            Ok(2)
        );
        assert_eq!(
            pull(&[ONE, "{\"status\":\"two\"}\r", "\n", ""]).await,
            Ok(2)
        );
    }

    #[tokio::test]
    async fn a_truncated_response_is_an_error() {
        const ONE: &str = "{\"status\":\"one\"}\r\n";
        for pieces in [&[ONE, "cut"] as &[_], &[ONE, "{\"sta", "cut"], &["cut"]] {
            assert!(pull(pieces).await.is_err(), "{pieces:?}");
        }
    }
}
