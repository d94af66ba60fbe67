//! The picture that HTTP serves, put together from those that each thread shows.
//!
//! Before: [`crate::stage`], and [`crate::lanes`] where several processes share the work. After:
//! [`crate::http`]. Each part of a picture is shown by the one thread that owns it.

use std::sync::{Arc, Mutex, PoisonError};

use driftd_core::snapshot::{LaneSnapshot, Snapshot};
use tokio::sync::watch;

/// Takes pictures and serves the newest of each, joined.
#[derive(Clone)]
pub(crate) struct Board(Arc<Inner>);

struct Inner {
    pictures: Mutex<Pictures>,
    publish: watch::Sender<Arc<Snapshot>>,
}

struct Pictures {
    /// What the pipeline's thread shows: everything, or what it reads where others decide.
    base: Arc<Snapshot>,
    /// What lanes show; empty where there are none.
    lanes: Vec<(LaneSnapshot, Arc<Snapshot>)>,
}

impl Board {
    /// Shows `base` first.
    pub(crate) fn new(base: Arc<Snapshot>) -> (Self, watch::Receiver<Arc<Snapshot>>) {
        let (publish, snapshot) = watch::channel(Arc::clone(&base));
        let pictures = Mutex::new(Pictures { base, lanes: Vec::new() });
        (Self(Arc::new(Inner { pictures, publish })), snapshot)
    }

    /// Replaces the picture of the pipeline's thread.
    pub(crate) fn show(&self, base: Arc<Snapshot>) {
        self.change(|pictures| pictures.base = base);
    }

    /// Replaces the pictures of all lanes.
    pub(crate) fn show_lanes(&self, lanes: Vec<(LaneSnapshot, Arc<Snapshot>)>) {
        self.change(|pictures| pictures.lanes = lanes);
    }

    fn change(&self, change: impl FnOnce(&mut Pictures)) {
        let mut pictures = self.0.pictures.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut pictures);
        let mut joined = Arc::clone(&pictures.base);
        for (lane, picture) in &pictures.lanes {
            let joined = Arc::make_mut(&mut joined);
            joined.join(picture);
            joined.lanes.push(lane.clone());
        }
        self.0.publish.send_replace(joined);
    }
}
