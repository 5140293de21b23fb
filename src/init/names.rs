//! Names that are legal, and each of which is there once.

use std::collections::BTreeSet;

use crate::image::ImageRepository;
use crate::manifest::ServiceName;

/// Returns the name of a service that is most like a text; none where nothing of it can be used.
pub(super) fn service_name(text: &str) -> Option<String> {
    let legal: String = text
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || "._-".contains(c) {
                c
            } else {
                '-'
            }
        })
        .collect();
    let legal = legal.trim_start_matches(|c: char| !c.is_ascii_alphanumeric());
    let cut = &legal[..legal.len().min(ServiceName::MAX_LENGTH)];
    let cut = cut.trim_end_matches(['-', '.', '_']);
    cut.parse::<ServiceName>().ok().map(|name| name.to_string())
}

/// Returns the name of an image, without a registry, that is most like a text.
pub(super) fn image_name(text: &str) -> Option<String> {
    let parts: Vec<String> = text.split('/').filter_map(image_part).collect();
    let name = parts.join("/");
    // A dot in the first part of several would make a host of it.
    let name = match name.split_once('/') {
        Some(("localhost", rest)) => rest.to_owned(),
        Some((first, rest)) => format!("{}/{rest}", first.replace('.', "-")),
        _ => name,
    };
    name.parse::<ImageRepository>().ok().map(|_| name)
}

fn image_part(part: &str) -> Option<String> {
    let mut legal = String::new();
    for c in part.to_lowercase().chars() {
        let is_letter = c.is_ascii_lowercase() || c.is_ascii_digit();
        match c {
            c if is_letter => legal.push(c),
            '.' | '_' if legal.ends_with(|c: char| c.is_ascii_alphanumeric()) => legal.push(c),
            '-' if legal.ends_with(|c: char| c.is_ascii_alphanumeric() || c == '-') => {
                legal.push(c);
            }
            '_' if legal.ends_with('_') && !legal.ends_with("__") => legal.push(c),
            _ if legal.ends_with(|c: char| c.is_ascii_alphanumeric()) => legal.push('-'),
            _ => {}
        }
    }
    let legal = legal.trim_end_matches(['-', '.', '_']);
    (!legal.is_empty()).then(|| legal.to_owned())
}

/// Returns the first of some names that is not taken yet, or one with a number, and takes it.
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
    fn names_become_legal() {
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
    fn each_name_is_there_once() {
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
