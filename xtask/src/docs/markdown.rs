//! What the checks need to know of a Markdown page: its headings, its links, its code and its fenced blocks.

/// A page, read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Page {
    /// Anchors of its headings, as GitHub makes them.
    pub(super) anchors: Vec<String>,
    /// Targets of its links, with their lines.
    pub(super) links: Vec<(usize, String)>,
    /// Code within the prose, with its lines.
    pub(super) codes: Vec<(usize, String)>,
    /// The words behind the three ticks that open each fenced block, with their lines.
    pub(super) fences: Vec<(usize, String)>,
    /// The line of a fence that is never closed.
    pub(super) open_fence: Option<usize>,
}

impl Page {
    /// Reads a page. Code is not text: links and headings in it do not count.
    pub(super) fn read(text: &str) -> Self {
        let mut page = Self::default();
        let mut fence: Option<(usize, String)> = None;
        let mut prose = String::new();
        for (index, line) in text.lines().enumerate() {
            let number = index + 1;
            let trimmed = line.trim_start();
            let ticks: String = trimmed.chars().take_while(|symbol| *symbol == '`').collect();
            match &fence {
                Some((_, closing)) => {
                    if trimmed.trim_end() == closing {
                        fence = None;
                    }
                    prose.push('\n');
                    continue;
                }
                None if ticks.len() >= 3 => {
                    page.fences.push((number, trimmed.trim_start_matches('`').trim().to_owned()));
                    fence = Some((number, ticks));
                    prose.push('\n');
                    continue;
                }
                None => {}
            }
            if let Some(title) = heading(line) {
                let anchor = page.unused(anchor(title));
                page.anchors.push(anchor);
            }
            prose.push_str(line);
            prose.push('\n');
        }
        page.open_fence = fence.map(|(line, _)| line);
        let (prose, codes) = without_code(&prose);
        page.links = links(&prose);
        page.codes = codes;
        page
    }

    /// Returns an anchor that no heading before has: the second of a name ends with `-1`.
    fn unused(&self, anchor: String) -> String {
        let numbered = (1..).map(|number| format!("{anchor}-{number}"));
        std::iter::once(anchor.clone())
            .chain(numbered)
            .find(|anchor| !self.anchors.contains(anchor))
            .unwrap_or(anchor)
    }
}

/// Returns the text of a heading.
fn heading(line: &str) -> Option<&str> {
    let text = line.trim_start_matches('#');
    let level = line.len() - text.len();
    ((1..=6).contains(&level)).then(|| text.strip_prefix(' ')).flatten().map(str::trim)
}

/// Returns a heading's anchor: lower case, blanks as hyphens, other marks left out.
fn anchor(title: &str) -> String {
    let kept = title.chars().filter(|symbol| symbol.is_alphanumeric() || matches!(symbol, ' ' | '-' | '_'));
    kept.map(|symbol| if symbol == ' ' { '-' } else { symbol.to_ascii_lowercase() }).collect()
}

/// Returns the text without its inline code and comments, lines staying where they are, and the code with its lines.
fn without_code(text: &str) -> (String, Vec<(usize, String)>) {
    let mut out = String::with_capacity(text.len());
    let mut codes = Vec::new();
    let mut line = 1;
    let mut rest = text;
    while let Some(start) = rest.find(['`', '<']) {
        out.push_str(&rest[..start]);
        line += rest[..start].matches('\n').count();
        rest = &rest[start..];
        let ticks = rest.len() - rest.trim_start_matches('`').len();
        let (opening, closing) = match ticks {
            0 => ("<!--", "-->"),
            _ => (&rest[..ticks], &rest[..ticks]),
        };
        let inside = rest.strip_prefix(opening).and_then(|after| after.split_once(closing));
        let Some((inside, after)) = inside else {
            out.push(' ');
            rest = &rest[1..];
            continue;
        };
        if ticks > 0 {
            codes.push((line, inside.to_owned()));
        }
        let breaks = inside.matches('\n').count();
        line += breaks;
        out.push_str(&"\n".repeat(breaks));
        out.push('x');
        rest = after;
    }
    out.push_str(rest);
    (out, codes)
}

/// Returns the targets of `[text](target)` and `[name]: target`.
fn links(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (position, _) in text.match_indices("](") {
        let line = text[..position].matches('\n').count() + 1;
        let target = text[position + 2..].split([')', '\n']).next().unwrap_or_default();
        // A title may follow the target.
        found.push((line, target.split_whitespace().next().unwrap_or_default().to_owned()));
    }
    for (index, line) in text.lines().enumerate() {
        let definition = line.strip_prefix('[').and_then(|rest| rest.split_once("]: "));
        if let Some((_, target)) = definition {
            found.push((index + 1, target.trim().to_owned()));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headings_become_anchors_as_github_makes_them() {
        let page = Page::read(
            "# A page\n## What `is` proved, and what is not\ntext\n## Twice\n## Twice\n#no heading\n",
        );
        assert_eq!(page.anchors, ["a-page", "what-is-proved-and-what-is-not", "twice", "twice-1"]);
    }

    #[test]
    fn links_are_found_with_their_lines_and_not_in_code() {
        let text = "see [one](a.md) and [two\nlines](b.md#c \"title\")\n`[no](x.md)`\n```sh\n[no](y.md)\n```\n<!-- [no](z.md) -->\n[d]: e.md\n";
        let links = Page::read(text).links;
        let expected = [(1, "a.md"), (2, "b.md#c"), (8, "e.md")];
        assert_eq!(links, expected.map(|(line, target)| (line, target.to_owned())));
    }

    #[test]
    fn code_in_prose_is_found_with_its_line() {
        let page = Page::read("one `a/b.rs` and\n``c ` d`` <!-- `no` -->\n\n`e\nf` `g`\n");
        let expected = [(1, "a/b.rs"), (2, "c ` d"), (4, "e\nf"), (5, "g")];
        assert_eq!(page.codes, expected.map(|(line, code)| (line, code.to_owned())));
    }

    #[test]
    fn fences_are_told_by_what_stands_behind_their_ticks() {
        let page = Page::read("```sh no-run: it is long\n# no heading\n```\n````text\n```\n````\n```\n");
        let words: Vec<&str> = page.fences.iter().map(|(_, word)| word.as_str()).collect();
        assert_eq!(words, ["sh no-run: it is long", "text", ""]);
        assert_eq!((page.open_fence, page.anchors.len()), (Some(7), 0));
    }
}
