use super::super::tests::files;
use super::*;

const FILE: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<manifest>
  <remote name="house" fetch=".." />
  <remote name="other" fetch="https://other.example.com/y/" revision="refs/heads/stable"/>
  <default remote="house" revision="main" sync-j="4"/>
  <!-- the parts -->
  <project name="api" path="services/api"/>
  <project name="web/front" remote="other" sync-s="true"/>
  <submanifest name="parts"/>
  <project name="tools" groups="notdefault,tools"/>
  <project name="old"/>
  <include name="more.xml"/>
  <remove-project name="old"/>
  <extend-project name="api" revision="refs/tags/v1"/>
</manifest>
"#;

fn shown(found: &Projects) -> Vec<String> {
    let line = |project: &Project| {
        let remote = project.remote.as_deref().unwrap_or("-");
        let reference = project.reference.as_deref().unwrap_or("-");
        format!("{} {remote} {reference}", project.dir)
    };
    found.projects.iter().map(line).collect()
}

#[test]
fn projects_are_found_with_their_remotes() {
    let more = "<manifest><project name=\"late\" path=\"l\" revision=\"dev\"/></manifest>";
    let files = files(&[
        (
            ".repo/manifest.xml",
            "<manifest><include name=\"default.xml\"/></manifest>",
        ),
        (".repo/manifests/default.xml", FILE),
        (".repo/manifests/more.xml", more),
    ]);
    let base = Some("https://git.example.com/x/manifest.git");
    let found = read(".repo/manifest.xml", &files, ".repo/manifests", base).unwrap();
    assert_eq!(
        shown(&found),
        [
            "services/api https://git.example.com/api refs/tags/v1",
            "web/front https://other.example.com/y/web/front refs/heads/stable",
            "l https://git.example.com/late dev",
        ]
    );
    assert_eq!(found.skipped[0].0, "tools");
    assert!(found.projects[1].submodules && !found.projects[0].submodules);
    assert_eq!(found.failed[0].1, "`<submanifest>` was not converted");
    let without = read(".repo/manifest.xml", &files, ".repo/manifests", None).unwrap();
    assert!(without.projects[0].remote.is_none());
    assert!(without.projects[0].todos[0].contains("`..`"));
}

#[test]
fn relative_urls_are_resolved_against_the_manifest_repository() {
    for (fetch, base, expected) in [
        ("..", "https://h/x/m", "https://h"),
        (".", "https://h/x/m/", "https://h/x"),
        ("../y", "https://h/x/z/m", "https://h/x/y"),
        ("..", "git@h:x/y/m", "git@h:x"),
        ("/z", "https://h/x/m", "https://h/z"),
        ("../../../../z", "ssh://h/x/m", "ssh://h/z"),
        ("ssh://h/x/", "https://other/x", "ssh://h/x"),
        ("git@h:x", "https://other/x", "git@h:x"),
    ] {
        let url = fetch_url(fetch, Some(base));
        assert_eq!(url.as_deref(), Some(expected), "{fetch} {base}");
    }
    assert_eq!(fetch_url("..", None), None);
}

#[test]
fn invalid_manifests_are_rejected_with_their_lines() {
    for (text, expected) in [
        (
            "<manifest>\n  <project/>\n</manifest>",
            "`project` has no `name`",
        ),
        ("<manifest>\n  <project name='a'/>\n</manifest>", "m.xml:2"),
        ("<manifest>\n<remote", "invalid XML"),
        ("<html/>", "not a repo manifest"),
        (
            "<manifest><include name='m.xml'/></manifest>",
            "includes itself",
        ),
        (
            "<manifest><include name='../m.xml'/></manifest>",
            "outside the platform",
        ),
        (
            "<manifest><include name='gone.xml'/></manifest>",
            "no such file",
        ),
        (
            "<manifest><project name='a' path='../a'/></manifest>",
            "outside the platform",
        ),
        (
            "<manifest><remove-project/></manifest>",
            "neither `name` nor `path`",
        ),
        (
            "<!DOCTYPE m [<!ENTITY a 'b'>]><manifest><project name='&a;'/></manifest>",
            "DTD",
        ),
    ] {
        let files = files(&[("m.xml", text)]);
        let error = read("m.xml", &files, ".", None).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}
