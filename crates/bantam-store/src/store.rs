//! The model store and its lookups.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::about::ModelFormat;
use crate::digest::Digest;
use crate::error::{StoreError, StoreErrorKind};
use crate::manifest::Manifest;
use crate::name::ModelName;
use crate::nearest::nearest;

/// Largest manifest accepted, in bytes: thousands of files.
const MANIFEST_BYTES_MAX: u64 = 4 << 20;

/// The models on this machine.
///
/// | Path | Content |
/// |---|---|
/// | `manifests/NAME/TAG.json` | a name's model |
/// | `blobs/sha256-…` | every file once |
/// | `trees/DIGEST/` | a model's files under their own names, linked to the blobs; the engine opens these |
/// | `measured/DIGEST.json` | how fast a model ran here |
/// | `partial/` | interrupted downloads |
/// | `incoming/` | models being added |
#[derive(Clone, Debug)]
pub struct Store {
    pub(crate) root: PathBuf,
}

/// A model in the store.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its name, with its tag.
    pub name: ModelName,
    /// Its files, properties and origin.
    pub manifest: Manifest,
    /// What the engine opens: a GGUF file, or a folder with `config.json`, safetensors and `tokenizer.json`.
    pub path: PathBuf,
}

/// All named models of the store.
#[derive(Debug, Default)]
pub struct StoreListing {
    /// The models, sorted by name.
    pub models: Vec<Entry>,
    /// Names whose manifests cannot be read.
    pub damaged: Vec<(ModelName, StoreError)>,
}

/// Why a name could not be resolved.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResolveError {
    /// There is no such model.
    #[error("there is no model `{name}` on this machine")]
    Missing {
        /// The requested name.
        name: Box<ModelName>,
        /// Similar names.
        nearest: Vec<String>,
        /// Number of models in the store.
        models: usize,
    },
    /// The name has no tag and matches several models.
    #[error("`{name}` has several variants")]
    Ambiguous {
        /// The requested name.
        name: Box<ModelName>,
        /// All matching models.
        variants: Vec<String>,
    },
    /// The store could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ResolveError {
    /// Returns the next step for the user.
    pub fn hint(&self) -> String {
        match self {
            Self::Missing { nearest, .. } if !nearest.is_empty() => {
                format!("did you mean {}?", quoted(nearest))
            }
            Self::Missing { .. } => "pull it from the hub, or import it from a file".to_owned(),
            Self::Ambiguous { variants, .. } => format!("choose one: {}", quoted(variants)),
            Self::Store(_) => "check that the store's folder is readable".to_owned(),
        }
    }
}

fn quoted(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" or ")
}

impl Store {
    /// Returns the store in a folder. The folder need not exist; the first change creates it.
    pub fn open(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Returns the store's folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Returns the folder of the manifests; it changes whenever a name is given another meaning.
    pub fn manifests(&self) -> PathBuf {
        self.root.join("manifests")
    }

    /// Returns all named models, sorted by name.
    pub fn list(&self) -> Result<StoreListing, StoreError> {
        let manifests = self.manifests();
        let mut listing = StoreListing::default();
        let mut paths = Vec::new();
        walk(&manifests, &mut paths).map_err(StoreError::at("list", &manifests))?;
        paths.sort();
        for path in paths {
            let Some(name) = name_from_path(&manifests, &path) else { continue };
            match self.read(&name, &path) {
                Ok(entry) => listing.models.push(entry),
                Err(error) => listing.damaged.push((name, error)),
            }
        }
        Ok(listing)
    }

    /// Returns the model that a name stands for, ready to be opened.
    ///
    /// A name without a tag means the tag `latest`, or the only tag there is. A missing model is never replaced by
    /// another.
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
        self.link_tree(&entry.manifest)?;
        Ok(entry)
    }

    /// Returns the model with exactly this name and tag, if it exists.
    pub(crate) fn find(&self, name: &ModelName) -> Result<Option<Entry>, StoreError> {
        Ok(self.list()?.models.into_iter().find(|entry| name.means(&entry.name)))
    }

    fn read(&self, name: &ModelName, path: &Path) -> Result<Entry, StoreError> {
        let read = || -> Result<Manifest, StoreErrorKind> {
            if fs::metadata(path)?.len() > MANIFEST_BYTES_MAX {
                return Err(io::Error::other("the file is too long for a manifest").into());
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

    /// Returns the path that the engine opens.
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

fn missing(name: &ModelName, listing: &StoreListing) -> ResolveError {
    let known: Vec<String> = listing.models.iter().map(|entry| entry.name.to_string()).collect();
    let nearest = nearest(&name.to_string(), known.iter().map(String::as_str));
    ResolveError::Missing { name: Box::new(name.clone()), nearest, models: known.len() }
}

/// Returns the model name that a manifest's path encodes.
fn name_from_path(manifests: &Path, path: &Path) -> Option<ModelName> {
    let within = path.strip_prefix(manifests).ok()?.to_str()?.strip_suffix(".json")?;
    let (name, tag) = within.rsplit_once('/')?;
    name.parse::<ModelName>().ok()?.with_tag(tag).ok()
}

/// Collects all files below a folder, or none if it does not exist.
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
