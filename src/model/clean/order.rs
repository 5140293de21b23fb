//! The order of removals.

use std::collections::{HashMap, HashSet};

use super::contents::ImageContent;
use super::index::{ImageIndex, Position};

/// The longest chain of references that is followed. References contain digests, so there are no cycles.
const DEEPEST: usize = 32;

/// Returns the images in the order in which they are removed, repository by repository: what describes an image before
/// the image, and an index before its parts. So nothing that still exists refers to something that is gone.
pub(super) fn ordered(index: &ImageIndex<'_>, removed: &HashSet<Position>) -> Vec<Position> {
    let mut depths = HashMap::new();
    for position in index.positions().filter(|it| removed.contains(it)) {
        deepen(index, removed, position, 0, &mut depths);
    }
    let mut ordered: Vec<Position> = removed.iter().copied().collect();
    ordered.sort_by_cached_key(|position| {
        let image = index.image(*position);
        let is_result = matches!(image.content, ImageContent::StepResult);
        let depth = depths.get(position).copied().unwrap_or_default();
        (
            position.0,
            is_result,
            depth,
            image.created,
            image.digest.clone(),
        )
    });
    ordered
}

/// Sets the number of manifests that must be removed before one.
fn deepen(
    index: &ImageIndex<'_>,
    removed: &HashSet<Position>,
    position: Position,
    depth: usize,
    depths: &mut HashMap<Position, usize>,
) {
    match depths.get(&position) {
        Some(known) if *known >= depth => return,
        _ => _ = depths.insert(position, depth),
    }
    if depth < DEEPEST {
        for later in index.references(position).filter(|it| removed.contains(it)) {
            deepen(index, removed, later, depth + 1, depths);
        }
    }
}
