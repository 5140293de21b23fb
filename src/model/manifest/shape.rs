//! Types that describe the manifest's keys, for the JSON Schema.
//!
//! Nothing is deserialized into these types: `schemars` derives the schema from them. A test compares their keys
//! with the decoder's. Every field is optional, because a service may inherit it from `defaults`.

#![expect(dead_code, reason = "only the derive of JsonSchema uses the fields")]

use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

/// `1h30m`: each unit at most once and in this order.
const DURATION: &str = "^([0-9]+d *)?([0-9]+h *)?([0-9]+m *)?([0-9]+s *)?$";
/// `512m`, `2GiB`, or a number of bytes.
const MEMORY: &str = r"^[0-9]+(\.[0-9]+)? *[kKmMgGtT]?([iI]?[bB])?$";
/// `1.5`
const CPUS: &str = r"^[0-9]+(\.[0-9]+)?$";

/// The snippet that editors offer for a new service.
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

/// The services of a platform, and how their container images are built.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ManifestSchema {
    /// The format version.
    #[schemars(extend("const" = 1, "default" = 1))]
    version: Option<u64>,
    /// Prefix for every `docker.image` and builder image without a registry host. If it is not set, all images stay in the local engine and nothing is pushed.
    #[schemars(example = &"harbour.example.com/x")]
    registry: Option<String>,
    /// The cache folder of xp, relative to the manifest. `XP_CACHE_DIR` overrides it.
    #[schemars(extend("default" = ".xp"))]
    cache_dir: Option<String>,
    /// Builder images: toolchains that scripts run in.
    builders: Option<BuildersSchema>,
    /// Default values for all services. Mappings are merged; lists and scalars of a service replace the default.
    defaults: Option<ServiceSchema>,
    /// The services by name. A name has letters, digits, `.`, `_` and `-`, and starts with a letter or digit.
    #[schemars(required, extend("minProperties" = 1, "defaultSnippets" = [new_service()], "propertyNames" = {"pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$", "patternErrorMessage": "At most 63 letters, digits, ., _ and -, starting with a letter or digit"}))]
    services: BTreeMap<String, ServiceSchema>,
    /// Deployment to Kubernetes clusters and compose projects with `xp deploy`.
    deploy: Option<DeploySchema>,
    /// What `xp clean` keeps, besides everything that is in use.
    clean: Option<CleanSchema>,
    /// Engines that build images of other platforms than that of the engine: docker contexts, by platform. Scripts run on the engine.
    #[schemars(extend("minProperties" = 1, "examples" = [{"linux/arm64": "arm-builder"}], "propertyNames" = {"pattern": "^[Ll]inux/[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)?$", "patternErrorMessage": "A platform such as linux/arm64"}))]
    engines: Option<BTreeMap<String, String>>,
    /// Kubernetes clusters on which `xp build --fleet NAME` builds, by name: lowercase letters, digits, and `-` between them.
    #[schemars(extend("minProperties" = 1, "examples" = [{"ci": {"context": "ci-cluster", "namespace": "builds", "image": "registry.example.com/x-platform:1.0", "template": "k8s/builder-pod.yaml"}}], "propertyNames" = {"pattern": "^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$", "patternErrorMessage": "At most 40 lowercase letters and digits, and - between them"}))]
    fleet: Option<BTreeMap<String, FleetSchema>>,
    /// What is attached to images, and how they are signed and verified.
    supply: Option<SupplySchema>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
struct SupplySchema {
    /// Attach SLSA provenance to every image that is pushed: the commits, builders, base images and needed images that it was built from.
    #[schemars(extend("default" = false))]
    provenance: Option<bool>,
    /// The URI of the builder in the provenance, such as the address of the CI. Defaults to a name of xp.
    #[schemars(example = &"https://ci.example.com/x-platform")]
    builder: Option<String>,
    /// Attach a bill of materials to every image that is pushed, in SPDX or CycloneDX.
    sbom: Option<SbomSchema>,
    /// Sign every image that is pushed, and its provenance, with `cosign`.
    sign: Option<SignSchema>,
    /// Use an existing image only if its signature and provenance verify; otherwise, build it again.
    #[schemars(extend("default" = false))]
    verify: Option<bool>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
struct SbomSchema {
    /// The image of the plugin that makes the document. `builders/<name>` is built from the folder of that name; anything else is pulled if it is missing.
    #[schemars(example = &"builders/sbom")]
    plugin: Option<String>,
    /// The settings of the plugin.
    #[schemars(extend("examples" = [{"format": "cyclonedx-json"}]))]
    with: Option<BTreeMap<String, Value>>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
struct SignSchema {
    /// The private key: a file, relative to the manifest, or a URI that `cosign` accepts, such as `env://NAME`. COSIGN_PASSWORD is its password.
    #[schemars(extend("examples" = ["cosign.key", "env://COSIGN_PRIVATE_KEY"]))]
    key: Option<String>,
    /// The public key that verifies signatures: a file, relative to the manifest, or a URI. Defaults to that of the private key, which then must be available.
    #[schemars(example = &"cosign.pub")]
    public_key: Option<String>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
struct ServiceSupplySchema {
    /// Attach SLSA provenance to the image. Defaults to `supply.provenance` of the manifest.
    #[schemars(extend("examples" = [true]))]
    provenance: Option<bool>,
    /// Attach a bill of materials to the image. Defaults to `supply.sbom` of the manifest.
    sbom: Option<SbomSchema>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
struct CleanSchema {
    /// Images that are kept although nothing uses them.
    keep: Option<CleanKeepSchema>,
    /// What is kept in the cache folder of this machine.
    cache: Option<CleanCacheSchema>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
struct CleanKeepSchema {
    /// Keep images that are younger than this number of days.
    #[schemars(extend("default" = 30, "minimum" = 0))]
    days: Option<u32>,
    /// Keep the images of this number of commits of each branch.
    #[schemars(extend("default" = 10, "minimum" = 0))]
    commits: Option<u32>,
    /// Keep the images of this number of deploys of each environment.
    #[schemars(extend("default" = 10, "minimum" = 1))]
    deploys: Option<u32>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
struct CleanCacheSchema {
    /// Keep what was used within this number of days.
    #[schemars(extend("default" = 30, "minimum" = 0))]
    days: Option<u32>,
    /// The size that the cache folder may have. What was not used for the longest time is removed first.
    #[schemars(extend("default" = "50g", "pattern" = MEMORY, "patternErrorMessage" = "A size such as 500m or 20g"))]
    size: Option<Scalar>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
struct FleetSchema {
    /// The kubeconfig context. `xp` uses no other for this fleet.
    #[schemars(required, example = &"ci-cluster")]
    context: Option<String>,
    /// The namespace of the Jobs.
    #[schemars(required, example = &"builds")]
    namespace: Option<String>,
    /// The image of `xp`, of the same version as the one that runs `xp build`.
    #[schemars(required, example = &"registry.example.com/x-platform:1.0")]
    image: Option<String>,
    /// A file with a pod template, relative to the manifest: the engine, volumes, nodes and service account. `xp` adds its container `xp`, or completes the one of that name.
    #[schemars(example = &"k8s/builder-pod.yaml")]
    template: Option<String>,
    /// The number of concurrent Jobs, if `--jobs` is not set.
    #[schemars(range(min = 1, max = 1000), extend("default" = 20))]
    jobs: Option<u16>,
    /// How long a pod may wait until it starts.
    #[schemars(extend("default" = "1h", "pattern" = DURATION, "patternErrorMessage" = "A duration such as 90s, 30m or 1h30m", "minLength" = 2))]
    wait: Option<String>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
struct DeploySchema {
    /// The folder of the kustomize files, relative to the manifest. Environments in clusters need either this or `git`.
    #[schemars(example = &"k8s")]
    path: Option<String>,
    /// The repository of the kustomize files, if they are not next to the manifest.
    git: Option<DeployGit>,
    /// Image names in the kustomize or compose files that differ from `docker.image`, by service.
    #[schemars(extend("examples" = [{"NAME": "registry.example.com/x/name"}]))]
    images: Option<BTreeMap<String, String>>,
    /// The environments by name: lowercase letters, digits, and `-` between them.
    #[schemars(required, extend("minProperties" = 1, "examples" = [{"staging": {"overlay": "overlays/staging", "context": "staging-cluster", "namespace": "staging"}}], "propertyNames" = {"pattern": "^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$", "patternErrorMessage": "At most 40 lowercase letters and digits, and - between them"}))]
    environments: BTreeMap<String, EnvironmentSchema>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
struct DeployGit {
    /// The remote: an ssh, scp-like, https, git or file URL.
    #[schemars(required, example = &"git@git.example.com:x/k8s.git")]
    remote: Option<String>,
    /// The branch, tag or full SHA-1 of the kustomize files. Defaults to the remote's default branch.
    #[schemars(example = &"origin/master")]
    reference: Option<Scalar>,
    /// The folder of the kustomize files in the repository. Defaults to its root.
    #[schemars(example = &"k8s")]
    path: Option<String>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields, extend("oneOf" = [{"required": ["compose"]}, {"required": ["overlay", "context", "namespace"]}]))]
struct EnvironmentSchema {
    /// The folder of the overlay, relative to the kustomize files.
    #[schemars(example = &"overlays/staging")]
    overlay: Option<String>,
    /// The kubeconfig context. `xp` uses no other for this environment.
    #[schemars(example = &"staging-cluster")]
    context: Option<String>,
    /// The namespace. Objects in other namespaces are rejected.
    #[schemars(example = &"staging")]
    namespace: Option<String>,
    /// The compose file, relative to the manifest, or a list of files, of which later ones override earlier ones. It replaces `overlay`, `context` and `namespace`.
    #[schemars(extend("examples" = ["docker-compose.yml", ["compose.yaml", "compose.override.yaml"]]))]
    compose: Option<OneOrMore>,
    /// The name of the compose project. Defaults to compose's own: `name` in the file, or its folder.
    #[schemars(extend("pattern" = "^[a-z0-9][a-z0-9_-]*$", "patternErrorMessage" = "Lowercase letters, digits, _ and -, starting with a letter or digit"))]
    project: Option<String>,
    /// The profiles of the compose file to enable.
    #[schemars(extend("examples" = [["debug"]]))]
    profiles: Option<Vec<String>>,
    /// The compose services that run a service's image, by service, if neither image names nor service names match. An empty list ignores the service.
    #[schemars(extend("examples" = [{"NAME": ["web", "worker"]}]))]
    services: Option<BTreeMap<String, OneOrMore>>,
    /// Deploy only images whose signature and provenance verify; see `supply`.
    #[schemars(extend("default" = false))]
    verify: Option<bool>,
    /// How long the rollout, or starting the containers, may take.
    #[schemars(extend("default" = "5m", "pattern" = DURATION, "patternErrorMessage" = "A duration such as 90s, 30m or 1h30m", "minLength" = 2))]
    timeout: Option<String>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
struct BuildersSchema {
    /// The folder of builder images, relative to the manifest. Each one is a subfolder with a Dockerfile.
    #[schemars(extend("default" = "builders"))]
    dir: Option<String>,
    /// Build arguments for all builder images.
    #[schemars(extend("examples" = [{"BASE": "debian:bookworm-slim"}], "propertyNames" = {"pattern": "^[A-Za-z_][A-Za-z0-9_]*$", "patternErrorMessage": "Letters, digits and _, not starting with a digit"}))]
    args: Option<BTreeMap<String, Scalar>>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
struct ServiceSchema {
    /// The folder of the working copy, relative to the manifest and inside its folder.
    #[schemars(example = &"src/zbackend")]
    dir: Option<String>,
    /// The source repository.
    git: Option<GitSchema>,
    /// A source that a plugin reads, such as a Mercurial repository; replaces `git`.
    scm: Option<ScmSchema>,
    /// The container that the scripts run in.
    docker_builder: Option<DockerBuilder>,
    /// The combined timeout for scripts and image build. No limit by default.
    #[schemars(extend("examples" = ["30m", "1h30m", "90s"], "pattern" = DURATION, "patternErrorMessage" = "A duration such as 90s, 30m or 1h30m", "minLength" = 2))]
    timeout: Option<String>,
    /// The image and how it is built.
    docker: Option<DockerSchema>,
    /// Scripts that produce the files for the Dockerfile.
    scripts: Option<ScriptsSchema>,
    /// Containers that run beside the scripts, such as a database. The name is the host name, at which scripts reach all ports.
    #[schemars(extend("examples" = [{"db": {"image": "postgres:16", "env": {"POSTGRES_PASSWORD": "x"}, "ready": "pg_isready -h db -U postgres"}}], "propertyNames" = {"pattern": "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$", "patternErrorMessage": "At most 63 lowercase letters and digits, and - between them"}))]
    sidecars: Option<BTreeMap<String, SidecarSchema>>,
    /// How the container of the new image is started for `scripts.verify`.
    verify: Option<VerifySchema>,
    /// What is attached to the image, if it differs from `supply` of the manifest.
    supply: Option<ServiceSupplySchema>,
    /// Services whose images must exist first. `${{ services.… }}` implies it.
    #[schemars(extend("examples" = [["NAME"]]))]
    needs: Option<Vec<String>>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
struct GitSchema {
    /// The remote: an ssh, scp-like, https, git or file URL.
    #[schemars(extend("examples" = ["git@git.example.com:x/zbackend.git", "https://git.example.com/x/zbackend.git"]))]
    remote: Option<String>,
    /// The reference to build: `origin/<branch>`, `<branch>`, `refs/…`, a tag, or a full SHA-1. Defaults to the remote's default branch.
    #[schemars(extend("examples" = ["origin/master", "v1.0", "refs/pull/1/head"]))]
    reference: Option<Scalar>,
    /// The service's folder in a shared repository. The service's commit is the last one that changed this folder.
    #[schemars(example = &"services/zbackend")]
    path: Option<String>,
    /// Additional folders and files of the repository that the build needs. Changes to them count for the service's commit, too.
    #[schemars(extend("examples" = [["libs/common", "go.mod"]]))]
    include: Option<Vec<String>>,
    /// Files that do not matter, relative to the repository root: the build does not see them, and the last commit that
    /// changed anything else is built. `*` matches slashes, too.
    #[schemars(extend("examples" = [["*.md", "*.adoc"]]))]
    exclude: Option<Vec<String>>,
    /// Check out submodules, too.
    #[schemars(extend("default" = false))]
    submodules: Option<bool>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
struct ScmSchema {
    /// The image of the plugin. `builders/<name>` is built from the folder of that name; anything else is pulled if it is missing.
    #[schemars(example = &"builders/hg")]
    plugin: Option<String>,
    /// The settings of the plugin, such as the URL of the repository.
    #[schemars(extend("examples" = [{"url": "https://hg.example.com/x/zbackend"}]))]
    with: Option<BTreeMap<String, Value>>,
    /// The branch, tag or commit to build, as the plugin names it. Defaults to its default branch.
    #[schemars(extend("examples" = ["default", "stable"]))]
    reference: Option<Scalar>,
    /// The network mode. Defaults to the engine's default.
    #[schemars(extend("examples" = ["host"]))]
    network: Option<String>,
    /// Credentials by name, as files in `/run/secrets`: `{env: NAME}` for an environment variable, `{file: PATH}` for a file.
    #[schemars(extend("examples" = [{"password": {"env": "HG_PASSWORD"}}], "propertyNames" = {"pattern": "^[A-Za-z0-9][A-Za-z0-9._-]*$", "patternErrorMessage": "Letters, digits, ., _ and -, starting with a letter or digit"}))]
    secrets: Option<BTreeMap<String, Secret>>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
struct DockerBuilder {
    /// `builders/<name>` is a builder image that xp builds from the folder of that name; anything else is an image that is pulled if it is missing. Required if there are scripts.
    #[schemars(extend("examples" = ["builders/zbackend:newest", "golang:1.22"]))]
    image: Option<String>,
    /// The mount point of the source.
    #[schemars(extend("default" = "/workspace", "pattern" = "^/", "patternErrorMessage" = "An absolute path in the container", "examples" = ["/go/src/x/zbackend"]))]
    workdir: Option<String>,
    /// Environment variables of the scripts. Supports `${{ … }}`.
    #[schemars(extend("examples" = [{"VERSION": "${{ service.commit }}"}], "propertyNames" = {"pattern": "^[A-Za-z_][A-Za-z0-9_]*$", "patternErrorMessage": "Letters, digits and _, not starting with a digit"}))]
    env: Option<BTreeMap<String, Scalar>>,
    /// The user that runs the scripts: `caller`, `root`, or numeric user and group IDs.
    #[schemars(extend("default" = "caller", "examples" = ["root", "1000:1000"], "pattern" = "^(caller|root|[0-9]+:[0-9]+)$", "patternErrorMessage" = "caller, root, or numeric user and group IDs such as 1000:1000"))]
    user: Option<String>,
    /// The network mode. Defaults to the engine's default.
    #[schemars(extend("examples" = ["host", "none"]))]
    network: Option<String>,
    /// Absolute paths in the container that are kept between builds.
    #[schemars(extend("examples" = [["/cache/go-build"]]), inner(regex(pattern = "^/")))]
    cache: Option<Vec<String>>,
    /// Bind mounts, `SRC:DST[:ro]`. `~` is the caller's home folder.
    #[schemars(extend("examples" = [["~/.m2:/cache/m2", "/etc/ssl/certs:/etc/ssl/certs:ro"]]), inner(regex(pattern = "^(~|~?/[^:]*):/[^:]+(:(ro|rw))?$")))]
    mounts: Option<Vec<String>>,
    /// Forward the ssh agent.
    #[schemars(extend("default" = false))]
    ssh: Option<bool>,
    /// Mount the engine's socket at /var/run/docker.sock.
    #[schemars(extend("default" = false))]
    socket: Option<bool>,
    /// The memory limit; units are powers of 1024. No limit by default.
    #[schemars(extend("examples" = ["512m", "2g"], "pattern" = MEMORY, "patternErrorMessage" = "An amount of memory such as 512m or 2g"))]
    memory: Option<Number>,
    /// The CPU limit. No limit by default.
    #[schemars(extend("examples" = [2, 0.5], "pattern" = CPUS, "patternErrorMessage" = "A number of CPUs such as 2 or 0.5"))]
    cpus: Option<Number>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
struct DockerSchema {
    /// The image name, without a tag: xp sets the tags.
    #[schemars(example = &"zbackend")]
    image: Option<String>,
    /// The path of the Dockerfile, relative to the service's folder, or to the repository root if it starts
    /// with `/`.
    #[schemars(extend("default" = "Dockerfile"))]
    file: Option<String>,
    /// The build context, relative to the service's folder. `/` is the repository root, of which only
    /// `git.path` and `git.include` are exported.
    #[schemars(extend("default" = "."))]
    context: Option<String>,
    /// The stage to build. Defaults to the last one.
    #[schemars(example = &"runtime")]
    target: Option<String>,
    /// Build arguments. Supports `${{ … }}`; services referenced there are built first.
    #[schemars(extend("examples" = [{"FRONT": "${{ services.NAME.image }}"}], "propertyNames" = {"pattern": "^[A-Za-z_][A-Za-z0-9_]*$", "patternErrorMessage": "Letters, digits and _, not starting with a digit"}))]
    args: Option<BTreeMap<String, Scalar>>,
    /// Build secrets by id, for `RUN --mount=type=secret`: `{env: NAME}` for an environment variable, `{file: PATH}` for a file. They never become part of the image.
    #[schemars(extend("examples" = [{"npm": {"env": "NPM_TOKEN"}}], "propertyNames" = {"pattern": "^[A-Za-z0-9][A-Za-z0-9._-]*$", "patternErrorMessage": "Letters, digits, ., _ and -, starting with a letter or digit"}))]
    secrets: Option<BTreeMap<String, Secret>>,
    /// Forward the ssh agent to the build, for `RUN --mount=type=ssh`.
    #[schemars(extend("default" = false))]
    ssh: Option<Agent>,
    /// Tags in addition to commit and branch. Supports `${{ … }}`.
    #[schemars(extend("examples" = [["build-${{ env.BUILD_NUMBER }}"]]))]
    tags: Option<Vec<Scalar>>,
    /// `track` builds the service if a base image of its Dockerfile or its external builder image moved in its registry.
    /// By default, `xp why` and `xp status` report it.
    #[schemars(extend("default" = "ignore", "enum" = ["track", "ignore"]))]
    bases: Option<String>,
    /// Reuse layers of the service's latest images in the registry, those of its branch and of the default branch, on
    /// machines that do not have them.
    #[schemars(extend("default" = false))]
    cache: Option<bool>,
    /// The platforms of the image. It is built for each of them, and pushed as one index that serves them all. By default, it is
    /// built for the platform of the engine.
    #[schemars(extend("examples" = [["linux/amd64", "linux/arm64"]], "minItems" = 1, "uniqueItems" = true), inner(regex(pattern = "^[Ll]inux/[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)?$")))]
    platforms: Option<Vec<String>>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
struct Secret {
    /// The environment variable with the secret.
    #[schemars(example = &"NPM_TOKEN", extend("pattern" = "^[A-Za-z_][A-Za-z0-9_]*$", "patternErrorMessage" = "Letters, digits and _, not starting with a digit"))]
    env: Option<String>,
    /// The file with the secret: absolute, starting with `~/`, or relative to the manifest.
    #[schemars(example = &"~/.netrc")]
    file: Option<String>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
struct ScriptsSchema {
    /// Items to run first, such as installing dependencies: shell commands, commands in another image, and plugins.
    #[schemars(extend("examples" = [["npm ci"], {"run": ["npm ci"], "inputs": ["package.json", "package-lock.json"], "outputs": ["node_modules"]}]))]
    prepare: Option<PhaseSchema>,
    /// Items that build the files for the Dockerfile.
    #[schemars(extend("examples" = [["make build"], [{"run": ["go build"], "image": "golang:1.22"}], [{"plugin": "builders/minify", "with": {"level": 9}}]]))]
    build: Option<PhaseSchema>,
    /// Items that run the tests; `--no-test` skips them.
    #[schemars(extend("examples" = [["make test"], {"run": ["make test"]}]))]
    test: Option<PhaseSchema>,
    /// Items that check the new image, which runs next to them under the service's name. They run before it is tagged and pushed; `--no-test` skips them.
    #[schemars(extend("examples" = [["curl -f http://zbackend:8080/health"]]))]
    verify: Option<PhaseSchema>,
    /// JUnit XML files that the scripts write, relative to the service's folder. They become the test cases of `xp report --format junit`.
    #[schemars(extend("examples" = [["target/surefire-reports/*.xml"], ["**/junit.xml"]]))]
    reports: Option<Vec<String>>,
    /// Run the scripts once for all platforms in `docker.platforms`, because their output is the same for each of them. They run on
    /// the platform of the engine.
    #[schemars(extend("default" = false))]
    once: Option<bool>,
}

/// A phase of the scripts: a list of items, or a mapping with the list in `run`.
struct PhaseSchema;

impl JsonSchema for PhaseSchema {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Phase".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let items = item_schema();
        json_schema!({
            "type": ["array", "object"],
            "items": items,
            "properties": {
                "run": {
                    "description": "The items, as in the short form of a phase, which is only the list.",
                    "type": "array",
                    "items": items,
                    "examples": [["make build"]],
                },
                "inputs": {
                    "description": "The files that the phase reads, as pathspecs relative to the service's folder, or to the repository root if they start with `/`; `:!` leaves files out. The phase sees only them and the outputs of earlier phases with `inputs`. Its result is kept, and restored as long as nothing that it depends on changed.",
                    "type": "array",
                    "items": { "type": "string" },
                    "examples": [["package.json", "package-lock.json"], ["src", ":!*.md"]],
                },
                "outputs": {
                    "description": "The files and folders that the phase writes, relative to the service's folder, or to the repository root if they start with `/`.",
                    "type": "array",
                    "items": { "type": "string" },
                    "examples": [["node_modules"], ["dist"]],
                },
            },
            "required": ["run"],
            "dependencies": { "outputs": ["inputs"] },
            "additionalProperties": false,
        })
    }
}

/// Returns the schema of an item of a phase.
fn item_schema() -> Value {
    serde_json::json!({
        "type": ["string", "object"],
        "properties": {
            "run": {
                "description": "Shell commands that run in `image`.",
                "type": "array",
                "items": { "type": "string" },
                "minItems": 1,
            },
            "image": {
                "description": "The image of `run`: `builders/<name>` for a folder, or any image.",
                "type": "string",
            },
            "plugin": {
                "description": "An image that performs a step by its own entrypoint: `builders/<name>` for a folder, or any image.",
                "type": "string",
            },
            "with": {
                "description": "The settings of the plugin.",
                "type": "object",
                "propertyNames": {
                    "pattern": "^[A-Za-z][A-Za-z0-9_-]*$",
                    "patternErrorMessage": "Letters, digits, _ and -, starting with a letter",
                },
            },
            "secrets": {
                "description": "The secrets that the plugin reads as files: IDs of `docker.secrets`, or secrets of its own.",
                "type": ["array", "object"],
                "items": { "type": "string" },
                "additionalProperties": {
                    "type": "object",
                    "properties": {
                        "env": { "description": "The environment variable with the secret.", "type": "string" },
                        "file": { "description": "The file with the secret.", "type": "string" },
                    },
                    "additionalProperties": false,
                },
            },
        },
        "additionalProperties": false,
        "dependencies": {
            "run": ["image"],
            "image": ["run"],
            "with": ["plugin"],
            "secrets": ["plugin"],
        },
    })
}

#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
struct SidecarSchema {
    /// The image: `builders/<name>` from the folder of that name, `${{ services.NAME.image }}` of another service, which is built first, or any other, which is pulled if it is missing.
    #[schemars(extend("examples" = ["postgres:16", "builders/browser", "${{ services.NAME.image }}"]))]
    image: Option<String>,
    /// The phases whose scripts reach it. It is started before the first of them.
    #[schemars(extend("default" = ["test", "verify"], "items" = {"enum": ["prepare", "build", "test", "verify"]}))]
    phases: Option<Vec<String>>,
    /// Environment variables of the container. Supports `${{ … }}`.
    #[schemars(extend("examples" = [{"POSTGRES_PASSWORD": "x"}], "propertyNames" = {"pattern": "^[A-Za-z_][A-Za-z0-9_]*$", "patternErrorMessage": "Letters, digits and _, not starting with a digit"}))]
    env: Option<BTreeMap<String, Scalar>>,
    /// The arguments of the image's entrypoint. Defaults to the image's command.
    #[schemars(extend("examples" = [["redis-server", "--save", ""]]))]
    command: Option<Vec<Scalar>>,
    /// The command that succeeds in the container once it is ready: a shell line, or a list of a program and its arguments. Defaults to the image's HEALTHCHECK.
    #[schemars(extend("examples" = ["pg_isready -h db -U postgres", ["redis-cli", "ping"]]))]
    ready: Option<Probe>,
    /// How long it may take until it is ready.
    #[schemars(extend("default" = "60s", "pattern" = DURATION, "patternErrorMessage" = "A duration such as 90s, 30m or 1h30m", "minLength" = 2))]
    timeout: Option<String>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
struct VerifySchema {
    /// Environment variables of the container. Supports `${{ … }}`.
    #[schemars(extend("examples" = [{"DATABASE_URL": "postgres://db/x"}], "propertyNames" = {"pattern": "^[A-Za-z_][A-Za-z0-9_]*$", "patternErrorMessage": "Letters, digits and _, not starting with a digit"}))]
    env: Option<BTreeMap<String, Scalar>>,
    /// The arguments of the image's entrypoint. Defaults to the image's command.
    #[schemars(extend("examples" = [["serve", "--port", "8080"]]))]
    command: Option<Vec<Scalar>>,
    /// The command that succeeds in the container once it is ready: a shell line, or a list of a program and its arguments. Defaults to the image's HEALTHCHECK.
    #[schemars(extend("examples" = ["wget -q --spider http://localhost:8080/health"]))]
    ready: Option<Probe>,
    /// How long it may take until it is ready.
    #[schemars(extend("default" = "60s", "pattern" = DURATION, "patternErrorMessage" = "A duration such as 90s, 30m or 1h30m", "minLength" = 2))]
    timeout: Option<String>,
}

/// A shell line, or a program with its arguments.
struct Probe;

impl JsonSchema for Probe {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Probe".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "array"], "items": { "type": ["string", "number", "boolean"] } })
    }
}

/// A string that YAML may parse as a number or boolean; it is used as written.
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

/// A string, or a list of strings.
struct OneOrMore;

impl JsonSchema for OneOrMore {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "OneOrMore".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "array"], "items": { "type": "string" } })
    }
}

/// A boolean, or the list `[default]`.
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

/// A number, with an optional unit.
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
