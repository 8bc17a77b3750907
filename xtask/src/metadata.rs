//! The workspace as Cargo sees it: its crates, their dependencies and licences.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// What a dependency is needed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// To build the crate itself, or its build script.
    Normal,
    /// For tests, examples and benches only.
    Dev,
}

/// One dependency in a crate's manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    pub(crate) kind: Kind,
}

/// One crate, of the workspace or external.
#[derive(Clone, Debug)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) license: Option<String>,
    pub(crate) is_member: bool,
    pub(crate) dependencies: Vec<Dependency>,
}

/// Asks Cargo about the workspace as it is built on this machine.
pub(crate) fn read(root: &Path) -> Result<Vec<Package>, String> {
    let host = host()?;
    // Without the filter, Cargo would download crates for all platforms.
    let arguments = ["metadata", "--format-version", "1", "--locked", "--filter-platform", &host];
    let output = Command::new("cargo")
        .args(arguments)
        .current_dir(root)
        .output()
        .map_err(|error| format!("cannot run cargo metadata: {error}"))?;
    if !output.status.success() {
        return Err(format!("cargo metadata failed: {}", String::from_utf8_lossy(&output.stderr).trim()));
    }
    parse(&String::from_utf8_lossy(&output.stdout))
}

fn host() -> Result<String, String> {
    let output =
        Command::new("rustc").arg("-vV").output().map_err(|error| format!("cannot run rustc: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).ok_or_else(|| "rustc -vV did not print a host".to_owned())
}

fn parse(json: &str) -> Result<Vec<Package>, String> {
    let value: Value =
        serde_json::from_str(json).map_err(|error| format!("cargo metadata did not print JSON: {error}"))?;
    let members = array(&value, "workspace_members");
    let package = |package: &Value| Package {
        name: text(package, "name"),
        version: text(package, "version"),
        license: package.get("license").and_then(Value::as_str).map(str::to_owned),
        is_member: package.get("id").is_some_and(|id| members.contains(id)),
        dependencies: array(package, "dependencies").iter().map(dependency).collect(),
    };
    Ok(array(&value, "packages").iter().map(package).collect())
}

fn dependency(value: &Value) -> Dependency {
    let is_dev = value.get("kind").and_then(Value::as_str) == Some("dev");
    Dependency { name: text(value, "name"), kind: if is_dev { Kind::Dev } else { Kind::Normal } }
}

fn array<'v>(value: &'v Value, key: &str) -> &'v [Value] {
    value.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn text(value: &Value, key: &str) -> String {
    value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_members_kinds_and_licences() {
        let json = r#"{
            "workspace_members": ["path+a"],
            "packages": [
                {"id": "path+a", "name": "a", "version": "0.1.0", "license": null, "dependencies": [
                    {"name": "b", "kind": null}, {"name": "c", "kind": "dev"}, {"name": "d", "kind": "build"}]},
                {"id": "registry+b", "name": "b", "version": "1.2.3", "license": "MIT", "dependencies": []}
            ]}"#;
        let packages = parse(json).unwrap();
        let [a, b] = &*packages else { panic!("{packages:?}") };
        assert!(a.is_member && !b.is_member);
        let kinds: Vec<Kind> = a.dependencies.iter().map(|dependency| dependency.kind).collect();
        assert_eq!(kinds, [Kind::Normal, Kind::Dev, Kind::Normal]);
        assert_eq!((b.version.as_str(), b.license.as_deref()), ("1.2.3", Some("MIT")));
        assert!(parse("not JSON").is_err());
    }
}
