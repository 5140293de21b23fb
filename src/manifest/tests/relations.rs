//! What is refused between services.

use super::{accepted, refused, refuses, with};

#[test]
fn working_copies_that_overlap() {
    let outside = "(move one of them, so that neither contains the other)";
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
            "4:10 the `dir` of service `a` is inside the working copy of service `other` (for two parts of one repository, give both the same `dir`, and each its `git.path`)",
        ],
    );
    refuses(
        "dir: o",
        &[
            "4:10 services `other` and `a` have the same `dir` and different remotes (one working copy has one remote: give each its own `dir`)",
        ],
    );
}

#[test]
fn working_copies_that_only_look_alike() {
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
    // Whatever comes between them in the order of names, and in whatever order they come.
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
    let help = "(tags of one commit would overwrite those of the other: give each its own name)";
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
        &["4:21 the image of service `a` is that of the builder `go`"],
    );
}

#[test]
fn needs() {
    refuses(
        "needs: [othr, a, other]",
        &[
            "4:13 there is no service `othr` (did you mean `other`?)",
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
        ["4:73 services need each other in a cycle: a → b → c → a"]
    );
}
