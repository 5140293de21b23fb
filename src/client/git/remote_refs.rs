//! What a remote answers when it is asked for its references.

use std::collections::BTreeMap;

use super::pkt_line::Packet;
use crate::source::CommitId;

/// The references of a remote, or those of them that were asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RemoteRefs {
    refs: BTreeMap<String, RemoteRef>,
    head: Option<String>,
}

/// What a reference of a remote points at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct RemoteRef {
    id: CommitId,
    peeled: Option<CommitId>,
}

/// An answer that is not a list of references.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum InvalidRefs {
    /// The server said what is wrong, in its own words.
    #[error("the server says: {0}")]
    ServerSaid(String),
    /// The repository's objects have other names than SHA-1.
    #[error("its objects have no SHA-1 names")]
    OtherObjectFormat,
    /// The answer does not follow the protocol.
    #[error("{0}")]
    Malformed(String),
}

/// The first message of a server.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Advertisement {
    /// An old server lists everything at once.
    Refs(RemoteRefs),
    /// A server of protocol version 2 waits for a command.
    Version2,
}

impl RemoteRefs {
    /// Returns the commit that a full reference name, or `HEAD`, points at; an annotated tag is
    /// followed to what it points at.
    pub fn commit(&self, name: &str) -> Option<CommitId> {
        self.refs
            .get(name)
            .map(|found| found.peeled.unwrap_or(found.id))
    }

    /// Returns the full name of the branch that `HEAD` stands for; none where it is detached.
    pub fn head(&self) -> Option<&str> {
        self.head.as_deref()
    }

    /// Returns the full names, sorted, without `HEAD`.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.refs
            .keys()
            .map(String::as_str)
            .filter(|name| *name != "HEAD")
    }

    /// Tells whether the remote named no reference at all.
    pub fn is_empty(&self) -> bool {
        self.refs.is_empty()
    }

    /// Adds a reference.
    pub(super) fn insert(&mut self, name: &str, id: CommitId, peeled: Option<CommitId>) {
        self.refs.insert(name.to_owned(), RemoteRef { id, peeled });
    }

    /// Says which branch `HEAD` stands for.
    pub(super) fn set_head(&mut self, branch: &str) {
        self.head = Some(branch.to_owned());
    }

    /// Reads the answer to `ls-refs`, up to its end.
    pub(super) fn from_ls_refs(packets: &[Packet]) -> Result<Self, InvalidRefs> {
        let mut refs = Self::default();
        for packet in packets {
            let line = match packet {
                Packet::Line(line) => text(line)?,
                Packet::Flush | Packet::ResponseEnd => return Ok(refs),
                Packet::Delimiter => {
                    return Err(malformed("a delimiter stands in the list of references"));
                }
            };
            let mut words = line.split(' ');
            let (Some(id), Some(name)) = (words.next(), words.next()) else {
                return Err(malformed(line));
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
            // A `HEAD` without a commit is `unborn`.
            if id != "unborn" {
                refs.insert(name, id.parse().map_err(|_| malformed(line))?, peeled);
            }
        }
        Err(malformed("the list of references ends too early"))
    }

    /// Reads the old protocol's list of everything.
    fn from_advertisement(lines: &[&str]) -> Result<Self, InvalidRefs> {
        let mut refs = Self::default();
        for (index, line) in lines.iter().enumerate() {
            let (line, capabilities) = match line.split_once('\0') {
                Some((line, capabilities)) => (line, capabilities),
                None => (*line, ""),
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

    /// Servers before git 1.8.4 do not say which branch `HEAD` is: one of the same commit, as git does.
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
    /// Reads a server's first message, up to its end.
    pub(super) fn read(packets: &[Packet]) -> Result<Self, InvalidRefs> {
        let mut lines = Vec::new();
        for packet in packets {
            match packet {
                Packet::Line(line) => lines.push(text(line)?),
                // Over HTTP the name of the service comes first, with an end of its own.
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
                        "a delimiter stands in the server's first message",
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
        match lines.first() {
            Some(&"version 2") => Ok(Self::Version2),
            Some(&"version 1") => Ok(Self::Refs(RemoteRefs::from_advertisement(&lines[1..])?)),
            _ => Ok(Self::Refs(RemoteRefs::from_advertisement(&lines)?)),
        }
    }
}

fn text(line: &[u8]) -> Result<&str, InvalidRefs> {
    // A name that is not UTF-8 cannot be asked for, but a message may be shown all the same.
    if let Some(message) = line.strip_prefix(b"ERR ") {
        return Err(InvalidRefs::ServerSaid(
            String::from_utf8_lossy(message).trim().to_owned(),
        ));
    }
    match std::str::from_utf8(line) {
        Ok(text) => Ok(text.trim_end_matches('\n')),
        // Such a name cannot be asked for; what stands before it keeps the line readable.
        Err(wrong) => std::str::from_utf8(&line[..wrong.valid_up_to()])
            .map_err(|_| malformed("a reference's name is not UTF-8")),
    }
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
    fn the_answer_to_ls_refs_is_read() {
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
                .is_empty()
        );
        assert!(
            RemoteRefs::from_ls_refs(&packets(&[
                "unborn HEAD symref-target:refs/heads/m",
                "0000"
            ]))
            .unwrap()
            .is_empty()
        );
        assert!(RemoteRefs::from_ls_refs(&[]).is_err());
    }

    #[test]
    fn the_old_advertisement_is_read() {
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
    fn a_head_without_a_name_is_guessed() {
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
    fn version_two_empty_repositories_and_refusals_are_told_apart() {
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
            Err(InvalidRefs::ServerSaid("access denied".to_owned()))
        );
    }
}
