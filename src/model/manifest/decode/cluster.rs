//! Decodes names of clusters and namespaces.

/// Parses the name of a kubeconfig context.
pub(super) fn context(text: &str) -> Result<String, String> {
    if text.starts_with('-') || text.chars().any(char::is_control) {
        return Err(format!(
            "invalid context `{text}`: must not start with `-` or contain control characters"
        ));
    }
    Ok(text.to_owned())
}

/// Parses the name of a namespace.
pub(super) fn namespace(text: &str) -> Result<String, String> {
    let is_inside = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let is_valid = text.len() <= 63
        && text.starts_with(is_inside)
        && text.ends_with(is_inside)
        && text.chars().all(|c| is_inside(c) || c == '-');
    if is_valid {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "invalid namespace `{text}`: must be at most 63 lowercase letters, digits, and `-` between them"
        ))
    }
}
