//! `xp man`

use std::fs;
use std::path::Path;

use crate::base::error::Failure;
use crate::base::suggest;
use crate::cli::ManArgs;
use crate::cli::man;

/// Prints one page, or writes all of them.
pub fn run(args: &ManArgs) -> Result<(), Failure> {
    let pages = man::pages();
    if let Some(folder) = &args.out {
        return write(folder, &pages);
    }
    let name = format!("xp {}", args.page.join(" "));
    let name = name.trim().replace(' ', "-");
    match pages.iter().find(|page| page.name == name) {
        Some(page) => super::print(&page.text),
        None => {
            let names = pages.iter().map(|page| page.name.as_str());
            let near = suggest::nearest(&name, names).map(|near| near.replace('-', " "));
            let hint = near.map_or_else(
                || "`xp help` lists the commands".to_owned(),
                |near| suggest::did_you_mean(near.replacen("xp", "xp man", 1)),
            );
            Err(Failure::usage(format!(
                "manual page `{name}` not found\nhint: {hint}"
            )))
        }
    }
}

fn write(folder: &Path, pages: &[man::Page]) -> Result<(), Failure> {
    let failed = |path: &Path, error: std::io::Error| {
        Failure::outside(format!("cannot write {}: {error}", path.display()))
    };
    fs::create_dir_all(folder).map_err(|error| failed(folder, error))?;
    for page in pages {
        let path = folder.join(format!("{}.1", page.name));
        fs::write(&path, &page.text).map_err(|error| failed(&path, error))?;
    }
    super::print(&format!(
        "wrote {} to {}\n",
        super::count_of(pages.len(), "page"),
        folder.display()
    ))
}
