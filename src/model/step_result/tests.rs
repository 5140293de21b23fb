use super::*;

fn result() -> StepResult {
    StepResult {
        key: StepKey::of(b"x"),
        service: "backend".to_owned(),
        phase: "build".to_owned(),
        commit: "0123456789abcdef0123456789abcdef01234567".to_owned(),
        saved_at: 1_700_000_000,
        seconds: 12.5,
        parts: vec![
            ("commands".to_owned(), "make\nmake install".to_owned()),
            ("input src".to_owned(), "abc".to_owned()),
        ],
        outputs: Some(OutputsBlob {
            digest: format!("sha256:{}", "a".repeat(64)).parse().unwrap(),
            bytes: 10,
            unpacked_bytes: 20,
            files: 3,
        }),
    }
}

#[test]
fn a_document_is_read_as_it_was_written() {
    let mut result = result();
    let text = result.to_json();
    assert_eq!(StepResult::from_json(text.as_bytes()), Some(result.clone()));
    result.outputs = None;
    let text = result.to_json();
    assert!(!text.contains("outputs"), "{text}");
    assert_eq!(StepResult::from_json(text.as_bytes()), Some(result));
}

#[test]
fn other_documents_are_not_read() {
    let good = result().to_json();
    let read = |from: &str, to: &str| {
        assert!(good.contains(from), "{good}");
        StepResult::from_json(good.replace(from, to).as_bytes())
    };
    assert!(read("{\"version\":1,", "{\"version\":1,\"later\":true,").is_some());
    for (from, to) in [
        ("\"version\":1", "\"version\":2"),
        ("\"version\":1", "\"version\":\"1\""),
        ("backend", "back\\u001b[2Jend"),
        ("\"build\"", "\"a\\nb\""),
        ("\"input src\"", "\"a\\tb\""),
        ("12.5", "-1.0"),
        ("12.5", "1e999"),
        ("sha256:", "sha512:"),
        ("sha256:a", "sha256:"),
        ("\"files\":3", "\"files\":-3"),
        ("{\"version", "[{\"version"),
    ] {
        assert_eq!(read(from, to), None, "{from} as {to}");
    }
    assert_eq!(StepResult::from_json(b""), None);
    let long = format!("{}{good}", " ".repeat(3 * 1024 * 1024));
    assert_eq!(StepResult::from_json(long.as_bytes()), None);
}

#[test]
fn a_key_has_one_text() {
    let key = StepKey::of(b"");
    let text = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    assert_eq!(key.to_string(), text);
    assert_eq!(text.parse::<StepKey>().unwrap(), key);
    assert_eq!(key.tag().as_str(), format!("step-{text}"));
    assert!(key.tag().named_commit().is_none());
    for text in ["", "e3b0", &text.to_uppercase(), &format!("{text}00")] {
        assert!(text.parse::<StepKey>().is_err(), "{text}");
    }
}

#[test]
fn annotations_name_the_phase() {
    let annotations = result().annotations();
    assert_eq!(annotations["x-platform.service"], "backend");
    assert_eq!(annotations["x-platform.phase"], "build");
}
