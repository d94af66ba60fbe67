//! The headers of a message, also of one with names that are no text.
//!
//! Before: a message that the client lends. After: [`super::batch`] and [`super::sampler`] take
//! values of headers by their names.

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};

use rdkafka::message::{BorrowedMessage, Header, Headers as _, Message as _};

thread_local! {
    static IS_READING: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread is asking the client for a header, which panics at a name that is no UTF-8
/// (rdkafka 0.39, `BorrowedHeaders::try_get`). Any producer may send one: it is no broken
/// invariant.
pub(crate) fn is_reading() -> bool {
    IS_READING.get()
}

/// Returns the headers of a message in their order, without those whose name is no text: no path
/// could name them.
pub(crate) fn of<'a>(
    message: &'a BorrowedMessage<'_>,
) -> impl Iterator<Item = Header<'a, &'a [u8]>> {
    message.headers().into_iter().flat_map(|headers| {
        (0..headers.count()).filter_map(|index| {
            IS_READING.set(true);
            let found = panic::catch_unwind(AssertUnwindSafe(|| headers.try_get(index)));
            IS_READING.set(false);
            found.ok().flatten()
        })
    })
}
