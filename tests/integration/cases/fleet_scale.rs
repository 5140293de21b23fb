//! What a fleet costs: a unit in a Job next to the same unit on this machine, and hundreds of units.
//!
//! `bin/bench fleet` runs these tests at full size, with the release build.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::fleet::FleetPlatform;
use crate::case::Case;
use crate::context::Context;
use crate::world::SimulatedRun;

pub const CASES: &[Case] = cases![
    a_unit_in_a_job_takes_little_longer,
    many_units_need_few_requests_and_little_memory,
];

fn is_full() -> bool {
    std::env::var_os("XP_SCALE").is_some_and(|it| it == "full")
}

/// Builds a service with a script on this machine and in a Job, in turns.
fn a_unit_in_a_job_takes_little_longer(t: &Context) {
    let rounds = if is_full() { 9 } else { 1 };
    let platform = FleetPlatform::new(t);
    platform.set_script("echo text > made");
    let (mut here, mut in_job) = (Vec::new(), Vec::new());
    // The first builds pull, create and cache what the others have.
    for round in 0..=rounds {
        for is_on_fleet in [false, true] {
            let content = format!("{round} {is_on_fleet}\n");
            platform.base.commit(&[("content", &content)], "Change");
            let build = t.xp(["build", "base", "--quiet"]);
            let fleet = ["--fleet", "ci"];
            let build = if is_on_fleet {
                build.args(fleet)
            } else {
                build
            };
            let start = Instant::now();
            build.success();
            let times = if is_on_fleet { &mut in_job } else { &mut here };
            times.push(start.elapsed());
        }
    }
    let median = |times: &mut Vec<Duration>| {
        times.remove(0);
        times.sort();
        times[times.len() / 2]
    };
    let (here, in_job) = (median(&mut here), median(&mut in_job));
    let more = in_job.saturating_sub(here);
    println!(
        "a unit: {here:.2?} on this machine, {in_job:.2?} in a Job: {more:.2?} more (median of {rounds})"
    );
    // Times are compared only where nothing else runs.
    if is_full() {
        assert!(more < Duration::from_secs(15), "{more:?}");
    }
}

/// What a run with many units took.
#[derive(Debug)]
struct Cost {
    units: usize,
    time: Duration,
    requests: usize,
    /// The peak memory of xp, in KiB.
    peak: usize,
}

impl Cost {
    /// Returns whether something of another run with more units is at most as many times as much, within a tolerance.
    fn is_proportional(&self, more: &Self, what: impl Fn(&Self) -> f64) -> bool {
        let factor = more.units as f64 / self.units as f64;
        what(more) <= what(self) * factor * 1.3
    }
}

/// A cluster that finishes Jobs at once.
fn many_units_need_few_requests_and_little_memory(t: &Context) {
    let counts = if is_full() { [250, 500] } else { [20, 40] };
    let platform = FleetPlatform::new(t);
    finish_at_once(&platform);
    let costs = counts.map(|count| cost(t, &platform, count));
    for cost in &costs {
        let Cost {
            units,
            time,
            requests,
            peak,
        } = cost;
        println!("{units} units: {time:.2?}, {requests} requests to the cluster, {peak} KiB");
        assert!(*requests <= 6 * units + 60, "{cost:?}");
        assert!(*peak < 100 * 1024, "{cost:?}");
    }
    let [some, more] = &costs;
    assert!(
        some.is_proportional(more, |it| it.requests as f64),
        "{costs:?}"
    );
    assert!(some.is_proportional(more, |it| it.peak as f64), "{costs:?}");
    if is_full() {
        assert!(
            some.is_proportional(more, |it| it.time.as_secs_f64()),
            "{costs:?}"
        );
    }
}

/// Simulates pods that have pushed their image before anybody looks.
fn finish_at_once(platform: &FleetPlatform<'_>) {
    platform.namespace.simulate_pods(|pod| {
        let image = pod["metadata"]["annotations"]["x-platform.run/image"].as_str();
        let image = image.expect("the image");
        let digest = put_index(image);
        let begin = json!({"seq": 0, "message": {"begin": {"version": 1, "xp": "0"}}});
        let summary = json!({"outcome": "done", "seconds": 0.1});
        let end = json!({"seq": 1, "message": {"end": {
            "summary": summary, "digest": digest, "identity": image,
        }}});
        SimulatedRun {
            log: format!("{begin}\n{end}\n"),
            exit_code: 0,
            time: Duration::ZERO,
        }
    });
}

/// Builds a platform with this many services, each in a simulated Job.
fn cost(t: &Context, platform: &FleetPlatform<'_>, count: usize) -> Cost {
    let names: Vec<String> = (0..count)
        .map(|number| format!("of{count}-{number}"))
        .collect();
    let files: Vec<String> = names
        .iter()
        .map(|name| format!("{name}/Dockerfile"))
        .collect();
    let files: Vec<(&str, &str)> = files
        .iter()
        .map(|file| (file.as_str(), "FROM scratch\n"))
        .collect();
    platform.base.commit(&files, "Many services");
    let services = names.iter().map(|name| {
        format!(
            "  {name}:\n    dir: src/base\n    git: {{remote: '{}', path: {name}}}\n    docker: {{image: {}}}\n",
            platform.base.url_http(),
            t.image(name)
        )
    });
    platform.set_services(&services.collect::<String>());
    let requests = || platform.namespace.request_counts().values().sum::<usize>();
    let before = requests();
    let start = Instant::now();
    let running = t
        .xp(["build", "--fleet", "ci", "--jobs", "40", "--quiet"])
        .timeout(Duration::from_secs(300))
        .spawn();
    let status = format!("/proc/{}/status", running.pid());
    let mut peak = 0;
    while let Ok(text) = fs::read_to_string(&status) {
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let Some(kib) = line.and_then(|it| it.split_whitespace().next()) else {
            break;
        };
        peak = kib.parse().unwrap_or(peak);
        std::thread::sleep(Duration::from_millis(20));
    }
    let time = start.elapsed();
    let build = running.wait();
    assert!(build.status.success(), "{build}");
    Cost {
        units: count,
        time,
        requests: requests() - before,
        peak,
    }
}

/// Puts an empty index into a registry, as if a worker had pushed an image, and returns its digest.
fn put_index(image: &str) -> String {
    let index = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [],
        "annotations": {"of": image},
    });
    let body = index.to_string();
    let (repository, tag) = image.rsplit_once(':').expect("a tag");
    let (host, repository) = repository.split_once('/').expect("a registry");
    let commit = tag.split_once('-').map_or(tag, |(commit, _)| commit);
    for tag in [commit, tag] {
        let mut connection = TcpStream::connect(host).expect("the registry");
        let head = format!(
            "PUT /v2/{repository}/manifests/{tag} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\
             Content-Type: application/vnd.oci.image.index.v1+json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        connection
            .write_all((head + &body).as_bytes())
            .expect("a request");
        let mut response = String::new();
        connection
            .read_to_string(&mut response)
            .expect("a response");
        assert!(response.starts_with("HTTP/1.1 201"), "{response}");
    }
    format!("sha256:{}", hex::encode(Sha256::digest(body)))
}
