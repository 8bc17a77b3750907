//! Everything that a template gives a name passes through a filter.
//!
//! The engine counts the bytes of texts and lists, but not how deep lists are nested, nor how long the text of one is that
//! holds another many times. Such a list is built by naming one and using the name twice, again and again. So values are
//! checked where they get a name: in assignments, in arguments of macros, and in loops and blocks that make lists.

/// The name of the filter.
pub(crate) const KEPT: &str = "bantam_kept";

/// Returns the source with `{% set name = value %}` written as `{% set name = (value)|bantam_kept %}`, and with a check behind
/// each other tag that names values. The check ends as the tag does, so that it trims the same white space.
///
/// Tags are told apart as the engine does it: comments and raw blocks are skipped, and a tag ends only outside of texts and
/// brackets. A tag without an end is left to the engine, which refuses it.
pub(crate) fn with_kept_assignments(source: &str) -> String {
    let mut text = String::with_capacity(source.len() + 64);
    let mut rest = source;
    while let Some(tag) = next_tag(rest) {
        let (before, from) = rest.split_at(tag.start);
        let (inside, after) = from.split_at(tag.length);
        text.push_str(before);
        match tag.value {
            Some(value) => {
                let (name, value_on) = inside.split_at(value.start);
                let (value, end) = value_on.split_at(value.len());
                text.extend([name, " (", value, ")|", KEPT, " ", end]);
            }
            None => text.push_str(inside),
        }
        if !tag.names.is_empty() {
            let end = inside.len().checked_sub(3).and_then(|at| inside.get(at..)).unwrap_or_default();
            let end = if end.starts_with(['-', '+']) { end } else { "%}" };
            text.extend(["{% set ", KEPT, " = ([", &tag.names.join(", "), "])|", KEPT, " ", end]);
        }
        rest = after;
    }
    text.push_str(rest);
    text
}

/// A tag, a comment or a raw block.
struct Tag<'t> {
    start: usize,
    length: usize,
    /// What it names, other than by an assignment.
    names: Vec<&'t str>,
    /// Where the value of an assignment stands in the tag.
    value: Option<std::ops::Range<usize>>,
}

fn next_tag(text: &str) -> Option<Tag<'_>> {
    let bytes = text.as_bytes();
    let start = bytes.windows(2).position(|pair| matches!(pair, b"{{" | b"{%" | b"{#"))?;
    let from = text.get(start..)?;
    let whole = |length| Some(Tag { start, length, names: Vec::new(), value: None });
    if from.starts_with("{#") {
        return whole(from.get(2..)?.find("#}")? + 4);
    }
    if from.starts_with("{{") {
        return whole(tag_end(from, "}}")?.1);
    }
    if let Some(length) = word_tag(from, "raw") {
        return whole(raw_end(from, length)?);
    }
    let (inner_end, length) = tag_end(from, "%}")?;
    let inner = from.get(..inner_end)?;
    Some(Tag { start, length, names: named(inner).unwrap_or_default(), value: assigned(inner) })
}

/// Returns the length of the tag at the beginning of `text` if it holds nothing but `word`.
fn word_tag(text: &str, word: &str) -> Option<usize> {
    let inner = text.strip_prefix("{%")?;
    let inner = inner.strip_prefix(['-', '+']).unwrap_or(inner);
    let is_space = |character: char| character.is_ascii_whitespace();
    let after = inner.trim_start_matches(is_space).strip_prefix(word)?.trim_start_matches(is_space);
    let after = after.strip_prefix(['-', '+']).unwrap_or(after).strip_prefix("%}")?;
    Some(text.len() - after.len())
}

/// Returns where the raw block ends whose first tag has that length.
fn raw_end(text: &str, first: usize) -> Option<usize> {
    let mut at = first;
    loop {
        at += text.get(at..)?.find("{%")?;
        match word_tag(text.get(at..)?, "endraw") {
            Some(length) => return Some(at + length),
            None => at += 2,
        }
    }
}

/// Returns where the inside of the tag at the beginning of `text` ends, and the tag.
fn tag_end(text: &str, end: &str) -> Option<(usize, usize)> {
    let mut depth = 0_i64;
    let mut at = 2 + usize::from(matches!(text.as_bytes().get(2), Some(b'-' | b'+')));
    loop {
        let rest = text.as_bytes().get(at..)?;
        if depth == 0 {
            let marked = usize::from(matches!(rest.first(), Some(b'-' | b'+')));
            if rest.get(marked..)?.starts_with(end.as_bytes()) {
                return Some((at, at + marked + end.len()));
            }
        }
        at += item_length(rest, &mut depth)?;
    }
}

/// Returns the length of a text or of one other byte, and counts brackets.
fn item_length(rest: &[u8], depth: &mut i64) -> Option<usize> {
    match *rest.first()? {
        quote @ (b'"' | b'\'') => {
            let mut at = 1;
            while *rest.get(at)? != quote {
                at += if rest.get(at) == Some(&b'\\') { 2 } else { 1 };
            }
            return Some(at + 1);
        }
        b'(' | b'[' | b'{' => *depth += 1,
        b')' | b']' | b'}' => *depth -= 1,
        _ => {}
    }
    Some(1)
}

/// Returns the statement of a tag, and what follows.
fn statement(tag: &str) -> Option<(&str, &str)> {
    let inner = tag.strip_prefix("{%")?;
    let inner = inner.strip_prefix(['-', '+']).unwrap_or(inner);
    let inner = inner.trim_start_matches(|character: char| character.is_ascii_whitespace());
    let length = inner.find(|character| !is_of_name(character)).unwrap_or(inner.len());
    inner.split_at_checked(length)
}

const fn is_of_name(character: char) -> bool {
    character.is_ascii_alphanumeric() || character == '_'
}

/// Returns the names that a macro, the block of a call, a loop or a `with` gives to values. A loop that neither recurs nor
/// writes a list only names what the conversation holds.
fn named(tag: &str) -> Option<Vec<&str>> {
    let (statement, after) = statement(tag)?;
    let named = match statement {
        "macro" => arguments(after.get(after.find('(')?..)?)?,
        "call" => arguments(after.trim_start())?,
        "with" => targets(after)?,
        "for" if after.contains(['[', '(', '{']) || after.trim_end().ends_with("recursive") => {
            let names = after.split(|character| !is_of_name(character)).filter(|word| !word.is_empty());
            names.take_while(|word| *word != "in").collect()
        }
        _ => Vec::new(),
    };
    let is_name = |name: &&str| {
        name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
            && name.chars().all(is_of_name)
    };
    Some(named.into_iter().filter(is_name).collect())
}

/// Returns the names in the brackets at the beginning of `text`.
fn arguments(text: &str) -> Option<Vec<&str>> {
    let inner = text.strip_prefix('(')?;
    let (mut at, mut depth) = (0, 0);
    while depth >= 0 {
        at += item_length(inner.as_bytes().get(at..)?, &mut depth)?;
    }
    targets(inner.get(..at - 1)?)
}

/// Returns what stands before `=` in each part of a list: `a` and `b` in `a, b = (c, d)`.
fn targets(list: &str) -> Option<Vec<&str>> {
    let (mut names, mut depth, mut at, mut part) = (Vec::new(), 0, 0, 0);
    while let Some(&byte) = list.as_bytes().get(at) {
        at += item_length(list.as_bytes().get(at..)?, &mut depth)?;
        if depth == 0 && byte == b',' {
            names.push(list.get(part..at - 1)?);
            part = at;
        }
    }
    names.push(list.get(part..)?);
    Some(names.into_iter().map(|part| part.split('=').next().unwrap_or_default().trim()).collect())
}

/// Returns where the value stands if `tag`, up to its end marker, is an assignment.
fn assigned(tag: &str) -> Option<std::ops::Range<usize>> {
    let ("set", after) = statement(tag)? else { return None };
    let (mut at, mut depth) = (tag.len() - after.len(), 0);
    loop {
        let rest = tag.as_bytes().get(at..)?;
        if depth == 0 && rest.first() == Some(&b'=') {
            let value = at + 1..tag.len();
            return (!tag.get(value.clone())?.trim().is_empty()).then_some(value);
        }
        at += item_length(rest, &mut depth)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(source: &str, expected: &str) {
        assert_eq!(with_kept_assignments(source), expected);
    }

    #[test]
    fn values_of_assignments_are_kept_and_nothing_else_changes() {
        check("{% set x = 1 %}", "{% set x = ( 1 )|bantam_kept %}");
        check("a{%- set ns.x='}%}' -%}b", "a{%- set ns.x= ('}%}' )|bantam_kept -%}b");
        check("{%set a, b = c, {'d': [1]}%}", "{%set a, b = ( c, {'d': [1]})|bantam_kept %}");
        check("{% set x = 'it\\'s' ~ y %}", "{% set x = ( 'it\\'s' ~ y )|bantam_kept %}");
        let checked = |names: &str, end: &str| format!("{{% set bantam_kept = ([{names}])|bantam_kept {end}");
        for (tag, names, end) in [
            ("{% macro f(a, b='x, (y', c=[1, 2]) -%}", "a, b, c", "-%}"),
            ("{%- call(x) f(y) %}", "x", "%}"),
            ("{% with a = [x, x], b = 1 +%}", "a, b", "+%}"),
            ("{% for k, v in {'a': x} %}", "k, v", "%}"),
            ("{% for x in y recursive %}", "x", "%}"),
        ] {
            check(&format!("a{tag}\nb"), &format!("a{tag}{}\nb", checked(names, end)));
        }
        for same in [
            "{% for x in y %}{% endfor %}",
            "{% macro f() %}{% endmacro %}",
            "{% call f(x) %}",
            "{% macro f(a %}",
            "",
            "{",
            "{% set x %}y{% endset %}",
            "{% set x | f(a=1) %}y{% endset %}",
            "{% setting = 1 %}",
            "{% if set == 1 %}{% endif %}",
            "{# {% set x = 1 %} #}",
            "{% raw %}{% set x = 1 %}{%- endraw -%}",
            "{{ '{% set x = 1 %}' }}",
            "{{ {'a': {'b': 1}} }}",
            "{% set x = %}",
            "{% set x = 'open %}",
            "{% set x = (1 %}",
            "é{% set é",
        ] {
            check(same, same);
        }
    }
}
