//! What a Dockerfile does on the platform that it is built for.

use super::Dockerfile;
use super::images::is_for_target;

/// Returns the line of the first instruction that runs on the platform that the image is built for, so that an engine
/// of another one must emulate it. Stages with `FROM --platform=` choose their own.
pub fn first_run(dockerfile: &str) -> Option<usize> {
    let mut runs_on_target = false;
    let mut instructions = Dockerfile::parse(dockerfile).instructions.into_iter();
    let found = instructions.find(|instruction| {
        if instruction.keyword == "FROM" {
            runs_on_target = is_for_target(instruction);
        }
        instruction.keyword == "RUN" && !instruction.is_trigger && runs_on_target
    });
    found.map(|instruction| instruction.line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_instructions_on_the_target_platform_count() {
        assert_eq!(first_run("FROM scratch\nCOPY a /\n"), None);
        assert_eq!(first_run("FROM x\nCOPY a /\nRUN make\n"), Some(3));
        assert_eq!(first_run("FROM x\nONBUILD RUN make\n"), None);
        let cross = "FROM --platform=$BUILDPLATFORM go AS b\nRUN go build\nFROM scratch\nCOPY --from=b /a /\n";
        assert_eq!(first_run(cross), None);
        assert_eq!(first_run(&format!("{cross}RUN [\"/a\"]\n")), Some(5));
        assert_eq!(
            first_run("FROM --platform=${TARGETPLATFORM} x\nRUN a\n"),
            Some(2)
        );
    }
}
