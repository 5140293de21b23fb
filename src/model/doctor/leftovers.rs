//! What renamed and removed services left behind. Only notes: nothing of it does any harm, except for its size.

use super::{Finding, Section, Subject, count_of, list};
use crate::base::shell::quoted;

/// The number of paths or images in one command.
const NAMED: usize = 20;

/// Things of services that are not in the manifest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LeftoverFacts {
    /// Working copies, relative to the manifest's folder.
    pub working_copies: Vec<String>,
    /// Folders in xp's own folder, relative to the manifest's folder if they are below it.
    pub folders: Vec<String>,
    /// Repositories of images in the engine, with the number of their names.
    pub images: Vec<(String, usize)>,
    /// Networks of killed runs.
    pub networks: Vec<String>,
}

/// Evaluates leftovers; the section has no findings if there are none.
pub fn leftovers(facts: &LeftoverFacts) -> Section {
    let LeftoverFacts {
        working_copies,
        folders,
        images,
        networks,
    } = facts;
    let mut findings = Vec::new();
    for dir in working_copies.iter().take(NAMED) {
        let shown = quoted(dir);
        findings.push(
            Finding::note(format!(
                "{dir} is a working copy of no service in the manifest"
            ))
            .fix(format!(
                "check `git -C {shown} status`, then remove it with `rm -r {shown}`"
            )),
        );
    }
    if !folders.is_empty() {
        let shown: Vec<String> = folders
            .iter()
            .take(NAMED)
            .map(|path| quoted(path).into_owned())
            .collect();
        let what = count_of(folders.len(), "folder");
        findings.push(
            Finding::note(format!("{what} of services that are not in the manifest")).fix(format!(
                "remove exports and caches with `rm -r {}`",
                shown.join(" ")
            )),
        );
    }
    for (repository, count) in images.iter().take(NAMED) {
        let what = count_of(*count, "image");
        let filter = format!("reference={repository}");
        let filter = quoted(&filter);
        findings.push(
            Finding::note(format!(
                "the engine has {what} named {repository}, which is of no service in the manifest"
            ))
            .fix(format!(
                "remove these names with `docker image rm $(docker image ls --filter {filter} --format '{{{{.Repository}}}}:{{{{.Tag}}}}')`"
            )),
        );
    }
    if !networks.is_empty() {
        let what = count_of(networks.len(), "network");
        let shown: Vec<&str> = networks.iter().take(NAMED).map(String::as_str).collect();
        findings.push(
            Finding::note(format!("the engine has {what} of a run that was killed")).fix(format!(
                "the next `xp build` removes it, and so does `docker network rm {}`",
                shown.join(" ")
            )),
        );
    }
    let counted = |count: usize, noun: &str| match count {
        0 => String::new(),
        count => count_of(count, noun),
    };
    let images: usize = images.iter().map(|(_, count)| count).sum();
    let counts = list([
        counted(working_copies.len(), "working copy"),
        counted(folders.len(), "folder"),
        counted(images, "image"),
    ]);
    let of_services = (!counts.is_empty()).then(|| format!("{counts} of former services"));
    let of_runs = counted(networks.len(), "network");
    let of_runs = (!of_runs.is_empty()).then(|| format!("{of_runs} of killed runs"));
    let all: Vec<String> = of_services.into_iter().chain(of_runs).collect();
    Section {
        subject: Subject::Leftovers,
        summary: format!("{}; `-v` lists them", all.join(", ")),
        findings,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::doctor::Severity;

    #[test]
    fn each_leftover_has_a_command_to_remove_it() {
        let facts = LeftoverFacts {
            working_copies: vec!["src/my base".to_owned()],
            folders: vec![".xp/build/base".to_owned(), ".xp/git/base".to_owned()],
            images: vec![("r.example.com/x/base".to_owned(), 3)],
            networks: vec!["xp-1".to_owned()],
        };
        let section = leftovers(&facts);
        assert_eq!(
            section.summary,
            "1 working copy, 2 folders, 3 images of former services, 1 network of killed runs; `-v` lists them"
        );
        assert_eq!(section.severity(), Severity::Note);
        let fixes: Vec<&str> = section
            .findings
            .iter()
            .flat_map(|it| &it.fixes)
            .map(String::as_str)
            .collect();
        assert!(fixes[0].contains("rm -r 'src/my base'"), "{fixes:?}");
        assert!(
            fixes[1].contains("rm -r .xp/build/base .xp/git/base"),
            "{fixes:?}"
        );
        assert!(
            fixes[2].contains("--filter reference=r.example.com/x/base"),
            "{fixes:?}"
        );
        assert!(fixes[3].contains("docker network rm xp-1"), "{fixes:?}");
        assert!(leftovers(&LeftoverFacts::default()).findings.is_empty());
    }
}
