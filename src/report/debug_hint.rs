//! The hint of how to look into a failed step.

use crate::model::event::{Phase, Unit};

/// Returns how to look into a failure of a service: on this machine or, because that of a CI system is usually gone by
/// then, on the developer's own. `commit` is that of the service, if others can get it.
pub fn debug_hint(unit: &Unit, phase: Phase, commit: Option<&str>, is_ci: bool) -> Option<String> {
    let Unit::Service(service) = unit else {
        return None;
    };
    let is_script = matches!(
        phase,
        Phase::Prepare | Phase::Build | Phase::Test | Phase::Verify
    );
    if !is_ci && is_script {
        return Some(format!(
            "`xp shell --failed {service}` opens a shell in its container"
        ));
    }
    if !is_ci {
        return (phase == Phase::Image).then(|| {
            format!("`xp logs {service} --phase image` also shows a command that repeats it")
        });
    }
    let is_build = is_script || phase == Phase::Image;
    let commit = commit.filter(|_| is_build)?;
    let build = format!("xp build --no-push --reference {service}={commit} {service}");
    Some(if is_script {
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
        let hint = |phase, commit, is_ci| debug_hint(&unit, phase, commit, is_ci);
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
        assert_eq!(debug_hint(&builder, Phase::Image, None, true), None);
    }
}
