//! Invalid values. `with` inserts the lines at line 4, indented by four columns.

use super::{SMALLEST, refused, refuses, with};

#[test]
fn names_of_services() {
    assert_eq!(
        refused("services:\n  a b: {}\n  -x: {}\n  ä: {}\n"),
        [
            "2:3 invalid service name `a b`: only letters, digits, `.`, `_` and `-` are allowed",
            "3:3 invalid service name `-x`: must start with a letter or digit",
            "4:3 invalid service name `ä`: must start with a letter or digit",
        ]
    );
}

#[test]
fn registry_and_folders_of_the_root() {
    let root = |line: &str| refused(&format!("{line}\n{SMALLEST}"));
    assert_eq!(
        root("registry: https://h.example"),
        ["1:11 invalid registry `https://h.example`: remove `https://`"]
    );
    assert_eq!(
        root("registry: h.example:99999/x"),
        [
            "1:11 invalid image name `h.example:99999/x`: the registry's port must be a number up to 65535"
        ]
    );
    assert_eq!(
        root("registry: x"),
        ["1:11 invalid registry `x`: must start with a host such as harbour.example.com"]
    );
    assert_eq!(
        root("cacheDir: ~/x"),
        ["1:11 `~` is not expanded here; set XP_CACHE_DIR in the environment instead"]
    );
    assert_eq!(
        root("cacheDir: ../x"),
        ["1:11 `../x` must not contain `..`"]
    );
    assert_eq!(
        root("cacheDir: ."),
        ["1:11 the cache must have its own folder"]
    );
    assert_eq!(
        root("builders: {dir: /x}"),
        ["1:17 `/x` must be a relative path"]
    );
    assert_eq!(
        root("builders: {args: {A-B: 1, C: ~, D: '${{ env.X }}'}}"),
        [
            "1:19 invalid build argument name `A-B` (use letters, digits and `_`, not starting with a digit)",
            "1:30 `builders.args.C` has no value (set it to a string, or remove it)",
            "1:36 `builders.args.D` does not support `${{ … }}` (placeholders are supported in `docker.args`, `docker.tags` and `dockerBuilder.env`)",
        ]
    );
}

#[test]
fn dirs_that_leave_the_folder() {
    refuses("dir: ../a", &["4:10 `../a` must not contain `..`"]);
    refuses(
        "dir: a/../../b",
        &["4:10 `a/../../b` must not contain `..`"],
    );
    refuses("dir: /srv/a", &["4:10 `/srv/a` must be a relative path"]);
    refuses(
        "dir: ~/a",
        &["4:10 `~/a` must be a relative path, not one in the home folder"],
    );
    refuses(
        "dir: .xp/a",
        &["4:10 the `dir` of service `a` is inside the cache folder of xp, `.xp`"],
    );
}

#[test]
fn remotes_and_references() {
    let remote = |text: &str| refused(&with(&format!("git: {{remote: '{text}'}}")));
    assert_eq!(
        remote("ftp://h/x"),
        [
            "4:19 invalid git remote URL: `ftp://` is not supported; use ssh, https, http, git or file"
        ]
    );
    assert_eq!(
        remote("https://h:99999/x"),
        [
            "4:19 invalid git remote URL: invalid port after the host; write a `/` in a password as `%2F`"
        ]
    );
    assert_eq!(
        remote("--upload-pack=x"),
        ["4:19 invalid git remote URL: must not start with `-`"]
    );
    assert_eq!(
        remote("https://h"),
        ["4:19 invalid git remote URL: missing repository path after the host"]
    );
    let git = |text: &str| refused(&with(&format!("git: {{remote: 'https://h/a', {text}}}")));
    assert_eq!(
        git("reference: a..b"),
        ["4:45 invalid git reference `a..b`: must not contain `..`"]
    );
    assert_eq!(git("path: ../a"), ["4:40 `../a` must not contain `..`"]);
    assert_eq!(
        git("path: a/.git/x"),
        ["4:40 `a/.git/x` must not be inside a `.git` folder"]
    );
    let alone = "4:34 `git.include` has no effect without `git.path` (without `git.path`, the build sees the whole repository)";
    assert_eq!(git("include: [a]"), [alone]);
    assert_eq!(git("include: [a], path: ."), [alone]);
    assert_eq!(
        git("include: [.], path: a"),
        [
            "4:44 an item of `git.include` is the whole repository (remove `git.path`: the build then sees the whole repository)"
        ]
    );
    assert_eq!(
        git("include: [../b], path: a"),
        ["4:44 `../b` must not contain `..`"]
    );
    assert_eq!(
        git("include: libs, path: a"),
        [
            "4:43 `git.include` must be a list, not a string (write it as a list with one item: `- libs`)"
        ]
    );
    let exclude = |text: &str| git(&format!("exclude: {text}"));
    assert_eq!(
        exclude("['!a']"),
        ["4:44 invalid pattern `!a`: `!` is not supported; list only what does not matter"]
    );
    assert_eq!(
        exclude("['a*/', /docs]"),
        [
            "4:44 invalid pattern `a*/`: with wildcards, it must match files; write `a*/*`",
            "4:51 invalid pattern `/docs`: must be relative to the repository root, without a leading `/`"
        ]
    );
    assert_eq!(
        exclude("[docs, Docker*]"),
        ["4:50 service `a`: `Docker*` excludes the Dockerfile, `Dockerfile`"]
    );
    assert_eq!(
        exclude("[svc/docs, docs, '*.md', libs], path: svc, include: [libs/x]"),
        [
            "4:54 service `a`: `docs` is outside of `git.path` and `git.include` (patterns are relative to the repository root: `svc/docs`)",
            "4:68 service `a`: `libs` excludes all of `libs/x`"
        ]
    );
    assert_eq!(
        git("reference: 'release/${{ env.X }}'"),
        [
            "4:45 `git.reference` does not support `${{ … }}` (placeholders are supported in `docker.args`, `docker.tags` and `dockerBuilder.env`)"
        ]
    );
}

#[test]
fn base_tracking() {
    let bases = |text: &str| refused(&with(&format!("docker: {{image: a, bases: {text}}}")));
    assert_eq!(
        bases("pull"),
        ["4:31 must be `track` or `ignore`, not `pull`"]
    );
}

#[test]
fn builders() {
    let builder = |text: &str| refused(&with(&format!("dockerBuilder: {{{text}}}")));
    assert_eq!(
        builder("image: builders/../x"),
        ["4:28 invalid builder name `../x`: must not contain `..`"]
    );
    assert_eq!(
        builder("image: builders/a/b"),
        ["4:28 invalid builder name `a/b`: must be a single folder, without `/`"]
    );
    assert_eq!(
        builder("image: 'x:${{ env.X }}'"),
        [
            "4:28 `dockerBuilder.image` does not support `${{ … }}` (placeholders are supported in `docker.args`, `docker.tags` and `dockerBuilder.env`)",
        ]
    );
    assert_eq!(
        builder("image: A"),
        ["4:28 invalid image name `A`: uppercase letters are not allowed"]
    );
    assert_eq!(
        builder("workdir: go/src"),
        ["4:30 `go/src` must be an absolute path in the container"]
    );
    assert_eq!(
        builder("workdir: /"),
        ["4:30 `/` would hide the whole file system of the container"]
    );
    assert_eq!(
        builder("env: {A B: 1}"),
        [
            "4:27 invalid environment variable name `A B` (use letters, digits and `_`, not starting with a digit)"
        ]
    );
    assert_eq!(
        builder("env: {XP_COMMIT: 1}"),
        ["4:27 `XP_COMMIT` is reserved: xp sets it"]
    );
    assert_eq!(
        builder("env: [A]"),
        ["4:26 `dockerBuilder.env` must be a mapping, not a list"]
    );
    assert_eq!(
        builder("user: me"),
        ["4:27 invalid user `me`: must be `caller`, `root`, or numeric IDs such as `1000:1000`"]
    );
    assert_eq!(
        builder("network: 'a b'"),
        [
            "4:30 invalid network `a b`: must be `bridge`, `host`, `none`, `container:NAME`, or the name of a network"
        ]
    );
    assert_eq!(
        builder("cache: [a]"),
        ["4:29 `a` must be an absolute path in the container"]
    );
    assert_eq!(
        builder("cache: ['/a/${{ service.name }}']"),
        [
            "4:29 an item of `dockerBuilder.cache` does not support `${{ … }}` (placeholders are supported in `docker.args`, `docker.tags` and `dockerBuilder.env`)",
        ]
    );
    assert_eq!(
        builder("mounts: [./a:/b]"),
        ["4:30 `./a` must be an absolute path, or start with `~/`"]
    );
    assert_eq!(
        builder("mounts: ['/a:/b:rx']"),
        ["4:30 invalid mount mode `rx`: must be `ro` or `rw`"]
    );
    assert_eq!(
        builder("mounts: [/a]"),
        [
            "4:30 invalid mount `/a`: expected a form such as `~/.m2:/cache/m2` or `/etc/ssl:/etc/ssl:ro`"
        ]
    );
    assert_eq!(
        builder("mounts: [/a:/b], cache: [/b]"),
        ["4:30 container path `/b` is used twice"]
    );
    assert_eq!(
        builder("ssh: on"),
        ["4:26 `dockerBuilder.ssh` must be `true` or `false`, not `on` (write `true`)"]
    );
    assert_eq!(
        builder("memory: lots"),
        ["4:29 invalid memory size `lots`: expected a value such as `512m` or `2g`"]
    );
    assert_eq!(
        builder("memory: 2"),
        ["4:29 invalid memory size `2`: the engine requires at least `6m`"]
    );
    assert_eq!(
        builder("cpus: two"),
        ["4:27 invalid number of CPUs `two`: expected a value such as `2` or `0.5`"]
    );
    refuses(
        "timeout: 30",
        &["4:14 invalid duration `30`: expected a value such as `90s`, `30m` or `1h30m`"],
    );
    refuses(
        "timeout: 0s",
        &["4:14 invalid duration `0s`: must not be zero; remove the key for no limit"],
    );
}

#[test]
fn images() {
    let docker = |text: &str| refused(&with(&format!("docker: {{{text}}}")));
    assert_eq!(
        docker("image: A"),
        ["4:21 invalid image name `A`: uppercase letters are not allowed"]
    );
    assert_eq!(
        docker("image: 'a:1'"),
        ["4:21 invalid image name `a:1`: must not have a tag, because xp sets the tags"]
    );
    assert_eq!(
        docker("image: 'a-${{ service.name }}'"),
        [
            "4:21 `docker.image` does not support `${{ … }}` (placeholders are supported in `docker.args`, `docker.tags` and `dockerBuilder.env`)",
        ]
    );
    assert_eq!(
        docker("image: a, file: ../Dockerfile"),
        ["4:30 `../Dockerfile` must not contain `..`; `/` is the repository root"]
    );
    assert_eq!(
        docker("image: a, file: ."),
        ["4:30 `.` is a folder, not a Dockerfile"]
    );
    assert_eq!(
        docker("image: a, context: /../b"),
        ["4:33 `../b` must not contain `..`"]
    );
    assert_eq!(
        docker("image: a, target: 'a b'"),
        ["4:32 invalid Dockerfile stage name `a b`"]
    );
    assert_eq!(
        docker("image: a, args: {1A: 1}"),
        [
            "4:31 invalid build argument name `1A` (use letters, digits and `_`, not starting with a digit)"
        ]
    );
    assert_eq!(
        docker("image: a, tags: [a/b, 'x ${{ env.A }}', '']"),
        [
            "4:31 invalid tag `a/b`: only letters, digits, `_`, `.` and `-` are allowed",
            "4:36 invalid tag `x ${{ env.A }}`: only letters, digits, `_`, `.` and `-` are allowed",
            "4:54 invalid tag ``: must not be empty",
        ]
    );
}

#[test]
fn secrets_of_an_image() {
    let one = |rest: &str| refused(&with(&format!("docker: {{image: a, {rest}}}")));
    assert_eq!(
        one("secrets: {npm: abc}"),
        [
            "4:39 `docker.secrets.npm` must specify where to find the secret, not the secret itself (write `{env: NAME}` for an environment variable, or `{file: PATH}` for a file)"
        ]
    );
    for (source, end) in [("{}", ""), ("{env: A, file: b}", ", not both")] {
        let expected = format!("4:39 `docker.secrets.npm` must have `env` or `file`{end}");
        assert_eq!(one(&format!("secrets: {{npm: {source}}}")), [expected]);
    }
    assert_eq!(
        one("secrets: {'a,b': {env: A}}"),
        [
            "4:34 invalid secret id `a,b` (use letters, digits, `.`, `_` and `-`, starting with a letter or digit)"
        ]
    );
    assert_eq!(
        one("secrets: {npm: {env: A-B}}"),
        ["4:45 invalid environment variable name `A-B`"]
    );
    assert_eq!(
        one("secrets: {npm: {env: '${{ env.A }}'}}").len(),
        1,
        "a placeholder is not supported here"
    );
    assert_eq!(
        one("ssh: [default, other]"),
        ["4:39 unknown ssh agent `other`: only `default` is supported"]
    );
    assert_eq!(
        one("ssh: yes"),
        ["4:29 `docker.ssh` must be `true` or `false`, not `yes` (write `true`)"]
    );
}

#[test]
fn scripts() {
    let scripts = |text: &str| {
        refused(&with(&format!(
            "dockerBuilder: {{image: x}}\nscripts:\n  build:\n    {text}"
        )))
    };
    assert_eq!(
        scripts("make build"),
        [
            "7:9 `scripts.build` must be a list, not a string (write it as a list with one item: `- make build`)"
        ]
    );
    assert_eq!(
        scripts("- echo a: b"),
        [
            "7:11 an item of `scripts.build` must be a string, not a mapping (`: ` makes this a mapping; quote the string: `'echo a: b'`)"
        ]
    );
    assert_eq!(
        scripts("- ''"),
        ["7:11 an item of `scripts.build` must not be empty"]
    );
    assert_eq!(
        scripts("- ~"),
        ["7:11 an item of `scripts.build` has no value (set it to a string, or remove it)"]
    );
    assert_eq!(
        scripts("- echo ${{ service.commit }} x"),
        [
            "7:16 scripts do not support `${{ … }}`: `$` is expanded by the shell (add `NAME: ${{ service.commit }}` to `dockerBuilder.env`, and use `$NAME` here)",
        ]
    );
    refuses(
        "scripts: {build: [make]}",
        &[
            "4:5 service `a` has scripts but no `dockerBuilder.image` to run them in (add `dockerBuilder: {image: builders/a}`, or set another image)",
        ],
    );
    refuses(
        "scripts: {build: [make]}\ndockerBuilder: {workdir: /x}",
        &[
            "4:5 service `a` has scripts but no `dockerBuilder.image` to run them in (add `dockerBuilder: {image: builders/a}`, or set another image)",
        ],
    );
}

#[test]
fn placeholders() {
    let argument = |text: &str| {
        refused(&with(&format!(
            "docker:\n  image: a\n  args: {{X: \"{text}\"}}"
        )))
    };
    assert_eq!(
        argument("${{ service.comit }}"),
        ["6:18 unknown placeholder `service.comit` (did you mean `${{ service.commit }}`?)"]
    );
    assert_eq!(
        argument("${{ services.othr.image }}"),
        ["6:18 unknown service `othr` (did you mean `other`?)"]
    );
    assert_eq!(
        argument("${{ services.other.imag }}"),
        [
            "6:18 unknown placeholder `services.other.imag` (did you mean `${{ services.other.image }}`?)"
        ]
    );
    assert_eq!(
        argument("${{ ENV.X }}"),
        ["6:18 unknown placeholder `ENV.X` (did you mean `${{ env.X }}`?)"]
    );
    assert_eq!(
        argument("${{ env.A-B }}"),
        ["6:18 invalid environment variable name `A-B`"]
    );
    assert_eq!(
        argument("${{ q }}"),
        [
            "6:18 unknown placeholder `q` (known placeholders: `service.name`, `service.commit`, `service.branch`, `services.NAME.image`, `services.NAME.commit`, `env.NAME`)",
        ]
    );
    assert_eq!(
        argument("ä ${{ service.name }} ${{ service.name"),
        ["6:40 unclosed `${{` (write `${{ name }}`)"]
    );
    assert_eq!(argument("${{ q }} ${{ env. }}").len(), 2);
}

#[test]
fn sources_from_plugins() {
    let scm = |keys: &str| format!("services:\n  a: {{dir: a, docker: {{image: a}}, {keys}}}\n");
    for (keys, problem) in [
        (
            "scm: {plugin: x}, git: {remote: 'https://h/a'}",
            "service `a` has both `git` and `scm`",
        ),
        ("scm: {with: {}}", "service `a` has no `scm.plugin`"),
        ("scm: {plugin: builders/hg@x}", "invalid"),
        (
            "scm: {plugin: x, with: [a]}",
            "`scm.with` must be a mapping, not a list",
        ),
        (
            "scm: {plugin: x, with: {a: ['${{ env.X }}']}}",
            "`scm.with.a` does not support `${{ … }}`",
        ),
        (
            "scm: {plugin: x, path: y}",
            "`scm.path` is only supported for git",
        ),
        (
            "scm: {plugin: x, secrets: {a: b}}",
            "`scm.secrets.a` must specify where to find the secret, not the secret itself",
        ),
        ("scm: {plugin: x, refrence: y}", "did you mean `reference`?"),
    ] {
        let found = refused(&scm(keys));
        assert_eq!(found.len(), 1, "{keys}: {found:?}");
        assert!(found[0].contains(problem), "{keys}: {found:?}");
    }
}
