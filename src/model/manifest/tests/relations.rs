//! Conflicts between services.

use super::{accepted, refused, refuses, with};

#[test]
fn overlapping_working_copies_are_rejected() {
    let outside = "(move one of them so that neither contains the other)";
    refuses(
        "dir: o/a",
        &[&format!(
            "4:10 the `dir` of service `a` is inside the working copy of service `other` {outside}"
        )],
    );
    refuses(
        "dir: .",
        &[&format!(
            "4:10 the `dir` of service `other` is inside the working copy of service `a` {outside}"
        )],
    );
    refuses(
        "dir: o/a\ngit: {remote: 'https://h/o'}",
        &[
            "4:10 the `dir` of service `a` is inside the working copy of service `other` (for two parts of one repository, set the same `dir` and different values of `git.path`)",
        ],
    );
    refuses(
        "dir: o",
        &[
            "4:10 services `other` and `a` have the same `dir` but different remotes (a working copy has only one remote: give each service a different `dir`)",
        ],
    );
}

#[test]
fn working_copies_with_similar_paths() {
    let service = |name: &str, dir: &str| {
        format!(
            "  {name}: {{dir: {dir}, git: {{remote: 'https://h/{name}'}}, docker: {{image: {name}}}}}\n"
        )
    };
    let manifest = |dirs: &[&str]| {
        let services = dirs.iter().enumerate();
        let services: String = services
            .map(|(number, dir)| service(&format!("s{number}"), dir))
            .collect();
        format!("services:\n{services}")
    };
    accepted(&manifest(&["a/b", "a-b", "a.b/c", "ab", "b", "c/a"]));
    // Regardless of their order, and of the paths that sort between them.
    for dirs in [
        ["a", "a-b", "a/b"],
        ["a/b", "a-b", "a"],
        ["a/b/c", "./a/", "a0"],
    ] {
        let problems = refused(&manifest(&dirs));
        assert_eq!(problems.len(), 1, "{dirs:?}: {problems:#?}");
    }
    let problems = refused(&manifest(&["x/y", "z", "."]));
    assert_eq!(problems.len(), 2, "{problems:#?}");
}

#[test]
fn two_services_with_one_image() {
    let help = "(give each service a different image, or they will overwrite each other's tags)";
    refuses(
        "docker: {image: o}",
        &[&format!(
            "4:21 services `other` and `a` have the same image, `o` {help}"
        )],
    );
    assert_eq!(
        refused(&format!(
            "registry: h.example/x\n{}",
            with("docker: {image: h.example/x/o}")
        )),
        [format!(
            "5:21 services `other` and `a` have the same image, `h.example/x/o` {help}"
        )]
    );
    refuses(
        "docker: {image: builders/go}\ndockerBuilder: {image: builders/go}",
        &["4:21 service `a` and builder `go` have the same image"],
    );
}

#[test]
fn needs() {
    refuses(
        "needs: [othr, a, other]",
        &[
            "4:13 unknown service `othr` (did you mean `other`?)",
            "4:19 service `a` needs itself",
        ],
    );
    refuses(
        "docker: {image: a, args: {A: '${{ services.a.commit }}'}}",
        &["4:34 service `a` needs itself"],
    );
}

#[test]
fn cycles_are_printed() {
    let service = |name: &str, rest: &str| {
        format!(
            "  {name}: {{dir: {name}, git: {{remote: 'https://h/{name}'}}, docker: {{image: {name}{rest}}}"
        )
    };
    let text = format!(
        "services:\n{}\n{}\n{}\n{}\n",
        service("c", "}, needs: [a]"),
        service("b", ", args: {X: '${{ services.c.image }}'}}"),
        service("a", "}, needs: [b, d]"),
        service("d", "}"),
    );
    assert_eq!(
        refused(&text),
        ["4:73 dependency cycle between services: a → b → c → a"]
    );
}
