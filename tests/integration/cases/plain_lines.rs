//! Plain output, and how CI systems interpret it.

use serde_json::Value;

use crate::app::App;
use crate::case::Case;
use crate::context::Context;
use crate::output::Output;
use crate::services::Services;
use crate::xp::Xp;

pub const CASES: &[Case] = cases![
    github_gets_a_group_for_each_service,
    github_annotations_have_file_and_line,
    github_annotations_have_the_end_of_the_log,
    a_failed_instruction_is_located,
    a_failed_instruction_is_annotated_if_github_has_the_file,
    workflow_commands_in_script_output_are_disarmed,
    workflow_commands_in_failed_scripts_are_disarmed,
    an_invalid_manifest_is_annotated,
    gitlab_gets_sections,
    teamcity_gets_blocks,
    other_systems_get_plain_lines,
    prefixes_can_be_selected,
];

fn in_github(xp: Xp, t: &Context) -> Xp {
    xp.env("CI", "true")
        .env("GITHUB_ACTIONS", "true")
        .env("GITHUB_WORKSPACE", t.dir())
}

/// Two services that run concurrently, each until the other has printed a line.
fn two_at_once<'a>(t: &'a Context, names: &[&'a str; 2]) -> Services<'a> {
    let platform = Services::new(t, names);
    let shared = t.dir().join("shared");
    std::fs::create_dir_all(&shared).expect("a folder");
    let keys = |name: &str, other: &str| {
        format!(
            "dockerBuilder: {{ image: {}, network: none, mounts: ['{}:/shared'] }}\n    \
             scripts: {{ build: [ \"for i in 1 2 3 4 5 6 7 8 9; do echo {name} $i; touch /shared/{name}$i; \
             until [ -e /shared/{other}$i ]; do sleep 0.05; done; done\" ] }}",
            t.engine().busybox(),
            shared.display(),
        )
    };
    platform.manifest(&[
        (names[0], keys(names[0], names[1])),
        (names[1], keys(names[1], names[0])),
    ]);
    platform
}

/// Returns the groups by name with their lines, and the lines outside all groups.
fn github_groups(text: &str) -> (Vec<(String, Vec<String>)>, Vec<String>) {
    let (mut groups, mut outside) = (Vec::new(), Vec::new());
    let mut open: Option<(String, Vec<String>)> = None;
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("::group::") {
            assert!(open.is_none(), "groups do not nest: {text}");
            open = Some((name.to_owned(), Vec::new()));
        } else if line == "::endgroup::" {
            groups.push(open.take().expect("a group is open"));
        } else {
            match &mut open {
                Some((_, lines)) => lines.push(line.to_owned()),
                None => outside.push(line.to_owned()),
            }
        }
    }
    assert!(open.is_none(), "a group was left open: {text}");
    (groups, outside)
}

fn github_gets_a_group_for_each_service(t: &Context) {
    let names = ["front", "back"];
    two_at_once(t, &names);
    let output = in_github(t.xp(["build", "--jobs", "2"]), t).success();
    let (groups, outside) = github_groups(&output.stderr);
    assert_eq!(groups.len(), 2, "{output}");
    for name in names {
        let is_own = |line: &&String| line.starts_with(&format!("{name} | {name} "));
        let (_, lines) = groups
            .iter()
            .find(|(group, _)| group == name)
            .expect("a group of its name");
        // In the order in which they were printed, and nowhere else.
        let own: Vec<String> = (1..=9)
            .map(|number| format!("{name} | {name} {number}"))
            .collect();
        assert_eq!(
            lines.iter().filter(is_own).cloned().collect::<Vec<_>>(),
            own,
            "{output}"
        );
        let all = groups.iter().flat_map(|(_, lines)| lines).chain(&outside);
        assert_eq!(all.filter(is_own).count(), 9, "{output}");
        let end = format!("{name} | done in ");
        let ends = outside.iter().filter(|line| line.starts_with(&end));
        assert_eq!(ends.count(), 1, "{output}");
    }
    // The first group says when the other service starts.
    let second = &groups[1].0;
    assert!(
        groups[0].1.contains(&format!("{second} | started")),
        "{output}"
    );
}

fn github_annotations_have_file_and_line(t: &Context) {
    let app = App::with_scripts(t, "", &["echo 100% of it; exit 3"]);
    let output = in_github(app.build(), t).failure(1);
    let line = t
        .read("x-platform.yml")
        .lines()
        .position(|line| line.contains("100% of it"))
        .expect("a line");
    let annotation = format!(
        "\n::error file=x-platform.yml,line={},title=app%3A build failed::\
         `echo 100%25 of it; exit 3` exited with 3 ",
        line + 1
    );
    let output = output.stderr_contains(&annotation);
    let (groups, outside) = github_groups(&output.stderr);
    assert_eq!(groups.len(), 1, "{output}");
    // The last lines of its log are visible without expanding anything.
    assert!(outside.contains(&"    100% of it".to_owned()), "{output}");
    // `-q` omits only the groups.
    let quiet = in_github(app.build().arg("-q"), t).failure(1);
    let quiet = quiet.stderr_contains(annotation.trim_start());
    assert!(!quiet.stderr.contains("::group::"), "{quiet}");
}

/// Returns the annotation, which is one line.
fn annotation(output: &Output) -> String {
    let mut lines = output.stderr.lines();
    let found = lines.find(|line| line.starts_with("::error "));
    found.unwrap_or_else(|| panic!("{output}")).to_owned()
}

fn github_annotations_have_the_end_of_the_log(t: &Context) {
    let script = "printf 'one\\n::error::50%% of two\\n'; exit 3";
    let app = App::with_scripts(t, "", &[script]);
    let output = in_github(app.build(), t).failure(1);
    let command = format!(
        "xp build --no-push --reference app={} app",
        app.repository.head()
    );
    let end = format!(
        "%0Ahint: on your machine, `{command}` repeats it; then, `xp shell --failed app` opens a shell in its container\
         %0A%0AThe end of its log:%0A$ printf 'one\\n::error::50%25%25 of two\\n'; exit 3%0Aone%0A: :error::50%25 of two"
    );
    let annotation = annotation(&output);
    assert!(annotation.ends_with(&end), "{annotation}\n{end}");
    // The command of the hint repeats the failure, on the developer's machine.
    let script = command.strip_prefix("xp ").expect("an xp command");
    let words: Vec<&str> = script.split(' ').collect();
    let words: [&str; 5] = words.try_into().expect("its words");
    let again = t.xp(words).failure(1);
    again
        .stderr_contains("\nhint: `xp shell --failed app` opens a shell in its container\n")
        .does_not_contain("on your machine");
}

/// Changes the Dockerfile of the service.
fn set_dockerfile(app: &App<'_>, t: &Context, rest: &str) {
    let dockerfile = format!("FROM {}\n{rest}", t.engine().busybox());
    app.repository
        .commit(&[("docker/Dockerfile", &dockerfile)], "Change");
}

fn a_failed_instruction_is_located(t: &Context) {
    let app = App::new(t, &[], "");
    let image = app.image();
    app.set_keys(&format!(
        "docker: {{ image: {image}, file: docker/Dockerfile }}"
    ));
    for (rest, line) in [
        ("ENV A=1\n\nRUN echo one && \\\n    false\nRUN true\n", 4),
        ("RUN true\nCOPY missing /\n", 3),
        ("RUN true\nBOGUS x\n", 3),
    ] {
        set_dockerfile(&app, t, rest);
        // Podman has only one builder.
        for buildkit in ["1", "0"] {
            let build = app.build().args(["--format", "json"]);
            let output = build.env("DOCKER_BUILDKIT", buildkit).failure(1);
            let lines = output.stdout.lines();
            let lines = lines.map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
            let mut failures = lines.filter_map(|line| line.get("failure").cloned());
            let failure = failures.next().expect("a failure");
            let found = &failure["dockerfile"];
            assert_eq!(
                found["file"], "docker/Dockerfile",
                "{rest} {buildkit} {failure}"
            );
            assert_eq!(found["line"], line, "{rest} {buildkit} {failure}");
            assert_eq!(found["repository"], app.repository.url_file(), "{failure}");
            output.stderr_contains(&format!("\n  docker/Dockerfile:{line}\n"));
        }
    }
}

fn a_failed_instruction_is_annotated_if_github_has_the_file(t: &Context) {
    let app = App::new(t, &[], "");
    let (image, url) = (app.image(), app.repository.url_http());
    let own = format!(
        "services:\n  app:\n    dir: src/app\n    git: {{ remote: '{url}' }}\n    \
         docker: {{ image: {image}, file: docker/Dockerfile }}\n"
    );
    t.manifest(&own);
    set_dockerfile(&app, t, "RUN false\n");
    let (server, name) = url
        .split_once("//")
        .and_then(|(scheme, rest)| {
            let (host, path) = rest.split_once('/')?;
            Some((
                format!("{scheme}//{host}"),
                path.trim_end_matches(".git").to_owned(),
            ))
        })
        .expect("a URL");
    let build = |repository: &str| {
        let build = in_github(app.build(), t).env("GITHUB_SERVER_URL", &server);
        annotation(&build.env("GITHUB_REPOSITORY", repository).failure(1))
    };
    let text = build(&name);
    let place = "::error file=docker/Dockerfile,line=2,title=app%3A image failed::";
    assert!(text.starts_with(place), "{text}");
    let text = build("x/platform");
    assert!(
        text.starts_with("::error title=app%3A image failed::"),
        "{text}"
    );
    assert!(
        text.contains(&format!("%0Adocker/Dockerfile:2 of {url}%0A")),
        "{text}"
    );

    // A builder is part of the platform.
    let builder = t.builder(
        "go",
        &format!("FROM {}\nRUN true\nRUN false\n", t.engine().busybox()),
        &[],
    );
    t.manifest(&format!(
        "{own}    dockerBuilder: {{image: {builder}}}\n    scripts: {{build: ['true']}}\n"
    ));
    let text = build("x/platform");
    let place =
        format!("::error file={builder}/Dockerfile,line=3,title={builder}%3A image failed::");
    assert!(text.starts_with(&place), "{text}");
}

fn workflow_commands_in_script_output_are_disarmed(t: &Context) {
    let script = "echo '::endgroup::'; echo ' ::error::mine'; echo 'x ##[add-mask]y'; exit 3";
    let app = App::with_scripts(t, "", &[script]);
    let output = in_github(app.build().args(["--log-prefix", "none"]), t).failure(1);
    let (groups, _) = github_groups(&output.stderr);
    assert_eq!(groups.len(), 1, "{output}");
    for line in [": :endgroup::", " : :error::mine", "x ## [add-mask]y"] {
        assert!(groups[0].1.contains(&line.to_owned()), "{output}");
    }
    let commands = output.stderr.lines().map(str::trim_start);
    let commands = commands.filter(|line| line.starts_with("::"));
    let mut names: Vec<&str> = commands
        .filter_map(|line| line[2..].split([':', ' ']).next())
        .collect();
    names.sort_unstable();
    assert_eq!(names, ["endgroup", "error", "group"], "{output}");
    let titles: Vec<&str> = output
        .stderr
        .lines()
        .filter(|line| line.contains("##[") && !line.contains("`"))
        .collect();
    assert!(titles.is_empty(), "{output}");
    // The log has the original output.
    let log = String::from_utf8(app.log(1, "build")).expect("text");
    assert!(
        log.contains("\n::endgroup::\n ::error::mine\nx ##[add-mask]y\n"),
        "{log}"
    );
}

fn workflow_commands_in_failed_scripts_are_disarmed(t: &Context) {
    let script = "cat > /dev/null <<E\n::notice::of a text\n##[add-mask]x\nE\nexit 3";
    let app = App::with_scripts(t, "", &[script]);
    let output = in_github(app.build().arg("-v"), t).failure(1);
    let output = output.stderr_contains("debug with:\n    docker run ");
    let is_command =
        |line: &&str| line.trim_start().starts_with("::notice") || line.contains("##[");
    let commands: Vec<&str> = output.stderr.lines().filter(is_command).collect();
    assert!(commands.is_empty(), "{output}");
    // Elsewhere it is unchanged, so that it can be copied.
    let output = app.build().arg("-v").failure(1);
    output.stderr_contains("\n::notice::of a text\n##[add-mask]x\nE\nexit 3'");
}

fn an_invalid_manifest_is_annotated(t: &Context) {
    t.manifest("services:\n  app:\n    dir: app\n    gti: {}\n");
    in_github(t.xp(["plan"]), t)
        .failure(2)
        .stderr_contains("error: unknown key `gti`")
        .stderr_contains("\n::error file=x-platform.yml,line=4,title=xp::unknown key `gti`");
}

fn gitlab_gets_sections(t: &Context) {
    let names = ["front", "back"];
    two_at_once(t, &names);
    let output = t
        .xp(["build", "--jobs", "2"])
        .env("CI", "true")
        .env("GITLAB_CI", "true")
        .success();
    let mut open = None;
    let mut seen = Vec::new();
    for line in output.stderr.lines() {
        let (mark, rest) = line.split_once("\r\u{1b}[0K").unwrap_or((line, ""));
        if let Some(start) = mark.strip_prefix("section_start:") {
            assert_eq!(open, None, "{output}");
            let (time, name) = start.split_once(':').expect("a time");
            let name = name.strip_suffix("[collapsed=true]").expect("it is folded");
            let time: u64 = time.parse().expect("a time");
            assert!(time > 1_700_000_000, "{output}");
            assert_eq!(name, format!("xp_{rest}"));
            open = Some(name.to_owned());
            seen.push(rest.to_owned());
        } else if let Some(end) = mark.strip_prefix("section_end:") {
            let name = end.split_once(':').map(|(_, name)| name.to_owned());
            assert_eq!(open, name, "{output}");
            open = None;
        }
    }
    assert_eq!(open, None, "{output}");
    seen.sort();
    assert_eq!(seen, ["back", "front"], "{output}");
}

fn teamcity_gets_blocks(t: &Context) {
    let app = App::with_scripts(
        t,
        "",
        &["echo \"##teamcity[blockClosed name='app']\"; exit 3"],
    );
    let output = app.build().env("TEAMCITY_VERSION", "2025.03").failure(1);
    let messages: Vec<&str> = output
        .stderr
        .lines()
        .filter(|line| line.contains("##teamcity["))
        .collect();
    assert_eq!(
        messages[..2],
        [
            "##teamcity[blockOpened name='app']",
            "##teamcity[blockClosed name='app']"
        ],
        "{output}"
    );
    assert!(
        messages[2].starts_with("##teamcity[buildProblem description='"),
        "{output}"
    );
    assert!(
        messages[2].contains("|n|nThe end of its log:|n$ echo "),
        "{output}"
    );
    let log = "|n## teamcity|[blockClosed name=|'app|'|]']";
    assert!(messages[2].ends_with(log), "{output}");
    let status = "##teamcity[buildStatus text='{build.status.text}; 1 failed in ";
    assert!(messages[3].starts_with(status), "{output}");
    assert_eq!(messages.len(), 4, "{output}");

    app.set_scripts("", &["true"]);
    let output = app.build().env("TEAMCITY_VERSION", "2025.03").success();
    output.stderr_contains("\n##teamcity[buildStatus text='{build.status.text}; 1 built in ");
    let status = t
        .xp(["status"])
        .env("TEAMCITY_VERSION", "2025.03")
        .success();
    status.does_not_contain("buildStatus");
}

fn other_systems_get_plain_lines(t: &Context) {
    let app = App::with_scripts(t, "", &["echo one; echo; printf two"]);
    let output = app
        .build()
        .env("CI", "true")
        .env("JENKINS_URL", "https://ci.example.com")
        .success();
    assert!(!output.stderr.contains("::"), "{output}");
    let lines: Vec<&str> = output.stderr.lines().collect();
    let at = lines
        .iter()
        .position(|line| *line == "app | one")
        .expect("a line");
    assert_eq!(
        lines[at..at + 3],
        ["app | one", "app |", "app | two"],
        "{output}"
    );
    assert!(!output.stderr.contains('\u{1b}'), "{output}");
}

fn prefixes_can_be_selected(t: &Context) {
    let app = App::with_scripts(t, "", &["echo one"]);
    let is_time = |word: &str| {
        let shape: String = word
            .chars()
            .map(|c| if c.is_ascii_digit() { '0' } else { c })
            .collect();
        shape == "0000-00-00T00:00:00.000Z"
    };
    for arguments in [["--force", "-v"], ["--force", "--log-prefix=time"]] {
        let output = app.build().args(arguments).success();
        let mut own = output
            .stderr
            .lines()
            .filter(|line| line.ends_with(" app | one"));
        let time = own.next().and_then(|line| line.split(' ').next());
        assert!(time.is_some_and(is_time), "{output}");
        let all = output
            .stderr
            .lines()
            .all(|line| line.split(' ').next().is_some_and(is_time));
        assert!(all, "{output}");
    }
    for arguments in [
        ["--force", "--log-prefix=none", "-v"],
        ["--force", "--log-prefix=none", "--color=never"],
    ] {
        let output = app.build().args(arguments).success();
        let lines: Vec<&str> = output.stderr.lines().collect();
        assert!(lines.contains(&"one"), "{output}");
        assert!(
            lines.iter().any(|line| line.starts_with("app | done in ")),
            "{output}"
        );
    }
    t.xp(["plan", "--log-prefix", "never"])
        .failure(2)
        .stderr_contains("hint: possible values: `service`, `time`, `none`");
}
