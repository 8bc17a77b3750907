//! The folder that models are kept in, read.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::about::ModelFormat;
use crate::digest::Digest;
use crate::error::{StoreError, StoreErrorKind};
use crate::manifest::Manifest;
use crate::name::ModelName;
use crate::nearest::nearest;

/// A manifest's bytes at most: thousands of files.
const MANIFEST_BYTES_MAX: u64 = 4 << 20;

/// The models on this machine.
///
/// | Path | Content |
/// |---|---|
/// | `manifests/NAME/TAG.json` | what a name stands for |
/// | `blobs/sha256-…` | files, each once |
/// | `trees/DIGEST/` | a model's files by their own names, linked to the blobs: what an engine opens |
/// | `measured/DIGEST.json` | how fast a model ran here |
/// | `partial/` | downloads that broke off |
/// | `incoming/` | models on their way in |
#[derive(Clone, Debug)]
pub struct Store {
    pub(crate) root: PathBuf,
}

/// A model of the store.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its name, with its tag.
    pub name: ModelName,
    /// What the name stands for.
    pub manifest: Manifest,
    /// What the engine opens: a GGUF file, or a folder with `config.json`, safetensors and `tokenizer.json`.
    pub path: PathBuf,
}

/// Everything that has a name in the store.
#[derive(Debug, Default)]
pub struct Listing {
    /// The models, by name.
    pub models: Vec<Entry>,
    /// Manifests that cannot be read.
    pub damaged: Vec<(ModelName, StoreError)>,
}

/// Why a name stands for no model.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResolveError {
    /// There is no such model.
    #[error("there is no model `{name}` on this machine")]
    Missing {
        /// The name that was asked for.
        name: Box<ModelName>,
        /// Names that are near to it.
        nearest: Vec<String>,
        /// How many models there are.
        models: usize,
    },
    /// The name has several tags and none was given.
    #[error("`{name}` has several variants")]
    Ambiguous {
        /// The name that was asked for.
        name: Box<ModelName>,
        /// All that it could mean.
        variants: Vec<String>,
    },
    /// The store could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ResolveError {
    /// Returns what to do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::Missing { nearest, .. } if !nearest.is_empty() => {
                format!("did you mean {}?", quoted(nearest))
            }
            Self::Missing { .. } => "pull it from the hub, or import it from a file".to_owned(),
            Self::Ambiguous { variants, .. } => format!("say which: {}", quoted(variants)),
            Self::Store(_) => "check that the store's folder may be read".to_owned(),
        }
    }
}

fn quoted(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" or ")
}

impl Store {
    /// Returns the store in a folder, which need not be there: it is then made by the first change.
    pub fn open(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Returns the store's folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Returns the folder that holds what names stand for; it changes whenever a name gets another meaning.
    pub fn manifests(&self) -> PathBuf {
        self.root.join("manifests")
    }

    /// Returns everything that has a name, sorted by it.
    pub fn list(&self) -> Result<Listing, StoreError> {
        let manifests = self.manifests();
        let mut listing = Listing::default();
        let mut paths = Vec::new();
        walk(&manifests, &mut paths).map_err(StoreError::at("list", &manifests))?;
        paths.sort();
        for path in paths {
            let Some(name) = name_of(&manifests, &path) else { continue };
            match self.read(&name, &path) {
                Ok(entry) => listing.models.push(entry),
                Err(error) => listing.damaged.push((name, error)),
            }
        }
        Ok(listing)
    }

    /// Returns the model that a name stands for, ready to be opened.
    ///
    /// A name without a tag means the tag `latest`, or the only one that there is. No other model is ever returned
    /// in place of one that is missing.
    pub fn resolve(&self, name: &ModelName) -> Result<Entry, ResolveError> {
        let listing = self.list()?;
        if let Some(at) = listing.damaged.iter().position(|(other, _)| name.means(other)) {
            let mut damaged = listing.damaged;
            return Err(damaged.swap_remove(at).1.into());
        }
        let of_revision = |entry: &&Entry| {
            let wanted = name.revision();
            wanted.is_none_or(|wanted| entry.is_of_revision(wanted))
        };
        let found: Vec<&Entry> =
            listing.models.iter().filter(|entry| name.means(&entry.name)).filter(of_revision).collect();
        let latest = |entry: &&&Entry| entry.name.tag() == Some(ModelName::DEFAULT_TAG);
        let entry = match (&*found, found.iter().find(latest)) {
            ([one], _) | (_, Some(one)) => (*one).clone(),
            ([], _) => return Err(missing(name, &listing)),
            (several, _) => {
                let variants = several.iter().map(|entry| entry.name.to_string()).collect();
                return Err(ResolveError::Ambiguous { name: Box::new(name.clone()), variants });
            }
        };
        self.grow(&entry.manifest)?;
        Ok(entry)
    }

    /// Returns the model of exactly this name and tag, if there is one.
    pub(crate) fn find(&self, name: &ModelName) -> Result<Option<Entry>, StoreError> {
        Ok(self.list()?.models.into_iter().find(|entry| name.means(&entry.name)))
    }

    fn read(&self, name: &ModelName, path: &Path) -> Result<Entry, StoreError> {
        let read = || -> Result<Manifest, StoreErrorKind> {
            if fs::metadata(path)?.len() > MANIFEST_BYTES_MAX {
                return Err(io::Error::other("it is longer than any manifest").into());
            }
            Manifest::from_json(&fs::read(path)?).map_err(StoreErrorKind::Manifest)
        };
        let manifest = read().map_err(StoreError::at("read the manifest", path))?;
        let path = self.model_path(&manifest);
        Ok(Entry { name: name.clone(), manifest, path })
    }

    pub(crate) fn blob(&self, digest: &Digest) -> PathBuf {
        self.root.join("blobs").join(format!("sha256-{digest}"))
    }

    pub(crate) fn tree(&self, manifest: &Manifest) -> PathBuf {
        self.root.join("trees").join(manifest.digest().to_string())
    }

    /// Returns what the engine opens.
    fn model_path(&self, manifest: &Manifest) -> PathBuf {
        let tree = self.tree(manifest);
        match (manifest.about.format, &*manifest.files) {
            (ModelFormat::Gguf, [only]) => tree.join(&only.path),
            _ => tree,
        }
    }
}

impl Entry {
    fn is_of_revision(&self, wanted: &str) -> bool {
        match &self.manifest.origin {
            crate::manifest::Origin::Hub { revision, commit, .. } => {
                revision == wanted || (wanted.len() >= 7 && commit.starts_with(wanted))
            }
            _ => false,
        }
    }
}

fn missing(name: &ModelName, listing: &Listing) -> ResolveError {
    let known: Vec<String> = listing.models.iter().map(|entry| entry.name.to_string()).collect();
    let nearest = nearest(&name.to_string(), known.iter().map(String::as_str));
    ResolveError::Missing { name: Box::new(name.clone()), nearest, models: known.len() }
}

/// Returns the name that a manifest's path says.
fn name_of(manifests: &Path, path: &Path) -> Option<ModelName> {
    let within = path.strip_prefix(manifests).ok()?.to_str()?.strip_suffix(".json")?;
    let (name, tag) = within.rsplit_once('/')?;
    name.parse::<ModelName>().ok()?.with_tag(tag).ok()
}

/// Collects all files below a folder; none where it is not there.
pub(crate) fn walk(folder: &Path, paths: &mut Vec<PathBuf>) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            true => walk(&entry.path(), paths)?,
            false => paths.push(entry.path()),
        }
    }
    Ok(())
}
