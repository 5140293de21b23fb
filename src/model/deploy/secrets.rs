//! The values of rendered Kubernetes secrets, which must not be in output.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::rendered::RenderedObjects;
use crate::base::redact::Redactor;

/// Returns a redactor for rendered secrets, both encoded and decoded.
pub fn redactor(rendered: &RenderedObjects) -> Redactor {
    let mut redactor = Redactor::default();
    for encoded in rendered.texts("Secret", "data") {
        redactor.add_lines([encoded]);
        let compact: String = encoded.split_whitespace().collect();
        if let Ok(bytes) = BASE64_STANDARD.decode(compact)
            && let Ok(text) = String::from_utf8(bytes)
        {
            redactor.add_lines([text.as_str()]);
        }
    }
    for text in rendered.texts("Secret", "stringData") {
        let encoded = BASE64_STANDARD.encode(text);
        redactor.add_lines([text, encoded.as_str()]);
    }
    redactor
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_redacted_in_each_form() {
        let rendered = RenderedObjects::read(
            "kind: Secret\ndata: {a: aHVudGVyMg==, b: b25l, n: eA==}\nstringData: {c: \"first line\\nsecond line\\n\"}\n",
        )
        .unwrap();
        let redactor = redactor(&rendered);
        assert_eq!(
            redactor.text("bad value \"aHVudGVyMg==\", hunter2x, second line, one, x"),
            "bad value \"***\", ***x, ***, one, x"
        );
    }
}
