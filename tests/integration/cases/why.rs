//! `xp why`

use crate::case::Case;
use crate::cases::small;
use crate::context::Context;
use crate::repository::GitRepository;

pub const CASES: &[Case] = cases![
    every_input_is_shown_with_its_location,
    an_unbuilt_service_is_explained,
    another_image_of_the_service_is_compared,
    a_missing_image_is_an_error,
    an_image_without_a_registry_is_looked_up_in_the_engine,
    possible_secrets_are_not_shown,
    only_one_service_can_be_explained,
];

struct Product<'t> {
    t: &'t Context,
    builder: String,
    backend: GitRepository,
    frontend: GitRepository,
}

impl<'t> Product<'t> {
    fn new(t: &'t Context) -> Self {
        let builder = t.builder("sh", &format!("FROM {}\n", t.engine().busybox()), &[]);
        let product = Self {
            t,
            builder,
            backend: small::repository(t, "zbackend"),
            frontend: small::repository(t, "zfrontend"),
        };
        product.manifest("make all");
        product
    }

    fn manifest(&self, script: &str) {
        let args = ", args: {WORD: '${{ env.WORD }}', SECRET: canary-1}";
        let more = format!(
            "    dockerBuilder: {{image: {}, env: {{TOKEN: canary-2}}}}
    scripts:
      build:
        - echo {script}
        - echo more
    needs: [zfrontend]
",
            self.builder
        );
        let url = self.backend.url_file();
        let services = small::service(self.t, "zbackend", &url, args, &more)
            + &small::service(self.t, "zfrontend", &self.frontend.url_file(), "", "");
        small::manifest(self.t, self.t.registry().host(), &services);
    }

    fn why(&self, arguments: &[&str]) -> crate::xp::Xp {
        let why = self.t.xp(["why", "zbackend"]).env("WORD", "canary-3");
        arguments
            .iter()
            .fold(why, |why, argument| why.arg(argument))
    }
}

/// Returns the cells of a row, split at two spaces.
fn cells<'o>(output: &'o str, input: &str) -> Vec<&'o str> {
    let mut lines = output.lines();
    let is_row = |line: &&str| line.get(2..).is_some_and(|line| line.starts_with(input));
    let line = lines.find(is_row);
    let line = line.unwrap_or_else(|| panic!("{input} is not in\n{output}"));
    let (mark, rest) = line.split_at(2);
    let cells = rest
        .split("  ")
        .map(str::trim)
        .filter(|cell| !cell.is_empty());
    std::iter::once(mark.trim()).chain(cells).collect()
}

fn every_input_is_shown_with_its_location(t: &Context) {
    let product = Product::new(t);
    t.xp(["build"]).env("WORD", "canary-3").success();
    let same = product.why(&[]).success();
    let output = same.stdout;
    assert!(output.contains("registry  verified\n"), "{output}");
    assert!(output.contains("engine    verified\n"), "{output}");
    assert!(
        output.contains("\nskip: in the registry and the engine\n"),
        "{output}"
    );
    assert!(!output.contains("\n* "), "{output}");
    let build = cells(&output, "scripts.build ");
    let (today, image) = (build[2], build[3]);
    assert_eq!(today, image);
    assert_eq!(
        build,
        [
            "",
            "scripts.build",
            today,
            image,
            "x-platform.yml:9",
            "echo make all (+1 line)"
        ]
    );
    let word = cells(&output, "docker.args.WORD ");
    assert_eq!(word[4..], ["x-platform.yml:6", "${{ env.WORD }}"]);
    let context = cells(&output, "docker.context ");
    assert_eq!(context[4..], ["default", "."]);
    let commit = cells(&output, "commit ");
    let head = &product.backend.head()[..8];
    let from = format!("refs/heads/master of {}", product.backend.url_file());
    assert_eq!(
        commit,
        ["", "commit", head, head, "x-platform.yml:5", &from]
    );
    let builder = cells(&output, "dockerBuilder.image ");
    assert!(builder[5].contains(", content "), "{output}");
    let needs = cells(&output, "needs.zfrontend ");
    assert_eq!(needs[4], "x-platform.yml:12");

    product.manifest("other");
    let changed = product.why(&[]).success().stdout;
    let build = cells(&changed, "scripts.build ");
    assert_eq!((build[0], build[3]), ("*", image));
    assert_ne!(build[2], today);
    assert!(
        changed.contains("registry  stale: scripts.build changed\n"),
        "{changed}"
    );
    assert!(
        changed.ends_with("\nbuild: scripts.build changed\n"),
        "{changed}"
    );
    assert_eq!(changed.matches("\n* ").count(), 1, "{changed}");
}

fn an_unbuilt_service_is_explained(t: &Context) {
    let product = Product::new(t);
    let output = product.why(&[]).success().stdout;
    assert!(output.contains("\nregistry  absent\n"), "{output}");
    assert_eq!(cells(&output, "docker.file ")[3], "-");
    assert!(!output.contains("\n* "), "{output}");
    assert!(output.ends_with("build: new commit\n"), "{output}");
    assert!(!t.exists("src"), "nothing is built");
}

fn another_image_of_the_service_is_compared(t: &Context) {
    let product = Product::new(t);
    t.xp(["build"]).env("WORD", "canary-3").success();
    let old = product.backend.head();
    product.backend.commit(&[("more", "")], "More");
    product.manifest("other");
    let digest = t.registry().manifest_digest(&t.image("zbackend"), &old);
    let digest = digest.expect("an image");
    let whole = format!("{}/{}:{old}", t.registry().host(), t.image("zbackend"));
    for against in ["master", "origin/master", &old, &digest, &whole] {
        let output = product.why(&["--against", against]).success().stdout;
        let commit = cells(&output, "commit ");
        assert_eq!((commit[0], commit[3]), ("*", &old[..8]), "{against}");
        assert_eq!(cells(&output, "scripts.build ")[0], "*", "{against}");
        assert_eq!(cells(&output, "docker.file ")[0], "", "{against}");
        assert_eq!(output.matches("\n* ").count(), 2, "{output}");
    }
}

fn a_missing_image_is_an_error(t: &Context) {
    let product = Product::new(t);
    let nowhere = product.why(&["--against", "nightly"]).failure(3);
    nowhere
        .stderr_contains("image not found: ")
        .stderr_contains(":nightly")
        .stderr_contains("pass a tag, branch, commit or digest of")
        .does_not_contain("40 digits");
    let short = product.why(&["--against", &product.backend.head()[..8]]);
    short
        .failure(3)
        .stderr_contains("hint: to specify a commit, use the full 40-digit SHA-1");
    product
        .why(&["--against", ""])
        .failure(2)
        .stderr_contains("`--against` is empty");
    let wrong = product.why(&["--against", "a b:c"]).failure(3);
    wrong.stderr_contains("`a b:c` is not a tag, branch, digest or image");
}

fn an_image_without_a_registry_is_looked_up_in_the_engine(t: &Context) {
    let repository = small::repository(t, "zbackend");
    small::platform(t, "", &[("zbackend", &repository)]);
    t.xp(["why", "zbackend"])
        .success()
        .stdout_contains("\nengine   absent\n")
        .does_not_contain("registry ");
}

fn possible_secrets_are_not_shown(t: &Context) {
    let product = Product::new(t);
    let why = product.why(&[]).success().does_not_contain("canary");
    let secret = cells(&why.stdout, "docker.args.SECRET ");
    assert_eq!(secret[5], "(not shown)");
    let plan = t.xp(["plan", "--format", "json"]).env("WORD", "canary-3");
    plan.success().does_not_contain("canary");
}

fn only_one_service_can_be_explained(t: &Context) {
    let product = Product::new(t);
    product.why(&["zfrontend"]).failure(2);
    t.xp(["why", "z*"])
        .failure(2)
        .stderr_contains("matches several services");
    t.xp(["why", "zbacken"])
        .failure(2)
        .stderr_contains("zbackend");
}
