//! Checks every dependency's licence against the list that deny.toml allows.
//!
//! cargo-deny does this for all platforms; this check needs only Cargo, so everyone can run it.

use super::Report;
use crate::metadata::Package;

/// Checks that every package's licence expression can be satisfied by allowed licences.
pub(super) fn check(deny_toml: &str, packages: &[Package], report: &mut Report) {
    let allowed = allowed(deny_toml);
    if allowed.is_empty() {
        report.problem("deny.toml has no `allow` list under [licenses]");
        return;
    }
    for package in packages {
        let shown = format!("{} {}", package.name, package.version);
        match &package.license {
            None => report.problem(format!("{shown} does not state a licence")),
            Some(expression) if !is_met(expression, &allowed) => {
                report.problem(format!("{shown} is under `{expression}`, which deny.toml does not allow"));
            }
            Some(_) => {}
        }
    }
    report.fact(format!("licences: {} packages under {} allowed licences", packages.len(), allowed.len()));
}

/// Returns the strings of `allow = [...]` in the section `[licenses]`.
fn allowed(deny_toml: &str) -> Vec<String> {
    let without_comments: String = deny_toml
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default())
        .skip_while(|line| line.trim() != "[licenses]")
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .collect::<Vec<_>>()
        .join("\n");
    let list = without_comments.split_once("allow = [").and_then(|(_, rest)| rest.split_once(']'));
    let list = list.map_or("", |(list, _)| list);
    list.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Returns whether `expression` (SPDX; the older `A/B` means OR) can be satisfied; an invalid one cannot.
fn is_met(expression: &str, allowed: &[String]) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut reader = Reader { words: &words, allowed };
    let met = reader.any_of();
    met && reader.words.is_empty()
}

/// Parses an expression from left to right: OR binds loosest, then AND, then WITH.
struct Reader<'e> {
    words: &'e [&'e str],
    allowed: &'e [String],
}

impl<'e> Reader<'e> {
    fn any_of(&mut self) -> bool {
        let mut met = self.all_of();
        while self.take_if("OR") {
            met |= self.all_of();
        }
        met
    }

    fn all_of(&mut self) -> bool {
        let mut met = self.one();
        while self.take_if("AND") {
            met &= self.one();
        }
        met
    }

    fn one(&mut self) -> bool {
        if self.take_if("(") {
            let met = self.any_of();
            return self.take_if(")") && met;
        }
        let Some(name) = self.take() else { return false };
        let name = if self.take_if("WITH") {
            let Some(exception) = self.take() else { return false };
            format!("{name} WITH {exception}")
        } else {
            name.to_owned()
        };
        self.allowed.contains(&name)
    }

    fn take(&mut self) -> Option<&'e str> {
        let (first, rest) = self.words.split_first()?;
        self.words = rest;
        Some(first)
    }

    fn take_if(&mut self, word: &str) -> bool {
        let is_next = self.words.first() == Some(&word);
        if is_next {
            self.words = self.words.get(1..).unwrap_or_default();
        }
        is_next
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{member, problems};
    use super::*;

    const DENY: &str = "[bans]\nallow = [\"wrong\"]\n[licenses]\n# allow = [\"GPL-3.0\"]\nallow = [\n  \"MIT\", # ours\n  \"ISC\",\n  \"Apache-2.0 WITH LLVM-exception\",\n]\n[sources]\n";

    #[test]
    fn reads_only_the_list_under_licenses() {
        assert_eq!(allowed(DENY), ["MIT", "ISC", "Apache-2.0 WITH LLVM-exception"]);
        assert_eq!(allowed("[licenses]"), [""; 0]);
    }

    #[test]
    fn an_expression_must_be_satisfied_by_allowed_licences() {
        let check = |expression: &str, expected: bool| {
            assert_eq!(is_met(expression, &allowed(DENY)), expected, "{expression}");
        };
        check("MIT", true);
        check("GPL-3.0", false);
        check("GPL-3.0 OR MIT", true);
        check("Unlicense/MIT", true);
        check("MIT AND GPL-3.0", false);
        check("(GPL-3.0 OR MIT) AND ISC", true);
        check("GPL-3.0 OR MIT AND GPL-2.0", false);
        check("Apache-2.0", false);
        check("Apache-2.0 WITH LLVM-exception OR GPL-3.0", true);
        for unreadable in ["", "(MIT", "MIT)", "MIT AND", "MIT ISC", "OR MIT", "MIT WITH"] {
            check(unreadable, false);
        }
    }

    #[test]
    fn a_package_without_a_licence_is_a_problem() {
        let check = |license: Option<&str>| {
            let mut package = member("a", &[]);
            package.license = license.map(str::to_owned);
            problems(|report| check(DENY, &[package], report))
        };
        assert_eq!(check(Some("MIT")), [""; 0]);
        assert_eq!(check(None), ["a 0.1.0 does not state a licence"]);
        assert_eq!(check(Some("SSPL-1.0")), ["a 0.1.0 is under `SSPL-1.0`, which deny.toml does not allow"]);
        assert_eq!(problems(|report| super::check("", &[], report)).len(), 1);
    }
}
