//! What is said of facts.

use std::time::Duration;

use serde_json::Value;

use super::*;
use crate::status::{Checkout, WorkingCopyStatus};

fn trouble(what: &str, fix: &str) -> Trouble {
    Trouble {
        what: what.to_owned(),
        causes: Vec::new(),
        fixes: vec![fix.to_owned()],
        exit: Exit::Outside,
    }
}

fn texts(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// Returns the findings that are so bad, as the lines of the text.
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

fn answer() -> EngineAnswer {
    EngineAnswer {
        product: "Docker Engine".to_owned(),
        version: "28.1.1".to_owned(),
        api: "1.49".to_owned(),
        buildkit: true,
        system: "linux".to_owned(),
        architecture: "x86_64".to_owned(),
        rootless: false,
        root: Some("/var/lib/docker".to_owned()),
        limits_memory: true,
        proxies: ProxyFacts::default(),
        warnings: Vec::new(),
    }
}

fn engine_facts() -> EngineFacts {
    EngineFacts {
        address: "unix:///var/run/docker.sock".to_owned(),
        is_named: false,
        socket: Some(Socket::Usable),
        context: None,
        others: Vec::new(),
        in_container: false,
        own: None,
        buildkit_is_off: false,
        answer: Ok(answer()),
        space: Some(Space {
            free: 41 << 30,
            files: Some(1_000_000),
        }),
        architecture: "x86_64",
        limited: Vec::new(),
        proxies: ProxyFacts::default(),
    }
}

#[test]
fn a_sound_engine_is_told_in_few_words() {
    let section = engine(&engine_facts());
    assert_eq!(section.severity(), Severity::Ok);
    assert_eq!(
        section.summary,
        "Docker Engine 28.1.1, BuildKit, 41 GiB free"
    );
    let mut podman = engine_facts();
    podman.answer = Ok(EngineAnswer {
        product: "Podman Engine".to_owned(),
        version: "5.2".to_owned(),
        buildkit: false,
        rootless: true,
        ..answer()
    });
    let section = engine(&podman);
    assert_eq!(section.severity(), Severity::Note);
    assert_eq!(
        section.summary,
        "Podman Engine 5.2, no BuildKit, rootless, 41 GiB free"
    );
}

#[test]
fn an_engine_that_is_silent_comes_with_what_starts_it() {
    let silent = |change: &dyn Fn(&mut EngineFacts)| {
        let mut facts = engine_facts();
        facts.answer = Err(trouble("it does not answer", "something general"));
        facts.socket = Some(Socket::Missing);
        change(&mut facts);
        let section = engine(&facts);
        let mut errors = lines(&section, Severity::Error);
        errors.remove(0)
    };
    let absent = silent(&|_| {});
    assert!(absent.contains("sudo systemctl start docker"), "{absent}");
    assert!(!absent.contains("something general"), "{absent}");
    let denied = |joined| {
        silent(&|facts| {
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
    let inside = silent(&|facts| facts.in_container = true);
    assert!(
        inside.contains("docker run -v /var/run/docker.sock:/var/run/docker.sock"),
        "{inside}"
    );
    let other = silent(&|facts| facts.others = texts(&["unix:///run/podman/podman.sock"]));
    assert!(
        other.contains("export DOCKER_HOST=unix:///run/podman/podman.sock"),
        "{other}"
    );
    let context = silent(&|facts| facts.context = Some("desktop".to_owned()));
    assert!(
        context.contains("docker's context `desktop` names it"),
        "{context}"
    );
    // Nothing is known of what is far away but the address.
    let far = silent(&|facts| {
        facts.address = "tcp://far:2375".to_owned();
        facts.socket = None;
    });
    assert_eq!(far, "it does not answer | something general");
}

#[test]
fn an_engine_that_answers_may_still_be_none_for_this() {
    let found = |change: &dyn Fn(&mut EngineFacts, &mut EngineAnswer)| {
        let (mut facts, mut says) = (engine_facts(), answer());
        change(&mut facts, &mut says);
        facts.answer = Ok(says);
        engine(&facts)
    };
    let windows = found(&|_, answer| answer.system = "windows".to_owned());
    assert!(only(&windows, Severity::Error).contains("windows containers"));
    let arm = found(&|_, answer| answer.architecture = "aarch64".to_owned());
    assert!(
        only(&arm, Severity::Warning).contains("images for aarch64, and this machine is x86_64")
    );
    let same = found(&|_, answer| answer.architecture = "amd64".to_owned());
    assert_eq!(same.severity(), Severity::Ok);
    let far = found(&|facts, _| facts.address = "tcp://far.example.com:2376".to_owned());
    assert!(only(&far, Severity::Note).contains("as it does not see this machine's files"));
    let ssh = found(&|facts, _| facts.address = "ssh://ann@localhost".to_owned());
    assert!(only(&ssh, Severity::Note).contains("reached by ssh"));
    let near = found(&|facts, _| facts.address = "tcp://127.0.0.1:2375".to_owned());
    assert_eq!(near.severity(), Severity::Note);
    let unlimited = found(&|facts, answer| {
        answer.limits_memory = false;
        facts.limited = texts(&["zbackend"]);
    });
    assert!(only(&unlimited, Severity::Warning).contains("cannot limit memory"));
    let nobody_limits = found(&|_, answer| answer.limits_memory = false);
    assert_eq!(nobody_limits.severity(), Severity::Ok);
    let classic = found(&|facts, answer| {
        facts.buildkit_is_off = true;
        answer.buildkit = false;
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
fn space_is_judged_by_what_builds_take() {
    let of = |free: u64, files: Option<u64>| {
        let mut facts = engine_facts();
        facts.space = Some(Space { free, files });
        engine(&facts).severity()
    };
    assert_eq!(of(10 << 30, None), Severity::Ok);
    assert_eq!(of((10 << 30) - 1, None), Severity::Warning);
    assert_eq!(of((1 << 30) - 1, None), Severity::Error);
    assert_eq!(of(41 << 30, Some(49_999)), Severity::Warning);
    assert_eq!(machine::bytes(0), "0 bytes");
    assert_eq!(machine::bytes(1536), "1.5 KiB");
    assert_eq!(machine::bytes(41 << 30), "41 GiB");
    assert_eq!(machine::bytes(u64::MAX), "16777215 TiB");
}

fn registry_facts(count: usize) -> RegistryFacts {
    let repositories = (1..=count).map(|number| RepositoryFacts {
        name: format!("r.example.com/x/s{number}"),
        pull: Ok(()),
        push: Some(Ok(PushAnswer { left_over: None })),
    });
    RegistryFacts {
        host: "r.example.com".to_owned(),
        origin: CredentialOrigin::File("/home/ann/.docker/config.json".to_owned()),
        who: Ok(Some("the user `ann`".to_owned())),
        address: Some(Ok("https://r.example.com".to_owned())),
        is_loopback: false,
        repositories: repositories.collect(),
    }
}

#[test]
fn a_registry_is_told_with_its_user() {
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
        "the user `ann` may pull from 2 repositories, and push to 1"
    );
    facts.address = Some(Ok("http://r.example.com".to_owned()));
    let plain = registry(&facts);
    assert!(only(&plain, Severity::Note).contains("without TLS"));
    facts.is_loopback = true;
    assert_eq!(registry(&facts).severity(), Severity::Ok);
}

#[test]
fn a_refusal_of_many_repositories_is_said_once() {
    let mut facts = registry_facts(5);
    for repository in &mut facts.repositories {
        let what = format!(
            "r.example.com does not allow the user `ann` to push to {}: denied",
            repository.name
        );
        repository.push = Some(Err(trouble(&what, "ask for the right")));
    }
    let section = registry(&facts);
    assert_eq!(
        only(&section, Severity::Error),
        "r.example.com does not allow the user `ann` to push to r.example.com/x/s1, r.example.com/x/s2, \
         r.example.com/x/s3 and 2 more: denied | credentials: the user `ann`, from \
         /home/ann/.docker/config.json | ask for the right"
    );
    // What is refused for another reason is another finding.
    facts.repositories[0].push = Some(Err(trouble("it answers 503", "wait")));
    assert_eq!(lines(&registry(&facts), Severity::Error).len(), 2);
}

#[test]
fn a_refusal_to_read_is_not_said_twice() {
    let mut facts = registry_facts(1);
    let one = &mut facts.repositories[0];
    one.pull = Err(trouble("it refuses the user `ann`", "log in"));
    one.push = Some(Err(trouble(
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
fn a_registry_that_does_not_answer_is_one_error() {
    let mut facts = registry_facts(0);
    facts.address = Some(Err(trouble(
        "r.example.com does not answer",
        "is it there?",
    )));
    let error = only(&registry(&facts), Severity::Error);
    assert!(
        error.contains("it was asked as the user `ann`, from /home/ann"),
        "{error}"
    );
    facts.who = Err(trouble("the helper is missing", "install it"));
    assert_eq!(
        only(&registry(&facts), Severity::Error),
        "the helper is missing | install it"
    );
}

#[test]
fn an_upload_that_stays_is_a_warning() {
    let mut facts = registry_facts(1);
    facts.repositories[0].push = Some(Ok(PushAnswer {
        left_over: Some("it answers 405".to_owned()),
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
        troubles: Vec::new(),
        took: Duration::from_millis(230),
    }
}

#[test]
fn a_remote_is_told_with_its_time() {
    let section = remotes(&[remote("a"), remote("b")], None);
    assert_eq!(section.summary, "2 remotes, 2 references");
    let ok = lines(&section, Severity::Ok);
    assert_eq!(
        ok[0],
        "git@git.example.com:x/a.git: origin/master is aaaaaaaa (0.2 s)"
    );
    let slow = RemoteFacts {
        took: Duration::from_secs(7),
        ..remote("a")
    };
    assert!(only(&remotes(&[slow], None), Severity::Warning).contains("took 7.0 s"));
    let not_asked = RemoteFacts {
        found: None,
        ..remote("a")
    };
    let section = remotes(&[not_asked], None);
    assert_eq!(
        (section.summary.as_str(), section.severity()),
        ("1 remote, not asked", Severity::Ok)
    );
}

#[test]
fn refused_keys_come_with_what_the_agent_has() {
    let refused = RemoteFacts {
        found: Some(Vec::new()),
        troubles: vec![Trouble {
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
    assert!(error(agent(None, true)).contains("does not answer"));
    assert!(error(agent(Some(0), true)).contains("the ssh agent has no key"));
    assert!(error(agent(Some(2), true)).contains("the ssh agent has 2 keys"));
    // No error is without a fix.
    assert!(error(agent(Some(2), true)).contains("is the address right"));
}

#[test]
fn an_agent_that_builders_get_must_be_there() {
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
fn builders_are_told_by_where_they_are() {
    let of = |is_folder, engine, registry| {
        let facts = BuilderFacts {
            name: "builders/go".to_owned(),
            image: "0a1b2c3d".to_owned(),
            is_folder,
            services: texts(&["a"]),
            place: Ok(BuilderWhere { engine, registry }),
        };
        let section = builders(&[facts]);
        let finding = section.findings[0].clone();
        (section.severity(), finding.what, section.summary)
    };
    let (severity, what, summary) = of(true, Some(false), Some(Ok(false)));
    assert_eq!(severity, Severity::Note);
    assert_eq!(
        what,
        "builders/go (0a1b2c3d) exists nowhere: the next build makes it"
    );
    assert_eq!(summary, "1 builder image, 1 to be built first");
    assert_eq!(of(true, Some(false), None).0, Severity::Note);
    assert_eq!(of(true, Some(true), Some(Ok(true))).0, Severity::Ok);
    assert_eq!(of(true, None, Some(Ok(true))).0, Severity::Ok);
    assert_eq!(of(true, None, None).0, Severity::Note);
    // The registry's own subject says it.
    let refused = || Some(Err(trouble("it refuses", "log in")));
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

fn checkout() -> Checkout {
    Checkout {
        branch: Some("master".to_owned()),
        commit: Some("a".repeat(40).parse().unwrap()),
        ahead_and_behind: Some((0, 3)),
        is_fetched: true,
        modified: 0,
        untracked: 0,
        under_way: None,
    }
}

#[test]
fn working_copies_are_told_without_blame() {
    let clean = working_copy(WorkingCopyStatus::Present(checkout()));
    let work = working_copy(WorkingCopyStatus::Present(Checkout {
        branch: None,
        ahead_and_behind: Some((2, 0)),
        modified: 1,
        untracked: 4,
        under_way: Some("rebase"),
        ..checkout()
    }));
    let section = working_copies(&[clean, work, working_copy(WorkingCopyStatus::Missing)]);
    assert_eq!(section.severity(), Severity::Note);
    assert_eq!(
        section.summary,
        "2 working copies, 1 in work, 1 to be cloned when needed"
    );
    assert_eq!(
        only(&section, Severity::Note),
        "src/a is at aaaaaaaa, on no branch, with 2 commits not pushed, 1 file modified, 4 files untracked, \
         rebase under way"
    );
    let shallow = WorkingCopyFacts {
        is_shallow: true,
        ..working_copy(WorkingCopyStatus::Present(checkout()))
    };
    assert!(only(&working_copies(&[shallow]), Severity::Note).contains("shallow"));
}

#[test]
fn a_clone_of_something_else_is_told_with_a_command_that_works() {
    let fix = |others: &[&str]| {
        let section = working_copies(&[WorkingCopyFacts {
            other_remotes: Some(texts(others)),
            ..working_copy(WorkingCopyStatus::Present(checkout()))
        }]);
        let warning = section.findings.iter();
        let mut warning = warning.filter(|finding| finding.severity == Severity::Warning);
        warning.next().unwrap().fixes.join(" ")
    };
    assert!(fix(&["https://h/x"]).contains("remote set-url origin"));
    // There is nothing yet whose URL could be set.
    assert!(fix(&[]).contains("remote add origin"));
}

#[test]
fn a_lock_is_a_warning_once_it_is_old() {
    let locked = |age| {
        let facts = WorkingCopyFacts {
            lock: Some(("src/a/.git/index.lock".to_owned(), age)),
            ..working_copy(WorkingCopyStatus::Present(checkout()))
        };
        working_copies(&[facts])
    };
    assert_eq!(locked(59).severity(), Severity::Ok);
    assert!(only(&locked(60), Severity::Warning).contains("for 1 minute already"));
    assert!(only(&locked(3 * 3600), Severity::Warning).contains("for 3 hours already"));
}

fn checkup() -> Checkup {
    Checkup {
        sections: vec![
            manifest(&ManifestFacts::Read {
                file: "x-platform.yml".to_owned(),
                services: texts(&["a"]),
                total: 1,
            }),
            registry(&{
                let mut facts = registry_facts(0);
                facts.address = Some(Err(trouble(
                    "r.example.com does not answer",
                    "is it there?",
                )));
                facts
            }),
        ],
    }
}

/// Leaves words as they are.
const PLAIN: Paint<'static> = &|word, _| word.to_owned();

#[test]
fn the_text_is_short_where_all_is_well() {
    assert_eq!(
        checkup().text(Detail::Problems, PLAIN),
        "ok       manifest                x-platform.yml, 1 service\n\
         error    registry r.example.com\n\
         \x20 error: r.example.com does not answer\n\
         \x20   cause: it was asked as the user `ann`, from /home/ann/.docker/config.json\n\
         \x20   fix: is it there?\n\
         \n\
         1 error.\n"
    );
    let errors = checkup().text(Detail::Errors, PLAIN);
    assert!(errors.starts_with("error    registry"), "{errors}");
    let all = checkup().text(Detail::All, PLAIN);
    assert!(all.contains("  ok: x-platform.yml is valid\n"), "{all}");
    let mut well = checkup();
    well.sections.truncate(1);
    let text = well.text(Detail::Problems, PLAIN);
    assert!(
        text.ends_with("\nAll is well; `-v` shows what was looked at.\n"),
        "{text}"
    );
    let marked = |word: &str, severity| format!("<{severity:?}>{word}");
    let text = checkup().text(Detail::Problems, &marked);
    assert!(text.contains("<Some(Error)>error: r.ex"), "{text}");
}

#[test]
fn whom_it_concerns_is_said_once() {
    let shown = |what: &str, concerns: &[&str]| {
        let finding = Finding::error(what).concerning(&texts(concerns));
        let section = Section {
            subject: Subject::Remotes,
            summary: String::new(),
            findings: vec![finding],
        };
        let checkup = Checkup {
            sections: vec![section],
        };
        checkup.text(Detail::Problems, PLAIN).contains("concerns: ")
    };
    assert!(!shown("a cannot be resolved", &["a"]));
    assert!(!shown("a and b cannot be resolved", &["a", "b"]));
    assert!(shown("the host is gone", &["a"]));
    assert!(shown("src/a is gone", &["a"]));
    assert!(!shown("the host is gone", &[]));
}

#[test]
fn the_exit_code_tells_whose_fault_it_is() {
    let mut checkup = checkup();
    assert_eq!(checkup.exit(), Exit::Outside);
    checkup.sections.push(manifest(&ManifestFacts::Wrong {
        file: "x-platform.yml".to_owned(),
        problems: vec![ManifestProblem {
            position: Some((3, 5)),
            message: "there is no key `dirr`".to_owned(),
            help: texts(&["did you mean `dir`?"]),
        }],
    }));
    assert_eq!(checkup.exit(), Exit::Usage);
    let wrong = only(&checkup.sections[2], Severity::Error);
    assert_eq!(
        wrong,
        "x-platform.yml:3:5: there is no key `dirr` | did you mean `dir`?"
    );
    checkup.sections.truncate(1);
    assert_eq!(checkup.exit(), Exit::Done);
}

#[test]
fn the_document_has_everything() {
    let json: Value = checkup().document();
    assert_eq!(
        (&json["version"], &json["severity"]),
        (&Value::from(1), &Value::from("error"))
    );
    assert_eq!(json["counts"]["error"], 1);
    let registry = &json["subjects"][1];
    assert_eq!(registry["subject"], "registry");
    assert_eq!(registry["registry"], "r.example.com");
    let finding = &registry["findings"][0];
    assert_eq!(finding["what"], "r.example.com does not answer");
    assert_eq!(finding["fixes"][0], "is it there?");
    assert_eq!(json["subjects"][0]["findings"][0]["concerns"][0], "a");
}

#[test]
fn lists_are_short() {
    assert_eq!(few(&texts(&["a"])), "a");
    assert_eq!(few(&texts(&["a", "b", "c"])), "a, b and c");
    assert_eq!(few(&texts(&["a", "b", "c", "d"])), "a, b, c and 1 more");
    assert_eq!(many(1, "repository"), "1 repository");
    assert_eq!(many(2, "repository"), "2 repositories");
    assert_eq!(many(0, "error"), "0 errors");
}

#[test]
fn a_trouble_is_an_error_taken_apart() {
    #[derive(Debug, thiserror::Error)]
    #[error("the engine does not answer")]
    struct Outer(#[source] Inner);
    #[derive(Debug, thiserror::Error)]
    #[error("connection refused")]
    struct Inner;
    impl crate::error::Diagnostic for Outer {
        fn exit(&self) -> Exit {
            Exit::Outside
        }
        fn hints(&self) -> Vec<String> {
            texts(&["start it", "`xp doctor` looks for the reason"])
        }
    }
    let trouble = Trouble::of(&Outer(Inner));
    assert_eq!(trouble.what, "the engine does not answer");
    assert_eq!(trouble.causes, ["connection refused"]);
    assert_eq!(trouble.fixes, ["start it"]);
    let late = Trouble::late("the registry r.example.com", Duration::from_secs(20));
    assert_eq!(
        late.what,
        "the registry r.example.com gave no answer within 20 s"
    );
}

fn environment(answer: EnvironmentAnswer) -> ClusterFacts {
    ClusterFacts {
        kubectl: KubectlWhere::Here,
        kubeconfig: Ok(()),
        environments: vec![EnvironmentFacts {
            name: "staging".to_owned(),
            context: "lab".to_owned(),
            namespace: "web".to_owned(),
            answer,
        }],
    }
}

#[test]
fn a_cluster_that_answers_is_well() {
    let section = clusters(&environment(EnvironmentAnswer::Asked(Ok(false))));
    assert_eq!(section.severity(), Severity::Ok);
    assert_eq!(section.summary, "1 environment, 1 reached");
    let lines = lines(&section, Severity::Ok);
    assert!(lines[1].ends_with("answers, and nothing was deployed there yet"));
}

#[test]
fn what_keeps_from_deploying_keeps_nobody_from_building() {
    let refused = EnvironmentAnswer::Asked(Err(trouble("cannot read it", "log in")));
    let section = clusters(&environment(refused));
    assert_eq!(
        only(&section, Severity::Warning),
        "staging: namespace web of lab: cannot read it | log in"
    );
    let near = Some("did you mean `lan`?".to_owned());
    let section = clusters(&environment(EnvironmentAnswer::NoContext(near)));
    let line = only(&section, Severity::Warning);
    assert!(line.ends_with("which staging is deployed by | did you mean `lan`?"));
    let unread = ClusterFacts {
        kubeconfig: Err(trouble("cannot read the kubeconfig", "mend it")),
        ..environment(EnvironmentAnswer::NotAsked)
    };
    assert_eq!(
        only(&clusters(&unread), Severity::Warning),
        "cannot read the kubeconfig | mend it"
    );
}

#[test]
fn kubectl_is_here_or_in_a_builder_or_missing() {
    let of = |kubectl| {
        clusters(&ClusterFacts {
            kubectl,
            ..environment(EnvironmentAnswer::NotAsked)
        })
    };
    let section = of(KubectlWhere::Builder("builders/k8s".to_owned()));
    assert_eq!(section.severity(), Severity::Note);
    assert_eq!(section.summary, "1 environment");
    let section = of(KubectlWhere::Nowhere("b/k8s/Dockerfile".to_owned()));
    assert!(only(&section, Severity::Warning).contains("write b/k8s/Dockerfile"));
}
