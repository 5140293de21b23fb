//! Compares each result with that of `git log`.

use std::path::Path;
use std::process::Command;

use tokio_util::sync::CancellationToken;

use super::*;
use crate::client::git::Opened;

/// Parses the arguments of `git log` after `--`.
fn selection(set: &[&str]) -> PathSelection {
    let exclude = |argument: &&str| argument.strip_prefix(":(exclude)").map(str::to_owned);
    let paths = set.iter().filter(|it| **it != "." && exclude(it).is_none());
    PathSelection {
        paths: paths.map(|path| (*path).to_owned()).collect(),
        exclude: set
            .iter()
            .filter_map(|it| Some(exclude(it)?.parse().unwrap()))
            .collect(),
        only: None,
    }
}

/// A repository built with the git command, so that results can be compared with git's.
struct RandomHistory {
    folder: tempfile::TempDir,
    clock: std::cell::Cell<u64>,
}

impl RandomHistory {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = std::cell::Cell::new(1_700_000_000);
        let history = Self { folder, clock };
        history.git(&["init", "-q", "-b", "master", "."]);
        history
    }

    fn git(&self, arguments: &[&str]) -> String {
        self.try_git(arguments)
            .unwrap_or_else(|text| panic!("{arguments:?}: {text}"))
    }

    fn try_git(&self, arguments: &[&str]) -> Result<String, String> {
        let time = format!("{} +0000", self.clock.get());
        self.clock.set(self.clock.get() + 1);
        let output = Command::new("git")
            .current_dir(self.folder.path())
            .args(arguments)
            .env("GIT_AUTHOR_DATE", &time)
            .env("GIT_COMMITTER_DATE", &time)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_AUTHOR_NAME", "T")
            .env("GIT_AUTHOR_EMAIL", "t@example.com")
            .env("GIT_COMMITTER_NAME", "T")
            .env("GIT_COMMITTER_EMAIL", "t@example.com")
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        if output.status.success() {
            Ok(text)
        } else {
            Err(format!("{text}{}", String::from_utf8_lossy(&output.stderr)))
        }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        std::fs::write(self.path(name), text).unwrap();
    }

    fn commit(&self, message: &str) -> CommitId {
        self.git(&["add", "--all"]);
        self.git(&["commit", "-q", "--allow-empty", "-m", message]);
        self.head()
    }

    fn head(&self) -> CommitId {
        self.git(&["rev-parse", "HEAD"]).parse().unwrap()
    }

    /// Imports a stream of `git fast-import`.
    fn import(&self, stream: &str) {
        std::fs::write(self.path("stream"), stream).unwrap();
        let stream = std::fs::File::open(self.path("stream")).unwrap();
        let mut import = Command::new("git");
        let import = import.args(["fast-import", "--quiet"]).stdin(stream);
        let imported = import.current_dir(self.path("")).status().unwrap();
        assert!(imported.success());
    }

    fn query(&self, requests: &[PathsAt]) -> Vec<LastTouch> {
        let Opened::WorkingCopy(working_copy) = WorkingCopy::open(self.folder.path()).unwrap()
        else {
            panic!("no working copy")
        };
        let watch = OperationContext {
            progress: &|_| (),
            cancel: &CancellationToken::new(),
        };
        working_copy.last_touched(requests, &watch).unwrap()
    }

    /// Compares the results for all sets at all commits with git's, in one walk and in separate walks.
    fn check(&self, tips: &[&str], sets: &[&[&str]]) {
        let mut requests = Vec::new();
        let mut expected = Vec::new();
        for tip in tips {
            let tip = self.git(&["rev-parse", tip]);
            for set in sets {
                requests.push(PathsAt {
                    tip: tip.parse().unwrap(),
                    selection: selection(set),
                });
                let log = [&["log", "-1", "--format=%H", &tip, "--"][..], set].concat();
                let output = self.git(&log);
                expected.push(match output.as_str() {
                    "" => LastTouch::Never,
                    commit => LastTouch::Commit(commit.parse().unwrap()),
                });
            }
        }
        let found = self.query(&requests);
        for (number, request) in requests.iter().enumerate() {
            assert_eq!(found[number], expected[number], "{request:?}");
        }
        for (request, expected) in requests.iter().zip(&expected) {
            assert_eq!(
                self.query(std::slice::from_ref(request))[0],
                *expected,
                "{request:?}"
            );
        }
    }
}

#[test]
fn linear_history_with_every_kind_of_change() {
    let history = RandomHistory::new();
    history.write("a/one", "1");
    history.write("b/one", "1");
    history.write("b.txt", "1");
    history.write("deep/x/y/file", "1");
    history.commit("begin");
    let commit_change = |message: &str, change: &dyn Fn()| {
        change();
        history.commit(message);
    };
    commit_change("change", &|| history.write("a/one", "2"));
    commit_change("sibling", &|| history.write("b.txt", "2"));
    commit_change("rename into", &|| {
        history.git(&["mv", "b/one", "a/two"]);
    });
    commit_change("delete", &|| {
        history.git(&["rm", "-rq", "a"]);
    });
    commit_change("nothing", &|| ());
    commit_change("again", &|| history.write("a/one", "2"));
    commit_change("mode", &|| {
        history.git(&["update-index", "--chmod=+x", "a/one"]);
        history.git(&["commit", "-q", "-m", "mode alone"]);
        history.git(&["checkout", "-q", "--", "."]);
    });
    commit_change("file for a folder", &|| {
        history.git(&["rm", "-rq", "deep"]);
        history.write("deep", "a file");
    });
    commit_change("folder for a file", &|| {
        std::fs::remove_file(history.path("deep")).unwrap();
        history.write("deep/x/y/file", "1");
    });
    commit_change("a submodule comes", &|| {
        let id = history.git(&["rev-parse", "HEAD~2"]);
        let entry = format!("160000,{id},a/sub");
        history.git(&["update-index", "--add", "--cacheinfo", &entry]);
        history.git(&["commit", "-q", "-m", "submodule"]);
        std::fs::create_dir_all(history.path("a/sub")).unwrap();
    });
    commit_change("a link", &|| {
        std::os::unix::fs::symlink("a", history.path("link")).unwrap();
    });
    let sets: &[&[&str]] = &[
        &["a"],
        &["b"],
        &["b.txt"],
        &["deep"],
        &["deep/x"],
        &["deep/x/y/file"],
        &["a", "b.txt"],
        &["a/sub"],
        &["a/one"],
        &["link"],
        &["nowhere"],
        &["a", "nowhere"],
        &["b", "deep/x"],
    ];
    let count: usize = history
        .git(&["rev-list", "--count", "HEAD"])
        .parse()
        .unwrap();
    let tips: Vec<String> = (0..count).map(|n| format!("HEAD~{n}")).collect();
    let tips: Vec<&str> = tips.iter().map(String::as_str).collect();
    history.check(&tips, sets);
}

#[test]
fn merges_of_every_kind() {
    let history = RandomHistory::new();
    for folder in ["a", "b", "c", "shared/lib"] {
        history.write(&format!("{folder}/file"), "1");
    }
    history.commit("begin");
    for (branch, folder) in [("one", "a"), ("two", "b"), ("three", "c")] {
        history.git(&["switch", "-q", "-c", branch, "master"]);
        history.write(&format!("{folder}/file"), branch);
        history.commit(branch);
    }
    history.git(&["switch", "-q", "master"]);
    history.git(&["merge", "-q", "--no-ff", "-m", "merge", "one"]);
    history.git(&["merge", "-q", "--no-ff", "-m", "octopus", "two", "three"]);
    history.check(
        &["HEAD"],
        &[&["a"], &["b"], &["c"], &["a", "b"], &["shared"]],
    );

    // An evil merge contains a change that is in none of its parents.
    history.git(&["switch", "-q", "-c", "four"]);
    history.write("a/file", "four");
    history.commit("four");
    history.git(&["switch", "-q", "master"]);
    history.write("b/file", "five");
    history.commit("five");
    history.git(&["merge", "-q", "--no-ff", "--no-commit", "four"]);
    history.write("shared/lib/file", "evil");
    let evil = history.commit("evil merge");
    let response = history.query(&[PathsAt {
        tip: evil,
        selection: selection(&["shared"]),
    }]);
    assert_eq!(response, [LastTouch::Commit(evil)]);

    // The same change on both sides, and a merge with `-s ours`.
    history.git(&["switch", "-q", "-c", "six"]);
    history.write("c/file", "same");
    history.commit("six");
    history.git(&["switch", "-q", "master"]);
    history.write("c/file", "same");
    history.commit("seven");
    history.write("a/file", "lost");
    history.commit("eight");
    history.git(&["merge", "-q", "--no-ff", "-s", "ours", "-m", "ours", "six"]);
    history.git(&["switch", "-q", "-c", "nine", "six"]);
    history.git(&[
        "merge",
        "-q",
        "--no-ff",
        "-s",
        "ours",
        "-m",
        "other ours",
        "master",
    ]);
    // A path from a branch with an unrelated history.
    history.git(&["switch", "-q", "--orphan", "elsewhere"]);
    history.write("d/file", "1");
    history.commit("a second root");
    history.git(&["switch", "-q", "master"]);
    history.git(&[
        "merge",
        "-q",
        "--allow-unrelated-histories",
        "-m",
        "roots",
        "elsewhere",
    ]);
    let sets: &[&[&str]] = &[
        &["a"],
        &["b"],
        &["c"],
        &["d"],
        &["a", "b"],
        &["a", "c"],
        &["b", "c", "d"],
        &["shared/lib"],
        &["shared", "a"],
        &["nowhere"],
    ];
    history.check(
        &["master", "nine", "six", "elsewhere", "master~1", "master^2"],
        sets,
    );
}

/// A deterministic pseudo-random number generator.
struct PseudoRandom(u64);

impl PseudoRandom {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        ((self.0 >> 33) as usize) % limit
    }
}

#[test]
fn generated_histories_with_clock_skew() {
    for seed in 1..=4 {
        let mut numbers = PseudoRandom(seed);
        let history = RandomHistory::new();
        // `fast-import` builds a history of any shape in one process.
        let mut text = String::new();
        let commits = 120;
        for number in 1..=commits {
            let time = 1_600_000_000 + numbers.below(5000);
            text.push_str(&format!(
                "commit refs/heads/c{number}\nmark :{number}\ncommitter T <t@example.com> {time} +0000\ndata 1\nx\n"
            ));
            if number > 1 {
                let mut parents = vec![number - 1 - numbers.below(3.min(number - 1))];
                for _ in 0..[0, 0, 1, 1, 2][numbers.below(5)] {
                    let other = 1 + numbers.below(number - 1);
                    if !parents.contains(&other) {
                        parents.push(other);
                    }
                }
                for (index, parent) in parents.iter().enumerate() {
                    let word = if index == 0 { "from" } else { "merge" };
                    text.push_str(&format!("{word} :{parent}\n"));
                }
            }
            for _ in 0..numbers.below(3) {
                let folder = ["a", "b", "c/d", "c/e", "f"][numbers.below(5)];
                let name = ["x", "y", "z/w"][numbers.below(3)];
                if numbers.below(4) == 0 {
                    text.push_str(&format!("D {folder}\n"));
                } else {
                    let mode = ["100644", "100755"][numbers.below(2)];
                    let content = numbers.below(3);
                    text.push_str(&format!(
                        "M {mode} inline {folder}/{name}\ndata 1\n{content}\n"
                    ));
                }
            }
        }
        history.import(&text);
        let tips: Vec<String> = (0..6).map(|n| format!("c{}", commits - n * 7)).collect();
        let tips: Vec<&str> = tips.iter().map(String::as_str).collect();
        let sets: &[&[&str]] = &[
            &["a"],
            &["b"],
            &["c"],
            &["c/d"],
            &["c/e"],
            &["f"],
            &["a", "b"],
            &["c/d", "f"],
            &["a/z"],
            &["a", "c/e", "f"],
        ];
        history.check(&tips, sets);
    }
}

/// Sets of paths and patterns, as arguments of `git log`.
const EXCLUDING: &[&[&str]] = &[
    &[".", ":(exclude)docs"],
    &[".", ":(exclude)docs", ":(exclude)*.md"],
    &[".", ":(exclude)*.md"],
    &[".", ":(exclude)svc/a", ":(exclude)svc/b"],
    &[".", ":(exclude)do*"],
    &[".", ":(exclude)*/docs/*"],
    &[".", ":(exclude)svc/?/docs"],
    &[".", ":(exclude)s[tuv]c*"],
    &[".", ":(exclude)README.md", ":(exclude)nowhere"],
    &["svc/a", ":(exclude)svc/a/docs"],
    &["svc/a", ":(exclude)*.md"],
    &["svc/a", "lib", ":(exclude)svc/a/docs", ":(exclude)*.md"],
    &["svc/b", ":(exclude)svc/*/docs/*"],
    &["lib", "docs", ":(exclude)docs/guide"],
    &["svc", ":(exclude)svc/a", ":(exclude)*[a-m].md"],
    &["svc/a"],
    &["."],
];

/// The files of a commit: mode and content by path.
type Files = BTreeMap<String, (&'static str, usize)>;

/// Adds a file, in place of files and folders that are in the way.
fn put(files: &mut Files, path: &str, file: (&'static str, usize)) {
    let below = format!("{path}/");
    files.retain(|other, _| !other.starts_with(&below) && !path.starts_with(&format!("{other}/")));
    files.insert(path.to_owned(), file);
}

/// Makes random changes: new and changed files, modes, deletions, renames of folders, and files in place of folders.
fn change(numbers: &mut PseudoRandom, files: &mut Files) {
    const FOLDERS: [&str; 8] = [
        "",
        "docs/",
        "docs/guide/",
        "svc/a/",
        "svc/a/docs/",
        "svc/b/",
        "svc/b/docs/",
        "lib/",
    ];
    let folder = FOLDERS[numbers.below(FOLDERS.len())];
    let name = ["README.md", "x", "y.md", "z.md/w", "docs"][numbers.below(5)];
    let path = format!("{folder}{name}");
    match numbers.below(8) {
        0 => drop(files.remove(&path)),
        1 => files.retain(|path, _| !path.starts_with(folder)),
        2 => {
            let to = FOLDERS[numbers.below(FOLDERS.len())];
            let moved: Vec<String> = files.keys().cloned().collect();
            for from in moved.iter().filter(|path| path.starts_with(folder)) {
                if let Some(file) = files.remove(from) {
                    put(files, &format!("{to}{}", &from[folder.len()..]), file);
                }
            }
        }
        _ => {
            let mode = ["100644", "100755", "100644"][numbers.below(3)];
            put(files, &path, (mode, numbers.below(3)));
        }
    }
}

/// Generates a history for `git fast-import`, with merges of any kind, reverts, and several roots.
fn generate(numbers: &mut PseudoRandom, commits: usize) -> String {
    let mut text = String::new();
    let mut trees: Vec<Files> = vec![Files::new()];
    for number in 1..=commits {
        let time = 1_600_000_000 + numbers.below(5000);
        text.push_str(&format!(
            "commit refs/heads/c{number}\nmark :{number}\ncommitter T <t@example.com> {time} +0000\ndata 1\nx\n"
        ));
        let mut parents = Vec::new();
        if number > 1 && numbers.below(25) > 0 {
            parents.push(number - 1 - numbers.below(3.min(number - 1)));
            for _ in 0..[0, 0, 1, 1, 2][numbers.below(5)] {
                let other = 1 + numbers.below(number - 1);
                if !parents.contains(&other) {
                    parents.push(other);
                }
            }
        }
        for (index, parent) in parents.iter().enumerate() {
            let word = if index == 0 { "from" } else { "merge" };
            text.push_str(&format!("{word} :{parent}\n"));
        }
        let mut files = parents
            .first()
            .map_or(Files::new(), |it| trees[*it].clone());
        for other in parents.iter().skip(1) {
            match numbers.below(4) {
                // Take over one side, or all files of both.
                0 => files.clone_from(&trees[*other]),
                1 => {}
                _ => {
                    for (path, file) in &trees[*other] {
                        put(&mut files, path, *file);
                    }
                }
            }
        }
        match numbers.below(8) {
            0 => files.clone_from(&trees[numbers.below(number)]),
            changes => (0..changes % 4).for_each(|_| change(numbers, &mut files)),
        }
        text.push_str("deleteall\n");
        for (path, (mode, content)) in &files {
            text.push_str(&format!("M {mode} inline {path}\ndata 1\n{content}\n"));
        }
        trees.push(files);
    }
    text
}

#[test]
fn excluded_files_do_not_count_in_generated_histories() {
    let time = std::time::UNIX_EPOCH.elapsed().unwrap();
    let seeds = match option_env!("XP_HISTORY_SEED") {
        Some(seed) => vec![seed.parse().unwrap()],
        None => (0..5).map(|n| time.as_nanos() as u64 + n).collect(),
    };
    for seed in seeds {
        eprintln!("XP_HISTORY_SEED={seed}");
        let mut numbers = PseudoRandom(seed);
        let history = RandomHistory::new();
        let commits = 100;
        history.import(&generate(&mut numbers, commits));
        let tips: Vec<String> = (0..8).map(|n| format!("c{}", commits - n * 6)).collect();
        let tips: Vec<&str> = tips.iter().map(String::as_str).collect();
        history.check(&tips, EXCLUDING);
    }
}

#[test]
fn a_merge_with_the_content_of_a_parent_is_that_parent() {
    let history = RandomHistory::new();
    history.write("main.c", "1");
    history.write("README.md", "1");
    let begin = history.commit("begin");
    history.git(&["switch", "-q", "-c", "topic"]);
    history.write("main.c", "2");
    let topic = history.commit("topic");
    history.git(&["switch", "-q", "master"]);
    history.write("README.md", "2");
    let readme = history.commit("only docs");
    history.git(&["merge", "-q", "--no-ff", "-m", "merge", "topic"]);
    let merge = history.head();
    let at = |tip, set: &[&str]| PathsAt {
        tip,
        selection: selection(set),
    };
    let set = [".", ":(exclude)*.md"];
    assert_eq!(
        history.query(&[at(merge, &set), at(readme, &set), at(merge, &["."])]),
        [topic, begin, merge].map(LastTouch::Commit)
    );
}

#[test]
fn the_boundary_of_a_shallow_clone_is_unknown() {
    let history = RandomHistory::new();
    history.write("a/file", "1");
    history.write("b/file", "1");
    history.commit("begin");
    history.write("b/file", "2");
    let second = history.commit("second");
    let shallow = RandomHistory::new();
    let url = format!("file://{}", history.folder.path().display());
    shallow.git(&["fetch", "-q", "--depth=2", &url, "HEAD"]);
    shallow.git(&["reset", "-q", "--hard", "FETCH_HEAD"]);
    let at = |paths: &str| PathsAt {
        tip: second,
        selection: selection(&[paths]),
    };
    let all = [at("b"), at("a")];
    let answers = shallow.query(&all);
    assert_eq!(answers[0], LastTouch::Commit(second));
    assert!(
        matches!(answers[1], LastTouch::Commit(_)),
        "the root commit is present"
    );

    shallow.git(&["fetch", "-q", "--depth=1", &url, "HEAD"]);
    shallow.git(&["reset", "-q", "--hard", "FETCH_HEAD"]);
    assert!(Path::new(&shallow.path(".git/shallow")).exists());
    assert_eq!(shallow.query(&all), [LastTouch::BeyondHistory; 2]);
}
