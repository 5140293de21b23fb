//! Label and field selectors.

use serde_json::Value;

/// Limits a list or a watch.
#[derive(Clone, Default)]
pub struct Selector {
    pub labels: String,
    pub fields: String,
}

impl Selector {
    /// Returns whether an object is selected.
    pub fn selects(&self, object: &Value) -> bool {
        let label = |name: &str| {
            object["metadata"]["labels"][name]
                .as_str()
                .map(str::to_owned)
        };
        let field = |path: &str| {
            let value = path
                .split('.')
                .try_fold(object, |value, name| value.get(name))?;
            Some(
                value
                    .as_str()
                    .map_or_else(|| value.to_string(), str::to_owned),
            )
        };
        terms(&self.labels).iter().all(|term| holds(term, &label))
            && terms(&self.fields).iter().all(|term| holds(term, &field))
    }
}

/// Splits at commas outside of parentheses.
fn terms(selector: &str) -> Vec<String> {
    let mut terms = vec![String::new()];
    let mut depth = 0;
    for character in selector.chars() {
        match character {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                terms.push(String::new());
                continue;
            }
            _ => {}
        }
        terms.last_mut().expect("there is one").push(character);
    }
    terms.retain(|term| !term.trim().is_empty());
    terms
}

fn holds(term: &str, value: &dyn Fn(&str) -> Option<String>) -> bool {
    let value = |name: &str| value(name.trim());
    if let Some((name, expected)) = term.split_once("!=") {
        return value(name).as_deref() != Some(expected.trim());
    }
    if let Some((name, expected)) = term.split_once("==").or_else(|| term.split_once('=')) {
        // A missing field counts as empty.
        let found = value(name);
        return found.as_deref().unwrap_or_default() == expected.trim();
    }
    let listed = |list: &str, found: &str| {
        let list = list.trim().trim_start_matches('(').trim_end_matches(')');
        list.split(',').any(|item| item.trim() == found)
    };
    if let Some((name, list)) = term.split_once(" notin ") {
        return value(name).is_none_or(|found| !listed(list, &found));
    }
    if let Some((name, list)) = term.split_once(" in ") {
        return value(name).is_some_and(|found| listed(list, &found));
    }
    match term.trim().strip_prefix('!') {
        Some(name) => value(name).is_none(),
        None => value(term).is_some(),
    }
}
