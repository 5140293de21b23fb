//! `docker.bases: track`: moved base images cause a build, unknown ones do not.

use super::*;
use crate::model::plan::bases_label;

fn base() -> ImageReference {
    "docker.io/library/alpine:3".parse().unwrap()
}

fn failure() -> QueryFailure {
    QueryFailure {
        why: "429 Too Many Requests".to_owned(),
        hints: Vec::new(),
    }
}

/// A platform whose service `front` is complete and records a base image that is now in this state.
fn platform(bases: &str, now: Presence) -> TestPlatform {
    let text = MANIFEST.replace(
        "docker: {image: front",
        &format!("docker: {{{bases}image: front"),
    );
    let mut platform = TestPlatform::of(&text).complete("front").complete("back");
    let label = bases_label(Some(&BTreeMap::from([(base(), digest("alpine", "a"))])));
    platform.more_labels.insert(name("front"), label);
    platform.inventory.bases.insert(base(), now);
    platform.options(|options| options.track_bases = true)
}

fn reason(platform: &TestPlatform) -> String {
    let plan = platform.plan(&["front"]);
    let front = plan.units.last().unwrap();
    format!("{}: {}", front.decision, front.reason)
}

#[test]
fn only_a_moved_base_of_a_tracking_service_is_built() {
    let moved = || Presence::Present(digest("alpine", "b"));
    let tracked = "bases: track, ";
    assert_eq!(
        reason(&platform(tracked, moved())),
        "build: bases.alpine:3 moved"
    );
    let up_to_date = "skip: in the registry and the engine";
    assert_eq!(reason(&platform("", moved())), up_to_date);
    assert_eq!(reason(&platform("bases: ignore, ", moved())), up_to_date);
    let same = Presence::Present(digest("alpine", "a"));
    for now in [same, Presence::Absent, Presence::Unknown(failure())] {
        assert_eq!(reason(&platform(tracked, now)), up_to_date);
    }
    // A lock, a deploy and `--trust-commit` take the image as it is.
    let trusting = platform(tracked, moved()).options(|options| options.trust_commit = true);
    assert_eq!(reason(&trusting), up_to_date);
    let locking = platform(tracked, moved()).options(|options| options.track_bases = false);
    assert_eq!(reason(&locking), up_to_date);
}

#[test]
fn an_image_without_recorded_bases_is_built_once() {
    let mut platform = platform("bases: track, ", Presence::Absent);
    platform.more_labels.clear();
    assert_eq!(reason(&platform), "build: bases are not recorded");
    // But not an image that another tool built.
    let foreign = platform.label("front", None);
    assert!(
        reason(&foreign).starts_with("skip: "),
        "{}",
        reason(&foreign)
    );
}

#[test]
fn unknown_bases_are_reported_with_their_services() {
    let platform = platform("bases: track, ", Presence::Unknown(failure()));
    let notes = platform.draft(&["front"], |draft| {
        let folders = platform.folders(&draft);
        let inventory = platform.inventory(&draft, &folders);
        draft.unknown_bases(&inventory)
    });
    let notes: Vec<String> = notes.iter().map(ToString::to_string).collect();
    assert_eq!(
        notes,
        [
            "cannot tell whether the base image alpine:3 of front moved, so it does not cause a build: 429 Too Many Requests"
        ]
    );
    // With `--refresh-bases`, it must be known.
    let required = platform.options(|options| options.refresh_bases = true);
    assert!(required.try_plan(&["front"]).is_err());
}

#[test]
fn the_step_says_how_bases_are_used() {
    let bases = |platform: TestPlatform| {
        let platform = platform.options(|options| options.force = true);
        let plan = platform.plan(&["front"]);
        let mut steps = plan.units.last().unwrap().steps.iter();
        let bases = steps.find_map(|step| match step {
            Step::Image(image) => Some(image.bases),
            _ => None,
        });
        bases.unwrap()
    };
    let absent = || Presence::Absent;
    assert_eq!(bases(platform("", absent())), BaseUse::Recorded);
    assert_eq!(
        bases(platform("bases: track, ", absent())),
        BaseUse::Tracked
    );
    let refreshed = platform("", absent()).options(|options| options.refresh_bases = true);
    assert_eq!(bases(refreshed), BaseUse::Refreshed);
}

#[test]
fn tracking_is_not_an_input() {
    let recipe = |bases: &str| {
        let plan = platform(bases, Presence::Absent).plan(&["front"]);
        plan.units.last().unwrap().recipe.clone()
    };
    assert_eq!(recipe("bases: track, "), recipe(""));
}
