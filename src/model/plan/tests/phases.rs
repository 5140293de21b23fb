//! Phases with `inputs`.

use super::*;
use crate::model::manifest::ScriptPhase;
use crate::model::source::{InputFile, InputFiles};
use crate::model::step_result::{OutputsBlob, StepResult};

const PHASES: &str = "
registry: r.example.com/x
services:
  app:
    dir: src/app
    git: {remote: 'https://g.example.com/app.git', path: web}
    dockerBuilder: {image: builders/node, workdir: /src, env: {N: '${{ env.N }}'}}
    docker: {image: app}
    scripts:
      prepare: {run: [npm ci], inputs: [package.json], outputs: [node_modules]}
      build: {run: [npm run dist], inputs: [src, /libs], outputs: [dist]}
      test: {run: [npm test], inputs: [src, test]}
";

/// What is found, by phase.
type Found<'f> = &'f [(ScriptPhase, bool)];

struct Staged {
    platform: TestPlatform,
    files: BTreeMap<ScriptPhase, Vec<(&'static str, &'static str)>>,
}

impl Staged {
    fn of(text: &str) -> Self {
        let files = BTreeMap::from([
            (ScriptPhase::Prepare, vec![("web/package.json", "1")]),
            (
                ScriptPhase::Build,
                vec![("libs/x", "1"), ("web/src/main", "1")],
            ),
            (
                ScriptPhase::Test,
                vec![("web/src/main", "1"), ("web/test/x", "1")],
            ),
        ]);
        Self {
            platform: TestPlatform::of(text),
            files,
        }
    }

    /// Plans with the results that are found: whether they are on this machine.
    fn plan(&self, found: Found<'_>) -> Plan {
        self.platform.draft(&["app"], |draft| {
            let folders = self.platform.folders(&draft);
            let inventory = self.platform.inventory(&draft, &folders);
            let mut decided = draft.decide(inventory, folders).unwrap();
            let inputs = self.inputs(&decided);
            let queries = decided.add_phases(&inputs).unwrap();
            let mut results = StepResults::default();
            for query in &queries {
                let name = (query.service.clone(), query.phase);
                let is_stored = found.iter().find(|(phase, _)| *phase == query.phase);
                if let Some((_, is_stored)) = is_stored {
                    let found = FoundResult {
                        result: result(query),
                        is_stored: *is_stored,
                        is_published: !is_stored,
                    };
                    results.found.insert(name, found);
                }
            }
            decided.add_results(results);
            let images = decided.builder_images().into_iter();
            let builders = images.map(|image| (image, Presence::Absent)).collect();
            let layout = Layout::new(PathBuf::from("/p/.xp"));
            decided.complete(&builders, &layout).unwrap()
        })
    }

    fn inputs(&self, decided: &Decided<'_>) -> StagedInputs {
        let queries = decided.inputs_queries();
        let files = queries.iter().flat_map(|query| {
            query.phases.iter().map(|(phase, _)| {
                let files = self.files[phase].iter().map(|(path, id)| InputFile {
                    path: path.as_bytes().to_vec(),
                    mode: 0o100_644,
                    id: (*id).to_owned(),
                });
                let files = InputFiles {
                    files: files.collect(),
                    attributes: Vec::new(),
                };
                ((query.service.clone(), *phase), Ok(files))
            })
        });
        StagedInputs {
            files: files.collect(),
            present: BTreeSet::new(),
            digests: BTreeMap::new(),
            platform: "linux/x86_64".to_owned(),
        }
    }

    /// Returns the keys of the phases.
    fn keys(&self) -> Vec<String> {
        let plan = self.plan(&[]);
        let phases = plan.units.last().unwrap().phases.iter();
        phases.map(|phase| phase.key.unwrap().to_string()).collect()
    }
}

fn result(query: &ResultQuery) -> StepResult {
    let digest = format!("sha256:{}", "a".repeat(64)).parse().unwrap();
    StepResult {
        key: query.key,
        service: query.service.to_string(),
        phase: query.phase.as_str().to_owned(),
        commit: "0123456789".repeat(4),
        saved_at: 0,
        seconds: 20.0,
        parts: Vec::new(),
        outputs: (query.phase != ScriptPhase::Test).then_some(OutputsBlob {
            digest,
            bytes: 1,
            unpacked_bytes: 1,
            files: 1,
        }),
    }
}

fn steps(plan: &Plan) -> Vec<String> {
    let app = plan.units.last().unwrap();
    let steps = app.steps.iter().map(|step| {
        let text = step.describe(Path::new("/p"));
        let text = text.split(" with the source").next().unwrap();
        let text = match text.split_once(':') {
            Some((name, _)) if name.contains("builders/") => name,
            _ => text,
        };
        format!("{}: {text}", step.phase())
    });
    steps
        .skip(2)
        .take_while(|text| !text.starts_with("image"))
        .collect()
}

#[test]
fn each_phase_runs_on_its_inputs() {
    let staged = Staged::of(PHASES);
    let plan = staged.plan(&[]);
    assert_eq!(
        steps(&plan),
        [
            "prepare: with only package.json",
            "container: r.example.com/x/builders/node",
            "prepare: npm ci",
            "prepare: save web/node_modules",
            "build: with only src, /libs and the results of prepare",
            "container: r.example.com/x/builders/node",
            "build: npm run dist",
            "build: save web/dist",
            "test: with only src, test and the results of prepare, build",
            "container: r.example.com/x/builders/node",
            "test: npm test",
            "test: save that it passed",
            "export: web/node_modules, web/dist into .xp/build/app",
        ]
    );
    let app = plan.units.last().unwrap();
    let containers = app.steps.iter().filter_map(Step::container);
    for container in containers {
        let names: Vec<&str> = container.env.keys().map(String::as_str).collect();
        assert_eq!(names, ["CI", "N"]);
        assert!(container.git.is_empty() && container.is_staged);
    }
}

#[test]
fn results_are_restored_and_need_no_builder() {
    let staged = Staged::of(PHASES);
    let phases = [
        (ScriptPhase::Prepare, true),
        (ScriptPhase::Build, false),
        (ScriptPhase::Test, false),
    ];
    let plan = staged.plan(&phases);
    assert_eq!(
        steps(&plan),
        [
            "prepare: restore web/node_modules of 01234567 from this machine",
            "build: restore web/dist of 01234567 from r.example.com/x/app",
            "test: passed on 01234567, according to r.example.com/x/app",
            "export: web/node_modules, web/dist into .xp/build/app",
        ]
    );
    assert_eq!(plan.units.len(), 1);
    let app = &plan.units[0];
    assert!(app.after.is_empty());
    let Step::Restore(restore) = &app.steps[2] else {
        panic!("{:?}", app.steps[2]);
    };
    // The registry does not have it yet.
    assert!(restore.publish.is_some() && restore.artifact.is_none());
    assert_eq!(restore.otherwise.len(), 4);
    assert_eq!(restore.images.len(), 1);
    let text = plan.display(Path::new("/p"), Detail::FILE, Duration::ZERO);
    assert!(
        text.contains("prepare    restore  ran on 01234567, result on this machine, saves 20s"),
        "{text}"
    );
    assert!(
        text.contains("passed on 01234567, result in the registry"),
        "{text}"
    );
    // One phase runs.
    let plan = staged.plan(&phases[..2]);
    assert_eq!(plan.units[0].unit.to_string(), "builders/node");
    let app = &plan.units[1];
    assert_eq!(app.after.len(), 1);
    // A phase that is restored does not rely on what provides the builder to others.
    let restored = app.steps.iter().filter_map(|step| match step {
        Step::Restore(step) => Some(step.images.len()),
        _ => None,
    });
    assert_eq!(restored.collect::<Vec<_>>(), [1, 1]);
}

#[test]
fn options_run_every_phase() {
    let all = [(ScriptPhase::Prepare, true), (ScriptPhase::Build, true)];
    let reasons = |change: fn(&mut Options)| {
        let mut staged = Staged::of(PHASES);
        staged.platform = staged.platform.options(change);
        let plan = staged.plan(&all);
        let phases = plan.units.last().unwrap().phases.clone().into_iter();
        phases.map(|phase| phase.reason).collect::<Vec<_>>()
    };
    assert_eq!(reasons(|options| options.force = true), ["--force"; 3]);
    assert_eq!(
        reasons(|options| options.restore = false),
        ["--no-restore"; 3]
    );
    let without_tests = reasons(|options| options.test = false);
    assert_eq!(without_tests.len(), 2);
}

#[test]
fn a_key_depends_on_what_the_phase_uses() {
    let before = Staged::of(PHASES).keys();
    let changed = |staged: Staged| -> Vec<bool> {
        let pairs = staged.keys().into_iter().zip(before.clone());
        pairs.map(|(now, before)| now != before).collect()
    };
    let edited = |from: &str, to: &str| {
        assert!(PHASES.contains(from));
        changed(Staged::of(&PHASES.replace(from, to)))
    };
    assert_eq!(edited("x", "x"), [false; 3]);
    // The results of a phase with outputs are inputs of later ones.
    assert_eq!(edited("npm ci", "npm i"), [true; 3]);
    assert_eq!(edited("npm run dist", "npm run x"), [false, true, true]);
    assert_eq!(edited("npm test", "npm t"), [false, false, true]);
    assert_eq!(edited("[dist]", "[out]"), [false, true, true]);
    assert_eq!(edited("'${{ env.N }}'", "8"), [true; 3]);
    assert_eq!(edited("workdir: /src", "workdir: /a"), [true; 3]);
    assert_eq!(edited("workdir", "user: root, workdir"), [true; 3]);
    assert_eq!(edited("image: app}", "image: other}"), [false; 3]);
    assert_eq!(
        edited("workdir", "cache: [/c], network: none, workdir"),
        [false; 3]
    );
    let mut staged = Staged::of(PHASES);
    staged
        .files
        .insert(ScriptPhase::Test, vec![("web/src/main", "2")]);
    assert_eq!(changed(staged), [false, false, true]);
    let mut staged = Staged::of(PHASES);
    staged.platform.dockerfile = "FROM x";
    assert_eq!(changed(staged), [true; 3]);
}

#[test]
fn other_phases_see_the_export() {
    let text = PHASES.replace(
        "{run: [npm run dist], inputs: [src, /libs], outputs: [dist]}",
        "[npm run dist]",
    );
    let plan = Staged::of(&text).plan(&[(ScriptPhase::Prepare, true)]);
    assert_eq!(
        steps(&plan),
        [
            "prepare: restore web/node_modules of 01234567 from this machine",
            "export: web/node_modules into .xp/build/app",
            "container: r.example.com/x/builders/node",
            "build: npm run dist",
            "test: with only src, test and the results of prepare",
            "container: r.example.com/x/builders/node",
            "test: npm test",
            "test: save that it passed",
        ]
    );
}

#[test]
fn verify_depends_on_the_image() {
    let text = format!("{PHASES}      verify: {{run: [./check], inputs: [check]}}\n");
    let mut staged = Staged::of(&text);
    staged
        .files
        .insert(ScriptPhase::Verify, vec![("web/check", "1")]);
    let plan = staged.plan(&[(ScriptPhase::Verify, true)]);
    let app = plan.units.last().unwrap();
    assert_eq!(app.phases[3].reason, "it depends on the new image");
    let last: Vec<String> = app
        .steps
        .iter()
        .map(|step| step.describe(Path::new("/p")))
        .collect();
    let verify = last.iter().position(|it| it == "./check").unwrap();
    assert_eq!(
        last[verify - 3],
        "with only check and the results of prepare, build"
    );
    assert_eq!(last[verify + 1], "not saved");
}
