//! The table and the JSON output.

use serde_json::Value;

use super::*;
use crate::model::image::Digest;
use crate::model::plan::QueryFailure;
use crate::model::source::ResolvedReference;

fn commit(digit: &str) -> CommitId {
    digit.repeat(40).parse().unwrap()
}

fn checkout() -> CheckoutStatus {
    CheckoutStatus {
        branch: Some("master".to_owned()),
        commit: Some(commit("a")),
        ahead_and_behind: Some((0, 0)),
        is_fetched: true,
        modified: 0,
        untracked: 0,
        operation: None,
    }
}

fn service(name: &str, working_copy: WorkingCopyStatus) -> ServiceStatus {
    let tip = ResolvedReference {
        commit: commit("a"),
        name: Some("refs/heads/master".to_owned()),
    };
    ServiceStatus {
        name: name.parse().unwrap(),
        dir: PathBuf::from("src").join(name),
        working_copy,
        source: Some(ServiceSource::of(tip, ReferenceOrigin::Manifest)),
        image: Some(format!("r.example.com/{name}:1").parse().unwrap()),
        engine: ImageStatus::Absent,
        registry: ImageStatus::Verified,
        bases: Vec::new(),
    }
}

fn status(services: Vec<ServiceStatus>) -> Status {
    Status {
        services,
        problems: Vec::new(),
    }
}

/// Returns the table cell of a working copy.
fn shown(working_copy: WorkingCopyStatus) -> String {
    let table = status(vec![service("a", working_copy)]).table(None);
    let line = table.lines().nth(1).unwrap();
    line.split("verified").nth(1).unwrap().trim().to_owned()
}

#[test]
fn working_copies_are_summarized() {
    let present = |change: &dyn Fn(&mut CheckoutStatus)| {
        let mut checkout = checkout();
        change(&mut checkout);
        shown(WorkingCopyStatus::Present(checkout))
    };
    assert_eq!(present(&|_| {}), "master");
    let ahead = present(&|checkout| checkout.ahead_and_behind = Some((2, 1)));
    assert_eq!(ahead, "master +2 -1");
    let changed = present(&|checkout| (checkout.modified, checkout.untracked) = (3, 1));
    assert_eq!(changed, "master, 3 modified, 1 untracked");
    let detached = present(&|checkout| checkout.branch = None);
    assert_eq!(detached, "detached at aaaaaaaa");
    let old = present(&|checkout| {
        checkout.is_fetched = false;
        checkout.ahead_and_behind = Some((0, 4));
    });
    assert_eq!(old, "master -4, not fetched");
    let merging = present(&|checkout| checkout.operation = Some("merge"));
    assert_eq!(merging, "master, merge in progress");
    assert_eq!(present(&|checkout| checkout.commit = None), "no commit");
    assert_eq!(shown(WorkingCopyStatus::Missing), "missing");
    assert_eq!(shown(WorkingCopyStatus::Foreign), "not a working copy");
    assert_eq!(shown(WorkingCopyStatus::Unreadable), "?");
}

#[test]
fn columns_without_information_are_omitted() {
    let mut one = service("a", WorkingCopyStatus::Missing);
    let heading = |one: &ServiceStatus| {
        let table = status(vec![one.clone()]).table(None);
        table.lines().next().unwrap().to_owned()
    };
    assert_eq!(
        heading(&one),
        "SERVICE  COMMIT    ENGINE  REGISTRY  WORKING COPY"
    );
    one.registry = ImageStatus::NoRegistry;
    assert_eq!(heading(&one), "SERVICE  COMMIT    ENGINE  WORKING COPY");
    one.registry = ImageStatus::Unknown;
    one.source.as_mut().unwrap().origin = ReferenceOrigin::Branch;
    assert_eq!(
        heading(&one),
        "SERVICE  REFERENCE  COMMIT    ENGINE  REGISTRY  WORKING COPY"
    );
    one.source = None;
    let table = status(vec![one]).table(None);
    assert_eq!(
        table.lines().nth(1).unwrap(),
        "a        ?       -       ?         missing"
    );
}

#[test]
fn a_narrow_terminal_shows_working_copies_on_their_own_lines() {
    let one = service("a", WorkingCopyStatus::Present(checkout()));
    let table = status(vec![one]).table(Some(40));
    assert_eq!(
        table,
        "SERVICE  COMMIT    ENGINE  REGISTRY\n  WORKING COPY\na        aaaaaaaa  -       verified\n  master\n"
    );
}

#[test]
fn lookup_results_have_one_word_each() {
    let of = |lookup: ImageLookup, is_compared| ImageStatus::of(&lookup, is_compared).as_str();
    assert_eq!(
        of(ImageLookup::Found(RecipeStatus::Verified), true),
        "verified"
    );
    assert_eq!(
        of(ImageLookup::Found(RecipeStatus::Verified), false),
        "present"
    );
    assert_eq!(
        of(ImageLookup::Found(RecipeStatus::Unverified), true),
        "unverified"
    );
    assert_eq!(
        of(ImageLookup::Found(RecipeStatus::Stale(Vec::new())), true),
        "stale"
    );
    assert_eq!(of(ImageLookup::Absent, false), "absent");
    let refusal = QueryFailure {
        why: "it answers 503".to_owned(),
        hints: Vec::new(),
    };
    assert_eq!(of(ImageLookup::Unknown(refusal), true), "unknown");
}

#[test]
fn json_has_everything() {
    let mut one = service("a", WorkingCopyStatus::Present(checkout()));
    one.engine = ImageStatus::Stale;
    let mut two = service("b", WorkingCopyStatus::Missing);
    (two.source, two.image) = (None, None);
    let mut status = status(vec![one, two]);
    status.problems.push("the remote is gone".to_owned());
    let json: Value = serde_json::from_str(&status.json()).unwrap();
    assert_eq!(json["version"], 1);
    assert_eq!(json["problems"][0], "the remote is gone");
    let (one, two) = (&json["services"][0], &json["services"][1]);
    assert_eq!(one["service"], "a");
    assert_eq!(one["reference"], "master");
    assert_eq!(one["origin"], "manifest");
    assert_eq!(one["commit"], "a".repeat(40));
    assert_eq!(one["image"], "r.example.com/a:1");
    assert_eq!(one["engine"], "stale");
    assert_eq!(one["registry"], "verified");
    assert_eq!(one["workingCopy"]["dir"], "src/a");
    assert_eq!(one["workingCopy"]["state"], "present");
    assert_eq!(one["workingCopy"]["ahead"], 0);
    assert_eq!(one["workingCopy"]["fetched"], true);
    assert_eq!(two["commit"], Value::Null);
    assert_eq!(two["workingCopy"]["state"], "missing");
}

#[test]
fn unbuilt_changes_are_those_that_the_branch_lacks() {
    let note = |branch: Option<&str>, ahead, modified| {
        let source = service("a", WorkingCopyStatus::Missing).source.unwrap();
        let unpushed = UnpushedChanges {
            branch: branch.map(str::to_owned),
            ahead,
            modified,
        };
        local_changes_note("src/a", &source, &unpushed)
    };
    assert_eq!(
        note(Some("master"), 2, 1).unwrap(),
        "not built: 2 commits and 1 modified file in src/a, not in master of its remote"
    );
    assert_eq!(note(Some("topic"), 2, 0), None);
    assert_eq!(note(None, 2, 0), None);
    assert_eq!(note(Some("master"), 0, 0), None);
    assert_eq!(
        note(None, 2, 3).unwrap(),
        "not built: 3 modified files in src/a, not in master of its remote"
    );
}

#[test]
fn moved_bases_are_listed_below_the_table() {
    let digest =
        |digit: &str| -> Digest { format!("sha256:{}", digit.repeat(64)).parse().unwrap() };
    let base = |name: &str, state| RecordedBase {
        image: name.parse().unwrap(),
        digest: digest("a"),
        state,
    };
    let with = |name: &str, bases| ServiceStatus {
        bases,
        ..service(name, WorkingCopyStatus::Missing)
    };
    let moved = || base("docker.io/library/alpine:3", BaseState::Moved(digest("b")));
    let same = base("r.example.com/os:1", BaseState::Same);
    let unknown = base("r.example.com/tools:1", BaseState::Unknown);
    let status = status(vec![
        with("a", vec![moved(), unknown]),
        with("b", vec![moved(), same]),
    ]);
    let table = status.table(None);
    let last = table.lines().last().unwrap();
    assert_eq!(
        last,
        "the base image alpine:3 of a, b moved in its registry"
    );
    assert_eq!(table.lines().count(), 4);
    let json: Value = serde_json::from_str(&status.json()).unwrap();
    assert_eq!(
        json["services"][0]["movedBases"],
        serde_json::json!(["alpine:3"])
    );
}
