//! The manifest's keys as JSON Schema describes them.
//!
//! These types are never read into: they are what `schemars` derives the schema from. That their
//! keys are those of the decoder is kept by a test. Every field is optional here, because a
//! service may take it from `defaults`.

#![expect(
    dead_code,
    reason = "the fields are read by the derive of JsonSchema only"
)]

use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

/// `1h30m`: units in this order, each once.
const DURATION: &str = "^([0-9]+d *)?([0-9]+h *)?([0-9]+m *)?([0-9]+s *)?$";
/// `512m`, `2GiB`, or a number of bytes.
const MEMORY: &str = r"^[0-9]+(\.[0-9]+)? *[kKmMgGtT]?([iI]?[bB])?$";
/// `1.5`
const CPUS: &str = r"^[0-9]+(\.[0-9]+)?$";

/// What an editor offers for a new service.
fn new_service() -> Value {
    json!({
        "label": "service",
        "description": "A service with a builder and scripts",
        "body": {
            "${1:name}": {
                "dir": "src/${1:name}",
                "git": { "remote": "${2:git@git.example.com:x/$1.git}", "reference": "origin/${3:main}" },
                "dockerBuilder": { "image": "builders/${4:$1}" },
                "docker": { "image": "${1:name}" },
                "scripts": { "build": ["${5:make build}"], "test": ["${6:make test}"] },
            },
        },
    })
}

/// The services of a product, and how each becomes a container image.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Manifest {
    /// The format version.
    #[schemars(extend("const" = 1, "default" = 1))]
    version: Option<u64>,
    /// Prefix for every `docker.image` and builder image that names no registry host. Without it all images stay in the local engine, and nothing is pushed.
    #[schemars(example = &"harbour.example.com/x")]
    registry: Option<String>,
    /// Where xp keeps its own files, relative to the manifest. `XP_CACHE_DIR` overrides it.
    #[schemars(extend("default" = ".xp"))]
    cache_dir: Option<String>,
    /// The builder images: toolchains that scripts run in.
    builders: Option<Builders>,
    /// A partial service, merged under each service: mappings merge, lists and scalars replace.
    defaults: Option<Service>,
    /// The services by name: a letter or digit, then letters, digits, `.`, `_` and `-`.
    #[schemars(required, extend("minProperties" = 1, "defaultSnippets" = [new_service()], "propertyNames" = {"pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$", "patternErrorMessage": "A service's name has at most 63 letters, digits, ., _ and -, and begins with a letter or digit"}))]
    services: BTreeMap<String, Service>,
    /// How the product comes to a Kubernetes cluster, for `xp deploy`.
    deploy: Option<Deploy>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
struct Deploy {
    /// The folder with the kustomize files, relative to the manifest. Without it, `git` names them.
    #[schemars(example = &"k8s")]
    path: Option<String>,
    /// The repository with the kustomize files, where they do not lie beside the manifest.
    git: Option<DeployGit>,
    /// What the kustomize files call the image of a service, where that is not its `docker.image`.
    #[schemars(extend("examples" = [{"NAME": "registry.example.com/x/name"}]))]
    images: Option<BTreeMap<String, String>>,
    /// The environments by name: lower-case letters, digits, and `-` between them.
    #[schemars(required, extend("minProperties" = 1, "examples" = [{"staging": {"overlay": "overlays/staging", "context": "staging-cluster", "namespace": "staging"}}], "propertyNames" = {"pattern": "^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$", "patternErrorMessage": "An environment's name has at most 40 lower-case letters and digits, and - between them"}))]
    environments: BTreeMap<String, Environment>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
struct DeployGit {
    /// The remote: an ssh, scp-like, https, git or file URL.
    #[schemars(required, example = &"git@git.example.com:x/k8s.git")]
    remote: Option<String>,
    /// What to deploy with: a branch, a tag or a full SHA-1. Without it, the remote's default branch.
    #[schemars(example = &"origin/master")]
    reference: Option<Scalar>,
    /// The folder of the repository with the kustomize files. Without it, its top.
    #[schemars(example = &"k8s")]
    path: Option<String>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
struct Environment {
    /// The folder of the overlay, relative to the kustomize files.
    #[schemars(required, example = &"overlays/staging")]
    overlay: Option<String>,
    /// The context of the kubeconfig. `xp` uses no other for this environment.
    #[schemars(required, example = &"staging-cluster")]
    context: Option<String>,
    /// The namespace. Objects of another one are refused.
    #[schemars(required, example = &"staging")]
    namespace: Option<String>,
    /// The time that a rollout may take.
    #[schemars(extend("default" = "5m", "pattern" = DURATION, "patternErrorMessage" = "A duration such as 90s, 30m or 1h30m", "minLength" = 2))]
    timeout: Option<String>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
struct Builders {
    /// The folder of builder images, relative to the manifest: one folder each, with a Dockerfile.
    #[schemars(extend("default" = "builders"))]
    dir: Option<String>,
    /// Build arguments for all builder images.
    #[schemars(extend("examples" = [{"BASE": "debian:bookworm-slim"}], "propertyNames" = {"pattern": "^[A-Za-z_][A-Za-z0-9_]*$", "patternErrorMessage": "A name has letters, digits and _, and begins with no digit"}))]
    args: Option<BTreeMap<String, Scalar>>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
struct Service {
    /// The working copy, relative to the manifest and never outside its folder.
    #[schemars(example = &"src/zbackend")]
    dir: Option<String>,
    /// Where the source comes from.
    git: Option<Git>,
    /// The container that the scripts run in.
    docker_builder: Option<DockerBuilder>,
    /// The time that scripts and image build may take together. Without it there is no limit.
    #[schemars(extend("examples" = ["30m", "1h30m", "90s"], "pattern" = DURATION, "patternErrorMessage" = "A duration such as 90s, 30m or 1h30m", "minLength" = 2))]
    timeout: Option<String>,
    /// The image: how it is built, and what it is called.
    docker: Option<Docker>,
    /// The scripts that make what the Dockerfile takes in.
    scripts: Option<Scripts>,
    /// Services whose image must exist first. Implied by `${{ services.… }}`.
    #[schemars(extend("examples" = [["NAME"]]))]
    needs: Option<Vec<String>>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
struct Git {
    /// The remote: an ssh, scp-like, https, git or file URL.
    #[schemars(extend("examples" = ["git@git.example.com:x/zbackend.git", "https://git.example.com/x/zbackend.git"]))]
    remote: Option<String>,
    /// What to build: `origin/<branch>`, `<branch>`, `refs/…`, a tag, or a full SHA-1. Without it, the remote's default branch.
    #[schemars(extend("examples" = ["origin/master", "v1.0", "refs/pull/1/head"]))]
    reference: Option<Scalar>,
    /// A folder of a shared repository. The service's commit is the last one that touched it.
    #[schemars(example = &"services/zbackend")]
    path: Option<String>,
    /// Further folders and files of the repository that the build sees. They count for the service's commit, too.
    #[schemars(extend("examples" = [["libs/common", "go.mod"]]))]
    include: Option<Vec<String>>,
    /// Whether submodules are checked out too.
    #[schemars(extend("default" = false))]
    submodules: Option<bool>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
struct DockerBuilder {
    /// `builders/<name>` for the folder of that name, which xp builds; anything else is an image of the engine, pulled where it is missing. Required where there are scripts.
    #[schemars(extend("examples" = ["builders/zbackend:newest", "golang:1.22"]))]
    image: Option<String>,
    /// Where the source is mounted.
    #[schemars(extend("default" = "/workspace", "pattern" = "^/", "patternErrorMessage" = "An absolute path in the container", "examples" = ["/go/src/x/zbackend"]))]
    workdir: Option<String>,
    /// Variables of the scripts. `${{ … }}` is replaced.
    #[schemars(extend("examples" = [{"VERSION": "${{ service.commit }}"}], "propertyNames" = {"pattern": "^[A-Za-z_][A-Za-z0-9_]*$", "patternErrorMessage": "A name has letters, digits and _, and begins with no digit"}))]
    env: Option<BTreeMap<String, Scalar>>,
    /// Who runs the scripts: `caller`, `root`, or user and group as numbers.
    #[schemars(extend("default" = "caller", "examples" = ["root", "1000:1000"], "pattern" = "^(caller|root|[0-9]+:[0-9]+)$", "patternErrorMessage" = "caller, root, or numbers of user and group such as 1000:1000"))]
    user: Option<String>,
    /// The network mode. Without it, the engine's default.
    #[schemars(extend("examples" = ["host", "none"]))]
    network: Option<String>,
    /// Absolute paths in the container that persist between builds.
    #[schemars(extend("examples" = [["/cache/go-build"]]), inner(regex(pattern = "^/")))]
    cache: Option<Vec<String>>,
    /// Bind mounts, `SRC:DST[:ro]`. `~` is the caller's home.
    #[schemars(extend("examples" = [["~/.m2:/cache/m2", "/etc/ssl/certs:/etc/ssl/certs:ro"]]), inner(regex(pattern = "^(~|~?/[^:]*):/[^:]+(:(ro|rw))?$")))]
    mounts: Option<Vec<String>>,
    /// Whether the ssh agent is forwarded.
    #[schemars(extend("default" = false))]
    ssh: Option<bool>,
    /// Whether the engine's socket is mounted, at /var/run/docker.sock.
    #[schemars(extend("default" = false))]
    socket: Option<bool>,
    /// The limit of memory, in powers of 1024. Without it there is none.
    #[schemars(extend("examples" = ["512m", "2g"], "pattern" = MEMORY, "patternErrorMessage" = "An amount of memory such as 512m or 2g"))]
    memory: Option<Number>,
    /// The limit of processors. Without it there is none.
    #[schemars(extend("examples" = [2, 0.5], "pattern" = CPUS, "patternErrorMessage" = "A number of processors such as 2 or 0.5"))]
    cpus: Option<Number>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
struct Docker {
    /// The repository of the image, without a tag: xp makes the tags.
    #[schemars(example = &"zbackend")]
    image: Option<String>,
    /// The Dockerfile, relative to the source.
    #[schemars(extend("default" = "Dockerfile"))]
    file: Option<String>,
    /// The build context, relative to the source.
    #[schemars(extend("default" = "."))]
    context: Option<String>,
    /// The stage to build. Without it, the last one.
    #[schemars(example = &"runtime")]
    target: Option<String>,
    /// Build arguments. `${{ … }}` is replaced, and a service named there is built first.
    #[schemars(extend("examples" = [{"FRONT": "${{ services.NAME.image }}"}], "propertyNames" = {"pattern": "^[A-Za-z_][A-Za-z0-9_]*$", "patternErrorMessage": "A name has letters, digits and _, and begins with no digit"}))]
    args: Option<BTreeMap<String, Scalar>>,
    /// What instructions of the Dockerfile may mount as secrets, by id: `{env: NAME}` for a variable of the environment, `{file: PATH}` for a file. They never become part of the image.
    #[schemars(extend("examples" = [{"npm": {"env": "NPM_TOKEN"}}], "propertyNames" = {"pattern": "^[A-Za-z0-9][A-Za-z0-9._-]*$", "patternErrorMessage": "An id has letters, digits, ., _ and -, and begins with a letter or digit"}))]
    secrets: Option<BTreeMap<String, Secret>>,
    /// Whether instructions of the Dockerfile may use the ssh agent.
    #[schemars(extend("default" = false))]
    ssh: Option<Agent>,
    /// Tags beside those of commit and branch. `${{ … }}` is replaced.
    #[schemars(extend("examples" = [["build-${{ env.BUILD_NUMBER }}"]]))]
    tags: Option<Vec<Scalar>>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
struct Secret {
    /// The variable of the environment that holds it.
    #[schemars(example = &"NPM_TOKEN", extend("pattern" = "^[A-Za-z_][A-Za-z0-9_]*$", "patternErrorMessage" = "A name has letters, digits and _, and begins with no digit"))]
    env: Option<String>,
    /// The file that holds it: absolute, below `~/`, or relative to the manifest.
    #[schemars(example = &"~/.netrc")]
    file: Option<String>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
struct Scripts {
    /// Lines for the shell that run first.
    #[schemars(extend("examples" = [["npm ci"]]))]
    prepare: Option<Vec<String>>,
    /// Lines for the shell that build what the Dockerfile takes in.
    #[schemars(extend("examples" = [["make build"]]))]
    build: Option<Vec<String>>,
    /// Lines for the shell that test it; `--no-test` leaves them out.
    #[schemars(extend("examples" = [["make test"]]))]
    test: Option<Vec<String>>,
}

/// A text that YAML may take for a number or a boolean; it is used as written.
struct Scalar;

impl JsonSchema for Scalar {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Scalar".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "number", "boolean"] })
    }
}

/// Whether the ssh agent is forwarded, or the list of agents, which has one.
struct Agent;

impl JsonSchema for Agent {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Agent".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["boolean", "array"], "items": { "const": "default" } })
    }
}

/// A number, with a unit where it needs one.
struct Number;

impl JsonSchema for Number {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Number".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "number"] })
    }
}
