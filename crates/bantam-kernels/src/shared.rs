//! A slice that the chunks of one region write in parallel.

use std::marker::PhantomData;
use std::ops::Range;

/// A mutable slice whose disjoint parts go to different threads.
pub(crate) struct SharedSlice<'s, T> {
    start: *mut T,
    length: usize,
    owner: PhantomData<&'s mut [T]>,
}

// SAFETY: it hands out parts of a `&mut [T]`, which may be sent if T may; `part` and `pointer` require that parts do
// not overlap.
unsafe impl<T: Send> Sync for SharedSlice<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send> Send for SharedSlice<'_, T> {}

impl<'s, T> SharedSlice<'s, T> {
    pub(crate) fn new(slice: &'s mut [T]) -> Self {
        Self { start: slice.as_mut_ptr(), length: slice.len(), owner: PhantomData }
    }

    /// Returns a part of the slice.
    ///
    /// # Safety
    /// No other thread holds a part, or writes through a pointer, that overlaps it.
    pub(crate) unsafe fn part(&self, range: Range<usize>) -> &'s mut [T] {
        assert!(range.start <= range.end && range.end <= self.length);
        // SAFETY: within the slice, as just checked, and exclusive, as the caller vouches.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(range.start), range.len()) }
    }

    /// Returns a pointer to the first element, valid for the whole slice.
    pub(crate) fn pointer(&self) -> *mut T {
        self.start
    }
}
