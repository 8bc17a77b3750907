//! The models on this machine: listed, shown, brought, copied, removed, bundled.

mod add;
mod find;
mod measure;
mod pull;
mod quantise;
mod show;
mod take_away;

pub use add::{AddModelError, AddedModel, copy_model, import_model};
pub use find::{FindModelError, FoundModel, find_model, locate_model, model_name, stored_model};
pub(crate) use measure::measurement;
pub use measure::{MeasureModelError, measure_model};
pub use pull::{PullModelError, pull_model};
pub use quantise::quantise_model;
pub use show::{
    DamagedModel, ListModelsError, ModelDetails, ModelList, ModelSummary, list_models, show_model,
};
pub use take_away::{
    ExportModelsError, ExportedBundle, RemovedModel, RemovedModels, export_models, remove_models,
};
