//! Fuzzing entry points of the git client: see `fuzzing`.

use crate::client::git::refs::pkt_line::{Packet, PacketReader};
use crate::client::git::refs::remote::{Advertisement, RemoteRefs};
use crate::client::git::transport::netrc::find_login;

/// Parses a server's list of references in both protocol versions, and a `.netrc` file. The packets must not
/// depend on how the bytes are split into chunks.
pub fn refs(bytes: &[u8]) {
    let whole = packets(bytes.chunks(bytes.len().max(1)));
    assert_eq!(whole, packets(bytes.chunks(3)));
    if let Some(packets) = whole {
        if let Ok(refs) = RemoteRefs::from_ls_refs(&packets) {
            check(&refs);
        }
        if let Ok(Advertisement::Refs(refs)) = Advertisement::read(&packets) {
            check(&refs);
        }
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        _ = find_login(text, "git.example.com", None);
        _ = find_login(text, "git.example.com", Some("git"));
    }
}

/// Returns the packets in a sequence of chunks; `None` if one is invalid.
fn packets<'b>(chunks: impl Iterator<Item = &'b [u8]>) -> Option<Vec<Packet>> {
    let mut reader = PacketReader::default();
    let mut packets = Vec::new();
    for chunk in chunks {
        reader.push(chunk);
        while let Some(packet) = reader.next().ok()? {
            packets.push(packet);
        }
    }
    Some(packets)
}

fn check(refs: &RemoteRefs) {
    _ = refs.head();
    for name in refs.names() {
        assert!(
            refs.commit(name).is_some(),
            "{name:?} is listed without a commit"
        );
    }
}
