//! Translates ECMA-262 regular expressions, as used in schemas, into the syntax of the crate `regex`.
//!
//! The two syntaxes look alike but differ in places that few people check: `[[a]` and `[a&&b]` are plain classes in
//! one and set operations in the other, `\<` is a character or the start of a word, `.` matches a carriage return or
//! not. So an expression is parsed by the rules of the first, and each part is written in a form that has only one
//! meaning in the second. Where implementations of the first disagree (what `\s` matches beyond ASCII), the form is
//! one on which all agree.

use std::iter::Peekable;
use std::str::Chars;

/// Deepest nesting of groups.
const DEPTH_MAX: usize = 50;
/// Largest repetition count.
const REPEATS_MAX: u32 = 100_000;

/// What every engine treats as white space. [`SPACE_WIDE`] is what at least one engine does.
const SPACE: &str =
    r"\x{9}-\x{d}\x{20}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}";
const SPACE_WIDE: &str = r"\x{9}-\x{d}\x{20}\x{85}\x{a0}\x{1680}\x{180e}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}\x{feff}";
const WORD: &str = "0-9A-Za-z_";
const DIGIT: &str = "0-9";

/// Returns the translated expression, or why it cannot be translated. Where engines disagree, it matches what all of
/// them match.
pub(super) fn translate(expression: &str) -> Result<String, String> {
    translate_as(expression, false)
}

/// Returns the translated expression like [`translate`], except that it matches what any engine matches.
pub(super) fn translate_widely(expression: &str) -> Result<String, String> {
    translate_as(expression, true)
}

fn translate_as(expression: &str, is_wide: bool) -> Result<String, String> {
    let mut translation =
        Translation { rest: expression.chars().peekable(), written: String::new(), depth: 0, is_wide };
    translation.alternatives()?;
    match translation.rest.next() {
        None => Ok(translation.written),
        Some(_) => Err("a closing parenthesis has no opening one".to_owned()),
    }
}

struct Translation<'e> {
    rest: Peekable<Chars<'e>>,
    written: String,
    depth: usize,
    /// Whether to match what any engine matches.
    is_wide: bool,
}

/// A member of a class, or an atom.
enum Atom {
    Character(char),
    /// The members of a set, to be put in brackets.
    Set(&'static str),
    /// Everything but the members of a set; the second form is for negated brackets.
    Not(&'static str, &'static str),
    Property(String),
}

impl Translation<'_> {
    fn alternatives(&mut self) -> Result<(), String> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(format!("groups are nested deeper than {DEPTH_MAX}"));
        }
        while let Some(character) = self.rest.peek().copied() {
            match character {
                ')' => break,
                '|' => {
                    self.rest.next();
                    self.written.push('|');
                }
                _ => self.term()?,
            }
        }
        self.depth -= 1;
        Ok(())
    }

    fn term(&mut self) -> Result<(), String> {
        let Some(character) = self.rest.next() else { return Ok(()) };
        match character {
            '^' | '$' => {
                self.written.push(character);
                return match self.rest.peek() {
                    Some('*' | '+' | '?') => Err("an anchor is repeated".to_owned()),
                    _ => Ok(()),
                };
            }
            '(' => self.group()?,
            '[' => self.class()?,
            '.' if self.is_wide => self.written.push_str("(?s:.)"),
            '.' => self.written.push_str(r"[^\n\r\x{2028}\x{2029}]"),
            '*' | '+' | '?' => return Err(format!("`{character}` has nothing to repeat")),
            '\\' => match self.escape(false)? {
                Atom::Character(character) => self.character(character),
                Atom::Set(members) => self.written.push_str(&format!("[{members}]")),
                Atom::Not(_, members) => self.written.push_str(&format!("[^{members}]")),
                Atom::Property(property) => self.written.push_str(&property),
            },
            character => self.character(character),
        }
        self.quantifier()
    }

    fn group(&mut self) -> Result<(), String> {
        if self.rest.peek() == Some(&'?') {
            self.rest.next();
            match (self.rest.next(), self.rest.peek()) {
                (Some(':'), _) => {}
                (Some('='), _) => return Err(look("(?=")),
                (Some('!'), _) => return Err(look("(?!")),
                (Some('<'), Some('=')) => return Err(look("(?<=")),
                (Some('<'), Some('!')) => return Err(look("(?<!")),
                (Some('<'), _) => {
                    let is_named = self.rest.by_ref().any(|character| character == '>');
                    if !is_named {
                        return Err("the name of a group is not terminated".to_owned());
                    }
                }
                _ => {
                    return Err(
                        "flags inside an expression are not supported: write out both cases".to_owned()
                    );
                }
            }
        }
        self.written.push_str("(?:");
        self.alternatives()?;
        self.written.push(')');
        match self.rest.next() {
            Some(')') => Ok(()),
            _ => Err("a group is not closed".to_owned()),
        }
    }

    fn quantifier(&mut self) -> Result<(), String> {
        match self.rest.peek().copied() {
            Some(character @ ('*' | '+' | '?')) => {
                self.rest.next();
                self.written.push(character);
            }
            Some('{') => match braces(self.rest.clone()) {
                None => return Ok(()),
                Some((least, most, length)) => {
                    self.rest.nth(length - 1);
                    if most.unwrap_or(least) > REPEATS_MAX || most.is_some_and(|most| most < least) {
                        return Err(format!(
                            "the bounds of a repetition must be in ascending order and at most {REPEATS_MAX}"
                        ));
                    }
                    let most = most.map_or(String::new(), |most| most.to_string());
                    self.written.push_str(&format!("{{{least},{most}}}"));
                }
            },
            _ => return Ok(()),
        }
        if self.rest.peek() == Some(&'?') {
            // Lazy or greedy decides where a match ends, not whether there is one.
            self.rest.next();
        }
        match self.rest.peek().copied() {
            Some('*' | '+' | '?') => Err("a repetition is repeated".to_owned()),
            Some('{') if braces(self.rest.clone()).is_some() => Err("a repetition is repeated".to_owned()),
            _ => Ok(()),
        }
    }

    fn class(&mut self) -> Result<(), String> {
        let is_negated = self.rest.next_if_eq(&'^').is_some();
        let mut members = String::new();
        loop {
            let first = match self.rest.next() {
                None => return Err("a class is not closed".to_owned()),
                Some(']') => break,
                Some('\\') => self.escape(true)?,
                Some(character) => Atom::Character(character),
            };
            let mut ahead = self.rest.clone();
            let is_range =
                ahead.next() == Some('-') && ahead.next().is_some_and(|character| character != ']');
            let Atom::Character(low) = first else {
                push_set(&mut members, &first, is_negated);
                continue;
            };
            if !is_range {
                push_character(&mut members, low);
                continue;
            }
            self.rest.next();
            let last = match self.rest.next() {
                Some('\\') => self.escape(true)?,
                Some(character) => Atom::Character(character),
                None => return Err("a class is not closed".to_owned()),
            };
            match last {
                Atom::Character(high) if low <= high => {
                    push_character(&mut members, low);
                    members.push('-');
                    push_character(&mut members, high);
                }
                Atom::Character(high) => return Err(format!("the range {low}-{high} goes backwards")),
                set => {
                    // `[a-\d]`: the hyphen is a literal.
                    push_character(&mut members, low);
                    push_character(&mut members, '-');
                    push_set(&mut members, &set, is_negated);
                }
            }
        }
        match (members.is_empty(), is_negated) {
            (true, false) => Err("the class [] matches nothing".to_owned()),
            (true, true) => {
                self.written.push_str("(?s:.)");
                Ok(())
            }
            (false, _) => {
                self.written.push_str(if is_negated { "[^" } else { "[" });
                self.written.push_str(&members);
                self.written.push(']');
                Ok(())
            }
        }
    }

    fn escape(&mut self, is_in_class: bool) -> Result<Atom, String> {
        let Some(character) = self.rest.next() else {
            return Err("the expression ends in a backslash".to_owned());
        };
        Ok(match character {
            'd' => Atom::Set(DIGIT),
            'D' => Atom::Not(DIGIT, DIGIT),
            'w' => Atom::Set(WORD),
            'W' => Atom::Not(WORD, WORD),
            's' if self.is_wide => Atom::Set(SPACE_WIDE),
            's' => Atom::Set(SPACE),
            'S' if self.is_wide => Atom::Not(SPACE_WIDE, SPACE),
            'S' => Atom::Not(SPACE, SPACE_WIDE),
            't' => Atom::Character('\t'),
            'n' => Atom::Character('\n'),
            'v' => Atom::Character('\u{b}'),
            'f' => Atom::Character('\u{c}'),
            'r' => Atom::Character('\r'),
            'b' if is_in_class => Atom::Character('\u{8}'),
            'b' | 'B' => return Err(format!("word boundaries (`\\{character}`) are not supported")),
            '0' if !self.rest.peek().is_some_and(char::is_ascii_digit) => Atom::Character('\0'),
            '0'..='9' | 'k' => return Err("back-references are not supported".to_owned()),
            'x' => Atom::Character(character_of(self.hexadecimal(2)?)?),
            'u' if self.rest.peek() == Some(&'{') => {
                self.rest.next();
                let digits: String = self.rest.by_ref().take_while(|character| *character != '}').collect();
                let code = u32::from_str_radix(&digits, 16).map_err(|_| bad_escape('u'))?;
                Atom::Character(character_of(code)?)
            }
            'u' => Atom::Character(self.utf16()?),
            'c' => match self.rest.next() {
                Some(letter) if letter.is_ascii_alphabetic() => Atom::Character((letter as u8 % 32).into()),
                _ => return Err(bad_escape('c')),
            },
            'p' | 'P' => Atom::Property(self.property(character)?),
            letter if letter.is_ascii_alphabetic() => return Err(bad_escape(letter)),
            other => Atom::Character(other),
        })
    }

    fn hexadecimal(&mut self, digits: usize) -> Result<u32, String> {
        let text: String = self.rest.by_ref().take(digits).collect();
        let is_whole = text.len() == digits && text.chars().all(|digit| digit.is_ascii_hexdigit());
        u32::from_str_radix(&text, 16).ok().filter(|_| is_whole).ok_or_else(|| bad_escape('x'))
    }

    fn utf16(&mut self) -> Result<char, String> {
        let unit = self.hexadecimal(4)?;
        if !(0xD800..0xDC00).contains(&unit) {
            return character_of(unit);
        }
        let has_other = self.rest.next() == Some('\\') && self.rest.next() == Some('u');
        let other = if has_other { self.hexadecimal(4)? } else { 0 };
        if !(0xDC00..0xE000).contains(&other) {
            return Err("half of a surrogate pair is not a character".to_owned());
        }
        character_of(0x1_0000 + ((unit - 0xD800) << 10) + (other - 0xDC00))
    }

    fn property(&mut self, kind: char) -> Result<String, String> {
        let opening = self.rest.next();
        let name: String = self.rest.by_ref().take_while(|character| *character != '}').collect();
        let is_name = |character: char| character.is_ascii_alphanumeric() || matches!(character, '_' | '=');
        if opening != Some('{') || name.is_empty() || !name.chars().all(is_name) {
            return Err(bad_escape(kind));
        }
        Ok(format!("\\{kind}{{{name}}}"))
    }

    fn character(&mut self, character: char) {
        push_character(&mut self.written, character);
    }
}

/// Returns the expression that matches exactly this text.
pub(super) fn literal(text: &str) -> String {
    let mut written = String::new();
    text.chars().for_each(|character| push_character(&mut written, character));
    written
}

/// Writes everything but letters and digits as a code point, which no syntax can misread.
fn push_character(written: &mut String, character: char) {
    if character.is_ascii_alphanumeric() || !character.is_ascii() {
        written.push(character);
    } else {
        written.push_str(&format!("\\x{{{:x}}}", u32::from(character)));
    }
}

fn push_set(members: &mut String, atom: &Atom, is_negated: bool) {
    match atom {
        Atom::Character(character) => push_character(members, *character),
        // Exclude the widest reading of an excluded set.
        Atom::Set(SPACE) if is_negated => members.push_str(SPACE_WIDE),
        Atom::Set(SPACE_WIDE) if is_negated => members.push_str(SPACE),
        Atom::Set(set) => members.push_str(set),
        Atom::Not(narrow, wide) => {
            members.push_str(&format!("[^{}]", if is_negated { narrow } else { wide }));
        }
        Atom::Property(property) => members.push_str(property),
    }
}

/// Parses `{2}`, `{2,}` or `{2,3}`: the bounds and the length of the text. `None` means that the brace is a literal.
fn braces(rest: Peekable<Chars<'_>>) -> Option<(u32, Option<u32>, usize)> {
    let text: String = rest.take_while(|character| *character != '}').take(24).collect();
    let body = text.strip_prefix('{').filter(|_| text.len() < 24)?;
    let number =
        |text: &str| text.parse::<u32>().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()));
    let (least, most) = match body.split_once(',') {
        None => (number(body)?, Some(number(body)?)),
        Some((least, "")) => (number(least)?, None),
        Some((least, most)) => (number(least)?, Some(number(most)?)),
    };
    Some((least, most, text.len() + 1))
}

fn character_of(code: u32) -> Result<char, String> {
    char::from_u32(code).ok_or_else(|| "half of a surrogate pair is not a character".to_owned())
}

fn bad_escape(letter: char) -> String {
    format!("the escape `\\{letter}` is unknown in ECMA-262 or incomplete")
}

fn look(opening: &str) -> String {
    format!("look-around (`{opening}`) is not supported: describe the allowed text directly")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(expression: &str, expected: &str) {
        assert_eq!(translate(expression).as_deref(), Ok(expected), "{expression}");
    }

    #[test]
    fn parts_common_to_both_syntaxes_are_kept() {
        check("^[a-z0-9]+$", "^[a-z0-9]+$");
        check("a|b(c)*?", "a|b(?:c)*");
        check("x{2}y{2,}z{2,3}", "x{2,2}y{2,}z{2,3}");
        check("(?<year>\\d{4})", "(?:[0-9]{4,4})");
        check("\\u{1F600}\\ud83d\\ude00\\x41\\cJ", "\u{1f600}\u{1f600}A\\x{a}");
        check("\\p{Lu}[\\p{L}_]", "\\p{Lu}[\\p{L}\\x{5f}]");
    }

    #[test]
    fn parts_with_another_meaning_are_rewritten() {
        check("[[a&&b]", "[\\x{5b}a\\x{26}\\x{26}b]");
        check("[+--b]", "[\\x{2b}-\\x{2d}b]");
        check("\\<a{,3}", "\\x{3c}a\\x{7b}\\x{2c}3\\x{7d}");
        check("[\\w-.]", "[0-9A-Za-z_\\x{2d}\\x{2e}]");
        check("[a-]", "[a\\x{2d}]");
        check("[^]", "(?s:.)");
        check("[\\b]", "[\\x{8}]");
        check("a/b", "a\\x{2f}b");
    }

    #[test]
    fn white_space_is_translated_so_that_all_engines_agree() {
        assert!(!translate("\\s").unwrap().contains("feff"));
        assert!(translate("\\S").unwrap().contains("feff"));
        assert!(translate("[^\\s]").unwrap().contains("feff"));
        assert!(!translate("[^\\S]").unwrap().contains("feff"));
    }

    #[test]
    fn unsupported_expressions_are_refused_with_a_reason() {
        for (expression, part) in [
            ("(?=a)", "look-around"),
            ("(?<!a)b", "look-around"),
            ("\\bword", "word boundaries"),
            ("(a)\\1", "back-references"),
            ("(?i)a", "flags"),
            ("[]", "matches nothing"),
            ("a**", "repeated"),
            ("*a", "nothing to repeat"),
            ("(a", "not closed"),
            ("a)", "no opening"),
            ("[a", "not closed"),
            ("\\Z", "escape"),
            ("\\ud83d", "surrogate"),
            ("a{3,2}", "ascending order"),
            ("^*", "anchor"),
            ("a{999999}", "at most"),
            ("[z-a]", "backwards"),
            ("\\", "backslash"),
            ("\\p{^L}", "escape"),
        ] {
            let reason = translate(expression).unwrap_err();
            assert!(reason.contains(part), "{expression}: {reason}");
        }
        assert!(translate(&"(".repeat(10_000)).unwrap_err().contains("deeper"));
    }
}
