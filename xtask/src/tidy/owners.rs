//! Checks that each heavy dependency has few owners, so that replacing it changes few crates.

use super::Report;
use crate::metadata::Package;

/// A dependency and the crates that may depend on it directly.
struct Owned {
    dependency: &'static str,
    owners: &'static [&'static str],
    reason: &'static str,
}

const fn owned(dependency: &'static str, owners: &'static [&'static str], reason: &'static str) -> Owned {
    Owned { dependency, owners, reason }
}

const HTTP_CLIENT: &str =
    "the HTTP client takes nothing but cleared requests; the store's sends no user's words";

const OWNED: &[Owned] = &[
    owned(
        "hyper",
        &["bantam-remote", "bantam-server", "bantam-store"],
        "HTTP/1 on both sides: client and server",
    ),
    owned(
        "hyper-util",
        &["bantam-remote", "bantam-server", "bantam-store"],
        "pool and client; graceful connections of the server",
    ),
    owned("hyper-rustls", &["bantam-remote"], HTTP_CLIENT),
    owned("rustls", &["bantam-remote", "bantam-store"], HTTP_CLIENT),
    owned("flate2", &["bantam-remote"], "only upstreams send compressed bytes"),
    owned(
        "tokio-rustls",
        &["bantam-remote", "bantam-store"],
        "only pulls speak TLS without a pool, and servers in tests",
    ),
    owned("h2", &["bantam-remote"], HTTP_CLIENT),
    owned("webpki-roots", &["bantam-remote", "bantam-store"], HTTP_CLIENT),
    owned("axum", &["bantam-server"], "only the server speaks HTTP to callers"),
    owned("rusqlite", &["bantam-ledger"], "only the ledger speaks SQL"),
    owned("gemm-common", &["bantam-kernels"], "only the kernels know how matrices are multiplied"),
    owned("gemm-f32", &["bantam-kernels"], "only the kernels know how matrices are multiplied"),
    owned("regex", &["bantam-privacy"], "only the scanner searches foreign text"),
    owned("aho-corasick", &["bantam-privacy"], "only the scanner searches foreign text"),
    owned(
        "unicode-normalization",
        &["bantam-privacy", "bantam-weights"],
        "the scanner folds foreign text; tokenizers normalise it",
    ),
    owned("clap", &["bantam"], "only the binary has a command line"),
    owned("indicatif", &["bantam"], "only the binary draws on a terminal"),
    owned("mimalloc", &["bantam"], "only a binary chooses its allocator"),
    owned("tracing-subscriber", &["bantam"], "only the binary decides where the log goes"),
    owned("minijinja", &["bantam-template"], "only chat templates are templates"),
    owned("minijinja-contrib", &["bantam-template"], "only chat templates are templates"),
    owned("llguidance", &["bantam-decode"], "only constraints know grammars"),
    owned("toktrie", &["bantam-decode"], "only constraints know grammars"),
    owned(
        "jsonschema",
        &["bantam-extract", "bantam-decode"],
        "answers are validated once; constraints only test with it",
    ),
    owned("toml", &["bantam-config"], "only the configuration is TOML"),
];

/// Checks that only owners depend directly on an owned dependency, even for tests.
pub(super) fn check(packages: &[Package], report: &mut Report) {
    let members = || packages.iter().filter(|package| package.is_member);
    for member in members() {
        for dependency in &member.dependencies {
            let owned = OWNED.iter().find(|owned| owned.dependency == dependency.name);
            let Some(owned) = owned.filter(|owned| !owned.owners.contains(&member.name.as_str())) else {
                continue;
            };
            report.problem(format!(
                "`{}` depends on `{}`, which only {} may use: {}",
                member.name,
                owned.dependency,
                owned.owners.join(" and "),
                owned.reason
            ));
        }
    }
    report.fact(format!("owners: {} dependencies are used only by their owners", OWNED.len()));
}

#[cfg(test)]
mod tests {
    use super::super::testing::{member, problems};
    use super::*;

    #[test]
    fn only_owners_may_depend_on_what_they_own() {
        let check = |name: &str, dependencies: &[&str]| {
            problems(|report| check(&[member(name, dependencies)], report))
        };
        assert_eq!(check("bantam-server", &["axum", "hyper", "bytes"]), [""; 0]);
        assert_eq!(
            check("bantam-gateway", &["dev:axum"]),
            [
                "`bantam-gateway` depends on `axum`, which only bantam-server may use: only the server speaks HTTP to callers"
            ]
        );
        assert_eq!(check("bantam-eval", &["rusqlite", "hyper-rustls"]).len(), 2);
    }

    #[test]
    fn external_crates_may_use_any_dependency() {
        let mut outside = member("reqwest", &["hyper", "rustls"]);
        outside.is_member = false;
        assert_eq!(problems(|report| check(&[outside], report)), [""; 0]);
    }
}
