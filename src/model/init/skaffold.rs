//! Reader of `skaffold.yaml`.

mod docker;
mod keys;

use std::collections::BTreeSet;

use super::build::{ArgValue, Build, BuildContext};
use super::files::FileLoader;
use super::yaml::{YamlFile, get};
use super::{ReadFile, path};
use crate::model::manifest::ManifestError;
use crate::model::manifest::node::Node;

/// The artifacts of Skaffold files.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct SkaffoldProject {
    /// The artifacts, in file order.
    pub builds: Vec<Build>,
    /// The files with the keys that were not read and concern all artifacts.
    pub unknown: BTreeSet<(String, String)>,
}

/// Skaffold builders that do not.
const OTHER_BUILDERS: [&str; 5] = ["bazel", "buildpacks", "custom", "jib", "ko"];

/// Reads a Skaffold file and its `requires`.
///
/// # Errors
///
/// A file is missing or invalid.
pub fn read(file: &str, read: &ReadFile<'_>) -> Result<SkaffoldProject, ManifestError> {
    let mut reader = SkaffoldReader {
        files: FileLoader::new(read),
        done: Vec::new(),
        found: SkaffoldProject::default(),
    };
    reader.file(file)?;
    Ok(reader.found)
}

struct SkaffoldReader<'r> {
    files: FileLoader<'r>,
    done: Vec<String>,
    found: SkaffoldProject,
}

impl SkaffoldReader<'_> {
    fn file(&mut self, file: &str) -> Result<(), ManifestError> {
        // Files may require each other; like Skaffold, read each one once.
        if self.done.iter().any(|done| done == file) {
            return Ok(());
        }
        self.done.push(file.to_owned());
        let text = self.files.open(file)?;
        let yaml = YamlFile::parse(file, &text)?;
        for document in yaml.documents() {
            yaml.mapping(document, "a document")?;
            let version = yaml.text_of(document, "apiVersion")?;
            if !version.is_some_and(|version| version.starts_with("skaffold/")) {
                return Err(yaml.error_with(
                    document,
                    "not a Skaffold file: its `apiVersion` is not `skaffold/…`",
                    Some("pass another file with `--from`"),
                ));
            }
            for required in yaml.list_of(document, "requires")? {
                if let Some(written) = yaml.text_of(required, "path")? {
                    self.required(&yaml, file, required, written)?;
                }
            }
            for key in keys::unknown_in_document(document) {
                self.found.unknown.insert((file.to_owned(), key));
            }
            if let Some(build) = get(document, "build") {
                self.artifacts(&yaml, file, build, None)?;
            }
            for profile in yaml.list_of(document, "profiles")? {
                let name = yaml.text_of(profile, "name")?;
                if let Some(build) = get(profile, "build") {
                    self.artifacts(&yaml, file, build, name)?;
                }
            }
        }
        Ok(())
    }

    fn required(
        &mut self,
        yaml: &YamlFile,
        file: &str,
        node: &Node,
        written: &str,
    ) -> Result<(), ManifestError> {
        let Some(path) = path::join(path::parent(file), written) else {
            let message = format!("`{written}` is outside the platform's folder");
            return Err(yaml.error(node, message));
        };
        // A folder means the `skaffold.yaml` in it.
        if path.ends_with(".yaml") || path.ends_with(".yml") {
            return self.file(&path);
        }
        self.file(&path::join(&path, "skaffold.yaml").unwrap_or(path))
    }

    fn artifacts(
        &mut self,
        yaml: &YamlFile,
        file: &str,
        build: &Node,
        profile: Option<&str>,
    ) -> Result<(), ManifestError> {
        yaml.mapping(build, "`build`")?;
        let platforms = yaml.texts_of(build, "platforms")?;
        for artifact in yaml.list_of(build, "artifacts")? {
            let Some(image) = yaml.text_of(artifact, "image")? else {
                return Err(yaml.error(artifact, "an artifact has no `image`"));
            };
            // A profile usually redefines an artifact of the main build.
            if self.found.builds.iter().any(|build| build.name == image) {
                continue;
            }
            let mut build = artifact_build(yaml, file, artifact, image)?;
            if build.platforms.is_empty() {
                build.platforms = platforms.iter().map(|it| (*it).to_owned()).collect();
            }
            if let Some(profile) = profile {
                build.todos.push(format!(
                    "Skaffold builds it only in the profile `{profile}`"
                ));
            }
            self.found.builds.push(build);
        }
        Ok(())
    }
}

fn artifact_build(
    yaml: &YamlFile,
    file: &str,
    artifact: &Node,
    image: &str,
) -> Result<Build, ManifestError> {
    let written = yaml.text_of(artifact, "context")?.unwrap_or(".");
    let context = match path::join(path::parent(file), written) {
        Some(folder) => BuildContext::Folder(folder),
        None => BuildContext::None(format!(
            "its folder, `{written}`, is outside the platform's folder"
        )),
    };
    let mut build = Build {
        // Artifacts reference each other by image.
        name: image.to_owned(),
        file: file.to_owned(),
        image: Some(image.to_owned()),
        ..Build::new(context)
    };
    if let Some(other) = OTHER_BUILDERS
        .iter()
        .find(|other| get(artifact, other).is_some())
    {
        build.context = BuildContext::None(format!(
            "Skaffold builds it with {other}, not with a Dockerfile"
        ));
    }
    build.unsupported = keys::unknown_in_artifact(artifact).into_iter().collect();
    let platforms = yaml.texts_of(artifact, "platforms")?;
    build.platforms = platforms.into_iter().map(str::to_owned).collect();
    for builder in docker::BUILDERS {
        if let Some(node) = get(artifact, builder) {
            docker::read(yaml, builder, node, &mut build)?;
        }
    }
    for required in yaml.list_of(artifact, "requires")? {
        let Some(image) = yaml.text_of(required, "image")? else {
            return Err(yaml.error(required, "an item of `requires` has no `image`"));
        };
        match yaml.text_of(required, "alias")? {
            Some(alias) => build
                .args
                .push((alias.to_owned(), ArgValue::ImageOf(image.to_owned()))),
            None => build.needs.push(image.to_owned()),
        }
    }
    Ok(build)
}

#[cfg(test)]
mod tests {
    use super::super::tests::files;
    use super::*;

    const FILE: &str = "\
apiVersion: skaffold/v4beta11
kind: Config
metadata: {name: shop}
requires:
  - path: ../worker
build:
  artifacts:
    - image: registry.example.com/shop/api
      context: ../api
      docker:
        dockerfile: build/Dockerfile
        target: runtime
        buildArgs: {GO: '1.22', REV: '{{.REV}}'}
      requires:
        - {image: shop-base, alias: BASE}
    - image: shop-base
      context: ../base
    - image: shop-java
      jib: {}
profiles:
  - name: dev
    build:
      artifacts:
        - {image: shop-base, context: ../elsewhere}
        - {image: shop-debug, context: ../debug}
---
apiVersion: skaffold/v4beta11
kind: Config
build: {}
";

    #[test]
    fn artifacts_of_all_documents_files_and_profiles_are_found() {
        let required = "apiVersion: skaffold/v3\nbuild: {artifacts: [{image: w}]}\nrequires: [{path: ../k8s/skaffold.yaml}]\n";
        let files = files(&[
            ("k8s/skaffold.yaml", FILE),
            ("worker/skaffold.yaml", required),
        ]);
        let builds = read("k8s/skaffold.yaml", &files).unwrap().builds;
        let names: Vec<&str> = builds.iter().map(|build| build.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "w",
                "registry.example.com/shop/api",
                "shop-base",
                "shop-java",
                "shop-debug"
            ]
        );
        let api = &builds[1];
        assert_eq!(api.context, BuildContext::Folder("api".to_owned()));
        assert_eq!(api.dockerfile.as_deref(), Some("build/Dockerfile"));
        assert_eq!(api.target.as_deref(), Some("runtime"));
        assert_eq!(
            api.args[0],
            ("GO".to_owned(), ArgValue::Text("1.22".to_owned(), None))
        );
        assert!(matches!(&api.args[1].1, ArgValue::Unknown(_)));
        assert_eq!(api.args[2].1, ArgValue::ImageOf("shop-base".to_owned()));
        assert_eq!(builds[2].context, BuildContext::Folder("base".to_owned()));
        assert!(matches!(&builds[3].context, BuildContext::None(why) if why.contains("jib")));
        assert!(builds[4].todos[0].contains("`dev`"));
    }

    #[test]
    fn invalid_files_are_rejected_with_their_lines() {
        for (text, expected) in [
            ("apiVersion: apps/v1\n", "not a Skaffold file"),
            ("apiVersion: skaffold/v4\nbuild: [x]\n", "must be a mapping"),
            (
                "apiVersion: skaffold/v4\nbuild:\n  artifacts: x\n",
                "must be a list",
            ),
            (
                "apiVersion: skaffold/v4\nrequires: [{path: ../..}]\n",
                "outside the platform",
            ),
            (
                "apiVersion: skaffold/v4\nrequires: [{path: gone}]\n",
                "no such file",
            ),
        ] {
            let files = files(&[("skaffold.yaml", text)]);
            let error = read("skaffold.yaml", &files).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
