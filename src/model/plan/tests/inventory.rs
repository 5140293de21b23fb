//! Image names in engines.

use super::*;

fn has(engine_name: &str, image: &str) -> bool {
    let image_of_engine = EngineImage {
        id: "sha256:1".to_owned(),
        labels: Labels::new(),
    };
    let inventory = Inventory {
        engine: [(engine_name.to_owned(), image_of_engine)].into(),
        ..Inventory::default()
    };
    inventory.in_engine(&image.parse().unwrap()).is_some()
}

#[test]
fn an_image_is_found_by_any_engine_name() {
    for (engine_name, image) in [
        ("busybox:latest", "busybox"),
        ("busybox:1", "docker.io/library/busybox:1"),
        ("x/busybox:latest", "docker.io/x/busybox"),
        // Podman spells out registries.
        ("docker.io/library/busybox:latest", "busybox"),
        ("docker.io/x/busybox:1", "x/busybox:1"),
        ("docker.io/x/busybox:latest", "x/busybox"),
        ("localhost/busybox:latest", "busybox"),
        ("r.example.com/busybox:latest", "r.example.com/busybox"),
    ] {
        assert!(has(engine_name, image), "{image} is {engine_name}");
    }
    assert!(!has("docker.io/x/busybox:1", "x/busybox"));
    assert!(!has("localhost/busybox:1", "r.example.com/busybox:1"));
    assert!(!has("docker.io/r/busybox:1", "r.example.com/r/busybox:1"));
}
