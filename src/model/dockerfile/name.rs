//! Names of Dockerfiles.

/// The kind of a Dockerfile name.
#[derive(Debug, PartialEq, Eq)]
pub enum DockerfileName<'n> {
    /// `Dockerfile`
    Plain,
    /// `Dockerfile.worker`
    Variant(&'n str),
}

/// Parses a file name; `None` if it is not a Dockerfile.
pub fn file_name(name: &str) -> Option<DockerfileName<'_>> {
    const OTHER_EXTENSIONS: [&str; 12] = [
        "bak",
        "dockerignore",
        "erb",
        "in",
        "j2",
        "md",
        "orig",
        "sh",
        "template",
        "tmpl",
        "tpl",
        "txt",
    ];
    if matches!(name, "Dockerfile" | "Containerfile" | "dockerfile") {
        return Some(DockerfileName::Plain);
    }
    let before = ["Dockerfile.", "Dockerfile-", "Containerfile."]
        .iter()
        .find_map(|start| name.strip_prefix(start));
    let after = || {
        [".Dockerfile", ".dockerfile"]
            .iter()
            .find_map(|end| name.strip_suffix(end))
    };
    let variant = before
        .or_else(after)
        .filter(|variant| !variant.is_empty())?;
    let extension = variant.rsplit('.').next().unwrap_or(variant);
    (!OTHER_EXTENSIONS.contains(&extension)).then_some(DockerfileName::Variant(variant))
}

/// Returns whether a file is a Dockerfile by name.
pub fn is_dockerfile(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    file_name(name).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dockerfiles_are_recognized_by_name() {
        assert_eq!(file_name("Dockerfile"), Some(DockerfileName::Plain));
        assert_eq!(
            file_name("Dockerfile.worker"),
            Some(DockerfileName::Variant("worker"))
        );
        assert_eq!(
            file_name("web.Dockerfile"),
            Some(DockerfileName::Variant("web"))
        );
        for other in [
            "Dockerfile.dockerignore",
            "Dockerfile.prod.j2",
            "Makefile",
            "MyDockerfile",
            ".dockerfile",
        ] {
            assert_eq!(file_name(other), None, "{other}");
        }
    }
}
