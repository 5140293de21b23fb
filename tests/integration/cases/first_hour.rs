//! Follows `docs/first-hour.md`: runs its commands in order, on the project that `examples/shop/create` creates, and
//! compares their output with the page.
//!
//! In a console block, a line that starts with `$ ` is a command, unless the previous command printed it;
//! `# exits with N` at its end is the expected exit code. A line that starts with the builder shell's prompt,
//! `web:/workspace$ `, is input of the command. Everything else is output: `…` stands for any number of lines, or for
//! the rest of a line. Other blocks show files of the project.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::case::Case;
use crate::context::Context;
use crate::language_server::tool;
use crate::platform::Service;
use crate::process;
use crate::repository::write_file;
use crate::services::Services;

pub const CASES: &[Case] = cases![
    the_tutorial_matches_its_page,
    edits_that_are_not_built_are_reported,
    the_only_failed_service_is_the_default,
];

/// The page.
pub(super) const PAGE: &str = "first-hour.md";

/// The files of the project that the page shows, by the language of their block.
const SHOWN: [(&str, &str); 3] = [
    ("yaml", "compose.yaml"),
    ("dockerfile", "web/Dockerfile"),
    ("make", "web/Makefile"),
];

/// The prompt of a shell in the builder.
const PROMPT: &str = "web:/workspace$ ";

fn the_tutorial_matches_its_page(t: &Context) {
    let page = fs::read_to_string(root().join("docs").join(PAGE)).expect("the page");
    for (language, file) in SHOWN {
        let text = fs::read_to_string(root().join("examples/shop").join(file)).expect("a file");
        assert_eq!(blocks(&page, language), [text], "{file}");
    }
    let commands = commands(&page);
    assert!(commands.len() > 25, "{} commands", commands.len());
    let mut walk = Walk::new(t);
    for command in &commands {
        walk.take(command);
    }
    // The builder has the same name in every engine, so it is removed.
    for image in t.engine().images_with_prefix("builders/web") {
        if walk.before.contains(&image) {
            continue;
        }
        t.engine().remove_image(&image);
    }
}

/// A command on the page.
#[derive(Debug)]
struct Step {
    command: String,
    exit: i32,
    input: String,
    printed: Vec<String>,
}

/// Returns the commands of the page's console blocks.
fn commands(page: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for block in blocks(page, "console") {
        for line in block.lines() {
            let command = line.strip_prefix("$ ");
            if let Some(typed) = line.strip_prefix(PROMPT) {
                let step = steps.last_mut().expect("a shell was opened");
                step.input.push_str(&format!("{typed}\n"));
            } else if let Some(command) = command.filter(|command| !is_log_line(command)) {
                let (command, exit) = match command.split_once("# exits with ") {
                    Some((command, code)) => (command.trim(), code.parse().expect("a code")),
                    None => (command, 0),
                };
                steps.push(Step {
                    command: command.to_owned(),
                    exit,
                    input: String::new(),
                    printed: Vec::new(),
                });
            } else {
                let step = steps.last_mut().expect("a command printed it");
                step.printed.push(line.to_owned());
            }
        }
    }
    steps
}

/// Returns whether a line is the first one of a log, which starts like a command.
fn is_log_line(command: &str) -> bool {
    command == "make test"
}

/// Returns the blocks in a language.
fn blocks<'p>(page: &'p str, language: &str) -> Vec<&'p str> {
    let start = format!("```{language}\n");
    let blocks = page.split(&start[..]).skip(1);
    blocks
        .map(|rest| rest.split("```").next().expect("the block's end"))
        .collect()
}

/// The project, and the text that differs between the page and this machine.
struct Walk<'a> {
    t: &'a Context,
    /// The current folder.
    folder: PathBuf,
    /// The text on the page, and what replaces it.
    words: Vec<(&'static str, String)>,
    /// Builder images that existed before.
    before: BTreeSet<String>,
}

impl<'a> Walk<'a> {
    fn new(t: &'a Context) -> Self {
        let words = vec![
            ("busybox:1", t.engine().busybox().to_owned()),
            ("alpine:3", toolchain(t)),
            ("acme/", format!("{}/", t.prefix())),
            ("/home/ann", t.home().display().to_string()),
        ];
        let before = t.engine().images_with_prefix("builders/web");
        let folder = t.folder().join("sources");
        let walk = Self {
            t,
            folder,
            words,
            before: before.into_iter().collect(),
        };
        for (path, text) in example() {
            let copy = walk.folder.join(&path);
            write_file(&copy, &walk.localized(&text));
            let mode = fs::metadata(root().join(path)).expect("a file");
            fs::set_permissions(copy, mode.permissions()).expect("the mode");
        }
        walk
    }

    /// Replaces the page's text with that of this machine.
    fn localized(&self, text: &str) -> String {
        let words = self.words.iter();
        words.fold(text.to_owned(), |text, (page, localized)| {
            text.replace(page, localized)
        })
    }

    /// Runs a command, and compares its output.
    #[track_caller]
    fn take(&mut self, step: &Step) {
        if let Some(folder) = step.command.strip_prefix("cd ~/") {
            self.folder = self.t.home().join(folder);
            return;
        }
        let command = self.localized(&step.command);
        let program = Path::new(env!("CARGO_BIN_EXE_xp"));
        let program = program.parent().expect("a folder").display();
        let compose = tool("docker-compose");
        let compose = compose.parent().expect("a folder").display();
        // A single stream keeps the order; bash, because completions use it.
        let script = format!("exec 2>&1\n{command}");
        let output = self
            .t
            .program("bash", ["-c", &script])
            .dir(&self.folder)
            .env(
                "PATH",
                format!("{program}:{compose}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"),
            )
            .stdin(&step.input)
            .failure(step.exit);
        let words = self.words.iter();
        let printed = words.fold(output.stdout.clone(), |text, (page, localized)| {
            text.replace(&localized[..], page)
        });
        compare(step, &printed);
    }
}

/// Asserts that the output is what the page shows: without `…`, that and nothing else.
#[track_caller]
fn compare(step: &Step, printed: &str) {
    // The docker client says this for an isolated engine such as the tests'.
    let lines = printed
        .lines()
        .filter(|line| !line.starts_with("WARNING: IPv4 forwarding"));
    let mut lines = lines.map(|line| plain(&normalized_engine_output(line)));
    let mut anything = step.printed.is_empty();
    for shown in &step.printed {
        if shown == "…" {
            anything = true;
            continue;
        }
        let is_it = |line: &String| match plain(shown).strip_suffix('…') {
            Some(start) => line.starts_with(start),
            None => *line == plain(shown),
        };
        let found = match anything {
            true => lines.any(|line| is_it(&line)),
            false => lines.next().is_some_and(|line| is_it(&line)),
        };
        assert!(
            found,
            "{shown:?} of the page is not what `{}` printed there:\n{printed}",
            step.command
        );
        anything = false;
    }
    let next = lines.next();
    assert!(
        anything || next.is_none(),
        "{next:?} of `{}` is not on the page:\n{printed}",
        step.command
    );
}

/// Returns a line as printed by the page's engine, 20.10. Newer ones say which part of the cache a file is
/// missing from.
fn normalized_engine_output(line: &str) -> String {
    if let Some((start, rest)) = line.split_once("failed to calculate checksum of ref ")
        && let Some((_, missing)) = rest.split_once(": ")
    {
        let missing = missing.replace("\": not found", "\" not found: not found");
        return format!("{start}{missing}");
    }
    line.to_owned()
}

/// Returns a line without parts that differ between runs: commits, times, versions, space, and therefore
/// column widths. Plain numbers of lines and runs are kept.
fn plain(line: &str) -> String {
    let words: Vec<&str> = line.split_whitespace().collect();
    let plain = words.iter().enumerate().map(|(index, word)| {
        let is_space = words.get(index + 1) == Some(&"GiB");
        let is_time = word.starts_with(|it: char| it.is_ascii_digit()) && word.ends_with('Z');
        match is_space || is_time {
            true => "#".to_owned(),
            false => plain_word(word),
        }
    });
    let mut line = plain.collect::<Vec<_>>().join(" ");
    // A distribution's engine adds this to its version.
    if let Some(version) = line.find("Docker Engine #")
        && let Some(comma) = line[version..].find(',')
    {
        line.replace_range(version..version + comma, "Docker Engine #");
    }
    line
}

fn plain_word(word: &str) -> String {
    let parts = word.split_inclusive(|it: char| !it.is_ascii_alphanumeric() && it != '.');
    let parts = parts.map(|part| {
        let end = part.trim_end_matches(|it: char| !it.is_ascii_alphanumeric());
        let is_hash = end.len() >= 8 && end.bytes().all(|it| it.is_ascii_hexdigit());
        let is_amount = end.starts_with(|it: char| it.is_ascii_digit())
            && end.contains(|it: char| !it.is_ascii_digit());
        match is_hash || is_amount {
            true => format!("#{}", &part[end.len()..]),
            false => part.to_owned(),
        }
    });
    parts.collect()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Returns the files of `examples/shop`, with their paths in the repository.
fn example() -> Vec<(PathBuf, String)> {
    let files = walkdir::WalkDir::new(root().join("examples/shop")).into_iter();
    let files = files.map(|entry| entry.expect("a file").into_path());
    files
        .filter(|path| path.is_file())
        .map(|path| {
            let text = fs::read_to_string(&path).expect("a text");
            let relative = path.strip_prefix(root()).expect("a path below the root");
            (relative.to_owned(), text)
        })
        .collect()
}

/// Creates an image that replaces Alpine and its package server: with a shell, make, and an `apk` that does
/// nothing.
fn toolchain(t: &Context) -> String {
    let name = t.image("toolchain:1");
    let folder = t.folder().join("toolchain");
    let dockerfile = format!(
        "FROM {}\nCOPY root /\nRUN echo '#!/bin/sh' > /bin/apk && chmod +x /bin/apk\n",
        t.engine().busybox()
    );
    write_file(&folder.join("Dockerfile"), &dockerfile);
    t.copy_program("make", &folder.join("root"));
    let mut build = t.engine().client();
    build
        .args(["build", "--quiet", "--tag", &name])
        .arg(&folder);
    process::succeed(&mut build);
    name
}

/// An unpushed edit seems to have no effect, so xp prints a note.
fn edits_that_are_not_built_are_reported(t: &Context) {
    let repository = t.built_repo("web");
    t.platform(&[Service::new("web", repository.url_http())]);
    t.xp(["build"]).success();
    let told = |arguments: &[&str]| {
        let mut xp = t.xp([]);
        for argument in arguments {
            xp = xp.arg(argument);
        }
        let (status, screen) = xp.in_terminal(100, 30).wait();
        assert!(status.success(), "{screen}");
        screen
    };
    let is_silent = |screen: &str| !screen.contains("not built");
    assert!(is_silent(&told(&["build"])));
    // New files may be left over from a build.
    t.write("src/web/new", "1\n");
    assert!(is_silent(&told(&["build"])));
    t.write("src/web/file", "2\n");
    let screen = told(&["build"]);
    assert!(
        screen.contains("not built: 1 modified file in src/web, not in master of its remote"),
        "{screen}"
    );
    assert!(screen.contains("hint: `xp build --local web`"), "{screen}");
    t.git(
        "src/web",
        &["commit", "--quiet", "--all", "--message", "Mine"],
    );
    let screen = told(&["plan"]);
    assert!(
        screen.contains("not built: 1 commit in src/web, not in master of its remote"),
        "{screen}"
    );
    assert!(is_silent(&told(&["build", "--local"])));
    // Without a terminal, only the table is printed, without hints.
    t.xp(["build"]).success().does_not_contain("not built");
    // For a service in a folder of its repository, only the files in that folder count.
    t.platform(&[
        Service::new("web", repository.url_http()).git("path: a"),
        Service::new("other", repository.url_http())
            .git("path: b")
            .dir("src/web"),
    ]);
    t.git("src/web", &["reset", "--quiet", "--hard", "origin/master"]);
    repository.commit(
        &[
            ("a/Dockerfile", "FROM scratch\nCOPY x /\n"),
            ("a/x", "1\n"),
            ("b/Dockerfile", "FROM scratch\nCOPY x /\n"),
            ("b/x", "1\n"),
        ],
        "Split",
    );
    t.xp(["build"]).success();
    t.write("src/web/file", "2\n");
    assert!(is_silent(&told(&["build"])));
    t.write("src/web/b/x", "2\n");
    let screen = told(&["build"]);
    assert!(
        screen.contains("not built: 1 modified file in src/web/b, not in"),
        "{screen}"
    );
    assert!(
        screen.contains("hint: `xp build --local other`"),
        "{screen}"
    );
    t.git(
        "src/web",
        &["commit", "--quiet", "--message", "Mine", "b/x"],
    );
    let screen = told(&["build"]);
    assert!(
        screen.contains("not built: 1 commit in src/web/b, not in"),
        "{screen}"
    );
    assert!(!screen.contains("src/web/a"), "{screen}");
    // Users who have checked out another branch know that.
    t.git("src/web", &["switch", "--quiet", "--create", "topic"]);
    assert!(is_silent(&told(&["build"])));
}

fn the_only_failed_service_is_the_default(t: &Context) {
    let platform = Services::new(t, &["api", "web"]);
    let shell = || t.xp(["shell", "--failed"]).stdin("exit 5\n");
    platform.manifest(&[]);
    shell()
        .failure(2)
        .stderr_contains("no service given")
        .stderr_contains("`xp shell --failed SERVICE`");
    platform.manifest(&[
        ("api", platform.scripts("true")),
        ("web", platform.scripts("false")),
    ]);
    t.xp(["build"]).failure(1);
    shell()
        .failure(5)
        .stderr_contains("run 1: web: build: `false`");
    platform.manifest(&[
        ("api", platform.scripts("exit 3")),
        ("web", platform.scripts("false")),
    ]);
    t.xp(["build"]).failure(1);
    shell().failure(2).stderr_contains(
        "error: several services failed in run 2: `api`, `web`\nhint: specify one of them: `xp shell --failed api`",
    );
    // The current folder selects the service.
    shell().dir(t.dir().join("src/web")).failure(5);
    platform.manifest(&[
        ("api", platform.scripts("true")),
        ("web", platform.scripts("true")),
    ]);
    t.xp(["build"]).success();
    shell()
        .failure(2)
        .stderr_contains("no service failed in the last run (3)")
        .stderr_contains("`xp logs --list`");
}
