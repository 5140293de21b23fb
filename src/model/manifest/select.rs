//! Selects services by the names and patterns of a command line.

use std::collections::BTreeSet;

use thiserror::Error;

use super::Manifest;
use super::name::ServiceName;
use crate::base::error::{Diagnostic, Exit};
use crate::base::suggest;

/// Names or patterns that match no service.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("unknown service {}", quoted(.patterns))]
pub struct UnknownServices {
    patterns: Vec<String>,
    help: Option<String>,
}

impl Diagnostic for UnknownServices {
    fn exit(&self) -> Exit {
        Exit::Usage
    }

    fn hints(&self) -> Vec<String> {
        self.help.iter().cloned().collect()
    }
}

impl Manifest {
    /// Returns the services that match the patterns, or all services if there are no patterns.
    ///
    /// In a pattern, `*` matches any characters, and `?` matches one. `a+` also selects the dependents of `a`, `+a` its
    /// dependencies, both direct and indirect.
    ///
    /// # Errors
    ///
    /// Some patterns match nothing; all of them are reported.
    pub fn select<P: AsRef<str>>(
        &self,
        patterns: &[P],
    ) -> Result<BTreeSet<ServiceName>, UnknownServices> {
        if patterns.is_empty() {
            return Ok(self.services.keys().cloned().collect());
        }
        let patterns: Vec<RelatedPattern<'_>> = patterns
            .iter()
            .map(|pattern| RelatedPattern::parse(pattern.as_ref()))
            .collect();
        let names = self.services.keys().map(ServiceName::as_str);
        let texts: Vec<&str> = patterns.iter().map(|pattern| pattern.text).collect();
        // Reports all unknown patterns.
        choose(names, &texts)?;
        let mut selected = BTreeSet::new();
        for pattern in patterns {
            let all = self.services.keys();
            let matching = all.filter(|name| matches(pattern.text, name.as_str()));
            let matching: BTreeSet<ServiceName> = matching.cloned().collect();
            if pattern.with_needs {
                selected.extend(self.closure(&matching));
            }
            if pattern.with_dependents {
                selected.extend(self.dependents_closure(&matching));
            }
            selected.extend(matching);
        }
        Ok(selected)
    }
}

/// A pattern with the relation of further services to those that match it.
struct RelatedPattern<'p> {
    text: &'p str,
    with_needs: bool,
    with_dependents: bool,
}

impl<'p> RelatedPattern<'p> {
    fn parse(pattern: &'p str) -> Self {
        let start = pattern.strip_prefix('+').unwrap_or(pattern);
        let text = start.strip_suffix('+').unwrap_or(start);
        Self {
            text,
            with_needs: pattern.starts_with('+'),
            with_dependents: start.ends_with('+'),
        }
    }
}

/// Returns the names that match the patterns; empty if there are no patterns.
///
/// # Errors
///
/// Some patterns match nothing; all of them are reported.
pub(crate) fn choose<'n, P: AsRef<str>>(
    names: impl Iterator<Item = &'n str> + Clone,
    patterns: &[P],
) -> Result<BTreeSet<&'n str>, UnknownServices> {
    let mut chosen = BTreeSet::new();
    let mut unknown: Vec<String> = Vec::new();
    for pattern in patterns.iter().map(AsRef::as_ref) {
        let matching = names.clone().filter(|name| matches(pattern, name));
        let matching: Vec<&str> = matching.collect();
        if matching.is_empty() && !unknown.iter().any(|known| known == pattern) {
            unknown.push(pattern.to_owned());
        }
        chosen.extend(matching);
    }
    match unknown.first() {
        None => Ok(chosen),
        Some(first) => Err(UnknownServices {
            help: if first.trim().is_empty() {
                // Most likely an unset variable in a script.
                Some("service names must not be empty; omit them to select all services".to_owned())
            } else {
                suggest::hint(first, "known services", names)
            },
            patterns: unknown.clone(),
        }),
    }
}

fn quoted(patterns: &[String]) -> String {
    patterns
        .iter()
        .map(|pattern| format!("`{pattern}`"))
        .collect::<Vec<_>>()
        .join(", ")
}

/// Returns whether a name matches a pattern, in time linear in the length of the name for each `*`.
pub(crate) fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), name.chars().collect());
    let (mut p, mut n) = (0, 0);
    // The position of the last `*`, and how many characters of the name it matches.
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(c) if *c == '?' || *c == name[n] => {
                p += 1;
                n += 1;
            }
            _ => match &mut star {
                None => return false,
                Some((at, taken)) => {
                    *taken += 1;
                    (p, n) = (*at + 1, *taken);
                }
            },
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn related_services_are_selected() {
        let service = |name: &str, needs: &str| {
            format!(
                "  {name}: {{dir: {name}, git: {{remote: 'https://h/{name}'}}, docker: {{image: {name}}}, needs: [{needs}]}}\n"
            )
        };
        let text = [("base", ""), ("lib", "base"), ("web", "lib"), ("other", "")]
            .map(|(name, needs)| service(name, needs));
        let text = format!("services:\n{}", text.concat());
        let manifest = crate::model::manifest::parse(&text, Path::new("x-platform.yml")).unwrap();
        for (patterns, expected) in [
            (&["lib"][..], "lib"),
            (&["+lib"], "base lib"),
            (&["lib+"], "lib web"),
            (&["+lib+"], "base lib web"),
            (&["l*+", "other"], "lib other web"),
            (&["other+"], "other"),
            (&[], "base lib other web"),
        ] {
            let selected = manifest.select(patterns).unwrap();
            let names: Vec<&str> = selected.iter().map(ServiceName::as_str).collect();
            assert_eq!(names.join(" "), expected, "{patterns:?}");
        }
        for unknown in ["+", "++", "lip+", "+lip", "lib++"] {
            assert!(manifest.select(&[unknown]).is_err(), "{unknown}");
        }
    }

    #[test]
    fn patterns() {
        for (pattern, name) in [
            ("a", "a"),
            ("*", "abc"),
            ("z*", "zbackend"),
            ("*end", "zbackend"),
            ("z*e?d", "zbackend"),
            ("**", "a"),
            ("a*b*c", "aXbbYc"),
            ("???", "abc"),
        ] {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [
            ("a", "b"),
            ("", "a"),
            ("?", ""),
            ("z*x", "zbackend"),
            ("??", "a"),
            ("[a]", "a"),
            ("a*b*c", "aXc"),
        ] {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
    }
}
