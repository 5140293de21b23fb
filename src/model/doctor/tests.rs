//! Findings for facts.

use std::time::Duration;

use serde_json::Value;

use super::text::Paint;
use super::*;
use crate::base::units::disk_size;
use crate::model::engine::{EngineDescription, EngineProperties, ProxyFacts};
use crate::model::status::{CheckoutStatus, WorkingCopyStatus};

fn failure(what: &str, fix: &str) -> CheckFailure {
    CheckFailure {
        what: what.to_owned(),
        causes: Vec::new(),
        fixes: vec![fix.to_owned()],
        exit: Exit::Outside,
    }
}

fn texts(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// Returns the findings of a severity, one per line.
fn lines(section: &Section, severity: Severity) -> Vec<String> {
    let findings = section.findings.iter();
    let findings = findings.filter(|finding| finding.severity == severity);
    findings
        .map(|finding| {
            let parts = [
                std::slice::from_ref(&finding.what),
                &finding.causes,
                &finding.fixes,
            ];
            parts.concat().join(" | ")
        })
        .collect()
}

#[track_caller]
fn only(section: &Section, severity: Severity) -> String {
    let mut lines = lines(section, severity);
    assert_eq!(lines.len(), 1, "{:#?}", section.findings);
    lines.remove(0)
}

fn engine_info() -> EngineDescription {
    EngineDescription {
        product: "Docker Engine".to_owned(),
        version: "28.1.1".to_owned(),
        api: "1.49".to_owned(),
        buildkit: true,
        system: "linux".to_owned(),
        root: Some("/var/lib/docker".to_owned()),
        limits_memory: true,
        proxies: ProxyFacts::default(),
        warnings: Vec::new(),
        facts: EngineProperties {
            architecture: "x86_64".to_owned(),
            ..EngineProperties::default()
        },
    }
}

fn engine_facts() -> EngineConnectionFacts {
    EngineConnectionFacts {
        address: "unix:///var/run/docker.sock".to_owned(),
        is_named: false,
        socket: Some(Socket::Usable),
        context: None,
        others: Vec::new(),
        in_container: false,
        own: None,
        buildkit_is_off: false,
        info: Ok(engine_info()),
        space: Some(DiskSpace {
            free: 41 << 30,
            files: Some(1_000_000),
        }),
        images: None,
        architecture: "x86_64",
        limited: Vec::new(),
        proxies: ProxyFacts::default(),
    }
}

#[test]
fn the_summary_describes_the_engine() {
    let section = engine(&engine_facts());
    assert_eq!(section.severity(), Severity::Ok);
    assert_eq!(
        section.summary,
        "Docker Engine 28.1.1, BuildKit, 41 GiB free"
    );
    let mut podman = engine_facts();
    podman.info = Ok(EngineDescription {
        product: "Podman Engine".to_owned(),
        version: "5.2".to_owned(),
        buildkit: false,
        facts: EngineProperties {
            rootless: true,
            ..EngineProperties::default()
        },
        ..engine_info()
    });
    let section = engine(&podman);
    assert_eq!(section.severity(), Severity::Note);
    assert_eq!(
        section.summary,
        "Podman Engine 5.2, no BuildKit, rootless, 41 GiB free"
    );
}

#[test]
fn an_unreachable_engine_has_fixes() {
    let unreachable = |change: &dyn Fn(&mut EngineConnectionFacts)| {
        let mut facts = engine_facts();
        facts.info = Err(failure("it does not answer", "something general"));
        facts.socket = Some(Socket::Missing);
        change(&mut facts);
        let section = engine(&facts);
        let mut errors = lines(&section, Severity::Error);
        errors.remove(0)
    };
    let absent = unreachable(&|_| {});
    assert!(absent.contains("sudo systemctl start docker"), "{absent}");
    assert!(!absent.contains("something general"), "{absent}");
    let denied = |joined| {
        unreachable(&|facts| {
            facts.socket = Some(Socket::Denied {
                group: "docker".to_owned(),
                joined,
            });
        })
    };
    assert!(
        denied(false).contains("sudo usermod -aG docker"),
        "{}",
        denied(false)
    );
    assert!(denied(true).contains("newgrp docker"), "{}", denied(true));
    assert!(!denied(true).contains("usermod"), "{}", denied(true));
    let inside = unreachable(&|facts| facts.in_container = true);
    assert!(
        inside.contains("docker run -v /var/run/docker.sock:/var/run/docker.sock"),
        "{inside}"
    );
    let other = unreachable(&|facts| facts.others = texts(&["unix:///run/podman/podman.sock"]));
    assert!(
        other.contains("export DOCKER_HOST=unix:///run/podman/podman.sock"),
        "{other}"
    );
    let context = unreachable(&|facts| facts.context = Some("desktop".to_owned()));
    assert!(context.contains("Docker context `desktop`"), "{context}");
    // For a remote engine, the fixes come from the error.
    let far = unreachable(&|facts| {
        facts.address = "tcp://far:2375".to_owned();
        facts.socket = None;
    });
    assert_eq!(far, "it does not answer | something general");
}

#[test]
fn a_reachable_engine_may_have_problems() {
    let found = |change: &dyn Fn(&mut EngineConnectionFacts, &mut EngineDescription)| {
        let (mut facts, mut info) = (engine_facts(), engine_info());
        change(&mut facts, &mut info);
        facts.info = Ok(info);
        engine(&facts)
    };
    let windows = found(&|_, info| info.system = "windows".to_owned());
    assert!(only(&windows, Severity::Error).contains("windows containers"));
    let arm = found(&|_, info| info.facts.architecture = "aarch64".to_owned());
    assert!(
        only(&arm, Severity::Warning).contains("images for aarch64, but this machine is x86_64")
    );
    let same = found(&|_, info| info.facts.architecture = "amd64".to_owned());
    assert_eq!(same.severity(), Severity::Ok);
    let far = found(&|facts, _| facts.address = "tcp://far.example.com:2376".to_owned());
    assert!(only(&far, Severity::Note).contains("because it cannot access this machine's files"));
    let ssh = found(&|facts, _| facts.address = "ssh://ann@localhost".to_owned());
    assert!(only(&ssh, Severity::Note).contains("reached over ssh"));
    let near = found(&|facts, _| facts.address = "tcp://127.0.0.1:2375".to_owned());
    assert_eq!(near.severity(), Severity::Note);
    let unlimited = found(&|facts, info| {
        info.limits_memory = false;
        facts.limited = texts(&["zbackend"]);
    });
    assert!(only(&unlimited, Severity::Warning).contains("does not support memory limits"));
    let no_limits = found(&|_, info| info.limits_memory = false);
    assert_eq!(no_limits.severity(), Severity::Ok);
    let classic = found(&|facts, info| {
        facts.buildkit_is_off = true;
        info.buildkit = false;
    });
    assert!(only(&classic, Severity::Warning).contains("DOCKER_BUILDKIT=0"));
    let proxy = found(&|facts, _| {
        let proxy = ("https_proxy".to_owned(), "http://proxy:3128".to_owned());
        facts.proxies.proxies = vec![proxy];
    });
    assert!(only(&proxy, Severity::Warning).contains("has none"));
    let context = found(&|facts, _| facts.context = Some("other".to_owned()));
    assert_eq!(context.severity(), Severity::Ok);
}

#[test]
fn low_space_is_reported() {
    let of = |free: u64, files: Option<u64>| {
        let mut facts = engine_facts();
        facts.space = Some(DiskSpace { free, files });
        engine(&facts).severity()
    };
    assert_eq!(of(10 << 30, None), Severity::Ok);
    assert_eq!(of((10 << 30) - 1, None), Severity::Warning);
    assert_eq!(of((1 << 30) - 1, None), Severity::Error);
    assert_eq!(of(41 << 30, Some(49_999)), Severity::Warning);
    assert_eq!(disk_size(0), "0 bytes");
    assert_eq!(disk_size(1536), "1.5 KiB");
    assert_eq!(disk_size(41 << 30), "41 GiB");
    assert_eq!(disk_size(u64::MAX), "16777215 TiB");
}

fn registry_facts(count: usize) -> RegistryFacts {
    let repositories = (1..=count).map(|number| RepositoryFacts {
        name: format!("r.example.com/x/s{number}"),
        pull: Ok(()),
        push: Some(Ok(PushAccess { cancel_error: None })),
    });
    RegistryFacts {
        host: "r.example.com".to_owned(),
        origin: CredentialOrigin::File("/home/ann/.docker/config.json".to_owned()),
        user: Ok(Some("the user `ann`".to_owned())),
        address: Some(Ok("https://r.example.com".to_owned())),
        is_loopback: false,
        repositories: repositories.collect(),
    }
}

#[test]
fn the_summary_of_a_registry_has_its_user() {
    let section = registry(&registry_facts(12));
    assert_eq!(section.severity(), Severity::Ok);
    assert_eq!(
        section.summary,
        "the user `ann` may push to 12 repositories"
    );
    let mut facts = registry_facts(2);
    facts.repositories[0].push = None;
    let summary = registry(&facts).summary;
    assert_eq!(
        summary,
        "the user `ann` may pull from 2 repositories and push to 1"
    );
    facts.address = Some(Ok("http://r.example.com".to_owned()));
    let plain = registry(&facts);
    assert!(only(&plain, Severity::Note).contains("without TLS"));
    facts.is_loopback = true;
    assert_eq!(registry(&facts).severity(), Severity::Ok);
}

#[test]
fn equal_refusals_are_grouped() {
    let mut facts = registry_facts(5);
    for repository in &mut facts.repositories {
        let what = format!(
            "r.example.com does not allow the user `ann` to push to {}: denied",
            repository.name
        );
        repository.push = Some(Err(failure(&what, "ask for the right")));
    }
    let section = registry(&facts);
    assert_eq!(
        only(&section, Severity::Error),
        "r.example.com does not allow the user `ann` to push to r.example.com/x/s1, r.example.com/x/s2, \
         r.example.com/x/s3 and 2 more: denied | credentials: the user `ann`, from \
         /home/ann/.docker/config.json | ask for the right"
    );
    // A different reason results in a separate finding.
    facts.repositories[0].push = Some(Err(failure("it answers 503", "wait")));
    assert_eq!(lines(&registry(&facts), Severity::Error).len(), 2);
}

#[test]
fn a_refused_pull_is_not_reported_twice() {
    let mut facts = registry_facts(1);
    let one = &mut facts.repositories[0];
    one.pull = Err(failure("it refuses the user `ann`", "log in"));
    one.push = Some(Err(failure(
        "it refuses the user `ann`: wrong password",
        "log in",
    )));
    let error = only(&registry(&facts), Severity::Error);
    assert!(
        error.starts_with("it refuses the user `ann`: wrong password"),
        "{error}"
    );
}

#[test]
fn an_unreachable_registry_is_one_error() {
    let mut facts = registry_facts(0);
    facts.address = Some(Err(failure(
        "r.example.com does not respond",
        "is it there?",
    )));
    let error = only(&registry(&facts), Severity::Error);
    assert!(
        error.contains("queried as the user `ann`, from /home/ann"),
        "{error}"
    );
    facts.user = Err(failure("the helper is missing", "install it"));
    assert_eq!(
        only(&registry(&facts), Severity::Error),
        "the helper is missing | install it"
    );
}

#[test]
fn an_upload_that_cannot_be_canceled_is_a_warning() {
    let mut facts = registry_facts(1);
    facts.repositories[0].push = Some(Ok(PushAccess {
        cancel_error: Some("it answers 405".to_owned()),
    }));
    assert!(only(&registry(&facts), Severity::Warning).contains("it answers 405"));
}

fn remote(name: &str) -> RemoteFacts {
    RemoteFacts {
        url: format!("git@git.example.com:x/{name}.git"),
        effective: None,
        is_ssh: true,
        services: texts(&[name]),
        found: Some(vec![("origin/master".to_owned(), "a".repeat(40))]),
        failures: Vec::new(),
        took: Duration::from_millis(230),
    }
}

#[test]
fn remotes_have_their_response_time() {
    let section = remotes(&[remote("a"), remote("b")], None);
    assert_eq!(section.summary, "2 remotes, 2 references");
    let ok = lines(&section, Severity::Ok);
    assert_eq!(
        ok[0],
        "git@git.example.com:x/a.git: origin/master is aaaaaaaa (0.2s)"
    );
    let slow = RemoteFacts {
        took: Duration::from_secs(7),
        ..remote("a")
    };
    assert!(only(&remotes(&[slow], None), Severity::Warning).contains("took 7.0s"));
    let not_queried = RemoteFacts {
        found: None,
        ..remote("a")
    };
    let section = remotes(&[not_queried], None);
    assert_eq!(
        (section.summary.as_str(), section.severity()),
        ("1 remote, not checked", Severity::Ok)
    );
}

#[test]
fn rejected_keys_include_the_agents_state() {
    let refused = RemoteFacts {
        found: Some(Vec::new()),
        failures: vec![CheckFailure {
            what: "a cannot be resolved".to_owned(),
            causes: texts(&["git.example.com refused the ssh keys for the user `git`"]),
            fixes: Vec::new(),
            exit: Exit::Outside,
        }],
        ..remote("a")
    };
    let agent = |keys, is_named| AgentFacts {
        keys,
        is_named,
        services: Vec::new(),
    };
    let error = |agent: AgentFacts| {
        only(
            &remotes(std::slice::from_ref(&refused), Some(&agent)),
            Severity::Error,
        )
    };
    assert!(error(agent(None, false)).contains("SSH_AUTH_SOCK is not set"));
    assert!(error(agent(None, true)).contains("does not respond"));
    assert!(error(agent(Some(0), true)).contains("the ssh agent has no keys"));
    assert!(error(agent(Some(2), true)).contains("the ssh agent has 2 keys"));
    // Every error has a fix.
    assert!(error(agent(Some(2), true)).contains("check the URL"));
}

#[test]
fn a_forwarded_agent_must_exist() {
    let of = |keys| {
        let agent = AgentFacts {
            keys,
            is_named: keys.is_some(),
            services: texts(&["a"]),
        };
        remotes(&[], Some(&agent)).severity()
    };
    assert_eq!(of(None), Severity::Error);
    assert_eq!(of(Some(0)), Severity::Warning);
    assert_eq!(of(Some(1)), Severity::Ok);
}

#[test]
fn builders_are_reported_with_their_location() {
    let of = |is_folder, engine, registry| {
        let facts = BuilderFacts {
            name: "builders/go".to_owned(),
            image: "0a1b2c3d".to_owned(),
            is_folder,
            services: texts(&["a"]),
            location: Ok(BuilderLocation { engine, registry }),
        };
        let section = builders(&[facts]);
        let finding = section.findings[0].clone();
        (section.severity(), finding.what, section.summary)
    };
    let (severity, what, summary) = of(true, Some(false), Some(Ok(false)));
    assert_eq!(severity, Severity::Note);
    assert_eq!(
        what,
        "builders/go (0a1b2c3d) does not exist yet; the next build creates it"
    );
    assert_eq!(summary, "1 builder image, 1 not built yet");
    assert_eq!(of(true, Some(false), None).0, Severity::Note);
    assert_eq!(of(true, Some(true), Some(Ok(true))).0, Severity::Ok);
    assert_eq!(of(true, None, Some(Ok(true))).0, Severity::Ok);
    assert_eq!(of(true, None, None).0, Severity::Note);
    // The registry's own section reports it.
    let refused = || Some(Err(failure("it refuses", "log in")));
    assert_eq!(of(true, Some(false), refused()).0, Severity::Note);
    assert_eq!(of(false, Some(false), refused()).0, Severity::Error);
    assert_eq!(of(false, Some(false), Some(Ok(false))).0, Severity::Error);
    assert_eq!(of(false, Some(true), None).0, Severity::Ok);
}

fn working_copy(status: WorkingCopyStatus) -> WorkingCopyFacts {
    WorkingCopyFacts {
        dir: "src/a".to_owned(),
        services: texts(&["a"]),
        status,
        problem: None,
        other_remotes: None,
        remote: "git@git.example.com:x/a.git".to_owned(),
        lock: None,
        is_shallow: false,
    }
}

fn checkout() -> CheckoutStatus {
    CheckoutStatus {
        branch: Some("master".to_owned()),
        commit: Some("a".repeat(40).parse().unwrap()),
        ahead_and_behind: Some((0, 3)),
        is_fetched: true,
        modified: 0,
        untracked: 0,
        operation: None,
    }
}

#[test]
fn local_changes_are_notes() {
    let clean = working_copy(WorkingCopyStatus::Present(checkout()));
    let work = working_copy(WorkingCopyStatus::Present(CheckoutStatus {
        branch: None,
        ahead_and_behind: Some((2, 0)),
        modified: 1,
        untracked: 4,
        operation: Some("rebase"),
        ..checkout()
    }));
    let section = working_copies(&[clean, work, working_copy(WorkingCopyStatus::Missing)]);
    assert_eq!(section.severity(), Severity::Note);
    assert_eq!(
        section.summary,
        "2 working copies, 1 with local changes, 1 not cloned yet"
    );
    assert_eq!(
        only(&section, Severity::Note),
        "src/a is at aaaaaaaa (detached HEAD): 2 commits not pushed, 1 file modified, 4 files untracked, \
         rebase in progress"
    );
    let shallow = WorkingCopyFacts {
        is_shallow: true,
        ..working_copy(WorkingCopyStatus::Present(checkout()))
    };
    assert!(only(&working_copies(&[shallow]), Severity::Note).contains("shallow"));
}

#[test]
fn a_clone_of_another_remote_has_a_valid_fix() {
    let fix = |others: &[&str]| {
        let section = working_copies(&[WorkingCopyFacts {
            other_remotes: Some(texts(others)),
            ..working_copy(WorkingCopyStatus::Present(checkout()))
        }]);
        let warning = section.findings.iter();
        let mut warning = warning.filter(|finding| finding.severity == Severity::Warning);
        warning.next().unwrap().fixes.join(" ")
    };
    let command = "`git -C src/a remote set-url origin git@git.example.com:x/a.git`";
    assert!(fix(&["https://h/x"]).contains(command));
    // Without a remote, `set-url` would fail.
    let command = "`git -C src/a remote add origin git@git.example.com:x/a.git`";
    assert!(fix(&[]).contains(command));
}

#[test]
fn an_old_lock_is_a_warning() {
    let locked = |age| {
        let facts = WorkingCopyFacts {
            lock: Some(("src/a/.git/index.lock".to_owned(), age)),
            ..working_copy(WorkingCopyStatus::Present(checkout()))
        };
        working_copies(&[facts])
    };
    assert_eq!(locked(59).severity(), Severity::Ok);
    assert!(only(&locked(60), Severity::Warning).contains("for 1 minute"));
    assert!(only(&locked(3 * 3600), Severity::Warning).contains("for 3 hours"));
}

fn report() -> DoctorReport {
    DoctorReport {
        sections: vec![
            manifest(&ManifestFacts::Valid {
                file: "x-platform.yml".to_owned(),
                services: texts(&["a"]),
                total: 1,
            }),
            registry(&{
                let mut facts = registry_facts(0);
                facts.address = Some(Err(failure(
                    "r.example.com does not respond",
                    "is it there?",
                )));
                facts
            }),
        ],
    }
}

/// Adds no color.
const PLAIN: Paint<'static> = &|word, _| word.to_owned();

#[test]
fn passing_checks_take_one_line_per_subject() {
    assert_eq!(
        report().text(DetailLevel::Problems, PLAIN, None),
        "ok       manifest                x-platform.yml, 1 service\n\
         error    registry r.example.com\n\
         \x20 error: r.example.com does not respond\n\
         \x20   cause: queried as the user `ann`, from /home/ann/.docker/config.json\n\
         \x20   fix: is it there?\n\
         \n\
         1 error.\n"
    );
    let errors = report().text(DetailLevel::Errors, PLAIN, None);
    assert!(errors.starts_with("error    registry"), "{errors}");
    let all = report().text(DetailLevel::All, PLAIN, None);
    assert!(all.contains("  ok: x-platform.yml is valid\n"), "{all}");
    let mut passing = report();
    passing.sections.truncate(1);
    let text = passing.text(DetailLevel::Problems, PLAIN, None);
    assert!(
        text.ends_with("\nNo problems found; `-v` lists all checks.\n"),
        "{text}"
    );
    let marked = |word: &str, severity| format!("<{severity:?}>{word}");
    let text = report().text(DetailLevel::Problems, &marked, None);
    assert!(text.contains("<Some(Error)>error: r.ex"), "{text}");
}

#[test]
fn long_lines_are_wrapped_at_words_and_commands_stay_whole() {
    let mut report = report();
    report.sections.remove(0);
    let Some(finding) = report.sections[0].findings.first_mut() else {
        panic!("no finding");
    };
    finding.fixes =
        vec!["start it, or run `xp doctor --registry r.example.com --verbose`".to_owned()];
    assert_eq!(
        report.text(DetailLevel::Problems, PLAIN, Some(50)),
        "error    registry r.example.com\n\
         \x20 error: r.example.com does not respond\n\
         \x20   cause: queried as the user `ann`, from\n\
         \x20     /home/ann/.docker/config.json\n\
         \x20   fix: start it, or run\n\
         \x20     `xp doctor --registry r.example.com --verbose`\n\
         \n\
         1 error.\n"
    );
}

#[test]
fn names_in_the_message_are_not_repeated() {
    let shown = |what: &str, concerns: &[&str]| {
        let finding = Finding::error(what).concerning(&texts(concerns));
        let section = Section {
            subject: Subject::Remotes,
            summary: String::new(),
            findings: vec![finding],
        };
        let report = DoctorReport {
            sections: vec![section],
        };
        report
            .text(DetailLevel::Problems, PLAIN, None)
            .contains("concerns: ")
    };
    assert!(!shown("a cannot be resolved", &["a"]));
    assert!(!shown("a and b cannot be resolved", &["a", "b"]));
    assert!(shown("the host is gone", &["a"]));
    assert!(shown("src/a is gone", &["a"]));
    assert!(!shown("the host is gone", &[]));
}

#[test]
fn an_invalid_manifest_determines_the_exit_code() {
    let mut report = report();
    assert_eq!(report.exit(), Exit::Outside);
    report.sections.push(manifest(&ManifestFacts::Invalid {
        file: "x-platform.yml".to_owned(),
        problems: vec![ManifestProblem {
            position: Some((3, 5)),
            message: "unknown key `dirr`".to_owned(),
            help: texts(&["did you mean `dir`?"]),
        }],
    }));
    assert_eq!(report.exit(), Exit::Usage);
    let wrong = only(&report.sections[2], Severity::Error);
    assert_eq!(
        wrong,
        "x-platform.yml:3:5: unknown key `dirr` | did you mean `dir`?"
    );
    report.sections.truncate(1);
    assert_eq!(report.exit(), Exit::Done);
}

#[test]
fn the_document_has_all_findings() {
    let json: Value = report().document();
    assert_eq!(
        (&json["version"], &json["severity"]),
        (&Value::from(1), &Value::from("error"))
    );
    assert_eq!(json["counts"]["error"], 1);
    let registry = &json["subjects"][1];
    assert_eq!(registry["subject"], "registry");
    assert_eq!(registry["registry"], "r.example.com");
    let finding = &registry["findings"][0];
    assert_eq!(finding["what"], "r.example.com does not respond");
    assert_eq!(finding["fixes"][0], "is it there?");
    assert_eq!(json["subjects"][0]["findings"][0]["concerns"][0], "a");
}

#[test]
fn long_lists_are_abbreviated() {
    assert_eq!(few(&texts(&["a"])), "a");
    assert_eq!(few(&texts(&["a", "b", "c"])), "a, b and c");
    assert_eq!(few(&texts(&["a", "b", "c", "d"])), "a, b, c and 1 more");
    assert_eq!(count_of(1, "repository"), "1 repository");
    assert_eq!(count_of(2, "repository"), "2 repositories");
    assert_eq!(count_of(0, "error"), "0 errors");
}

#[test]
fn errors_are_converted_to_failures() {
    #[derive(Debug, thiserror::Error)]
    #[error("the engine does not answer")]
    struct OuterFailure(#[source] InnerFailure);
    #[derive(Debug, thiserror::Error)]
    #[error("connection refused")]
    struct InnerFailure;
    impl crate::base::error::Diagnostic for OuterFailure {
        fn exit(&self) -> Exit {
            Exit::Outside
        }
        fn hints(&self) -> Vec<String> {
            texts(&["start it", "`xp doctor` looks for the reason"])
        }
    }
    let failure = CheckFailure::of(&OuterFailure(InnerFailure));
    assert_eq!(failure.what, "the engine does not answer");
    assert_eq!(failure.causes, ["connection refused"]);
    assert_eq!(failure.fixes, ["start it"]);
    let timeout = CheckFailure::timeout("the registry r.example.com", Duration::from_secs(20));
    assert_eq!(
        timeout.what,
        "the registry r.example.com did not respond within 20s"
    );
}

fn environment(check: EnvironmentCheck) -> ClusterFacts {
    ClusterFacts {
        kubectl: KubectlLocation::OnPath,
        kubeconfig: Ok(()),
        environments: vec![EnvironmentFacts {
            name: "staging".to_owned(),
            context: "lab".to_owned(),
            namespace: "web".to_owned(),
            check,
        }],
    }
}

#[test]
fn a_reachable_cluster_is_ok() {
    let section = clusters(&environment(EnvironmentCheck::Queried(Ok(false))));
    assert_eq!(section.severity(), Severity::Ok);
    assert_eq!(section.summary, "1 environment, 1 reachable");
    let lines = lines(&section, Severity::Ok);
    assert!(lines[1].ends_with("is reachable; nothing deployed yet"));
}

#[test]
fn cluster_failures_are_only_warnings() {
    let refused = EnvironmentCheck::Queried(Err(failure("cannot read it", "log in")));
    let section = clusters(&environment(refused));
    assert_eq!(
        only(&section, Severity::Warning),
        "staging: namespace web in lab: cannot read it | log in"
    );
    let near = Some("did you mean `lan`?".to_owned());
    let section = clusters(&environment(EnvironmentCheck::NoContext(near)));
    let line = only(&section, Severity::Warning);
    assert!(line.ends_with("which environment staging uses | did you mean `lan`?"));
    let unread = ClusterFacts {
        kubeconfig: Err(failure("cannot read the kubeconfig", "fix it")),
        ..environment(EnvironmentCheck::NotQueried)
    };
    assert_eq!(
        only(&clusters(&unread), Severity::Warning),
        "cannot read the kubeconfig | fix it"
    );
}

#[test]
fn kubectl_is_on_path_or_in_a_builder_or_missing() {
    let of = |kubectl| {
        clusters(&ClusterFacts {
            kubectl,
            ..environment(EnvironmentCheck::NotQueried)
        })
    };
    let section = of(KubectlLocation::Builder("builders/k8s".to_owned()));
    assert_eq!(section.severity(), Severity::Note);
    assert_eq!(section.summary, "1 environment");
    let section = of(KubectlLocation::Missing("b/k8s/Dockerfile".to_owned()));
    assert!(only(&section, Severity::Warning).contains("add b/k8s/Dockerfile"));
}

#[test]
fn signing_is_only_warned_about() {
    let missing = failure("`cosign` is not on PATH", "install it");
    let section = signing(&SigningFacts {
        cosign: Err(missing),
        key: None,
    });
    assert_eq!(
        only(&section, Severity::Warning),
        "`cosign` is not on PATH | install it"
    );
    let section = signing(&SigningFacts {
        cosign: Ok(()),
        key: Some((
            "k".to_owned(),
            Err(failure("cannot use the key k", "fix it")),
        )),
    });
    assert_eq!(
        only(&section, Severity::Warning),
        "cannot use the key k | fix it"
    );
}

#[test]
fn compose_projects_are_only_warned_about() {
    let invalid = failure(
        "cannot read compose.yaml: services must be a mapping",
        "fix it",
    );
    let section = compose(&ComposeFacts {
        version: Ok("2.26.1".to_owned()),
        environments: vec![
            ("dev".to_owned(), Ok(())),
            ("test".to_owned(), Err(invalid)),
        ],
    });
    assert_eq!(section.summary, "2 environments, 2.26.1");
    assert_eq!(
        only(&section, Severity::Warning),
        "test: cannot read compose.yaml: services must be a mapping | fix it"
    );
    let missing = failure("`docker compose` not found", "install it");
    let section = compose(&ComposeFacts {
        version: Err(missing.clone()),
        environments: vec![("dev".to_owned(), Err(missing))],
    });
    assert_eq!(
        only(&section, Severity::Warning),
        "`docker compose` not found | install it"
    );
}
