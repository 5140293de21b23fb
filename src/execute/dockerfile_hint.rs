//! Hints for Dockerfiles that the engine's builder does not support. Pure.

use std::collections::BTreeMap;

use crate::model::dockerfile::{Dockerfile, line_of_image};

/// Returns the line of the Dockerfile that names the image that a message is about.
pub fn line_of_missing_image(
    dockerfile: &str,
    args: &BTreeMap<String, String>,
    message: &str,
) -> Option<usize> {
    let message = message.to_lowercase();
    let in_name = |c: char| c.is_alphanumeric() || "-_./:".contains(c);
    // Not in a longer name: `a:1` is not in `/a:1` or `a:12`.
    let exactly = |image: &str| {
        let image = image.to_lowercase();
        let mut words = message.split(|c| !in_name(c));
        words.any(|word| word.trim_end_matches(':') == image)
    };
    line_of_image(dockerfile, args, exactly).or_else(|| {
        let is_about = |image: &str| image.contains('/') && is_about(&message, image);
        line_of_image(dockerfile, args, is_about)
    })
}

/// Returns a hint about a failed build if the Dockerfile needs a newer builder, or a syntax image that cannot be
/// fetched.
pub fn dockerfile_hint(dockerfile: &str, message: &str) -> Option<String> {
    let lower = message.to_lowercase();
    let dockerfile = Dockerfile::parse(dockerfile);
    if let Some(syntax) = dockerfile.syntax
        && is_about(&lower, syntax)
    {
        return Some(format!(
            "`# syntax={syntax}` makes the engine fetch that image first: copy it to a registry that the engine can reach and use that name, or remove the line if the engine's own builder supports everything in the Dockerfile"
        ));
    }
    if lower.contains("unknown flag") {
        let flag = lower.rsplit("unknown flag: ").next()?.split_whitespace();
        let flag = flag.map(|flag| flag.trim_start_matches('-')).next()?;
        return Some(too_old(&format!("`--{flag}`"), &dockerfile));
    }
    if lower.contains("unknown instruction") {
        let mut instructions = dockerfile.instructions.iter();
        let (line, start) = instructions.find_map(|it| Some((it.line, it.heredocs.first()?)))?;
        return Some(too_old(
            &format!("the heredoc `{start}` in line {line}"),
            &dockerfile,
        ));
    }
    None
}

fn too_old(what: &str, dockerfile: &Dockerfile<'_>) -> String {
    let more = match dockerfile.syntax {
        // For the classic builder, the line is a comment.
        Some(_) => "; BuildKit uses the `# syntax=` line, the classic builder ignores it",
        None => {
            ", or start the Dockerfile with `# syntax=docker/dockerfile:1`, which makes BuildKit fetch a newer syntax"
        }
    };
    format!(
        "the engine's builder does not support {what}: update the engine to 23.0 or later{more}"
    )
}

/// Returns whether a message is about an image: by name, or in old engines by the URL of the request.
fn is_about(message: &str, image: &str) -> bool {
    let image = image.split('@').next().unwrap_or(image);
    let repository = match image.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => repository,
        _ => image,
    };
    let path = match repository.split_once('/') {
        Some((host, path)) if host.contains(['.', ':']) || host == "localhost" => path,
        _ => repository,
    };
    let has_url = |what: &str| message.contains(&format!("/v2/{path}/{what}/"));
    message.contains(repository) || has_url("manifests") || has_url("blobs")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heredoc_is_named() {
        let dockerfile = "FROM x\nRUN <<-'EOF'\necho 1\nEOF\n";
        let message = "dockerfile parse error on line 3: unknown instruction: ECHO";
        let hint = dockerfile_hint(dockerfile, message).unwrap();
        assert!(hint.contains("the heredoc `<<-'EOF'` in line 2"), "{hint}");
        assert!(hint.contains("23.0"), "{hint}");
        // A here-string of the shell, and an unsupported instruction.
        for other in ["FROM x\nRUN cat <<< a\nECHO 1\n", "FROM x\nECHO <<EOF\n"] {
            assert_eq!(dockerfile_hint(other, message), None, "{other}");
        }
    }

    #[test]
    fn an_unknown_flag_is_named() {
        for message in [
            "dockerfile parse error line 2: Unknown flag: link",
            "dockerfile parse error on line 2: unknown flag: --link",
            "Unknown flag: link",
        ] {
            let hint = dockerfile_hint("FROM x\nCOPY --link a /\n", message).unwrap();
            assert!(hint.contains("does not support `--link`"), "{hint}");
        }
    }

    #[test]
    fn the_line_of_a_missing_image_is_found() {
        let dockerfile = "ARG V=2\nFROM r:5000/a/base:1 AS one\nRUN x\nFROM r:5000/a/base:$V\nCOPY --from=other/tool /a /\n";
        let line = |message| line_of_missing_image(dockerfile, &BTreeMap::new(), message);
        assert_eq!(
            line("failed to resolve r:5000/a/base:2: not found"),
            Some(4)
        );
        assert_eq!(line("r:5000/a/base:1: not found"), Some(2));
        assert_eq!(
            line("pull access denied for other/tool, repository"),
            Some(5)
        );
        assert_eq!(line("COPY failed: no source files"), None);
        let short = line_of_missing_image("FROM a\n", &BTreeMap::new(), "\"/a\": not found");
        assert_eq!(short, None);
    }

    #[test]
    fn a_syntax_image_that_cannot_be_fetched_is_named() {
        let message = "failed to resolve source metadata for docker.io/docker/dockerfile:1: failed to do request: \
                       Head \"https://registry-1.docker.io/v2/docker/dockerfile/manifests/1\": no such host";
        let dockerfile = "# escape=`\n# syntax = docker/dockerfile:1\nFROM x\n";
        let hint = dockerfile_hint(dockerfile, message).unwrap();
        assert!(
            hint.starts_with("`# syntax=docker/dockerfile:1` makes"),
            "{hint}"
        );
        for other in [
            "FROM x\n# syntax=docker/dockerfile:1\n",
            "# about docker\nFROM x\n",
        ] {
            assert_eq!(dockerfile_hint(other, message), None, "{other}");
        }
        assert_eq!(dockerfile_hint(dockerfile, "`/a`: not found"), None);
        let old =
            "failed to do request: head \"http://r:5000/v2/a/b/manifests/1\": connection refused";
        assert!(is_about(old, "r:5000/a/b:1") && is_about(old, "r:5000/a/b@sha256:0"));
        assert!(!is_about(old, "r:5000/a:1"));
    }
}
