//! Results of phases in registries.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ::xp::testing::{StepRepository, restore, save, step_tag};
use serde_json::{Value, json};

use crate::case::Case;
use crate::context::Context;
use crate::world::{Fault, Gateway, Incoming, Registry, RegistryKind, Reply};

pub const CASES: &[Case] = cases![
    a_result_is_found_and_restored,
    a_result_without_outputs_has_no_file,
    other_tags_are_not_results,
    logins_are_used,
    an_upload_that_is_cut_off_is_repeated,
    an_upload_that_always_fails_leaves_no_result,
    a_lost_file_is_an_error_and_uploaded_again,
    racing_pushes_leave_one_complete_result,
    a_changed_file_is_not_accepted,
    a_larger_file_is_not_accepted,
    failures_of_the_registry_are_retried,
    a_registry_that_rejects_artifact_types_is_supported,
    a_proxys_not_found_is_an_error,
];

/// Outputs of a phase, saved to a file.
struct Saved {
    folder: PathBuf,
    file: File,
    document: String,
}

impl Saved {
    /// Saves outputs with that text, and with a file that does not compress.
    fn new(t: &Context, name: &str, bytes: usize) -> Self {
        let folder = t.dir().join(format!("saved-{name}"));
        let out = folder.join("out");
        fs::create_dir_all(&out).expect("a folder");
        fs::write(out.join("text"), name).expect("a file");
        let mut state = 1_u64;
        let noise = std::iter::repeat_with(|| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 33) as u8
        });
        fs::write(out.join("noise"), noise.take(bytes).collect::<Vec<u8>>()).expect("a file");
        std::os::unix::fs::symlink("text", out.join("link")).expect("a link");
        let mut options = File::options();
        options.create(true).truncate(true).read(true).write(true);
        let mut file = options.open(folder.join("archive")).expect("a file");
        let document = save(&folder, "out", name, &mut file);
        Self {
            folder,
            file,
            document,
        }
    }

    fn push(&self, to: &StepRepository, name: &str) -> Result<String, String> {
        to.push(name, &self.document, Some(&self.file))
    }

    fn digest(&self) -> String {
        let document: Value = serde_json::from_str(&self.document).expect("JSON");
        let digest = document["outputs"]["digest"].as_str();
        digest.expect("a digest").to_owned()
    }
}

fn repository(t: &Context, host: &str) -> StepRepository {
    StepRepository::new(&format!("{host}/{}", t.image("steps")), &t.docker_config())
}

fn fetched(from: &StepRepository, document: &str) -> Result<File, String> {
    let mut file = tempfile::tempfile().expect("a file");
    from.fetch(document, &mut file).map(|()| file)
}

/// Finds, downloads and unpacks a result, and returns the text in it.
fn restored(t: &Context, from: &StepRepository, name: &str) -> Result<String, String> {
    let document = from.find(name)?.ok_or("not found")?;
    let file = fetched(from, &document)?;
    let folder = t.dir().join("restored");
    _ = fs::remove_dir_all(&folder);
    restore(&document, file, &folder, "out")?;
    assert_eq!(
        fs::read_link(folder.join("out/link")).ok(),
        Some("text".into())
    );
    Ok(fs::read_to_string(folder.join("out/link")).expect("a file"))
}

fn is_upload(incoming: &Incoming) -> bool {
    incoming.method == "PUT" && incoming.path.contains("/blobs/uploads/")
}

fn is_download(incoming: &Incoming) -> bool {
    incoming.method == "GET" && incoming.path.contains("/blobs/sha256:")
}

/// A kind of requests.
type Kind = fn(&Incoming) -> bool;

/// Starts a gateway that answers the first requests of a kind itself.
fn failing(
    registry: &Registry,
    is_affected: Kind,
    count: usize,
    reply: fn() -> Reply,
) -> (Gateway, Arc<AtomicUsize>) {
    let seen = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&seen);
    let gateway = Gateway::before(registry.host(), move |incoming| {
        match is_affected(incoming) && counted.fetch_add(1, Ordering::SeqCst) < count {
            true => reply(),
            false => Reply::Forward,
        }
    });
    (gateway, seen)
}

fn a_result_is_found_and_restored(t: &Context) {
    let registry = t.own_registry(RegistryKind::Open);
    let steps = repository(t, registry.host());
    assert_eq!(steps.find("a"), Ok(None));
    let saved = Saved::new(t, "a", 3_000_000);
    let digest = saved.push(&steps, "a").expect("a push");
    assert_eq!(
        registry.manifest_digest(&t.image("steps"), &step_tag("a")),
        Some(digest.clone())
    );
    let manifest = registry.image_manifest(&t.image("steps"), &step_tag("a"));
    assert_eq!(
        manifest["mediaType"],
        "application/vnd.oci.image.manifest.v1+json"
    );
    assert_eq!(
        manifest["artifactType"],
        "application/vnd.x-platform.step.v1"
    );
    assert_eq!(
        manifest["config"]["mediaType"],
        "application/vnd.x-platform.step.v1+json"
    );
    assert_eq!(manifest["layers"][0]["digest"], saved.digest());
    assert_eq!(manifest["layers"].as_array().map(Vec::len), Some(1));
    assert_eq!(manifest["annotations"]["x-platform.service"], "service");
    let config = manifest["config"]["digest"].as_str().expect("a digest");
    let document: Value = serde_json::from_slice(&registry.blob(config)).expect("JSON");
    assert_eq!(document["phase"], "build");
    // A new client, which needs one request to find it.
    let steps = repository(t, registry.host());
    let mark = registry.mark();
    assert_eq!(steps.find("a").map(|it| it.is_some()), Ok(true));
    let requests = registry.requests_since(mark);
    let paths: Vec<&str> = requests
        .iter()
        .map(|request| request.path.as_str())
        .collect();
    assert_eq!(paths.len(), 2, "the ping and the manifest: {paths:?}");
    assert_eq!(restored(t, &steps, "a"), Ok("a".to_owned()));
    // Nothing is sent twice.
    let mark = registry.mark();
    assert_eq!(saved.push(&steps, "a"), Ok(digest));
    let requests = registry.requests_since(mark);
    assert!(
        requests.iter().all(|it| it.method != "POST"),
        "{requests:?}"
    );
    assert_eq!(registry.open_uploads(&t.image("steps")), 0);
}

fn a_result_without_outputs_has_no_file(t: &Context) {
    let registry = t.registry();
    let steps = repository(t, registry.host());
    let saved = Saved::new(t, "a", 0);
    steps.push("a", &saved.document, None).expect("a push");
    let document = steps.find("a").expect("a response").expect("a result");
    assert!(!document.contains("outputs"), "{document}");
    let manifest = registry.image_manifest(&t.image("steps"), &step_tag("a"));
    let layer = &manifest["layers"][0];
    assert_eq!(layer["mediaType"], "application/vnd.oci.empty.v1+json");
    assert_eq!(
        registry.blob(layer["digest"].as_str().expect("a digest")),
        b"{}"
    );
}

fn other_tags_are_not_results(t: &Context) {
    let registry = t.registry();
    let steps = repository(t, registry.host());
    let image = t.image("steps");
    let config = registry.put_blob(&image, "application/vnd.oci.image.config.v1+json", b"{}");
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": config,
        "layers": [],
    });
    registry.put_manifest(&image, &step_tag("a"), &manifest);
    assert_eq!(steps.find("a"), Ok(None));
    let config = registry.put_blob(&image, "application/vnd.example.other.v1+json", b"{}");
    let mut manifest = manifest;
    manifest["config"] = config;
    manifest["artifactType"] = json!("application/vnd.example.other.v1");
    registry.put_manifest(&image, &step_tag("a"), &manifest);
    assert_eq!(steps.find("a"), Ok(None));
    // A push replaces it.
    Saved::new(t, "a", 10).push(&steps, "a").expect("a push");
    assert_eq!(restored(t, &steps, "a"), Ok("a".to_owned()));
}

fn logins_are_used(t: &Context) {
    let registry = t.registry_of(RegistryKind::Auth);
    let saved = Saved::new(t, "a", 1_000_000);
    let steps = repository(t, registry.host());
    for error in [saved.push(&steps, "a").map(drop), steps.find("a").map(drop)] {
        let error = error.expect_err("a login is needed");
        assert!(error.contains("rejects anonymous users"), "{error}");
    }
    assert!(fetched(&steps, &saved.document).is_err());
    t.log_in(registry);
    let steps = repository(t, registry.host());
    // The first request of this client has no challenge yet.
    let error = fetched(&steps, &saved.document).expect_err("not pushed yet");
    assert!(error.contains("does not have"), "{error}");
    saved.push(&steps, "a").expect("a push");
    assert_eq!(restored(t, &steps, "a"), Ok("a".to_owned()));
}

fn an_upload_that_is_cut_off_is_repeated(t: &Context) {
    let registry = t.own_registry(RegistryKind::Open);
    let saved = Saved::new(t, "a", 8_000_000);
    let (gateway, seen) = failing(&registry, is_upload, 2, || Reply::Broken(Fault::Reset));
    let steps = repository(t, gateway.host());
    saved.push(&steps, "a").expect("a push");
    assert!(seen.load(Ordering::SeqCst) > 2);
    assert_eq!(restored(t, &steps, "a"), Ok("a".to_owned()));
}

fn an_upload_that_always_fails_leaves_no_result(t: &Context) {
    let registry = t.own_registry(RegistryKind::Open);
    let saved = Saved::new(t, "a", 8_000_000);
    let (gateway, _) = failing(&registry, is_upload, usize::MAX, || {
        Reply::Broken(Fault::Reset)
    });
    let steps = repository(t, gateway.host());
    let error = saved.push(&steps, "a").expect_err("no upload completes");
    assert!(
        error.contains("did not respond to PUT of an upload"),
        "{error}"
    );
    assert_eq!(
        registry.manifest_digest(&t.image("steps"), &step_tag("a")),
        None
    );
    assert_eq!(repository(t, registry.host()).find("a"), Ok(None));
    // The registry may still write to an upload that is canceled.
    assert!(registry.open_uploads(&t.image("steps")) <= 1);
    // The next run starts again.
    let steps = repository(t, registry.host());
    saved.push(&steps, "a").expect("a push");
    assert_eq!(restored(t, &steps, "a"), Ok("a".to_owned()));
}

fn a_lost_file_is_an_error_and_uploaded_again(t: &Context) {
    let registry = t.own_registry(RegistryKind::Open);
    let steps = repository(t, registry.host());
    let saved = Saved::new(t, "a", 100_000);
    saved.push(&steps, "a").expect("a push");
    registry.lose_blob(&t.image("steps"), &saved.digest());
    let document = steps.find("a").expect("a response").expect("a result");
    let error = fetched(&steps, &document).expect_err("it is lost");
    assert!(
        error.contains(&format!("does not have {}", saved.digest())),
        "{error}"
    );
    saved.push(&steps, "a").expect("a push");
    assert_eq!(restored(t, &steps, "a"), Ok("a".to_owned()));
}

fn racing_pushes_leave_one_complete_result(t: &Context) {
    let registry = t.registry();
    let all: Vec<Saved> = ["one", "two", "three", "four"]
        .map(|name| Saved::new(t, name, 500_000))
        .into();
    for round in 0..5 {
        let name = format!("round {round}");
        std::thread::scope(|scope| {
            for saved in &all {
                // As another machine would.
                let steps = repository(t, registry.host());
                let name = &name;
                scope.spawn(move || saved.push(&steps, name).expect("a push"));
            }
        });
        let text = restored(t, &repository(t, registry.host()), &name).expect("a result");
        assert!(
            ["one", "two", "three", "four"].contains(&text.as_str()),
            "{text}"
        );
    }
}

fn a_changed_file_is_not_accepted(t: &Context) {
    let registry = t.own_registry(RegistryKind::Open);
    let saved = Saved::new(t, "a", 100_000);
    let direct = repository(t, registry.host());
    saved.push(&direct, "a").expect("a push");
    // Once: it is downloaded again.
    let (gateway, seen) = failing(&registry, is_download, 1, || Reply::Broken(Fault::Changed));
    let steps = repository(t, gateway.host());
    assert_eq!(restored(t, &steps, "a"), Ok("a".to_owned()));
    assert_eq!(seen.load(Ordering::SeqCst), 2);
    let (gateway, _) = failing(&registry, is_download, usize::MAX, || {
        Reply::Broken(Fault::Changed)
    });
    let steps = repository(t, gateway.host());
    let document = steps.find("a").expect("a response").expect("a result");
    let error = fetched(&steps, &document).expect_err("it has another digest");
    assert!(
        error.contains("a blob does not match its digest"),
        "{error}"
    );
    // Cut off in the middle.
    let (gateway, _) = failing(&registry, is_download, 1, || {
        Reply::Broken(Fault::Truncated)
    });
    assert_eq!(
        restored(t, &repository(t, gateway.host()), "a"),
        Ok("a".to_owned())
    );
    // The local file changes between saving and pushing.
    let other = Saved::new(t, "b", 100_000);
    let mut file = File::options()
        .write(true)
        .open(other.folder.join("archive"))
        .expect("a file");
    file.write_all(b"changed").expect("a file");
    assert!(other.push(&direct, "b").is_err());
    file.set_len(50_000).expect("a file");
    assert!(other.push(&direct, "b").is_err());
    assert_eq!(direct.find("b"), Ok(None));
}

fn a_larger_file_is_not_accepted(t: &Context) {
    let registry = t.own_registry(RegistryKind::Open);
    let saved = Saved::new(t, "a", 100_000);
    saved
        .push(&repository(t, registry.host()), "a")
        .expect("a push");
    let large = || Reply::Response(200, Vec::new(), "x".repeat(200_000));
    let (gateway, seen) = failing(&registry, is_download, usize::MAX, large);
    let steps = repository(t, gateway.host());
    let document = steps.find("a").expect("a response").expect("a result");
    let error = fetched(&steps, &document).expect_err("it is larger");
    assert!(error.contains("larger than declared"), "{error}");
    assert_eq!(seen.load(Ordering::SeqCst), 1, "it is not retried");
}

fn failures_of_the_registry_are_retried(t: &Context) {
    let registry = t.own_registry(RegistryKind::Open);
    let kinds: [(&str, Kind); 6] = [
        ("HEAD", |it| it.method == "HEAD"),
        ("POST", |it| it.method == "POST"),
        ("upload", is_upload),
        ("manifest", |it| {
            it.method == "PUT" && it.is_about_manifest()
        }),
        ("find", |it| it.method == "GET" && it.is_about_manifest()),
        ("download", is_download),
    ];
    for (name, is_affected) in kinds {
        let saved = Saved::new(t, name, 100_000);
        let (gateway, seen) = failing(&registry, is_affected, 1, || Reply::status(503));
        let steps = repository(t, gateway.host());
        saved
            .push(&steps, name)
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(restored(t, &steps, name), Ok(name.to_owned()));
        assert!(seen.load(Ordering::SeqCst) > 1, "{name}");
    }
    for (name, is_affected) in kinds {
        let saved = Saved::new(t, &format!("500-{name}"), 100_000);
        let (gateway, _) = failing(&registry, is_affected, usize::MAX, || {
            Reply::error(500, "UNKNOWN", "out of disk space")
        });
        let steps = repository(t, gateway.host());
        let pushed = saved.push(&steps, &format!("500-{name}")).map(drop);
        let is_read = ["find", "download"].contains(&name);
        let result = match is_read {
            true => pushed.and_then(|()| restored(t, &steps, &format!("500-{name}")).map(drop)),
            false => pushed,
        };
        let error = result.expect_err(name);
        assert!(error.contains("returned 500"), "{name}: {error}");
    }
}

fn a_registry_that_rejects_artifact_types_is_supported(t: &Context) {
    let registry = t.own_registry(RegistryKind::Open);
    let gateway = Gateway::before(registry.host(), |incoming| {
        let is_new = incoming.body.contains("artifactType");
        match incoming.method == "PUT" && incoming.is_about_manifest() && is_new {
            true => Reply::error(400, "MANIFEST_INVALID", "manifest invalid"),
            false => Reply::Forward,
        }
    });
    let steps = repository(t, gateway.host());
    Saved::new(t, "a", 1000).push(&steps, "a").expect("a push");
    let manifest = registry.image_manifest(&t.image("steps"), &step_tag("a"));
    assert_eq!(manifest.get("artifactType"), None);
    assert_eq!(
        restored(t, &repository(t, registry.host()), "a"),
        Ok("a".to_owned())
    );
}

fn a_proxys_not_found_is_an_error(t: &Context) {
    let registry = t.registry();
    let gateway = Gateway::before(registry.host(), |incoming| {
        match incoming.is_about_manifest() {
            true => Reply::Response(404, Vec::new(), "<html>Not Found".to_owned()),
            false => Reply::Forward,
        }
    });
    let error = repository(t, gateway.host())
        .find("a")
        .expect_err("a proxy's page");
    assert!(error.contains("does not come from a registry"), "{error}");
}
