//! Valid and unique names for services and images.

use std::collections::BTreeSet;

use crate::model::image::ImageRepository;
use crate::model::manifest::ServiceName;

/// Returns the closest valid service name to a text, if any character of it is usable.
pub(super) fn service_name(text: &str) -> Option<String> {
    let valid: String = text
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || "._-".contains(c) {
                c
            } else {
                '-'
            }
        })
        .collect();
    let valid = valid.trim_start_matches(|c: char| !c.is_ascii_alphanumeric());
    let cut = &valid[..valid.len().min(ServiceName::MAX_LENGTH)];
    let cut = cut.trim_end_matches(['-', '.', '_']);
    cut.parse::<ServiceName>().ok().map(|name| name.to_string())
}

/// Returns the closest valid image name to a text, without a registry.
pub(super) fn image_name(text: &str) -> Option<String> {
    let parts: Vec<String> = text.split('/').filter_map(image_part).collect();
    let name = parts.join("/");
    // A dot in the first component would make it a host.
    let name = match name.split_once('/') {
        Some(("localhost", rest)) => rest.to_owned(),
        Some((first, rest)) => format!("{}/{rest}", first.replace('.', "-")),
        _ => name,
    };
    name.parse::<ImageRepository>().ok().map(|_| name)
}

fn image_part(part: &str) -> Option<String> {
    let mut valid = String::new();
    for c in part.to_lowercase().chars() {
        let is_letter = c.is_ascii_lowercase() || c.is_ascii_digit();
        match c {
            c if is_letter => valid.push(c),
            '.' | '_' if valid.ends_with(|c: char| c.is_ascii_alphanumeric()) => valid.push(c),
            '-' if valid.ends_with(|c: char| c.is_ascii_alphanumeric() || c == '-') => {
                valid.push(c);
            }
            '_' if valid.ends_with('_') && !valid.ends_with("__") => valid.push(c),
            _ if valid.ends_with(|c: char| c.is_ascii_alphanumeric()) => valid.push('-'),
            _ => {}
        }
    }
    let valid = valid.trim_end_matches(['-', '.', '_']);
    (!valid.is_empty()).then(|| valid.to_owned())
}

/// Returns the first unused candidate, or the first one with a number appended, and marks it as used.
pub(super) fn distinct(candidates: &[String], taken: &mut BTreeSet<String>) -> String {
    let free = candidates
        .iter()
        .find(|name| !taken.contains(&name.to_lowercase()));
    let name = free.cloned().unwrap_or_else(|| {
        let name = candidates.first().map_or("service", String::as_str);
        // Room for the number.
        let name = &name[..name.len().min(ServiceName::MAX_LENGTH - 6)];
        let numbered = (2..).map(|number| format!("{name}-{number}"));
        let mut all = std::iter::once(name.to_owned()).chain(numbered);
        all.find(|name| !taken.contains(&name.to_lowercase()))
            .unwrap_or_default()
    });
    taken.insert(name.to_lowercase());
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_made_valid() {
        for (text, name) in [
            ("zbackend", Some("zbackend")),
            ("my app (old)", Some("my-app--old")),
            ("_x", Some("x")),
            ("größe", Some("gr--e")),
            ("日本", None),
        ] {
            assert_eq!(service_name(text).as_deref(), name, "{text}");
        }
        assert_eq!(service_name(&"a".repeat(99)).unwrap().len(), 63);
        for (text, name) in [
            ("zbackend", Some("zbackend")),
            ("My App", Some("my-app")),
            ("a._b--c__d", Some("a.b--c__d")),
            ("x/Y_", Some("x/y")),
            ("a.b/c.d", Some("a-b/c.d")),
            ("--", None),
        ] {
            assert_eq!(image_name(text).as_deref(), name, "{text}");
        }
    }

    #[test]
    fn names_are_unique() {
        let mut taken = BTreeSet::new();
        let mut name = |candidates: &[&str]| {
            let candidates: Vec<String> = candidates.iter().map(ToString::to_string).collect();
            distinct(&candidates, &mut taken)
        };
        assert_eq!(name(&["api"]), "api");
        assert_eq!(name(&["API", "shop-api"]), "shop-api");
        assert_eq!(name(&["api"]), "api-2");
        assert_eq!(name(&["api"]), "api-3");
        assert_eq!(name(&[]), "service");
    }
}
