//! `mvn package` of a project with the standard layout

use super::super::super::draft::PhaseFiles;
use super::committed_folder::CommittedFolder;

/// Plugins that read only the standard folders, unless their settings name others.
const PLUGINS: &[&str] = &[
    "jacoco-maven-plugin",
    "maven-clean-plugin",
    "maven-compiler-plugin",
    "maven-deploy-plugin",
    "maven-failsafe-plugin",
    "maven-install-plugin",
    "maven-jar-plugin",
    "maven-resources-plugin",
    "maven-shade-plugin",
    "maven-site-plugin",
    "maven-source-plugin",
    "maven-surefire-plugin",
    "maven-war-plugin",
    "spring-boot-maven-plugin",
];

/// Elements that may name other files and folders.
const OTHER_FILES: &[&str] = &[
    "compilerArg",
    "compilerArgs",
    "extensions",
    "file",
    "filters",
    "manifestFile",
    "modules",
    "outputDirectory",
    "profiles",
    "scriptSourceDirectory",
    "sourceDirectory",
    "systemPath",
    "testSourceDirectory",
    "warSourceDirectory",
    "webXml",
];

/// Returns what the build reads and writes.
pub(super) fn package(folder: &CommittedFolder<'_>) -> Option<PhaseFiles> {
    let text = folder.text("pom.xml")?;
    let is_plain = is_standard(&text)?;
    let absent = ["target", ".mvn/extensions.xml"];
    if !is_plain || absent.iter().any(|it| !folder.is_absent(it)) {
        return None;
    }
    let mut inputs = vec!["pom.xml".to_owned()];
    folder.add("src", &mut inputs)?;
    folder.add_existing(".mvn", &mut inputs)?;
    Some(PhaseFiles {
        inputs,
        outputs: vec!["target".to_owned()],
    })
}

/// Returns whether a project reads only the standard folders; `None` if it cannot be parsed.
fn is_standard(text: &str) -> Option<bool> {
    let xml = roxmltree::Document::parse(text).ok()?;
    let project = xml.root_element();
    let child = |node: roxmltree::Node<'_, '_>, name: &str| {
        let mut children = node.children();
        let found = children.find(|child| child.tag_name().name() == name);
        found.map(|child| child.text().unwrap_or_default().trim().to_owned())
    };
    let mut elements = project.children();
    if let Some(parent) = elements.find(|node| node.tag_name().name() == "parent") {
        // Another parent may add any plugin.
        let artifact = child(parent, "artifactId");
        if artifact.as_deref() != Some("spring-boot-starter-parent") {
            return Some(false);
        }
    }
    let packaging = child(project, "packaging");
    if packaging.is_some_and(|it| it != "jar" && it != "war") {
        return Some(false);
    }
    // The checks are the same everywhere, also in plugins that are only managed.
    let is_standard = |node: roxmltree::Node<'_, '_>| match node.tag_name().name() {
        "plugin" => child(node, "artifactId").is_some_and(|it| PLUGINS.contains(&it.as_str())),
        "directory" => node.text().is_some_and(|it| it.trim().starts_with("src/")),
        name => !OTHER_FILES.contains(&name),
    };
    let leads_elsewhere = ["basedir", "../", "file:", "multiModuleProjectDirectory"];
    let text = |node: roxmltree::Node<'_, '_>| {
        let text = node.text().unwrap_or_default();
        leads_elsewhere.iter().all(|it| !text.contains(it))
    };
    Some(
        project
            .descendants()
            .all(|node| is_standard(node) && text(node)),
    )
}
