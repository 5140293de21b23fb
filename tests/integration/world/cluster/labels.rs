//! Validation of labels and annotations.

use serde_json::Value;

use super::resources::Resource;
use super::status::Status;

/// The size of all annotations.
const MAX_ANNOTATIONS: usize = 262_144;

/// Checks the labels and annotations of an object and of its pod template.
pub fn check(resource: &Resource, name: &str, object: &Value) -> Result<(), Status> {
    let invalid = |field: &str, problem: &str| Err(Status::invalid(resource, name, field, problem));
    let template = &object["spec"]["template"]["metadata"];
    let metadata = [
        ("metadata", &object["metadata"]),
        ("spec.template.metadata", template),
    ];
    for (path, metadata) in metadata {
        for (key, value) in metadata["labels"].as_object().into_iter().flatten() {
            let field = format!("{path}.labels");
            let value = value.as_str().unwrap_or_default();
            if let Some(problem) = problem_with_key(key) {
                return invalid(&field, &format!("Invalid value: {key:?}: {problem}"));
            }
            if let Some(problem) = problem_with_value(value) {
                return invalid(&field, &format!("Invalid value: {value:?}: {problem}"));
            }
        }
        let annotations = metadata["annotations"].as_object().into_iter().flatten();
        let mut size = 0;
        for (key, value) in annotations {
            size += key.len() + value.as_str().map_or(0, str::len);
            if let Some(problem) = problem_with_key(key) {
                let problem = format!("Invalid value: {key:?}: {problem}");
                return invalid(&format!("{path}.annotations"), &problem);
            }
        }
        if size > MAX_ANNOTATIONS {
            let problem = format!("Too long: may not be more than {MAX_ANNOTATIONS} bytes");
            return invalid(&format!("{path}.annotations"), &problem);
        }
    }
    Ok(())
}

fn problem_with_key(key: &str) -> Option<String> {
    let (prefix, name) = match key.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    if prefix.is_some_and(|prefix| prefix.is_empty() || prefix.len() > 253) {
        return Some("prefix part must be non-empty".to_owned());
    }
    if name.is_empty() {
        return Some("name part must be non-empty".to_owned());
    }
    problem_with_value(name).map(|problem| format!("name part {problem}"))
}

fn problem_with_value(value: &str) -> Option<String> {
    if value.len() > 63 {
        return Some("must be no more than 63 characters".to_owned());
    }
    let is_word = |c: char| c.is_ascii_alphanumeric();
    let is_valid = value.is_empty()
        || value.starts_with(is_word)
            && value.ends_with(is_word)
            && value.chars().all(|c| is_word(c) || "-_.".contains(c));
    (!is_valid).then(|| {
        "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', \
         and must start and end with an alphanumeric character"
            .to_owned()
    })
}
