//! Phases with `inputs` and `outputs`.

use super::super::{ScriptPhase, Service};
use super::{accepted, refused, refuses, with};

fn service(lines: &str) -> Service {
    let manifest = accepted(&with(lines));
    manifest.services[&"a".parse().unwrap()].clone()
}

#[test]
fn a_phase_names_its_files() {
    let service = service(
        "git: {remote: 'https://h/a', path: svc}
dockerBuilder: {image: x}
scripts:
  prepare: {run: [npm ci], inputs: [./package.json, /libs/, ':!*.md'], outputs: [node_modules/, /gen]}
  build: {run: [make], inputs: [.]}
  test: {run: [make test]}
  verify: [make check]",
    );
    let cached = &service.scripts.cached;
    assert_eq!(
        cached.keys().copied().collect::<Vec<_>>(),
        [ScriptPhase::Prepare, ScriptPhase::Build]
    );
    let prepare = &cached[&ScriptPhase::Prepare];
    let inputs: Vec<String> = prepare.inputs.iter().map(ToString::to_string).collect();
    assert_eq!(inputs, ["package.json", "/libs", ":!*.md"]);
    let outputs = prepare
        .outputs
        .iter()
        .map(|it| it.in_repository(Some("svc")));
    assert_eq!(outputs.collect::<Vec<_>>(), ["svc/node_modules", "gen"]);
    assert!(cached[&ScriptPhase::Build].outputs.is_empty());
    assert_eq!(service.scripts.prepare.len(), 1);
}

#[test]
fn mistakes_are_reported() {
    let builder = "dockerBuilder: {image: x}\nscripts:\n";
    for (phases, expected) in [
        (
            "  build: {run: [make], outputs: [dist]}",
            "6:28 `scripts.build.outputs` requires `inputs` (list the files that the phase reads: `inputs: [src, package.json]`)",
        ),
        (
            "  build: {run: [make], inputs: [src], output: [dist]}",
            "6:43 unknown key `output` in `scripts.build` (did you mean `outputs`?)",
        ),
        (
            "  build: {inputs: [src], outputs: [dist]}",
            "6:7 `scripts.build` has no `run` (list its commands: `run: [make build]`)",
        ),
        (
            "  build: {run: [make], inputs: ['../x']}",
            "6:37 invalid pattern `../x`: must not contain `..`",
        ),
        (
            "  build: {run: [make], inputs: [':!x']}",
            "6:28 `scripts.build.inputs` has no files (`:!` leaves out files that other patterns match: add `.` for all others)",
        ),
        (
            "  build: {run: [make], inputs: [src], outputs: ['dist/*']}",
            "6:53 invalid path `dist/*`: outputs are files and folders, without wildcards",
        ),
        (
            "  build: {run: [make], inputs: [src], outputs: [.]}",
            "6:53 invalid path `.`: name the files and folders that the phase writes",
        ),
        (
            "  build: {run: [make], inputs: [src], outputs: [dist, dist/a]}",
            "6:59 `dist` and `dist/a` of `build` overlap (each output belongs to one phase; a later phase that changes it needs no `inputs`)",
        ),
        (
            "  prepare: {run: [make], inputs: [src], outputs: [gen]}\n  build: {run: [make], inputs: [src], outputs: [gen/x]}",
            "7:53 `gen/x` of `build` and `gen` of `prepare` overlap (each output belongs to one phase; a later phase that changes it needs no `inputs`)",
        ),
        (
            "  build: {run: [make], inputs: [src, dist/x], outputs: [dist]}",
            "6:42 the input `dist/x` is in `dist`, an output of `build` (inputs are files of the commit, outputs are files that the phase creates)",
        ),
        (
            "  prepare: {run: [make], inputs: [src], outputs: [gen]}\n  build: {run: [make], inputs: [src, gen]}",
            "7:42 the input `gen` is in `gen`, an output of `prepare` (results of earlier phases are there anyway: remove it)",
        ),
    ] {
        refuses(&format!("{builder}{phases}"), &[expected]);
    }
    let text = with(
        "scm: {plugin: x}\ndockerBuilder: {image: x}\nscripts: {build: {run: [make], inputs: [src]}}",
    );
    let text = text.replace("    git: {remote: 'https://h/a'}\n", "");
    assert_eq!(
        refused(&text),
        [
            "6:36 `scripts.build.inputs` requires a source in git (with `scm`, the files of a commit have no IDs to compare: remove `inputs` and `outputs`)"
        ]
    );
}
