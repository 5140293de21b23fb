//! `docker.cache`: the images whose layers are reused.

use super::*;
use crate::model::source::ReferenceOrigin;

fn platform(docker: &str) -> TestPlatform {
    TestPlatform::of(&MANIFEST.replace(
        "docker: {image: front",
        &format!("docker: {{{docker}image: front"),
    ))
}

fn layers(platform: &TestPlatform) -> Option<Vec<String>> {
    let plan = platform.plan(&["front"]);
    let mut steps = plan.units.last().unwrap().steps.iter();
    let layers = steps.find_map(|step| match step {
        Step::Image(image) => Some(image.layers.clone()),
        _ => None,
    });
    let layers = layers.unwrap()?;
    Some(layers.iter().map(ToString::to_string).collect())
}

#[test]
fn layers_are_those_of_the_branch_and_of_the_default_branch() {
    assert_eq!(layers(&platform("")), None);
    let mut platform = platform("cache: true, ");
    let image = |tag: &str| format!("r.example.com/x/front:{tag}");
    assert_eq!(layers(&platform), Some(vec![image("master")]));
    let text = platform.plan(&["front"]);
    let text = text.display(Path::new("/p"), Detail::FILE, Duration::ZERO);
    assert!(
        text.contains("docker build --cache-from r.example.com/x/front:master "),
        "{text}"
    );

    let source = platform.sources.get_mut(&name("front")).unwrap();
    source.manifest_reference = Some(source.tip.clone());
    source.tip.name = Some("refs/heads/task/1".to_owned());
    source.origin = ReferenceOrigin::Branch;
    let of_branch = Tag::from_branch("task/1").to_string();
    assert_eq!(
        layers(&platform),
        Some(vec![image(&of_branch), image("master")])
    );

    // A commit without a name only offers its own layers.
    let source = platform.sources.get_mut(&name("front")).unwrap();
    (source.manifest_reference, source.tip.name) = (None, None);
    assert_eq!(layers(&platform), Some(Vec::new()));
}

#[test]
fn images_that_are_not_pushed_have_no_layers() {
    let text = MANIFEST.replace("registry: r.example.com/x", "").replace(
        "docker: {image: front",
        "docker: {cache: true, image: front",
    );
    assert_eq!(layers(&TestPlatform::of(&text)), None);
}

#[test]
fn the_cache_is_not_an_input() {
    let recipe = |docker: &str| {
        let plan = platform(docker).plan(&["front"]);
        plan.units.last().unwrap().recipe.clone()
    };
    assert_eq!(recipe("cache: true, "), recipe(""));
}
