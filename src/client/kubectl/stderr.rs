//! Turns kubectl's standard error into lines for a message, and reads its list of differences.

use super::Difference;

/// How many of the last lines are shown: the error is at the end.
const MAX_LINES: usize = 20;

/// Longer lines are shortened to their last `TAIL` bytes.
const MAX_LINE_LENGTH: usize = 1500;
const TAIL: usize = 400;

/// Returns the distinct lines of standard error, without log prefixes and advice.
pub fn cleaned(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let text = without_configurations(text);
    for line in text.lines() {
        // Start and end of a log entry with several lines.
        if line.ends_with(" err=<") || line == " >" {
            continue;
        }
        // Advice on conflicts that applies only to direct use of kubectl.
        if line.starts_with("Please review the fields above") {
            break;
        }
        let line = match line.split_once(" err=\"") {
            // A log entry: severity, time, process, source line, and the error in quotes.
            Some((_, quoted)) => unquoted(quoted),
            None => line.to_owned(),
        };
        for line in line.lines() {
            let line = tail(without_prefix(line.trim()));
            if line.is_empty() || line.starts_with("Warning: ") {
                continue;
            }
            if !lines.contains(&line) {
                lines.push(line);
            }
        }
    }
    if lines.len() > MAX_LINES {
        let more = lines.len() - MAX_LINES;
        lines.drain(..more);
        lines.insert(0, format!("… {more} lines omitted"));
    }
    lines
}

/// Returns a text without the files that kustomize quotes, such as a whole patch for a Secret.
fn without_configurations(text: &str) -> String {
    let mut rest = text;
    let mut kept = String::new();
    while let Some((before, quoted)) = rest.split_once(" with config: `") {
        kept.push_str(before);
        let Some((_, after)) = quoted.split_once("`: ") else {
            return kept;
        };
        kept.push_str(": ");
        rest = if after.starts_with("unable to parse ") {
            // The patch again, on one line.
            match after.split_once(" from [patch: ") {
                Some((why, quoted)) => {
                    kept.push_str(why);
                    quoted.split_once('\n').map_or("", |(_, rest)| rest)
                }
                None => after,
            }
        } else {
            // Kustomize treats an invalid patch as a path.
            match after.split_once("evalsymlink failure on '") {
                Some((why, _)) => {
                    kept.push_str(why);
                    kept.push_str("an inline patch is neither a patch nor a file");
                    ""
                }
                None => after,
            }
        };
        if !rest.is_empty() && !kept.ends_with(": ") {
            kept.push('\n');
        }
    }
    kept + rest
}

/// Returns a line, or the end of it if it is very long.
fn tail(line: String) -> String {
    if line.len() <= MAX_LINE_LENGTH {
        return line;
    }
    let start = line.ceil_char_boundary(line.len() - TAIL);
    format!("…{}", &line[start..])
}

/// Unquotes a Go string literal, up to the closing quote.
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

/// Returns the objects that differ according to `diff -q -r`. `existing` lists the objects that exist, such as
/// `deployment.apps/zbackend`, one per line.
pub fn differences(printed: &[u8], existing: &str) -> Vec<Difference> {
    let existing: Vec<String> = existing.lines().filter_map(listed).collect();
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
        let exists = existing.iter().any(|it| it.eq_ignore_ascii_case(&object));
        Some(Difference {
            object,
            is_new: !exists,
        })
    });
    let mut found: Vec<Difference> = found.collect();
    found.sort();
    found.dedup();
    found
}

/// Converts a listed name such as `deployment.apps/zbackend` to `kind name`.
fn listed(line: &str) -> Option<String> {
    let (kind, name) = line.trim().split_once('/')?;
    let kind = kind.split('.').next()?;
    Some(format!("{kind} {name}"))
}

/// Returns the object of a file such as `apps.v1.Deployment.staging.zbackend`. The kind is the first part with a
/// capital letter.
fn object(file: &str) -> Option<String> {
    let parts: Vec<&str> = file.split('.').collect();
    let kind = parts
        .iter()
        .position(|part| part.starts_with(|c: char| c.is_ascii_uppercase()))?;
    // A namespace has no dot, and is empty for cluster-wide objects.
    let name = parts.get(kind + 2..)?.join(".");
    Some(format!("{} {name}", parts[kind]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cleaned_and_deduplicated() {
        let lines = cleaned(
            "E1121 18:16:25.632181   23958 run.go:72] \"command failed\" err=\"accumulating 'a': \\\"x\\\" is wrong\"\n\
             E1121 18:16:26.1 memcache.go:265] \"Unhandled Error\" err=\"no list\"\n\
             E1121 18:16:27.1 memcache.go:265] \"Unhandled Error\" err=\"no list\"\n\
             Error from server (Forbidden): error when creating \"STDIN\": deployments is forbidden\n\
             Warning: old\nerror: no\n",
        );
        assert_eq!(
            lines,
            [
                "accumulating 'a': \"x\" is wrong",
                "no list",
                "Forbidden: deployments is forbidden",
                "no"
            ]
        );
        let lines = cleaned("E1 1 run.go:72] \"failed\" err=<\n\tone\n\t two\n >\nerror: three\n");
        assert_eq!(lines, ["one", "two", "three"]);
        let lines = cleaned("error: a\nPlease review the fields above--they are\n* a list\n");
        assert_eq!(lines, ["a"]);
    }

    #[test]
    fn long_output_is_truncated_to_its_end() {
        let many: String = (0..50).map(|n| format!("line {n}\n")).collect();
        let lines = cleaned(&many);
        assert_eq!(lines.len(), MAX_LINES + 1);
        assert_eq!(
            (lines[0].as_str(), lines[20].as_str()),
            ("… 30 lines omitted", "line 49")
        );
        let lines = cleaned(&format!("{}: conflicting", "ä".repeat(2000)));
        assert!(lines[0].len() < MAX_LINE_LENGTH && lines[0].ends_with("ä: conflicting"));
    }

    #[test]
    fn patches_are_removed() {
        let patch = "E1 1 run.go:72] \"failed\" err=<\n\ttrouble configuring builtin PatchTransformer with config: `\n\tpatch: |-\n\t  kind: Secret\n\t    a: \"canary\n\t`: unable to parse SM or JSON patch from [patch: \"kind: Secret\\n  a: \\\"canary\"]\n >\n";
        assert_eq!(
            cleaned(patch),
            ["trouble configuring builtin PatchTransformer: unable to parse SM or JSON patch"]
        );
        let merge = "Error: trouble configuring builtin PatchStrategicMergeTransformer with config: `\npaths:\n- |-\n  a: canary\n`: evalsymlink failure on '/p/apiVersion: v1\na: canary' : lstat /p/a: canary: no such file or directory\n";
        let lines = cleaned(merge);
        assert!(!lines.concat().contains("canary"), "{lines:?}");
        assert_eq!(lines.len(), 1);
        let other = "Error: configuring builtin X with config: `\na: b\n`: no such thing\n";
        assert_eq!(cleaned(other), ["configuring builtin X: no such thing"]);
    }

    #[test]
    fn differing_objects_are_listed_without_their_content() {
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
