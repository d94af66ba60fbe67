//! One message: its record batches, one after the other, as the list of its rows.
//!
//! Before: [`super::framing`] and [`super::program`]. After: [`crate::decode::rows`] reads the rows
//! one by one through [`ArrowDocument`], [`super::bulk`] whole columns through [`Walk`]. Both see
//! the columns of one batch at a time, so that a message of many needs no more memory than of one.

use super::batch::{Arrays, Inflated};
use super::columns::{Columns, Dictionaries};
use super::framing::{Content, Message, Stream};
use super::locate;
use super::problem::Problem;
use super::program::Program;
use super::record::ArrowRecord;
use crate::decode::plan::NamedList;
use crate::decode::rows::Document;
use crate::decode::trie::Trie;
use crate::rejection::Refusal;

/// Goes through the record batches of a stream.
pub(super) struct Walk<'a> {
    trie: &'a Trie,
    program: &'a Program,
    stream: &'a Stream<'a>,
    inflated: &'a Inflated,
    /// The message that comes next.
    next: usize,
    pub(super) columns: Columns<'a>,
    pub(super) dictionaries: Dictionaries<'a>,
}

impl<'a> Walk<'a> {
    /// Begins before the first batch. `trie` has the paths inside of a record.
    pub(super) fn new(
        trie: &'a Trie,
        program: &'a Program,
        stream: &'a Stream<'a>,
        inflated: &'a Inflated,
    ) -> Result<Self, Refusal> {
        let columns = Columns::new(trie.slots());
        let dictionaries = Dictionaries::new(program.dictionaries.len());
        let mut walk = Self { trie, program, stream, inflated, next: 0, columns, dictionaries };
        if stream.is_file {
            // They may lie behind the rows that need them.
            for number in 0..stream.messages.len() {
                walk.dictionary(number).map_err(|problem| problem.in_message(number + 1))?;
            }
        }
        Ok(walk)
    }

    /// Finds the columns of the next batch with rows; returns whether there is one.
    pub(super) fn advance(&mut self) -> Result<bool, Refusal> {
        while let Some(message) = self.stream.messages.get(self.next) {
            let number = self.next;
            self.next += 1;
            let found = match message.content {
                Content::Rows { batch: _, rows: 0 } => Ok(()),
                Content::Rows { batch: _, rows } => {
                    let arrays = self.arrays(number, message);
                    let found =
                        locate::columns(self.program, self.trie, arrays, rows, &mut self.columns);
                    found.map_err(|problem| problem.in_message(number + 1))?;
                    return Ok(true);
                }
                Content::Dictionary { .. } if self.stream.is_file => Ok(()),
                Content::Dictionary { .. } => self.dictionary(number),
            };
            found.map_err(|problem| problem.in_message(number + 1))?;
        }
        Ok(false)
    }

    /// Takes the values of a message that is a dictionary.
    fn dictionary(&mut self, number: usize) -> Result<(), Problem> {
        let message = &self.stream.messages[number];
        let Content::Dictionary { id, is_delta, values: _ } = message.content else {
            return Ok(());
        };
        let arrays = self.arrays(number, message);
        locate::dictionary(self.program, arrays, id, is_delta, &mut self.dictionaries)
    }

    /// Returns a row of the batch.
    pub(super) fn record<'r>(&'r self, row: usize, added: &'r mut String) -> ArrowRecord<'a, 'r> {
        let Self { trie, columns, dictionaries, .. } = self;
        ArrowRecord { trie, columns, dictionaries, row, added }
    }

    fn arrays(&self, number: usize, message: &Message<'a>) -> Arrays<'a> {
        let places = self.inflated.places.get(number).and_then(Option::as_ref);
        Arrays::new(message, places.map(|places| (&self.inflated.bytes[..], &places[..])))
    }
}

/// The rows of a message.
pub(super) struct ArrowDocument<'a> {
    pub(super) walk: Walk<'a>,
    /// The first row of the batch that the walk is in, and the one that was entered.
    pub(super) first: usize,
    pub(super) row: usize,
}

impl<'a> Document for ArrowDocument<'a> {
    type Record<'r>
        = ArrowRecord<'a, 'r>
    where
        Self: 'r;

    /// Returns how many rows there are: the message is the only list.
    fn length(&self, _list: usize) -> Result<Option<usize>, Refusal> {
        Ok(Some(self.walk.stream.rows))
    }

    fn name_columns(&mut self, _named: &[NamedList]) -> Result<(), Refusal> {
        Ok(())
    }

    fn enter(&mut self, lists: &[usize], _named: &[NamedList], row: usize) -> Result<(), Refusal> {
        if lists.is_empty() {
            return Ok(());
        }
        while self.walk.columns.rows <= row - self.first {
            self.first += self.walk.columns.rows;
            if !self.walk.advance()? {
                unreachable!("the rows of all batches were counted");
            }
        }
        self.row = row - self.first;
        Ok(())
    }

    fn record<'r>(&'r self, added: &'r mut String) -> ArrowRecord<'a, 'r> {
        self.walk.record(self.row, added)
    }
}
