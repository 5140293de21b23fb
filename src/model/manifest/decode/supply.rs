//! Decodes `supply`, of the manifest and of a service.

use super::super::error::SourceProblem;
use super::super::supply::{SbomPlugin, ServiceSupply, SigningKeys, Supply};
use super::builder::builder_image;
use super::context::{DecodeContext, DecodedValue};
use super::setting::settings;

const NO_PLACEHOLDERS: &str = "settings are passed to the plugin as written";

pub(super) fn supply(cx: &mut DecodeContext, value: &DecodedValue) -> Option<Supply> {
    let mut fields = value.fields(cx)?;
    let provenance = fields.take("provenance");
    let builder = fields.take("builder");
    let sbom = fields.take("sbom");
    let sign = fields.take("sign");
    let verify = fields.take("verify");
    fields.finish(cx);
    let has_sign = sign.is_some();
    let supply = Supply {
        provenance: provenance
            .and_then(|value| value.boolean(cx))
            .unwrap_or_default(),
        builder: builder.and_then(|value| value.parse_with(cx, uri)),
        sbom: sbom.and_then(|value| self::sbom(cx, &value)),
        sign: sign.and_then(|value| keys(cx, &value)),
        verify: verify
            .as_ref()
            .and_then(|value| value.boolean(cx))
            .unwrap_or_default(),
    };
    if let Some(verify) = verify.filter(|_| supply.verify && !supply.provenance && !has_sign) {
        let message = "`supply.verify` has nothing to verify";
        cx.report(SourceProblem::at(verify.key_span, message).help(
            "add the keys that images are signed with, `sign: {key: cosign.key, publicKey: cosign.pub}`, or `provenance: true`",
        ));
    }
    Some(supply)
}

pub(super) fn service_supply(
    cx: &mut DecodeContext,
    value: &DecodedValue,
) -> Option<ServiceSupply> {
    let mut fields = value.fields(cx)?;
    let provenance = fields.take("provenance");
    let sbom = fields.take("sbom");
    for key in ["builder", "sign", "verify"] {
        fields.reject(
            cx,
            key,
            "applies to all services",
            "set it in `supply` at the top of the manifest, next to `services`",
        );
    }
    fields.finish(cx);
    Some(ServiceSupply {
        provenance: provenance.and_then(|value| value.boolean(cx)),
        sbom: sbom.and_then(|value| self::sbom(cx, &value)),
    })
}

fn sbom(cx: &mut DecodeContext, value: &DecodedValue) -> Option<SbomPlugin> {
    let mut fields = value.fields(cx)?;
    let plugin = fields.take("plugin");
    let with = fields.take("with");
    fields.finish(cx);
    let with = with
        .map(|value| settings(cx, &value, NO_PLACEHOLDERS))
        .unwrap_or_default();
    let Some(plugin) = plugin else {
        let message = format!("`{}` has no `plugin`", value.path);
        cx.report(
            SourceProblem::at(value.key_span, message)
                .help("set the image that makes the document, such as `plugin: builders/sbom`"),
        );
        return None;
    };
    Some(SbomPlugin {
        span: plugin.span(),
        image: plugin.parse_with(cx, builder_image)?,
        with,
    })
}

fn keys(cx: &mut DecodeContext, value: &DecodedValue) -> Option<SigningKeys> {
    let mut fields = value.fields(cx)?;
    let key = fields.take("key");
    let public_key = fields.take("publicKey");
    fields.finish(cx);
    if key.is_none() {
        let message = "`supply.sign` has no `key`";
        cx.report(SourceProblem::at(value.key_span, message).help(
            "set the private key, such as `key: cosign.key`; `cosign generate-key-pair` creates one",
        ));
    }
    let public_key = match public_key {
        None => Some(None),
        Some(value) => value.parse_with(cx, self::key).map(Some),
    };
    Some(SigningKeys {
        key: key?.parse_with(cx, self::key)?,
        public_key: public_key?,
    })
}

/// Parses a key: a path or a URI. A key itself would be secret.
fn key(text: &str) -> Result<String, String> {
    if text.contains("-----BEGIN") {
        return Err(
            "this is a key itself; write the path of its file, or `env://NAME` for an environment variable"
                .to_owned(),
        );
    }
    if text.starts_with('-') || text.chars().any(char::is_control) {
        return Err(format!(
            "invalid key `{text}`: must not start with `-` or contain control characters"
        ));
    }
    if text.starts_with("~/") {
        return Err(
            "`~` is not expanded here; write an absolute path, or one relative to the manifest"
                .to_owned(),
        );
    }
    Ok(text.to_owned())
}

fn uri(text: &str) -> Result<String, String> {
    let is_valid = text.split_once(':').is_some_and(|(scheme, rest)| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
            && !rest.is_empty()
    }) && text.chars().all(|c| c.is_ascii_graphic());
    if is_valid {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "`{text}` is not a URI, such as https://ci.example.com/x"
        ))
    }
}
