//! Items of a phase: shell lines, lines in another image, and plugins.

use super::super::{BuilderImage, PluginItem, ScriptItem, SecretSource, Service};
use super::{accepted, refuses, with};

fn service(lines: &str) -> Service {
    accepted(&with(lines)).services[&"a".parse().unwrap()].clone()
}

fn plugin(item: &ScriptItem) -> &PluginItem {
    match item {
        ScriptItem::Plugin(plugin) => plugin,
        item => panic!("{item:?}"),
    }
}

#[test]
fn a_phase_mixes_lines_images_and_plugins() {
    let service = service(
        "dockerBuilder: {image: node:22}
scripts:
  build:
    - npm ci
    - run: [make, make all]
      image: builders/go
    - plugin: plugins.example.com/minify:1
      with: {level: 9}
  test: {run: [npm test, {plugin: builders/browser}]}",
    );
    let [ScriptItem::Line(line), ScriptItem::Run(run), minify] = service.scripts.build.as_slice()
    else {
        panic!("{:?}", service.scripts.build);
    };
    assert_eq!(line.text, "npm ci");
    assert_eq!(run.image, BuilderImage::Folder("go".parse().unwrap()));
    assert_eq!(run.lines[0].text, "make");
    assert_eq!((run.line, run.lines[0].line), (9, 8));
    let minify = plugin(minify);
    assert_eq!(minify.image.to_string(), "plugins.example.com/minify:1");
    assert_eq!(minify.line, 10);
    let browser = plugin(&service.scripts.test[1]);
    assert_eq!(browser.image.to_string(), "builders/browser");
    let images: Vec<String> = service.images().iter().map(ToString::to_string).collect();
    let expected = [
        "node:22",
        "builders/go",
        "plugins.example.com/minify:1",
        "builders/browser",
    ];
    assert_eq!(images, expected);
}

#[test]
fn settings_keep_their_types_and_numbers_their_spelling() {
    let service = service(
        "scripts:
  build:
    - plugin: x
      with:
        text: 'true'
        version: 1.10
        leading: 007
        on: true
        word: yes
        max-size: -1e3
        list: [a, 2, {b: false}]
        block: |
          two
          lines",
    );
    let with = &plugin(&service.scripts.build[0]).with;
    assert_eq!(
        with.to_json(),
        r#"{"text":"true","version":1.10,"leading":"007","on":true,"word":"yes","max-size":-1e3,"list":["a",2,{"b":false}],"block":"two\nlines\n"}"#
    );
    let variables: Vec<(String, String)> = with.variables().collect();
    let variable = |name: &str| {
        let found = variables.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    };
    assert_eq!(variable("XP_WITH_VERSION"), Some("1.10"));
    assert_eq!(variable("XP_WITH_MAX_SIZE"), Some("-1e3"));
    assert_eq!(variable("XP_WITH_LIST"), Some(r#"["a",2,{"b":false}]"#));
    assert_eq!(variable("XP_WITH_BLOCK"), Some("two\nlines\n"));
    assert_eq!(with.to_value()["version"], serde_json::json!(1.1));
    // Without a shell line, no builder is required.
    assert_eq!(service.builder.unwrap().image, None);
}

#[test]
fn secrets_are_named_or_own() {
    let service = service(
        "docker: {image: a, secrets: {npm: {env: NPM_TOKEN}}}
scripts:
  build:
    - {plugin: x, secrets: [npm]}
    - {plugin: x, secrets: {key: {file: ~/.key}}}",
    );
    let named = &plugin(&service.scripts.build[0]).secrets["npm"];
    assert!(matches!(named, SecretSource::Environment { name, .. } if name == "NPM_TOKEN"));
    let own = &plugin(&service.scripts.build[1]).secrets["key"];
    assert_eq!(*own, SecretSource::File("~/.key".to_owned()));
}

#[test]
fn items_have_fixed_keys() {
    let kinds =
        "an item is a shell line, `{run: [LINES], image: IMAGE}`, or `{plugin: IMAGE, with: {…}}`";
    for (item, expected) in [
        (
            "{run: [a]}",
            &["4:24 `scripts.build[0]` has no `image` (add the image, or list the lines in the phase to run them in the builder)".to_owned()][..],
        ),
        (
            "{run: [a], imag: x}",
            &["4:34 unknown key `imag` in `scripts.build[0]` (did you mean `image`?)".to_owned()],
        ),
        (
            "{run: [a], plugin: x}",
            &[format!("4:23 `scripts.build[0]` must have `run` or `plugin`, not both ({kinds})")],
        ),
        (
            "{image: x}",
            &[format!("4:23 `scripts.build[0]` must have `run` or `plugin` ({kinds})")],
        ),
        (
            "{plugn: x}",
            &["4:24 unknown key `plugn` in `scripts.build[0]` (did you mean `plugin`?)".to_owned()],
        ),
        (
            "{run: [], image: x}",
            &["4:29 `scripts.build[0].run` must not be empty".to_owned()],
        ),
        (
            "{run: [a], image: x, with: {b: c}}",
            &["4:44 `scripts.build[0].with` requires `plugin`".to_owned()],
        ),
        (
            "{plugin: x, image: y}",
            &["4:35 `scripts.build[0].image` requires `run`".to_owned()],
        ),
        (
            "{plugin: UPPER}",
            &["4:32 invalid image name `UPPER`: uppercase letters are not allowed".to_owned()],
        ),
    ] {
        let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
        refuses(&format!("scripts: {{build: [{item}]}}"), &expected);
    }
    refuses(
        "scripts: {build: {}}",
        &["4:15 `scripts.build` has no `run` (list its commands: `run: [make build]`)"],
    );
    refuses(
        "scripts: {build: {rum: [a]}}",
        &["4:23 unknown key `rum` in `scripts.build` (did you mean `run`?)"],
    );
}

#[test]
fn settings_are_not_templates_and_have_distinct_variables() {
    let with_settings =
        |settings: &str| format!("scripts: {{build: [{{plugin: x, with: {{{settings}}}}}]}}");
    refuses(
        &with_settings("a: '${{ service.commit }}'"),
        &[
            "4:45 `scripts.build[0].with.a` does not support `${{ … }}` (set a variable in `dockerBuilder.env`, which the plugin can read)",
        ],
    );
    refuses(
        &with_settings("a-b: 1, A_B: 2, '1': 3"),
        &[
            "4:50 two settings have the variable `XP_WITH_A_B`",
            "4:58 invalid setting name `1` (use letters, digits, `_` and `-`, starting with a letter)",
        ],
    );
    refuses(
        &with_settings("a: ~"),
        &["4:45 `scripts.build[0].with.a` has no value (set it to a string, or remove it)"],
    );
}

#[test]
fn secrets_must_exist() {
    refuses(
        "scripts: {build: [{plugin: x, secrets: [npm]}]}",
        &[
            "4:45 `docker.secrets` has no secret `npm` (write `secrets: {npm: {env: NAME}}` for a secret of its own)",
        ],
    );
    refuses(
        "docker: {image: a, secrets: {npm: {env: X}}}\nscripts: {build: [{plugin: x, secrets: [nmp]}]}",
        &["5:45 `docker.secrets` has no secret `nmp` (did you mean `npm`?)"],
    );
}

#[test]
fn lines_and_another_user_require_a_builder() {
    let help = "(add `dockerBuilder: {image: builders/a}`, or set another image)";
    refuses(
        "scripts: {build: [{run: [a], image: x}], test: [make]}",
        &[&format!(
            "4:5 service `a` has scripts but no `dockerBuilder.image` to run them in {help}"
        )],
    );
    refuses(
        "dockerBuilder: {user: root}\nscripts: {build: [{plugin: x}]}",
        &[&format!(
            "5:5 service `a` has a plugin and `dockerBuilder.user`, but no `dockerBuilder.image` in which files are given back to you {help}"
        )],
    );
}
