//! What kubectl says, in a form that belongs into a message.

use super::Difference;

/// How many lines are worth telling.
const SHOWN: usize = 20;

/// Returns what was said on standard error, line by line: each thing once, without what belongs to the program.
pub(super) fn cleaned(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for line in text.lines() {
        // Advice on conflicts for who calls kubectl by hand.
        if line.starts_with("Please review the fields above") {
            break;
        }
        let line = match line.split_once(" err=\"") {
            // A line of its log: severity, time, process, place, and the error in quotes.
            Some((_, quoted)) => unquoted(quoted),
            None => line.to_owned(),
        };
        for line in line.lines() {
            let line = without_prefix(line.trim());
            if line.is_empty() || line.starts_with("Warning: ") {
                continue;
            }
            if !lines.contains(&line) {
                lines.push(line);
            }
        }
    }
    if lines.len() > SHOWN {
        let more = lines.len() - SHOWN;
        lines.truncate(SHOWN);
        lines.push(format!("… and {more} lines more"));
    }
    lines
}

/// Returns a text of Go in quotes, up to the closing one.
fn unquoted(quoted: &str) -> String {
    let mut text = String::new();
    let mut chars = quoted.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => break,
            '\\' => match chars.next() {
                Some('n') => text.push('\n'),
                Some('t') => text.push(' '),
                Some(c) => text.push(c),
                None => break,
            },
            c => text.push(c),
        }
    }
    text
}

fn without_prefix(line: &str) -> String {
    if let Some(rest) = line.strip_prefix("Error from server (")
        && let Some((reason, message)) = rest.split_once("): ")
    {
        let message = message
            .replace("error when creating \"STDIN\": ", "")
            .replace("error when retrieving current configuration of:", "");
        return format!("{reason}: {message}");
    }
    let line = line.strip_prefix("error: ").unwrap_or(line);
    let line = line.strip_prefix("Error: ").unwrap_or(line);
    line.to_owned()
}

/// Returns the objects whose files `diff -q -r` tells apart. `there` are the names of those that are there, such as
/// `deployment.apps/zbackend`, line by line.
pub(super) fn differences(printed: &[u8], there: &str) -> Vec<Difference> {
    let there: Vec<String> = there.lines().filter_map(listed).collect();
    let text = String::from_utf8_lossy(printed);
    let found = text.lines().filter_map(|line| {
        let file = match line.strip_prefix("Only in ") {
            Some(rest) => rest.split_once(": ")?.1,
            None => {
                let rest = line.strip_prefix("Files ")?.strip_suffix(" differ")?;
                rest.rsplit('/').next()?
            }
        };
        let object = object(file)?;
        let is_there = there.iter().any(|it| it.eq_ignore_ascii_case(&object));
        Some(Difference {
            object,
            is_new: !is_there,
        })
    });
    let mut found: Vec<Difference> = found.collect();
    found.sort();
    found.dedup();
    found
}

/// Returns an object of a list of names as `kind name`.
fn listed(line: &str) -> Option<String> {
    let (kind, name) = line.trim().split_once('/')?;
    let kind = kind.split('.').next()?;
    Some(format!("{kind} {name}"))
}

/// Returns the object of a file such as `apps.v1.Deployment.staging.zbackend`: its kind is the first part that
/// begins with a capital letter.
fn object(file: &str) -> Option<String> {
    let parts: Vec<&str> = file.split('.').collect();
    let kind = parts
        .iter()
        .position(|part| part.starts_with(|c: char| c.is_ascii_uppercase()))?;
    // A namespace has no dot; that of what has none is empty.
    let name = parts.get(kind + 2..)?.join(".");
    Some(format!("{} {name}", parts[kind]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_said_once_and_plainly() {
        let said = cleaned(
            "E1121 18:16:25.632181   23958 run.go:72] \"command failed\" err=\"accumulating 'a': \\\"x\\\" is wrong\"\n\
             E1121 18:16:26.1 memcache.go:265] \"Unhandled Error\" err=\"no list\"\n\
             E1121 18:16:27.1 memcache.go:265] \"Unhandled Error\" err=\"no list\"\n\
             Error from server (Forbidden): error when creating \"STDIN\": deployments is forbidden\n\
             Warning: old\nerror: no\n",
        );
        assert_eq!(
            said,
            [
                "accumulating 'a': \"x\" is wrong",
                "no list",
                "Forbidden: deployments is forbidden",
                "no"
            ]
        );
        let said = cleaned("error: a\nPlease review the fields above--they are\n* a list\n");
        assert_eq!(said, ["a"]);
    }

    #[test]
    fn objects_are_told_apart_without_their_content() {
        let printed = b"Files /tmp/LIVE-1/apps.v1.Deployment.staging.zbackend and \
            /tmp/MERGED-2/apps.v1.Deployment.staging.zbackend differ\n\
            Only in /tmp/MERGED-2: v1.Service.staging.z.front\n\
            Only in /tmp/MERGED-2: v1.Namespace..staging\nother\n";
        let found = differences(printed, "deployment.apps/zbackend\nservice/other\n");
        let found: Vec<(&str, bool)> = found
            .iter()
            .map(|it| (it.object.as_str(), it.is_new))
            .collect();
        assert_eq!(
            found,
            [
                ("Deployment zbackend", false),
                ("Namespace staging", true),
                ("Service z.front", true)
            ]
        );
    }
}
