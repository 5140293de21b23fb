//! Lists the references of a remote, over one connection.

use git2::{Direction, Repository};

use super::pkt_line::{Packet, PacketReader, write_delimiter, write_flush, write_line};
use crate::base::task::joined;
use crate::client::git::error::{GitErrorKind, address};
use crate::client::git::refs::remote::{Advertisement, InvalidRefs};
use crate::client::git::transport::http::HttpRemote;
use crate::client::git::transport::limits::Purpose;
use crate::client::git::transport::stream::StreamConnection;
use crate::client::git::unsupported::unsupported_object_format;
use crate::client::git::{GitClient, GitError, RemoteRefs};
use crate::model::source::{CommitId, GitReference, GitScheme, GitUrl};

/// The maximum size of a list of references; 256 MiB are about two million.
const MAX_RESPONSE_SIZE: usize = 256 << 20;

impl GitClient {
    /// Returns the wanted references of a remote that exist, and its `HEAD`.
    ///
    /// This takes one connection, and one request over http(s) if the server supports protocol version 2. The
    /// result may contain more references than requested.
    ///
    /// # Errors
    ///
    /// The remote cannot be reached, refuses the request, or is not a git remote.
    pub async fn list_refs(
        &self,
        url: &GitUrl,
        wanted: &[GitReference],
    ) -> Result<RemoteRefs, GitError> {
        let mut prefixes: Vec<String> = wanted.iter().flat_map(GitReference::candidates).collect();
        prefixes.push("HEAD".to_owned());
        self.list_prefixes(url, prefixes).await
    }

    /// Returns all branches and tags of a remote; only for error messages, because the list may be long.
    ///
    /// # Errors
    ///
    /// As for [`GitClient::list_refs`].
    pub async fn list_branches_and_tags(&self, url: &GitUrl) -> Result<RemoteRefs, GitError> {
        let prefixes = ["HEAD", "refs/heads/", "refs/tags/"];
        self.list_prefixes(url, prefixes.map(str::to_owned).into())
            .await
    }

    async fn list_prefixes(
        &self,
        url: &GitUrl,
        mut prefixes: Vec<String>,
    ) -> Result<RemoteRefs, GitError> {
        prefixes.sort();
        prefixes.dedup();
        let url = self.effective_url(url);
        let _permit = self.shared.limits.acquire(&url, Purpose::ListRefs).await;
        let host = address(&url);
        let attempts = self
            .shared
            .http
            .retries()
            .begin(host, format!("ls-refs of {url}"));
        attempts
            .run(|| async {
                let result = self.list_once(&url, &prefixes).await;
                let transient_failure = result.as_ref().err().and_then(GitError::transient_failure);
                (result, transient_failure)
            })
            .await
    }

    async fn list_once(&self, url: &GitUrl, prefixes: &[String]) -> Result<RemoteRefs, GitError> {
        match url.scheme() {
            GitScheme::Http | GitScheme::Https => self.list_over_http(url, prefixes).await,
            GitScheme::Ssh | GitScheme::Git => self.list_over_stream(url, prefixes).await,
            GitScheme::File => {
                let url = url.clone();
                joined(tokio::task::spawn_blocking(move || list_local(&url)).await)
            }
        }
    }

    /// Sends the command of protocol version 2 right away, which saves a round trip, and requests the
    /// advertisement only if the server rejects it.
    async fn list_over_http(
        &self,
        url: &GitUrl,
        prefixes: &[String],
    ) -> Result<RemoteRefs, GitError> {
        let mut remote = HttpRemote::new(self, url)?;
        let first = match remote.try_upload_pack(ls_refs(prefixes)).await? {
            Some(mut response) => match remote.read_all(&mut response, MAX_RESPONSE_SIZE).await {
                Ok(body) => packets(&body)
                    .and_then(|packets| RemoteRefs::from_ls_refs(&packets))
                    .ok(),
                Err(error) => return Err(error),
            },
            None => None,
        };
        if let Some(refs) = first {
            return Ok(refs);
        }
        let mut response = remote.advertisement(true).await?;
        let body = remote.read_all(&mut response, MAX_RESPONSE_SIZE).await?;
        let advertisement = packets(&body).and_then(|packets| Advertisement::read(&packets));
        match advertisement.map_err(|invalid| invalid_refs(url, invalid))? {
            Advertisement::Refs(refs) => Ok(refs),
            Advertisement::Version2 => {
                let mut response = remote.upload_pack(ls_refs(prefixes), true).await?;
                let body = remote.read_all(&mut response, MAX_RESPONSE_SIZE).await?;
                packets(&body)
                    .and_then(|packets| RemoteRefs::from_ls_refs(&packets))
                    .map_err(|invalid| invalid_refs(url, invalid))
            }
        }
    }

    async fn list_over_stream(
        &self,
        url: &GitUrl,
        prefixes: &[String],
    ) -> Result<RemoteRefs, GitError> {
        let mut connection = StreamConnection::open(self, url, true).await?;
        let mut reader = PacketReader::default();
        let greeting = read_message(&mut connection, &mut reader).await?;
        match Advertisement::read(&greeting).map_err(|invalid| invalid_refs(url, invalid))? {
            Advertisement::Refs(refs) => {
                // A flush without wants ends the session cleanly.
                connection.write(b"0000").await.ok();
                connection.finish().await;
                Ok(refs)
            }
            Advertisement::Version2 => {
                connection.write(&ls_refs(prefixes)).await?;
                let reply = read_message(&mut connection, &mut reader).await?;
                connection.write(b"0000").await.ok();
                connection.finish().await;
                RemoteRefs::from_ls_refs(&reply).map_err(|invalid| invalid_refs(url, invalid))
            }
        }
    }
}

/// Returns the command that lists the references with one of the prefixes.
fn ls_refs(prefixes: &[String]) -> Vec<u8> {
    let mut message = Vec::new();
    write_line(&mut message, "command=ls-refs\n");
    write_line(
        &mut message,
        concat!("agent=xp/", env!("CARGO_PKG_VERSION"), "\n"),
    );
    write_delimiter(&mut message);
    write_line(&mut message, "peel\n");
    write_line(&mut message, "symrefs\n");
    for prefix in prefixes {
        write_line(&mut message, &format!("ref-prefix {prefix}\n"));
    }
    write_flush(&mut message);
    message
}

fn packets(body: &[u8]) -> Result<Vec<Packet>, InvalidRefs> {
    let mut reader = PacketReader::default();
    reader.push(body);
    let mut packets = Vec::new();
    while let Some(packet) = reader
        .next()
        .map_err(|invalid| InvalidRefs::Malformed(invalid.to_string()))?
    {
        packets.push(packet);
    }
    Ok(packets)
}

/// Reads packets up to the end of the message, or up to an error line.
async fn read_message(
    connection: &mut StreamConnection,
    reader: &mut PacketReader,
) -> Result<Vec<Packet>, GitError> {
    let mut packets = Vec::new();
    let mut received = 0;
    let mut buffer = vec![0; 32 << 10];
    loop {
        loop {
            match reader.next() {
                Ok(None) => break,
                Ok(Some(packet)) => {
                    let is_last = match &packet {
                        Packet::Line(line) => line.starts_with(b"ERR "),
                        Packet::Flush => true,
                        Packet::Delimiter | Packet::ResponseEnd => false,
                    };
                    packets.push(packet);
                    if is_last {
                        return Ok(packets);
                    }
                }
                Err(invalid) => {
                    return Err(invalid_refs(
                        connection.url(),
                        InvalidRefs::Malformed(invalid.to_string()),
                    )
                    .with_hint("make sure that the login shell of the ssh user prints nothing"));
                }
            }
        }
        let read = connection.read(&mut buffer).await?;
        received += read;
        if received > MAX_RESPONSE_SIZE {
            return Err(GitError::protocol(
                connection.url(),
                "the response is too long",
            ));
        }
        reader.push(&buffer[..read]);
    }
}

fn invalid_refs(url: &GitUrl, invalid: InvalidRefs) -> GitError {
    match invalid {
        InvalidRefs::ServerMessage(message) => GitError::from_server(url, &message),
        InvalidRefs::OtherObjectFormat => {
            let (why, hint) = unsupported_object_format();
            let what = format!("cannot read the git repository {url}");
            GitError::new(GitErrorKind::Protocol, what)
                .because(why)
                .with_hint(hint)
        }
        InvalidRefs::Malformed(_) => GitError::protocol(url, invalid.to_string()),
    }
}

/// Lists the references of a repository on this machine.
fn list_local(url: &GitUrl) -> Result<RemoteRefs, GitError> {
    let repository = Repository::open(url.path()).map_err(|cause| match cause.code() {
        git2::ErrorCode::NotFound => GitError::not_found(url),
        _ => GitError::local(format!("cannot read the repository {url}"), cause),
    })?;
    let read = |repository: &Repository| -> Result<RemoteRefs, git2::Error> {
        let mut refs = RemoteRefs::default();
        // Like a server, the local transport lists peeled tags, too.
        let mut remote = repository.remote_anonymous(&repository.path().to_string_lossy())?;
        let connection = remote.connect_auth(Direction::Fetch, None, None)?;
        let mut peeled = Vec::new();
        for head in connection.list()? {
            let id = CommitId::from(head.oid());
            match head.name().strip_suffix("^{}") {
                Some(tag) => peeled.push((tag.to_owned(), id)),
                None => refs.insert(head.name(), id, None),
            }
        }
        for (tag, id) in peeled {
            if let Some(direct) = refs.commit(&tag) {
                refs.insert(&tag, direct, Some(id));
            }
        }
        if let Ok(head) = repository.find_reference("HEAD")
            && let Ok(Some(branch)) = head.symbolic_target()
        {
            refs.set_head(branch);
        }
        Ok(refs)
    };
    read(&repository)
        .map_err(|cause| GitError::local(format!("cannot read the references of {url}"), cause))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_requests_only_the_prefixes() {
        let message = ls_refs(&["HEAD".to_owned(), "refs/heads/x".to_owned()]);
        let text = String::from_utf8(message).unwrap();
        assert!(text.starts_with("0014command=ls-refs\n"), "{text}");
        assert!(
            text.ends_with("0014ref-prefix HEAD\n001cref-prefix refs/heads/x\n0000"),
            "{text}"
        );
    }

    #[test]
    fn server_messages_are_classified() {
        let url: GitUrl = "ssh://git@h/x".parse().unwrap();
        assert_eq!(
            GitError::from_server(&url, "Repository not found.").kind(),
            GitErrorKind::NotFound
        );
        assert_eq!(
            GitError::from_server(&url, "upload-pack: too busy").kind(),
            GitErrorKind::Refused
        );
    }
}
