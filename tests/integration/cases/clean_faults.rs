//! Interruptions of `xp clean`: what is kept stays complete, and the next run finishes.

use std::collections::BTreeSet;
use std::fs;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

use super::kill::{Kill, number};
use crate::case::Case;
use crate::context::Context;
use crate::random::Random;
use crate::stored_images::{OLD, Shop, commit, shared_part, signed_index};
use crate::world::{Gateway, Reply};

pub const CASES: &[Case] = cases![
    a_fault_at_any_request_damages_nothing,
    a_killed_clean_up_is_finished_by_the_next,
];

/// A registry with something of every kind, which is restored before each run.
struct Siege<'t> {
    shop: Shop<'t>,
    kept: BTreeSet<String>,
    saved: std::path::PathBuf,
}

impl<'t> Siege<'t> {
    fn new(t: &'t Context) -> Self {
        let shop = Shop::new(t, t.registry());
        let [tip, _, _] = shop.stocked();
        let shared = shared_part(&shop);
        let mut kept = BTreeSet::from([tip, shared["digest"].as_str().unwrap().to_owned()]);
        for number in [3, 4] {
            let index = signed_index(&shop, number, &shared);
            let referrer = shop.referrer(&index[0], &number.to_string());
            let list = shop.referrers_index(&index[0], &referrer);
            let result = shop.step_result(&commit(number));
            if number == 3 {
                t.write("x-platform.lock", &format!("digest: {}\n", index[0]));
                kept.extend(index.into_iter().chain([referrer, list, result]));
            }
        }
        kept.insert(shop.image(&commit(5), "master", OLD, &[&commit(5), "v1.0"]));
        let saved = t.folder().join("saved");
        let files = shop.registry.files(&shop.repository);
        copy(&files, &saved);
        Self { kept, shop, saved }
    }

    fn reset(&self) {
        let files = self.shop.registry.files(&self.shop.repository);
        fs::remove_dir_all(&files).expect("the files of the repository");
        copy(&self.saved, &files);
        _ = fs::remove_dir_all(self.shop.t.dir().join(".xp"));
    }

    fn demand_kept(&self, story: &str) {
        let found: BTreeSet<String> = self.shop.everything().0.into_iter().collect();
        assert!(self.kept.is_subset(&found), "{story}\n{found:?}");
    }

    fn demand_done(&self, story: &str) {
        let found: BTreeSet<String> = self.shop.everything().0.into_iter().collect();
        assert_eq!(found, self.kept, "{story}");
    }
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    let mut copy = std::process::Command::new("cp");
    copy.args(["--recursive", "--no-target-directory"])
        .arg(from)
        .arg(to);
    crate::process::succeed(&mut copy);
}

fn a_fault_at_any_request_damages_nothing(t: &Context) {
    let siege = Siege::new(t);
    let failing = Arc::new(Mutex::new((0, None::<usize>)));
    let state = failing.clone();
    let gateway = Gateway::before(siege.shop.registry.host(), move |_| {
        let mut state = state.lock().expect("not poisoned");
        let number = state.0;
        state.0 += 1;
        match state.1 {
            // From then on, as when a registry goes down.
            Some(first) if number >= first => Reply::status(503),
            _ => Reply::Forward,
        }
    });
    siege.shop.manifest(gateway.host(), "");
    let run = |first: Option<usize>| {
        siege.reset();
        *failing.lock().expect("not poisoned") = (0, first);
        let output = siege.shop.clean(["--delete"]).env("XP_RETRIES", "0").run();
        (output, failing.lock().expect("not poisoned").0)
    };
    let (output, requests) = run(None);
    assert!(output.status.success(), "{output}");
    siege.demand_done(&output.to_string());
    let step = match number("XP_TEST_LONG") {
        Some(_) => 1,
        None => requests / 12 + 1,
    };
    for first in (0..requests).step_by(step) {
        let (output, _) = run(Some(first));
        assert_eq!(output.status.code(), Some(3), "request {first}: {output}");
        siege.demand_kept(&format!("request {first}: {output}"));
        *failing.lock().expect("not poisoned") = (0, None);
        let again = siege.shop.clean(["--delete"]).success();
        siege.demand_done(&format!("request {first}: {output}\nthen {again}"));
    }
}

fn a_killed_clean_up_is_finished_by_the_next(t: &Context) {
    let seed = number("XP_KILL_SEED").unwrap_or_else(Random::any_seed);
    eprintln!("clean: XP_KILL_SEED={seed}");
    let mut random = Random::new(seed);
    let siege = Siege::new(t);
    let begun = Instant::now();
    siege.shop.clean(["--delete"]).success();
    let duration = begun.elapsed();
    for _ in 0..number("XP_KILL_COUNT").unwrap_or(8) {
        siege.reset();
        let kill = Kill::any(&mut random, duration);
        let running = siege.shop.clean(["--delete"]).spawn();
        thread::sleep(kill.after);
        kill.carry_out(&running);
        let killed = running.wait();
        siege.demand_kept(&format!("{kill} of {duration:?}: {killed}"));
        let again = siege.shop.clean(["--delete"]).success();
        let story = format!("{kill} of {duration:?}: {killed}\nthen {again}");
        siege.demand_done(&story);
        let more = siege.shop.clean(["--delete"]).success();
        assert!(
            more.stdout.contains("registry: 0 removed"),
            "{story}\nthen {more}"
        );
    }
}
