//! What the pipeline asks of one consumer thread, until it is done.
//!
//! Before: [`crate::stage`], which never waits here: the thread may be waiting for the pipeline.
//! After: [`crate::kafka::consumer`] takes all of it between two polls. There is a bound without
//! waiting, because what is asked again replaces what was asked before.

use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use driftd_catalog::PartitionId;

/// What the pipeline asks of a consumer thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Report the open windows of this partition.
    Flush(PartitionId),
    /// Stop fetching it.
    Pause(PartitionId),
    /// Fetch it again.
    Resume(PartitionId),
    /// Tell what all partitions hold, for the store.
    Checkpoint,
}

impl Command {
    /// Returns whether nothing of `other` is left to do once this is done.
    fn replaces(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Checkpoint, Self::Checkpoint) => true,
            (Self::Flush(id), Self::Flush(other)) => id == other,
            (Self::Pause(id) | Self::Resume(id), Self::Pause(other) | Self::Resume(other)) => {
                id == other
            }
            (
                Self::Checkpoint | Self::Flush(_) | Self::Pause(_) | Self::Resume(_),
                Self::Checkpoint | Self::Flush(_) | Self::Pause(_) | Self::Resume(_),
            ) => false,
        }
    }
}

/// Returns both ends of what is asked of one thread.
pub(crate) fn commands() -> (CommandSender, CommandReceiver) {
    let shared = Arc::new(Mutex::new(Shared::default()));
    (CommandSender(Arc::clone(&shared)), CommandReceiver(shared))
}

/// The end of who asks; dropping it ends the thread.
#[derive(Debug)]
pub(crate) struct CommandSender(Arc<Mutex<Shared>>);

/// The end of who is asked.
#[derive(Debug)]
pub struct CommandReceiver(Arc<Mutex<Shared>>);

#[derive(Debug, Default)]
struct Shared {
    /// In the order in which they are done: at most two a partition, and one more.
    waiting: Vec<Command>,
    /// One of the ends is gone.
    has_ended: bool,
}

impl CommandSender {
    /// Asks; `false` when nobody is there any more.
    pub(crate) fn send(&self, command: Command) -> bool {
        let mut shared = lock(&self.0);
        shared.waiting.retain(|other| !command.replaces(other));
        shared.waiting.push(command);
        !shared.has_ended
    }
}

impl CommandReceiver {
    /// Returns what is asked, and whether more may come.
    pub(crate) fn take(&self) -> (Vec<Command>, bool) {
        let mut shared = lock(&self.0);
        (mem::take(&mut shared.waiting), !shared.has_ended)
    }
}

impl Drop for CommandSender {
    fn drop(&mut self) {
        lock(&self.0).has_ended = true;
    }
}

impl Drop for CommandReceiver {
    fn drop(&mut self) {
        lock(&self.0).has_ended = true;
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition(partition: i32) -> PartitionId {
        PartitionId { topic: "t".into(), partition }
    }

    #[test]
    fn what_is_asked_again_replaces_what_was_asked_before() {
        let (sender, receiver) = commands();
        assert_eq!(receiver.take(), (vec![], true));
        for _ in 0..1_000 {
            for number in 0..3 {
                assert!(sender.send(Command::Pause(partition(number))));
                assert!(sender.send(Command::Flush(partition(number))));
            }
            assert!(sender.send(Command::Checkpoint));
        }
        assert!(sender.send(Command::Resume(partition(1))));
        let expected = vec![
            Command::Pause(partition(0)),
            Command::Flush(partition(0)),
            Command::Flush(partition(1)),
            Command::Pause(partition(2)),
            Command::Flush(partition(2)),
            Command::Checkpoint,
            Command::Resume(partition(1)),
        ];
        assert_eq!(receiver.take(), (expected, true));
        assert_eq!(receiver.take(), (vec![], true));
    }

    #[test]
    fn each_end_hears_that_the_other_is_gone() {
        let (sender, receiver) = commands();
        assert!(sender.send(Command::Checkpoint));
        drop(sender);
        assert_eq!(receiver.take(), (vec![Command::Checkpoint], false));
        let (sender, receiver) = commands();
        drop(receiver);
        assert!(!sender.send(Command::Checkpoint));
    }
}
