//! Help, manual pages, and errors for mistyped command lines.

use std::fs;

use crate::case::Case;
use crate::context::Context;

pub const CASES: &[Case] = cases![
    xp_without_arguments_shows_short_help,
    a_typo_has_a_suggestion,
    manual_pages_are_valid,
    manual_pages_are_printed_and_written,
];

fn xp_without_arguments_shows_short_help(t: &Context) {
    let alone = t.xp([]).failure(2);
    let asked = t.xp(["-h"]).success();
    assert_eq!(alone.stderr, asked.stdout, "{alone}");
    assert_eq!((alone.stdout.as_str(), asked.stderr.as_str()), ("", ""));

    let long = t.xp(["help", "build"]).success();
    assert_eq!(long.stdout, t.xp(["build", "--help"]).success().stdout);
    let long = long.stdout_contains("Examples:\n  xp build\n");
    assert!(!long.stdout.contains('\x1b'), "{long}");
    t.xp(["--help"]).success().stdout_contains("Exit codes:");
}

fn a_typo_has_a_suggestion(t: &Context) {
    for (wrong, near) in [
        (&["buid"][..], "`build`"),
        (&["build", "--servces", "a"], "`--services`"),
        (&["builder", "updat"], "`update`"),
        (&["plan", "--format", "jsn"], "`json`"),
    ] {
        let mut xp = t.xp([]);
        for word in wrong {
            xp = xp.arg(word);
        }
        let output = xp
            .failure(2)
            .stderr_contains("error: ")
            .stderr_contains("hint: ");
        assert_eq!(output.stdout, "");
        _ = output.stderr_contains(near);
    }
}

fn manual_pages_are_valid(t: &Context) {
    let folder = t.folder().join("man");
    let name = folder.to_str().expect("UTF-8").to_owned();
    t.xp(["man", "--out", &name])
        .success()
        .stdout_contains("wrote ");
    let mut count = 0;
    for entry in fs::read_dir(&folder).expect("the pages") {
        let path = entry.expect("a page").path();
        let page = path.to_str().expect("UTF-8");
        let lint = t
            .program("mandoc", ["-T", "lint", "-W", "warning", page])
            .run();
        // The page of a version never changes, so it has no date.
        let problems = lint.stdout.lines().chain(lint.stderr.lines());
        let mut problems = problems.filter(|line| !line.contains("missing date"));
        assert_eq!(problems.next(), None, "{lint}");
        let shown = t
            .program("man", ["--warnings", "-l", page])
            .env("MANWIDTH", "80")
            .success();
        assert_eq!(shown.stderr, "", "{shown}");
        for section in [
            "NAME",
            "SYNOPSIS",
            "EXAMPLES",
            "EXIT STATUS",
            "ENVIRONMENT",
            "FILES",
        ] {
            assert!(
                shown.stdout.contains(&format!("\n{section}\n")),
                "{section}: {shown}"
            );
        }
        count += 1;
    }
    assert!(count > 12, "{count}");
}

fn manual_pages_are_printed_and_written(t: &Context) {
    let printed = t.xp(["man", "builder", "update"]).success().stdout;
    t.xp(["man", "--out", "pages/man1"]).success();
    assert_eq!(t.read("pages/man1/xp-builder-update.1"), printed);
    assert!(t.exists("pages/man1/xp.1"));
    t.xp(["man", "nothing"])
        .failure(2)
        .stderr_contains("`xp-nothing`");
    t.write("file", "");
    t.xp(["man", "--out", "file/below"])
        .failure(3)
        .stderr_contains("file/below");
    let text = t.xp(["man", "build"]).success().stdout;
    // Options shown only in the long help are described as well.
    assert!(
        text.contains("whatever else they were built from"),
        "{text}"
    );
}
