//! Random worlds: nothing that a root reaches is removed, in any order of interruptions.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

/// The number of random worlds.
const WORLDS: u64 = 600;

/// A small generator of pseudorandom numbers.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) as usize % limit.max(1)
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }
}

/// Two services, a builder and a phase's results, with locks, clusters, indexes, descriptions of images and of
/// descriptions, and foreign tags.
fn world(random: &mut Random) -> Contents {
    let mut contents = contents(Vec::new());
    contents.keep.commits = random.below(3) as u32;
    contents.repositories[0].images = images(random, "a", 0);
    let untagging = [Untagging::Unknown, Untagging::Works, Untagging::Rejected];
    contents.repositories[0].untagging = untagging[random.below(3)];
    contents.repositories.push(Repository {
        name: repository("b"),
        kind: RepositoryKind::Service("b".parse().unwrap()),
        images: images(random, "b", 100),
        untagging: Untagging::Rejected,
    });
    let builders = (0..random.below(4)).map(|number| StoredImage {
        tags: vec![tag(&format!("{number:040x}"))],
        content: ImageContent::Builder,
        ..image(200 + number)
    });
    contents.repositories.push(Repository {
        name: repository("builders/go"),
        kind: RepositoryKind::Builder,
        images: builders.collect(),
        untagging: Untagging::Rejected,
    });
    if !random.one_in(3) {
        let names = random
            .one_in(2)
            .then(|| BTreeSet::from(["topic".to_owned()]));
        let other = OpenReferences {
            names,
            main: Some("master".to_owned()),
            ..OpenReferences::default()
        };
        contents.roots.services.insert("b".parse().unwrap(), other);
    }
    for service in contents.roots.services.values_mut() {
        for _ in 0..random.below(2) {
            service
                .tips
                .insert(commit(random.below(120)), "origin/master".to_owned());
        }
    }
    for (rule, text) in [
        (Rule::Lock, "lock in the history of master"),
        (Rule::Running, "running in staging"),
        (Rule::Deployed, "deploy 3 of staging"),
    ] {
        for _ in 0..random.below(3) {
            let number = random.below(8) + 100 * random.below(2);
            let alias = if random.one_in(3) { 1000 } else { 0 };
            contents
                .roots
                .digest(digest(number + alias), Reason::new(rule, text));
        }
    }
    contents
}

fn images(random: &mut Random, service: &str, first: usize) -> Vec<StoredImage> {
    let mut images = Vec::new();
    for number in first..first + random.below(8) {
        let mut it = image(number);
        // Several images of one commit.
        let of = first + random.below(6);
        it.tags = match random.below(5) {
            0 => Vec::new(),
            1 => vec![Tag::from_recipe(commit(of), &format!("{number:012x}"))],
            2 => vec![
                Tag::from_recipe(commit(of), &format!("{number:012x}")),
                tag("topic"),
            ],
            3 if random.one_in(3) => vec![tag(&format!("v{number}"))],
            _ => vec![Tag::from_commit(commit(number))],
        };
        it.created = match random.below(6) {
            0 => Some(NOW - DAY),
            1 if random.one_in(3) => None,
            _ => Some(NOW - 100 * DAY),
        };
        if random.one_in(4) {
            it.children = (0..2).map(|_| digest(first + random.below(8))).collect();
            it.children.retain(|child| *child < it.digest);
        }
        let facts = built(&mut it);
        facts.commit = commit(of);
        facts.service = if random.one_in(6) { "old" } else { service }.to_owned();
        facts.reference = ["master", "topic", "gone"][random.below(3)].to_owned();
        if random.one_in(3) {
            let need = random.below(8) + 100 * random.below(2);
            let alias = if random.one_in(2) { 1000 } else { 0 };
            facts.needs.insert("b".to_owned(), digest(need + alias));
        }
        if random.one_in(3) {
            facts
                .builders
                .push(tag(&format!("{:040x}", random.below(4))));
        }
        if random.one_in(3) {
            facts
                .steps
                .push(tag(&format!("step-{:064x}", random.below(3))));
        }
        match random.below(8) {
            0 => it.content = ImageContent::Foreign("not built by xp".to_owned()),
            1 => {
                it.content = ImageContent::Part;
                // A description is made after what it describes.
                let earlier = random.below((number - first).max(1));
                it.subject = (number > first).then(|| digest(first + earlier));
                it.tags.clear();
            }
            _ => {}
        }
        images.push(it);
    }
    for number in 0..random.below(3) {
        images.push(StoredImage {
            tags: vec![tag(&format!("step-{number:064x}"))],
            content: ImageContent::StepResult,
            ..image(first + 50 + number)
        });
    }
    for number in 0..random.below(4) {
        images.extend(descriptions(random, first, first + 60 + 3 * number));
    }
    images
}

/// A description of an image, which may be missing: a signature as cosign stores it, or a referrer, which an index with a
/// tag may list, and which may be signed.
fn descriptions(random: &mut Random, first: usize, number: usize) -> Vec<StoredImage> {
    let of = first + random.below(9);
    let named = |subject: usize, suffix: &str| tag(&format!("sha256-{subject:064x}{suffix}"));
    let description = |number: usize, subject: usize| StoredImage {
        subject: Some(digest(subject)),
        ..part(number)
    };
    let signature = |random: &mut Random, number: usize, subject: usize| {
        let mut signature = description(number, subject);
        let suffix = [".sig", ".att", ".sbom"][random.below(3)];
        signature.tags.push(named(subject, suffix));
        if random.one_in(6) {
            signature.tags.push(tag(&format!("v{number}")));
        }
        signature
    };
    if random.one_in(2) {
        return vec![signature(random, number, of)];
    }
    let mut all = vec![description(number, of)];
    if random.one_in(2) {
        let mut list = description(number + 1, of);
        list.tags.push(named(of, ""));
        list.children.push(digest(number));
        all.push(list);
    }
    if random.one_in(2) {
        all.push(signature(random, number + 2, number));
    }
    all
}

/// What must stay, found in another way than the plan does: by asking for each image, over and over, whether it must.
fn reachable(contents: &Contents) -> BTreeSet<(usize, Digest)> {
    let all: Vec<(usize, &StoredImage)> = contents
        .repositories
        .iter()
        .enumerate()
        .flat_map(|(repository, it)| it.images.iter().map(move |image| (repository, image)))
        .collect();
    let is_named = |image: &StoredImage, digest: &Digest| {
        image.digest == *digest || image.aliases.contains(digest)
    };
    let mut kept: BTreeSet<(usize, Digest)> = BTreeSet::new();
    for (repository, image) in &all {
        let roots = &contents.roots;
        let is_root = roots.digests.keys().any(|digest| is_named(image, digest));
        let is_tip = match &image.content {
            ImageContent::Built(built) => roots.services.iter().any(|(name, service)| {
                let tags = image.tags.iter().filter_map(Tag::named_commit);
                let mut commits = tags.chain([built.commit]);
                name.as_str() == built.service
                    && commits.any(|commit| service.tips.contains_key(&commit))
            }),
            _ => false,
        };
        let is_open = image.tags.contains(&tag("topic"))
            && matches!(image.content, ImageContent::Built(_))
            && roots.services.values().any(|service| {
                service
                    .names
                    .as_ref()
                    .is_some_and(|names| names.contains("topic"))
            });
        let is_other = matches!(image.content, ImageContent::Foreign(_))
            || image.tags.iter().any(|tag| tag.as_str().starts_with('v'));
        let is_young = image.created.is_none_or(|created| created > NOW - 10 * DAY)
            && !image.tags.is_empty()
            && image.subject.is_none();
        let describes_unlisted = image.subject.as_ref().is_some_and(|subject| {
            let mut listed = all.iter().filter(|(of, _)| of == repository);
            !listed.any(|(_, other)| is_named(other, subject))
        });
        if is_root || is_tip || is_open || is_other || is_young || describes_unlisted {
            kept.insert((*repository, image.digest.clone()));
        }
    }
    loop {
        let before = kept.len();
        for (repository, image) in &all {
            if !kept.contains(&(*repository, image.digest.clone())) {
                continue;
            }
            for (of, other) in &all {
                let is_part = of == repository && image.children.contains(&other.digest);
                let describes = of == repository
                    && (other.subject.as_ref() == Some(&image.digest)
                        || image.subject.as_ref() == Some(&other.digest));
                let is_needed = match &image.content {
                    ImageContent::Built(built) => {
                        let has = |tags: &[Tag]| other.tags.iter().any(|tag| tags.contains(tag));
                        built.needs.values().any(|need| is_named(other, need))
                            || of == repository && has(&built.steps)
                            || *of == 2 && has(&built.builders)
                    }
                    _ => false,
                };
                if is_part || describes || is_needed {
                    kept.insert((*of, other.digest.clone()));
                }
            }
        }
        if kept.len() == before {
            return kept;
        }
    }
}

fn remove(contents: &mut Contents, item: &CleanItem) {
    let of = |it: &&mut Repository| it.name.to_string() == item.group;
    let repository = contents.repositories.iter_mut().find(of).unwrap();
    for image in &mut repository.images {
        if item.action == Action::Untag && image.digest.as_str() == item.name {
            image
                .tags
                .retain(|tag| !item.tags.contains(&tag.to_string()));
        }
    }
    let is_removed =
        |image: &StoredImage| item.action == Action::Remove && image.digest.as_str() == item.name;
    repository.images.retain(|image| !is_removed(image));
}

fn kept(plan: &CleanPlan) -> BTreeMap<(String, String), String> {
    let kept = plan.items.iter().filter(|it| it.action == Action::Keep);
    kept.map(|it| ((it.group.clone(), it.name.clone()), it.tags.join(",")))
        .collect()
}

#[test]
fn nothing_that_a_root_reaches_is_removed() {
    let (mut removed, mut stayed) = (0, 0);
    let mut descriptions = BTreeSet::new();
    for seed in 0..WORLDS {
        let mut contents = world(&mut Random(seed));
        let original = contents.clone();
        let before = plan(&contents, Place::Registry);
        let must_stay = reachable(&contents);
        let removals: Vec<CleanItem> = before.removals().cloned().collect();
        for item in removals.iter().filter(|it| it.action == Action::Remove) {
            let of = |it: &Repository| it.name.to_string() == item.group;
            let repository = contents.repositories.iter().position(of).unwrap();
            let digest: Digest = item.name.parse().unwrap();
            assert!(
                !must_stay.contains(&(repository, digest)),
                "seed {seed}: {item:?} is needed"
            );
        }
        // Each image has one fate.
        let count: usize = contents.repositories.iter().map(|it| it.images.len()).sum();
        let fates = before.items.iter().filter(|it| it.action != Action::Untag);
        assert_eq!(fates.count(), count, "seed {seed}");
        descriptions.extend(before.items.iter().filter_map(|item| {
            let suffix = item.tags.iter().find_map(|tag| tag.strip_prefix("sha256-"));
            Some((item.action, suffix?.get(64..)?.to_owned()))
        }));
        removed += removals.len();
        stayed += kept(&before).len();
        // Interrupted anywhere, what is kept stays complete, and the next plan is the rest of this one.
        let expected = kept(&before);
        for (position, item) in removals.iter().enumerate() {
            remove(&mut contents, item);
            let now = plan(&contents, Place::Registry);
            let still: BTreeSet<_> = kept(&now).into_keys().collect();
            for name in expected.keys() {
                assert!(
                    still.contains(name),
                    "seed {seed}: {name:?} is gone after {item:?}"
                );
            }
            // A tag that is not removed any more, because the registry was not tried, is no loss.
            let rest = removals[position + 1..]
                .iter()
                .filter(|it| it.action == Action::Remove);
            let rest: BTreeSet<&str> = rest.map(|it| it.name.as_str()).collect();
            let next = now.removals().filter(|it| it.action == Action::Remove);
            let next: BTreeSet<&str> = next.map(|it| it.name.as_str()).collect();
            assert!(next.is_subset(&rest), "seed {seed}: {next:?} {rest:?}");
            assert_complete(&contents, &original, seed);
        }
        let again = plan(&contents, Place::Registry);
        assert_eq!(again.removals().count(), 0, "seed {seed}");
    }
    assert!(
        removed > WORLDS as usize && stayed > WORLDS as usize,
        "{removed} {stayed}"
    );
    for action in [Action::Keep, Action::Remove] {
        for suffix in ["", ".sig", ".att", ".sbom"] {
            assert!(
                descriptions.contains(&(action, suffix.to_owned())),
                "{action:?} {suffix}"
            );
        }
    }
}

/// Nothing that is listed refers to something that was removed before it.
fn assert_complete(contents: &Contents, original: &Contents, seed: u64) {
    for repository in &contents.repositories {
        let has = |digest: &Digest| repository.images.iter().any(|it| it.digest == *digest);
        let of = |it: &&Repository| it.name == repository.name;
        let original = original.repositories.iter().find(of).unwrap();
        let had = |digest: &Digest| original.images.iter().any(|it| it.digest == *digest);
        for image in &repository.images {
            for child in image.children.iter().filter(|child| had(child)) {
                assert!(has(child), "seed {seed}: {} lacks {child}", image.digest);
            }
            if let Some(subject) = image.subject.as_ref().filter(|subject| had(subject)) {
                assert!(
                    has(subject),
                    "seed {seed}: {} describes nothing",
                    image.digest
                );
            }
        }
    }
}
