//! Full disks, read-only folders, and clocks that jump.
//!
//! A small disk is a tmpfs with a limited size and number of files, without a loop device, in a mount
//! namespace that ends with the test's script.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use walkdir::WalkDir;

use crate::app::App;
use crate::case::Case;
use crate::context::Context;
use crate::output::Output;
use crate::process::{self, succeed};
use crate::services::Services;
use crate::world::RegistryKind;

pub const CASES: &[Case] = cases![
    a_full_cache_disk_is_reported_and_a_rerun_recovers,
    exhausted_inodes_are_reported_and_a_rerun_recovers,
    a_full_platform_folder_loses_no_data,
    a_nearly_full_disk_is_a_warning,
    a_full_engine_disk_is_reported_and_a_rerun_recovers,
    read_only_commands_work_on_a_read_only_platform,
    clock_jumps_have_no_effect,
];

/// Runs a script in its own mount namespace, where `$disk` can become a small disk.
fn on_a_small_disk(t: &Context, disk: &Path, script: &str) -> Output {
    fs::create_dir_all(disk).expect("a folder");
    let mut run = t.program("unshare", ["--mount"]);
    if !rustix::process::geteuid().is_root() {
        run = run.args(["--user", "--map-current-user", "--keep-caps"]);
    }
    let script = format!(
        "set -u\ndisk='{}' xp='{}'\n{script}",
        disk.display(),
        env!("CARGO_BIN_EXE_xp")
    );
    run.args(["sh", "-c"])
        .arg(script)
        .timeout(Duration::from_secs(300))
        .run()
}

/// Builds on ever larger disks, each time first as it is and then with enough space.
///
/// `$1` is a tmpfs option with a number; the exit code of each run is printed. A run on a small disk either
/// fails with a message or succeeds; with enough space, it always succeeds.
const SWEEP: &str = r#"
for number in $numbers; do
    mount -t tmpfs -o "$option=$number" tmpfs "$disk" || exit 90
    prepare || { umount "$disk"; continue; }
    "$xp" build >out 2>err
    code=$?
    echo "$number: $code"
    case $code in
    0) [ -n "${seen-}" ] || { echo "no disk was too small" >&2; exit 91; } ;;
    1 | 3)
        seen=yes
        grep -q "No space left on device\|no space left on device\|os error 28\|disk is full" err ||
            { echo "$number: it does not say why:" >&2; cat out err >&2; exit 92; }
        ! grep -q "panicked\|RUST_BACKTRACE" err || { cat err >&2; exit 93; }
        ;;
    *) cat out err >&2; exit 94 ;;
    esac
    mount -o "remount,$option=$enough" "$disk" || exit 95
    "$xp" build >out 2>err || { echo "$number: then $?" >&2; cat out err >&2; exit 96; }
    check || { echo "$number: something is left" >&2; exit 97; }
    umount "$disk" || umount -l "$disk"
done
"#;

fn platform_with_weight(t: &Context) -> Services<'_> {
    let platform = Services::new(t, &["zbackend", "zfrontend"]);
    // A few hundred incompressible kilobytes in many files.
    let mut seed: u64 = 1;
    let mut text = || {
        let bytes = (0..3000).map(|_| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            char::from(b' ' + ((seed >> 33) % 94) as u8)
        });
        bytes.collect::<String>()
    };
    for service in ["zbackend", "zfrontend"] {
        let files: Vec<(String, String)> = (0..60)
            .map(|number| (format!("folder{}/file{number}", number % 7), text()))
            .collect();
        let files: Vec<(&str, String)> = files
            .iter()
            .map(|(path, text)| (path.as_str(), text.clone()))
            .collect();
        platform.commit(service, &files);
    }
    platform.manifest(&[]);
    platform
}

/// Asserts that a sweep finished, and met a disk that was too small.
#[track_caller]
fn assert_sweep_finished(output: &Output) {
    assert!(output.status.success(), "{output}");
    assert!(output.stdout.contains(": 0\n"), "{output}");
    let failures = output.stdout.lines().filter(|line| !line.ends_with(": 0"));
    assert!(failures.count() >= 2, "{output}");
}

fn a_full_cache_disk_is_reported_and_a_rerun_recovers(t: &Context) {
    let _platform = platform_with_weight(t);
    let script = format!(
        "export XP_CACHE_DIR=\"$disk/own\"\noption=size enough=64m numbers='4k 16k 64k 160k 320k 512k 4m'\n\
         prepare() {{ rm -rf src; {}; }}\ncheck() {{ {CHECK}; }}\n{SWEEP}",
        forget(t)
    );
    assert_sweep_finished(&on_a_small_disk(t, &t.folder().join("disk"), &script));
}

fn exhausted_inodes_are_reported_and_a_rerun_recovers(t: &Context) {
    let _platform = platform_with_weight(t);
    let script = format!(
        "export XP_CACHE_DIR=\"$disk/own\"\noption=nr_inodes enough=10000 numbers='3 4 6 12 24 48 90 2000'\n\
         prepare() {{ rm -rf src; {}; }}\ncheck() {{ {CHECK}; }}\n{SWEEP}",
        forget(t)
    );
    assert_sweep_finished(&on_a_small_disk(t, &t.folder().join("disk"), &script));
}

fn a_full_platform_folder_loses_no_data(t: &Context) {
    let platform = platform_with_weight(t);
    let repository = platform.repository("zbackend");
    let url = repository.url_file();
    // An outdated working copy with the user's changes is included.
    let mine = t.folder().join("mine");
    succeed(
        Command::new("git")
            .args(["clone", "--quiet", &url])
            .arg(&mine),
    );
    repository.commit(&[("folder0/file0", "changed\n"), ("new", "1\n")], "More");
    fs::write(mine.join("untracked"), "precious\n").expect("a file");
    let script = format!(
        "export XP_CACHE_DIR='{own}'\noption=size enough=64m numbers='700k 900k 1200k 1600k 2m 8m'\n\
         prepare() {{ rm -rf '{own}'; cp x-platform.yml \"$disk/\" && mkdir \"$disk/src\" &&\n\
         cp -a '{mine}' \"$disk/src/zbackend\" 2>/dev/null && cd \"$disk\" && {}; }}\n\
         check() {{ [ precious = \"$(cat src/zbackend/untracked)\" ] && git -C src/zbackend fsck --no-progress --connectivity-only >/dev/null &&\n\
         [ '?? untracked' = \"$(git -C src/zbackend status --porcelain)\" ] && {CHECK} && cd '{home}'; }}\n{SWEEP}",
        forget(t),
        own = t.folder().join("own").display(),
        mine = mine.display(),
        home = t.dir().display(),
    );
    assert_sweep_finished(&on_a_small_disk(t, &t.folder().join("disk"), &script));
}

/// Leftovers that must not remain after a run without enough space.
const CHECK: &str = "[ -z \"$(ls -A \"$XP_CACHE_DIR/clone\" 2>/dev/null)\" ] && \
     [ -z \"$(find . \"$XP_CACHE_DIR\" -name '.*.new' -o -name index.lock -o -name '.xp-*' -o -name 'tmp_*' -o -name '*_git2_*')\" ]";

/// Returns a command that removes the test's images from the engine, so they are rebuilt.
fn forget(t: &Context) -> String {
    format!(
        "docker image ls --quiet --filter reference='{}/*' | sort -u | xargs -r docker image rm --force >/dev/null 2>&1; true",
        t.prefix()
    )
}

fn a_nearly_full_disk_is_a_warning(t: &Context) {
    let _platform = platform_with_weight(t);
    let script = r#"
export XP_CACHE_DIR="$disk/own"
for size in 64m 4g; do
    mount -t tmpfs -o "size=$size" tmpfs "$disk" || exit 90
    echo "$size:" >&2
    "$xp" build --force || exit 91
    umount "$disk" || umount -l "$disk"
done
"#;
    let output = on_a_small_disk(t, &t.folder().join("disk"), script);
    assert!(output.status.success(), "{output}");
    let (small, large) = output.stderr.split_once("4g:").expect("two builds");
    let warning = "warning: the file system of own has ";
    let advice = " MiB free; `xp clean --engine --cache` shows what can be removed";
    let line = small.lines().find(|line| line.starts_with(warning));
    assert!(line.is_some_and(|line| line.ends_with(advice)), "{output}");
    assert!(!large.contains(warning), "{output}");
}

fn a_full_engine_disk_is_reported_and_a_rerun_recovers(t: &Context) {
    let folder = t.engine_folder();
    fs::create_dir(&folder).expect("a folder");
    if !rustix::process::geteuid().is_root() {
        // Only root can run an engine with a disk that a test can fill.
        return;
    }
    let disk = MountedDisk::new(&folder, "size=48m");
    let engine = t.own_engine_in(&folder);
    let registry = t.own_registry(RegistryKind::Open);
    let app = App::new(t, &[], "");
    let script = format!(
        "dockerBuilder: {{ image: {}, network: none, cache: [/cache] }}\nscripts: {{ build: [\"head -c 60000000 /dev/zero > large\"] }}",
        engine.busybox()
    );
    app.set_keys(&script);
    t.manifest(&format!(
        "registry: {}\n{}",
        registry.host(),
        t.read("x-platform.yml")
    ));
    let build = || app.build().env("DOCKER_HOST", engine.host());
    let output = build().failure(1);
    let output = output
        .stderr_contains("o space left on device")
        .stderr_contains("hint: free some space");
    assert!(engine.containers(&[]).is_empty(), "{output}");
    disk.resize("size=512m");
    let again = build().run();
    assert!(again.status.success(), "{output}\nthen {again}");
    assert!(engine.containers(&[]).is_empty(), "{again}");
    assert_eq!(registry.tags(&app.image()).len(), 2);
    engine.stop();
}

/// A small disk visible to the whole machine, so an engine can use it; unmounted when dropped.
struct MountedDisk<'p>(&'p Path);

impl<'p> MountedDisk<'p> {
    fn new(path: &'p Path, options: &str) -> Self {
        succeed(
            Command::new("mount")
                .args(["-t", "tmpfs", "-o", options, "tmpfs"])
                .arg(path),
        );
        Self(path)
    }

    fn resize(&self, options: &str) {
        let options = format!("remount,{options}");
        succeed(Command::new("mount").args(["-o", &options]).arg(self.0));
    }
}

impl Drop for MountedDisk<'_> {
    fn drop(&mut self) {
        process::run(Command::new("umount").arg("--lazy").arg(self.0));
    }
}

fn read_only_commands_work_on_a_read_only_platform(t: &Context) {
    let platform = platform_with_weight(t);
    t.xp(["build", "zbackend"]).success();
    platform.commit("zbackend", &[("new", "2\n".to_owned())]);
    let script = r#"
mount --bind . . && mount -o remount,ro,bind . && cd "$PWD" || exit 90
echo "plan:"; "$xp" plan || exit 91
echo "status:"; "$xp" status || exit 92
echo "why:"; "$xp" why zbackend || exit 93
echo "lock:"; "$xp" lock; echo "lock $?"
echo "sync:"; "$xp" sync; echo "sync $?"
echo "build:"; "$xp" build; echo "build $?"
"#;
    let before = succeed(
        Command::new("find")
            .arg(t.dir())
            .args(["-printf", "%P %T@ %s\n"]),
    );
    let output = on_a_small_disk(t, &t.folder().join("disk"), script);
    assert!(output.status.success(), "{output}");
    let output = output
        .stdout_contains("  image      docker build .xp/build/zbackend")
        .stdout_contains("master, not fetched")
        .stdout_contains("build 3")
        .stdout_contains("sync 3")
        .stdout_contains("lock 3");
    let folder = t.dir().display().to_string();
    assert!(
        output.stderr.matches("Read-only file system").count() >= 3,
        "{output}"
    );
    assert!(
        output
            .stderr
            .contains(&format!("error: cannot lock {folder}/.xp/lock")),
        "{output}"
    );
    assert!(!output.stderr.contains("panicked"), "{output}");
    let after = succeed(
        Command::new("find")
            .arg(t.dir())
            .args(["-printf", "%P %T@ %s\n"]),
    );
    assert_eq!(after, before);
}

fn clock_jumps_have_no_effect(t: &Context) {
    let platform = platform_with_weight(t);
    t.xp(["build"]).success();
    let day = Duration::from_secs(24 * 3600);
    let now = SystemTime::now();
    for (round, time) in [now + 3650 * day, SystemTime::UNIX_EPOCH + day, now]
        .into_iter()
        .enumerate()
    {
        // Simulates a wrong clock.
        for entry in WalkDir::new(t.dir()).into_iter().flatten() {
            if entry.file_type().is_file()
                && let Ok(file) = fs::File::options().append(true).open(entry.path())
            {
                file.set_modified(time).expect("a time");
            }
        }
        t.xp(["plan"]).success().stdout_contains("Nothing to do");
        t.xp(["status"]).success();
        platform.commit("zbackend", &[("new", format!("{round}\n"))]);
        let built = t.xp(["build"]).success();
        assert!(built.row("zbackend").contains(" built "), "{built}");
        assert!(built.row("zfrontend").contains(" skipped "), "{built}");
        assert_eq!(t.read("src/zbackend/new"), format!("{round}\n"));
        // An edit of the same length, with an old timestamp.
        let edited = t.dir().join("src/zfrontend/folder0/file0");
        let text = fs::read_to_string(&edited).expect("a file");
        let other = format!("{round}{}", &text[1..]);
        fs::write(&edited, other).expect("a file");
        let file = fs::File::options()
            .append(true)
            .open(&edited)
            .expect("a file");
        file.set_modified(time + Duration::from_secs(1))
            .expect("a time");
        let local = t.xp(["build", "--local", "zfrontend"]).success();
        assert!(local.row("zfrontend").contains(" built "), "{local}");
        fs::write(&edited, &text).expect("a file");
        // The commit's image gets the branch's name again.
        t.xp(["build"]).success();
    }
    // The newest run is the one with the highest number, regardless of the clock.
    t.xp(["logs"])
        .success()
        .stdout_contains("master in the engine");
}
