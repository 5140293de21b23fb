//! Topic trains: names of images whose dependencies deviate from the manifest.

use super::*;

/// `back` needs `front`, `front` needs `base`; `other` needs nothing.
const CHAIN: &str = "
registry: r.example.com/x
services:
  back:
    dir: src/back
    git: {remote: 'https://g.example.com/back.git', reference: origin/master}
    docker:
      image: back
      args: {FRONT: '${{ services.front.image }}'}
      tags: ['build-${{ env.N }}', '${{ service.branch }}-latest']
  front:
    dir: src/front
    git: {remote: 'https://g.example.com/front.git'}
    docker: {image: front, tags: ['v-${{ service.commit }}']}
    needs: [base]
  base:
    dir: src/base
    git: {remote: 'https://g.example.com/base.git'}
    docker: {image: base, args: {VERSION: '${{ service.branch }}'}}
  other:
    dir: src/other
    git: {remote: 'https://g.example.com/other.git'}
    docker: {image: other}
";

const ALL: &[&str] = &["back", "front", "base", "other"];

fn topic() -> CommitId {
    "0123456789".repeat(4).parse().unwrap()
}

/// A platform with some services at another commit, from the branch `T/1` or a reference.
fn platform(deviating: &[(&str, ReferenceOrigin)]) -> TestPlatform {
    let mut platform = TestPlatform::of(CHAIN);
    for (service, origin) in deviating {
        let source = platform.sources.get_mut(&name(service)).unwrap();
        *source = ServiceSource {
            manifest_reference: Some(source.tip.clone()),
            ..ServiceSource::of(
                ResolvedReference {
                    commit: topic(),
                    name: Some("refs/heads/T".to_owned()),
                },
                *origin,
            )
        };
    }
    platform.options(|options| {
        let is_train = deviating
            .iter()
            .any(|(_, origin)| *origin == ReferenceOrigin::Branch);
        options.train = is_train.then(|| "T".parse().unwrap());
    })
}

/// The image's tag and additional tags, for each service of a plan.
fn tags(plan: &Plan) -> BTreeMap<String, Vec<String>> {
    let units = plan.units.iter().map(|unit| {
        let names = unit.steps.iter().find_map(|step| match step {
            Step::Image(image) => Some(&image.names),
            _ => None,
        });
        let tags = names.unwrap().iter().map(|name| name.tag().unwrap());
        (unit.unit.to_string(), tags.map(Tag::to_string).collect())
    });
    units.collect()
}

#[test]
fn without_a_train_images_are_tagged_with_their_commits() {
    let plan = platform(&[]).plan(ALL);
    let back = commit("back").to_string();
    assert_eq!(
        tags(&plan)["back"],
        [back.as_str(), "master", "build-7", "master-latest"]
    );
    assert_eq!(plan.train, None);
    assert!(!plan.shows_references());
}

#[test]
fn dependents_of_the_train_are_variants() {
    let plan = platform(&[("base", ReferenceOrigin::Branch)]).plan(ALL);
    let tags = tags(&plan);
    // On the train: its own commit, and none of its dependencies differ.
    assert_eq!(tags["base"], [topic().to_string().as_str(), "T"]);
    // Direct and indirect dependents: never the commit's or the branch's tag.
    let front = commit("front");
    assert_eq!(
        tags["front"],
        [format!("{front}-T"), "T".to_owned(), format!("v-{front}-T")]
    );
    assert_eq!(
        tags["back"],
        [
            format!("{}-T", commit("back")),
            "T".to_owned(),
            "build-7".to_owned(),
            "master-latest-T".to_owned()
        ]
    );
    // Unaffected: the usual tags, and part of the preview.
    let other = commit("other").to_string();
    assert_eq!(tags["other"], [other.as_str(), "master", "T"]);
    let train = plan.train.unwrap();
    assert_eq!(train.to_string(), "On T: 1 of 4 services.");
}

#[test]
fn placeholders_name_the_image_of_the_train() {
    let plan = platform(&[("base", ReferenceOrigin::Branch)]).plan(ALL);
    let back = plan
        .units
        .iter()
        .find(|unit| unit.unit.to_string() == "back")
        .unwrap();
    let image = back.steps.iter().find_map(|step| match step {
        Step::Image(image) => Some(image),
        _ => None,
    });
    let image = image.unwrap();
    assert_eq!(
        image.args["FRONT"],
        format!("r.example.com/x/front:{}-T", commit("front"))
    );
    // Its own branch does not change.
    assert_eq!(image.labels["org.opencontainers.image.version"], "master");
    assert_eq!(
        image.labels["org.opencontainers.image.revision"],
        commit("back").to_string()
    );
}

#[test]
fn dependents_on_the_train_are_variants_too() {
    let plan = platform(&[
        ("base", ReferenceOrigin::Branch),
        ("front", ReferenceOrigin::Branch),
    ])
    .plan(ALL);
    assert_eq!(
        tags(&plan)["front"][..2],
        [format!("{}-T", topic()), "T".to_owned()]
    );
}

#[test]
fn a_branch_without_new_commits_is_not_a_variant() {
    let mut platform = platform(&[("base", ReferenceOrigin::Branch)]);
    let source = platform.sources.get_mut(&name("base")).unwrap();
    source.manifest_reference = Some(ResolvedReference {
        commit: topic(),
        name: Some("refs/heads/master".to_owned()),
    });
    let tags = tags(&platform.plan(ALL));
    assert_eq!(tags["front"][0], commit("front").to_string());
    assert_eq!(tags["front"][1..3], ["master", "T"]);
    // It is built as the manifest's branch; otherwise, it would be a different image.
    let version = |platform: &TestPlatform| {
        let plan = platform.plan(&["base"]);
        let steps = &plan.units.last().unwrap().steps;
        let image = steps.iter().find_map(|step| match step {
            Step::Image(image) => Some(image),
            _ => None,
        });
        image.unwrap().args["VERSION"].clone()
    };
    assert_eq!(version(&platform), "master");
    platform
        .sources
        .get_mut(&name("base"))
        .unwrap()
        .manifest_reference = None;
    assert_eq!(version(&platform), "T");
}

#[test]
fn a_reference_of_one_service_makes_a_variant_by_its_name() {
    let plan = platform(&[("base", ReferenceOrigin::Reference)]).plan(ALL);
    let variant = Tag::from_branch("base=T").to_string();
    assert!(variant.starts_with("base-T-"), "{variant}");
    let one = tags(&plan);
    assert_eq!(
        one["front"][..2],
        [format!("{}-{variant}", commit("front")), variant]
    );
    assert_eq!(one["other"][1..], ["master"]);
    assert_eq!(plan.train, None);
    assert!(plan.shows_references());
    // A different reference results in a different image.
    let both = platform(&[
        ("base", ReferenceOrigin::Reference),
        ("front", ReferenceOrigin::Reference),
    ]);
    let both = tags(&both.plan(ALL));
    assert_ne!(both["back"][0], one["back"][0]);
    assert_ne!(both["front"][0], one["front"][0]);
}

#[test]
fn only_selected_services_get_the_trains_tag() {
    let plan = platform(&[("base", ReferenceOrigin::Branch)]).plan(&["other"]);
    assert_eq!(tags(&plan)["other"][1..], ["master", "T"]);
    let plan = platform(&[("other", ReferenceOrigin::Branch)]).plan(&["front"]);
    // `base` is only built because `front` needs it.
    assert_eq!(tags(&plan)["base"][1..], ["master"]);
    assert_eq!(plan.train.unwrap().to_string(), "On T: 0 of 2 services.");
}

#[test]
fn a_variant_is_queried_by_its_own_tag() {
    let usual = platform(&[("base", ReferenceOrigin::Branch)])
        .complete("front")
        .complete("other");
    let plan = usual.plan(&["front"]);
    assert_eq!(
        shown(&plan)[1],
        "front build: new commit with T \
         [sync export image push tag]"
    );
    let tag = format!("{}-T", commit("front"));
    let v = format!("v-{tag}");
    let complete = ["T", &tag, &v].into_iter().fold(usual, |platform, tag| {
        platform
            .registry("front", tag, "c")
            .engine("front", tag, "c")
    });
    assert_eq!(
        shown(&complete.plan(&["front"])),
        ["front skip: in the registry and the engine, unverified []"]
    );
}

#[test]
fn the_plan_shows_the_reference_of_each_service() {
    let plan = platform(&[("base", ReferenceOrigin::Branch)]).plan(ALL);
    let text = plan.display(Path::new("/p"), Detail::FILE, Duration::ZERO);
    let columns = |service: &str| {
        let line = text.lines().find(|line| line.starts_with(service)).unwrap();
        line.split_whitespace().take(2).collect::<Vec<_>>()
    };
    assert_eq!(columns("SERVICE"), ["SERVICE", "REFERENCE"]);
    assert_eq!(columns("base"), ["base", "T"]);
    assert_eq!(columns("other"), ["other", "master"]);
    assert!(text.contains("\n\nOn T: 1 of 4 services.\n\n"), "{text}");
}
