//! `bin/bench`: compares xp with the alternatives, interleaved in the same run.
//!
//! `cargo test` runs every case at a tiny size, so that the benchmark itself keeps working.

mod cases;
mod measure;
mod page;
mod platform;
mod relay;
mod result;
mod size;
mod world;

use std::process::ExitCode;
use std::time::Instant;

use result::Case;
use size::Size;
use world::World;

/// Measures one case.
type Run = fn(&World) -> Case;

/// The cases, in the order of the documentation.
const CASES: &[(&str, Run)] = &[
    ("nothing", cases::nothing::run),
    ("unrelated", cases::unrelated::run),
    ("cold", cases::cold::run),
    ("changed", cases::changed::run),
    ("sync", cases::sync::run),
    ("refs", cases::refs::run),
    ("local", cases::local::run),
    ("start", cases::start::run),
    ("context", cases::context::run),
    ("planning", cases::planning::run),
    ("waiting", cases::waiting::run),
    ("sidecars", cases::sidecars::run),
    ("sources", cases::sources::run),
    ("watch", cases::watch::run),
    ("archive", cases::archive::run),
    ("steps", cases::steps::run),
    ("items", cases::items::run),
    ("clean", cases::clean::run),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // For callgrind, which counts the instructions of a process.
    if let [word, what, services, times] = &arguments[..]
        && word == cases::planning::ALONE
    {
        let number = |text: &String| text.parse().expect("a number");
        xp::testing::repeat(what, number(services), number(times));
        return ExitCode::SUCCESS;
    }
    if let [word, what, folder, archive] = &arguments[..]
        && word == cases::archive::ALONE
    {
        cases::archive::alone(what, folder, archive);
        return ExitCode::SUCCESS;
    }
    let is_bench = arguments.iter().any(|argument| argument == "--bench");
    if !is_bench {
        // Arguments are for the other tests.
        if arguments.is_empty() || arguments == ["bench"] {
            test();
        }
        return ExitCode::SUCCESS;
    }
    let mut size = Size::Full;
    let mut chosen = Vec::new();
    for argument in arguments.iter().filter(|it| *it != "--bench") {
        match argument.as_str() {
            "--quick" => size = Size::Quick,
            "--tiny" => size = Size::Tiny,
            name => match CASES.iter().find(|(case, _)| *case == name) {
                Some(case) => chosen.push(*case),
                None => {
                    let names: Vec<&str> = CASES.iter().map(|(name, _)| *name).collect();
                    eprintln!("bin/bench: there is no case `{name}`");
                    eprintln!(
                        "hint: the cases are {}; `--quick` measures less",
                        names.join(", ")
                    );
                    return ExitCode::from(2);
                }
            },
        }
    }
    if chosen.is_empty() {
        chosen = CASES.to_vec();
    }
    let world = World::start(size);
    let mut is_met = true;
    for (name, run) in chosen {
        eprintln!("{name}");
        let begun = Instant::now();
        let case = run(&world);
        is_met &= case.targets.iter().all(|target| target.is_met);
        let option = size.of(" --tiny", " --quick", "");
        let rendered = page::render(&case, &format!("bin/bench {name}{option}"));
        println!("{rendered}");
        eprintln!("{name} took {:.0} s", begun.elapsed().as_secs_f64());
        if size == Size::Full {
            page::write(&case, &rendered);
        }
    }
    if !is_met {
        eprintln!("bin/bench: not every target is met, see above");
    }
    ExitCode::SUCCESS
}

/// Runs every case at a tiny size and checks that the results are plausible.
fn test() {
    let begun = Instant::now();
    let names: Vec<&str> = CASES.iter().map(|(name, _)| *name).collect();
    page::check(&names);
    let world = World::start(Size::Tiny);
    for (name, run) in CASES {
        let case = run(&world);
        assert_eq!(case.name, *name);
        assert!(!case.tables.is_empty(), "{name} measured nothing");
        let rendered = page::render(&case, "bin/bench");
        for table in &case.tables {
            assert!(table.rows.len() > 1, "{name} compares nothing");
            for row in &table.rows {
                assert_eq!(row.len(), table.head.len(), "{name}: {row:?}");
            }
            assert!(rendered.contains(&table.title));
        }
    }
    println!(
        "bench: {} cases in a tiny size, {:.0} s",
        CASES.len(),
        begun.elapsed().as_secs_f64()
    );
}
