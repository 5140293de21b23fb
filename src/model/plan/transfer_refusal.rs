//! Classifies why a registry refused a push or a pull, from the message of the registry or the engine.
//!
//! The engine's classic image store passes on the registry's message without the status. Docker Engine 26 with the
//! containerd image store passes on the status without the message, and 28 the message without the status.

/// Why a registry refused a push or a pull.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TransferRefusal {
    /// The tag exists, and the registry does not allow moving it to another image.
    ImmutableTag,
    /// Not logged in, or the credentials are wrong.
    Login,
    /// Logged in, but not allowed.
    Rights,
    /// The image is too large, or the storage is full.
    Quota,
    /// Too many requests.
    RateLimit,
    /// The registry or a proxy in front of it fails or cannot be reached.
    Outage,
    /// A retry cannot help: no such image, or a misconfigured connection.
    Permanent,
    /// The message does not contain the reason.
    Unknown,
}

impl TransferRefusal {
    /// Classifies a refusal by the registry's status, if known, and the message.
    ///
    /// The message takes precedence over the status, because registries use 400, 403, 405, 409 and 412 for immutable
    /// tags, and 403 for quotas.
    pub fn of(status: Option<u16>, message: &str) -> Self {
        let status = status.or_else(|| status_in(message));
        let is_of_blob = message.contains("/blobs/");
        let text = without_paths(message);
        let contains_any =
            |patterns: &[&str]| patterns.iter().any(|pattern| text.contains(pattern));
        if status == Some(429) || contains_any(RATE_LIMIT) {
            return Self::RateLimit;
        }
        if matches!(status, Some(413 | 507)) || contains_any(QUOTA) {
            return Self::Quota;
        }
        if contains_any(IMMUTABLE) || text.contains("tag") && contains_any(IMMUTABLE_TAG) {
            return Self::ImmutableTag;
        }
        match status {
            Some(401) => return Self::Login,
            Some(403) => return Self::Rights,
            Some(409 | 412) if !is_of_blob => return Self::ImmutableTag,
            Some(408 | 425 | 500 | 502..=504) => return Self::Outage,
            _ => {}
        }
        if contains_any(LOGIN) {
            Self::Login
        } else if contains_any(PERMANENT) {
            Self::Permanent
        } else if contains_any(RIGHTS) {
            Self::Rights
        } else if contains_any(OUTAGE) || text.ends_with("eof") {
            Self::Outage
        } else {
            Self::Unknown
        }
    }

    /// Returns whether the same request may succeed later.
    pub fn is_temporary(self) -> bool {
        matches!(self, Self::RateLimit | Self::Outage)
    }

    /// Returns hints for a push to or a pull from that registry.
    pub fn hints(self, registry: &str) -> Vec<String> {
        let hint = match self {
            Self::ImmutableTag => "create a new commit, even an empty one, to get a new tag".to_owned(),
            Self::Login => {
                return vec![
                    format!("log in with `docker login {registry}`"),
                    "run `xp doctor` to see where the credentials come from".to_owned(),
                ];
            }
            Self::Rights => format!(
                "request access to the repository, or log in as a user who has it: `docker login {registry}`"
            ),
            Self::Quota => {
                "the registry or a proxy in front of it limits image size or storage: remove old images, or ask the administrator to raise the limit"
                    .to_owned()
            }
            Self::RateLimit => "the registry limits the request rate: try again later".to_owned(),
            Self::Outage => {
                "the registry or a proxy in front of it is failing: run xp again later; finished images are not rebuilt"
                    .to_owned()
            }
            Self::Permanent | Self::Unknown => return Vec::new(),
        };
        vec![hint]
    }
}

const RATE_LIMIT: &[&str] = &["toomanyrequests", "too many requests", "rate limit"];

const QUOTA: &[&str] = &[
    "quota",
    "insufficient storage",
    "storage limit",
    "no space left",
    "entity too large",
    "content too large",
    "size invalid",
];

const IMMUTABLE: &[&str] = &[
    "immutable",
    "immutability",
    "tag exists",
    "be overwritten",
    "to overwrite",
    "does not allow updating",
    "cannot update tag",
    "disallowed on this tag",
    "protected tag",
    "protected by tag",
];

/// Phrases that indicate an immutable tag if the message mentions a tag.
const IMMUTABLE_TAG: &[&str] = &["already exists", "is locked", "cannot be updated"];

const LOGIN: &[&str] = &[
    "unauthorized",
    "authentication required",
    "no basic auth",
    "incorrect username or password",
    "invalid username",
];

const PERMANENT: &[&str] = &[
    "not found",
    "manifest unknown",
    "does not exist",
    "no such image",
    "no such host",
    "unsupported",
    "gave http response",
    "redirects",
    "x509",
];

const RIGHTS: &[&str] = &[
    "denied",
    "forbidden",
    "insufficient_scope",
    "authorization failed",
];

const OUTAGE: &[&str] = &[
    "connection refused",
    "connection reset",
    "broken pipe",
    "closed network connection",
    "network is unreachable",
    "no route to host",
    "timeout",
    "timed out",
    "deadline exceeded",
    "name resolution",
    "server misbehaving",
    "unexpected eof",
    "service unavailable",
    "bad gateway",
    "internal server error",
];

/// Returns the status from a message such as `unexpected status from PUT request to https://…: 403 Forbidden`, or
/// `error parsing HTTP 408 response body: …`.
fn status_in(message: &str) -> Option<u16> {
    if let Some((_, rest)) = message.split_once("error parsing HTTP ") {
        return rest.split(' ').next()?.parse().ok();
    }
    let parts = message.split(": ").map(str::trim_start);
    let statuses = parts.filter_map(|part| {
        let (code, phrase) = part.split_once(' ')?;
        let is_phrase = phrase.starts_with(|c: char| c.is_ascii_uppercase());
        let is_code = code.len() == 3 && is_phrase;
        code.parse::<u16>()
            .ok()
            .filter(|code| is_code && (400..600).contains(code))
    });
    statuses.last()
}

/// Returns the message in lower case, without URLs and image names, which may contain any word.
fn without_paths(message: &str) -> String {
    let words = message
        .split_whitespace()
        .filter(|word| !word.contains('/'));
    words.collect::<Vec<_>>().join(" ").to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::TransferRefusal::*;
    use super::*;

    const PUT: &str = "failed commit on ref \"manifest-sha256:f5cf\": unexpected status from PUT request to \
         https://r.example.com/v2/quota/immutable/manifests/1: ";
    const POST: &str =
        "unexpected status from POST request to https://r.example.com/v2/a/blobs/uploads/: ";

    fn of(message: &str) -> TransferRefusal {
        TransferRefusal::of(None, message)
    }

    #[test]
    fn the_classic_store_passes_on_the_message() {
        for (message, kind) in [
            ("unauthorized: authentication required", Login),
            ("no basic auth credentials", Login),
            ("denied: requested access to the resource is denied", Rights),
            ("denied: quota exceeded", Quota),
            ("size invalid: quota exceeded", Quota),
            (
                "received unexpected HTTP status: 507 Insufficient Storage",
                Quota,
            ),
            ("toomanyrequests: slow down", RateLimit),
            ("unknown: tag is immutable", ImmutableTag),
            ("TAG_IMMUTABLE: no", ImmutableTag),
            ("unknown: tag exists", ImmutableTag),
            ("tag invalid: the tag 1 is immutable", ImmutableTag),
            (
                "tag invalid: The image tag 'v1' already exists in the 'x' repository and cannot be overwritten",
                ImmutableTag,
            ),
            (
                "unknown: Failed to process request due to 'v1' configured as immutable.",
                ImmutableTag,
            ),
            (
                "manifest invalid: cannot update tag v1. The repository has enabled tag immutability",
                ImmutableTag,
            ),
            (
                "received unexpected HTTP status: 503 Service Unavailable",
                Outage,
            ),
            (
                "Put \"https://r/v2/a/manifests/1\": dial tcp 10.0.0.1:443: connect: connection refused",
                Outage,
            ),
            ("Get \"https://r/v2/\": EOF", Outage),
            (
                "error parsing HTTP 408 response body: invalid character '<' looking for beginning of value",
                Outage,
            ),
            ("manifest unknown: manifest unknown", Permanent),
            ("unsupported: The operation is unsupported.", Permanent),
            ("blob upload invalid", Unknown),
        ] {
            assert_eq!(of(message), kind, "{message}");
        }
    }

    #[test]
    fn engine_26_passes_on_only_the_status() {
        for (status, kind) in [
            ("401 Unauthorized", Login),
            ("403 Forbidden", Rights),
            ("404 Not Found", Permanent),
            ("408 Request Timeout", Outage),
            ("409 Conflict", ImmutableTag),
            ("412 Precondition Failed", ImmutableTag),
            ("413 Request Entity Too Large", Quota),
            ("425 Too Early", Outage),
            ("429 Too Many Requests", RateLimit),
            ("500 Internal Server Error", Outage),
            ("507 Insufficient Storage", Quota),
        ] {
            assert_eq!(of(&format!("{PUT}{status}")), kind, "{status}");
        }
        // An upload is not about a tag.
        assert_eq!(of(&format!("{POST}409 Conflict")), Unknown);
        assert_eq!(of(&format!("{PUT}400 Bad Request")), Unknown);
        assert_eq!(of(&format!("{PUT}405 Method Not Allowed")), Unknown);
    }

    #[test]
    fn engine_28_passes_on_only_the_message() {
        for (words, kind) in [
            ("authentication required", Login),
            ("requested access to the resource is denied", Rights),
            ("quota exceeded", Quota),
            ("tag is immutable", ImmutableTag),
            ("slow down", Unknown),
            ("down", Unknown),
        ] {
            let message = format!("error from registry: {words}");
            assert_eq!(of(&message), kind, "{message}");
        }
    }

    #[test]
    fn a_known_status_is_used() {
        let of = |status, message| TransferRefusal::of(Some(status), message);
        assert_eq!(of(403, "quota of the project exceeded"), Quota);
        assert_eq!(of(403, "no"), Rights);
        assert_eq!(of(429, "quota exceeded for requests per minute"), RateLimit);
        assert_eq!(of(403, "the tag 1 is immutable"), ImmutableTag);
        assert_eq!(of(403, "tags cannot be updated"), ImmutableTag);
        assert_eq!(of(409, ""), ImmutableTag);
        assert_eq!(of(503, "down"), Outage);
        assert_eq!(of(400, "slow down"), Unknown);
    }

    #[test]
    fn image_names_are_ignored() {
        let name = "denied: no access to r.example.com/quota/immutable:already-exists";
        assert_eq!(of(name), Rights);
        assert_eq!(of("dial tcp: lookup unauthorized/x: i/o timeout"), Outage);
    }

    #[test]
    fn only_rate_limits_and_outages_are_temporary() {
        for kind in [ImmutableTag, Login, Rights, Quota, Permanent, Unknown] {
            assert!(!kind.is_temporary(), "{kind:?}");
        }
        assert!(RateLimit.is_temporary() && Outage.is_temporary());
    }
}
