//! Requests as protocol buffers, which `kubectl` sends for the few kinds that it creates from arguments.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

/// The fields of a message by number; those of other types than bytes are ignored.
type Fields<'a> = BTreeMap<u64, Vec<&'a [u8]>>;

/// Returns the object in the body of a request; `None` for unknown kinds.
pub fn decode(body: &[u8]) -> Option<Value> {
    let envelope = fields(body.strip_prefix(b"k8s\0")?)?;
    let types = fields(first(&envelope, 1))?;
    let object = fields(first(&envelope, 2))?;
    let kind = text(&types, 2);
    let mut value = match kind.as_str() {
        "SelfSubjectAccessReview" => {
            let spec = fields(first(&object, 2))?;
            let attributes = fields(first(&spec, 1))?;
            let names = [
                "namespace",
                "verb",
                "group",
                "version",
                "resource",
                "subresource",
                "name",
            ];
            let attributes: Value = (1..)
                .zip(names)
                .map(|(number, name)| (name.to_owned(), Value::from(text(&attributes, number))))
                .collect();
            json!({ "spec": { "resourceAttributes": attributes } })
        }
        "SelfSubjectRulesReview" => {
            json!({ "spec": { "namespace": text(&fields(first(&object, 2))?, 1) } })
        }
        "Secret" => json!({
            "data": map(&object, 2, |value| BASE64_STANDARD.encode(value)), "type": text(&object, 3),
        }),
        "ConfigMap" => json!({
            "data": map(&object, 2, |value| String::from_utf8_lossy(value).into_owned()),
        }),
        "Namespace" | "ServiceAccount" => json!({}),
        _ => return None,
    };
    value["apiVersion"] = text(&types, 1).into();
    value["kind"] = kind.into();
    value["metadata"] = json!({});
    if let Some(metadata) = fields(first(&object, 1)) {
        for (number, name) in [(1, "name"), (2, "generateName"), (3, "namespace")] {
            let text = text(&metadata, number);
            if !text.is_empty() {
                value["metadata"][name] = text.into();
            }
        }
        let lossy = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
        value["metadata"]["labels"] = map(&metadata, 11, lossy);
        value["metadata"]["annotations"] = map(&metadata, 12, lossy);
    }
    Some(value)
}

fn map(of: &Fields<'_>, number: u64, value: impl Fn(&[u8]) -> String) -> Value {
    let entries = of.get(&number).into_iter().flatten();
    let pairs = entries.filter_map(|entry| fields(entry));
    pairs
        .map(|pair| (text(&pair, 1), Value::from(value(first(&pair, 2)))))
        .collect()
}

fn first<'a>(of: &Fields<'a>, number: u64) -> &'a [u8] {
    of.get(&number)
        .and_then(|values| values.first())
        .copied()
        .unwrap_or_default()
}

fn text(of: &Fields<'_>, number: u64) -> String {
    String::from_utf8_lossy(first(of, number)).into_owned()
}

fn fields(mut bytes: &[u8]) -> Option<Fields<'_>> {
    let mut fields = Fields::new();
    while !bytes.is_empty() {
        let tag = number(&mut bytes)?;
        match tag & 7 {
            0 => drop(number(&mut bytes)?),
            1 => bytes = bytes.get(8..)?,
            2 => {
                let length = usize::try_from(number(&mut bytes)?).ok()?;
                let (value, rest) = bytes.split_at_checked(length)?;
                fields.entry(tag >> 3).or_default().push(value);
                bytes = rest;
            }
            5 => bytes = bytes.get(4..)?,
            _ => return None,
        }
    }
    Some(fields)
}

fn number(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}
