//! The labels that a Dockerfile sets.

use super::{Dockerfile, Instruction};

/// Returns the value of a label that the last stage sets, or one of the stages that it starts from. `None` if there is
/// none, or if it contains variables, which only the build knows.
pub fn label(dockerfile: &str, name: &str) -> Option<String> {
    let instructions = Dockerfile::parse(dockerfile).instructions;
    let is_from = |it: &Instruction| it.keyword == "FROM" && !it.is_trigger;
    let mut end = instructions.len();
    loop {
        let start = instructions[..end].iter().rposition(is_from)?;
        let mut set = instructions[start..end].iter().rev();
        let set = set.find_map(|it| {
            let is_label = it.keyword == "LABEL" && !it.is_trigger;
            let pairs = is_label.then(|| pairs(&it.arguments))?;
            let mut pairs = pairs.into_iter().rev();
            pairs.find(|(key, _)| key.as_deref() == Some(name))
        });
        if let Some((_, value)) = set {
            return value;
        }
        let base = instructions[start].words().next()?.to_lowercase();
        // The stage with that name, if it is not an image.
        end = 1 + instructions[..start].iter().rposition(|it| {
            let mut words = it.words().skip(1).map(str::to_lowercase);
            is_from(it)
                && words.next().as_deref() == Some("as")
                && words.next() == Some(base.clone())
        })?;
        // Up to the next stage.
        let next = instructions[end..].iter().position(is_from);
        end = next.map_or(instructions.len(), |next| end + next);
    }
}

/// A name and its value; `None` if it contains a variable.
type Pair = (Option<String>, Option<String>);

/// Splits the arguments of `LABEL`: `name=value …`, or in the old form `name value`.
fn pairs(arguments: &str) -> Vec<Pair> {
    let words = words(arguments);
    let is_old = |word: &str| !word.contains('=');
    if words.first().is_some_and(|word| is_old(word)) {
        let (name, value) = arguments
            .split_once(char::is_whitespace)
            .unwrap_or_default();
        return vec![(expanded(name), expanded(value.trim_start()))];
    }
    let pairs = words.iter().filter_map(|word| word.split_once('='));
    pairs
        .map(|(name, value)| (expanded(name), expanded(value)))
        .collect()
}

/// Splits a text at spaces that are neither quoted nor escaped.
fn words(text: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let (mut start, mut quote, mut is_escaped) = (None, None, false);
    for (index, c) in text.char_indices() {
        if c.is_whitespace() && quote.is_none() && !is_escaped {
            words.extend(start.take().map(|start| &text[start..index]));
            continue;
        }
        start.get_or_insert(index);
        match (c, quote) {
            _ if is_escaped => is_escaped = false,
            ('\\', None | Some('"')) => is_escaped = true,
            ('"' | '\'', None) => quote = Some(c),
            (c, Some(open)) if c == open => quote = None,
            _ => {}
        }
    }
    words.extend(start.map(|start| &text[start..]));
    words
}

/// Returns a word without quotes and escapes; `None` if it contains a variable.
fn expanded(word: &str) -> Option<String> {
    let mut text = String::new();
    let mut quote = None;
    let mut characters = word.chars();
    while let Some(c) = characters.next() {
        match (c, quote) {
            ('\\', None) => text.extend(characters.next()),
            ('\\', Some('"')) => match characters.next() {
                Some(escaped @ ('"' | '\\' | '$')) => text.push(escaped),
                other => text.extend(['\\'].into_iter().chain(other)),
            },
            ('$', None | Some('"')) => return None,
            ('"' | '\'', None) => quote = Some(c),
            (c, Some(open)) if c == open => quote = None,
            (c, _) => text.push(c),
        }
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(dockerfile: &str) -> Option<String> {
        label(dockerfile, "x")
    }

    #[test]
    fn labels_are_unquoted_like_the_build_does() {
        let json = r#"{"a":"^b$", "c":1}"#;
        for set in [
            r#"LABEL x='{"a":"^b$", "c":1}'"#,
            r#"LABEL x="{\"a\":\"^b\$\", \"c\":1}""#,
            r#"LABEL y=1 "x"='{"a":"^b$", "c":1}' z="a b""#,
            "LABEL y=1 \\\n  x='{\"a\":\"^b$\", \\\n\"c\":1}'",
            r#"LABEL x '{"a":"^b$", "c":1}'"#,
            r#"label x='{"a":"^b$"',\ '"c":1}'"#,
        ] {
            let found = of(&format!("FROM a\n{set}\nRUN b\n"));
            assert_eq!(found.as_deref(), Some(json), "{set}");
        }
        assert_eq!(of("FROM a\nLABEL x=1\nLABEL x=2"), Some("2".to_owned()));
        assert_eq!(of("FROM a\nLABEL x=\"$V\""), None);
        assert_eq!(of("FROM a\nONBUILD LABEL x=1\n"), None);
        assert_eq!(of("LABEL x=1"), None);
    }

    #[test]
    fn the_last_stage_and_those_below_it_count() {
        assert_eq!(of("FROM a AS one\nLABEL x=1\nFROM b\nRUN c"), None);
        let inherited = "FROM a AS one\nLABEL x=1\nFROM b\nLABEL x=2\nFROM One AS last\nRUN c";
        assert_eq!(of(inherited), Some("1".to_owned()));
        let replaced = format!("{inherited}\nLABEL x=3");
        assert_eq!(of(&replaced), Some("3".to_owned()));
    }
}
