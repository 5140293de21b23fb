//! The file format, comparisons, and checks of a manifest.

use std::collections::BTreeSet;
use std::path::Path;

use super::*;
use crate::model::manifest::Manifest;
use crate::model::plan::Presence;
use crate::model::source::{CommitSummary, SourceRemote};

/// Returns a lock of services of these names.
pub fn lock(names: &[&str]) -> Lock {
    let entry = |name: &&str| (name.parse().unwrap(), service(name, '1'));
    Lock::new(names.iter().map(entry).collect())
}

fn remote(url: &str) -> SourceRemote {
    SourceRemote::Git(url.parse().unwrap())
}

fn service(name: &str, digit: char) -> LockedService {
    LockedService {
        remote: remote(&format!("git@git.example.com:x/{name}.git")),
        reference: "origin/master".parse().unwrap(),
        name: Some("refs/heads/master".parse().unwrap()),
        path: None,
        commit: commit(digit),
        image: image(&format!("harbour.example.com/x/{name}"), digit),
        digest: Some(digest(digit)),
        recipe: InputDigest::parse("0123456789").unwrap(),
        builder: Some("harbour.example.com/x/builders/go:abc".parse().unwrap()),
        bases: BaseDigests::new(),
    }
}

fn image(repository: &str, digit: char) -> ImageReference {
    format!("{repository}:{}", commit(digit)).parse().unwrap()
}

fn commit(digit: char) -> CommitId {
    digit.to_string().repeat(40).parse().unwrap()
}

fn digest(digit: char) -> Digest {
    format!("sha256:{}", digit.to_string().repeat(64))
        .parse()
        .unwrap()
}

const TEXT: &str = "\
# Written by `xp lock`, which also updates it. Do not edit it; commit it.
# `xp build --locked` builds exactly this, `xp diff` shows what changed.
version: 1
services:
  a:
    remote: git@git.example.com:x/a.git
    reference: origin/master
    name: refs/heads/master
    commit: cccccccccccccccccccccccccccccccccccccccc
    image: harbour.example.com/x/a:cccccccccccccccccccccccccccccccccccccccc
    digest: sha256:cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc
    recipe: \"0123456789\"
    builder: harbour.example.com/x/builders/go:abc
  \"no\":
    remote: /srv/no.git
    reference: HEAD
    commit: \"1111111111111111111111111111111111111111\"
    image: no:1111111111111111111111111111111111111111
    recipe: \"0123456789\"
";

fn example() -> Lock {
    let mut lock = Lock::new(BTreeMap::from([("a".parse().unwrap(), service("a", 'c'))]));
    let plain = LockedService {
        remote: remote("/srv/no.git"),
        reference: GitReference::DefaultBranch,
        name: None,
        image: image("no", '1'),
        digest: None,
        builder: None,
        ..service("no", '1')
    };
    lock.services.insert("no".parse().unwrap(), plain);
    lock
}

/// Returns the error for an invalid lock.
#[track_caller]
fn refused(text: &str) -> String {
    let error = parse(text, "x-platform.lock").expect_err("this lock should be refused");
    error.to_string()
}

#[test]
fn the_format_is_stable() {
    assert_eq!(example().render(), TEXT);
    assert_eq!(parse(TEXT, "x").unwrap(), example());
    let empty = Lock::default();
    assert_eq!(parse(&empty.render(), "x").unwrap(), empty);
}

#[test]
fn written_locks_can_be_read() {
    let names = [
        "a", "1", "1.10", "0x1f", "no", "NULL", "y", "1e5", "a.b_c-d", "0b1",
    ];
    let remotes = [
        "https://h/x%20y",
        "ssh://git@h:22/ä",
        "h:~x/y",
        "../x",
        "git://h/a#b",
        "file:///a'b",
    ];
    let references = [
        "HEAD",
        "v1.0",
        "1.0",
        "refs/pull/1/head",
        "origin/a#b",
        "ü'\"",
        "true",
        "a{b}",
        "&x",
        "!x",
    ];
    let paths = [
        None,
        Some("a b"),
        Some("#x"),
        Some("a: b"),
        Some("no"),
        Some("ä/\u{2028}"),
    ];
    let commits = ["1", "e", "0", "a"];
    let mut lock = Lock::default();
    for (index, name) in names.iter().enumerate() {
        let pick = |length: usize| index % length;
        let commit: CommitId = commits[pick(commits.len())].repeat(40).parse().unwrap();
        let variant = ["", "-TASK-981", "-1.0"][pick(3)];
        let named = LockedService {
            remote: remote(remotes[pick(remotes.len())]),
            reference: references[pick(references.len())].parse().unwrap(),
            path: paths[pick(paths.len())].map(str::to_owned),
            commit,
            image: format!("h:5000/x:{commit}{variant}").parse().unwrap(),
            ..service("x", '2')
        };
        lock.services.insert(name.parse().unwrap(), named);
    }
    // Texts that look like numbers.
    let mut exponent = "0".repeat(40);
    exponent.replace_range(2..3, "e");
    let odd = LockedService {
        commit: exponent.parse().unwrap(),
        image: format!("x:{exponent}").parse().unwrap(),
        ..service("x", '3')
    };
    lock.services.insert("z".parse().unwrap(), odd);
    let text = lock.render();
    assert_eq!(parse(&text, "x").unwrap(), lock, "{text}");
    assert_eq!(parse(&text, "x").unwrap().render(), text);
    // Another YAML parser reads every value as a string.
    let values: serde_json::Value = serde_saphyr::from_str(&text).unwrap();
    for (name, service) in values["services"].as_object().unwrap() {
        for (key, value) in service.as_object().unwrap() {
            assert!(value.is_string(), "{name}.{key}: {value}");
        }
    }
}

#[test]
fn mistakes_in_an_edited_lock_are_reported() {
    let error = refused(&TEXT.replace("commit: ccc", "comit: ccc"));
    assert_eq!(
        error,
        "\
error: service `a` has no `commit`
 --> x-platform.lock:5:3
  |
5 |   a:
  |   ^
  |
  = hint: xp does not change a lock that it cannot read: restore the last good one from git, or delete the file and run `xp lock`

error: unknown key `comit` in `services.a`
 --> x-platform.lock:9:5
  |
9 |     comit: cccccccccccccccccccccccccccccccccccccccc
  |     ^^^^^
  |
  = hint: did you mean `commit`?"
    );
    let error = refused(&TEXT.replacen("commit: ccc", "commit: dcc", 1));
    assert!(error.contains("x-platform.lock:10:12"), "{error}");
    assert!(
        error.contains("`image` and `commit` do not match"),
        "{error}"
    );
    for (from, to, message) in [
        ("commit: ccc", "commit: xcc", "expected a full SHA-1"),
        ("recipe: \"0", "recipe: \"x", "invalid recipe digest"),
        (
            "digest: sha256:cccc",
            "digest: sha256:Xccc",
            "invalid digest",
        ),
        (
            "digest: sha256",
            "digest:\n#",
            "`services.a.digest` has no value",
        ),
        (
            "    digest: sha256:cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc\n",
            "",
            "service `a` has no `digest`, but its image is in a registry",
        ),
        (
            "reference: origin/master",
            "reference: a..b",
            "must not contain `..`",
        ),
        (
            "name: refs/heads/master",
            "name: master",
            "must be a full name",
        ),
        (
            "remote: git@git",
            "remote: https://me:s3cret@git",
            "invalid git remote URL",
        ),
        (
            "remote: /srv/no.git",
            "remote: https://T0KEN@h/x",
            "a lock must not contain credentials",
        ),
        ("version: 1", "version: one", "invalid lock version `one`"),
        ("version: 1\n", "", "the lock has no `version`"),
        ("services:\n", "service:\n", "the lock has no `services`"),
        ("  a:", "  a b:", "invalid service name `a b`"),
        ("  \"no\":", "  a:", "duplicate key `a`"),
        (
            "  a:\n",
            "  a: [1]\n  b:\n",
            "must be a mapping, not a list",
        ),
        ("    name: ", "     name: ", "invalid YAML"),
        ("    name: ", "\tname: ", "found a tab"),
    ] {
        assert!(TEXT.contains(from), "{from}");
        let error = refused(&TEXT.replacen(from, to, 1));
        assert!(error.contains(message), "{from} → {to}: {error}");
        assert!(
            !error.contains("s3cret") && !error.contains("T0KEN"),
            "{error}"
        );
    }
    for (text, message) in [
        ("", "the lock is empty"),
        ("# only a comment\n", "the lock is empty"),
        ("- a\n", "the lock must be a mapping"),
        (
            "version: 1\n---\nversion: 1\n",
            "the lock has more than one YAML document",
        ),
    ] {
        let error = refused(text);
        assert!(error.contains(message), "{error}");
    }
}

#[test]
fn a_newer_format_is_the_only_error() {
    let text = TEXT
        .replace("version: 1", "version: 2")
        .replace("commit:", "commits:");
    assert_eq!(
        refused(&text),
        "\
error: the lock was written by a newer xp: its format version is 2, but this xp supports 1
 --> x-platform.lock:3:10
  |
3 | version: 2
  |          ^
  |
  = hint: use that version of xp or a later one"
    );
}

#[test]
fn a_merge_conflict_is_reported() {
    let text = TEXT.replace("    name: ", "<<<<<<< HEAD\n    name: ");
    assert_eq!(
        refused(&text),
        "\
error: the lock has an unresolved merge conflict
 --> x-platform.lock:8:1
  |
8 | <<<<<<< HEAD
  | ^^^^^^^^^^^^
  |
  = hint: take one side with `git checkout --ours x-platform.lock` or `git checkout --theirs x-platform.lock`, then run `xp lock`"
    );
    assert!(refused(&TEXT.replace("  a:\n", "  a:\n=======\n")).contains("merge conflict"));
}

#[test]
fn line_ends_and_a_byte_order_mark_are_accepted() {
    let text = format!("\u{feff}{}", TEXT.replace('\n', "\r\n"));
    assert_eq!(parse(&text, "x").unwrap(), example());
}

const MANIFEST: &str = "
registry: harbour.example.com/x
services:
  a: {dir: a, git: {remote: 'git@git.example.com:x/a.git'}, docker: {image: a}}
  b: {dir: b, git: {remote: 'https://me:s3cret@git.example.com/x/b.git'}, docker: {image: b}}
";

fn manifest() -> Manifest {
    crate::model::manifest::parse(MANIFEST, Path::new("x-platform.yml")).unwrap()
}

fn names(names: &[&str]) -> BTreeSet<ServiceName> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

fn with_bold() -> Lock {
    let mut lock = lock(&["a", "b"]);
    let b = lock
        .services
        .get_mut(&"b".parse::<ServiceName>().unwrap())
        .unwrap();
    b.remote = remote("https://git.example.com/x/b.git");
    lock
}

#[test]
fn a_matching_lock_provides_the_sources() {
    let lock = with_bold();
    let sources = lock
        .sources("l", &manifest(), &names(&["a", "b"]), true)
        .unwrap();
    let a = &sources[&"a".parse::<ServiceName>().unwrap()];
    assert_eq!(
        (a.commit, a.origin),
        (commit('1'), crate::model::source::ReferenceOrigin::Lock)
    );
    assert_eq!(a.short_name(), Some("master"));
}

#[test]
fn all_mismatches_are_reported_at_once() {
    let mut lock = lock(&["b", "gone"]);
    let b = lock
        .services
        .get_mut(&"b".parse::<ServiceName>().unwrap())
        .unwrap();
    b.image = image("b", '1');
    b.path = Some("sub".to_owned());
    let all = names(&["a", "b"]);
    let error = lock
        .sources("x-platform.lock", &manifest(), &all, true)
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "\
x-platform.lock does not match the manifest
  a: not in the lock
  b: its `git.path` is `sub` in the lock, but none in the manifest
  b: its image is b in the lock, but harbour.example.com/x/b in the manifest
  gone: not in the manifest"
    );
    // Services that were not requested do not matter.
    let only = names(&["a"]);
    let error = lock.sources("x", &manifest(), &only, false).unwrap_err();
    assert_eq!(
        error.to_string(),
        "x does not match the manifest\n  a: not in the lock"
    );
    let hints = |error: &mismatch::LockMismatch| crate::base::error::Diagnostic::hints(error);
    // `a` may be `gone` under another name.
    assert!(hints(&error)[0].starts_with("use the manifest that belongs to the lock"));
    lock.services
        .remove(&"gone".parse::<ServiceName>().unwrap());
    let error = lock.sources("x", &manifest(), &only, false).unwrap_err();
    assert_eq!(hints(&error), ["`xp lock a` adds what is missing"]);
}

#[test]
fn moved_repositories_and_images_match() {
    let mut lock = with_bold();
    for (name, from) in [
        ("a", "old.example.com/y/a"),
        ("b", "harbour.example.com/x/b2"),
    ] {
        let locked = lock.services.get_mut(&name.parse::<ServiceName>().unwrap());
        let locked = locked.unwrap();
        locked.remote = SourceRemote::Git("https://old.example.com/x.git".parse().unwrap());
        locked.image = image(from, '1');
    }
    let (manifest, all) = (manifest(), names(&["a", "b"]));
    assert!(lock.sources("l", &manifest, &all, true).is_ok());
    let moved = lock.in_repositories_of(&manifest);
    let repository = |name: &str| {
        moved.services[&name.parse::<ServiceName>().unwrap()]
            .image
            .repository()
            .to_string()
    };
    assert_eq!(repository("a"), "harbour.example.com/x/a");
    assert_eq!(
        lock.copy_commands(LOCK, &manifest, &all),
        [
            "xp copy --from harbour.example.com/x/b2 --locked b",
            "xp copy --from old.example.com/y --locked",
        ]
    );
    assert_eq!(
        lock.copy_commands("my lock", &manifest, &names(&["a"])),
        ["xp copy --from old.example.com/y --locked --lock-file 'my lock'"]
    );
    assert!(moved.copy_commands(LOCK, &manifest, &all).is_empty());
    let registry = BTreeMap::from([(
        moved.services[&"a".parse::<ServiceName>().unwrap()]
            .image
            .repository()
            .with_digest(digest('1')),
        Presence::Absent,
    )]);
    let missing = moved.check_images(LOCK, &all, &registry).unwrap_err();
    let missing = missing.locked_as(&lock, &manifest);
    assert!(
        missing
            .to_string()
            .contains("an image is not in the registry"),
        "{missing}"
    );
    assert_eq!(
        crate::base::error::Diagnostic::hints(&missing),
        [
            "`xp copy --from old.example.com/y --locked` copies what was locked in another repository"
        ]
    );
}

#[test]
fn a_renamed_service_is_one_change() {
    let before = lock(&["a", "b"]);
    let mut after = lock(&["b"]);
    after
        .services
        .insert("c".parse().unwrap(), service("a", '1'));
    let changes = LockChanges::between(("one", &before), ("two", &after));
    assert_eq!(
        changes.text(),
        "c  renamed  11111111  formerly a\n1 service unchanged\n"
    );
    assert_eq!(changes.summary(), changes.text());
    assert_eq!(
        changes.markdown(),
        "## c\n\nRenamed from a, at `11111111` of origin/master\n"
    );
    let json = changes.json();
    assert_eq!(json["services"]["a"]["change"], "removed");
    assert_eq!(json["services"]["c"]["renamed"], "a");
    // Another image is another service.
    after
        .services
        .insert("c".parse().unwrap(), service("a", '2'));
    let changes = LockChanges::between(("one", &before), ("two", &after));
    assert!(changes.text().contains("a  removed"), "{}", changes.text());
}

#[test]
fn needed_services_explain_changed_recipes() {
    let text = MANIFEST.replace("image: b}", "image: b}, needs: [a]");
    let manifest = crate::model::manifest::parse(&text, Path::new("x-platform.yml")).unwrap();
    let before = lock(&["a", "b"]);
    let mut after = before.clone();
    after
        .services
        .insert("a".parse().unwrap(), service("a", '2'));
    let b = after
        .services
        .get_mut(&"b".parse::<ServiceName>().unwrap())
        .unwrap();
    b.recipe = InputDigest::parse("9876543210").unwrap();
    let mut changes = LockChanges::between(("one", &before), ("two", &after));
    changes.add_needed(&manifest);
    let text = changes.text();
    assert!(
        text.contains("b  changed  11111111            recipe; needs a, which changed\n"),
        "{text}"
    );
    assert_eq!(
        changes.json()["services"]["b"]["needed"],
        serde_json::json!(["a"])
    );
    assert!(
        changes
            .markdown()
            .contains("; changed: recipe; needs a, which changed\n")
    );
}

#[test]
fn dependents_that_stay_locked_are_outdated() {
    let text = MANIFEST.replace("image: b}", "image: b}, needs: [a]")
        + "  c: {dir: c, git: {remote: 'https://h/c'}, docker: {image: c}, needs: [b]}\n";
    let manifest = crate::model::manifest::parse(&text, Path::new("x-platform.yml")).unwrap();
    let before = lock(&["a", "b", "c"]);
    let with = |name: &str| {
        let name: ServiceName = name.parse().unwrap();
        before.with(BTreeMap::from([(
            name.clone(),
            service(name.as_str(), '2'),
        )]))
    };
    let outdated = |new: &Lock| {
        let found = before.outdated_dependents(new, &manifest);
        let found = found.iter().map(|(name, need)| format!("{name}: {need}"));
        found.collect::<Vec<_>>()
    };
    assert_eq!(outdated(&with("a")), ["b: a", "c: b"]);
    assert_eq!(outdated(&with("c")), [""; 0]);
    let both = with("a").with(
        with("b")
            .services
            .into_iter()
            .filter(|(name, _)| name.as_str() == "b")
            .collect(),
    );
    assert_eq!(outdated(&both), ["c: b"]);
}

#[test]
fn differences_fit_the_terminal() {
    let before = lock(&["a"]);
    let mut after = before.clone();
    let a = after
        .services
        .get_mut(&"a".parse::<ServiceName>().unwrap())
        .unwrap();
    a.image = format!("{}-TASK-981", a.image).parse().unwrap();
    a.digest = Some(digest('2'));
    a.recipe = InputDigest::parse("9876543210").unwrap();
    let table = before.difference_table(&after, Some(60));
    assert_eq!(
        table,
        "\
SERVICE  CHANGE   COMMIT    DETAILS
a        changed  11111111  tag 11111111 to
                            11111111-TASK-981, digest,
                            recipe
"
    );
}

#[test]
fn images_are_checked_by_digest() {
    let lock = lock(&["a", "b", "c"]);
    let all = names(&["a", "b", "c"]);
    let image = |name: &str| {
        let locked = &lock.services[&name.parse::<ServiceName>().unwrap()];
        locked.image.repository().with_digest(digest('1'))
    };
    let registry = BTreeMap::from([
        (image("a"), Presence::Present(digest('1'))),
        (image("b"), Presence::Absent),
        (image("c"), Presence::Absent),
    ]);
    let error = lock.check_images("x.lock", &all, &registry).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "x.lock cannot be used: 2 images are no longer in the registry\n  b: {}\n  c: {}",
            image("b"),
            image("c")
        )
    );
    assert!(lock.check_images("x", &names(&["a"]), &registry).is_ok());
}

fn summary(digit: char, subject: &str) -> CommitSummary {
    CommitSummary {
        commit: commit(digit),
        author: "Zoë\u{1b}[31m".to_owned(),
        time: 1_700_000_000,
        offset_minutes: 600,
        subject: subject.to_owned(),
        is_merge: false,
    }
}

/// Returns changes of every kind.
fn changes() -> LockChanges {
    let mut from = lock(&["back", "builder", "moved", "removed", "same", "unknown"]);
    let mut to = lock(&["added", "back", "builder", "moved", "same", "unknown"]);
    // Another image than that of the removed one.
    let added = to
        .services
        .get_mut(&"added".parse::<ServiceName>().unwrap());
    added.unwrap().digest = Some(digest('3'));
    for name in ["back", "moved", "unknown"] {
        to.services
            .insert(name.parse().unwrap(), service(name, '2'));
    }
    for (lock, tag) in [(&mut from, "go:1"), (&mut to, "go:2")] {
        let name: ServiceName = "builder".parse().unwrap();
        lock.services.get_mut(&name).unwrap().builder = Some(tag.parse().unwrap());
    }
    let mut changes =
        LockChanges::between(("HEAD:x-platform.lock", &from), ("x-platform.lock", &to));
    for change in &mut changes.services {
        change.history = match change.service.as_str() {
            "back" => CommitHistory::Known {
                added: Vec::new(),
                dropped: vec![summary('1', "Old")],
            },
            "moved" => CommitHistory::Known {
                added: vec![
                    summary('2', "Add <b>`x|y`</b>"),
                    summary('3', "Mend\u{9b}1m"),
                ],
                dropped: vec![summary('1', "Old")],
            },
            "unknown" => CommitHistory::Unknown("no working copy at src/unknown".to_owned()),
            _ => CommitHistory::None,
        };
    }
    changes
}

#[test]
fn changes_as_text() {
    assert_eq!(
        changes().text(),
        "\
added    added    11111111
back     moved    11111111..22222222  back by 1 commit
  - 11111111  2023-11-15  Zoë\u{fffd}[31m  Old
builder  changed  11111111            builder
moved    moved    11111111..22222222  2 commits, 1 dropped
  + 22222222  2023-11-15  Zoë\u{fffd}[31m  Add <b>`x|y`</b>
  + 33333333  2023-11-15  Zoë\u{fffd}[31m  Mend\u{fffd}1m
  - 11111111  2023-11-15  Zoë\u{fffd}[31m  Old
removed  removed  11111111
unknown  moved    11111111..22222222  commits unknown
  no working copy at src/unknown
1 service unchanged
"
    );
    let same = LockChanges::between(("a", &example()), ("b", &example()));
    assert_eq!(same.text(), "a and b are identical\n");
    assert_eq!(same.markdown(), "No service changed.\n");
}

#[test]
fn changes_as_markdown() {
    assert_eq!(
        changes().markdown(),
        "\
## added

Added, at `11111111` of origin/master

## back

`11111111..22222222`, back by 1 commit

No longer included:

- Old (`11111111`, Zoë\u{fffd}\\[31m, 2023-11-15)

## builder

Still at `11111111`; changed: builder

## moved

`11111111..22222222`, 2 commits, 1 dropped

- Add &lt;b&gt;\\`x\\|y\\`&lt;/b&gt; (`22222222`, Zoë\u{fffd}\\[31m, 2023-11-15)
- Mend\u{fffd}1m (`33333333`, Zoë\u{fffd}\\[31m, 2023-11-15)

No longer included:

- Old (`11111111`, Zoë\u{fffd}\\[31m, 2023-11-15)

## removed

Removed; it was at `11111111` of origin/master

## unknown

`11111111..22222222`, commits unknown

no working copy at src/unknown
"
    );
}

#[test]
fn changes_as_json() {
    let json = changes().json();
    assert_eq!(
        (&json["version"], &json["unchanged"]),
        (&1.into(), &1.into())
    );
    let moved = &json["services"]["moved"];
    assert_eq!(moved["change"], "moved");
    assert_eq!(moved["changed"], serde_json::json!(["commit", "digest"]));
    assert_eq!(moved["from"]["commit"], "1".repeat(40));
    assert_eq!(moved["commits"][0]["subject"], "Add <b>`x|y`</b>");
    assert_eq!(moved["commits"][0]["date"], "2023-11-15T08:13:20+10:00");
    assert_eq!(moved["dropped"].as_array().unwrap().len(), 1);
    let unknown = &json["services"]["unknown"];
    assert!(unknown["commits"].is_null());
    assert_eq!(unknown["problem"], "no working copy at src/unknown");
    assert!(json["services"]["added"]["from"].is_null());
}

#[test]
fn bases_are_locked_and_compared() {
    let with = |digit| {
        let base = "docker.io/library/alpine:3".parse().unwrap();
        let mut lock = lock(&["a"]);
        let service = lock.services.values_mut().next().unwrap();
        service.bases.insert(base, digest(digit));
        lock
    };
    let text = with('d').render();
    let line = format!(
        "    bases:\n      docker.io/library/alpine:3: {}\n",
        digest('d')
    );
    assert!(text.ends_with(&line), "{text}");
    assert_eq!(parse(&text, "x").unwrap(), with('d'));
    let table = with('d').difference_table(&with('e'), None);
    assert!(
        table.contains("changed") && table.contains("bases"),
        "{table}"
    );
    assert!(refused(&text.replace(digest('d').as_str(), "x")).contains("digest"));
    assert!(refused(&text.replace("docker.io/library/alpine:3", "A b")).contains("lock:"));
}
