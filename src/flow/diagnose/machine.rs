//! Gathers facts about this machine: xp's own folder, programs and proxies.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use time::OffsetDateTime;
use tokio::task::spawn_blocking;

use super::{DoctorContext, files};
use crate::base::redact::without_credentials;
use crate::base::task::joined;
use crate::base::units;
use crate::client::http::Proxies;
use crate::flow::programs::program;
use crate::model::clean::cache_plan;
use crate::model::doctor::{CacheContents, CacheState, MachineFacts, RequiredProgram};
use crate::model::engine::ProxyFacts;
use crate::model::environment::PATH;
use crate::model::layout::Layout;
use crate::model::manifest::{Manifest, ServiceName};
use crate::model::source::GitScheme;
use crate::store::cache::{Ownership, ownership};
use crate::store::cache_entries::cache_entries;

/// The number of files that are counted.
const MAX_FILES: usize = 50_000;

/// Gathers the facts.
pub(super) async fn machine(context: &DoctorContext<'_>) -> MachineFacts {
    let settings = context.settings;
    let proxies = proxies(&settings.proxies);
    let Some(platform) = &context.platform else {
        return MachineFacts {
            cache: None,
            space: None,
            contents: None,
            ignores_case: false,
            programs: Vec::new(),
            proxies,
        };
    };
    let folder = platform.cache_dir.clone();
    let layout = Layout::new(folder.clone());
    let manifest = platform.manifest.clone();
    let name = context.shown(&folder);
    let file = platform.manifest.file.clone();
    let path = settings.variables.get(PATH.name).cloned();
    let path = path.unwrap_or_default();
    let base = platform.manifest.folder.clone();
    let dirs = context
        .services()
        .map(|service| (service.name.to_string(), service.dir.clone()));
    let dirs: Vec<_> = dirs.collect();
    // A configured ssh command replaces `ssh` on `PATH`.
    let has_ssh_command = settings.git.ssh_command.is_some() || settings.git.ssh_program.is_some();
    let over_ssh = context.services_with(|service| {
        let url = service
            .source
            .git()
            .map(|git| platform.git.effective_url(&git.remote));
        !has_ssh_command && url.is_some_and(|url| url.scheme() == GitScheme::Ssh)
    });
    // A network file system may not respond.
    let facts = spawn_blocking(move || {
        let find = |name: &str| program(name, &path).map(|file| file.display().to_string());
        let uses_lfs = |dir: &Path| {
            let attributes = fs::read_to_string(base.join(dir).join(".gitattributes"));
            attributes.is_ok_and(|text| text.contains("filter=lfs"))
        };
        let with_lfs = dirs.iter().filter(|(_, dir)| uses_lfs(dir));
        let programs = [
            RequiredProgram {
                name: "ssh",
                purpose: "git remotes over ssh",
                install: "install the OpenSSH client, for example with `sudo apt install openssh-client`",
                path: find("ssh"),
                services: over_ssh,
            },
            RequiredProgram {
                name: "git-lfs",
                purpose: "Git LFS files",
                install: "install it, for example with `sudo apt install git-lfs`",
                path: find("git-lfs"),
                services: with_lfs.map(|(name, _)| name.clone()).collect(),
            },
        ];
        let state = match files::cache_state(&folder) {
            // Use the same name for the same folder.
            CacheState::Denied {
                folder: denied,
                why,
            } if Path::new(&denied) == folder => CacheState::Denied {
                folder: name.clone(),
                why,
            },
            state => state,
        };
        MachineFacts {
            space: files::space(files::existing(&folder)),
            contents: contents(&layout, &manifest),
            cache: Some((name, state)),
            ignores_case: files::ignores_case(&file),
            programs: programs
                .into_iter()
                .filter(|program| !program.services.is_empty())
                .collect(),
            proxies,
        }
    });
    let _waiting = context.waiting.begin("the file system");
    match tokio::time::timeout(context.limit, facts).await {
        Ok(facts) => joined(facts),
        Err(_) => unresponsive(context, &platform.cache_dir),
    }
}

/// Returns the facts for a file system that does not respond.
fn unresponsive(context: &DoctorContext<'_>, folder: &Path) -> MachineFacts {
    let folder = context.shown(folder);
    let limit = units::limit(context.limit);
    let why = format!("its file system did not respond within {limit}");
    let state = CacheState::Denied {
        folder: folder.clone(),
        why,
    };
    MachineFacts {
        cache: Some((folder, state)),
        space: None,
        contents: None,
        ignores_case: false,
        programs: Vec::new(),
        proxies: proxies(&context.settings.proxies),
    }
}

/// Returns the proxies that xp uses.
pub(super) fn proxies(proxies: &Proxies) -> ProxyFacts {
    let named = [
        ("http_proxy", &proxies.http),
        ("https_proxy", &proxies.https),
        ("all_proxy", &proxies.all),
    ];
    let named = named.into_iter().filter_map(|(name, proxy)| {
        let proxy = proxy.as_ref().filter(|proxy| !proxy.trim().is_empty())?;
        Some((name.to_owned(), without_credentials(proxy)))
    });
    ProxyFacts {
        proxies: named.collect(),
        exceptions: proxies.none.clone(),
    }
}

/// Returns the size of xp's own folder, and what `xp clean` would remove. Counts only some files, because this check must be
/// quick.
fn contents(layout: &Layout, manifest: &Manifest) -> Option<CacheContents> {
    if !matches!(ownership(layout.root()), Ok(Ownership::Own)) {
        return None;
    }
    let services: BTreeSet<&ServiceName> = manifest.services.keys().collect();
    let found = cache_entries(layout, &services, Some(MAX_FILES));
    let now = OffsetDateTime::now_utc().unix_timestamp();
    let plan = cache_plan(&found.entries, manifest.clean.cache, now);
    Some(CacheContents::of(&plan, found.is_partial))
}
