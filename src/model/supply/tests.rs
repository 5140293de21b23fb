use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::resource::git_uri;
use super::*;
use crate::model::image::{ImageReference, Labels};
use crate::model::recipe::{LABEL_BASES, LABEL_RECIPE, Recipe};
use crate::model::source::{CommitId, SourceRemote};

fn digest(digit: char) -> Digest {
    format!("sha256:{}", digit.to_string().repeat(64))
        .parse()
        .unwrap()
}

fn commit(digit: char) -> CommitId {
    digit.to_string().repeat(40).parse().unwrap()
}

fn source() -> ResourceDescriptor {
    ResourceDescriptor {
        name: Some("source".to_owned()),
        uri: Some("git+https://h/a@refs/heads/main".to_owned()),
        digest: BTreeMap::from([("gitCommit".to_owned(), commit('a').to_string())]),
        ..ResourceDescriptor::default()
    }
}

fn provenance(digests: &[Digest]) -> Value {
    let mut recipe = Recipe::default();
    recipe.add("docker.image", "a");
    let base = digest('b');
    let labels = Labels::from([
        (LABEL_RECIPE.to_owned(), recipe.to_string()),
        bases_label("docker.io/library/debian:12", &base),
    ]);
    let of_platforms = [
        labels.clone(),
        Labels::new(),
        Labels::from([bases_label("docker.io/library/debian:12", &digest('f'))]),
    ];
    let debian: ImageReference = "docker.io/library/debian:12".parse().unwrap();
    let builder: ImageReference = "r.example.com/x/builder:1".parse().unwrap();
    statement(&ProvenanceFacts {
        repository: &"r.example.com/x/a".parse().unwrap(),
        digests,
        service: "a",
        source: &source(),
        reference: Some("refs/heads/main"),
        path: None,
        manifest: Some(&ManifestOrigin {
            url: Some("https://bob:s3cret@h/platform".to_owned()),
            commit: commit('c'),
            path: "x-platform.yml".to_owned(),
            is_modified: false,
        }),
        labels: &labels,
        platforms: of_platforms.iter().take(digests.len() - 1).collect(),
        images: vec![
            ResourceDescriptor::image("builder", &builder, &digest('d')),
            ResourceDescriptor::image("builder", &debian, &base),
        ],
        documents: vec![ResourceDescriptor::document(
            "sbom",
            "application/spdx+json",
            &digest('e'),
        )],
        builder: BUILDER,
        version: "0.1.0",
        invocation: "1",
        started: None,
        finished: Some("2026-11-30T00:00:00Z".to_owned()),
    })
}

fn bases_label(name: &str, base: &Digest) -> (String, String) {
    (LABEL_BASES.to_owned(), json!({ name: base }).to_string())
}

fn candidate(digests: &[Digest], is_by_key: Option<bool>) -> ProvenanceCandidate {
    let statement = Statement::parse(provenance(digests).to_string().as_bytes());
    ProvenanceCandidate {
        statement: statement.unwrap(),
        is_by_key,
    }
}

fn expected() -> Expected {
    Expected {
        commit: commit('a'),
        source: "git+https://h/a".to_owned(),
    }
}

#[test]
fn a_statement_names_everything_that_was_used_and_no_credentials() {
    let statement = provenance(&[digest('1')]);
    assert_eq!(
        statement["subject"],
        json!([{ "name": "r.example.com/x/a", "digest": { "sha256": "1".repeat(64) } }])
    );
    let definition = &statement["predicate"]["buildDefinition"];
    let names: Vec<&Value> = definition["resolvedDependencies"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| &it["name"])
        .collect();
    // An external builder that is recorded as a base is listed once.
    assert_eq!(names, ["source", "manifest", "builder", "base image"]);
    assert_eq!(
        definition["externalParameters"],
        json!({
            "service": "a",
            "source": "git+https://h/a@refs/heads/main",
            "reference": "refs/heads/main",
            "manifest": { "uri": "git+https://h/platform", "path": "x-platform.yml" },
        })
    );
    assert!(definition["internalParameters"]["recipe"]["docker.image"].is_string());
    assert!(!statement.to_string().contains("s3cret"));
    let documents = &statement["predicate"]["runDetails"]["byproducts"];
    assert_eq!(documents[0]["mediaType"], "application/spdx+json");
    let metadata = &statement["predicate"]["runDetails"]["metadata"];
    assert!(metadata["startedOn"].is_null() && metadata["finishedOn"].is_string());
}

#[test]
fn a_statement_names_the_bases_that_the_images_of_an_index_record() {
    let index = ['1', '2', '3', '4'].map(digest);
    let statement = provenance(&index);
    let dependencies = &statement["predicate"]["buildDefinition"]["resolvedDependencies"];
    let dependencies = dependencies.as_array().unwrap().iter();
    let bases = dependencies.filter(|it| it["name"] == "base image");
    let bases: Vec<&Value> = bases.map(|it| &it["digest"]["sha256"]).collect();
    assert_eq!(bases, [&json!("b".repeat(64)), &json!("f".repeat(64))]);
}

#[test]
fn repositories_have_uris() {
    for (url, uri) in [
        ("https://bob:x@h:1/a.git", "git+https://h:1/a.git"),
        ("ssh://git@h/a", "git+ssh://h/a"),
        ("git@h:x/a.git", "git+ssh://h/x/a.git"),
        ("git@h:/x/a.git", "git+ssh://h/x/a.git"),
        ("file:///srv/a", "git+file:///srv/a"),
        ("/srv/a:b", "git+file:///srv/a:b"),
    ] {
        assert_eq!(git_uri(url), uri);
    }
    let plugin = SourceRemote::Plugin(r#"builders/hg {"url":"https://h/x"}"#.to_owned());
    assert_eq!(
        source_uri(&plugin, None),
        "scm:builders/hg%20%7B%22url%22%3A%22https%3A//h/x%22%7D"
    );
}

#[test]
fn images_have_package_urls() {
    let image: ImageReference = "h:5000/x/A_b:1.0".to_lowercase().parse().unwrap();
    assert_eq!(
        image_uri(&image, Some(&digest('1'))),
        format!(
            "pkg:oci/a_b@sha256%3A{}?repository_url=h%3A5000/x/a_b&tag=1.0",
            "1".repeat(64)
        )
    );
}

#[test]
fn the_signed_bytes_include_type_and_length() {
    assert_eq!(
        signed_bytes("http://example.com/HelloWorld", b"hello world"),
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    );
    let envelope = Envelope::new(IN_TOTO_TYPE, b"{}", "c2ln");
    let text = serde_json::to_string(&envelope).unwrap();
    assert_eq!(
        text,
        r#"{"payloadType":"application/vnd.in-toto+json","payload":"e30=","signatures":[{"keyid":"","sig":"c2ln"}]}"#
    );
    let read: Envelope = serde_json::from_str(&text).unwrap();
    assert_eq!(read.document().unwrap(), b"{}");
    assert_eq!(read.signatures().collect::<Vec<_>>(), ["c2ln"]);
}

#[test]
fn a_payload_names_its_image() {
    let repository = "r.example.com/x/a".parse().unwrap();
    let payload = payload(&repository, &digest('1'));
    assert_eq!(payload_digest(&payload), Some(digest('1')));
    let other = String::from_utf8(payload).unwrap();
    let other = other.replace("cosign container image signature", "x");
    assert_eq!(payload_digest(other.as_bytes()), None);
    assert_eq!(payload_digest(b"{}"), None);
}

#[test]
fn one_valid_signature_is_enough() {
    let signature = |digit: char, is_by_key| SignatureCandidate {
        digest: Some(digest(digit)),
        is_by_key,
    };
    let judge = |signatures: &[SignatureCandidate]| judge_signature(&digest('1'), signatures);
    assert_eq!(judge(&[]), Finding::Unsigned);
    assert_eq!(judge(&[signature('1', false)]), Finding::WrongKey);
    assert_eq!(
        judge(&[signature('1', false), signature('2', true)]),
        Finding::WrongDigest(digest('2'))
    );
    let unreadable = SignatureCandidate {
        digest: None,
        is_by_key: true,
    };
    assert_eq!(judge(&[unreadable]), Finding::WrongKey);
    assert_eq!(
        judge(&[
            signature('2', true),
            signature('1', false),
            signature('1', true)
        ]),
        Finding::Verified
    );
}

#[test]
fn provenance_must_be_consistent_with_the_image() {
    let image = digest('1');
    let judge = |expected: &Expected, candidates: &[ProvenanceCandidate]| {
        judge_provenance(&image, expected, candidates)
    };
    let good = candidate(&[digest('1'), digest('2')], Some(true));
    assert_eq!(judge(&expected(), &[]), Finding::NoProvenance);
    assert_eq!(
        judge(&expected(), std::slice::from_ref(&good)),
        Finding::Verified
    );
    let unsigned = candidate(&[digest('1')], None);
    assert_eq!(judge(&expected(), &[unsigned]), Finding::Verified);
    let wrong = |finding: Finding, part: &str| match finding {
        Finding::WrongProvenance(why) => assert!(why.contains(part), "{why}"),
        other => panic!("{other:?}"),
    };
    let by_other = candidate(&[digest('1')], Some(false));
    wrong(
        judge(&expected(), std::slice::from_ref(&by_other)),
        "not signed",
    );
    assert_eq!(
        judge(&expected(), &[by_other, good.clone()]),
        Finding::Verified
    );
    let of_other = candidate(&[digest('3')], None);
    wrong(judge(&expected(), &[of_other]), "another image");
    let other_commit = Expected {
        commit: commit('b'),
        ..expected()
    };
    wrong(judge(&other_commit, std::slice::from_ref(&good)), "commit");
    // The start of an URI is not enough.
    for source in ["git+https://h", "git+https://h/b"] {
        let other_source = Expected {
            source: source.to_owned(),
            ..expected()
        };
        wrong(
            judge(&other_source, std::slice::from_ref(&good)),
            "repository",
        );
    }
}

#[test]
fn statements_of_other_tools_do_not_count() {
    let mut statement = provenance(&[digest('1')]);
    statement["predicate"]["buildDefinition"]["buildType"] = json!("https://mobyproject.org/x");
    let foreign = ProvenanceCandidate {
        statement: Statement::parse(statement.to_string().as_bytes()).unwrap(),
        is_by_key: None,
    };
    assert_eq!(
        judge_provenance(&digest('1'), &expected(), &[foreign]),
        Finding::NoProvenance
    );
    statement["predicateType"] = json!("https://spdx.dev/Document");
    assert_eq!(Statement::parse(statement.to_string().as_bytes()), None);
    assert_eq!(Statement::parse(b"[]"), None);
}

#[test]
fn a_problem_of_a_platform_is_one_of_the_image() {
    let image = |finding: Finding, platform: Option<Finding>| ImageVerdict {
        service: "a".to_owned(),
        image: "a@sha256:1".to_owned(),
        commit: "c".to_owned(),
        finding,
        platforms: platform
            .into_iter()
            .map(|it| ("sha256:2".to_owned(), it))
            .collect(),
    };
    let results = VerifyResults {
        images: vec![
            image(Finding::Verified, Some(Finding::Verified)),
            image(Finding::Verified, Some(Finding::WrongKey)),
            image(Finding::Unsigned, None),
        ],
    };
    assert_eq!(results.rejected().count(), 2);
    assert_eq!(results.unknown().count(), 0);
    let text = results.text();
    assert!(text.ends_with("\n1 of 3 images verified.\n"), "{text}");
    assert!(
        text.contains("  sha256:2  signed with another key"),
        "{text}"
    );
    assert!(
        results
            .document()
            .text()
            .contains(r#""result": "wrong-key""#)
    );
}
