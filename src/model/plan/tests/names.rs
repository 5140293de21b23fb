//! The digest and the tags of images, before and after a run.

use super::*;

/// Returns the digest and the tags of a service in a plan.
fn names(platform: &TestPlatform, service: &str) -> (Option<Digest>, Vec<String>) {
    let plan = platform.plan(&[service]);
    let unit = plan.units.last().unwrap();
    let tags = unit.names.tags.iter().map(Tag::to_string);
    (unit.names.digest.clone(), tags.collect())
}

fn commit_tag(service: &str) -> String {
    commit(service).to_string()
}

#[test]
fn an_existing_image_has_its_digest() {
    let platform = TestPlatform::new().complete("back");
    let tags = vec![
        commit_tag("back"),
        "master".to_owned(),
        "build-7".to_owned(),
    ];
    assert_eq!(names(&platform, "back"), (Some(digest("back", "a")), tags));
    let pulled = TestPlatform::new().registry("front", "", "a");
    let expected = vec![commit_tag("front"), "master".to_owned()];
    let digest = Some(digest("front", "a"));
    assert_eq!(names(&pulled, "front"), (digest.clone(), expected));
    // Nothing sets the branch's tag, so it is not reported.
    let unchanged = pulled.options(|options| (options.pull, options.push) = (false, false));
    assert_eq!(
        names(&unchanged, "front"),
        (digest, vec![commit_tag("front")])
    );
}

#[test]
fn an_image_that_is_built_or_pushed_has_no_digest_yet() {
    let tags = vec![commit_tag("front"), "master".to_owned()];
    let missing = TestPlatform::new();
    assert_eq!(names(&missing, "front"), (None, tags.clone()));
    let in_engine = TestPlatform::new().engine("front", "", "a");
    assert_eq!(names(&in_engine, "front"), (None, tags.clone()));
    // The registry's image is another one.
    let stale = TestPlatform::new()
        .registry("front", "", "b")
        .label("front", None)
        .options(|options| options.force = true);
    assert_eq!(names(&stale, "front"), (None, tags.clone()));
    let local = TestPlatform::local().engine("front", "", "a");
    assert_eq!(names(&local, "front"), (None, tags));
}

#[test]
fn held_tags_are_reported_once_they_are_set() {
    let platform = TestPlatform::new().options(|options| options.all_or_nothing = true);
    let plan = platform.plan(&["front"]);
    let front = plan.units.last().unwrap();
    let pushed = digest("front", "c");
    let first = front.image_result(Some(&pushed), true);
    assert_eq!(first.image, front.image.to_string());
    assert_eq!(first.digest, Some(pushed.to_string()));
    assert_eq!(first.tags, [commit_tag("front")]);
    let all = front.with_held_tags(first);
    assert_eq!(all.tags, [commit_tag("front"), "master".to_owned()]);
}

#[test]
fn a_refused_commit_tag_is_replaced_by_the_identity_tag() {
    let plan = TestPlatform::new().plan(&["front"]);
    let front = plan.units.last().unwrap();
    let result = front.image_result(None, false);
    let identity = front.names.identity.as_ref().unwrap();
    assert!(identity.as_str().starts_with(&commit_tag("front")));
    assert_eq!(result.tags, [identity.to_string(), "master".to_owned()]);
}

#[test]
fn a_builder_has_its_tags() {
    let mut platform = TestPlatform::new();
    let plan = platform.plan(&["back"]);
    let builder = &plan.units[0];
    let tags: Vec<&str> = builder.names.tags.iter().map(Tag::as_str).collect();
    assert_eq!(tags, [builder.image.tag().unwrap().as_str(), "newest"]);
    assert_eq!(builder.names.digest, None);
    platform.builder_in_registry = true;
    let plan = platform.plan(&["back"]);
    assert_eq!(plan.units[0].names.digest, Some(digest("builder", "b")));
}
