//! The hint of how to look into a failed step.

use crate::model::event::{FailedStep, Phase, Unit};

/// Returns how to look into a failure of a service: on this machine or, because that of a CI system is usually gone by
/// then, on the developer's own. `commit` is that of the service, if others can get it.
pub fn debug_hint(
    unit: &Unit,
    step: &FailedStep,
    commit: Option<&str>,
    is_ci: bool,
) -> Option<String> {
    let Unit::Service(service) = unit else {
        return None;
    };
    let phase = step.phase;
    let is_script = matches!(
        phase,
        Phase::Prepare | Phase::Build | Phase::Test | Phase::Verify
    );
    // A shell is opened on the own platform of the usual engine.
    let has_shell = is_script && step.platform.is_none();
    if !is_ci && has_shell {
        return Some(format!(
            "`xp shell --failed {service}` opens a shell in its container"
        ));
    }
    if !is_ci {
        let is_shown = phase == Phase::Image || is_script && step.reproduce_command.is_some();
        return is_shown.then(|| {
            format!("`xp logs {service} --phase {phase}` also shows a command that repeats it")
        });
    }
    let is_build = is_script || phase == Phase::Image;
    let commit = commit.filter(|_| is_build)?;
    let build = format!("xp build --no-push --reference {service}={commit} {service}");
    Some(if has_shell {
        format!(
            "on your machine, `{build}` repeats it; then, `xp shell --failed {service}` opens a shell in its container"
        )
    } else {
        format!("on your machine, `{build}` repeats it")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_fits_the_machine_of_its_reader() {
        let unit = Unit::Service("app".parse().unwrap());
        let failed = |phase| FailedStep::new(phase, "failed".to_owned());
        let hint = |phase, commit, is_ci| debug_hint(&unit, &failed(phase), commit, is_ci);
        let here = "`xp shell --failed app` opens a shell in its container";
        assert_eq!(hint(Phase::Test, Some("c0ffee"), false).unwrap(), here);
        let image = "`xp logs app --phase image` also shows a command that repeats it";
        assert_eq!(hint(Phase::Image, Some("c0ffee"), false).unwrap(), image);
        assert_eq!(hint(Phase::Push, Some("c0ffee"), false), None);
        let build = "on your machine, `xp build --no-push --reference app=c0ffee app` repeats it";
        assert_eq!(
            hint(Phase::Test, Some("c0ffee"), true).unwrap(),
            format!("{build}; then, {here}")
        );
        assert_eq!(hint(Phase::Image, Some("c0ffee"), true).unwrap(), build);
        assert_eq!(hint(Phase::Push, Some("c0ffee"), true), None);
        assert_eq!(hint(Phase::Test, None, true), None);
        let builder = Unit::Builder("go".parse().unwrap());
        assert_eq!(
            debug_hint(&builder, &failed(Phase::Image), None, true),
            None
        );
        let mut of_platform = failed(Phase::Build);
        of_platform.platform = Some("linux/arm64".parse().unwrap());
        assert_eq!(debug_hint(&unit, &of_platform, None, false), None);
        of_platform.reproduce_command = Some("docker run".to_owned());
        assert_eq!(
            debug_hint(&unit, &of_platform, None, false).unwrap(),
            "`xp logs app --phase build` also shows a command that repeats it"
        );
        assert_eq!(
            debug_hint(&unit, &of_platform, Some("c0ffee"), true).unwrap(),
            build
        );
    }
}
