//! The images of a run for other programs: in the events, in the plan and in the metadata file.

use serde_json::{Value, json};

use crate::case::Case;
use crate::cases::small;
use crate::context::Context;
use crate::output::Output;
use crate::schema;

pub const CASES: &[Case] = cases![
    events_and_plan_have_digest_and_tags,
    held_tags_are_in_no_event,
    an_image_without_registry_has_no_digest,
    the_metadata_file_has_every_service,
    a_metadata_file_never_has_an_earlier_run,
    a_metadata_file_that_cannot_be_written_stops_the_build,
];

/// Creates a platform with these services in the shared registry, and returns the commits.
fn platform(t: &Context, names: &[&str]) -> Vec<String> {
    let repositories: Vec<_> = names
        .iter()
        .map(|name| small::repository(t, name))
        .collect();
    let services: Vec<_> = names.iter().copied().zip(&repositories).collect();
    small::platform(t, t.registry().host(), &services);
    repositories.iter().map(|it| it.head()).collect()
}

/// Returns the units of the plan, and the last event about each unit.
fn units(t: &Context, output: &Output) -> (Value, Value) {
    schema::assert_follows(t, "events", &output.stdout);
    let lines = output.stdout.lines();
    let lines: Vec<Value> = lines
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let by_name = |units: Vec<&Value>, key: &str| {
        let named = units.into_iter().map(|unit| {
            let name = unit[key].as_str().expect("a name").to_owned();
            (name, unit.clone())
        });
        Value::Object(named.collect())
    };
    let of = |event: &str| lines.iter().filter(|line| line["event"] == event).collect();
    let planned: Vec<&Value> = of("planned");
    let planned = planned[0]["plan"]["units"].as_array().expect("units");
    (
        by_name(planned.iter().collect(), "name"),
        by_name(of("unit-finished"), "unit"),
    )
}

fn plan(t: &Context) -> Value {
    let output = t.xp(["plan", "--format", "json"]).success();
    schema::assert_follows(t, "plan", &output.stdout);
    serde_json::from_str(&output.stdout).expect("JSON")
}

fn events_and_plan_have_digest_and_tags(t: &Context) {
    let commits = platform(t, &["one", "two"]);
    let before = plan(t);
    assert_eq!(before["units"][0]["digest"], Value::Null, "{before}");
    assert_eq!(before["units"][0]["tags"], json!([commits[0], "master"]));

    let build = t
        .xp(["build", "--format", "json", "--tag", "v1", "one"])
        .success();
    let (planned, finished) = units(t, &build);
    let repository = format!("{}/{}", t.registry().host(), t.image("one"));
    let digest = t.registry().manifest_digest(&t.image("one"), &commits[0]);
    let digest = digest.expect("it was pushed");
    assert_eq!(planned["one"]["digest"], Value::Null, "{planned}");
    let one = &finished["one"];
    assert_eq!(one["image"], format!("{repository}:{}", commits[0]));
    assert_eq!(one["digest"], digest);
    assert_eq!(one["tags"], json!([commits[0], "master", "v1"]));
    for tag in one["tags"].as_array().expect("tags") {
        let tag = tag.as_str().expect("text");
        let found = t.registry().manifest_digest(&t.image("one"), tag);
        assert_eq!(found.as_ref(), Some(&digest), "{tag}");
    }

    // The next run skips it.
    let after = plan(t);
    assert_eq!(after["units"][0]["decision"], "skip");
    assert_eq!(after["units"][0]["digest"], digest);
    let again = t.xp(["build", "--format", "json"]).success();
    let (planned, finished) = units(t, &again);
    assert_eq!(planned["one"]["digest"], digest);
    assert_eq!(finished["one"], Value::Null);
    assert!(finished["two"]["digest"].as_str().is_some(), "{finished}");
}

fn held_tags_are_in_no_event(t: &Context) {
    let broken = t.git_repo("broken");
    broken.commit(&[("Dockerfile", "FROM scratch\nCOPY missing /\n")], "Break");
    let one = small::repository(t, "one");
    small::platform(
        t,
        t.registry().host(),
        &[("one", &one), ("broken", &broken)],
    );
    let build = ["build", "--all-or-nothing", "--format", "json"];
    let (_, finished) = units(t, &t.xp(build).failure(1));
    assert_eq!(finished["one"]["outcome"], "done");
    assert_eq!(finished["one"]["tags"], json!([one.head()]));
    assert_eq!(finished["broken"]["image"], Value::Null);

    broken.commit(&[("missing", "no more")], "Mend");
    let (planned, finished) = units(t, &t.xp(build).success());
    assert_eq!(finished["one"]["tags"], json!([one.head(), "master"]));
    assert_eq!(finished["one"]["digest"], planned["one"]["digest"]);
}

fn an_image_without_registry_has_no_digest(t: &Context) {
    let app = crate::app::App::new(t, &[], "");
    let (_, finished) = units(t, &app.build().args(["--format", "json"]).success());
    let image = &finished["app"];
    assert_eq!(image["image"], app.image_of_head());
    assert_eq!(image["digest"], Value::Null);
    assert_eq!(image["tags"], json!([app.repository.head(), "master"]));
    assert_eq!(plan(t)["units"][0]["digest"], Value::Null);
}

/// Returns the metadata file.
fn metadata(t: &Context, path: &str) -> Value {
    let text = t.read(path);
    schema::assert_follows(t, "metadata", &text);
    serde_json::from_str(&text).expect("JSON")
}

fn the_metadata_file_has_every_service(t: &Context) {
    let (one, two) = (small::repository(t, "one"), small::repository(t, "two"));
    let broken = t.git_repo("broken");
    broken.commit(&[("Dockerfile", "FROM scratch\nCOPY missing /\n")], "Break");
    let host = t.registry().host();
    small::platform(
        t,
        host,
        &[("one", &one), ("two", &two), ("broken", &broken)],
    );
    let top = small::service(t, "top", &one.url_file(), "", "    needs: [broken]\n");
    t.manifest(&(t.read("x-platform.yml") + &top));
    t.xp(["build", "one"]).success();

    t.xp(["build", "--metadata-file", "out/images.json"])
        .failure(1);
    let images = metadata(t, "out/images.json");
    let digest = |name: &str, commit: &str| t.registry().manifest_digest(&t.image(name), commit);
    for (name, repository, status) in [("one", &one, "skipped"), ("two", &two, "built")] {
        let commit = repository.head();
        let expected = json!({
            "status": status,
            "commit": commit,
            "reference": "master",
            "image": format!("{host}/{}:{commit}", t.image(name)),
            "digest": digest(name, &commit),
            "tags": [commit, "master"],
        });
        let mut image = images[name].clone();
        let seconds = image.as_object_mut().and_then(|it| it.remove("seconds"));
        assert_eq!(seconds.is_some(), status == "built", "{images}");
        assert_eq!(image, expected, "{images}");
    }
    let failed = json!({"status": "failed", "commit": broken.head(), "reference": "master"});
    assert_eq!(images["broken"], failed);
    let blocked = json!({"status": "blocked", "commit": one.head(), "reference": "master"});
    assert_eq!(images["top"], blocked);
}

fn a_metadata_file_never_has_an_earlier_run(t: &Context) {
    platform(t, &["one"]);
    let build = ["build", "--metadata-file", "images.json"];
    t.xp(build).success();
    assert_eq!(metadata(t, "images.json")["one"]["status"], "built");
    t.xp(build).success();
    assert_eq!(metadata(t, "images.json")["one"]["status"], "skipped");
    // A run that fails before its plan is known.
    t.xp(build).args(["--reference", "one=missing"]).failure(2);
    assert_eq!(metadata(t, "images.json"), json!({}));
}

fn a_metadata_file_that_cannot_be_written_stops_the_build(t: &Context) {
    let commits = platform(t, &["one"]);
    let manifest = t.read("x-platform.yml");
    for (file, exit, text) in [
        (
            "x-platform.yml",
            2,
            "already exists and is not a metadata file",
        ),
        (
            "x-platform.yml/images.json",
            3,
            "cannot write the metadata file",
        ),
        (".", 2, "it is a folder"),
    ] {
        let build = t.xp(["build", "--metadata-file", file]).failure(exit);
        build
            .stderr_contains(text)
            .stderr_contains("--metadata-file");
    }
    assert_eq!(t.read("x-platform.yml"), manifest);
    let found = t.registry().manifest_digest(&t.image("one"), &commits[0]);
    assert_eq!(found, None, "nothing was built");
}
