use super::super::tests::{files, names_in};
use super::*;

const FILE: &str = "\
manifest:
  version: '1.0'
  defaults: {remote: house, revision: main}
  group-filter: [-docs]
  remotes:
    - {name: house, url-base: 'https://git.example.com/x/'}
    - {name: other, url-base: 'git@other.example.com:y'}
  projects:
    - name: api
      path: services/api
    - {name: web, remote: other, repo-path: frontends/web.git, revision: v1.2}
    - {name: tool, url: 'https://elsewhere.example.com/tool', revision: 0123456}
    - {name: handbook, groups: [docs]}
    - name: libs
      import:
        path-prefix: third
        name-blocklist: [junk]
    - {name: gone, import: true}
  self:
    path: manifest
    import: extra.yml
";

#[test]
fn imported_projects_are_included() {
    let imported = "manifest:\n  remotes: [{name: r, url-base: 'https://r'}]\n  projects: [{name: a, remote: r}, {name: junk, remote: r}, {name: api, remote: r}]\n";
    let extra = "manifest:\n  projects: [{name: web, url: 'https://mine/web'}]\n";
    let files = files(&[
        ("manifest/west.yml", FILE),
        ("manifest/extra.yml", extra),
        ("third/libs/west.yml", imported),
    ]);
    let found = read("manifest/west.yml", "manifest", &files, &|_| Vec::new()).unwrap();
    let shown: Vec<String> = found
        .projects
        .iter()
        .map(|project| {
            let remote = project.remote.as_deref().unwrap_or("-");
            let reference = project.reference.as_deref().unwrap_or("-");
            format!("{} {remote} {reference}", project.dir)
        })
        .collect();
    assert_eq!(
        shown,
        [
            "web https://mine/web master",
            "services/api https://git.example.com/x/api main",
            "tool https://elsewhere.example.com/tool 0123456",
            "third/libs https://git.example.com/x/libs main",
            "gone https://git.example.com/x/gone main",
            "third/a https://r/a master",
        ]
    );
    assert_eq!(found.skipped[0].0, "handbook");
    assert!(found.projects[4].todos[0].contains("west update"));
}

#[test]
fn invalid_manifests_are_rejected() {
    for (text, expected) in [
        ("a: 1\n", "not a west manifest"),
        ("manifest: {projects: x}\n", "must be a list"),
        ("manifest: {projects: [{name: a}]}\n", "neither `url` nor"),
        (
            "manifest: {projects: [{name: a, remote: r}]}\n",
            "no remote `r`",
        ),
        (
            "manifest: {projects: [{name: a, url: h, path: ../a}]}\n",
            "outside the platform",
        ),
        ("manifest: {self: {import: west.yml}}\n", "imports itself"),
    ] {
        let files = files(&[("west.yml", text)]);
        let error = read("west.yml", ".", &files, &|_| Vec::new())
            .unwrap_err()
            .to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn folders_lists_and_filters_of_imports_are_read() {
    let main = "\
manifest:
  group-filter: [-docs, -more]
  remotes: [{name: r, url-base: 'https://r'}]
  projects:
    - {name: app, remote: r, submodules: true}
    - {name: part, remote: r, submodules: [{path: a}, {path: b/c}]}
    - {name: none, remote: r, submodules: false}
    - {name: handbook, remote: r, groups: [docs]}
    - {name: either, remote: r, groups: [docs, other]}
    - name: hal
      remote: r
      import:
        - {path-allowlist: [modules/m], name-blocklist: [junk]}
        - gone.yml
  self: {path: main, import: [more, absent, outside/../../../x]}
";
    let files = files(&[
        ("main/west.yml", main),
        (
            "main/more/a.yml",
            "manifest: {projects: [{name: lib, url: 'https://l', revision: v1}], group-filter: [+more]}\n",
        ),
        (
            "main/more/b.yaml",
            "manifest: {projects: [{name: b, url: 'https://b', groups: [more]}], self: {import: deep/c.yml}}\n",
        ),
        ("main/more/bad.yml", "manifest: {projects: [{name: bad}]}\n"),
        ("main/more/README.txt", "text"),
        (
            "main/deep/c.yml",
            "manifest: {projects: [{name: c, url: 'https://c'}]}\n",
        ),
        (
            "hal/west.yml",
            "manifest: {projects: [{name: m, url: 'https://m', path: modules/m}, {name: junk, url: 'https://j', path: modules/j}, {name: other, url: 'https://o'}]}\n",
        ),
    ]);
    let list = |folder: &str| {
        names_in(
            &[
                "main/more/a.yml",
                "main/more/b.yaml",
                "main/more/bad.yml",
                "main/more/README.txt",
            ],
            folder,
        )
    };
    let found = read("main/west.yml", "main", &files, &list).unwrap();
    let dirs: Vec<&str> = found
        .projects
        .iter()
        .map(|project| project.dir.as_str())
        .collect();
    assert_eq!(
        dirs,
        [
            "lib",
            "c",
            "b",
            "app",
            "part",
            "none",
            "either",
            "hal",
            "modules/m"
        ]
    );
    let submodules: Vec<bool> = found
        .projects
        .iter()
        .map(|project| project.submodules)
        .collect();
    assert_eq!(
        submodules,
        [false, false, false, true, true, false, false, false, false]
    );
    assert!(found.projects[4].remarks[0].contains("`a` and `b/c`"));
    assert!(found.projects[7].todos[0].contains("`gone.yml`"));
    assert_eq!(found.skipped[0].0, "handbook");
    let failed: Vec<&str> = found.failed.iter().map(|(what, _)| what.as_str()).collect();
    assert_eq!(
        failed,
        ["main/more/bad.yml", "main/absent", "outside/../../../x"]
    );
    assert!(
        found.failed[0].1.contains("neither `url` nor"),
        "{:?}",
        found.failed
    );
}

#[test]
fn the_workspace_may_filter_projects() {
    let main = "manifest: {projects: [{name: a, url: 'https://a', groups: [g]}, {name: b1, url: 'https://b'}, {name: b2, url: 'https://b2'}]}\n";
    let files = files(&[
        ("m/west.yml", main),
        (
            ".west/config",
            "[manifest]\npath = m\ngroup-filter = -g,+x\nproject-filter = -b.*, +b2\n",
        ),
    ]);
    let found = read("m/west.yml", "m", &files, &|_| Vec::new()).unwrap();
    let dirs: Vec<&str> = found
        .projects
        .iter()
        .map(|project| project.dir.as_str())
        .collect();
    assert_eq!(dirs, ["b2"]);
    assert_eq!(found.skipped.len(), 2);
}
