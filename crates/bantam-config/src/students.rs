//! `[students]`: what the small models that run in this process may use.

use crate::section::Section;
use crate::value;

/// What students share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Students {
    /// Threads that encoder students compute on, all together; 0 means one for each core.
    pub threads: usize,
}

/// Reads `[students]`.
pub(crate) fn read(root: &mut Section<'_>) -> Students {
    let mut section = root.table("students");
    let students = Students { threads: section.or("threads", 0, value::whole(0..=256)).value };
    section.finish();
    students
}
