//! Each rule on its own.

use super::*;

#[test]
fn an_old_image_is_removed() {
    let contents = contents(vec![image(1)]);
    assert_eq!(fate(&contents, 1), "remove older than 14 days");
    let plan = plan(&contents, Place::Registry);
    assert_eq!(plan.freed[&Place::Registry], 1010);
    assert_eq!(plan.items[0].tags.len(), 2);
}

#[test]
fn blobs_of_kept_images_are_not_freed() {
    let mut young = image(2);
    young.created = Some(NOW - DAY);
    let contents = contents(vec![image(1), young]);
    assert_eq!(fate(&contents, 2), "keep younger than 14 days");
    assert_eq!(plan(&contents, Place::Registry).freed[&Place::Registry], 10);
}

#[test]
fn roots_keep_images_by_digest_configuration_and_name() {
    let mut contents = contents(vec![image(1), image(2), image(3), image(4)]);
    let lock = Reason::new(Rule::Lock, "lock at tag v1.4");
    contents.roots.digest(digest(1), lock.clone());
    contents.roots.digest(
        digest(1002),
        Reason::new(Rule::Running, "running in staging"),
    );
    let name = repository("a").tagged(Tag::from_commit(commit(3)));
    contents.roots.name(name, lock);
    assert_eq!(fate(&contents, 1), "keep lock at tag v1.4");
    assert_eq!(fate(&contents, 2), "keep running in staging");
    assert_eq!(fate(&contents, 3), "keep lock at tag v1.4");
    assert!(fate(&contents, 4).starts_with("remove "));
}

#[test]
fn tips_are_kept_by_commit_and_by_tag() {
    let mut topic = image(2);
    topic.tags.push(tag("topic"));
    built(&mut topic).reference = "topic".to_owned();
    let mut contents = contents(vec![image(1), topic]);
    assert_eq!(
        fate(&contents, 2),
        "remove its branch topic no longer exists"
    );
    let service = contents.roots.services.values_mut().next().unwrap();
    service.tips.insert(commit(1), "origin/master".to_owned());
    service.names.as_mut().unwrap().insert("topic".to_owned());
    assert_eq!(fate(&contents, 1), "keep tip of origin/master");
    assert_eq!(
        fate(&contents, 2),
        "keep tagged topic, a branch or tag that exists"
    );
}

#[test]
fn an_image_without_tags_of_xp_is_kept() {
    let mut released = image(1);
    released.tags.push(tag("v1.4"));
    let mut other = image(2);
    other.content = ImageContent::Foreign("not built by xp".to_owned());
    let mut unknown = image(3);
    unknown.created = None;
    let contents = contents(vec![released, other, unknown]);
    assert_eq!(
        fate(&contents, 1),
        "keep tagged v1.4, which is not a tag of xp"
    );
    assert_eq!(fate(&contents, 2), "keep not built by xp");
    assert_eq!(fate(&contents, 3), "keep its age is unknown");
}

#[test]
fn a_tag_of_the_manifest_goes_with_its_image() {
    let mut tagged = image(1);
    tagged.tags.push(tag("build-1"));
    let mut contents = contents(vec![tagged]);
    assert!(fate(&contents, 1).starts_with("keep tagged build-1"));
    let image = &mut contents.repositories[0].images[0];
    built(image).own_tags.push(tag("build-1"));
    assert!(fate(&contents, 1).starts_with("remove "));
}

#[test]
fn the_tag_of_a_train_goes_when_no_service_has_its_branch() {
    let mut on_train = image(1);
    on_train.tags.push(tag("train"));
    let mut of_train = image(2);
    built(&mut of_train).reference = "train".to_owned();
    let mut contents = contents(vec![on_train, of_train]);
    assert!(fate(&contents, 1).starts_with("remove "));
    // Another service still has the branch.
    let other = OpenReferences {
        names: Some(BTreeSet::from(["train".to_owned()])),
        ..OpenReferences::default()
    };
    contents.roots.services.insert("b".parse().unwrap(), other);
    assert_eq!(
        fate(&contents, 1),
        "keep tagged train, a branch or tag that exists"
    );
    // The branches of another service are unknown.
    contents
        .roots
        .services
        .insert("b".parse().unwrap(), OpenReferences::default());
    assert_eq!(
        fate(&contents, 1),
        "keep tagged train, which is not a tag of xp"
    );
}

#[test]
fn the_last_commits_of_each_branch_are_kept() {
    let mut merged = image(3);
    built(&mut merged).reference = "topic".to_owned();
    let mut contents = contents(vec![image(1), image(2), merged]);
    contents.keep.commits = 1;
    assert!(fate(&contents, 1).starts_with("remove "));
    assert_eq!(
        fate(&contents, 2),
        "keep the last commit of master with an image"
    );
    // Its topic branch may have been merged.
    assert_eq!(
        fate(&contents, 3),
        "keep the last commit of master with an image"
    );
}

#[test]
fn images_of_working_copies_are_kept_by_age_only() {
    let mut local = image(1);
    built(&mut local).is_local = true;
    let mut contents = contents(vec![local]);
    contents.keep.commits = 1;
    let service = contents.roots.services.values_mut().next().unwrap();
    service.tips.insert(commit(1), "origin/master".to_owned());
    assert_eq!(
        fate(&contents, 1),
        "remove of a working copy, and older than 14 days"
    );
    contents.repositories[0].images[0].created = Some(NOW);
    assert_eq!(fate(&contents, 1), "keep younger than 14 days");
}

#[test]
fn images_of_former_services_are_named() {
    let mut former = image(1);
    built(&mut former).service = "old".to_owned();
    let contents = contents(vec![former]);
    assert_eq!(
        fate(&contents, 1),
        "remove of the service old, which is not in the manifest"
    );
}

#[test]
fn a_kept_image_keeps_what_it_needs() {
    let mut top = image(1);
    let facts = built(&mut top);
    facts.needs.insert("b".to_owned(), digest(1002));
    facts.bases.push(digest(3));
    facts.steps.push(tag(&format!("step-{:064x}", 4)));
    facts.builders.push(tag(&format!("{:040x}", 5)));
    let step = StoredImage {
        tags: vec![tag(&format!("step-{:064x}", 4))],
        content: ImageContent::StepResult,
        ..image(4)
    };
    let builder = |number: usize| StoredImage {
        tags: vec![tag(&format!("{number:040x}"))],
        content: ImageContent::Builder,
        ..image(number)
    };
    let mut contents = contents(vec![top, image(2), image(3), step]);
    contents.repositories.push(Repository {
        name: repository("builders/go"),
        kind: RepositoryKind::Builder,
        images: vec![builder(5), builder(6)],
        untagging: Untagging::Rejected,
    });
    assert_eq!(
        fate(&contents, 4),
        "remove result that no kept image was built with"
    );
    assert_eq!(
        fate(&contents, 5),
        "remove builder that no kept image was built with"
    );
    contents
        .roots
        .digest(digest(1), Reason::new(Rule::Lock, "lock"));
    assert_eq!(fate(&contents, 2), "keep needed by a@00000000");
    assert_eq!(fate(&contents, 3), "keep base of a@00000000");
    assert_eq!(fate(&contents, 4), "keep result of a phase of a@00000000");
    assert_eq!(fate(&contents, 5), "keep builder of a@00000000");
    assert!(fate(&contents, 6).starts_with("remove "));
}

#[test]
fn parts_and_descriptions_share_the_fate_of_their_image() {
    let index = |number: usize, children: &[usize]| StoredImage {
        children: children.iter().map(|child| digest(*child)).collect(),
        ..image(number)
    };
    let signature = StoredImage {
        subject: Some(digest(1)),
        ..part(9)
    };
    let mut contents = contents(vec![
        part(5),
        index(1, &[3, 4]),
        signature,
        index(2, &[4, 5]),
        part(3),
        part(4),
    ]);
    let plan = plan(&contents, Place::Registry);
    let order: Vec<&str> = plan.removals().map(|it| it.name.as_str()).collect();
    let position = |number: usize| order.iter().position(|it| *it == digest(number).as_str());
    assert_eq!(order.len(), 6);
    assert_eq!(position(9), Some(0), "{order:?}");
    assert!(position(1) < position(3) && position(1) < position(4));
    assert!(position(2) < position(4) && position(2) < position(5));
    contents
        .roots
        .digest(digest(1), Reason::new(Rule::Lock, "lock"));
    for kept in [3, 4, 9] {
        assert!(fate(&contents, kept).starts_with("keep "), "{kept}");
    }
    assert_eq!(
        fate(&contents, 5),
        "remove part of an image that is removed"
    );
}

#[test]
fn images_of_platforms_are_kept_with_their_index() {
    let platform = |number: usize, name: &str| {
        let tags = image(1).tags;
        StoredImage {
            tags: vec![tags[1].for_platform(&name.parse().unwrap())],
            ..image(number)
        }
    };
    let index = StoredImage {
        children: vec![digest(2), digest(3)],
        ..image(1)
    };
    let (amd, arm) = (platform(2, "linux/amd64"), platform(3, "linux/arm64"));
    let mut contents = contents(vec![amd, index, arm]);
    let plan = plan(&contents, Place::Registry);
    let first = plan.removals().next().unwrap();
    assert_eq!(first.name, digest(1).as_str());
    assert_eq!(plan.removals().count(), 3);
    contents
        .roots
        .digest(digest(1), Reason::new(Rule::Lock, "lock"));
    for kept in [2, 3] {
        assert_eq!(fate(&contents, kept), "keep part of a@00000000");
    }
}

#[test]
fn an_index_is_kept_if_one_of_its_images_is_needed() {
    let mut top = image(5);
    built(&mut top).needs.insert("b".to_owned(), digest(1002));
    let index = StoredImage {
        children: vec![digest(2), digest(3)],
        ..image(1)
    };
    let mut contents = contents(vec![top, part(3), index, part(2)]);
    contents.repositories[0].images[3].aliases = vec![digest(1002)];
    contents
        .roots
        .digest(digest(5), Reason::new(Rule::Lock, "lock"));
    for kept in [1, 2] {
        assert_eq!(fate(&contents, kept), "keep needed by a@00000000");
    }
    assert_eq!(fate(&contents, 3), "keep part of a@00000000");
}

#[test]
fn a_description_of_an_unlisted_image_is_kept() {
    let name = format!("sha256-{:064x}.sig", 7);
    let signature = StoredImage {
        tags: vec![tag(&name)],
        subject: subject_of(&tag(&name)),
        content: ImageContent::Part,
        ..image(1)
    };
    let mut contents = contents(vec![signature]);
    assert!(fate(&contents, 1).ends_with("which is not listed"));
    contents.repositories[0].images.push(image(7));
    assert_eq!(
        fate(&contents, 1),
        "remove describes an image that is removed"
    );
    for other in ["sha256-ab", "sha512-ab", "sha256-ab.txt", "v1"] {
        assert_eq!(subject_of(&tag(other)), None);
    }
}

#[test]
fn tags_of_closed_branches_go_where_registries_can_remove_tags() {
    let mut tagged = image(1);
    tagged.tags.push(tag("topic"));
    built(&mut tagged).reference = "topic".to_owned();
    let mut contents = contents(vec![tagged, image(2)]);
    contents
        .roots
        .digest(digest(1), Reason::new(Rule::Lock, "lock"));
    let untagged = |contents: &Contents| {
        let plan = plan(contents, Place::Registry);
        let items = plan
            .items
            .into_iter()
            .filter(|it| it.action == Action::Untag);
        items.map(|item| item.tags).collect::<Vec<_>>()
    };
    assert!(untagged(&contents).is_empty());
    // It is tried with the other image first.
    contents.repositories[0].untagging = Untagging::Unknown;
    assert_eq!(untagged(&contents), [["topic"]]);
    contents.repositories[0].images.pop();
    assert!(untagged(&contents).is_empty());
    contents.repositories[0].untagging = Untagging::Works;
    assert_eq!(untagged(&contents), [["topic"]]);
}

#[test]
fn a_saved_plan_applies_only_as_it_was() {
    let mut contents = contents(vec![image(1), image(2)]);
    let before = plan(&contents, Place::Registry);
    let text = CleanDocument::new(&before, &[Place::Registry], false).text();
    let saved = SavedPlan::parse(&text).unwrap();
    assert_eq!(saved.applied_to(before.clone()).unwrap(), before);
    // New images are not part of it, and removed ones are gone.
    contents.repositories[0].images.remove(0);
    contents.repositories[0].images.push(image(3));
    let applied = saved.applied_to(plan(&contents, Place::Registry)).unwrap();
    assert_eq!(applied.removals().count(), 1);
    contents.repositories[0].images[0]
        .tags
        .push(Tag::from_recipe(commit(2), "ba9876543210"));
    let error = saved
        .applied_to(plan(&contents, Place::Registry))
        .unwrap_err();
    assert!(error.to_string().contains("has new tags"), "{error}");
    contents
        .roots
        .digest(digest(2), Reason::new(Rule::Lock, "lock at v2"));
    let error = saved
        .applied_to(plan(&contents, Place::Registry))
        .unwrap_err();
    assert!(error.to_string().contains("is kept: lock at v2"), "{error}");
    assert!(SavedPlan::parse("{}").is_err());
}
