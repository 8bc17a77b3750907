//! Work before a model's first token: prompts are rendered and tokenised, grammars compiled. It takes milliseconds of the
//! processor's time, so it runs on threads that may be busy, where it holds up no other request.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use bantam_backend::{BackendError, BackendFault};
use tokio::sync::Semaphore;

/// Places for such work of one model. Callers without a place wait, and leave the queue when they give up.
#[derive(Debug)]
pub(crate) struct Preparations {
    places: Arc<Semaphore>,
}

/// Why a request was not prepared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PrepareError {
    /// The deadline passed first.
    #[error("the deadline passed before the request was prepared")]
    Late,
    /// It panicked.
    #[error("preparing the request ended in a panic")]
    Panicked,
}

impl From<PrepareError> for BackendError {
    fn from(error: PrepareError) -> Self {
        match error {
            PrepareError::Late => BackendFault::TotalTimeout,
            PrepareError::Panicked => BackendFault::Broken,
        }
        .into()
    }
}

/// Tells work in progress whether anybody still waits for it.
#[derive(Clone, Debug)]
pub(crate) struct Wanted(Arc<AtomicBool>);

impl Wanted {
    /// Returns an error once the caller has left. Work asks between its steps, each of which is bounded.
    pub(crate) fn check(&self) -> Result<(), PrepareError> {
        if self.0.load(Ordering::Relaxed) { Ok(()) } else { Err(PrepareError::Late) }
    }
}

/// Marks work as no longer wanted when the caller is dropped.
struct Waiting(Wanted);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.0.store(false, Ordering::Relaxed);
    }
}

impl Preparations {
    /// Returns places for as many requests at a time as the machine has cores: more would only slow each other down.
    pub(crate) fn new() -> Self {
        Self::with_places(std::thread::available_parallelism().map_or(1, std::num::NonZero::get))
    }

    fn with_places(places: usize) -> Self {
        Self { places: Arc::new(Semaphore::new(places)) }
    }

    /// Runs `work` on a thread that may be busy and returns what it returns.
    ///
    /// A caller that leaves, or whose deadline passes, does not stop work that has begun, but the work keeps its place until
    /// it ends: however many callers leave, no more of it runs than there are places.
    ///
    /// # Errors
    /// [`PrepareError`] when the deadline passes first or `work` panics, and the error of `work`.
    pub(crate) async fn run<T, E>(
        &self,
        deadline: Option<Instant>,
        work: impl FnOnce(&Wanted) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<PrepareError> + Send + 'static,
    {
        let waiting = Waiting(Wanted(Arc::new(AtomicBool::new(true))));
        let wanted = waiting.0.clone();
        let done = async {
            // Nobody closes the semaphore.
            let place = Arc::clone(&self.places).acquire_owned().await.map_err(|_| PrepareError::Late)?;
            let working = tokio::task::spawn_blocking(move || {
                let _place = place;
                wanted.check()?;
                work(&wanted)
            });
            working.await.map_err(|_| PrepareError::Panicked)?
        };
        match deadline {
            None => done.await,
            Some(deadline) => {
                tokio::time::timeout_at(deadline.into(), done).await.map_err(|_| PrepareError::Late)?
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use futures_util::FutureExt;

    use super::*;

    type Done<T> = Result<T, PrepareError>;

    #[tokio::test]
    async fn work_runs_on_another_thread() {
        let places = Preparations::new();
        let thread = places.run(None, |_| Done::Ok(std::thread::current().id())).await.unwrap();
        assert_ne!(thread, std::thread::current().id());
    }

    #[tokio::test]
    async fn a_panic_is_an_error_and_gives_its_place_back() {
        let places = Preparations::with_places(1);
        for _ in 0..3 {
            assert_eq!(
                places.run(None, |_| -> Done<()> { panic!("on purpose") }).await,
                Err(PrepareError::Panicked)
            );
        }
        assert_eq!(places.run(None, |_| Done::Ok(7)).await, Ok(7));
    }

    #[tokio::test]
    async fn work_of_callers_that_left_keeps_its_place_and_learns_of_it() {
        let places = Preparations::with_places(1);
        let (begun, has_begun) = mpsc::channel();
        let (go_on, may_go_on) = mpsc::channel::<()>();
        let (told, tells) = mpsc::channel();
        let first = places.run(None, move |wanted| {
            let before = wanted.check();
            begun.send(()).unwrap();
            may_go_on.recv().unwrap();
            told.send((before, wanted.check())).unwrap();
            Done::Ok(())
        });
        let mut first = Box::pin(first);
        assert!((&mut first).now_or_never().is_none());
        has_begun.recv().unwrap();
        drop(first);
        let never = |_: &Wanted| -> Done<()> { panic!("it has no place") };
        assert_eq!(
            places.run(Some(Instant::now() + Duration::from_millis(5)), never).await,
            Err(PrepareError::Late)
        );
        assert!(places.run(None, never).now_or_never().is_none(), "the only place is taken");
        go_on.send(()).unwrap();
        assert_eq!(tells.recv().unwrap(), (Ok(()), Err(PrepareError::Late)));
        assert_eq!(places.run(None, |_| Done::Ok(7)).await, Ok(7), "those who left hold no place");
    }
}
