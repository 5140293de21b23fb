//! Rendering a deploy with the real kubectl, without a cluster.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::case::Case;
use crate::cases::small;
use crate::context::Context;
use crate::process;
use crate::repository::GitRepository;

pub const CASES: &[Case] = cases![
    images_are_rendered_by_their_digests,
    the_sample_is_rendered,
    image_names_are_mapped,
    custom_image_fields_are_supported,
    kustomize_files_can_be_in_a_separate_repository,
    the_cache_folder_can_be_elsewhere,
    a_lock_is_rendered,
    a_lock_of_images_that_do_not_belong_together_is_rejected,
    a_dry_run_shows_the_set,
    missing_images_are_reported,
    stale_images_are_reported,
    invalid_environments_are_reported,
    a_service_unused_by_the_overlay_is_reported,
    another_namespace_is_rejected,
    a_kustomize_error_does_not_leak_secrets,
    a_partial_deploy_requires_a_record,
    kubectl_of_the_builder_is_used,
];

/// The two services, in separate repositories.
pub(super) struct Product {
    pub backend: GitRepository,
    pub frontend: GitRepository,
}

/// Writes the two services, the kustomize files, and a manifest with the environment `staging`.
pub(super) fn product(t: &Context, namespace: &str) -> Product {
    let dockerfile = "FROM scratch\nCOPY content /\n";
    let product = Product {
        backend: t.git_repo("zbackend"),
        frontend: t.git_repo("zfrontend"),
    };
    for (repository, name) in [(&product.backend, "one"), (&product.frontend, "two")] {
        repository.commit(&[("Dockerfile", dockerfile), ("content", name)], "Start");
    }
    kustomize_files(t, namespace);
    manifest(t, &product, &section(namespace));
    product
}

/// Returns the `deploy` section of a manifest.
pub(super) fn section(namespace: &str) -> String {
    format!(
        "deploy:\n  path: k8s\n  environments:\n    staging: {{overlay: overlays/staging, context: full, \
         namespace: {namespace}, timeout: 30s}}\n"
    )
}

pub(super) fn manifest(t: &Context, product: &Product, deploy: &str) {
    t.manifest(&format!(
        "registry: {}\n{deploy}services:\n  zbackend:\n    dir: src/zbackend\n    git: {{remote: '{}'}}\n    \
         docker: {{image: zbackend}}\n  zfrontend:\n    dir: src/zfrontend\n    git: {{remote: '{}'}}\n    \
         docker: {{image: zfrontend}}\n",
        t.registry_prefix(t.registry()),
        product.backend.url_http(),
        product.frontend.url_http(),
    ));
}

/// A Deployment that runs the backend, and one that mounts the frontend.
const OBJECTS: &str = "\
apiVersion: apps/v1
kind: Deployment
metadata: {name: zbackend}
spec:
  selector: {matchLabels: {app: zbackend}}
  template:
    metadata: {labels: {app: zbackend}}
    spec:
      containers:
        - {name: zbackend, image: zbackend}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: zfrontend}
spec:
  selector: {matchLabels: {app: zfrontend}}
  template:
    metadata: {labels: {app: zfrontend}}
    spec:
      containers:
        - {name: server, image: 'web:1'}
      volumes:
        - {name: files, image: {reference: zfrontend}}
---
apiVersion: v1
kind: Service
metadata: {name: zbackend}
spec: {selector: {app: zbackend}, ports: [{name: http, port: 80}]}
";

fn kustomize_files(t: &Context, namespace: &str) {
    t.write("k8s/base/kustomization.yaml", "resources: [all.yaml]\n");
    // The images have no program, and the nodes of a foreign cluster cannot pull them.
    let objects = if t.uses_foreign_cluster() {
        OBJECTS.replace(
            "spec:\n  selector: {match",
            "spec:\n  replicas: 0\n  selector: {match",
        )
    } else {
        OBJECTS.to_owned()
    };
    t.write("k8s/base/all.yaml", &objects);
    t.write(
        "k8s/overlays/staging/kustomization.yaml",
        &format!("namespace: {namespace}\nresources: [../../base]\n"),
    );
}

/// Returns a commit's image by digest.
pub(super) fn pinned(t: &Context, name: &str, commit: &str) -> String {
    let digest = t.registry().manifest_digest(&t.image(name), commit);
    let digest = digest.unwrap_or_else(|| panic!("{name} is in the registry"));
    format!("{}/{}@{digest}", t.registry().host(), t.image(name))
}

fn images_are_rendered_by_their_digests(t: &Context) {
    let product = product(t, "staging");
    t.xp(["build"]).success();
    let before = t.read("k8s/overlays/staging/kustomization.yaml");
    let output = t.xp(["deploy", "staging", "--render"]).success();
    let output = output
        .stdout_contains(&format!(
            "image: {}",
            pinned(t, "zbackend", &product.backend.head())
        ))
        // Without any setting in the user's files, although kustomize does not know where images are mounted.
        .stdout_contains(&format!(
            "reference: {}",
            pinned(t, "zfrontend", &product.frontend.head())
        ))
        .stdout_contains("image: web:1")
        .stdout_contains("namespace: staging");
    assert!(output.stdout.starts_with("apiVersion: "), "{output}");
    assert_eq!(t.read("k8s/overlays/staging/kustomization.yaml"), before);
    let files = process::succeed(
        std::process::Command::new("find")
            .arg("k8s")
            .current_dir(t.dir()),
    );
    assert!(!files.contains("xp"), "{files}");
    // No kubeconfig is needed without a cluster.
    t.xp(["deploy", "staging", "--render"])
        .env("KUBECONFIG", "/nowhere/config")
        .success();
}

fn the_sample_is_rendered(t: &Context) {
    let product = product(t, "staging");
    let database = small::repository(t, "zdb");
    let service = small::service(t, "zdb", &database.url_http(), "", "");
    let service = service.replace(&format!("image: {}", t.image("zdb")), "image: zdb");
    t.manifest(&(t.read("x-platform.yml") + &service));
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/platform/k8s");
    fs::remove_dir_all(t.dir().join("k8s")).expect("the kustomize files");
    process::succeed(
        std::process::Command::new("cp")
            .arg("-r")
            .arg(sample)
            .arg(t.dir().join("k8s")),
    );
    // A user's transformation of the placeholder.
    let prefix = t.registry_prefix(t.registry());
    let overlay = "k8s/overlays/staging/kustomization.yaml";
    let text = t.read(overlay).replace("harbour.example.com/x", &prefix);
    t.write(overlay, &text);
    t.xp(["build"]).success();
    t.xp(["deploy", "staging", "--render"])
        .success()
        .stdout_contains(&format!(
            "image: {}",
            pinned(t, "zbackend", &product.backend.head())
        ))
        .stdout_contains(&format!(
            "reference: {}",
            pinned(t, "zfrontend", &product.frontend.head())
        ))
        .stdout_contains(&format!("image: {}", pinned(t, "zdb", &database.head())))
        .does_not_contain(":master")
        .does_not_contain(":default");
}

fn image_names_are_mapped(t: &Context) {
    let product = product(t, "staging");
    let objects = OBJECTS.replace("image: zbackend", "image: hub.example.com/team/back:old");
    t.write("k8s/base/all.yaml", &objects);
    let deploy = section("staging") + "  images: {zbackend: hub.example.com/team/back}\n";
    manifest(t, &product, &deploy);
    t.xp(["build"]).success();
    let backend = pinned(t, "zbackend", &product.backend.head());
    t.xp(["deploy", "staging", "--render"])
        .success()
        .stdout_contains(&format!("image: {backend}"))
        .does_not_contain("hub.example.com");
    // A name that no longer exists is an error.
    t.write("k8s/base/all.yaml", OBJECTS);
    t.xp(["deploy", "staging", "--render"])
        .failure(2)
        .stderr_contains("k8s/overlays/staging uses no image that `deploy.images` lists")
        .stderr_contains("zbackend: no image hub.example.com/team/back")
        .stderr_contains("hint: it has images that do not belong to any service: web:1, zbackend;");
}

fn custom_image_fields_are_supported(t: &Context) {
    let product = product(t, "staging");
    let site = "---\napiVersion: x.example.com/v1\nkind: Site\nmetadata: {name: a}\nspec: {image: zfrontend}\n";
    t.write("k8s/base/all.yaml", &format!("{OBJECTS}{site}"));
    t.write(
        "k8s/base/kustomization.yaml",
        "resources: [all.yaml]\nconfigurations: [fields.yaml]\n",
    );
    t.write(
        "k8s/base/fields.yaml",
        "images:\n- {group: x.example.com, kind: Site, path: spec/image, create: true}\n",
    );
    t.xp(["build"]).success();
    let frontend = pinned(t, "zfrontend", &product.frontend.head());
    let output = t.xp(["deploy", "staging", "--render"]).success();
    assert!(
        output.stdout.contains(&format!("\n  image: {frontend}\n")),
        "{output}"
    );
}

fn kustomize_files_can_be_in_a_separate_repository(t: &Context) {
    let product = product(t, "staging");
    let repository = t.git_repo("k8s");
    let first = repository.commit(
        &[
            ("deploy/base/kustomization.yaml", "resources: [all.yaml]\n"),
            ("deploy/base/all.yaml", OBJECTS),
            (
                "deploy/overlays/staging/kustomization.yaml",
                "namespace: staging\nresources: [../../base]\n",
            ),
        ],
        "Start",
    );
    fs::remove_dir_all(t.dir().join("k8s")).expect("the kustomize files");
    let deploy = |reference: &str| {
        let git = format!(
            "  git: {{remote: '{}', reference: {reference}, path: deploy}}\n",
            repository.url_http()
        );
        section("staging").replace("  path: k8s\n", &git)
    };
    manifest(t, &product, &deploy("origin/master"));
    t.xp(["build"]).success();
    let backend = pinned(t, "zbackend", &product.backend.head());
    let render = || t.xp(["deploy", "staging", "--render"]).success();
    render()
        .stdout_contains(&format!("image: {backend}"))
        .stdout_contains("image: web:1");
    // The pushed files are used, and a commit stays what it is.
    let objects = OBJECTS.replace("web:1", "web:2");
    repository.commit(&[("deploy/base/all.yaml", &objects)], "Next");
    render().stdout_contains("image: web:2");
    manifest(t, &product, &deploy(&first));
    render().stdout_contains("image: web:1");
    manifest(t, &product, &deploy("origin/mastre"));
    t.xp(["deploy", "staging", "--render"])
        .failure(2)
        .stderr_contains("deploy.git cannot be resolved")
        .stderr_contains("did you mean `master`");
}

fn the_cache_folder_can_be_elsewhere(t: &Context) {
    let product = product(t, "staging");
    t.xp(["build"]).success();
    let backend = pinned(t, "zbackend", &product.backend.head());
    t.xp(["deploy", "staging", "--render"])
        .env("XP_CACHE_DIR", t.folder().join("a cache"))
        .success()
        .stdout_contains(&format!("image: {backend}"));
}

fn a_lock_is_rendered(t: &Context) {
    let product = product(t, "staging");
    t.xp(["build"]).success();
    t.xp(["lock", "--lock-file", "release.lock"]).success();
    let locked = pinned(t, "zbackend", &product.backend.head());
    let commit = product.backend.commit(&[("content", "newer")], "Newer");
    t.xp(["build"]).success();
    let render = |arguments: [&str; 2]| {
        let output = t.xp(["deploy", "staging", "--render"]).args(arguments);
        output.success()
    };
    render(["--lock", "release.lock"]).stdout_contains(&format!("image: {locked}"));
    let newer = pinned(t, "zbackend", &commit);
    render(["--format", "text"]).stdout_contains(&format!("image: {newer}"));
    t.xp(["deploy", "staging", "--render", "--locked"])
        .failure(2)
        .stderr_contains("x-platform.lock");
    // A lock of images that no longer exist.
    let text = t.read("release.lock");
    let digest = locked.split_once('@').expect("a digest").1;
    let gone = format!("sha256:{}", "0".repeat(64));
    t.write("gone.lock", &text.replace(digest, &gone));
    t.xp(["deploy", "staging", "--render", "--lock", "gone.lock"])
        .failure(3)
        .stderr_contains("zbackend: the registry has no ")
        .stderr_contains(&gone);
}

fn a_lock_of_images_that_do_not_belong_together_is_rejected(t: &Context) {
    let product = product(t, "staging");
    let dockerfile = "ARG BACKEND\nFROM ${BACKEND}\n";
    product
        .frontend
        .commit(&[("Dockerfile", dockerfile)], "Build from the backend");
    let text = t.read("x-platform.yml").replace(
        "docker: {image: zfrontend}",
        "docker: {image: zfrontend, args: {BACKEND: '${{ services.zbackend.image }}'}}",
    );
    t.manifest(&text);
    let mut locks = Vec::new();
    for content in ["one", "other"] {
        product.backend.commit(&[("content", content)], content);
        t.xp(["build"]).success();
        t.xp(["lock", "--lock-file", "release.lock"]).success();
        let lock = t.read("release.lock");
        let frontend = lock.find("\n  zfrontend:").expect("two entries");
        locks.push((lock[..frontend].to_owned(), lock[frontend..].to_owned()));
    }
    let [(_, old_frontend), (backend, frontend)] = &locks[..] else {
        panic!("two locks");
    };
    let render = |lock: String| {
        t.write("merged.lock", &lock);
        t.xp(["deploy", "staging", "--render", "--lock", "merged.lock"])
    };
    render(format!("{backend}{old_frontend}"))
        .failure(2)
        .stderr_contains("zfrontend: its image was built from another image of `zbackend`")
        .stderr_contains("update them with `xp lock`");
    render(format!("{backend}{frontend}")).success();
}

fn a_dry_run_shows_the_set(t: &Context) {
    let product = product(t, "staging");
    t.xp(["build"]).success();
    let head = product.backend.head();
    t.xp(["deploy", "staging", "--dry-run"])
        .success()
        .stdout_contains("staging: k8s/overlays/staging to namespace staging of full")
        .stdout_contains("zbackend   added")
        .stdout_contains(&head[..7])
        .stdout_contains(
            "3 objects would be applied: Service zbackend, Deployment zbackend, Deployment zfrontend",
        );
    let json = ["deploy", "staging", "--format", "json"];
    let events = t.xp(json).arg("--dry-run").success();
    for line in events.stdout.lines() {
        let event: serde_json::Value = serde_json::from_str(line).expect("an event");
        assert!(event["event"].is_string(), "{line}");
    }
    events.stdout_contains("3 objects would be applied");
    t.xp(json)
        .arg("--render")
        .failure(2)
        .stderr_contains("`--render` prints YAML");
}

fn missing_images_are_reported(t: &Context) {
    let _product = product(t, "staging");
    t.xp(["deploy", "staging", "--render"])
        .failure(1)
        .stderr_contains("2 images are not built yet; nothing was deployed")
        .stderr_contains("zbackend: the registry has no image of its commit")
        .stderr_contains(
            "hint: `xp build` builds and pushes them; `xp deploy staging --build` builds before deploying",
        );
}

fn stale_images_are_reported(t: &Context) {
    let product = product(t, "staging");
    t.xp(["build"]).success();
    let text = t.read("x-platform.yml");
    t.manifest(&text.replace("{image: zbackend}", "{image: zbackend, args: {A: b}}"));
    t.xp(["deploy", "staging", "--render"])
        .failure(1)
        .stderr_contains("zbackend: the registry's image was built from other inputs: ");
    let backend = pinned(t, "zbackend", &product.backend.head());
    t.xp(["deploy", "staging", "--render", "--trust-commit"])
        .success()
        .stdout_contains(&backend);
}

fn invalid_environments_are_reported(t: &Context) {
    let product = product(t, "staging");
    t.xp(["deploy", "stagin", "--render"])
        .failure(2)
        .stderr_contains("unknown environment `stagin`")
        .stderr_contains("hint: did you mean `staging`?");
    let deploy = section("staging").replace("overlays/staging", "overlay/staging");
    manifest(t, &product, &deploy);
    t.xp(["deploy", "staging", "--render"])
        .failure(2)
        .stderr_contains("the overlay of environment `staging` does not exist: k8s/overlay/staging")
        .stderr_contains("did you mean `overlays/staging`?");
    manifest(t, &product, "");
    t.xp(["deploy", "staging", "--render"])
        .failure(2)
        .stderr_contains("the manifest has no `deploy` section");
    t.write(
        "k8s/overlays/staging/kustomization.yaml",
        "resources: [../../bas]\n",
    );
    manifest(t, &product, &section("staging"));
    t.xp(["deploy", "staging", "--render"])
        .failure(2)
        .stderr_contains("cannot render k8s/overlays/staging")
        .stderr_contains("k8s/bas");
    // An image that is only in the engine cannot be deployed.
    kustomize_files(t, "staging");
    let text = t.read("x-platform.yml");
    let (_, rest) = text.split_once('\n').expect("the registry's line");
    t.manifest(rest);
    t.xp(["deploy", "staging", "--render"])
        .failure(2)
        .stderr_contains("cannot deploy zbackend: its image is not in a registry");
}

fn a_service_unused_by_the_overlay_is_reported(t: &Context) {
    let product = product(t, "staging");
    // For example, if the frontend is part of the backend's image.
    let (backend, _) = OBJECTS.split_once("---").expect("documents");
    t.write("k8s/base/all.yaml", backend);
    t.xp(["build"]).success();
    t.xp(["deploy", "staging", "--dry-run"])
        .success()
        .stderr_contains("k8s/overlays/staging references no image of zfrontend: skipped");
    t.xp(["deploy", "staging", "zfrontend", "--render"])
        .failure(2)
        .stderr_contains("k8s/overlays/staging uses no image of the services to deploy")
        .stderr_contains("zfrontend: no image ")
        .stderr_contains("or zfrontend");
    // Not even if it is not built.
    product.frontend.commit(&[("content", "newer")], "Newer");
    t.xp(["deploy", "staging", "--render"]).success();
}

fn another_namespace_is_rejected(t: &Context) {
    let product = product(t, "staging");
    t.xp(["build"]).success();
    manifest(t, &product, &section("production"));
    t.xp(["deploy", "staging", "--render"])
        .failure(2)
        .stderr_contains("objects outside the environment's namespace production")
        .stderr_contains("Deployment zbackend is in staging");
}

fn a_kustomize_error_does_not_leak_secrets(t: &Context) {
    let _product = product(t, "staging");
    t.write(
        "k8s/overlays/staging/kustomization.yaml",
        "resources: [../../base]\nsecretGenerator:\n- {name: a, literals: [canary-7391]}\n",
    );
    let output = t.xp(["deploy", "staging", "--render"]).failure(2);
    output
        .stderr_contains("cannot render ")
        .stderr_contains("***")
        .does_not_contain("canary-7391");
    // A patch that is quoted completely.
    t.write(
        "k8s/overlays/staging/kustomization.yaml",
        "resources: [../../base]\npatches:\n- target: {kind: Secret}\n  patch: |-\n    kind: Secret\n    stringData:\n      a: \"canary-7391\n",
    );
    t.xp(["deploy", "staging", "--render"])
        .failure(2)
        .stderr_contains("unable to parse SM or JSON patch")
        .does_not_contain("canary-7391");
}

fn a_partial_deploy_requires_a_record(t: &Context) {
    let _product = product(t, "staging");
    t.xp(["build"]).success();
    t.xp(["deploy", "staging", "zbackend", "--render"])
        .failure(2)
        .stderr_contains("staging has no record here")
        .stderr_contains("the deployed version of zfrontend is unknown");
}

fn kubectl_of_the_builder_is_used(t: &Context) {
    let product = product(t, "staging");
    t.xp(["build"]).success();
    let nothing = t.folder().join("nothing");
    t.xp(["deploy", "staging", "--render"])
        .env("PATH", &nothing)
        .failure(3)
        .stderr_contains(
            "kubectl is not on PATH, and the builder `k8s`, which could provide it, does not exist",
        );
    write_builder(t);
    let backend = pinned(t, "zbackend", &product.backend.head());
    let output = t
        .xp(["deploy", "staging", "--render"])
        .env("PATH", &nothing)
        .success();
    output
        .stdout_contains(&format!("image: {backend}"))
        .stderr_contains("kubectl is not on PATH; using the one in builders/k8s");
    assert!(t.containers().is_empty(), "no container is left");
}

/// Writes the builder `k8s`, with this machine's kubectl.
pub(super) fn write_builder(t: &Context) {
    let program = process::succeed(
        std::process::Command::new("sh").args(["-c", "readlink -f \"$(command -v kubectl)\""]),
    );
    let folder = t.dir().join("builders/k8s");
    fs::create_dir_all(&folder).expect("the builder's folder");
    fs::copy(program.trim(), folder.join("kubectl")).expect("kubectl");
    let mode = fs::Permissions::from_mode(0o755);
    fs::set_permissions(folder.join("kubectl"), mode).expect("its mode");
    let dockerfile = format!("FROM {}\nCOPY kubectl /bin/kubectl\n", t.engine().busybox());
    t.write("builders/k8s/Dockerfile", &dockerfile);
}
