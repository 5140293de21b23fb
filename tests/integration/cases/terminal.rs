//! What users see on a terminal.

use std::fs;

use crate::app::App;
use crate::case::Case;
use crate::context::Context;
use crate::services::Services;
use crate::wait::wait_until;

pub const CASES: &[Case] = cases![
    bars_show_running_services,
    bars_fit_a_narrow_terminal,
    hundreds_of_services_fit_a_low_terminal,
    transfers_show_bytes,
    wide_characters_and_escapes_are_aligned,
    interrupt_leaves_a_clean_screen,
    failure_is_shown_without_bars,
    a_terminal_shows_only_services_with_work,
];

/// A script that prints a line, tries to clear the screen, and waits for the file `go`.
const SCRIPT: &str =
    "echo begun; printf '\\\\033[2Jcompiling\\\\n'; until [ -e go ]; do sleep 0.1; done";

/// Text shown by a bar, but not by a screen without bars.
const SPINNERS: &[char] = &[
    '⠁', '⠂', '⠄', '⡀', '⢀', '⠠', '⠐', '⠈', '⠉', '⠋', '⠙', '⠒', '⠓', '⠚', '⠸', '⠼', '⠴', '⠦', '⠧',
    '⠇', '⠏', '⠹',
];

fn bars_show_running_services(t: &Context) {
    let platform = Services::new(t, &["front", "a-longer-name"]);
    platform.manifest(&["front", "a-longer-name"].map(|name| (name, platform.scripts(SCRIPT))));
    let terminal = t.xp(["build", "--jobs", "2"]).in_terminal(80, 24);
    let go =
        |name: &str| fs::write(t.dir().join(format!(".xp/build/{name}/go")), "").expect("it runs");
    let find = |start: &str| {
        let rows = rows(&terminal.screen(), 80);
        rows.into_iter().find(|row| {
            row.trim_start_matches(SPINNERS)
                .trim_start()
                .starts_with(start)
        })
    };
    let until_compiling = |name: &str| {
        wait_until("a bar shows the last line", || {
            find(name).is_some_and(|row| row.ends_with("  compiling"))
        });
    };
    until_compiling("a-longer-name  build ");
    until_compiling("front          build ");
    assert!(find("0 of 2 done, ").is_some(), "{}", terminal.screen());
    go("front");
    terminal.wait_for("1 of 2 done, ");
    assert!(
        find("front          done in ").is_some(),
        "{}",
        terminal.screen()
    );
    until_compiling("a-longer-name  build ");
    go("a-longer-name");
    let (status, screen) = terminal.wait();
    assert!(status.success());
    let rows = rows(&screen, 80);
    let starts: Vec<&str> = rows
        .iter()
        .filter_map(|row| row.split("  ").next())
        .collect();
    assert_eq!(
        starts[..3],
        ["front", "a-longer-name", "SERVICE"],
        "{screen}"
    );
    assert_no_bars(&screen);
    assert!(screen.contains(&t.image("front").to_string()), "{screen}");
}

fn bars_fit_a_narrow_terminal(t: &Context) {
    let names = [
        "a-service-with-a-name-of-forty-characters",
        "another-service-with-such-a-long-name-xx",
    ];
    let platform = Services::new(t, &names);
    let wait = "i=0; until [ -e go ]; do i=$((i+1)); echo $i is the number of a long line, 構築; sleep 0.02; done";
    platform.manifest(&names.map(|name| (name, platform.scripts(wait))));
    let terminal = t.xp(["build", "--jobs", "2"]).in_terminal(40, 24);
    // However much they print, there are three rows: two services and the totals.
    wait_until("both rows show their phase for a second", || {
        let screen = rows(&terminal.screen(), 40);
        let building = screen
            .iter()
            .filter(|row| row.contains("  build  ") && !row.contains(" 0."));
        building.count() == 2
    });
    let screen = rows(&terminal.screen(), 40);
    assert_eq!(screen.len(), 3, "{screen:?}");
    let has = |start: &str| {
        let mut rows = screen.iter();
        rows.any(|row| row.contains(start) && row.ends_with('s'))
    };
    assert!(has(" a-service-with-a-n…  build  "), "{screen:?}");
    assert!(has(" another-service-wi…  build  "), "{screen:?}");
    let sum = &screen[2];
    assert!(sum.starts_with("0 of 2 done, 2 of 2 jobs, "), "{screen:?}");

    // A wider terminal shows more columns, and a low one as many rows as fit.
    terminal.resize(120, 24);
    wait_until("the last lines are shown", || {
        let screen = rows(&terminal.screen(), 120);
        names.iter().all(|name| {
            let start = format!(" {name} ");
            let found = screen.iter().find(|row| row.contains(&start));
            found.is_some_and(|row| row.contains(" is the number of"))
        })
    });
    terminal.resize(120, 3);
    terminal.wait_for("  … and 2 more");
    terminal.resize(120, 24);
    wait_until("both have a row again", || {
        let screen = terminal.screen();
        screen.matches("  build  ").count() == 2 && screen.matches("0 of 2 done").count() == 1
    });
    for name in names {
        fs::write(t.dir().join(format!(".xp/build/{name}/go")), "").expect("it runs");
    }
    let (status, screen) = terminal.wait();
    assert!(status.success());
    assert_no_bars(&screen);
}

fn hundreds_of_services_fit_a_low_terminal(t: &Context) {
    const SERVICES: usize = 200;
    let repository = t.git_repo("shared");
    repository.commit(&[("Dockerfile", "FROM scratch\n")], "Start");
    let url = repository.url_file();
    let services = (1..=SERVICES).map(|number| {
        format!("  s{number}: {{ dir: src/s{number}, git: {{ remote: \"{url}\" }}, docker: {{ image: s{number} }} }}\n")
    });
    t.manifest(&format!("services:\n{}", services.collect::<String>()));
    let terminal = t.xp(["sync", "--jobs", "50"]).in_terminal(60, 10);
    wait_until("more run than there is room for", || {
        let screen = terminal.screen();
        let rows: Vec<&str> = screen.lines().map(str::trim_end).collect();
        let more = |row: &&str| row.starts_with("  … and ") && row.ends_with(" more");
        let last = rows.last().copied().unwrap_or_default();
        rows.iter().any(more) && last.contains(" of 200 done, ")
    });
    wait_until("the sum follows", || {
        let written = terminal.written();
        let before = written.rsplit(" of 200 done").nth(1).unwrap_or_default();
        let number = before.rsplit(|c: char| !c.is_ascii_digit()).next();
        number.and_then(|number| number.parse().ok()) > Some(SERVICES / 2)
    });
    let written = terminal.written();
    let (status, screen) = terminal.wait();
    assert!(status.success(), "{screen}");
    assert!(written.contains("done\u{1b}[0m in "), "{written}");
    // The table follows, without leftover rows.
    assert_no_bars(&screen);
    assert!(!screen.contains("of 200 done"), "{screen}");
}

fn interrupt_leaves_a_clean_screen(t: &Context) {
    let app = App::with_scripts(t, "", &["echo It is begun; sleep 1000"]);
    let mut terminal = app.build().in_terminal(80, 24);
    terminal.wait_for(" │ It is begun");
    terminal.type_keys("\x03");
    let (status, screen) = terminal.wait();
    assert_eq!(status.code(), Some(130));
    let rows = rows(&screen, 80);
    assert_eq!(rows[0], "interrupted: stopping running steps", "{screen}");
    assert!(rows[1].starts_with("app  stopped after "), "{screen}");
    assert!(rows[2].starts_with("SERVICE"), "{screen}");
    assert_no_bars(&screen);
    assert!(t.containers().is_empty());

    // The terminal is restored: Ctrl-C and keys are shown as usual.
    let settings = format!("{} build; stty -a", env!("CARGO_BIN_EXE_xp"));
    app.set_scripts("", &["true"]);
    let after = t
        .program("sh", ["-c", &settings])
        .in_terminal(80, 24)
        .wait()
        .1;
    let has = |setting: &str| after.split_whitespace().any(|word| word == setting);
    assert!(has("echoctl") && has("echo"), "{after}");
}

fn transfers_show_bytes(t: &Context) {
    // Random bytes take time, because they do not compress.
    let app = App::with_scripts(t, "", &["head -c 120000000 /dev/urandom > blob"]);
    let manifest = t.read("x-platform.yml");
    t.manifest(&format!("registry: {}\n{manifest}", t.registry().host()));
    let terminal = app.build().in_terminal(120, 24);
    wait_until("the push shows its bytes", || {
        let written = terminal.written();
        // The whole blob, and the layer below it.
        let bar = written.contains("━━") && written.contains(" of 12");
        let rate = written.contains(" MB/s  ") && written.contains("s left");
        bar && rate && written.contains(" MB pushed, ")
    });
    let (status, screen) = terminal.wait();
    assert!(status.success(), "{screen}");
    assert_no_bars(&screen);
}

fn wide_characters_and_escapes_are_aligned(t: &Context) {
    let wide = "構築する".repeat(6);
    let script = format!(
        "printf '\\033[2J\\033[9A\\033]0;title\\007\\010\\010{wide}\\n'; until [ -e go ]; do sleep 0.1; done"
    );
    let app = App::with_scripts(t, "", &[&script]);
    let terminal = app.build().in_terminal(60, 10);
    terminal.wait_for("  構築する構築する構築する構築する…");
    let screen = terminal.screen();
    let rows: Vec<&str> = screen.lines().collect();
    assert_eq!(rows.len(), 2, "{screen}");
    assert!(rows[0].contains(" app  build  "), "{screen}");
    assert!(rows[1].starts_with("0 of 1 done, 1 of "), "{screen}");
    let written = terminal.written();
    assert!(!written.contains("\u{1b}[2J") && !written.contains("title\u{7}"));
    fs::write(t.dir().join(".xp/build/app/go"), "").expect("it runs");
    let (status, screen) = terminal.wait();
    assert!(status.success());
    assert_no_bars(&screen);
}

fn failure_is_shown_without_bars(t: &Context) {
    let app = App::with_scripts(t, "", &["echo a reason; exit 3"]);
    let (status, screen) = app.build().in_terminal(80, 40).wait();
    assert_eq!(status.code(), Some(1));
    assert_no_bars(&screen);
    assert!(
        screen.contains("\nerror: app: build: `echo a reason; exit 3` exited with 3 "),
        "{screen}"
    );
    assert!(screen.contains("\n    a reason\n"), "{screen}");
}

fn a_terminal_shows_only_services_with_work(t: &Context) {
    let names = ["api", "front", "worker"];
    let platform = Services::new(t, &names);
    platform.manifest(&names.map(|name| (name, platform.scripts("true"))));
    let screen = |command: &str, columns: u16| {
        let words = command.split(" ").fold(t.xp([]), |xp, word| xp.arg(word));
        let terminal = words.in_terminal(columns, 40);
        let (status, screen) = terminal.wait();
        assert!(status.success(), "{screen}");
        rows(&screen, columns.into())
    };
    let planned = screen("plan", 140);
    let heading = "SERVICE  COMMIT    DECISION  WHY         IMAGE";
    assert_eq!(planned[0], heading);
    let head = platform.repository("api").head();
    let image = t.image("api");
    assert_eq!(
        planned[1],
        format!("api      {}  build     new commit  {image}", &head[..8])
    );
    assert!(
        planned[4].starts_with("3 to build (planned in "),
        "{planned:?}"
    );
    assert_eq!(planned.len(), 5, "{planned:?}");
    // Steps on request, or of a named service.
    assert!(screen("plan -v", 140).contains(&"front".to_owned()));
    assert!(screen("plan front", 140).contains(&"front".to_owned()));

    let built = screen("build", 140);
    let closing_line = built.last().expect("rows");
    assert!(closing_line.starts_with("3 built in "), "{built:?}");
    let nothing_to_do = "Nothing to do: 3 services up to date";
    for command in ["plan", "build"] {
        assert_eq!(screen(command, 140), [nothing_to_do]);
    }
    for command in ["plan --all", "build --all"] {
        let rows = screen(command, 140);
        assert_eq!(
            (rows.len(), rows[4].as_str()),
            (5, nothing_to_do),
            "{rows:?}"
        );
    }
    let named = screen("build front", 140);
    assert!(
        named[1].starts_with("front ") && named[1].contains("  skipped  "),
        "{named:?}"
    );
    assert_eq!(named[2], "Nothing to do: 1 service up to date");

    platform.commit("api", &[("file", "new".to_owned())]);
    let planned = screen("plan", 140);
    assert!(planned[1].starts_with("api "), "{planned:?}");
    assert!(
        planned[2].starts_with("1 to build, 2 up to date (planned in "),
        "{planned:?}"
    );
    // On a narrow terminal, columns are omitted.
    let narrow = screen("plan", 40);
    assert_eq!(narrow[0], "SERVICE  COMMIT    DECISION  WHY");
    let narrow = screen("build", 30);
    assert_eq!(narrow[1], "SERVICE  RESULT  WHY", "{narrow:?}");
    assert!(
        narrow[3].starts_with("1 built, 2 up to date in "),
        "{narrow:?}"
    );
}

/// Returns the screen's text, row by row. Bars fill their row, so the next one seems to continue it.
fn rows(screen: &str, columns: usize) -> Vec<String> {
    let mut rows = Vec::new();
    for line in screen.lines() {
        let characters: Vec<char> = line.chars().collect();
        rows.extend(characters.chunks(columns).map(String::from_iter));
    }
    let rows = rows.into_iter().map(|row: String| row.trim().to_owned());
    rows.filter(|row| !row.is_empty()).collect()
}

#[track_caller]
fn assert_no_bars(screen: &str) {
    assert!(!screen.contains(SPINNERS), "{screen}");
    assert!(
        !screen.contains(" of 1 done") && !screen.contains(" of 2 done"),
        "{screen}"
    );
    assert!(!screen.contains("^C"), "{screen}");
}
