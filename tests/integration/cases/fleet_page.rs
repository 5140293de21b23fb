//! The setup of `docs/fleet.md`, as it is on the page: the Role, and the pod template with an engine as a native sidecar.

use std::path::Path;

use serde_json::{Value, json};

use super::fleet::FleetPlatform;
use super::small;
use crate::case::Case;
use crate::context::Context;
use crate::process::succeed;
use crate::wait::wait_until;
use crate::world::Access;

pub const CASES: &[Case] = cases![
    the_role_of_the_page_is_exactly_enough,
    the_engine_of_the_page_builds,
];

/// The namespace on the page.
const NAMESPACE: &str = "builds";

/// Returns the code blocks in YAML.
fn blocks() -> Vec<String> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/fleet.md");
    let page = std::fs::read_to_string(page).expect("the page");
    let blocks = page.split("```yaml\n").skip(1);
    let blocks = blocks.map(|rest| rest.split("```").next().unwrap_or_default().to_owned());
    blocks.collect()
}

/// Returns the code block with a text.
fn block(text: &str) -> String {
    let mut blocks = blocks().into_iter();
    let found = blocks.find(|block| block.contains(text));
    found.unwrap_or_else(|| panic!("the page has no block with `{text}`"))
}

/// Returns the objects of the setup, in the namespace of the test.
fn setup(platform: &FleetPlatform<'_>) -> Vec<Value> {
    let name = platform.namespace.name();
    let block = block("kind: RoleBinding");
    let objects = block.split("---\n").map(|text| {
        let mut object: Value = serde_saphyr::from_str(text).expect("YAML");
        let namespace = match object["kind"].as_str() {
            Some("Namespace") => &mut object["metadata"]["name"],
            _ => &mut object["metadata"]["namespace"],
        };
        assert_eq!(*namespace, NAMESPACE);
        *namespace = name.into();
        let subjects = object.get_mut("subjects").and_then(Value::as_array_mut);
        for subject in subjects.into_iter().flatten() {
            subject["namespace"] = name.into();
        }
        object
    });
    objects.collect()
}

/// Returns the claim of the cache volume, in the namespace of the test.
fn claim(platform: &FleetPlatform<'_>) -> Value {
    let block = block("kind: PersistentVolumeClaim");
    let mut claim: Value = serde_saphyr::from_str(&block).expect("YAML");
    assert_eq!(claim["metadata"]["namespace"], NAMESPACE);
    claim["metadata"]["namespace"] = platform.namespace.name().into();
    claim
}

fn apply(t: &Context, objects: &[Value]) {
    t.kubeconfig(&[("ci-cluster", Access::Full)]);
    let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
    t.kubectl([
        "apply",
        "--server-side",
        "--force-conflicts",
        "--filename=-",
        "--context=ci-cluster",
    ])
    .stdin(&list.to_string())
    .success();
}

fn the_role_of_the_page_is_exactly_enough(t: &Context) {
    let platform = FleetPlatform::new(t);
    let setup = setup(&platform);
    let kinds: Vec<&str> = setup.iter().filter_map(|it| it["kind"].as_str()).collect();
    assert_eq!(
        kinds,
        ["Namespace", "Role", "ServiceAccount", "RoleBinding"]
    );
    apply(t, &setup);
    let kubeconfig = platform.namespace.account_kubeconfig("ci-cluster", "xp-ci");
    t.write_kubeconfig(&kubeconfig);
    t.xp(["build", "--fleet", "ci"]).success();
    t.xp(["doctor", "--fleet", "ci", "-v"])
        .success()
        .stdout_contains("is reachable, with all permissions");
    let requests = platform.namespace.requests();
    let refused: Vec<_> = requests.iter().filter(|it| it.status == 403).collect();
    // Quotas are shown to users who may read them.
    let refused = refused
        .iter()
        .filter(|it| !it.path.contains("resourcequotas"));
    assert_eq!(refused.count(), 0, "{requests:?}");

    let mut count = 0;
    let rules = setup[1]["rules"].as_array().expect("rules");
    for (position, rule) in rules.iter().enumerate() {
        let resource = rule["resources"][0].as_str().expect("a resource");
        for verb in rule["verbs"].as_array().expect("verbs") {
            let mut role = setup[1].clone();
            let verbs = role["rules"][position]["verbs"].as_array_mut();
            verbs.expect("verbs").retain(|it| it != verb);
            if role["rules"][position]["verbs"] == json!([]) {
                role["rules"]
                    .as_array_mut()
                    .expect("rules")
                    .remove(position);
            }
            apply(t, &[role]);
            t.write_kubeconfig(&kubeconfig);
            let build = t.xp(["build", "base", "--fleet", "ci", "--force"]);
            if resource == "events" {
                // Optional.
                build.success();
                continue;
            }
            let verb = verb.as_str().expect("a verb");
            build.failure(3).stderr_contains(&format!(
                "lacks permissions in the namespace {}: {verb} {resource}\n",
                platform.namespace.name()
            ));
            count += 1;
        }
    }
    assert_eq!(count, 12);
    assert_eq!(platform.jobs().len(), 3);
    assert!(platform.namespace.objects("secrets").is_empty());
}

/// Writes the template of the page, with the engine of the tests and their network.
fn write_template(t: &Context) {
    let template = block("# k8s/builder-pod.yaml");
    let image = "      image: docker:28-dind\n";
    let arguments = "--tls=false]";
    for part in [image, arguments, "tcp://127.0.0.1:2375", "\nspec:\n"] {
        assert!(template.contains(part), "{part}");
    }
    let port = t.closed_port().to_string();
    let template = template
        .replace(image, &format!("      image: {}\n", t.docker_image()))
        .replace("2375", &port)
        // The servers of the tests listen on this machine only, which has its own engine with a bridge and rules.
        .replace("\nspec:\n", "\nspec:\n  hostNetwork: true\n")
        .replace(arguments, "--tls=false, --bridge=none, --iptables=false]");
    t.write("k8s/pod.yaml", &with_cache(&template));
}

/// Adds the cache volume of the page to its template.
fn with_cache(template: &str) -> String {
    let cache = block("claimName: xp-cache");
    let (mount, volume) = cache.split_once("  volumes:\n").expect("two parts");
    let mount = mount.replacen("      volumeMounts:\n", "", 1);
    let work = "        - {name: work, mountPath: /xp/work}\n";
    assert_eq!(template.matches(work).count(), 2);
    template.replace(work, &format!("{work}{mount}")) + volume
}

fn the_engine_of_the_page_builds(t: &Context) {
    if t.engine().product().is_podman() {
        return;
    }
    let platform = FleetPlatform::new(t);
    apply(t, &[claim(&platform)]);
    write_template(t);
    // The engine of the pod has no images.
    let busybox = format!("{}/{}", platform.registry.host(), t.image("busybox:1"));
    t.engine().tag(t.engine().busybox(), &busybox);
    succeed(t.engine().client().args(["push", "--quiet", &busybox]));
    let dockerfile = format!("FROM {busybox}\nCOPY made /made\n");
    platform
        .base
        .commit(&[("Dockerfile", &dockerfile)], "Use the registry");
    let script = format!(
        "    dockerBuilder: {{image: '{busybox}', network: none, cache: [/cache]}}\n    \
         scripts: {{build: ['cat /cache/kept > made || echo first > made', 'echo kept > /cache/kept']}}\n"
    );
    let args = ", args: {BASE: '${{ services.base.image }}'}";
    platform.set_services(&format!(
        "{}{}",
        small::service(t, "base", &platform.base.url_http(), "", &script),
        small::service(t, "top", &platform.top.url_http(), args, ""),
    ));
    t.xp(["doctor", "--fleet", "ci", "-v"])
        .success()
        .stdout_contains("ci: in the pod: Docker Engine ");
    let build = t.xp(["build", "--fleet", "ci"]).success();
    assert!(build.row("base").contains("built"), "{build}");
    assert!(build.row("top").contains("built"), "{build}");
    let made = |service: &str| {
        let image = platform.image(service);
        t.engine().run(&image, ["cat", "/made"]).trim().to_owned()
    };
    assert_eq!(made("top"), "first");
    platform.base.commit(&[("more", "new")], "Later");
    t.xp(["build", "base", "--fleet", "ci"]).success();
    assert_eq!(made("base"), "kept");
    // The engines end with their pods, and nothing of them is left.
    wait_until("the pods have ended", || {
        let pods = platform.namespace.objects("pods");
        pods.iter().all(|pod| pod["status"]["phase"] == "Succeeded")
    });
    for pod in platform.namespace.objects("pods") {
        let sidecar = &pod["status"]["initContainerStatuses"][0];
        assert_eq!(sidecar["name"], "engine");
        assert!(sidecar["state"]["terminated"].is_object(), "{sidecar}");
    }
}
