//! `file-formats.md`: written by hand, but for its table of magic bytes and versions, which is taken from the sources.

use super::{heading, root, row};

const BEGIN: &str = "<!-- constants: written by `cargo xtask docs` -->\n";
const END: &str = "<!-- end of constants -->\n";

/// A file format with the files that hold its constants: what it begins with, and its version.
struct Format {
    name: &'static str,
    mark: Option<Constant>,
    version: Constant,
}

/// A constant by its crate, a part of its file's path, and its name.
type Constant = (&'static str, &'static str, &'static str);

const FORMATS: &[Format] = &[
    Format {
        name: "student",
        mark: Some(("bantam-student", "container", "MAGIC")),
        version: ("bantam-student", "container", "VERSION"),
    },
    Format { name: "decoder student", mark: None, version: ("bantam-local", "student/file", "FORMAT") },
    Format {
        name: "certificate",
        mark: None,
        version: ("bantam-route", "certificate", "CERTIFICATE_VERSION"),
    },
    Format {
        name: "ledger database",
        mark: Some(("bantam-ledger", "schema", "APPLICATION_ID")),
        version: ("bantam-ledger", "schema", "MIGRATIONS"),
    },
    Format {
        name: "journal segment",
        mark: Some(("bantam-ledger", "format/frame", "MAGIC")),
        version: ("bantam-ledger", "format/frame", "FRAMING_VERSION"),
    },
    Format {
        name: "journal record of a request",
        mark: None,
        version: ("bantam-ledger", "src/format.rs", "SETTLEMENT_VERSION"),
    },
    Format {
        name: "journal record of a template",
        mark: None,
        version: ("bantam-ledger", "src/format.rs", "TEMPLATE_VERSION"),
    },
    Format { name: "model manifest", mark: None, version: ("bantam-store", "manifest", "VERSION") },
    Format {
        name: "bundle",
        mark: Some(("bantam-store", "bundle", "INDEX")),
        version: ("bantam-store", "bundle", "VERSION"),
    },
    Format {
        name: "laid-out weights",
        mark: Some(("bantam-engine", "decoder/cache", "MAGIC")),
        version: ("bantam-engine", "decoder/cache", "VERSION"),
    },
    Format { name: "job", mark: None, version: ("bantam-jobs", "record", "VERSION") },
    Format { name: "confirmed configuration", mark: None, version: ("bantam-admin", "confirm", "VERSION") },
    Format { name: "training checkpoint", mark: None, version: ("bantam-train", "checkpoint", "FORMAT") },
];

#[test]
fn the_page_of_formats_holds_the_constants_of_the_sources() {
    let mut table = heading(&["Format", "Mark", "Version"]);
    for Format { name, mark, version } in FORMATS {
        let mark = mark.map_or_else(|| "–".to_owned(), |constant| format!("`{}`", value(constant)));
        table.push_str(&row(&[name, &mark, &format!("`{}`", value(*version))]));
    }
    let path = root().join("docs/reference/file-formats.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = page.split_once(BEGIN).expect("the page has the mark before its table");
    let (_, after) = rest.split_once(END).expect("the page has the mark after its table");
    super::check_page("file-formats.md", &format!("{before}{BEGIN}\n{table}\n{END}{after}"));
}

/// Returns the value of a constant as the source writes it, without the quotes of strings; of an array its length.
fn value((package, file, name): Constant) -> String {
    let folder = root().join("crates").join(package);
    let found: Vec<String> = sources(&folder.join("src"))
        .into_iter()
        .filter(|path| path.to_string_lossy().replace('\\', "/").contains(file))
        .filter_map(|path| definition(&std::fs::read_to_string(path).unwrap(), name))
        .collect();
    let [found] = &found[..] else { panic!("{package} has {} constants {name} in {file}", found.len()) };
    found.clone()
}

fn definition(text: &str, name: &str) -> Option<String> {
    let start = text.find(&format!("const {name}: "))?;
    let (kind, rest) = text.get(start..)?.split_once(" = ")?;
    let (value, _) = rest.split_once(';')?;
    if let Some((_, length)) = kind.strip_suffix(']').and_then(|kind| kind.rsplit_once("&str; ")) {
        return Some(length.to_owned());
    }
    Some(value.trim_start_matches(['*', 'b']).trim_matches('"').replace('_', ""))
}

fn sources(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let (folders, files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    files.into_iter().chain(folders.iter().flat_map(|folder| sources(folder))).collect()
}

#[test]
fn a_constant_is_read_as_the_source_writes_it() {
    let text = "const MAGIC: &[u8; 8] = b\"BANTAMST\";\npub const VERSION: u32 = 3;\nconst STEPS: [&str; 2] = [A, B];";
    assert_eq!(definition(text, "MAGIC").as_deref(), Some("BANTAMST"));
    assert_eq!(definition(text, "VERSION").as_deref(), Some("3"));
    assert_eq!(definition(text, "STEPS").as_deref(), Some("2"));
    assert_eq!(definition(text, "OTHER"), None);
}
