//! The instruction at which a build failed.

use super::Dockerfile;

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
