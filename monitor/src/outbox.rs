//! The bounded channel of events into the pipeline, and the outbox from which a consumer thread
//! fills it.
//!
//! Before: consumer, watcher and status threads. After: [`crate::stage`]. A consumer must never
//! block, so it offers what it has and pauses its partitions while something is left: held is at
//! most what was polled before the pause, and what the pipeline itself asked for meanwhile.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::Duration;

use driftd_core::event::Event;

/// How often room is looked for by who waits for it.
const DRAIN_PAUSE: Duration = Duration::from_millis(20);

/// Makes a channel with room for `capacity` events.
pub(crate) fn events(capacity: usize) -> (EventSender, EventReceiver) {
    let (sender, receiver) = sync_channel(capacity);
    let waiting = Arc::new(AtomicUsize::new(0));
    (EventSender { sender, waiting: Arc::clone(&waiting) }, EventReceiver { receiver, waiting })
}

/// The writing end; hangs up when all clones are gone.
#[derive(Clone, Debug)]
pub struct EventSender {
    sender: SyncSender<Event>,
    waiting: Arc<AtomicUsize>,
}

/// The reading end.
#[derive(Debug)]
pub(crate) struct EventReceiver {
    receiver: Receiver<Event>,
    waiting: Arc<AtomicUsize>,
}

impl EventSender {
    /// Waits for room and sends; `false` when nobody listens any more.
    pub(crate) fn send(&self, event: Event) -> bool {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        self.sender.send(event).is_ok()
    }

    #[expect(clippy::result_large_err, reason = "the error is the event, given back")]
    fn try_send(&self, event: Event) -> Result<(), TrySendError<Event>> {
        self.sender.try_send(event)?;
        self.waiting.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

impl EventReceiver {
    /// Waits for an event, up to `timeout`.
    pub(crate) fn receive(&self, timeout: Duration) -> Result<Event, RecvTimeoutError> {
        let event = self.receiver.recv_timeout(timeout)?;
        // A sender counts just after it sends: the difference may be below zero for a moment.
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        Ok(event)
    }

    /// Returns about how many events wait.
    pub(crate) fn waiting(&self) -> usize {
        let waiting = self.waiting.load(Ordering::Relaxed);
        if usize::MAX / 2 < waiting { 0 } else { waiting }
    }
}

/// Events that the channel had no room for yet, in order.
#[derive(Debug)]
pub(crate) struct Outbox {
    sender: EventSender,
    waiting: VecDeque<Event>,
}

impl Outbox {
    pub(crate) fn new(sender: EventSender) -> Self {
        Self { sender, waiting: VecDeque::new() }
    }

    /// Adds an event behind all others.
    pub(crate) fn push(&mut self, event: Event) {
        self.waiting.push_back(event);
    }

    /// Sends as much as there is room for; returns whether everything is sent.
    pub(crate) fn offer(&mut self) -> bool {
        while let Some(event) = self.waiting.pop_front() {
            match self.sender.try_send(event) {
                Ok(()) => {}
                Err(TrySendError::Full(event)) => {
                    self.waiting.push_front(event);
                    return false;
                }
                // The pipeline has ended; the commands channel will say so as well.
                Err(TrySendError::Disconnected(_)) => return true,
            }
        }
        true
    }

    /// Waits until everything is sent: before somebody else goes on with what it is about. Calls
    /// `beat` meanwhile: a pipeline that waits for the broker is no reason to be taken for dead.
    pub(crate) fn drain(&mut self, beat: impl Fn()) {
        while !self.offer() {
            beat();
            thread::park_timeout(DRAIN_PAUSE);
        }
    }
}
