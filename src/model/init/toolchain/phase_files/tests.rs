use std::collections::BTreeMap;

use super::*;

/// The proposals for a service with these files, as `INPUTS -> OUTPUTS`.
fn proposed(files: &[(&str, &str)]) -> [String; 2] {
    proposed_in(".", files, &[])
}

fn proposed_in(folder: &str, files: &[(&str, &str)], missing: &[&str]) -> [String; 2] {
    let texts: BTreeMap<&str, &str> = files.iter().copied().collect();
    let repository = Repository {
        files: Some(texts.keys().map(|path| (*path).to_owned()).collect()),
        ..Repository::default()
    };
    let read = |path: &str| Ok(texts.get(path).map(|text| (*text).to_owned()));
    let mut scripts = super::super::guess(folder, &read).scripts;
    let missing: Vec<String> = missing.iter().map(|path| (*path).to_owned()).collect();
    let file = |path: &str| read(path).ok().flatten();
    propose(&mut scripts, &repository, folder, &missing, &file);
    [scripts.prepare_files, scripts.build_files].map(|files| match files {
        Some(PhaseFiles { inputs, outputs }) => {
            format!("{} -> {}", inputs.join(" "), outputs.join(" "))
        }
        None => "none".to_owned(),
    })
}

fn prepare(files: &[(&str, &str)]) -> String {
    let [prepare, build] = proposed(files);
    assert_eq!(build, "none");
    prepare
}

/// Returns the proposal with one file added or replaced.
fn with(files: &[(&str, &str)], file: (&str, &str)) -> String {
    let mut files = files.to_vec();
    files.push(file);
    let [prepare, build] = proposed(&files);
    if prepare == "none" { build } else { prepare }
}

const NPM: &[(&str, &str)] = &[
    (
        "package.json",
        r#"{"scripts": {"build": "vite build", "postbuild": "x"}, "dependencies": {"vue": "^3"}}"#,
    ),
    (
        "package-lock.json",
        r#"{"lockfileVersion": 3, "packages": {"": {}, "node_modules/vue": {"resolved": "https://registry.npmjs.org/vue/-/vue-3.4.0.tgz"}, "node_modules/fsevents": {"optional": true, "hasInstallScript": true}}}"#,
    ),
    ("src/main.js", ""),
    ("Dockerfile", ""),
];

#[test]
fn npm_reads_the_package_and_the_lock() {
    let usual = "package.json package-lock.json -> node_modules";
    assert_eq!(prepare(NPM), usual);
    let npmrc = "# x\nregistry=https://npm.example.com/\n//npm.example.com/:_authToken=${TOKEN}\n@x:registry = https://n\nfund=false\n";
    assert_eq!(
        with(NPM, (".npmrc", npmrc)),
        "package.json package-lock.json .npmrc -> node_modules"
    );
    assert_eq!(
        with(NPM, (".nvmrc", "22\n")),
        "package.json package-lock.json .nvmrc -> node_modules"
    );
    let patched = r#"{"scripts": {"postinstall": "patch-package"}, "dependencies": {"vue": "3"}}"#;
    let mut files = NPM.to_vec();
    files.push(("package.json", patched));
    assert_eq!(
        with(&files, ("patches/vue+3.4.0.patch", "")),
        "package.json package-lock.json patches -> node_modules"
    );
    for other in [
        (".npmrc", "cafile=./ca.pem"),
        (".npmrc", "install-strategy=linked"),
        (".npmrc", "//h/:certfile=x.pem"),
        ("binding.gyp", ""),
        ("node_modules/x/package.json", "{}"),
        (
            "package.json",
            r#"{"scripts": {"prepare": "node scripts/setup.js"}}"#,
        ),
        (
            "package.json",
            r#"{"scripts": {"postinstall": "patch-package && x"}}"#,
        ),
        ("package.json", r#"{"dependencies": {"x": "file:../x"}}"#),
        ("package.json", r#"{"overrides": {"x": {"y": "file:./y"}}}"#),
        ("package.json", "not JSON"),
        ("package.json/", ""),
        // Of npm 6, without packages, and with packages that may be skipped.
        (
            "package-lock.json",
            r#"{"lockfileVersion": 1, "dependencies": {"x": {}}}"#,
        ),
        ("package-lock.json", r#"{"packages": {"": {}}}"#),
        (
            "package-lock.json",
            r#"{"packages": {"node_modules/x": {"optional": true}}}"#,
        ),
        (
            "package-lock.json",
            r#"{"packages": {"node_modules/x": {"resolved": "file:gone.tgz"}}}"#,
        ),
        (
            "package-lock.json",
            r#"{"packages": {"node_modules/a/node_modules/@prisma/client": {"hasInstallScript": true}}}"#,
        ),
        ("yarn.lock", ""),
    ] {
        assert_eq!(with(NPM, other), "none", "{other:?}");
    }
    // Without a lock file, the result depends on the day.
    assert_eq!(prepare(&NPM[..1]), "none");
    // A target of the Makefile replaces both phases.
    assert_eq!(with(NPM, ("Makefile", "build: x\n")), "none");
}

#[test]
fn npm_workspaces_have_the_packages_of_their_members() {
    let lock = r#"{"packages": {
        "": {"workspaces": ["packages/*"]},
        "node_modules/ui": {"resolved": "packages/ui", "link": true},
        "node_modules/lib": {"resolved": "lib", "link": true},
        "node_modules/x": {"resolved": "file:archives/x-1.0.0.tgz"},
        "lib": {},
        "packages/ui": {},
        "packages/app": {},
        "packages/app/node_modules/x": {},
        "packages/app/node_modules/x/node_modules/y": {"optional": true}
    }}"#;
    let files = &[
        (
            "package.json",
            r#"{"workspaces": ["packages/*"], "scripts": {"build": "x"}, "dependencies": {"lib": "file:lib", "x": "file:archives/x-1.0.0.tgz"}}"#,
        ),
        ("package-lock.json", lock),
        ("packages/ui/package.json", "{}"),
        ("packages/ui/index.js", ""),
        (
            "packages/app/package.json",
            r#"{"dependencies": {"ui": "*"}}"#,
        ),
        ("lib/package.json", "{}"),
        ("lib/index.js", ""),
        ("archives/x-1.0.0.tgz", ""),
    ];
    assert_eq!(
        prepare(files),
        "package.json package-lock.json packages/ui/package.json packages/app/package.json lib archives/x-1.0.0.tgz \
         -> node_modules packages/app/node_modules"
    );
    for other in [
        ("packages/ui/package.json", r#"{"bin": "cli.js"}"#),
        (
            "packages/ui/package.json",
            r#"{"scripts": {"prepare": "tsc"}}"#,
        ),
        ("packages/ui/package.json/", ""),
        (
            "lib/package.json",
            r#"{"dependencies": {"z": "file:../z"}}"#,
        ),
        ("lib/link/", ""),
    ] {
        assert_eq!(with(files, other), "none", "{other:?}");
    }
    // A member's own lock file is not the workspace's.
    let mut below: Vec<(String, &str)> = files
        .iter()
        .map(|(path, text)| ((*path).to_owned(), *text))
        .collect();
    below.push(("packages/ui/package-lock.json".to_owned(), NPM[1].1));
    let below: Vec<(&str, &str)> = below
        .iter()
        .map(|(path, text)| (path.as_str(), *text))
        .collect();
    assert_eq!(proposed_in("packages/ui", &below, &[])[0], "none");
}

#[test]
fn paths_are_relative_to_the_folder_of_the_service() {
    let files: Vec<(String, &str)> = NPM
        .iter()
        .map(|(path, text)| (format!("apps/web/{path}"), *text))
        .collect();
    let mut files: Vec<(&str, &str)> = files
        .iter()
        .map(|(path, text)| (path.as_str(), *text))
        .collect();
    let usual = "package.json package-lock.json -> node_modules";
    assert_eq!(
        proposed_in("apps/web", &files, &["apps/web/dist"])[0],
        usual
    );
    files.push(("package.json", "{}"));
    assert_eq!(proposed_in("apps/web", &files, &[])[0], usual);
}

#[test]
fn yarn_1_reads_the_package_and_the_lock() {
    let files = &[
        (
            "package.json",
            r#"{"scripts": {"build": "x"}, "devDependencies": {"vite": "5"}}"#,
        ),
        (
            "yarn.lock",
            "# THIS IS AN AUTOGENERATED FILE.\n# yarn lockfile v1\n\n\nvite@5:\n  version \"5.0.0\"\n",
        ),
    ];
    assert_eq!(prepare(files), "package.json yarn.lock -> node_modules");
    assert_eq!(
        with(files, (".yarnrc", "registry \"https://r\"\n")),
        "package.json yarn.lock .yarnrc -> node_modules"
    );
    let mut local = files.to_vec();
    local.push(("package.json", r#"{"dependencies": {"lib": "file:./lib"}}"#));
    assert_eq!(with(&local, ("lib/index.js", "")), "none");
    assert_eq!(
        with(&local, ("lib/package.json", "{}")),
        "package.json yarn.lock lib -> node_modules"
    );
    for other in [
        (".yarnrc", "--modules-folder lib\n"),
        (".yarnrc", "yarn-path .yarn/releases/yarn-1.22.0.cjs\n"),
        (
            "yarn.lock",
            "# yarn lockfile v1\n\n\"@prisma/client@^5\":\n  version \"5.0.0\"\n",
        ),
        ("yarn.lock", "__metadata:\n  version: 8\n"),
        (".yarnrc.yml", "nodeLinker: node-modules\n"),
        (
            "package.json",
            r#"{"workspaces": ["a"], "dependencies": {"x": "1"}}"#,
        ),
        ("package.json", r#"{"dependencies": {"x": "link:./x"}}"#),
        ("package.json", "{}"),
    ] {
        assert_eq!(with(files, other), "none", "{other:?}");
    }
}

#[test]
fn pnpm_lists_the_members_in_its_lock() {
    let single = &[
        (
            "package.json",
            r#"{"scripts": {"build": "x"}, "dependencies": {"vue": "3"}}"#,
        ),
        (
            "pnpm-lock.yaml",
            "lockfileVersion: '6.0'\ndependencies:\n  vue:\n    specifier: '3'\n    version: 3.4.0\npackages:\n  /vue@3.4.0:\n    resolution: {integrity: x}\n",
        ),
    ];
    assert_eq!(
        prepare(single),
        "package.json pnpm-lock.yaml -> node_modules"
    );
    let lock = "\
lockfileVersion: '9.0'
settings: {autoInstallPeers: true}
patchedDependencies:
  vue@3.4.0: {hash: x, path: patches/vue.patch}
importers:
  .:
    devDependencies:
      vite: {specifier: '5', version: 5.0.0}
  apps/web:
    dependencies:
      ui: {specifier: 'workspace:*', version: link:../../packages/ui}
      vue: {specifier: '3', version: '3.4.0(patch_hash=x)'}
  packages/ui: {}
packages:
  vite@5.0.0: {resolution: {integrity: x}}
";
    let workspace = &[
        (
            "package.json",
            r#"{"scripts": {"build": "x"}, "devDependencies": {"vite": "5"}}"#,
        ),
        ("pnpm-lock.yaml", lock),
        (
            "pnpm-workspace.yaml",
            "packages: ['apps/*', 'packages/*']\nonlyBuiltDependencies: [esbuild]\n",
        ),
        (
            "apps/web/package.json",
            r#"{"dependencies": {"ui": "workspace:*", "vue": "3"}}"#,
        ),
        ("packages/ui/package.json", "{}"),
        ("patches/vue.patch", ""),
    ];
    assert_eq!(
        prepare(workspace),
        "package.json pnpm-lock.yaml pnpm-workspace.yaml apps/web/package.json packages/ui/package.json \
         patches/vue.patch -> node_modules apps/web/node_modules"
    );
    let injected = lock.replace("link:../../packages/ui", "file:packages/ui");
    let outside = lock.replace("link:../../packages/ui", "link:../../other");
    let optional = lock.replace(
        "  packages/ui: {}",
        "  packages/ui:\n    optionalDependencies:\n      x: {specifier: '1', version: 1.0.0}",
    );
    let old = lock.replace("'9.0'", "5.4");
    let overridden = format!("{lock}overrides: {{x: 'link:./x'}}\n");
    let browser = lock.replace("vite@5.0.0: ", "cypress@13.0.0: ");
    let patch = lock.replace("patches/vue.patch", "patches/gone.patch");
    for other in [
        ("pnpm-lock.yaml", injected.as_str()),
        ("pnpm-lock.yaml", &outside),
        ("pnpm-lock.yaml", &optional),
        ("pnpm-lock.yaml", &old),
        ("pnpm-lock.yaml", &overridden),
        ("pnpm-lock.yaml", &patch),
        ("pnpm-lock.yaml", &browser),
        (
            "pnpm-lock.yaml",
            "lockfileVersion: '9.0'\nimporters:\n  .: {}\n",
        ),
        ("pnpm-lock.yaml", "- x"),
        ("pnpm-workspace.yaml", "nodeLinker: hoisted\n"),
        (".npmrc", "node-linker=hoisted\n"),
        (".npmrc", "shared-workspace-lockfile=false\n"),
        (".pnpmfile.cjs", ""),
        ("packages/ui/package.json", r#"{"bin": {"ui": "x.js"}}"#),
    ] {
        assert_eq!(with(workspace, other), "none", "{other:?}");
    }
}

#[test]
fn a_go_program_in_the_top_folder_reads_its_sources() {
    let files = &[
        (
            "go.mod",
            "module example.com/shop/api/v2 // x\n\ngo 1.22\n\nreplace a => b v1\n",
        ),
        ("go.sum", ""),
        ("main.go", "// Api.\npackage main\n\nfunc main() {}\n"),
        ("main_test.go", "package main_test\n"),
        ("testdata/x/y.go", "package y\n"),
        ("README.md", ""),
        ("Dockerfile", ""),
    ];
    let usual = "go.mod go.sum *.go :!*_test.go -> api";
    assert_eq!(proposed(files), ["none", usual]);
    assert_eq!(proposed_in(".", files, &["api"])[1], usual);
    assert_eq!(proposed_in(".", files, &["api", "static"])[1], "none");
    for other in [
        ("internal/x/x.go", "package x\n"),
        (
            "page.go",
            "package main\n//go:embed page.html\nvar page string\n",
        ),
        ("c.go", "package main\nimport \"C\"\n"),
        ("add.s", ""),
        ("lib.go", "package lib\n"),
        ("go.mod", "module example.com/api\nreplace x => ../x\n"),
        ("go.work", "use .\n"),
        ("vendor/modules.txt", ""),
        ("api/x.txt", ""),
        ("api", ""),
        ("main.go/", ""),
        ("Makefile", "build: x\n"),
    ] {
        assert_eq!(with(files, other), "none", "{other:?}");
    }
}

#[test]
fn a_standard_maven_project_reads_its_sources() {
    let pom = |more: &str| {
        format!(
            "<project xmlns=\"http://maven.apache.org/POM/4.0.0\"><parent><groupId>org.springframework.boot</groupId>\
             <artifactId>spring-boot-starter-parent</artifactId><version>3.3.0</version></parent>\
             <scm><url>https://git.example.com/api</url></scm>{more}<build><plugins><plugin>\
             <groupId>org.springframework.boot</groupId><artifactId>spring-boot-maven-plugin</artifactId></plugin>\
             </plugins></build></project>"
        )
    };
    let plain = pom("");
    let files = &[
        ("pom.xml", plain.as_str()),
        ("src/main/java/App.java", ""),
        ("src/test/java/AppTest.java", ""),
        ("Dockerfile", ""),
    ];
    assert_eq!(proposed(files), ["none", "pom.xml src -> target"]);
    assert_eq!(
        proposed_in(".", files, &["target/api.jar"])[1],
        "pom.xml src -> target"
    );
    assert_eq!(proposed_in(".", files, &["dist/api.jar"])[1], "none");
    assert_eq!(
        with(files, (".mvn/maven.config", "-T1C\n")),
        "pom.xml src .mvn -> target"
    );
    let plugin = |name: &str| {
        pom(&format!(
            "<profiles/><plugins><plugin><artifactId>{name}</artifactId></plugin></plugins>"
        ))
    };
    let commit_id = plugin("git-commit-id-maven-plugin");
    let parent = plain.replace("spring-boot-starter-parent", "shop-parent");
    let modules = pom("<modules><module>a</module></modules>");
    let packaging = pom("<packaging>pom</packaging>");
    let resource = pom("<resource><directory>config</directory></resource>");
    let based = pom("<x>${project.basedir}/schema</x>");
    for other in [
        ("pom.xml", commit_id.as_str()),
        ("pom.xml", &parent),
        ("pom.xml", &modules),
        ("pom.xml", &packaging),
        ("pom.xml", &resource),
        ("pom.xml", &based),
        ("pom.xml", "<project"),
        (".mvn/extensions.xml", ""),
        ("target/x", ""),
        ("src/link/", ""),
    ] {
        assert_eq!(with(files, other), "none", "{other:?}");
    }
}

#[test]
fn nothing_is_proposed_where_any_file_may_be_read() {
    for (file, text) in [
        ("Cargo.toml", "[package]\nname = \"api\"\n"),
        ("gradlew", ""),
        ("build.gradle", "plugins { id 'java' }\n"),
        ("build.gradle.kts", ""),
        ("pyproject.toml", "[project]\nname = \"api\"\n"),
    ] {
        let files = [
            (file, text),
            ("Cargo.lock", ""),
            ("uv.lock", ""),
            ("requirements.txt", ""),
            ("src/main.rs", ""),
        ];
        assert_eq!(proposed(&files), ["none", "none"], "{file}");
    }
}
