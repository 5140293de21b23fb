//! Formatting of errors.

use super::{SMALLEST, read, refused, with};

#[test]
fn an_error_shows_the_line_with_a_caret() {
    let error = read(&SMALLEST.replace("reference:", "refernce:")).unwrap_err();
    let plain = "\
error: unknown key `refernce` in `git`
 --> x-platform.yml:6:7
  |
6 |       refernce: origin/master
  |       ^^^^^^^^
  |
  = hint: did you mean `reference`?";
    assert_eq!(error.to_string(), plain);
    assert_eq!(error.render(false), plain);
    let colored = error.render(true);
    assert!(
        colored.contains("\u{1b}[") && colored.contains("unknown key `refernce`"),
        "{colored}"
    );
}

#[test]
fn two_positions_are_shown_together() {
    let error = read(
        "services:\n  a:\n    dir: a\n    dir: b\n    git: {remote: 'https://h/a'}\n    docker: {image: a}\n",
    );
    assert_eq!(
        error.unwrap_err().to_string(),
        "\
error: duplicate key `dir`
 --> x-platform.yml:4:5
  |
3 |     dir: a
  |     --- first used here
4 |     dir: b
  |     ^^^ used again here"
    );
}

#[test]
fn errors_are_collected_and_sorted() {
    let text = SMALLEST
        .replace("dir: src/zbackend", "dir: ../zbackend")
        .replace("image: zbackend", "image: ZBackend")
        .replace("test:", "tests:")
        + "verson: 1\n";
    assert_eq!(
        refused(&text),
        [
            "3:10 `../zbackend` must not contain `..`",
            "11:14 invalid image name `ZBackend`: uppercase letters are not allowed",
            "15:7 unknown key `tests` in `scripts` (did you mean `test`?)",
            "17:1 unknown key `verson` (did you mean `version`?)",
        ]
    );
    let reports = read(&text).unwrap_err().to_string();
    assert_eq!(reports.matches("error: ").count(), 4);
    assert_eq!(reports.matches("\n\n").count(), 3);
}

#[test]
fn very_many_errors_are_counted() {
    let keys: String = (0..80).map(|index| format!("k{index}: 1\n")).collect();
    let error = read(&(keys + SMALLEST)).unwrap_err();
    assert_eq!(error.problems().len(), 80);
    assert!(
        error
            .to_string()
            .ends_with("\n\nerror: 30 more problems are not shown")
    );
}

#[test]
fn no_password_is_shown() {
    let error = read(&with(
        "git:\n  remote: https://me:pa55@h/x\n  remote: https://me:pa66@h:p/x",
    ))
    .unwrap_err();
    let report = error.to_string();
    assert!(report.contains("duplicate key"), "{report}");
    let error = read(&with("git: {remote: 'https://me:pa77@h:p/x', referenc: x}")).unwrap_err();
    let report = error.to_string() + &report;
    assert!(report.contains("https://me:****@h:p/x"), "{report}");
    assert!(
        !report.contains("pa55") && !report.contains("pa66") && !report.contains("pa77"),
        "{report}"
    );
}

#[test]
fn control_characters_do_not_reach_the_terminal() {
    let report = read(&with("dir: \"a\\e[31m/..\"\n\"x\\e[2J\": 1"))
        .unwrap_err()
        .to_string();
    assert!(!report.contains('\u{1b}'), "{report:?}");
}

#[test]
fn mistakes_in_defaults_are_shown_there_and_once() {
    let text = format!(
        "defaults:\n  timeout: soon\n  dockerBuilder:\n    usr: root\n    env: {{A: '${{{{ servce.name }}}}'}}\n{}",
        with("")
    );
    assert_eq!(
        refused(&text),
        [
            "2:12 invalid duration `soon`: expected a value such as `90s`, `30m` or `1h30m`",
            "4:5 unknown key `usr` in `dockerBuilder` (did you mean `user`?)",
            "5:15 unknown placeholder `servce.name` (did you mean `${{ service.name }}`?)",
        ]
    );
    // Even if every service overrides the value.
    let overridden = format!(
        "defaults: {{timeout: soon}}\n{}",
        SMALLEST.replace("    dir:", "    timeout: 1m\n    dir:")
    );
    assert_eq!(
        refused(&overridden),
        ["1:21 invalid duration `soon`: expected a value such as `90s`, `30m` or `1h30m`"]
    );
    assert_eq!(
        refused(&format!("defaults: []\n{SMALLEST}")),
        ["1:11 `defaults` must be a mapping, not a list"]
    );
    assert_eq!(
        refused(&format!("defaults: {{services: {{}}}}\n{SMALLEST}")).len(),
        1
    );
}

#[test]
fn no_input_panics() {
    // Every prefix, and every manifest with one string inserted: errors are fine, panics are not.
    let text =
        with("docker: {image: a, tags: ['ä-${{ env.X }}']}\nscripts: {build: [\"a\\n${{ x }}\"]}")
            + "? |\n ä\n: >\n x\n";
    for (index, _) in text.char_indices() {
        if let Err(error) = read(&text[..index]) {
            error.render(false);
        }
        for other in [
            "\0", "\t", "\n", "'", "*", "&", "!", "[", "{", ":", "ä", "${{", "\r", "\u{2028}",
        ] {
            let mut changed = text.clone();
            changed.insert_str(index, other);
            if let Err(error) = read(&changed) {
                error.render(true);
                assert!(error.problems().len() > 0);
            }
        }
    }
}
