//! Values that are refused. `with` puts the given lines from line 4 on, four columns in.

use super::{SMALLEST, refused, refuses, with};

#[test]
fn names_of_services() {
    assert_eq!(
        refused("services:\n  a b: {}\n  -x: {}\n  ä: {}\n"),
        [
            "2:3 `a b` cannot name a service: only letters, digits, `.`, `_` and `-` are allowed",
            "3:3 `-x` cannot name a service: it must start with a letter or a digit",
            "4:3 `ä` cannot name a service: it must start with a letter or a digit",
        ]
    );
}

#[test]
fn registry_and_folders_of_the_root() {
    let root = |line: &str| refused(&format!("{line}\n{SMALLEST}"));
    assert_eq!(
        root("registry: https://h.example"),
        ["1:11 `https://h.example` is not a registry: leave out the `https://`"]
    );
    assert_eq!(
        root("registry: h.example:99999/x"),
        [
            "1:11 `h.example:99999/x` is not an image name: the registry's port is not a number up to 65535"
        ]
    );
    assert_eq!(
        root("registry: x"),
        ["1:11 `x` is not a registry: it must start with a host such as harbour.example.com"]
    );
    assert_eq!(
        root("cacheDir: ~/x"),
        ["1:11 `~` is not expanded here; set XP_CACHE_DIR in the environment instead"]
    );
    assert_eq!(
        root("cacheDir: ../x"),
        ["1:11 `../x` contains `..`, which may leave the folder"]
    );
    assert_eq!(
        root("cacheDir: ."),
        ["1:11 the cache needs a folder of its own"]
    );
    assert_eq!(
        root("builders: {dir: /x}"),
        ["1:17 `/x` is absolute; a relative path is expected"]
    );
    assert_eq!(
        root("builders: {args: {A-B: 1, C: ~, D: '${{ env.X }}'}}"),
        [
            "1:19 `A-B` cannot name a build argument (letters, digits and `_` are allowed, and no digit first)",
            "1:30 `builders.args.C` has no value (give it a text, or leave it out)",
            "1:36 `builders.args.D` takes no `${{ … }}` (placeholders are replaced in `docker.args`, `docker.tags` and `dockerBuilder.env`)",
        ]
    );
}

#[test]
fn dirs_that_leave_the_folder() {
    refuses(
        "dir: ../a",
        &["4:10 `../a` contains `..`, which may leave the folder"],
    );
    refuses(
        "dir: a/../../b",
        &["4:10 `a/../../b` contains `..`, which may leave the folder"],
    );
    refuses(
        "dir: /srv/a",
        &["4:10 `/srv/a` is absolute; a relative path is expected"],
    );
    refuses(
        "dir: ~/a",
        &["4:10 `~/a` is below the home folder; a relative path is expected"],
    );
    refuses(
        "dir: .xp/a",
        &["4:10 the `dir` of service `a` is in the folder that xp keeps its own files in, `.xp`"],
    );
}

#[test]
fn remotes_and_references() {
    let remote = |text: &str| refused(&with(&format!("git: {{remote: '{text}'}}")));
    assert_eq!(
        remote("ftp://h/x"),
        [
            "4:19 this is not the URL of a git remote: `ftp://` is not supported; use ssh, https, http, git or file"
        ]
    );
    assert_eq!(
        remote("https://h:99999/x"),
        [
            "4:19 this is not the URL of a git remote: what follows the host and a colon is not a port; in a password, write `/` as %2F"
        ]
    );
    assert_eq!(
        remote("--upload-pack=x"),
        ["4:19 this is not the URL of a git remote: it starts with `-`"]
    );
    assert_eq!(
        remote("https://h"),
        ["4:19 this is not the URL of a git remote: it names no repository after the host"]
    );
    let git = |text: &str| refused(&with(&format!("git: {{remote: 'https://h/a', {text}}}")));
    assert_eq!(
        git("reference: a..b"),
        ["4:45 `a..b` is not a git reference: it contains `..`"]
    );
    assert_eq!(
        git("path: ../a"),
        ["4:40 `../a` contains `..`, which may leave the folder"]
    );
    assert_eq!(
        git("path: a/.git/x"),
        ["4:40 `a/.git/x` lies in a folder of git's own"]
    );
    let alone = "4:34 `git.include` has no effect without `git.path` (the build of a service without `git.path` sees the whole repository)";
    assert_eq!(git("include: [a]"), [alone]);
    assert_eq!(git("include: [a], path: ."), [alone]);
    assert_eq!(
        git("include: [.], path: a"),
        [
            "4:44 an item of `git.include` is the whole repository (leave out `git.path`, and the build sees the whole repository)"
        ]
    );
    assert_eq!(
        git("include: [../b], path: a"),
        ["4:44 `../b` contains `..`, which may leave the folder"]
    );
    assert_eq!(
        git("include: libs, path: a"),
        [
            "4:43 `git.include` must be a list, not a text (write it as a list with one item: `- libs`)"
        ]
    );
    assert_eq!(
        git("reference: 'release/${{ env.X }}'"),
        [
            "4:45 `git.reference` takes no `${{ … }}` (placeholders are replaced in `docker.args`, `docker.tags` and `dockerBuilder.env`)"
        ]
    );
}

#[test]
fn builders() {
    let builder = |text: &str| refused(&with(&format!("dockerBuilder: {{{text}}}")));
    assert_eq!(
        builder("image: builders/../x"),
        ["4:28 `../x` cannot name a builder: `..` would leave the folder of the builders"]
    );
    assert_eq!(
        builder("image: builders/a/b"),
        ["4:28 `a/b` cannot name a builder: a builder is one folder, without `/`"]
    );
    assert_eq!(
        builder("image: 'x:${{ env.X }}'"),
        [
            "4:28 `dockerBuilder.image` takes no `${{ … }}` (placeholders are replaced in `docker.args`, `docker.tags` and `dockerBuilder.env`)",
        ]
    );
    assert_eq!(
        builder("image: A"),
        ["4:28 `A` is not an image name: upper-case letters are not allowed"]
    );
    assert_eq!(
        builder("workdir: go/src"),
        ["4:30 `go/src` must be an absolute path in the container"]
    );
    assert_eq!(
        builder("workdir: /"),
        ["4:30 `/` would hide the whole container"]
    );
    assert_eq!(
        builder("env: {A B: 1}"),
        [
            "4:27 `A B` cannot name an environment variable (letters, digits and `_` are allowed, and no digit first)"
        ]
    );
    assert_eq!(
        builder("env: {XP_COMMIT: 1}"),
        ["4:27 `XP_COMMIT` is set by xp itself"]
    );
    assert_eq!(
        builder("env: [A]"),
        ["4:26 `dockerBuilder.env` must be a mapping, not a list"]
    );
    assert_eq!(
        builder("user: me"),
        ["4:27 `me` is not a user: `caller`, `root` or numbers such as `1000:1000`"]
    );
    assert_eq!(
        builder("network: 'a b'"),
        [
            "4:30 `a b` is not a network: `bridge`, `host`, `none`, `container:NAME` or a network's name"
        ]
    );
    assert_eq!(
        builder("cache: [a]"),
        ["4:29 `a` must be an absolute path in the container"]
    );
    assert_eq!(
        builder("cache: ['/a/${{ service.name }}']"),
        [
            "4:29 an item of `dockerBuilder.cache` takes no `${{ … }}` (placeholders are replaced in `docker.args`, `docker.tags` and `dockerBuilder.env`)",
        ]
    );
    assert_eq!(
        builder("mounts: [./a:/b]"),
        ["4:30 `./a` must be an absolute path, or start with `~/`"]
    );
    assert_eq!(
        builder("mounts: ['/a:/b:rx']"),
        ["4:30 `rx` is not a mode of a mount; `ro` is, or nothing"]
    );
    assert_eq!(
        builder("mounts: [/a]"),
        ["4:30 `/a` is not a mount such as `~/.m2:/cache/m2` or `/etc/ssl:/etc/ssl:ro`"]
    );
    assert_eq!(
        builder("mounts: [/a:/b], cache: [/b]"),
        ["4:30 `/b` is used twice in the container"]
    );
    assert_eq!(
        builder("ssh: on"),
        ["4:26 `dockerBuilder.ssh` is `true` or `false`, not `on` (write `true`)"]
    );
    assert_eq!(
        builder("memory: lots"),
        ["4:29 `lots` is not an amount of memory such as `512m` or `2g`"]
    );
    assert_eq!(
        builder("memory: 2"),
        ["4:29 `2` is less than the 6m that an engine needs"]
    );
    assert_eq!(
        builder("cpus: two"),
        ["4:27 `two` is not a number of processors such as `2` or `0.5`"]
    );
    refuses(
        "timeout: 30",
        &["4:14 `30` is not a duration such as `90s`, `30m` or `1h30m`"],
    );
    refuses(
        "timeout: 0s",
        &["4:14 `0s` is no time at all; leave the key out for no limit"],
    );
}

#[test]
fn images() {
    let docker = |text: &str| refused(&with(&format!("docker: {{{text}}}")));
    assert_eq!(
        docker("image: A"),
        ["4:21 `A` is not an image name: upper-case letters are not allowed"]
    );
    assert_eq!(
        docker("image: 'a:1'"),
        ["4:21 `a:1` is not an image name: a tag is not expected here: xp makes the tags"]
    );
    assert_eq!(
        docker("image: 'a-${{ service.name }}'"),
        [
            "4:21 `docker.image` takes no `${{ … }}` (placeholders are replaced in `docker.args`, `docker.tags` and `dockerBuilder.env`)",
        ]
    );
    assert_eq!(
        docker("image: a, file: ../Dockerfile"),
        ["4:30 `../Dockerfile` contains `..`, which may leave the folder"]
    );
    assert_eq!(
        docker("image: a, file: ."),
        ["4:30 `.` is a folder, not a Dockerfile"]
    );
    assert_eq!(
        docker("image: a, context: /"),
        ["4:33 `/` is absolute; a relative path is expected"]
    );
    assert_eq!(
        docker("image: a, target: 'a b'"),
        ["4:32 `a b` cannot name a stage of a Dockerfile"]
    );
    assert_eq!(
        docker("image: a, args: {1A: 1}"),
        [
            "4:31 `1A` cannot name a build argument (letters, digits and `_` are allowed, and no digit first)"
        ]
    );
    assert_eq!(
        docker("image: a, tags: [a/b, 'x ${{ env.A }}', '']"),
        [
            "4:31 `a/b` is not a tag: only letters, digits, `_`, `.` and `-` are allowed",
            "4:36 `x ${{ env.A }}` cannot become a tag: letters, digits, `_`, `.` and `-` are allowed",
            "4:54 `` is not a tag: it is empty",
        ]
    );
}

#[test]
fn secrets_of_an_image() {
    let one = |rest: &str| refused(&with(&format!("docker: {{image: a, {rest}}}")));
    assert_eq!(
        one("secrets: {npm: abc}"),
        [
            "4:39 `docker.secrets.npm` says where the secret comes from, not what it is (write `{env: NAME}` for a variable, or `{file: PATH}` for a file)"
        ]
    );
    for (source, found) in [("{}", "neither"), ("{env: A, file: b}", "both")] {
        let expected = format!("4:39 `docker.secrets.npm` takes `env` or `file`, and has {found}");
        assert_eq!(one(&format!("secrets: {{npm: {source}}}")), [expected]);
    }
    assert_eq!(
        one("secrets: {'a,b': {env: A}}"),
        [
            "4:34 `a,b` cannot name a secret (letters, digits, `.`, `_` and `-` are allowed, and a letter or digit first)"
        ]
    );
    assert_eq!(
        one("secrets: {npm: {env: A-B}}"),
        ["4:45 `A-B` cannot name a variable of the environment"]
    );
    assert_eq!(
        one("secrets: {npm: {env: '${{ env.A }}'}}").len(),
        1,
        "a placeholder is none here"
    );
    assert_eq!(
        one("ssh: [default, other]"),
        ["4:39 `other` is no agent that xp forwards; `default` is"]
    );
    assert_eq!(
        one("ssh: yes"),
        ["4:29 `docker.ssh` is `true` or `false`, not `yes` (write `true`)"]
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
            "7:9 `scripts.build` must be a list, not a text (write it as a list with one item: `- make build`)"
        ]
    );
    assert_eq!(
        scripts("- echo a: b"),
        [
            "7:11 an item of `scripts.build` must be a text, not a mapping (`: ` makes a mapping of it; quote the text: `'echo a: b'`)"
        ]
    );
    assert_eq!(
        scripts("- ''"),
        ["7:11 an item of `scripts.build` is empty"]
    );
    assert_eq!(
        scripts("- ~"),
        ["7:11 an item of `scripts.build` has no value (give it a text, or leave it out)"]
    );
    assert_eq!(
        scripts("- echo ${{ service.commit }} x"),
        [
            "7:16 scripts take no `${{ … }}`: in them `$` belongs to the shell (add `NAME: ${{ service.commit }}` to `dockerBuilder.env`, and write `$NAME` here)",
        ]
    );
    refuses(
        "scripts: {build: [make]}",
        &[
            "4:5 service `a` has scripts and no `dockerBuilder.image` to run them in (add `dockerBuilder: {image: builders/a}`, or an image of your choice)",
        ],
    );
    refuses(
        "scripts: {build: [make]}\ndockerBuilder: {workdir: /x}",
        &[
            "4:5 service `a` has scripts and no `dockerBuilder.image` to run them in (add `dockerBuilder: {image: builders/a}`, or an image of your choice)",
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
        ["6:18 there is no placeholder `service.comit` (did you mean `${{ service.commit }}`?)"]
    );
    assert_eq!(
        argument("${{ services.othr.image }}"),
        ["6:18 there is no service `othr` (did you mean `other`?)"]
    );
    assert_eq!(
        argument("${{ services.other.imag }}"),
        [
            "6:18 there is no placeholder `services.other.imag` (did you mean `${{ services.other.image }}`?)"
        ]
    );
    assert_eq!(
        argument("${{ ENV.X }}"),
        ["6:18 there is no placeholder `ENV.X` (did you mean `${{ env.X }}`?)"]
    );
    assert_eq!(
        argument("${{ env.A-B }}"),
        ["6:18 `A-B` cannot name an environment variable"]
    );
    assert_eq!(
        argument("${{ q }}"),
        [
            "6:18 there is no placeholder `q` (there are service.name, service.commit, service.branch, services.NAME.image, services.NAME.commit and env.NAME)",
        ]
    );
    assert_eq!(
        argument("ä ${{ service.name }} ${{ service.name"),
        ["6:40 this `${{` is not closed (write `${{ name }}`)"]
    );
    assert_eq!(argument("${{ q }} ${{ env. }}").len(), 2);
}
