//! Valid manifests and their parsed values.

use std::path::Path;
use std::time::Duration;

use super::super::{BuilderImage, BuilderUser, Mount, ScriptItem, ScriptLine, Template};
use super::{SMALLEST, accepted, with};
use crate::base::error::Diagnostic as _;
use crate::model::source::GitReference;

fn name(text: &str) -> super::super::ServiceName {
    text.parse().unwrap()
}

fn script_line(item: &ScriptItem) -> &ScriptLine {
    match item {
        ScriptItem::Line(line) => line,
        item => panic!("{item:?}"),
    }
}

#[test]
fn the_smallest_manifest_has_defaults_for_the_rest() {
    let manifest = accepted(SMALLEST);
    assert_eq!(manifest.registry, None);
    assert_eq!(manifest.cache_dir, None);
    assert_eq!(manifest.builders.dir, Path::new("builders"));
    let service = &manifest.services[&name("zbackend")];
    assert_eq!(service.dir, Path::new("src/zbackend"));
    assert_eq!(
        service.source.git().unwrap().reference.to_string(),
        "origin/master"
    );
    assert!(!service.source.git().unwrap().submodules);
    let builder = service.builder.as_ref().unwrap();
    assert_eq!(
        builder.image,
        Some(BuilderImage::Folder("zbackend".parse().unwrap()))
    );
    assert_eq!(builder.workdir, "/go/src/x/zbackend");
    assert_eq!(builder.user, BuilderUser::Caller);
    assert_eq!(service.docker.image.to_string(), "zbackend");
    assert_eq!(
        (
            service.docker.file.as_str(),
            service.docker.context.as_str()
        ),
        ("Dockerfile", ".")
    );
    assert_eq!(
        service.scripts.build,
        [ScriptItem::Line(ScriptLine {
            text: "make build".to_owned(),
            line: 14
        })]
    );
    assert_eq!(
        service.scripts.test,
        [ScriptItem::Line(ScriptLine {
            text: "make test".to_owned(),
            line: 16
        })]
    );
}

#[test]
fn every_key_is_parsed() {
    let manifest = accepted(
        "\
version: 1
registry: harbour.example.com/x
cacheDir: var/xp
builders:
  dir: ./toolchains/
  args: {BASE: debian:bookworm-slim, N: 1.10, B: yes, EMPTY: ''}
services:
  front:
    dir: front
    git: {remote: 'https://h/front'}
    docker: {image: other.example.com/front}
  base:
    dir: base
    git: {remote: 'https://h/base'}
    docker: {image: base}
  back:
    dir: ./src//back/
    git: {remote: 'file:///srv/back', reference: 1.10, path: ./svc/back/, include: [libs//x, go.mod, ./libs/x, svc/back], submodules: true}
    timeout: 1h30m
    needs: [base]
    dockerBuilder:
      image: golang:1.22
      workdir: /go/src/
      env: {A: '${{ service.commit }}', B: 2}
      user: 1000:100
      network: host
      cache: [/cache/go]
      mounts: ['~/.m2:/m2', '/etc/ssl:/etc/ssl:ro']
      ssh: true
      socket: true
      memory: 2g
      cpus: 0.5
    docker:
      image: back
      file: docker/Dockerfile
      context: docker
      target: runtime
      args: {FRONT: '${{ services.front.image }}', ON: on}
      tags: [1.10, 'build-${{ env.BUILD_NUMBER }}']
    scripts:
      prepare: [echo a]
      build: [echo b]
      test: [echo c]
",
    );
    assert_eq!(
        manifest.registry.as_ref().unwrap().to_string(),
        "harbour.example.com/x"
    );
    assert_eq!(manifest.cache_dir.as_deref(), Some(Path::new("var/xp")));
    assert_eq!(manifest.builders.dir, Path::new("toolchains"));
    let args: Vec<_> = manifest
        .builders
        .args
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    assert_eq!(
        args,
        ["B=yes", "BASE=debian:bookworm-slim", "EMPTY=", "N=1.10"]
    );
    assert_eq!(
        manifest.services[&name("front")].docker.image.to_string(),
        "other.example.com/front"
    );

    let back = &manifest.services[&name("back")];
    assert_eq!(back.dir, Path::new("src/back"));
    assert_eq!(back.source.git().unwrap().reference.to_string(), "1.10");
    assert_eq!(back.source.git().unwrap().path.as_deref(), Some("svc/back"));
    assert_eq!(back.source.git().unwrap().include, ["go.mod", "libs/x"]);
    assert_eq!(
        back.source.selection().paths,
        ["svc/back", "go.mod", "libs/x"]
    );
    assert!(back.source.git().unwrap().submodules);
    assert_eq!(back.timeout, Some(Duration::from_secs(5400)));
    assert_eq!(back.needs, ["base", "front"].map(name).into());
    let builder = back.builder.as_ref().unwrap();
    assert_eq!(
        builder.image,
        Some(BuilderImage::External("golang:1.22".parse().unwrap()))
    );
    assert_eq!(builder.workdir, "/go/src");
    assert_eq!(builder.env["B"].as_written(), "2");
    assert_eq!(
        builder.user,
        BuilderUser::Ids {
            uid: 1000,
            gid: 100
        }
    );
    assert_eq!(builder.network.as_deref(), Some("host"));
    assert_eq!(builder.cache, ["/cache/go"]);
    let mount = |source: &str, target: &str, read_only| Mount {
        source: source.to_owned(),
        target: target.to_owned(),
        read_only,
    };
    assert_eq!(
        builder.mounts,
        [
            mount("~/.m2", "/m2", false),
            mount("/etc/ssl", "/etc/ssl", true)
        ]
    );
    assert!(builder.ssh && builder.socket);
    assert_eq!(
        (builder.memory, builder.cpus),
        (Some(2 << 30), Some(500_000_000))
    );
    let docker = &back.docker;
    assert_eq!(docker.image.to_string(), "harbour.example.com/x/back");
    assert_eq!(
        (docker.file.as_str(), docker.context.as_str()),
        ("docker/Dockerfile", "docker")
    );
    assert_eq!(docker.target.as_deref(), Some("runtime"));
    assert_eq!(docker.args["ON"].as_written(), "on");
    let tags: Vec<_> = docker.tags.iter().map(Template::as_written).collect();
    assert_eq!(tags, ["1.10", "build-${{ env.BUILD_NUMBER }}"]);
    assert_eq!(script_line(&back.scripts.prepare[0]).text, "echo a");
}

#[test]
fn a_service_without_scripts_needs_no_builder() {
    let manifest = accepted(&with("scripts: {build: []}"));
    let service = &manifest.services[&name("a")];
    assert!(service.builder.is_none() && service.scripts.is_empty());
    assert_eq!(
        service.source.git().unwrap().reference,
        GitReference::DefaultBranch
    );
    assert_eq!(service.source.git().unwrap().path, None);
}

#[test]
fn script_lines_have_line_numbers() {
    let manifest = accepted(&with(
        "dockerBuilder: {image: x}\nscripts:\n  build:\n    - make\n    - |\n      cd x\n      make $X ${Y}\n    - >-\n      a\n      b\n    - \"a\\tb\"\n    - ${{ not closed",
    ));
    let lines = &manifest.services[&name("a")].scripts.build;
    let lines: Vec<_> = lines
        .iter()
        .map(script_line)
        .map(|line| (line.line, line.text.as_str()))
        .collect();
    assert_eq!(
        lines,
        [
            (7, "make"),
            (9, "cd x\nmake $X ${Y}\n"),
            (12, "a b"),
            (14, "a\tb"),
            (15, "${{ not closed")
        ]
    );
}

#[test]
fn a_byte_order_mark_and_windows_line_ends_are_ignored() {
    let text = format!("\u{feff}{}", SMALLEST.replace('\n', "\r\n"));
    let (windows, unix) = (accepted(&text), accepted(SMALLEST));
    assert_eq!(format!("{:?}", windows.services), {
        // Only the positions differ, by the additional bytes.
        format!("{:?}", unix.services)
    });
    let block = "dockerBuilder: {image: x}\nscripts:\n  build:\n    - |\n      a\n      b\n";
    let manifest = accepted(&with(block).replace('\n', "\r\n"));
    assert_eq!(
        script_line(&manifest.services[&name("a")].scripts.build[0]).text,
        "a\nb\n"
    );
}

#[test]
fn anchors_and_merge_keys_are_supported() {
    let manifest = accepted(
        "\
services:
  a: &a
    dir: a
    git: &git {remote: 'https://h/x', reference: main}
    docker: {image: a}
    dockerBuilder: &builder {image: x, env: {A: 1}}
  b:
    <<: *a
    git: {<<: [*git], path: b}
    docker: {image: b}
",
    );
    let b = &manifest.services[&name("b")];
    assert_eq!(b.source.git().unwrap().reference.to_string(), "main");
    assert_eq!(b.source.git().unwrap().path.as_deref(), Some("b"));
    assert_eq!(b.docker.image.to_string(), "b");
    assert_eq!(b.builder.as_ref().unwrap().env["A"].as_written(), "1");
}

#[test]
fn defaults_are_merged_under_each_service() {
    let manifest = accepted(
        "\
defaults:
  timeout: 10m
  git: {reference: main}
  dockerBuilder:
    image: builders/common
    env: {A: 1, B: 2}
    cache: [/one, /two]
  scripts:
    test: [make test]
services:
  a:
    dir: a
    git: {remote: 'https://h/a'}
    docker: {image: a}
  b:
    dir: b
    timeout: 1h
    git: {remote: 'https://h/b', reference: dev}
    docker: {image: b}
    dockerBuilder:
      env: {B: 3, C: 4}
      cache: [/three]
    scripts: {build: [make], test: []}
",
    );
    let a = &manifest.services[&name("a")];
    assert_eq!(a.timeout, Some(Duration::from_secs(600)));
    assert_eq!(a.source.git().unwrap().reference.to_string(), "main");
    assert_eq!(
        a.scripts.test,
        [ScriptItem::Line(ScriptLine {
            text: "make test".to_owned(),
            line: 9
        })]
    );
    let b = &manifest.services[&name("b")];
    assert_eq!(b.timeout, Some(Duration::from_secs(3600)));
    assert_eq!(b.source.git().unwrap().reference.to_string(), "dev");
    assert!(b.scripts.test.is_empty());
    let builder = b.builder.as_ref().unwrap();
    let env: Vec<_> = builder
        .env
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    assert_eq!(env, ["A=1", "B=3", "C=4"]);
    assert_eq!(builder.cache, ["/three"]);
}

#[test]
fn parts_of_one_repository_share_a_working_copy() {
    let manifest = accepted(
        "\
defaults:
  dir: .
  git: {remote: 'https://h/mono'}
services:
  a: {git: {path: a}, docker: {image: a}}
  b: {git: {path: b}, docker: {image: b}}
",
    );
    assert_eq!(manifest.services[&name("a")].dir, Path::new("."));
}

#[test]
fn dependency_order_and_selection() {
    let service = |name: &str, needs: &str| {
        format!(
            "  {name}: {{dir: {name}, git: {{remote: 'https://h/{name}'}}, docker: {{image: {name}}}, needs: [{needs}]}}\n"
        )
    };
    let text = ["a", "b", "c", "d"].iter().zip(["c, b", "d", "d", ""]);
    let text: String = text.map(|(name, needs)| service(name, needs)).collect();
    let manifest = accepted(&format!("services:\n{text}"));
    let shown = |names: Vec<&super::super::ServiceName>| {
        names
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .concat()
    };
    assert_eq!(shown(manifest.order()), "dbca");
    assert_eq!(shown(manifest.closure(&[name("b")]).iter().collect()), "bd");
    assert_eq!(
        shown(manifest.closure(&[name("a")]).iter().collect()),
        "abcd"
    );
    assert_eq!(shown(manifest.dependents(&name("d")).collect()), "bc");

    let select = |patterns: &[&str]| {
        manifest
            .select(patterns)
            .map(|names| shown(names.iter().collect()))
    };
    assert_eq!(select(&[]).unwrap(), "abcd");
    assert_eq!(select(&["d", "a", "a"]).unwrap(), "ad");
    assert_eq!(select(&["*"]).unwrap(), "abcd");
    let error = select(&["zz*", "a", "q", "q"]).unwrap_err();
    assert_eq!(error.to_string(), "unknown service `zz*`, `q`");
    assert_eq!(error.hints(), ["known services: `a`, `b`, `c`, `d`"]);
    let manifest = accepted(SMALLEST);
    let error = manifest.select(&["zbakend"]).unwrap_err();
    assert_eq!(error.hints(), ["did you mean `zbackend`?"]);
}

#[test]
fn a_source_can_come_from_a_plugin() {
    let manifest = accepted(
        "\
defaults:
  git: {reference: origin/master}
services:
  hg:
    dir: hg
    scm:
      plugin: builders/hg:newest
      with: {url: 'https://h/x', depth: 5, all: true, name: 'no', list: [1.5, '1'], b: {z: 1, a: 2}}
      reference: stable
      network: host
      secrets: {password: {env: P}}
    docker: {image: hg}
  git:
    dir: git
    git: {remote: https://h/git}
    docker: {image: git}
",
    );
    let service = |name: &str| &manifest.services[&name.parse().unwrap()];
    let plugin = service("hg").source.plugin().unwrap();
    assert_eq!(plugin.image.to_string(), "builders/hg");
    assert_eq!(plugin.reference.to_string(), "stable");
    assert_eq!(plugin.network.as_deref(), Some("host"));
    assert_eq!(
        serde_json::to_string(&plugin.settings()).unwrap(),
        r#"{"all":true,"b":{"a":2,"z":1},"depth":5,"list":[1.5,"1"],"name":"no","url":"https://h/x"}"#
    );
    assert!(plugin.secrets.contains_key("password"));
    // The other kind of source is not inherited.
    let git = service("git").source.git().unwrap();
    assert_eq!(git.reference.to_string(), "origin/master");
}
