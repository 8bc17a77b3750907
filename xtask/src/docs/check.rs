//! Links and anchors lead somewhere, files that are named exist, every page is in the table of contents, README stays
//! short, and every block of commands is one that the tests run.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::markdown::Page;
use crate::tidy::Report;

/// Bytes of README.md at most: a page that a stranger reads to its end.
const README_BYTES_MAX: usize = 8 * 1024;

/// The folder of the book.
const BOOK: &str = "docs/";
const SUMMARY: &str = "docs/SUMMARY.md";

/// What the paths of files begin with, where documents name them.
const FOLDERS: [&str; 7] = [".cargo/", "bench/", "crates/", "docs/", "scripts/", "tests/", "xtask/"];

/// Words that blocks may be fenced with. Commands are `sh`, so that `tests/test_docs.py` runs them.
const LANGUAGES: [&str; 6] = ["json", "python", "rust", "text", "toml", "sh"];

/// The documents, by their paths from the root, with `/`.
type Documents = BTreeMap<String, String>;

/// Reads and checks all documents; one that cannot be read is a problem of its own.
pub(crate) fn check(root: &Path) -> Report {
    let mut report = Report::default();
    match read(root) {
        Ok((documents, files)) => check_documents(&documents, &files, &mut report),
        Err(error) => report.problem(error),
    }
    report
}

/// Returns the documents with their texts, and the paths of all files that links may lead to.
fn read(root: &Path) -> Result<(Documents, BTreeSet<String>), String> {
    let files = crate::tidy::tracked_files(root)?;
    let is_document = |path: &&String| {
        path.ends_with(".md") && (path.starts_with(BOOK) || !path.contains('/') || *path == "bench/README.md")
    };
    let text = |path: &String| {
        let text = std::fs::read_to_string(root.join(path));
        text.map(|text| (path.clone(), text)).map_err(|error| format!("cannot read {path}: {error}"))
    };
    let documents = files.iter().filter(is_document).map(text).collect::<Result<_, _>>()?;
    Ok((documents, files))
}

fn check_documents(documents: &Documents, files: &BTreeSet<String>, report: &mut Report) {
    let pages: BTreeMap<&str, Page> =
        documents.iter().map(|(path, text)| (path.as_str(), Page::read(text))).collect();
    let links: usize = pages.values().map(|page| page.links.len()).sum();
    report.fact(format!("documents: {} pages, {links} links", pages.len()));
    for (path, page) in &pages {
        check_fences(path, page, report);
        for (line, target) in &page.links {
            if let Err(problem) = resolve(path, target, &pages, files) {
                report.problem(format!("{path}:{line} links {target}: {problem}"));
            }
        }
    }
    for (path, page) in &pages {
        for (line, code) in &page.codes {
            for named in code.split_whitespace().filter_map(file_named) {
                if !is_there(&named, files) {
                    report.problem(format!("{path}:{line} names {named}, which is not there"));
                }
            }
        }
    }
    check_contents(&pages, report);
    let bytes = documents.get("README.md").map_or(0, String::len);
    if bytes > README_BYTES_MAX {
        report.problem(format!(
            "README.md has {bytes} bytes; {README_BYTES_MAX} is the limit: move what is long into {BOOK}"
        ));
    }
}

/// Checks one link.
fn resolve(
    from: &str,
    target: &str,
    pages: &BTreeMap<&str, Page>,
    files: &BTreeSet<String>,
) -> Result<(), String> {
    if ["http://", "https://", "mailto:"].iter().any(|scheme| target.starts_with(scheme)) {
        return Ok(());
    }
    let (path, anchor) = target.split_once('#').map_or((target, None), |(path, anchor)| (path, Some(anchor)));
    let path = if path.is_empty() {
        from.to_owned()
    } else {
        joined(from, path).ok_or("it leaves the repository")?
    };
    if from.starts_with(BOOK) && !path.starts_with(BOOK) {
        return Err(format!("the book is read without the repository; name {path} in words"));
    }
    if !is_there(&path, files) {
        return Err(format!("there is no {path}"));
    }
    let Some(anchor) = anchor else { return Ok(()) };
    match pages.get(path.as_str()) {
        Some(page) if page.anchors.iter().any(|known| known == anchor) => Ok(()),
        Some(_) => Err(format!("{path} has no heading #{anchor}")),
        None => Err(format!("{path} is not a page, so it has no headings")),
    }
}

/// Returns whether a path is a file, or a folder with one.
fn is_there(path: &str, files: &BTreeSet<String>) -> bool {
    let inside = format!("{}/", path.trim_end_matches('/'));
    files.contains(path) || files.iter().any(|file| file.starts_with(&inside))
}

/// Returns the path that a word of code names, from the root; of a crate's file `crates/` may be left out.
fn file_named(word: &str) -> Option<String> {
    let is_plain = |symbol: char| symbol.is_ascii_alphanumeric() || "_-./".contains(symbol);
    if !word.chars().all(is_plain) {
        return None;
    }
    if FOLDERS.iter().any(|folder| word.starts_with(folder)) {
        return Some(word.to_owned());
    }
    (word.starts_with("bantam-") && word.contains('/')).then(|| format!("crates/{word}"))
}

/// Returns `path` as seen from the folder of `from`; nothing when it leaves the root.
fn joined(from: &str, path: &str) -> Option<String> {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// Checks that the table of contents lists every page of the book once.
fn check_contents(pages: &BTreeMap<&str, Page>, report: &mut Report) {
    let Some(summary) = pages.get(SUMMARY) else {
        return report.problem(format!("there is no {SUMMARY}"));
    };
    let mut listed: BTreeMap<String, usize> = BTreeMap::new();
    for path in summary.links.iter().filter_map(|(_, target)| joined(SUMMARY, target)) {
        *listed.entry(path).or_default() += 1;
    }
    for (path, count) in listed.iter().filter(|(_, count)| **count > 1) {
        report.problem(format!("{SUMMARY} lists {path} {count} times"));
    }
    for path in pages.keys().filter(|path| path.starts_with(BOOK) && **path != SUMMARY) {
        if !listed.contains_key(*path) {
            report.problem(format!("{path} is not in {SUMMARY}: nobody would find it"));
        }
    }
}

/// Checks that fences are closed and that their words are known, so that no block of commands escapes the tests.
fn check_fences(path: &str, page: &Page, report: &mut Report) {
    if let Some(line) = page.open_fence {
        report.problem(format!("{path}:{line} opens a block that nothing closes"));
    }
    for (line, words) in &page.fences {
        let (language, rest) = words.split_once(' ').unwrap_or((words, ""));
        if !LANGUAGES.contains(&language) {
            report.problem(format!(
                "{path}:{line} fences a block as `{words}`; use one of {}",
                LANGUAGES.join(", ")
            ));
        }
        let reason = rest.strip_prefix("no-run:").map(str::trim);
        if !rest.is_empty() && (language != "sh" || reason.is_none_or(str::is_empty)) {
            report.problem(format!("{path}:{line} fences a block as `{words}`; write `sh no-run: REASON`"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::testing::problems;

    /// Returns the problems of documents that are given as (path, text); a table of contents that lists them is added.
    fn found(documents: &[(&str, &str)]) -> Vec<String> {
        let mut all: Documents =
            documents.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
        let in_book = documents.iter().filter_map(|(path, _)| path.strip_prefix(BOOK));
        let contents: String = in_book.map(|path| format!("- [page]({path})\n")).collect();
        all.entry(SUMMARY.to_owned()).or_insert(contents);
        let mut files: BTreeSet<String> = all.keys().cloned().collect();
        files.insert("crates/a/src/lib.rs".to_owned());
        problems(|report| check_documents(&all, &files, report))
    }

    #[track_caller]
    fn check(documents: &[(&str, &str)], expected: &[&str]) {
        let found = found(documents);
        assert_eq!(found.len(), expected.len(), "{found:?}");
        for (found, expected) in found.iter().zip(expected) {
            assert!(found.contains(expected), "{found} has no {expected}");
        }
    }

    #[test]
    fn links_lead_to_files_folders_and_headings() {
        let book =
            ("docs/a/b.md", "# Title\n[up](../c.md#two-words) [here](#title) [web](https://example.com/x)");
        check(
            &[book, ("docs/c.md", "## Two words"), ("README.md", "[code](crates/a/src/) [book](docs/c.md)")],
            &[],
        );
        check(&[("README.md", "[gone](docs/none.md)")], &["README.md:1 links docs/none.md: there is no"]);
        check(&[("README.md", "# A\n[b](#b)")], &["no heading #b"]);
        check(&[("README.md", "[x](crates/a/src/lib.rs#L1)")], &["not a page"]);
        check(&[("README.md", "[x](../../etc/passwd)")], &["leaves the repository"]);
    }

    #[test]
    fn the_book_leads_nowhere_outside_itself() {
        check(&[("README.md", ""), ("docs/a.md", "[x](../README.md)")], &["name README.md in words"]);
    }

    #[test]
    fn every_page_is_in_the_table_of_contents_once() {
        check(&[("docs/a.md", ""), (SUMMARY, "nothing")], &["docs/a.md is not in docs/SUMMARY.md"]);
        check(&[("docs/a.md", ""), (SUMMARY, "[a](a.md) [b](a.md)")], &["lists docs/a.md 2 times"]);
        check(&[(SUMMARY, "[a](a.md)")], &["there is no docs/a.md"]);
    }

    #[test]
    fn files_that_are_named_in_code_exist() {
        let fine =
            "`crates/a/src/lib.rs` `crates/a` `python docs/a.md --flag` `bantam-a` `/v1/models` `crates/*`";
        check(&[("README.md", fine), ("docs/a.md", "")], &[]);
        check(&[("README.md", "\n`bantam-a/src/lib.rs`")], &["README.md:2 names crates/bantam-a/src/lib.rs"]);
        check(&[("README.md", "`python scripts/gone.py FILE`")], &["names scripts/gone.py"]);
    }

    #[test]
    fn a_long_readme_is_refused() {
        check(&[("README.md", &"x".repeat(README_BYTES_MAX))], &[]);
        check(&[("README.md", &"x".repeat(README_BYTES_MAX + 1))], &["8192 is the limit"]);
    }

    #[test]
    fn no_block_of_commands_escapes_the_tests() {
        check(&[("README.md", "```sh\nls\n```\n```sh no-run: it is long\nls\n```\n")], &[]);
        check(&[("README.md", "```console\nls\n```\n")], &["fences a block as `console`"]);
        check(&[("README.md", "```\nls\n```\n")], &["fences a block as ``"]);
        check(&[("README.md", "```sh no-run:\nls\n```\n")], &["sh no-run: REASON"]);
        check(&[("README.md", "```sh\nls\n")], &["nothing closes"]);
    }
}
