//! Placeholders and their values.

use super::super::{ManifestError, PlaceholderValues};
use super::{accepted, short, with};
use crate::model::source::CommitId;

fn render(template: &str, branch: Option<&str>) -> Result<String, ManifestError> {
    let manifest = accepted(&with(&format!(
        "docker:\n  image: a\n  args:\n    X: {template}"
    )));
    let name = "a".parse().unwrap();
    let values = PlaceholderValues {
        service: &name,
        commit: CommitId::from_bytes([0x11; 20]),
        branch,
        services: &|name| {
            Some((
                format!("h.example/{name}:1"),
                CommitId::from_bytes([0x22; 20]),
            ))
        },
        env: &|name| (name == "SET").then(|| "yes".to_owned()),
    };
    manifest.render(&manifest.services[&name].docker.args["X"], &values)
}

#[test]
fn every_placeholder_is_replaced() {
    let (one, two) = ("1".repeat(40), "2".repeat(40));
    for (template, text) in [
        ("plain", "plain"),
        ("${{ service.name }}", "a"),
        ("'<${{service.commit}}>'", &*format!("<{one}>")),
        ("x-${{ service.branch }}-y", "x-main-y"),
        ("${{ services.other.image }}", "h.example/other:1"),
        ("${{ services.other.commit }}", &*two),
        ("${{ env.SET }}${{ env.SET }}", "yesyes"),
        ("$SET ${SET} $${{ env.SET }}", "$SET ${SET} $yes"),
        ("1.10", "1.10"),
    ] {
        assert_eq!(render(template, Some("main")).unwrap(), text, "{template}");
    }
}

#[test]
fn a_missing_value_is_an_error_with_its_position() {
    let error = render("a ${{ env.UNSET }} ${{ service.branch }}", None).unwrap_err();
    assert_eq!(
        short(&error),
        [
            "7:14 environment variable `UNSET` is not set (set it, to an empty value if necessary: `UNSET=… xp …`)",
            "7:31 service `a` is not built from a branch (its `git.reference` is a tag or a commit; use `service.commit`)",
        ]
    );
}

#[test]
fn a_value_is_not_replaced_again() {
    let manifest = accepted(&with("docker: {image: a, args: {X: '${{ env.A }}'}}"));
    let name = "a".parse().unwrap();
    let values = PlaceholderValues {
        service: &name,
        commit: CommitId::from_bytes([0; 20]),
        branch: None,
        services: &|_| None,
        env: &|_| Some("${{ env.A }}".to_owned()),
    };
    let text = manifest.render(&manifest.services[&name].docker.args["X"], &values);
    assert_eq!(text.unwrap(), "${{ env.A }}");
}

#[test]
fn a_rendered_tag_must_be_valid() {
    let manifest = accepted(&with("docker: {image: a, tags: ['build-${{ env.N }}']}"));
    let name = "a".parse().unwrap();
    let tag = |number: &str| {
        let number = number.to_owned();
        let env = move |_: &str| Some(number.clone());
        let values = PlaceholderValues {
            service: &name,
            commit: CommitId::from_bytes([0; 20]),
            branch: None,
            services: &|_| None,
            env: &env,
        };
        manifest.render_tag(&manifest.services[&name].docker.tags[0], &values)
    };
    assert_eq!(tag("7").unwrap().as_str(), "build-7");
    assert_eq!(
        short(&tag("a/b").unwrap_err()),
        ["4:31 invalid tag `build-a/b`: only letters, digits, `_`, `.` and `-` are allowed"]
    );
}
