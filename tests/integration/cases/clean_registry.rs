//! `xp clean` with registries that differ: in deletion, permissions, pages of tags, and referrers.

use std::fs;

use serde_json::json;

use crate::case::Case;
use crate::context::Context;
use crate::stored_images::{
    OCI_INDEX, OCI_MANIFEST, OLD, Shop, commit, identity, items, reason, shared_part, signed_index,
};
use crate::token_server::TokenServer;
use crate::world::{Fault, Gateway, RegistryKind, Reply};

pub const CASES: &[Case] = cases![
    a_registry_without_deletion_is_reported,
    a_login_without_permission_is_reported,
    a_token_without_permission_to_delete_is_reported,
    labels_are_read_once,
    tags_are_listed_in_pages,
    a_missing_page_stops,
    indexes_and_signatures_share_the_fate_of_images,
    what_the_referrers_api_lists_goes_with_its_image,
    tags_are_removed_where_registries_can,
];

fn a_registry_without_deletion_is_reported(t: &Context) {
    let registry = t.own_registry(RegistryKind::NoDeletion);
    let shop = Shop::new(t, &registry);
    shop.stocked();
    let before = shop.everything();
    shop.clean([]).success().stdout_contains("2 to remove");
    shop.clean(["--delete"])
        .failure(3)
        .stderr_contains("does not delete images")
        .stderr_contains("nothing was removed")
        .stderr_contains("REGISTRY_STORAGE_DELETE_ENABLED=true");
    assert_eq!(shop.everything(), before);
}

fn a_login_without_permission_is_reported(t: &Context) {
    let shop = Shop::new(t, t.registry());
    shop.stocked();
    let before = shop.everything();
    let host = shop.registry.host().to_owned();
    let denied = Gateway::before(&host, |incoming| match incoming.method.as_str() {
        "DELETE" => Reply::error(403, "DENIED", "requested access to the resource is denied"),
        _ => Reply::Forward,
    });
    shop.manifest(denied.host(), "");
    shop.clean(["--delete"])
        .failure(3)
        .stderr_contains("to delete images of")
        .stderr_contains("hint: log in as a user who may delete images");
    let scope = Gateway::before(&host, |incoming| match incoming.method.as_str() {
        "DELETE" => {
            let challenge = "Basic realm=\"x\", error=\"insufficient_scope\"".to_owned();
            Reply::Response(401, vec![("WWW-Authenticate", challenge)], String::new())
        }
        _ => Reply::Forward,
    });
    shop.manifest(scope.host(), "");
    shop.clean(["--delete"])
        .failure(3)
        .stderr_contains("to delete images of");
    assert_eq!(shop.everything(), before);
}

/// The registry itself compares each request with what its token permits.
fn a_token_without_permission_to_delete_is_reported(t: &Context) {
    let contents = t.own_registry(RegistryKind::Open);
    let shop = Shop::new(t, &contents);
    let [tip, first, second] = shop.stocked();
    let before = shop.everything();
    let clean = |permitted: &'static [&'static str]| {
        let tokens = TokenServer::new(t.folder(), permitted);
        let registry = t.token_registry(&contents, &tokens);
        shop.manifest(registry.host(), "");
        t.log_in_host(registry.host(), "ci", "password");
        shop.clean([]).success().stdout_contains("2 to remove");
        let output = shop.clean(["--delete"]).run();
        registry.stop();
        output
    };
    let refused = clean(&["pull", "push"]);
    assert_eq!(refused.status.code(), Some(3), "{refused}");
    refused
        .stderr_contains("does not allow the user `ci`")
        .stderr_contains("to delete images of 127.0.0.1:")
        .stderr_contains("nothing was removed")
        .stderr_contains("or with a token that includes this permission");
    assert_eq!(shop.everything(), before);
    let output = clean(&["pull", "push", "delete"]);
    output.stdout_contains("registry: 2 removed");
    assert!(shop.has(&tip) && !shop.has(&first) && !shop.has(&second));
}

/// Showing what a clean-up would remove, and then removing it, is the usual sequence.
fn labels_are_read_once(t: &Context) {
    let registry = t.own_registry(RegistryKind::Open);
    let shop = Shop::new(t, &registry);
    shop.stocked();
    let read = |delete: &'static [&'static str]| {
        let mark = registry.mark();
        let output = match delete {
            [option] => shop.clean([*option]).success(),
            _ => shop.clean([]).success(),
        };
        let requests = registry.requests_since(mark);
        let blobs = requests.iter().filter(|it| it.path.contains("/blobs/"));
        (output, blobs.count())
    };
    let (shown, first) = read(&[]);
    shown.stdout_contains("2 to remove");
    assert!(first >= 3, "{first}");
    let (shown, again) = read(&[]);
    shown.stdout_contains("2 to remove");
    assert_eq!(again, 0);
    // A damaged file is replaced.
    let folder = t.dir().join(".xp/labels/repositories");
    for file in fs::read_dir(&folder).expect("the folder") {
        fs::write(file.expect("a file").path(), "{").expect("a file");
    }
    assert_eq!(read(&[]).1, first);
    let (removed, again) = read(&["--delete"]);
    removed.stdout_contains("2 removed");
    assert_eq!(again, 0);
    registry.stop();
}

/// Adds many tags to an image directly, and returns all tags of the repository.
fn many_tags(shop: &Shop<'_>, digest: &str, count: usize) -> Vec<String> {
    for number in 0..count {
        let tag = format!("{}-{number:012x}", commit(2));
        shop.registry.link_tag(&shop.repository, &tag, digest);
    }
    shop.registry.all_tags(&shop.repository)
}

/// Lists tags in pages of 1000, as registries do that are newer than Debian's.
fn pages(
    tags: Vec<String>,
    link: impl Fn(&str) -> String + Send + Sync + 'static,
) -> impl Fn(&str) -> Option<Reply> {
    move |path: &str| {
        let (list, query) = path.split_once('?')?;
        if !list.ends_with("/tags/list") {
            return None;
        }
        let last = query
            .split('&')
            .find_map(|part| part.strip_prefix("last="))
            .unwrap_or("");
        let page: Vec<&String> = tags
            .iter()
            .filter(|tag| tag.as_str() > last)
            .take(1000)
            .collect();
        let mut headers = vec![("Content-Type", "application/json".to_owned())];
        if let Some(end) = page.last().filter(|end| Some(**end) != tags.last()) {
            let url = format!("{list}?n=1000&last={end}");
            headers.push(("Link", format!("<{}>; rel=\"next\"", link(&url))));
        }
        Some(Reply::Response(
            200,
            headers,
            json!({"name": "x", "tags": page}).to_string(),
        ))
    }
}

/// The number of tags in a repository with many.
fn tag_count() -> usize {
    match std::env::var("XP_SCALE").as_deref() {
        Ok("full") => 20_000,
        _ => 2_500,
    }
}

fn tags_are_listed_in_pages(t: &Context) {
    let registry = t.own_registry(RegistryKind::Open);
    let shop = Shop::new(t, &registry);
    let [_, _, second] = shop.stocked();
    let tags = many_tags(&shop, &second, tag_count());
    let upstream = registry.host().to_owned();
    let removed = |host: &str| {
        shop.manifest(host, "");
        let output = shop.clean(["--format", "json"]).success();
        let found = items(&output);
        let item = found
            .iter()
            .find(|item| item["name"] == second.as_str())
            .expect("the image");
        assert_eq!(item["action"], "remove");
        item["tags"].as_array().expect("tags").len()
    };
    let expected = tag_count() + 2;
    // Debian's registry sends all at once.
    assert_eq!(removed(&upstream), expected);
    let links: [fn(&str) -> String; 2] = [
        |url| url.to_owned(),
        // A proxy does not know its own name.
        |url| format!("https://registry.internal:5000{url}"),
    ];
    for link in links {
        let list = pages(tags.clone(), link);
        let gateway = Gateway::before(&upstream, move |incoming| {
            list(&incoming.path).unwrap_or(Reply::Forward)
        });
        assert_eq!(removed(gateway.host()), expected);
        let lists = gateway
            .requests()
            .iter()
            .filter(|it| it.path.contains("/tags/list"))
            .count();
        assert_eq!(lists, 1 + tags.len() / 1000);
    }
}

fn a_missing_page_stops(t: &Context) {
    let registry = t.own_registry(RegistryKind::Open);
    let shop = Shop::new(t, &registry);
    let [_, _, second] = shop.stocked();
    let tags = many_tags(&shop, &second, 1_500);
    let before = shop.everything();
    let faults: [fn() -> Reply; 4] = [
        || Reply::status(429),
        || Reply::status(404),
        || Reply::json(200, "{\"tags\": [\"a\""),
        || Reply::Broken(Fault::Reset),
    ];
    for fault in faults {
        let list = pages(tags.clone(), str::to_owned);
        let gateway = Gateway::before(registry.host(), move |incoming| {
            match list(&incoming.path) {
                Some(_) if incoming.path.contains("last=") => fault(),
                page => page.unwrap_or(Reply::Forward),
            }
        });
        shop.manifest(gateway.host(), "");
        shop.clean(["--delete"]).env("XP_RETRIES", "1").failure(3);
        assert_eq!(shop.everything(), before);
    }
    // A list that leads to itself.
    let gateway = Gateway::before(registry.host(), |incoming| {
        if !incoming.path.contains("/tags/list") {
            return Reply::Forward;
        }
        let link = vec![("Link", format!("<{}>; rel=next", incoming.path))];
        Reply::Response(200, link, "{\"tags\": [\"a\"]}".to_owned())
    });
    shop.manifest(gateway.host(), "");
    shop.clean(["--delete"])
        .failure(3)
        .stderr_contains("does not end");
    assert_eq!(shop.everything(), before);
}

fn indexes_and_signatures_share_the_fate_of_images(t: &Context) {
    let shop = Shop::new(t, t.registry());
    let shared = shared_part(&shop);
    let kept = signed_index(&shop, 1, &shared);
    let removed = signed_index(&shop, 2, &shared);
    // Without its tags, only the lock names it.
    for tag in [commit(1), identity(&commit(1))] {
        shop.registry.delete_tag(&shop.repository, &tag);
    }
    t.write("x-platform.lock", &format!("digest: {}\n", kept[0]));
    let output = shop.clean(["--delete", "--format", "json"]).success();
    let found = items(&output);
    assert_eq!(
        reason(&found, &kept[0]),
        "keep: lock x-platform.lock",
        "{output}"
    );
    let mut expected: Vec<String> = kept.to_vec();
    expected.push(shared["digest"].as_str().expect("a digest").to_owned());
    expected.sort();
    assert_eq!(shop.everything().0, expected, "{output}");
    assert!(removed.iter().all(|digest| !shop.has(digest)));
}

/// As in version 1.1 of the specification, in pages of one.
fn what_the_referrers_api_lists_goes_with_its_image(t: &Context) {
    let shop = Shop::new(t, t.registry());
    let [kept, removed, also_removed] = shop.stocked();
    let of_kept = shop.referrer(&kept, "kept");
    let of_removed = ["one", "two"].map(|what| shop.referrer(&removed, what));
    let (subject, listed) = (removed.clone(), of_removed.clone());
    let gateway = Gateway::before(shop.registry.host(), move |incoming| {
        let Some((list, of)) = incoming.path.split_once("/referrers/") else {
            return Reply::Forward;
        };
        let (of, page) = of.split_once("?page=").unwrap_or((of, "0"));
        let page: usize = page.parse().expect("a page");
        let mut headers = vec![("Content-Type", OCI_INDEX.to_owned())];
        if of != subject {
            let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []});
            return Reply::Response(200, headers, index.to_string());
        }
        if page == 0 {
            let next = format!("<{list}/referrers/{of}?page=1>; rel=\"next\"");
            headers.push(("Link", next));
        }
        let one = json!({"mediaType": OCI_MANIFEST, "digest": listed[page], "size": 1});
        let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [one]});
        Reply::Response(200, headers, index.to_string())
    });
    shop.manifest(gateway.host(), "");
    let output = shop.clean(["--delete"]).success();
    for gone in [&removed, &also_removed, &of_removed[0], &of_removed[1]] {
        assert!(!shop.has(gone), "{gone}: {output}");
    }
    assert!(shop.has(&kept) && shop.has(&of_kept), "{output}");
    let deleted: Vec<String> = gateway
        .requests()
        .into_iter()
        .filter(|it| it.method == "DELETE")
        .map(|it| it.path)
        .collect();
    let position = |digest: &str| deleted.iter().position(|path| path.ends_with(digest));
    let image = position(&removed).expect("it was deleted");
    for referrer in &of_removed {
        assert!(
            position(referrer).expect("it was deleted") < image,
            "{deleted:?}"
        );
    }
}

fn tags_are_removed_where_registries_can(t: &Context) {
    let shop = Shop::new(t, t.registry());
    let [_, locked, _] = shop.stocked();
    let topic = commit(3);
    let topic = shop.image(&topic, "topic", OLD, &[&topic]);
    assert!(shop.has(&topic));
    shop.registry.link_tag(&shop.repository, "topic", &locked);
    t.write("x-platform.lock", &format!("digest: {locked}\n"));
    // Debian's registry cannot.
    let output = shop.clean(["--delete"]).success();
    let output = output.stdout_contains("registry: 2 removed");
    output.stderr_contains("the registry cannot remove single tags");
    assert_eq!(
        shop.registry.manifest_digest(&shop.repository, "topic"),
        Some(locked.clone())
    );
    // It is not tried again.
    shop.clean([]).success().does_not_contain("untag");

    // A registry that can, as in version 1.1 of the specification.
    let [fresh, other] = [4, 5].map(|number| shop.old(number));
    assert!(shop.has(&fresh) && shop.has(&other));
    let topic = commit(6);
    shop.image(&topic, "topic", OLD, &[&topic, &identity(&topic)]);
    let folder = shop.registry.files(&shop.repository);
    let gateway = Gateway::before(shop.registry.host(), move |incoming| {
        let tag = incoming.path.rsplit('/').next().unwrap_or_default();
        if incoming.method != "DELETE" || tag.starts_with("sha256:") {
            return Reply::Forward;
        }
        let tag = folder.join("_manifests/tags").join(tag);
        match fs::remove_dir_all(tag) {
            Ok(()) => Reply::status(202),
            Err(_) => Reply::error(404, "MANIFEST_UNKNOWN", "manifest unknown"),
        }
    });
    shop.manifest(gateway.host(), "");
    let output = shop.clean(["--delete"]).success();
    assert_eq!(
        shop.registry.manifest_digest(&shop.repository, "topic"),
        None,
        "{output}"
    );
    assert!(shop.has(&locked));
    shop.clean(["--delete"])
        .success()
        .stdout_contains("registry: 0 removed");
}
