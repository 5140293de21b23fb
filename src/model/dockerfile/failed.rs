//! The instruction at which a build failed.

use super::{Dockerfile, Instruction};

/// The instruction at which a build failed, as the builder reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FailedInstruction {
    /// A line of the Dockerfile.
    Line(usize),
    /// The step that was started last.
    Step {
        /// The number of its stage, from 1, if the number of the step counts within it.
        stage: Option<usize>,
        /// The number of the step, from 1.
        number: usize,
        /// The keyword of its instruction.
        keyword: String,
    },
    /// A step of BuildKit.
    Vertex {
        /// The name of its stage, if there are several.
        stage: Option<String>,
        /// The number of the step among those of the stage that change files, from 1.
        number: usize,
        /// How many such steps the stage has.
        total: usize,
        /// The instruction, with variables expanded.
        instruction: String,
    },
}

impl FailedInstruction {
    /// Parses the line that announces a step: `Step 2/5 : RUN make` of the classic builder, and `STEP 2/5: RUN make` or
    /// `[1/2] STEP 2/5: RUN make` of Podman.
    pub fn started(line: &str) -> Option<Self> {
        if let Some(rest) = line.strip_prefix("Step ") {
            let (number, instruction) = rest.split_once(" : ")?;
            return Self::step(None, number, instruction);
        }
        let (stage, rest) = match line.strip_prefix('[') {
            Some(rest) => {
                let (stage, rest) = rest.split_once("] ")?;
                (position(stage)?, rest)
            }
            None => (1, line),
        };
        let (number, instruction) = rest.strip_prefix("STEP ")?.split_once(": ")?;
        Self::step(Some(stage), number, instruction)
    }

    /// Parses the name of a step of BuildKit: `[2/5] RUN make`, or `[build 2/5] RUN make` in one of several stages.
    pub fn vertex(name: &str) -> Option<Self> {
        let (inside, instruction) = name.strip_prefix('[')?.split_once("] ")?;
        let mut words = inside.split_whitespace().rev();
        let (number, total) = words.next()?.split_once('/')?;
        // With several platforms, that of the step precedes its stage.
        let stage = words.next().filter(|word| !word.contains('/'));
        Some(Self::Vertex {
            stage: stage.map(str::to_owned),
            number: number.parse().ok()?,
            total: total.parse().ok()?,
            instruction: instruction.to_owned(),
        })
    }

    /// Returns the line that an error of the parser names.
    pub fn in_message(message: &str) -> Option<Self> {
        let lower = message.to_lowercase();
        let (_, rest) = lower.split_once("dockerfile parse error ")?;
        let rest = rest.strip_prefix("on ").unwrap_or(rest);
        let digits = rest.strip_prefix("line ")?;
        let end = digits.find(|c: char| !c.is_ascii_digit());
        let number = digits[..end.unwrap_or(digits.len())].parse();
        number.ok().map(Self::Line)
    }

    fn step(stage: Option<usize>, number: &str, instruction: &str) -> Option<Self> {
        Some(Self::Step {
            stage,
            number: position(number)?,
            keyword: instruction.split_whitespace().next()?.to_ascii_uppercase(),
        })
    }

    /// Returns its line in the Dockerfile, if it can be found.
    pub fn line(&self, dockerfile: &str) -> Option<usize> {
        let (stage, number, keyword) = match self {
            Self::Line(line) => return Some(*line).filter(|line| *line > 0),
            Self::Vertex {
                stage,
                number,
                total,
                instruction,
            } => return line_of_vertex(dockerfile, stage.as_deref(), *number, *total, instruction),
            Self::Step {
                stage,
                number,
                keyword,
            } => (stage, number.checked_sub(1)?, keyword),
        };
        let instructions = Dockerfile::parse(dockerfile).instructions;
        let first = match stage {
            // The classic builder counts all instructions.
            None => 0,
            Some(stage) => {
                let mut instructions = instructions.iter().enumerate();
                let mut stages = instructions.by_ref().filter(|(_, it)| it.keyword == "FROM");
                stages.nth(stage.checked_sub(1)?)?.0
            }
        };
        let found = instructions.get(first.checked_add(number)?)?;
        let has_keyword = found.keyword == *keyword || (found.is_trigger && keyword == "ONBUILD");
        has_keyword.then_some(found.line)
    }
}

/// Returns the line of an instruction with that text or, if its variables were expanded, at that position.
fn line_of_vertex(
    dockerfile: &str,
    stage: Option<&str>,
    number: usize,
    total: usize,
    text: &str,
) -> Option<usize> {
    let instructions = Dockerfile::parse(dockerfile).instructions;
    let mut stages = instructions.split(|it| it.keyword == "FROM");
    // Before the first stage, there are only arguments.
    stages.next();
    let stages: Vec<_> = stages.collect();
    let froms: Vec<_> = instructions
        .iter()
        .filter(|it| it.keyword == "FROM")
        .collect();
    let position = match stage {
        None => (stages.len() == 1).then_some(0)?,
        Some(stage) => {
            let is_named = |from: &&Instruction| {
                let name = from.words().nth(2);
                name.is_some_and(|name| name.eq_ignore_ascii_case(stage))
            };
            let numbered = || stage.strip_prefix("stage-")?.parse().ok();
            froms.iter().position(is_named).or_else(numbered)?
        }
    };
    let keyword = text.split_whitespace().next()?;
    if keyword == "FROM" {
        return Some(froms.get(position)?.line);
    }
    let has_keyword = |it: &Instruction| it.keyword.eq_ignore_ascii_case(keyword);
    let steps = stages.get(position)?.iter();
    let steps: Vec<_> = steps
        .filter(|it| !it.is_trigger && STEPS.contains(&it.keyword.as_str()))
        .collect();
    let words = |text: &str| {
        text.split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let wanted = words(text.trim_start_matches(keyword));
    let mut same = steps
        .iter()
        .filter(|it| has_keyword(it) && words(&it.text()) == wanted);
    if let (Some(found), None) = (same.next(), same.next()) {
        return Some(found.line);
    }
    // `FROM` is the first step, unless the stage starts from another one.
    let before = total
        .checked_sub(steps.len())
        .filter(|before| *before <= 1)?;
    let found = steps.get(number.checked_sub(before + 1)?)?;
    has_keyword(found).then_some(found.line)
}

/// The instructions that are steps of BuildKit.
const STEPS: [&str; 4] = ["ADD", "COPY", "RUN", "WORKDIR"];

/// Returns the first number of `2/5`.
fn position(text: &str) -> Option<usize> {
    let (number, total) = text.split_once('/')?;
    total.parse::<usize>().ok()?;
    number.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCKERFILE: &str = "\
ARG BASE=a
FROM $BASE AS one
ENV A=1
RUN first \\
    second

FROM b
COPY --from=one /x /
ONBUILD RUN later
run last
";

    fn line(started: &str) -> Option<usize> {
        FailedInstruction::started(started)?.line(DOCKERFILE)
    }

    #[test]
    fn steps_of_the_classic_builder_count_all_instructions() {
        assert_eq!(line("Step 1/8 : ARG BASE=a"), Some(1));
        assert_eq!(line("Step 4/8 : RUN first     second\n"), Some(4));
        assert_eq!(line("Step 7/8 : ONBUILD RUN later"), Some(9));
        assert_eq!(line("Step 8/8 : RUN last"), Some(10));
        // Not this Dockerfile.
        assert_eq!(line("Step 8/8 : COPY x /"), None);
        assert_eq!(line("Step 9/9 : RUN more"), None);
    }

    #[test]
    fn steps_of_podman_count_within_their_stage() {
        assert_eq!(line("[1/2] STEP 3/3: RUN first     second"), Some(4));
        assert_eq!(line("[2/2] STEP 4/4: RUN last"), Some(10));
        assert_eq!(line("STEP 2/3: ENV A=1"), Some(3));
        for other in [
            "[3/3] STEP 1/1: FROM x",
            "[0/2] STEP 1/1: FROM x",
            "STEP 0/1: FROM x",
        ] {
            assert_eq!(line(other), None, "{other}");
        }
    }

    #[test]
    fn other_lines_are_no_steps() {
        for other in [
            "Step",
            "Step one : RUN",
            "[1/2] RUN make",
            "STEP 1/2",
            " ---> 1234",
            "[é",
        ] {
            assert_eq!(FailedInstruction::started(other), None, "{other}");
        }
    }

    #[test]
    fn vertices_of_buildkit_count_steps_of_their_stage() {
        let line = |name: &str| FailedInstruction::vertex(name)?.line(DOCKERFILE);
        assert_eq!(line("[one 2/2] RUN first     second"), Some(4));
        assert_eq!(line("[stage-1 2/3] COPY --from=one /x /"), Some(8));
        assert_eq!(line("[linux/arm64 stage-1 3/3] RUN last"), Some(10));
        assert_eq!(line("[stage-1 1/3] FROM docker.io/library/b"), Some(7));
        // With variables expanded, the number counts.
        assert_eq!(line("[stage-1 3/3] RUN expanded"), Some(10));
        assert_eq!(line("[stage-1 3/3] COPY expanded /"), None);
        for other in [
            "[internal] load .dockerignore",
            "[2/3] RUN x",
            "[two 1/1] RUN x",
            "exporting",
        ] {
            assert_eq!(line(other), None, "{other}");
        }
        let twice = "FROM a\nRUN x\nRUN x\n";
        let second = FailedInstruction::vertex("[3/3] RUN x").unwrap();
        assert_eq!(second.line(twice), Some(3));
        let padded = FailedInstruction::vertex("[ 2/10] RUN x").unwrap();
        assert_eq!(padded.line("FROM a\nRUN x\n"), Some(2));
        // A stage that starts from another one, or from nothing.
        let scratch = FailedInstruction::vertex("[1/1] COPY $A /").unwrap();
        assert_eq!(scratch.line("FROM scratch\nCOPY x /\n"), Some(2));
    }

    #[test]
    fn errors_of_the_parser_name_their_line() {
        for message in [
            "dockerfile parse error on line 3: unknown instruction: ECHO",
            "Dockerfile parse error line 3: unknown flag: link",
        ] {
            let failed = FailedInstruction::in_message(message);
            assert_eq!(failed, Some(FailedInstruction::Line(3)), "{message}");
        }
        assert_eq!(FailedInstruction::in_message("COPY failed: line 3"), None);
    }
}
