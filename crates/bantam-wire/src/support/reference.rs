//! The tables of the backends as a page of the reference.

use std::fmt::Write as _;

use super::Support;
use crate::feature::Feature;

/// A backend's table with its title.
pub struct Column<'t> {
    /// What the backend is called.
    pub title: &'t str,
    /// Its table.
    pub support: &'t dyn Fn(Feature) -> Support,
}

/// Returns what every backend does about every feature, as Markdown: first an overview, then a section a backend with
/// the conditions and the reasons.
pub fn parameters_markdown(columns: &[Column<'_>]) -> String {
    let mut page = String::from(
        "## Overview\n\n\
         **yes**: the answer is what was asked for. **part**: some values are honoured, others refused. \
         **–**: accepted, and by its specification without effect on the answer. **no**: refused by name.\n\n",
    );
    let titles: Vec<&str> = columns.iter().map(|column| column.title).collect();
    // Writing to a String cannot fail.
    let _ = writeln!(page, "| Parameter | {} |\n|---|{}", titles.join(" | "), "---|".repeat(columns.len()));
    for feature in Feature::ALL {
        let marks: Vec<&str> = columns.iter().map(|column| mark((column.support)(*feature))).collect();
        let _ = writeln!(page, "| {} | {} |", shown(*feature), marks.join(" | "));
    }
    for column in columns {
        let _ = writeln!(page, "\n## {}\n\n| Parameter | | |\n|---|---|---|", column.title);
        for feature in Feature::ALL {
            let support = (column.support)(*feature);
            let (Support::Honoured(words)
            | Support::Only(words, _)
            | Support::NoEffect(words)
            | Support::Refused(words)) = support;
            if !words.is_empty() {
                let _ = writeln!(page, "| {} | {} | {words} |", shown(*feature), mark(support));
            }
        }
    }
    page
}

const fn mark(support: Support) -> &'static str {
    match support {
        Support::Honoured(_) => "yes",
        Support::Only(..) => "part",
        Support::NoEffect(_) => "–",
        Support::Refused(_) => "no",
    }
}

/// Returns a parameter as code, and anything else as words.
fn shown(feature: Feature) -> String {
    match feature {
        Feature::Images
        | Feature::AudioInput
        | Feature::Files
        | Feature::OtherParts
        | Feature::OtherToolCalls
        | Feature::OtherMembers => format!("`messages` with {}", feature.name()),
        Feature::OtherToolMembers => "`tools` with other members".to_owned(),
        _ => format!("`{}`", feature.name()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_feature_stands_in_the_overview_and_reasons_stand_below() {
        let support = |feature| match feature {
            Feature::Seed => Support::Refused("it has no seed"),
            Feature::User => Support::NoEffect("it identifies the caller"),
            _ => Support::Honoured(""),
        };
        let page = parameters_markdown(&[Column { title: "A", support: &support }]);
        assert_eq!(page.matches("\n| `").count(), Feature::ALL.len() + 2, "{page}");
        assert!(page.contains("| `seed` | no |\n"), "{page}");
        assert!(
            page.ends_with(
                "\n## A\n\n| Parameter | | |\n|---|---|---|\n| `seed` | no | it has no seed |\n\
             | `user` | – | it identifies the caller |\n"
            ),
            "{page}"
        );
    }
}
