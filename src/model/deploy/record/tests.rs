//! Deploy records and rollbacks.

use super::*;
use crate::model::lock;

fn at(seconds: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(1_790_000_000 + seconds).unwrap()
}

fn deploy(number: u64, state: DeployState, rollback_to: Option<u64>) -> Deployment {
    let digest = format!("sha256:{}", number.to_string().repeat(64));
    let set = format!(
        "version: 1\nservices:\n  a:\n    remote: https://h/a\n    reference: origin/master\n    name: \
         refs/heads/master\n    path: a\n    commit: {0}\n    image: h.example.com/x/a:{0}\n    digest: \
         {digest}\n    recipe: \"0123456789\"\n    builder: h.example.com/x/builders/a:1\n",
        "a".repeat(40)
    );
    Deployment {
        number,
        id: format!("id-{number}"),
        state,
        started: at(0),
        until: at(360),
        ended: None,
        by: "ann@laptop".to_owned(),
        manifest: Some("b".repeat(40)),
        files: None,
        services: vec!["a".to_owned()],
        rollback_to,
        unused: BTreeSet::from(["b".parse().unwrap()]),
        set: lock::parse(&set, "x").unwrap(),
        ids: BTreeMap::new(),
    }
}

/// A record of deploys with these states, oldest first.
fn record(deploys: &[(DeployState, Option<u64>)]) -> Record {
    let mut record = Record::default();
    for (state, rollback_to) in deploys {
        let next = deploy(record.next_number(), *state, *rollback_to);
        record.deploys.insert(0, next);
    }
    record
}

#[test]
fn a_written_record_can_be_read() {
    let environment = "staging".parse().unwrap();
    let written = record(&[
        (DeployState::Deployed, None),
        (DeployState::Failed, Some(1)),
    ]);
    let object = written.object(&environment, None);
    assert_eq!(Record::read(&object).unwrap(), written);
    assert_eq!(object["metadata"]["name"], "xp-deploy-staging");
    assert!(object["metadata"].get("resourceVersion").is_none());
    let read = json!({"metadata": {"resourceVersion": "7"}});
    let object = written.object(&environment, Some(&read));
    assert_eq!(object["metadata"]["resourceVersion"], "7");
    // All keys of a lock's services.
    let text = format!(
        "version: 1\nservices:\n  b:\n    scm: 'builders/hg {{\"url\":\"http://h/b\"}}'\n    reference: default\n    \
         commit: {0}\n    image: x/b:{0}\n    recipe: \"0123456789\"\n    bases:\n      debian:12: sha256:{1}\n",
        "c".repeat(40),
        "d".repeat(64),
    );
    let mut written = written;
    written.deploys[0].set = lock::parse_deployed(&text, "x").unwrap();
    assert_eq!(
        Record::read(&written.object(&environment, None)).unwrap(),
        written
    );
    for wrong in [
        json!({"data": {}}),
        json!({"data": {"record.json": "{"}}),
        json!({"data": {"record.json": "{\"version\": 2}"}}),
    ] {
        assert!(Record::read(&wrong).is_err());
    }
}

#[test]
fn a_rollback_goes_to_the_previous_deploy() {
    use DeployState::{Deployed, Failed, Interrupted};
    let environment = "staging".parse().unwrap();
    let target = |deploys: &[(DeployState, Option<u64>)]| {
        let record = record(deploys);
        let found = record.rollback_target(&environment);
        found.ok().map(|it| it.number)
    };
    assert_eq!(target(&[]), None);
    assert_eq!(target(&[(Deployed, None)]), None);
    assert_eq!(target(&[(Deployed, None), (Deployed, None)]), Some(1));
    assert_eq!(target(&[(Deployed, None), (Failed, None)]), Some(1));
    assert_eq!(
        target(&[(Deployed, None), (Failed, None), (Interrupted, None)]),
        Some(1)
    );
    // Two rollbacks in a row.
    let twice = [(Deployed, None), (Deployed, None), (Deployed, None)];
    assert_eq!(target(&twice), Some(2));
    let back = [&twice[..], &[(Deployed, Some(2))]].concat();
    assert_eq!(target(&back), Some(1));
    // A failed rollback is retried: the bad deploy is still the one that was rolled back.
    for state in [Failed, Interrupted, DeployState::Deploying] {
        let failed = [&twice[..], &[(state, Some(2))]].concat();
        assert_eq!(target(&failed), Some(2));
        assert_eq!(target(&[&failed[..], &[(Failed, None)]].concat()), Some(2));
    }
    let failed = [&twice[..], &[(Failed, Some(2)), (Failed, Some(2))]].concat();
    assert_eq!(target(&failed), Some(1));
    // Back to a rollback, and then further: 3 was bad, and so was 5.
    let mixed = [&back[..], &[(Deployed, None)]].concat();
    assert_eq!(target(&mixed), Some(4));
    let mixed = [&mixed[..], &[(Deployed, Some(4))]].concat();
    assert_eq!(target(&mixed), Some(1));
}

#[test]
fn a_rollback_changes_something() {
    let environment = "staging".parse().unwrap();
    let mut record = record(&[(DeployState::Deployed, None); 3]);
    record.deploys[0].set = record.deploys[1].set.clone();
    let target = |record: &Record| record.rollback_target(&environment).unwrap().number;
    assert_eq!(target(&record), 1);
    // Different kustomize files count as a change.
    record.deploys[1].manifest = Some("c".repeat(40));
    assert_eq!(target(&record), 2);
}

#[test]
fn rollback_targets_are_kept() {
    let mut record = record(&[(DeployState::Deployed, None); 3]);
    for number in 4..30 {
        record = record.with_started(deploy(number % 9 + 1, DeployState::Failed, None));
        record.deploys[0].number = number;
    }
    let numbers =
        |record: &Record| -> Vec<u64> { record.deploys.iter().map(|it| it.number).collect() };
    assert_eq!(numbers(&record)[MAX_KEPT..], [3, 2]);
    assert_eq!(
        numbers(&Record::parse(&record.text()).unwrap())[MAX_KEPT..],
        [3, 2]
    );
    // If there is not enough room, failed deploys are dropped.
    let entry = record.deploys[0]
        .set
        .services
        .values()
        .next()
        .unwrap()
        .clone();
    for deploy in &mut record.deploys {
        let services = (0..500).map(|n| (format!("s{n}").parse().unwrap(), entry.clone()));
        deploy.set = Lock::new(services.collect());
    }
    let kept = numbers(&Record::parse(&record.text()).unwrap());
    assert!(kept.len() < MAX_KEPT, "{kept:?}");
    assert_eq!((kept[0], &kept[kept.len() - 2..]), (29, &[3, 2][..]));
}

#[test]
fn concurrent_deploys_are_rejected() {
    let environment = "staging".parse().unwrap();
    let busy = record(&[
        (DeployState::Deployed, None),
        (DeployState::Deploying, None),
    ]);
    let error = busy
        .check_not_in_progress(&environment, at(10), None)
        .unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("ann@laptop has been deploying to staging since ")
    );
    assert!(
        busy.check_not_in_progress(&environment, at(400), None)
            .is_ok()
    );
    assert!(
        busy.check_not_in_progress(&environment, at(10), Some("id-2"))
            .is_ok()
    );
    assert!(
        busy.check_not_in_progress(&environment, at(10), Some("id-1"))
            .is_err()
    );
    let next = busy.with_started(deploy(3, DeployState::Deploying, None));
    assert_eq!(next.deploys[1].state, DeployState::Interrupted);
    let ended = next.with_ended(DeployState::Deployed, at(20));
    assert_eq!(ended.last_deployed().unwrap().number, 3);
    assert!(
        ended
            .check_not_in_progress(&environment, at(21), None)
            .is_ok()
    );
}

#[test]
fn old_deploys_are_dropped() {
    let mut many = Record::default();
    for number in 1..30 {
        many = many.with_started(deploy(number % 9 + 1, DeployState::Deployed, None));
        many.deploys[0].number = number;
    }
    assert_eq!(many.deploys.len(), MAX_KEPT);
    let digest = many.deploys[0].set.services.values().next().unwrap();
    let mut large = many.clone();
    for deploy in &mut large.deploys {
        let services = (0..2000).map(|n| (format!("s{n}").parse().unwrap(), digest.clone()));
        deploy.set = Lock::new(services.collect());
    }
    let text = large.text();
    let kept = Record::parse(&text).unwrap().deploys.len();
    assert!((1..MAX_KEPT).contains(&kept), "{kept}");
}

#[test]
fn images_that_were_never_pushed_have_the_engines_ids() {
    let mut deployed = deploy(1, DeployState::Deployed, None);
    let service: ServiceName = "a".parse().unwrap();
    if let Some(entry) = deployed.set.services.get_mut(&service) {
        entry.digest = None;
    }
    deployed.ids = BTreeMap::from([(service, "sha256:0".to_owned())]);
    let record = Record {
        deploys: vec![deployed],
    };
    assert_eq!(Record::parse(&record.text()), Ok(record));
}
