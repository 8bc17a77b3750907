//! placeholder
use crate::{cli::DemoArgs, failure::Failure, settings::Globals};
pub(crate) fn run(_: &DemoArgs, _: &Globals) -> Result<(), Failure> { Ok(()) }
