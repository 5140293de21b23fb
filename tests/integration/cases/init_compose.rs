//! `xp init` reads `.env` and `${VARIABLES}` as `docker compose config` does.

use std::process::Output;

use serde_json::{Value, json};

use crate::case::Case;
use crate::context::Context;
use crate::language_server::tool;
use crate::process;
use crate::random::Random;

pub const CASES: &[Case] = cases![
    variables_are_replaced_as_by_compose,
    any_environment_file_is_read_as_by_compose,
    names_and_included_files_are_read_as_by_compose,
    numbers_are_read_as_by_compose,
];

/// Runs `docker compose config` without variables in its environment.
fn compose(t: &Context) -> Output {
    let program = tool("docker-compose");
    let mut command = process::in_clean_environment(&program.display().to_string());
    command.args(["config", "--format", "json"]);
    process::run(command.current_dir(t.dir()))
}

/// Returns the build arguments of the service `api` that compose uses; `None` if it rejects the files. Variables
/// without a value are listed in the second part.
fn composed(t: &Context) -> Option<(Value, String)> {
    let output = compose(t);
    let warnings = String::from_utf8_lossy(&output.stderr).into_owned();
    if !output.status.success() {
        return None;
    }
    let config: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    Some((config["services"]["api"]["build"]["args"].clone(), warnings))
}

/// Returns the build arguments in a generated manifest.
fn generated(manifest: &str) -> Value {
    let manifest: Value = serde_saphyr::from_str(manifest).expect("YAML");
    manifest["services"]["api"]["docker"]["args"].clone()
}

fn repository(t: &Context) {
    t.write("api/Dockerfile", "FROM scratch\n");
    t.git("api", &["init", "--quiet", "--initial-branch=master"]);
    t.git("api", &["add", "--all"]);
    t.git("api", &["commit", "--quiet", "--message", "First"]);
}

/// Compares `xp init` with compose; `what` is shown if they differ. Returns whether compose accepted the files.
#[track_caller]
fn compare(t: &Context, environment: &str, values: &[String], what: &str) -> bool {
    t.write(".env", environment);
    let args = values.iter().enumerate();
    let args: serde_json::Map<String, Value> = args
        .map(|(index, value)| (format!("V{index}"), json!(value)))
        .collect();
    let file = json!({"services": {"api": {"build": {"context": "api", "args": args}}}});
    t.write("compose.yaml", &file.to_string());
    let shown = format!("{what}\n.env:\n{environment}\n{file:#}");
    let Some((expected, warnings)) = composed(t) else {
        // Compose rejects the environment or a value: nothing is taken over, or the value is marked.
        let output = t.xp(["init", "--dry-run"]).run();
        let is_marked =
            output.stdout.contains("which compose rejects") || output.stdout.contains("not set in");
        assert!(
            output.status.code() == Some(2) || is_marked,
            "{shown}\n{}",
            output.stdout
        );
        return false;
    };
    let output = t.xp(["init", "--dry-run"]).success();
    let actual = generated(&output.stdout);
    for index in 0..values.len() {
        let name = format!("V{index}");
        // `config` escapes dollar signs.
        let expected = expected[&name]
            .as_str()
            .unwrap_or_default()
            .replace("$$", "$");
        match actual[&name].as_str() {
            Some(actual) => assert_eq!(actual, expected, "{name}: {shown}\n{}", output.stdout),
            // It would be a placeholder of xp.
            None if expected.contains("${{") => {}
            // Only what depends on a variable without a value may be left open, with a mark.
            None => assert!(
                warnings.contains("variable is not set")
                    && output.stdout.contains("which is not set in")
                    || output.stdout.contains("which are not set in"),
                "{name}: {shown}\n{}",
                output.stdout
            ),
        }
    }
    true
}

fn variables_are_replaced_as_by_compose(t: &Context) {
    repository(t);
    let environment = "HOST=hub.example.net\nREPO=${HOST}/team\nTEXT=\"a ${HOST}\"\nRAW='${HOST}'\nLONG=\"one\ntwo\"\n\
        EMPTY=\nexport SPACED =  x y  # why\nHASH=a#b\nESCAPED=\"a\\nb\\tc\\$HOST\\\\d\\q\\0101\\\"x\\\"\"\n\
        SINGLE='it\\'s \\n'\nYAML: z\nDOLLARS=$$HOST-\\$HOST\nDEFAULT=${NO:-d}\nHOST2=$HOST$HOST\n";
    let values = [
        "${REPO}",
        "$TEXT",
        "${RAW}",
        "${LONG}",
        "${EMPTY}",
        "$SPACED",
        "$HASH",
        "$ESCAPED",
        "$SINGLE",
        "$YAML",
        "$DOLLARS",
        "$DEFAULT",
        "$HOST2",
        "${EMPTY:-x}",
        "${EMPTY-x}",
        "${NO:-x}",
        "${NO-x}",
        "${HOST:+x}",
        "${EMPTY:+x}",
        "${EMPTY+x}",
        "${NO+x}",
        "${HOST:?no}",
        "${EMPTY?no}",
        "${NO:-${HOST:-y}}",
        "${NO:-{x}}y",
        "$$HOST",
        "$ 5$ $5 5$",
        "${NO-a-b:?c}",
        "${HOST}${NO:-}${EMPTY}",
        "$HOST.x",
        "${NO:-$$x}",
        "${NO:-a:b}",
        "${NO}",
        "a ${NO} b",
    ];
    assert!(compare(t, environment, &values.map(str::to_owned), "fixed"));
    for invalid in [
        "${HOST",
        "${}",
        "${1}",
        "${HOST!x}",
        "${NO:?no}",
        "${EMPTY:?no}",
        "${NO?no}",
    ] {
        let values = [invalid.to_owned(), "$HOST".to_owned()];
        assert!(!compare(t, environment, &values, "invalid"), "{invalid}");
    }
    for invalid in [
        "A=\"x\n",
        "A b=x\n",
        "A!=x\n",
        "A=\"x\"y\"\n",
        "A=${\n",
        "A=${NO:?no}\n",
    ] {
        assert!(
            !compare(t, invalid, &["$A".to_owned()], "invalid"),
            "{invalid}"
        );
    }
}

fn any_environment_file_is_read_as_by_compose(t: &Context) {
    repository(t);
    let seed = Random::any_seed();
    let mut random = Random::new(seed);
    const PARTS: &[&str] = &[
        "a", "b c", " ", "#", " #x", "$A", "${B}", "${C:-d}", "${C-'e'}", "${A:+f}", "$$", "\\",
        "\\n", "\\t", "\\\\", "\\$A", "'", "\"", "=", ":", "\t", "é", "{", "}", "\\0101", "\\\"",
        "x\n", "-", "/", ".",
    ];
    let mut accepted = 0;
    for round in 0..80 {
        let mut environment = String::new();
        for name in ["A", "B", "C", "D"] {
            let count = random.below(5);
            let text: String = (0..count).map(|_| random.pick(PARTS)).collect();
            let start = random.pick(&["", "", "export ", " ", "# x\n"]);
            let assign = random.pick(&["=", "=", "=", " = ", ": "]);
            let (open, close) =
                random.pick(&[("", ""), ("'", "'"), ("\"", "\""), ("\"", "\" # why")]);
            environment.push_str(&format!("{start}{name}{assign}{open}{text}{close}\n"));
        }
        let values: Vec<String> = (0..4)
            .map(|_| {
                let count = random.below(4);
                let parts = (0..count).map(|_| random.pick(PARTS));
                let text: String = parts
                    .filter(|part| !part.contains(['\\', '\n', '\t']))
                    .collect();
                format!(
                    "{}{text}",
                    random.pick(&["$A", "${B}", "$C-$D", "${D:-x}", ""])
                )
            })
            .collect();
        let what = format!("seed {seed}, round {round}");
        accepted += u32::from(compare(t, &environment, &values, &what));
    }
    assert!(accepted > 10, "seed {seed}: {accepted}");
}

fn names_and_included_files_are_read_as_by_compose(t: &Context) {
    repository(t);
    t.write(".env", "COMPOSE_FILE=one.yaml:two.yaml\nX=outer\n");
    t.write("parts/.env", "X=inner\nY=y\n");
    t.write("parts/more.env", "Z=z$Y\n");
    t.write(
        "one.yaml",
        "name: my-shop\ninclude: [{path: parts/api.yaml, project_directory: ., env_file: [parts/.env, parts/more.env]}]\nservices: {}\n",
    );
    t.write(
        "parts/api.yaml",
        "services: {api: {build: {context: api, args: {X: $X, Y: $Y, Z: $Z, P: $COMPOSE_PROJECT_NAME}}}}\n",
    );
    t.write(
        "two.yaml",
        "services: {job: {image: busybox, environment: [X=$X]}}\n",
    );
    let (expected, _) = composed(t).expect("compose accepts it");
    let output = t.xp(["init", "--dry-run"]).success();
    assert_eq!(generated(&output.stdout), expected, "{}", output.stdout);
}

fn numbers_are_read_as_by_compose(t: &Context) {
    repository(t);
    let values = [
        "1.10",
        "1.0",
        "010",
        "08",
        "0x1F",
        "0b11",
        "0o17",
        "0o18",
        "1_000",
        "+5",
        "-3",
        "1e3",
        "1e21",
        "0.00001",
        ".5",
        "TRUE",
        "False",
        "yes",
        "on",
        "1.2.3",
        "12:30",
        "22",
        "'1.10'",
        "\"010\"",
        "${X:-1.10}",
        "123456789.5",
        "a1",
    ];
    let args = values.iter().enumerate();
    let args: String = args
        .map(|(index, value)| format!("        V{index}: {value}\n"))
        .collect();
    t.write(
        "compose.yaml",
        &format!("services:\n  api:\n    build:\n      context: api\n      args:\n{args}"),
    );
    let (expected, _) = composed(t).expect("compose accepts it");
    let output = t.xp(["init", "--dry-run"]).success();
    assert_eq!(generated(&output.stdout), expected, "{}", output.stdout);
}
