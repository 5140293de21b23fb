//! Parses the references of a remote.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::pkt_line::Packet;
use crate::model::source::CommitId;

/// References of a remote, all or those requested.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RemoteRefs {
    refs: BTreeMap<String, RemoteRef>,
    head: Option<String>,
}

/// The target of a remote's reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct RemoteRef {
    id: CommitId,
    peeled: Option<CommitId>,
}

/// A response that is not a list of references.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRefs {
    /// The server returned an error message.
    #[error("the server reported: {0}")]
    ServerMessage(String),
    /// The repository's object format is not SHA-1.
    #[error("its object format is not SHA-1")]
    OtherObjectFormat,
    /// The response violates the protocol.
    #[error("{0}")]
    Malformed(String),
}

/// The first message of a server.
#[derive(Debug, PartialEq, Eq)]
pub enum Advertisement {
    /// Protocol versions 0 and 1: all references.
    Refs(RemoteRefs),
    /// Protocol version 2: the server waits for a command.
    Version2,
}

impl RemoteRefs {
    /// Returns the target of a full reference name or `HEAD`; annotated tags are peeled.
    pub fn commit(&self, name: &str) -> Option<CommitId> {
        self.refs
            .get(name)
            .map(|found| found.peeled.unwrap_or(found.id))
    }

    /// Returns the full name of the branch that `HEAD` points to; `None` if it is detached.
    pub fn head(&self) -> Option<&str> {
        self.head.as_deref()
    }

    /// Returns the full reference names, sorted, without `HEAD`.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.refs
            .keys()
            .map(String::as_str)
            .filter(|name| *name != "HEAD")
    }

    /// Adds a reference.
    pub fn insert(&mut self, name: &str, id: CommitId, peeled: Option<CommitId>) {
        self.refs.insert(name.to_owned(), RemoteRef { id, peeled });
    }

    /// Sets the branch that `HEAD` points to.
    pub fn set_head(&mut self, branch: &str) {
        self.head = Some(branch.to_owned());
    }

    /// Parses the response to `ls-refs`.
    pub fn from_ls_refs(packets: &[Packet]) -> Result<Self, InvalidRefs> {
        let mut refs = Self::default();
        for packet in packets {
            let line = match packet {
                Packet::Line(line) => text(line)?,
                Packet::Flush | Packet::ResponseEnd => return Ok(refs),
                Packet::Delimiter => {
                    return Err(malformed("unexpected delimiter in the list of references"));
                }
            };
            let mut words = line.split(' ');
            let (Some(id), Some(name)) = (words.next(), words.next()) else {
                return Err(malformed(&line));
            };
            let mut peeled = None;
            for word in words {
                if let Some(id) = word.strip_prefix("peeled:") {
                    peeled = id.parse().ok();
                } else if let Some(target) = word.strip_prefix("symref-target:")
                    && name == "HEAD"
                {
                    refs.set_head(target);
                }
            }
            // A `HEAD` without a commit is listed as `unborn`.
            if id != "unborn" {
                refs.insert(name, id.parse().map_err(|_| malformed(&line))?, peeled);
            }
        }
        Err(malformed("unexpected end of the list of references"))
    }

    /// Parses the list of all references of protocol versions 0 and 1.
    fn from_advertisement(lines: &[Cow<'_, str>]) -> Result<Self, InvalidRefs> {
        let mut refs = Self::default();
        for (index, line) in lines.iter().enumerate() {
            let (line, capabilities) = match line.split_once('\0') {
                Some((line, capabilities)) => (line, capabilities),
                None => (line.as_ref(), ""),
            };
            if index == 0 {
                let head = capabilities
                    .split(' ')
                    .find_map(|word| word.strip_prefix("symref=HEAD:"));
                if let Some(branch) = head {
                    refs.set_head(branch);
                }
            }
            let (id, name) = line.split_once(' ').ok_or_else(|| malformed(line))?;
            if id == "shallow" || name == "capabilities^{}" {
                continue;
            }
            let id = id.parse().map_err(|_| malformed(line))?;
            match name.strip_suffix("^{}") {
                Some(tag) => {
                    if let Some(found) = refs.refs.get_mut(tag) {
                        found.peeled = Some(id);
                    }
                }
                None => refs.insert(name, id, None),
            }
        }
        refs.guess_head();
        Ok(refs)
    }

    /// Servers before git 1.8.4 do not report the branch of `HEAD`: like git, guess one with the same commit.
    fn guess_head(&mut self) {
        let Some(commit) = self.commit("HEAD").filter(|_| self.head.is_none()) else {
            return;
        };
        let usual = ["refs/heads/main", "refs/heads/master"];
        let guess = usual
            .into_iter()
            .chain(
                self.refs
                    .keys()
                    .map(String::as_str)
                    .filter(|name| name.starts_with("refs/heads/")),
            )
            .find(|name| self.commit(name) == Some(commit));
        self.head = guess.map(str::to_owned);
    }
}

impl Advertisement {
    /// Parses a server's first message.
    pub fn read(packets: &[Packet]) -> Result<Self, InvalidRefs> {
        let mut lines = Vec::new();
        for packet in packets {
            match packet {
                Packet::Line(line) => lines.push(text(line)?),
                // Over HTTP, the name of the service precedes it, with its own flush packet.
                Packet::Flush
                    if lines
                        .first()
                        .is_some_and(|line| line.starts_with("# service=")) =>
                {
                    lines.clear()
                }
                Packet::Flush => break,
                Packet::Delimiter | Packet::ResponseEnd => {
                    return Err(malformed(
                        "unexpected delimiter in the server's first message",
                    ));
                }
            }
        }
        let is_other_format = |word: &str| {
            word.strip_prefix("object-format=")
                .is_some_and(|format| format != "sha1")
        };
        let mut words = lines.iter().flat_map(|line| line.split([' ', '\0']));
        if words.any(is_other_format) {
            return Err(InvalidRefs::OtherObjectFormat);
        }
        match lines.first().map(AsRef::as_ref) {
            Some("version 2") => Ok(Self::Version2),
            Some("version 1") => Ok(Self::Refs(RemoteRefs::from_advertisement(&lines[1..])?)),
            _ => Ok(Self::Refs(RemoteRefs::from_advertisement(&lines)?)),
        }
    }
}

/// Returns a line as text. A name that is not UTF-8 cannot be requested anyway: its invalid bytes are replaced, so that it
/// is not the name of another reference.
fn text(line: &[u8]) -> Result<Cow<'_, str>, InvalidRefs> {
    // Error messages may be shown even if they are not UTF-8.
    if let Some(message) = line.strip_prefix(b"ERR ") {
        return Err(InvalidRefs::ServerMessage(
            String::from_utf8_lossy(message).trim().to_owned(),
        ));
    }
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    Ok(String::from_utf8_lossy(line))
}

fn malformed(reason: &str) -> InvalidRefs {
    let shown: String = reason.chars().take(80).collect();
    InvalidRefs::Malformed(format!("`{}`", shown.escape_debug()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

    fn packets(lines: &[&str]) -> Vec<Packet> {
        let flush = |line: &&str| match *line {
            "0000" => Packet::Flush,
            line => Packet::Line(line.as_bytes().to_vec()),
        };
        lines.iter().map(flush).collect()
    }

    #[test]
    fn ls_refs_responses_are_parsed() {
        let lines = [
            &format!("{A} HEAD symref-target:refs/heads/trunk"),
            &format!("{A} refs/heads/trunk"),
            &format!("{A} refs/tags/v1 peeled:{B}"),
            "0000",
        ];
        let refs = RemoteRefs::from_ls_refs(&packets(&lines)).unwrap();
        assert_eq!(refs.head(), Some("refs/heads/trunk"));
        assert_eq!(refs.commit("refs/tags/v1"), Some(B.parse().unwrap()));
        assert_eq!(refs.commit("HEAD"), Some(A.parse().unwrap()));
        assert_eq!(refs.commit("refs/heads/x"), None);
        assert!(
            RemoteRefs::from_ls_refs(&packets(&["0000"]))
                .unwrap()
                .names()
                .next()
                .is_none()
        );
        assert!(
            RemoteRefs::from_ls_refs(&packets(&[
                "unborn HEAD symref-target:refs/heads/m",
                "0000"
            ]))
            .unwrap()
            .names()
            .next()
            .is_none()
        );
        assert!(RemoteRefs::from_ls_refs(&[]).is_err());
    }

    #[test]
    fn version_0_advertisements_are_parsed() {
        let lines = [
            "# service=git-upload-pack",
            "0000",
            &format!("{A} HEAD\0multi_ack symref=HEAD:refs/heads/trunk agent=git/2"),
            &format!("{A} refs/heads/trunk"),
            &format!("{A} refs/tags/v1"),
            &format!("{B} refs/tags/v1^{{}}"),
            "0000",
        ];
        let Ok(Advertisement::Refs(refs)) = Advertisement::read(&packets(&lines)) else {
            panic!()
        };
        assert_eq!(refs.head(), Some("refs/heads/trunk"));
        assert_eq!(refs.commit("refs/tags/v1"), Some(B.parse().unwrap()));
        assert_eq!(
            refs.names().collect::<Vec<_>>(),
            ["refs/heads/trunk", "refs/tags/v1"]
        );
    }

    #[test]
    fn the_branch_of_head_is_guessed() {
        let lines = [
            &format!("{A} HEAD\0multi_ack"),
            &format!("{B} refs/heads/a"),
            &format!("{A} refs/heads/b"),
            "0000",
        ];
        let Ok(Advertisement::Refs(refs)) = Advertisement::read(&packets(&lines)) else {
            panic!()
        };
        assert_eq!(refs.head(), Some("refs/heads/b"));
    }

    #[test]
    fn advertisements_are_classified() {
        let version2 = packets(&["version 2", "agent=git/2", "ls-refs=unborn", "0000"]);
        assert_eq!(Advertisement::read(&version2), Ok(Advertisement::Version2));
        let empty = packets(&[
            &format!("{} capabilities^{{}}\0multi_ack", "0".repeat(40)),
            "0000",
        ]);
        assert_eq!(
            Advertisement::read(&empty),
            Ok(Advertisement::Refs(RemoteRefs::default()))
        );
        for greeting in [
            vec![
                "version 2".to_owned(),
                "object-format=sha256".to_owned(),
                "0000".to_owned(),
            ],
            vec![
                format!(
                    "{} HEAD\0multi_ack object-format=sha256 agent=git/2",
                    "a".repeat(64)
                ),
                "0000".to_owned(),
            ],
        ] {
            let lines: Vec<&str> = greeting.iter().map(String::as_str).collect();
            let read = Advertisement::read(&packets(&lines));
            assert_eq!(read, Err(InvalidRefs::OtherObjectFormat));
        }
        assert_eq!(
            Advertisement::read(&packets(&["ERR access denied\n"])),
            Err(InvalidRefs::ServerMessage("access denied".to_owned()))
        );
    }
}
