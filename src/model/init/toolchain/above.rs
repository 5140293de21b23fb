//! Files above a service's folder that its build needs.

use super::super::path;

/// Returns the files above a folder that its build reads: the parents of a `pom.xml`, and Gradle's settings.
///
/// `file` reads a file of the repository.
pub(in super::super) fn parents_of(
    folder: &str,
    file: &dyn Fn(&str) -> Option<String>,
) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut child = format!("{folder}/pom.xml");
    while let Some(parent) = file(&child).and_then(|text| parent_pom(&child, &text, file)) {
        if found.contains(&parent) || path::below(&parent, folder).is_some() {
            break;
        }
        found.push(parent.clone());
        child = parent;
    }
    let is_gradle = |name: &&str| file(&format!("{folder}/{name}")).is_some();
    if ["build.gradle", "build.gradle.kts"].iter().any(is_gradle) {
        let settings = |above: &str| {
            let names = ["settings.gradle", "settings.gradle.kts"];
            names
                .iter()
                .any(|name| path::join(above, name).and_then(|it| file(&it)).is_some())
        };
        if let Some(root) = above(folder).find(|above| settings(above)) {
            let names = [
                "settings.gradle",
                "settings.gradle.kts",
                "build.gradle",
                "build.gradle.kts",
                "gradle.properties",
                "gradle/libs.versions.toml",
            ];
            let names = names.iter().filter_map(|name| path::join(root, name));
            found.extend(names.filter(|name| file(name).is_some()));
        }
    }
    found
}

/// Returns the parent of a `pom.xml`, if it is a file of the repository.
fn parent_pom(child: &str, text: &str, file: &dyn Fn(&str) -> Option<String>) -> Option<String> {
    let xml = roxmltree::Document::parse(text).ok()?;
    let mut elements = xml.root_element().children();
    let parent = elements.find(|node| node.tag_name().name() == "parent")?;
    let mut elements = parent.children();
    let relative = elements.find(|node| node.tag_name().name() == "relativePath");
    let written = match relative {
        None => "../pom.xml",
        // An empty path means a parent from a repository of artifacts.
        Some(node) => node.text().map(str::trim).filter(|text| !text.is_empty())?,
    };
    let named = path::join(path::parent(child), written)?;
    let inside = format!("{named}/pom.xml");
    [named, inside]
        .into_iter()
        .find(|path| file(path).is_some())
}

/// Returns the file of the workspace that a folder is a part of, if it is above the folder.
pub(in super::super) fn workspace_of(
    folder: &str,
    file: &dyn Fn(&str) -> Option<String>,
) -> Option<String> {
    let has = |name: &str| file(&format!("{folder}/{name}")).is_some();
    let candidates: &[(&str, &str)] = if has("Cargo.toml") {
        &[("Cargo.toml", "[workspace]")]
    } else if has("go.mod") {
        &[("go.work", "")]
    } else if has("package.json") {
        &[
            ("pnpm-workspace.yaml", ""),
            ("package.json", "\"workspaces\""),
        ]
    } else {
        &[]
    };
    above(folder).find_map(|above| {
        candidates.iter().find_map(|(name, mark)| {
            let path = path::join(above, name)?;
            file(&path)?.contains(mark).then_some(path)
        })
    })
}

/// Returns the folders above a folder, deepest first; the last one is the repository itself.
fn above(folder: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(folder);
    std::iter::from_fn(move || {
        let current = rest.filter(|folder| *folder != ".")?;
        let parent = path::parent(current);
        rest = Some(parent);
        Some(parent)
    })
}

#[cfg(test)]
mod tests {
    use super::super::super::tests::files;
    use super::*;

    #[test]
    fn files_above_the_folder_are_found() {
        let parent = "<project><parent><artifactId>p</artifactId></parent></project>";
        let read = files(&[
            ("s/api/pom.xml", parent),
            (
                "s/pom.xml",
                "<project><parent><relativePath>../build</relativePath></parent></project>",
            ),
            (
                "build/pom.xml",
                "<project><parent><relativePath/></parent></project>",
            ),
            ("g/app/build.gradle.kts", ""),
            ("settings.gradle.kts", ""),
            ("gradle.properties", ""),
            ("r/a/Cargo.toml", ""),
            ("r/Cargo.toml", "[workspace]"),
            ("Cargo.toml", "[package]"),
        ]);
        let file = |path: &str| read(path).unwrap();
        assert_eq!(parents_of("s/api", &file), ["s/pom.xml", "build/pom.xml"]);
        assert_eq!(
            parents_of("g/app", &file),
            ["settings.gradle.kts", "gradle.properties"]
        );
        assert_eq!(parents_of("r/a", &file), [""; 0]);
        assert_eq!(workspace_of("r/a", &file).as_deref(), Some("r/Cargo.toml"));
        assert_eq!(workspace_of("s/api", &file), None);
    }
}
