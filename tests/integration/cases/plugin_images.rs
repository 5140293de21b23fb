//! The plugins in `builders/` and the manifests on the page about them: their own Dockerfiles and programs, on
//! Debian's packages in roots that `bin/test` creates, because images are built without network here. Without root,
//! there are no roots, and these tests pass without doing anything.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;

use super::test_reports::{names, suite_of};
use crate::case::Case;
use crate::context::Context;
use crate::repository::{GitRepository, write_file};

pub const CASES: &[Case] = cases![
    manifests_of_the_catalog_are_valid,
    maven_and_gradle_have_the_same_settings,
    switching_between_maven_and_gradle_is_one_word,
    a_failed_java_test_is_in_the_report,
    a_repository_that_cannot_be_reached_is_not_the_services_fault,
    a_repository_can_require_a_login,
    browser_tests_run_against_the_new_image,
    a_browser_is_a_sidecar,
];

/// Java and Chromium start slowly on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(600);

// The manifests of the page, in this order.
const BROWSER_TESTS: usize = 0;
const BROWSER_SIDECAR: usize = 1;
const MAVEN: usize = 2;
const GRADLE_WITH_LOGIN: usize = 3;

fn manifests_of_the_catalog_are_valid(t: &Context) {
    for name in ["browser", "gradle", "maven", "zfrontend"] {
        copy_builder(t, name);
    }
    let manifests = manifests();
    assert_eq!(manifests.len(), 4);
    for (index, manifest) in manifests.iter().enumerate() {
        t.manifest(manifest);
        t.xp(["check"]).success();
        // Settings are checked against the labels in the folders.
        let (setting, wrong) = match index {
            BROWSER_TESTS => ("url: http", "address: http"),
            BROWSER_SIDECAR => continue,
            _ => ("tasks: [", "task: ["),
        };
        t.manifest(&replaced(manifest, setting, wrong));
        let name = wrong.split(':').next().expect("a name");
        t.xp(["check"]).failure(2).stderr_contains(name);
    }
}

fn maven_and_gradle_have_the_same_settings(_: &Context) {
    let settings = |name: &str| {
        let path = sources().join(format!("builders/{name}/Dockerfile"));
        let text = fs::read_to_string(path).expect("a Dockerfile");
        let label = text
            .split("LABEL x-platform.plugin='")
            .nth(1)
            .expect("a label");
        let label = label
            .split("'\n")
            .next()
            .expect("its end")
            .replace("\\\n", "\n");
        serde_json::from_str::<Value>(&label).expect("JSON")
    };
    assert_eq!(settings("maven"), settings("gradle"));
    assert!(settings("maven")["with"]["properties"]["tasks"].is_object());
    assert_ne!(settings("maven"), settings("browser"));
}

fn switching_between_maven_and_gradle_is_one_word(t: &Context) {
    let Some(java) = Java::new(t) else { return };
    for (tool, reports) in [("maven", "surefire-reports"), ("gradle", "test-results")] {
        t.manifest(&java.manifest(tool, "debian"));
        t.xp(["build"]).timeout(TIMEOUT).success();
        t.assert_built("greeter", &java.repository.head());
        let written = format!(".xp/build/greeter/target/{reports}");
        assert!(t.exists(&written), "{tool} did not run");
        let mut cases = names(&suite_of(t, "greeter"));
        cases.sort();
        assert_eq!(cases, ["greetsByName", "greetsTheWorldByDefault"]);
    }
}

fn a_failed_java_test_is_in_the_report(t: &Context) {
    let Some(java) = Java::new(t) else { return };
    let test = fs::read_to_string(sources().join(GREETER_TEST)).expect("the test");
    let wrong = replaced(&test, "Hello, Ada!", "Bye, Ada!");
    let file = GREETER_TEST.trim_start_matches("examples/greeter/");
    java.repository
        .commit(&[(file, &wrong)], "Expect another text");
    for tool in ["maven", "gradle"] {
        t.manifest(&java.manifest(tool, "debian"));
        let output = t.xp(["build"]).timeout(TIMEOUT).failure(1);
        output.stderr_contains("GreeterTest");
        let suite = suite_of(t, "greeter");
        assert_eq!(suite["failures"], "1", "{suite}");
        assert!(
            suite.to_string().contains("expected:<[Bye], Ada!>"),
            "{suite}"
        );
    }
}

fn a_repository_that_cannot_be_reached_is_not_the_services_fault(t: &Context) {
    let Some(java) = Java::new(t) else { return };
    let address = format!("http://127.0.0.1:{}/maven", t.closed_port());
    for tool in ["maven", "gradle"] {
        t.manifest(&java.manifest(tool, &address));
        let output = t.xp(["build"]).timeout(TIMEOUT).failure(3);
        output.stderr_contains("a repository refused or could not be reached");
    }
}

fn a_repository_can_require_a_login(t: &Context) {
    // All of Debian's repository, behind the login of a busybox web server. It is encoded, because no file of the
    // platform may contain it at the end.
    const LOGIN: &str = "ada:p:w<&";
    const SECRETS: &str = "          secrets:\n            repository: {env: NEXUS_LOGIN}\n";
    let Some(java) = Java::new(t) else { return };
    let dockerfile = "ARG BASE\nFROM ${BASE} AS java\nFROM BUSYBOX\nRUN echo ENCODED | base64 -d >/etc/httpd.conf\n\
         COPY --from=java /usr/share/maven-repo /usr/share/maven-repo\nCOPY --from=java /usr/share/java /usr/share/java\n\
         CMD [\"httpd\", \"-f\", \"-p\", \"8081\", \"-h\", \"/usr/share/maven-repo\"]\n";
    let server = t.builder(
        "repository",
        &replaced(
            &replaced(dockerfile, "BUSYBOX", t.engine().busybox()),
            "ENCODED",
            &BASE64_STANDARD.encode(format!("/:{LOGIN}\n")),
        ),
        &[],
    );
    let page = java.page(GRADLE_WITH_LOGIN);
    let page = replaced(
        &page,
        "https://nexus.example.com/repository/maven",
        "http://maven:8081",
    );
    let manifest = format!("{page}    sidecars: {{maven: {{image: {server}, phases: [build]}}}}\n");
    t.manifest(&replaced(&manifest, SECRETS, ""));
    let output = t.xp(["build"]).timeout(TIMEOUT).failure(3);
    output.stderr_contains("a repository refused or could not be reached");
    for tool in ["gradle", "maven"] {
        t.manifest(&manifest.replace("builders/gradle", &format!("builders/{tool}")));
        t.xp(["build"])
            .env("NEXUS_LOGIN", LOGIN)
            .timeout(TIMEOUT)
            .success()
            .does_not_contain(LOGIN);
        t.assert_built("greeter", &java.repository.head());
    }
    t.assert_secret_is_nowhere(LOGIN);
}

fn browser_tests_run_against_the_new_image(t: &Context) {
    let Some(page) = Page::new(t, BROWSER_TESTS) else {
        return;
    };
    t.xp(["build"]).timeout(TIMEOUT).success();
    t.assert_built("zfrontend", &page.repository.head());
    assert_eq!(
        names(&suite_of(t, "zfrontend")),
        ["test_button", "test_title"]
    );

    page.repository.commit(
        &[("index.html", &replaced(PAGE, "Greetings", "Farewell"))],
        "Another title",
    );
    let output = t.xp(["build"]).timeout(TIMEOUT).failure(1);
    output.stderr_contains("test_title");
    let image = format!("{}:{}", t.image("zfrontend"), page.repository.head());
    assert!(t.engine().image(&image).is_none(), "{image} exists");
    let suite = suite_of(t, "zfrontend");
    assert_eq!(suite["failures"], "1", "{suite}");
    assert!(
        suite.to_string().contains("what the page logged"),
        "{suite}"
    );
    let screenshot =
        ".xp/build/zfrontend/browser-reports/failed-browser-test-page.py-test-title.png";
    let screenshot = fs::read(t.dir().join(screenshot)).expect("a screenshot");
    assert_eq!(screenshot[1..4], *b"PNG");

    page.repository.commit(&[("crash", "")], "Crash");
    t.xp(["build"]).timeout(TIMEOUT).failure(1);
}

fn a_browser_is_a_sidecar(t: &Context) {
    // The commands of the page's manifest, with the calls of any WebDriver client.
    const NPM: &str = "#!/bin/sh\n[ \"$2\" = test:browser ] || exit 0\n\
        call() { wget -q -O - --header 'Content-Type: application/json' \"$@\"; }\n\
        driver=$SELENIUM_REMOTE_URL\n\
        session=$(call --post-data '{\"capabilities\":{}}' $driver/session | sed -n 's/.*\"sessionId\":\"\\([^\"]*\\)\".*/\\1/p')\n\
        call --post-data '{\"url\":\"http://zfrontend:8080\"}' $driver/session/$session/url\n\
        call $driver/session/$session/title | grep Greetings\n";
    let Some(page) = Page::new(t, BROWSER_SIDECAR) else {
        return;
    };
    let builder = format!("FROM {}\nCOPY npm /bin/npm\n", t.engine().busybox());
    t.write("builders/zfrontend/Dockerfile", &builder);
    t.write("builders/zfrontend/npm", NPM);
    t.xp(["build"]).timeout(TIMEOUT).success();
    t.assert_built("zfrontend", &page.repository.head());
    assert_eq!(t.containers(), [Value::Null; 0]);
    page.repository.commit(
        &[("index.html", &replaced(PAGE, "Greetings", "Farewell"))],
        "Another title",
    );
    let output = t.xp(["build"]).timeout(TIMEOUT).failure(1);
    output.stderr_contains("npm run test:browser` exited with 1");
}

/// A root of `bin/setup`, with the packages of some plugins.
struct Root {
    name: &'static str,
    image: OnceLock<String>,
}

static BROWSER: Root = Root::new("plugins-browser");
static JAVA: Root = Root::new("plugins-java");

impl Root {
    const fn new(name: &'static str) -> Self {
        Self {
            name,
            image: OnceLock::new(),
        }
    }

    /// Returns an image with the packages, in which installing them does nothing; `None` without root, and with
    /// Podman, where xp verifies no images.
    fn image(&self, t: &Context) -> Option<&str> {
        if !rustix::process::geteuid().is_root() || t.engine().product().is_podman() {
            return None;
        }
        Some(self.image.get_or_init(|| self.import(t)))
    }

    fn import(&self, t: &Context) -> String {
        const IMPORT: &str = "tar --create --directory \"$1\" --exclude=./usr/bin/apt-get --exclude=./var/cache/apt . \
            --directory \"$2\" usr/bin/apt-get | docker import --change 'CMD [\"/bin/sh\"]' - \"$3\"";
        let folder = std::env::var("XP_TEST_ENGINES").unwrap_or("target/engines".to_owned());
        let root = sources().join(folder).join(self.name);
        assert!(
            root.with_extension("recipe").exists(),
            "{} does not exist: create it with bin/test, or (. bin/setup && need_plugin_roots)",
            root.display()
        );
        let overlay = t.folder().join("overlay");
        write_file(&overlay.join("usr/bin/apt-get"), "#!/bin/sh\n");
        let name = format!("{}:1", t.image(self.name));
        t.program("sh", ["-ec", IMPORT, "sh"])
            .arg(&root)
            .arg(&overlay)
            .arg(&name)
            .timeout(TIMEOUT)
            .success();
        name
    }
}

/// The JVM starts slowly.
const VERIFIED: &str = "      verify:\n        - timeout 300 sh -c 'until wget -q -O out http://greeter:8080/Ada; do sleep 0.2; done'\n        \
    - grep -x 'Hello, Ada!' out\n      reports:\n";

const GREETER_TEST: &str = "examples/greeter/src/test/java/greeter/GreeterTest.java";

/// A platform with the sample that Maven and Gradle build. Its image is also tested.
struct Java<'t> {
    context: &'t Context,
    repository: GitRepository,
    root: &'t str,
}

impl<'t> Java<'t> {
    fn new(context: &'t Context) -> Option<Self> {
        let root = JAVA.image(context)?;
        copy_builder(context, "maven");
        copy_builder(context, "gradle");
        let repository = context.git_repo("greeter");
        let files = files_of("examples/greeter");
        let files: Vec<(&str, &str)> = files
            .iter()
            .map(|(path, text)| (path.as_str(), text.as_str()))
            .collect();
        repository.commit(&files, "Start");
        Some(Self {
            context,
            repository,
            root,
        })
    }

    /// Returns a manifest of the page, which also verifies the image.
    fn page(&self, index: usize) -> String {
        let text = manifest(self.context, index, "greeter", &self.repository, self.root);
        let text = replaced(
            &text,
            "    dockerBuilder:\n",
            &format!(
                "    dockerBuilder:\n      image: {}\n",
                self.context.engine().busybox()
            ),
        );
        replaced(&text, "      reports:\n", VERIFIED)
    }

    /// Returns the page's manifest for Maven, for this tool and a repository that exists here.
    fn manifest(&self, tool: &str, repository: &str) -> String {
        let text = self.page(MAVEN);
        let text = replaced(
            &text,
            "      build:\n        - plugin: builders/maven\n",
            &format!(
                "      build:\n        - plugin: builders/maven\n          with: {{repository: '{repository}'}}\n"
            ),
        );
        let tests = "            tasks: [test]\n";
        let text = replaced(
            &text,
            tests,
            &format!("{tests}            repository: '{repository}'\n"),
        );
        let reports = match tool {
            "maven" => "surefire-reports/*.xml",
            _ => "test-results/test/*.xml",
        };
        replaced(&text, "surefire-reports/*.xml", reports)
            .replace("builders/maven", &format!("builders/{tool}"))
    }
}

const PAGE: &str = "<title>Greetings</title><script>console.error('what the page logged')</script>\
    <button onclick=\"setTimeout(() => document.body.append(document.createElement('output')), 300)\">x</button>";

const PAGE_TEST: &str = "\
def test_button(browser, url):
    browser.get(url)
    browser.find_element('tag name', 'button').click()
    assert browser.find_element('tag name', 'output')


def test_title(browser, url):
    browser.get(url)
    assert browser.title == 'Greetings'
";

/// A platform with a service that serves a page.
struct Page {
    repository: GitRepository,
}

impl Page {
    /// Creates it, with a manifest of the page about the plugins.
    fn new(t: &Context, index: usize) -> Option<Self> {
        let root = BROWSER.image(t)?;
        copy_builder(t, "browser");
        let repository = t.git_repo("zfrontend");
        let dockerfile = format!(
            "ARG BASE\nFROM {}\nCOPY . /www\nCMD [ ! -e /www/crash ] && exec httpd -f -p 8080 -h /www\n",
            t.engine().busybox()
        );
        let files = [
            ("Dockerfile", dockerfile.as_str()),
            (".dockerignore", "browser*\n"),
            ("index.html", PAGE),
            ("browser/test_page.py", PAGE_TEST),
        ];
        repository.commit(&files, "Start");
        t.manifest(&manifest(t, index, "zfrontend", &repository, root));
        Some(Self { repository })
    }
}

/// Returns a manifest of the page with the repository, the image and the base of a test.
fn manifest(
    t: &Context,
    index: usize,
    service: &str,
    repository: &GitRepository,
    root: &str,
) -> String {
    let text = manifests().remove(index);
    let url = format!("https://git.example.com/x/{service}.git");
    let text = replaced(&text, &url, &repository.url_file());
    let args = format!("args: {{BASE: {root:?}}}");
    let text = replaced(
        &text,
        &format!("      image: {service}\n"),
        &format!("      image: {}\n      {args}\n", t.image(service)),
    );
    replaced(
        &text,
        "version: 1\n",
        &format!("version: 1\nbuilders: {{{args}}}\n"),
    )
}

/// Returns the manifests on the page about the plugins.
fn manifests() -> Vec<String> {
    let page = fs::read_to_string(sources().join("docs/plugin-catalog.md")).expect("the page");
    let blocks = page.split("```yaml\n").skip(1);
    blocks
        .filter_map(|rest| rest.split("```").next())
        .map(str::to_owned)
        .collect()
}

/// Replaces a text that must occur.
#[track_caller]
fn replaced(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "{text}\nhas no {from}");
    text.replace(from, to)
}

/// Copies a folder of `builders/`.
fn copy_builder(t: &Context, name: &str) {
    for (path, text) in files_of(&format!("builders/{name}")) {
        t.write(&format!("builders/{name}/{path}"), &text);
    }
}

/// Returns the files of a folder, by their path in it.
fn files_of(folder: &str) -> Vec<(String, String)> {
    let folder = sources().join(folder);
    let entries = walkdir::WalkDir::new(&folder).into_iter();
    let files = entries
        .map(|entry| entry.expect("a file").into_path())
        .filter(|path| path.is_file());
    let relative = |path: &Path| {
        let path = path.strip_prefix(&folder).expect("a path in the folder");
        path.to_str().expect("UTF-8").to_owned()
    };
    files
        .map(|path| (relative(&path), fs::read_to_string(&path).expect("a text")))
        .collect()
}

fn sources() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}
