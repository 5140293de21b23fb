//! The decisions alone, without any server.

use std::hint::black_box;
use std::time::{Duration, Instant};

use crate::measure::median;
use crate::result::{Case, Table, Target, time};
use crate::size::Size;
use crate::world::World;
use xp::testing::{Known, manifest, read};

/// The argument that makes this program run one operation and exit.
pub const ALONE: &str = "--alone";

/// Measures parsing a manifest and planning.
pub fn run(world: &World) -> Case {
    let sizes: [usize; 2] = world.size().of([10, 20], [1000, 10_000], [1000, 10_000]);
    let rounds = world.size().of(1, 9, 25);
    let mut rows = Vec::new();
    let mut targets = Vec::new();
    for size in sizes {
        let text = manifest(size);
        let unbuilt = Known::new(size, false);
        let built = Known::new(size, true);
        assert_eq!(built.planning()().work(), 0, "there is nothing to do");
        let mut times = [const { Vec::new() }; 3];
        for _ in 0..rounds {
            times[0].push(timed(|| read(&text)));
            for (known, times) in [&unbuilt, &built].into_iter().zip(&mut times[1..]) {
                times.push(timed(known.planning()));
            }
        }
        let what = [
            ("read", "read the manifest"),
            ("everything", "plan to build everything"),
            ("nothing", "plan with nothing to do"),
        ];
        for (index, (word, what)) in what.into_iter().enumerate() {
            let middle = median(times[index].iter().copied());
            let least = times[index].iter().min().copied().unwrap_or_default();
            let most = times[index].iter().max().copied().unwrap_or_default();
            // One is enough in a test.
            let is_counted = world.size() != Size::Tiny || (size == sizes[0] && index == 0);
            let counted = is_counted
                .then(|| instructions(world, word, size))
                .flatten();
            rows.push(vec![
                format!("{size} services: {what}"),
                time(middle),
                format!("{}–{}", time(least), time(most)),
                counted.map_or_else(|| "–".to_owned(), millions),
            ]);
            if size == 10_000 && index > 0 {
                let milliseconds = middle.as_secs_f64() * 1000.0;
                let text = format!("10,000 services, {what}: under 100 ms");
                targets.push(Target::at_most(text, milliseconds, 100.0, "ms"));
            }
        }
    }
    Case {
        name: "planning",
        title: "(i) Planning alone",
        setup: "Remotes, registry and engine are simulated, so only planning is measured: draft, recipes, decisions, all steps. \
                Instructions are counted by `valgrind --tool=callgrind`."
            .to_owned(),
        tables: vec![Table {
            title: "In process".to_owned(),
            head: vec!["", "median", "spread", "instructions"],
            rows,
        }],
        targets,
    }
}

fn timed<T>(work: impl FnOnce() -> T) -> Duration {
    let begun = Instant::now();
    let made = black_box(work());
    let time = begun.elapsed();
    drop(made);
    time
}

/// Counts the instructions of one operation; `None` without valgrind.
fn instructions(world: &World, what: &str, services: usize) -> Option<u64> {
    let program = std::env::current_exe().ok()?;
    let count = |times: &str| -> Option<u64> {
        let mut valgrind = world.command("valgrind");
        valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
        valgrind
            .arg(&program)
            .args([ALONE, what, &services.to_string(), times]);
        let output = valgrind.output().ok()?;
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        let line = text
            .lines()
            .find_map(|line| line.split_once("Collected :"))?;
        line.1.trim().parse().ok()
    };
    count("2")?.checked_sub(count("1")?)
}

fn millions(count: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let count = count as f64 / 1e6;
    format!("{} million", crate::result::number(count))
}
