//! Scripts in several images, and plugins.

use super::*;
use crate::model::recipe::Recipe;

pub(super) const ITEMS: &str = "
registry: r.example.com/x
services:
  app:
    dir: src/app
    git: {remote: 'https://g.example.com/app.git', path: web}
    dockerBuilder: {image: builders/node, workdir: /src, memory: 1g, env: {N: '${{ env.N }}'}}
    docker: {image: app, secrets: {token: {env: N}}}
    scripts:
      prepare:
        - npm ci
      build:
        - {run: [go build, go vet], image: builders/go}
        - npm run dist
        - plugin: builders/minify
          with: {level: 9, files: [a, b]}
          secrets: [token]
      test:
        - {run: [go test], image: builders/go}
        - {run: [npm test], image: builders/node}
        - {plugin: 'x.example.com/lint:2'}
";

fn steps(plan: &Plan) -> Vec<String> {
    let app = plan.units.last().unwrap();
    let steps = app.steps.iter().filter(|step| step.is_of_scripts());
    let text = steps.map(|step| {
        let image = match step {
            Step::Script(step) => step.image.as_ref(),
            _ => None,
        };
        let image = image
            .map(|it| format!(" in {}", it.repository()))
            .unwrap_or_default();
        let text = step.describe(Path::new("/p"));
        // Without the content of builders.
        let words = text.split(' ').map(|word| match word.split_once(':') {
            Some((name, tag)) if tag.len() == 40 => name,
            _ => word,
        });
        let text: Vec<&str> = words.collect();
        format!("{}: {}{image}", step.phase(), text.join(" "))
    });
    text.collect()
}

#[test]
fn each_image_has_one_container_and_each_plugin_its_own() {
    let plan = TestPlatform::of(ITEMS).plan(&["app"]);
    assert_eq!(
        steps(&plan),
        [
            "container: r.example.com/x/builders/node with the source at /src",
            "prepare: npm ci",
            "container: r.example.com/x/builders/go with the source at /src",
            "build: go build in r.example.com/x/builders/go",
            "build: go vet in r.example.com/x/builders/go",
            "build: npm run dist",
            "build: plugin r.example.com/x/builders/minify (level, files, secret token)",
            "test: go test in r.example.com/x/builders/go",
            "test: npm test",
            "test: plugin x.example.com/lint:2",
        ]
    );
    let units: Vec<String> = plan.units.iter().map(|it| it.unit.to_string()).collect();
    assert_eq!(
        units,
        [
            "builders/go",
            "builders/minify",
            "builders/node",
            "x.example.com/lint:2",
            "app"
        ]
    );
    let app = plan.units.last().unwrap();
    assert_eq!(app.waits(0).len(), 4);
    let Some(Step::Plugin(plugin)) = app.steps.iter().find(|it| matches!(it, Step::Plugin(_)))
    else {
        panic!("no plugin");
    };
    let container = &plugin.container;
    assert_eq!(container.script_dir, "/src/web");
    assert_eq!(container.memory, Some(1 << 30));
    let config = container.config.as_deref();
    assert_eq!(config, Some(r#"{"level":9,"files":["a","b"]}"#));
    for (name, value) in [
        ("XP_WITH_LEVEL", "9"),
        ("XP_WITH_FILES", r#"["a","b"]"#),
        ("XP_SERVICE", "app"),
        ("N", "7"),
    ] {
        assert_eq!(container.env[name], value);
    }
    assert!(container.secrets.contains_key("token"));
    assert_eq!(
        (plugin.key.as_str(), plugin.item.line),
        ("scripts.build[2]", 15)
    );
}

#[test]
fn without_tests_their_images_are_not_needed() {
    let platform = TestPlatform::of(ITEMS).options(|options| options.test = false);
    let plan = platform.plan(&["app"]);
    let units: Vec<String> = plan.units.iter().map(|it| it.unit.to_string()).collect();
    assert_eq!(
        units,
        ["builders/go", "builders/minify", "builders/node", "app"]
    );
}

/// Otherwise files that a plugin writes as root could not be given back.
#[test]
fn the_builder_runs_beside_a_plugin_of_another_user() {
    let text = |user: &str| {
        format!(
            "services: {{app: {{dir: a, git: {{remote: 'https://g.example.com/a.git'}}, docker: {{image: a}}, \
             dockerBuilder: {{image: 'alpine:3', user: {user}}}, scripts: {{build: [{{plugin: 'x:1'}}]}}}}}}"
        )
    };
    let container = "container: alpine:3 with the source at /workspace";
    let plugin = "build: plugin x:1";
    let other = TestPlatform::of(&text("root")).plan(&["app"]);
    assert_eq!(steps(&other), [container, plugin]);
    let caller = TestPlatform::of(&text("caller")).plan(&["app"]);
    assert_eq!(steps(&caller), [plugin]);
}

fn recipe(text: &str) -> Recipe {
    let platform = TestPlatform::of(text);
    let selected = BTreeSet::from([name("app")]);
    platform.draft(&["app"], |draft| {
        let folders = platform.folders(&draft);
        draft.recipes(&selected, &folders).unwrap()[&name("app")].clone()
    })
}

#[test]
fn every_setting_of_an_item_is_an_input_of_its_own() {
    let recipe = recipe(ITEMS);
    let names: Vec<&str> = recipe.inputs().map(|(name, _)| name).collect();
    let names: Vec<&str> = names
        .into_iter()
        .filter(|it| it.starts_with("scripts"))
        .collect();
    assert_eq!(
        names,
        [
            "scripts.build",
            "scripts.build[0].image",
            "scripts.build[0].run",
            "scripts.build[2].plugin",
            "scripts.build[2].secrets",
            "scripts.build[2].with.files",
            "scripts.build[2].with.level",
            "scripts.prepare",
            "scripts.test",
            "scripts.test[0].image",
            "scripts.test[0].run",
            "scripts.test[1].image",
            "scripts.test[1].run",
            "scripts.test[2].plugin",
        ]
    );
    let without = recipe.without_tests();
    assert!(
        without
            .inputs()
            .all(|(name, _)| !name.starts_with("scripts.test"))
    );
}

#[test]
fn a_changed_item_changes_only_its_inputs() {
    let before = recipe(ITEMS);
    for (from, to, changed) in [
        (
            "level: 9",
            "level: 10",
            "scripts.build[2].with.level changed",
        ),
        (
            "files: [a, b]",
            "files: [a]",
            "scripts.build[2].with.files changed",
        ),
        ("level: 9, ", "", "scripts.build[2].with.level is gone"),
        ("[go build,", "[go install,", "scripts.build[0].run changed"),
        ("lint:2", "lint:3", "scripts.test[2].plugin changed"),
        (
            "secrets: [token]",
            "secrets: {own: {env: N}}",
            "scripts.build[2].secrets changed",
        ),
        ("- npm run dist", "- npm run all", "scripts.build changed"),
    ] {
        let changes = recipe(&ITEMS.replace(from, to)).changes_since(&before);
        let changes: Vec<String> = changes.iter().map(ToString::to_string).collect();
        assert_eq!(changes, [changed]);
    }
    // How a mapping is written does not matter.
    let block = "level: 9, files:\n            - a\n            - b\n";
    let same = ITEMS.replace(
        "with: {level: 9, files: [a, b]}",
        &format!("with: {{{}}}", "files: [a, b], level: 9"),
    );
    assert_ne!(same, ITEMS, "{block}");
    assert_eq!(recipe(&same), before);
}

/// Phases of shell lines have the same recipe however they are written.
#[test]
fn a_phase_in_a_mapping_is_the_same_phase() {
    let mapping = MANIFEST.replace("build: [make build]", "build: {run: [make build]}");
    assert_ne!(mapping, MANIFEST);
    let of = |text: &str| {
        let platform = TestPlatform::of(text);
        let selected = BTreeSet::from([name("back")]);
        platform.draft(&["back"], |draft| {
            let folders = platform.folders(&draft);
            draft.recipes(&selected, &folders).unwrap()[&name("back")].clone()
        })
    };
    assert_eq!(of(&mapping), of(MANIFEST));
}
