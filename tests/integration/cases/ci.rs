//! The pages about CI: their files are checked against the schemas of the CI systems, their shell lines by
//! shellcheck, their `xp` lines by xp itself; the matrices are run.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::docs;
use crate::case::Case;
use crate::context::Context;
use crate::language_server::{LanguageServer, tool};
use crate::output::Output;
use crate::process;

pub const CASES: &[Case] = cases![
    pipeline_files_match_the_schemas,
    xp_command_lines_are_valid,
    shell_lines_pass_shellcheck,
    a_matrix_builds_the_planned_services,
    a_pipeline_is_generated_from_the_plan,
    the_documented_cache_is_sufficient,
    successful_and_failed_runs_are_reported,
    a_metadata_file_becomes_variables_and_a_description,
];

/// A code block of a page.
struct Block {
    page: &'static str,
    language: String,
    text: String,
}

const PAGES: &[&str] = &[
    "ci.md",
    "ci-github.md",
    "ci-gitlab.md",
    "ci-jenkins.md",
    "ci-teamcity.md",
    "ci-docker.md",
];

fn blocks() -> Vec<Block> {
    let mut blocks = Vec::new();
    for page in PAGES {
        let text = fs::read_to_string(root().join("docs").join(page)).expect("a page");
        for (number, part) in text.split("```").enumerate() {
            if let (1, Some((language, text))) = (number % 2, part.split_once('\n')) {
                let (language, text) = (language.to_owned(), text.to_owned());
                blocks.push(Block {
                    page,
                    language,
                    text,
                });
            }
        }
    }
    blocks
}

/// Returns a page's blocks in a language; there must be at least one.
fn blocks_of(page: &str, language: &str) -> Vec<String> {
    let blocks = blocks().into_iter();
    let blocks = blocks.filter(|block| block.page == page && block.language == language);
    let texts: Vec<String> = blocks.map(|block| block.text).collect();
    assert!(!texts.is_empty(), "{page} has no {language}");
    texts
}

fn yaml(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Checks a file against the schema of a CI system.
fn problems(
    server: &mut LanguageServer,
    t: &Context,
    schema: &str,
    name: &str,
    text: &str,
) -> Vec<Value> {
    let schema = tool(&format!(
        "python/check_jsonschema/builtin_schemas/vendor/{schema}.json"
    ));
    let line = format!(
        "# yaml-language-server: $schema=file://{}\n",
        schema.display()
    );
    server.open(&t.dir().join(name), &format!("{line}{text}"))
}

fn pipeline_files_match_the_schemas(t: &Context) {
    let mut server = LanguageServer::start(&t.dir());
    for (page, schema, right, wrong) in [
        ("ci-github.md", "github-workflows", "runs-on:", "runs_on:"),
        ("ci-gitlab.md", "gitlab-ci", "stage:", "stag:"),
    ] {
        for (number, text) in blocks_of(page, "yaml").iter().enumerate() {
            let found = problems(
                &mut server,
                t,
                schema,
                &format!("{schema}-{number}.yml"),
                text,
            );
            assert!(found.is_empty(), "{page}: {found:#?}\n{text}");
            // If the schema were not found, this would not be reported either.
            let text = text.replace(right, wrong).replace("script:", "scripts:");
            let name = format!("{schema}-{number}-wrong.yml");
            let found = problems(&mut server, t, schema, &name, &text);
            assert!(!found.is_empty(), "{page}: {text}");
        }
    }
    // On the page about containers, each block is for another system.
    let blocks = blocks_of("ci-docker.md", "yaml");
    for (schema, text) in ["gitlab-ci", "github-workflows"].iter().zip(blocks) {
        let found = problems(
            &mut server,
            t,
            schema,
            &format!("{schema}-docker.yml"),
            &text,
        );
        assert!(found.is_empty(), "ci-docker.md: {found:#?}\n{text}");
    }
}

/// Returns the xp commands in a text, without pipes and redirections.
fn xp_lines(text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    for (at, _) in text.match_indices("xp ") {
        let before = text[..at].trim_end_matches(' ');
        let begins =
            before.is_empty() || before.ends_with(['\n', '\'', '"', '|', '&', ';', '(', '$']);
        // In a YAML list, or after a key.
        let begins =
            begins || before.ends_with("\n-") || before.ends_with(" -") || before.ends_with("run:");
        let command = &text[at..];
        let words = ["plan", "build", "lock", "sync", "status", "report", "logs"];
        let is_command = words.iter().any(|word| command[3..].starts_with(word));
        if begins && is_command {
            let end = command
                .find(['\n', '>', '|', '&', ';', '\'', ')'])
                .unwrap_or(command.len());
            lines.push(command[..end].trim().to_owned());
        }
    }
    lines
}

fn xp_command_lines_are_valid(_: &Context) {
    for page in PAGES {
        let mut count = 0;
        for block in blocks().iter().filter(|block| block.page == *page) {
            for line in xp_lines(&block.text) {
                // Variables are expanded before.
                let words = line.split_whitespace().map(|word| {
                    let word = word
                        .trim_matches(['"', ',', ']', '}'])
                        .replace("\\(.name)", "x");
                    let name = word
                        .find(['$', '%'])
                        .map_or(word.clone(), |at| format!("{}42", &word[..at]));
                    OsString::from(name)
                });
                if let Err(error) = xp::testing::check_command_line(words) {
                    panic!("{page}: {line}\n{error}");
                }
                count += 1;
            }
        }
        let least = if *page == "ci-teamcity.md" { 1 } else { 2 };
        assert!(count >= least, "{page} has {count} lines that call xp");
    }
}

/// Returns the scripts of a workflow or a pipeline.
fn scripts(value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                match (key.as_str(), value) {
                    ("run", Value::String(text)) => found.push(text.clone()),
                    ("script" | "before_script" | "after_script", Value::Array(lines)) => {
                        let lines: Vec<&str> = lines.iter().filter_map(Value::as_str).collect();
                        found.push(lines.join("\n"));
                    }
                    (_, value) => found.extend(scripts(value)),
                }
            }
        }
        Value::Array(values) => found.extend(values.iter().flat_map(scripts)),
        _ => {}
    }
    found
}

/// Returns the texts in single quotes after a word, as in Jenkins commands.
fn quoted_after(text: &str, word: &str) -> Vec<String> {
    let parts = text.split(word).skip(1);
    let scripts = parts.filter_map(|rest| rest.strip_prefix('\'')?.split('\'').next());
    scripts.map(str::to_owned).collect()
}

fn shell_lines_pass_shellcheck(t: &Context) {
    let mut all = Vec::new();
    for block in blocks() {
        all.extend(match block.language.as_str() {
            "yaml" => scripts(&yaml(&block.text)),
            "sh" => vec![block.text.clone()],
            "groovy" => [
                quoted_after(&block.text, "sh "),
                quoted_after(&block.text, "script: "),
            ]
            .concat(),
            _ => Vec::new(),
        });
    }
    assert!(all.len() > 20, "{}", all.len());
    for (number, script) in all.iter().enumerate() {
        let path = format!("{number}.sh");
        t.write(&path, script);
        let shellcheck = t.program("shellcheck", ["--shell", "sh", "--severity", "info", &path]);
        let output = shellcheck.run();
        assert!(output.status.success(), "{script}\n{output}");
    }
}

/// The platform of the pages, plus a service without dependencies or dependents, and the files that the pages
/// describe.
fn platform(t: &Context) {
    docs::platform(t);
    let manifest = t.read("x-platform.yml");
    let (before, frontend) = manifest.split_once("  zfrontend:\n").expect("the service");
    let other = frontend.replace("zfrontend}\n    scripts", "zother}\n    scripts");
    let other = other
        .replace("src/zfrontend", "src/zother")
        .replace("{image: zfrontend}", "{image: zother}");
    t.manifest(&format!(
        "{before}  zfrontend:\n{frontend}  zother:\n{other}"
    ));
    t.write("ci/jobs.yml", &blocks_of("ci-gitlab.md", "yaml")[2]);
    t.write("ci/install-xp", "#!/bin/sh\n");
}

/// Runs a job's script as its runner does, in a new folder with the platform's own files.
fn job(t: &Context, name: &str, script: &str, variables: &[(&str, &str)]) -> Output {
    let folder = t.dir().join(name);
    if !folder.exists() {
        fs::create_dir(&folder).expect("a folder");
        for entry in ["x-platform.yml", "ci", "builders"] {
            let (from, to) = (t.dir().join(entry), folder.join(entry));
            process::succeed(
                process::in_clean_environment("cp")
                    .arg("-R")
                    .arg(from)
                    .arg(to),
            );
        }
    }
    let program = Path::new(env!("CARGO_BIN_EXE_xp"));
    let path = format!(
        "{}:/usr/bin:/bin",
        program.parent().expect("a folder").display()
    );
    let mut shell = t.program("sh", ["-e", "-c", script]).dir(folder);
    for (name, value) in variables {
        shell = shell.env(name, value);
    }
    shell.env("PATH", path).success()
}

fn a_matrix_builds_the_planned_services(t: &Context) {
    platform(t);
    let workflow = yaml(&blocks_of("ci-github.md", "yaml")[1]);
    let script_of = |job: &str| {
        let scripts = scripts(&workflow["jobs"][job]);
        let last = scripts.last().expect("a step that runs something");
        last.clone()
    };
    let outputs = t.dir().join("outputs");
    let plan = |name: &str| {
        fs::write(&outputs, "").expect("a file");
        job(
            t,
            name,
            &script_of("plan"),
            &[("GITHUB_OUTPUT", outputs.to_str().expect("UTF-8"))],
        );
        let text = fs::read_to_string(&outputs).expect("the outputs");
        let matrix = text.trim().strip_prefix("matrix=").expect("the output");
        assert_eq!(matrix.lines().count(), 1);
        matrix.to_owned()
    };
    // Needed services come first.
    let matrix = plan("plan");
    let matrix: Value = serde_json::from_str(&matrix).expect("JSON");
    let entries = matrix["include"].as_array().expect("a list").iter();
    let mut built = Vec::new();
    for (number, entry) in entries.enumerate() {
        let services = entry["services"].as_str().expect("names");
        assert!(
            entry["shard"].as_str().is_some_and(|it| it.ends_with("/4")),
            "{entry}"
        );
        let name = format!("build-{number}");
        let output = job(t, &name, &script_of("build"), &[("SERVICES", services)]);
        for service in services.split(',') {
            assert!(output.row(service).contains("built"), "{output}");
            built.push(service.to_owned());
        }
    }
    assert!(
        built.iter().position(|it| it == "zfrontend")
            < built.iter().position(|it| it == "zbackend")
    );
    built.sort();
    assert_eq!(built, ["zbackend", "zfrontend", "zother"]);
    // The condition of the job.
    let empty = plan("plan-again");
    let condition = workflow["jobs"]["build"]["if"]
        .as_str()
        .expect("a condition");
    assert_eq!(condition, format!("needs.plan.outputs.matrix != '{empty}'"));
    let finish = job(
        t,
        "finish",
        &script_of("finish"),
        &[("GITHUB_RUN_NUMBER", "7")],
    );
    assert!(!finish.stdout.contains("built "), "{finish}");
    let tags = t.registry().tags(&t.image("zother"));
    assert!(tags.iter().any(|tag| tag == "build-7"), "{tags:?}");
}

fn a_pipeline_is_generated_from_the_plan(t: &Context) {
    platform(t);
    let parent = yaml(&blocks_of("ci-gitlab.md", "yaml")[1]);
    let plan = parent["plan"]["script"].as_array().expect("lines");
    let plan: Vec<&str> = plan.iter().filter_map(Value::as_str).collect();
    let make = |name: &str| {
        job(t, name, &plan.join("\n"), &[]);
        let text = t.read(&format!("{name}/pipeline.yml"));
        (yaml(&text), text)
    };
    let (pipeline, text) = make("plan");
    let mut server = LanguageServer::start(&t.dir());
    let found = problems(&mut server, t, "gitlab-ci", "child.yml", &text);
    assert!(found.is_empty(), "{found:#?}\n{text}");
    let jobs = |pipeline: &Value| -> Vec<(String, String)> {
        let entries = pipeline.as_object().expect("a mapping").iter();
        let jobs = entries.filter(|(name, _)| !["stages", "default"].contains(&name.as_str()));
        let script = |job: &Value| job["script"][0].as_str().expect("a line").to_owned();
        jobs.map(|(name, job)| (name.clone(), script(job)))
            .collect()
    };
    // Each job builds its own services.
    let mut built = 0;
    for (number, script) in ["zfrontend", "zbackend", "zother"].into_iter().enumerate() {
        let all = jobs(&pipeline);
        let (name, line) = all
            .iter()
            .find(|(_, line)| line.contains(script))
            .expect("a job of the service");
        assert!(name.starts_with("xp ") && name.ends_with("/4"), "{name}");
        let output = job(
            t,
            &format!("part-{number}"),
            line,
            &[("XP_BUILD_OPTIONS", "--no-pull")],
        );
        let rows = output
            .stdout
            .lines()
            .filter(|row| row.contains("  built  "));
        built += rows.filter(|row| !row.starts_with("builders/")).count();
    }
    assert_eq!(built, 3);
    let (pipeline, text) = make("plan-again");
    assert_eq!(
        jobs(&pipeline),
        [("xp".to_owned(), "echo 'Nothing to do'".to_owned())]
    );
    let found = problems(&mut server, t, "gitlab-ci", "empty.yml", &text);
    assert!(found.is_empty(), "{found:#?}\n{text}");
}

fn the_documented_cache_is_sufficient(t: &Context) {
    platform(t);
    let workflow = yaml(&blocks_of("ci-github.md", "yaml")[0]);
    let steps = workflow["jobs"]["build"]["steps"]
        .as_array()
        .expect("steps");
    let cache = steps.iter().find_map(|step| {
        step["with"]["path"]
            .as_str()
            .filter(|path| path.contains("labels"))
    });
    let github: Vec<&str> = cache.expect("the cache").lines().collect();
    let pipeline = yaml(&blocks_of("ci-gitlab.md", "yaml")[0]);
    let gitlab = pipeline["build"]["cache"]["paths"]
        .as_array()
        .expect("paths");
    let gitlab: Vec<&str> = gitlab
        .iter()
        .filter_map(|path| Some(path.as_str()?.trim_end_matches('/')))
        .collect();
    assert_eq!(github, gitlab);

    job(t, "first", "xp build", &[]);
    job(t, "second", "true", &[]);
    let (first, second) = (t.dir().join("first"), t.dir().join("second"));
    fs::create_dir(second.join(".xp")).expect("a folder");
    for path in github.iter().filter(|path| first.join(path).exists()) {
        let mut copy = process::in_clean_environment("cp");
        process::succeed(copy.arg("-R").arg(first.join(path)).arg(second.join(path)));
    }
    let skipped = job(t, "second", "xp build --no-pull", &[]);
    assert!(skipped.row("zbackend").contains("skipped"), "{skipped}");
    let built = job(t, "second", "xp build --force zbackend", &[]);
    assert!(built.row("zbackend").contains("built"), "{built}");
    // Newer engines warn about an argument without a default in the sample's Dockerfile.
    let mut warnings = built.stderr.lines().filter(|line| line.contains("warning"));
    assert!(
        warnings.all(|line| line.contains("InvalidDefaultArgInFrom")),
        "{built}"
    );
}

fn successful_and_failed_runs_are_reported(t: &Context) {
    platform(t);
    let workflow = yaml(&blocks_of("ci-github.md", "yaml")[0]);
    let scripts = scripts(&workflow["jobs"]["build"]);
    let [.., build, report] = scripts.as_slice() else {
        panic!("{scripts:?}");
    };
    let manifest = t.read("x-platform.yml");
    for (name, script, failures) in [("failed", "./gone.sh", true), ("done", "./build.sh", false)] {
        t.manifest(&manifest.replace("./build.sh", script));
        let build = format!("{{ {build}; }} && echo well || echo badly");
        let built = job(t, name, &build, &[("GITHUB_RUN_NUMBER", "7")]);
        assert_eq!(built.stdout.contains("badly"), failures, "{built}");
        job(t, name, report, &[]);
        let junit = t.read(&format!("{name}/junit.xml"));
        assert_eq!(junit.contains("<failure"), failures, "{junit}");
        assert!(t.read(&format!("{name}/report.html")).contains("zbackend"));
    }
    // The other pages use the same two commands. The page about containers only describes the differences.
    for page in PAGES[1..].iter().filter(|page| **page != "ci-docker.md") {
        let text: String = blocks()
            .iter()
            .filter(|block| block.page == *page)
            .map(|block| block.text.clone())
            .collect();
        for line in report.lines() {
            assert!(text.contains(line), "{page}: {line}");
        }
    }
}

fn a_metadata_file_becomes_variables_and_a_description(t: &Context) {
    platform(t);
    t.write("ci/dotenv.jq", &blocks_of("ci-gitlab.md", "jq")[0]);
    t.write("ci/result.jq", &blocks_of("ci-jenkins.md", "jq")[0]);
    let build = "xp build --no-pull zother && xp build --no-pull --metadata-file images.json";
    job(t, "build", build, &[]);
    let jq = |options: &str| {
        let script = format!("jq --raw-output {options} images.json");
        job(t, "build", &script, &[]).stdout
    };
    let variables = jq("--from-file ci/dotenv.jq");
    let repository = format!("{}/{}", t.registry().host(), t.image("zbackend"));
    let prefix = format!("IMAGE_ZBACKEND={repository}:");
    let line = variables.lines().find(|line| line.starts_with(&prefix));
    assert!(
        line.is_some_and(|line| line.contains("@sha256:")),
        "{variables}"
    );
    assert_eq!(variables.lines().count(), 3, "{variables}");
    assert_eq!(jq("--from-file ci/result.jq"), "2 built, 1 skipped\n");
    // The expression on the first page.
    let page = blocks_of("ci.md", "sh");
    let line = page.iter().find(|text| text.contains("images.json"));
    let images = job(t, "build", line.expect("the line"), &[]).stdout;
    assert!(
        images.contains(&format!("zbackend={repository}:")),
        "{images}"
    );
}
