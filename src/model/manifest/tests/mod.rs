//! Tests of the whole module; unit tests are next to their functions.

mod accepted;
mod cached_phases;
mod deploy;
mod disk;
mod fleet;
mod items;
mod merging;
mod platforms;
mod relations;
mod rendering;
mod reports;
mod schema;
mod syntax;
mod values;

use std::path::Path;

use super::{Manifest, ManifestError, parse};

/// The smallest complete manifest with scripts.
const SMALLEST: &str = "\
services:
  zbackend:
    dir: src/zbackend
    git:
      remote: git@git.example.com:x/zbackend.git
      reference: origin/master
    dockerBuilder:
      image: builders/zbackend:newest
      workdir: /go/src/x/zbackend
    docker:
      image: zbackend
    scripts:
      build:
        - make build
      test:
        - make test
";

fn read(text: &str) -> Result<Manifest, ManifestError> {
    parse(text, Path::new("x-platform.yml"))
}

#[track_caller]
fn accepted(text: &str) -> Manifest {
    read(text).unwrap_or_else(|error| panic!("{error}"))
}

/// Returns each problem as `line:column message (help)`.
#[track_caller]
fn refused(text: &str) -> Vec<String> {
    short(&read(text).expect_err("this manifest should be rejected"))
}

/// Checks the problems of a manifest that [`with`] creates.
#[track_caller]
fn refuses(lines: &str, expected: &[&str]) {
    assert_eq!(refused(&with(lines)), expected);
}

fn short(error: &ManifestError) -> Vec<String> {
    let problem = |problem: super::error::ReportedProblem| {
        let position = problem
            .position()
            .map(|(line, column)| format!("{line}:{column} "))
            .unwrap_or_default();
        let help: String = problem
            .help()
            .iter()
            .map(|help| format!(" ({help})"))
            .collect();
        format!("{position}{}{help}", problem.message())
    };
    error.problems().map(problem).collect()
}

/// Returns a manifest of two services, with these lines in the service `a`, starting at line 4.
fn with(lines: &str) -> String {
    let own = |key: &str| lines.lines().any(|line| line.starts_with(key));
    let mut text = String::from(
        "services:\n  other: {dir: o, git: {remote: 'https://h/o'}, docker: {image: o}}\n  a:\n",
    );
    for line in lines.lines() {
        text += &format!("    {line}\n");
    }
    for (key, line) in [
        ("dir:", "dir: a"),
        ("git:", "git: {remote: 'https://h/a'}"),
        ("docker:", "docker: {image: a}"),
    ] {
        if !own(key) {
            text += &format!("    {line}\n");
        }
    }
    text
}
