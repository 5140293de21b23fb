//! Detects builds that failed because of the registry of a base image, from the engine's error message.

/// Returns whether the registry failed with a transient error.
pub fn is_transient(message: &str) -> bool {
    let message = message.to_lowercase();
    is_registry_request(&message)
        && (has(&message, TRANSIENT)
            || message.ends_with("eof")
            || message.split(": ").any(is_transient_status))
}

/// Returns whether the registry failed or cannot be reached, for any reason.
pub fn is_the_cause(message: &str) -> bool {
    let lower = message.to_lowercase();
    is_transient(message) || is_registry_request(&lower) && has(&lower, PERMANENT)
}

/// Phrases of messages about requests to a registry.
const REGISTRY_REQUEST: &[&str] = &[
    "failed to create llb definition",
    "failed to resolve source metadata",
    "failed to resolve reference",
    "failed to load metadata",
    "failed to do request",
    "failed to copy",
    "failed to authorize",
    "failed to fetch",
    "httpreadseeker",
    "status code [",
    "unexpected status code",
    "unexpected status from",
    "received unexpected http status",
    "error parsing http",
    "toomanyrequests",
    "get \"http",
    "head \"http",
];

const TRANSIENT: &[&str] = &[
    "toomanyrequests",
    "connection refused",
    "connection reset",
    "i/o timeout",
    "handshake timeout",
    "deadline exceeded",
    "network is unreachable",
    "no route to host",
    "server misbehaving",
    "temporary failure in name resolution",
];

const PERMANENT: &[&str] = &["no such host", "x509", "gave http response"];

fn has(message: &str, words: &[&str]) -> bool {
    words.iter().any(|word| message.contains(word))
}

/// Returns whether a lower-case message is about a request to a registry, and not the output of an instruction, which
/// may be anything.
fn is_registry_request(message: &str) -> bool {
    has(message, REGISTRY_REQUEST) && !is_of_instruction(message)
}

/// Returns whether a lower-case message quotes an instruction that failed, which may contain any word.
pub fn is_of_instruction(message: &str) -> bool {
    let of_instruction = &[
        "executor failed running",
        "did not complete successfully",
        "returned a non-zero code",
    ];
    has(message, of_instruction)
}

/// Returns whether a part of a message is a transient HTTP status, such as `503 service unavailable` or
/// `error parsing http 408 response body`.
fn is_transient_status(part: &str) -> bool {
    let part = part.strip_prefix("error parsing http ").unwrap_or(part);
    let code = part.split_whitespace().next();
    matches!(
        code,
        Some("408" | "425" | "429" | "500" | "502" | "503" | "504")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_registry_errors_are_transient_not_those_of_instructions() {
        for transient in [
            "failed to solve with frontend dockerfile.v0: failed to create LLB definition: unexpected status code \
             [manifests 1]: 503 Service Unavailable",
            "failed to do request: Head \"https://r/v2/a/manifests/1\": dial tcp: connect: connection refused",
            "received unexpected HTTP status: 502 Bad Gateway",
            "pulling from host r failed with status code [manifests 1]: 503 Busy",
            "toomanyrequests: slow down",
            "Get \"https://r/v2/\": EOF",
            "unknown: failed to resolve reference \"r/a:1\": unexpected status from HEAD request to \
             https://r/v2/a/manifests/1: 425 Too Early",
            "error parsing HTTP 408 response body: invalid character '<' looking for beginning of value",
        ] {
            assert!(is_transient(transient), "{transient}");
        }
        for permanent in [
            "failed to create LLB definition: r/a:1: not found",
            "executor failed running [/bin/sh -c curl x]: failed to do request: 503 Service Unavailable",
            "The command '/bin/sh -c x: failed to copy: connection refused' returned a non-zero code: 1",
            "dockerfile parse error line 1: unknown instruction: 503 Service Unavailable",
        ] {
            assert!(!is_transient(permanent), "{permanent}");
        }
    }

    #[test]
    fn an_unreachable_registry_is_the_cause() {
        for cause in [
            "failed to resolve reference \"nosuch.invalid/x:1\": failed to do request: Head \
             \"https://nosuch.invalid/v2/x/manifests/1\": dial tcp: lookup nosuch.invalid: no such host",
            "Get \"http://127.0.0.1:1/v2/\": dial tcp 127.0.0.1:1: connect: connection refused",
            "Get \"https://r/v2/\": x509: certificate signed by unknown authority",
        ] {
            assert!(is_the_cause(cause), "{cause}");
        }
        for other in [
            "failed to create LLB definition: r/a:1: not found",
            "executor failed running [/bin/sh -c curl x]: Get \"https://x\": no such host",
        ] {
            assert!(!is_the_cause(other), "{other}");
        }
    }
}
