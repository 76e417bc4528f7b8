//! A hand on a worker that runs: it can be paused and go on.

use std::fmt;
use std::sync::Arc;

use tokio::sync::watch;

/// Pauses a worker and lets it go on, [`crate::Worker::control`]. Cheap to clone; a clone controls
/// the same worker.
#[derive(Clone)]
pub struct Control(Arc<watch::Sender<bool>>);

impl Control {
    pub(crate) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }

    /// From now on it reads nothing new. What it has it handles; a read that waits already may
    /// still bring events, for as long as [`crate::Worker::poll`].
    pub fn pause(&self) {
        self.0.send_replace(true);
    }

    /// It reads again.
    pub fn resume(&self) {
        self.0.send_replace(false);
    }

    /// Whether it is paused.
    pub fn is_paused(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until it is not paused.
    pub(crate) async fn running(&self) {
        // The sender is ours: this cannot fail.
        let _ = self.0.subscribe().wait_for(|paused| !paused).await;
    }
}

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Control").field(&self.is_paused()).finish()
    }
}
