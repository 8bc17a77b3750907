//! Every `toml` block of the documents holds settings that exist.

use std::path::{Path, PathBuf};

use bantam_config::{Env, Files, MistakeKind, Purpose, Source};

use super::root;

/// Surroundings in which everything that a block names is there.
struct Everything;

impl Env for Everything {
    fn get(&self, name: &str) -> Option<String> {
        (!name.starts_with("BANTAM_")).then(|| "k".repeat(32))
    }
}

impl Files for Everything {
    fn exists(&self, _: &Path) -> bool {
        true
    }
}

/// Returns the mistakes of a block that do not come from its being a part of a file.
fn mistakes(text: &str) -> Vec<String> {
    let folder = Path::new("/etc/bantam");
    let source = Source {
        name: "bantam.toml",
        text,
        folder,
        state_folder: folder,
        data_folder: folder,
        overrides: &[],
        variable_names: &[],
        purpose: Purpose::Serve,
    };
    let errors = bantam_config::load(&source, &Everything, &Everything).err();
    let all = errors.into_iter().flat_map(|errors| errors.diagnostics);
    let is_wrong =
        |kind| matches!(kind, MistakeKind::Syntax | MistakeKind::UnknownKey | MistakeKind::BadValue);
    all.filter(|mistake| is_wrong(mistake.kind)).map(|mistake| mistake.to_string()).collect()
}

/// Returns the blocks of a page: fenced as `toml`, or written into a file by a shell block.
fn blocks(page: &str) -> Vec<String> {
    let (mut blocks, mut current): (Vec<String>, Option<(&str, String)>) = (Vec::new(), None);
    for line in page.lines() {
        match &mut current {
            None if line == "```toml" => current = Some(("```", String::new())),
            None if line.ends_with("<<'TOML'") => current = Some(("TOML", String::new())),
            None => {}
            Some((end, block)) if line == *end => {
                blocks.push(std::mem::take(block));
                current = None;
            }
            Some((_, block)) => {
                block.push_str(line);
                block.push('\n');
            }
        }
    }
    blocks
}

fn pages(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let (folders, files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    let pages = files.into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    pages.chain(folders.iter().flat_map(|folder| self::pages(folder))).collect()
}

#[test]
fn every_block_of_settings_is_understood() {
    let mut checked = 0;
    for path in [vec![root().join("README.md")], pages(&root().join("docs"))].concat() {
        for block in blocks(&std::fs::read_to_string(&path).unwrap()) {
            let found = mistakes(&block);
            assert!(found.is_empty(), "{}:\n{block}\n{}", path.display(), found.join("\n"));
            checked += 1;
        }
    }
    assert!(checked > 10, "{checked} blocks");
    assert_eq!(mistakes("[server]\nbinds = 1\n").len(), 1);
}
