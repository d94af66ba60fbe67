//! One message: what a walk finds in it.
//!
//! Before: [`super::AvroDecoder`] knows the program and where the value begins. After:
//! [`crate::decode::rows`] reads its rows through [`AvroDocument`]. The rules are those of JSON's
//! lists (decision 0009).

use super::bytes::Malformed;
use super::program::AvroProgram;
use super::walk::{Slots, walk};
use crate::decode::DecodeLimits;
use crate::decode::place::blocked;
use crate::decode::plan::{NamedList, Plan};
use crate::decode::rows::{Document, Reader, Rows};
use crate::decode::typed::record::TypedRecord;
use crate::decode::typed::value::{Found, Kind, Value};
use crate::rejection::{Refusal, RejectReason};

/// What a walk finds in a message.
pub(super) struct AvroDocument<'a> {
    pub(super) plan: &'a Plan,
    pub(super) program: &'a AvroProgram,
    pub(super) payload: &'a [u8],
    /// What a walk found in the message.
    pub(super) slots: &'a mut Slots,
    /// For each list what a walk found in the element of the row that is read.
    pub(super) elements: &'a mut [Slots],
}

impl AvroDocument<'_> {
    /// Reads the value that begins at `start` and is the rest of the payload.
    pub(super) fn read(
        self,
        start: usize,
        rows: &mut Rows,
        limits: DecodeLimits,
    ) -> Result<(), Refusal> {
        let plan = self.plan;
        let kind = walk(self.program, &plan.trie, self.payload, start, self.slots)
            .map_err(Malformed::refusal)?;
        let expected = if plan.is_list { Kind::Array } else { Kind::Record };
        if kind != expected {
            return Err(not_the_root(expected, kind));
        }
        Reader { plan, document: self, rows, limits }.read()
    }
}

impl Document for AvroDocument<'_> {
    type Record<'r>
        = TypedRecord<'r, Slots>
    where
        Self: 'r;

    fn length(&self, list: usize) -> Result<Option<usize>, Refusal> {
        let trie = &self.plan.trie;
        match *self.slots.get(trie.lists()[list].slot) {
            Value::Blocked { want, expected, found } => {
                Err(blocked(&trie.node(want).path, expected, found))
            }
            Value::List => Ok(Some(self.slots.element_count(list))),
            Value::Absent
            | Value::Boolean(_)
            | Value::Number(_)
            | Value::Text(_)
            | Value::Time { .. }
            | Value::Other(_) => Ok(None),
        }
    }

    /// Fields have their names in the schema.
    fn name_columns(&mut self, _: &[NamedList]) -> Result<(), Refusal> {
        Ok(())
    }

    fn enter(&mut self, lists: &[usize], _: &[NamedList], row: usize) -> Result<(), Refusal> {
        for &list in lists {
            let wanted = &self.plan.trie.lists()[list];
            let found = &mut self.elements[list];
            if !matches!(self.slots.get(wanted.slot), Value::List) {
                found.clear();
                continue;
            }
            self.slots
                .list(list)
                .read(self.program, &wanted.element, self.payload, row, found)
                .map_err(Malformed::refusal)?;
        }
        Ok(())
    }

    fn record<'r>(&'r self, added: &'r mut String) -> TypedRecord<'r, Slots> {
        let Self { plan, program, payload, slots, elements } = self;
        let (trie, symbols) = (&plan.trie, &*program.symbols);
        TypedRecord { payload, symbols, trie, slots, elements, added }
    }
}

/// Says what a message is that is neither one record nor, where `expected`, a list of them.
fn not_the_root(expected: Kind, found: Kind) -> Refusal {
    let hint = if (expected, found) == (Kind::Record, Kind::Array) {
        "; the paths of a list of records begin with `[]`"
    } else if (expected, found) == (Kind::Array, Kind::Record) {
        "; the paths of one record begin with a key"
    } else {
        ""
    };
    Refusal::new(
        RejectReason::WrongType,
        format_args!("the message: expected {expected}, found {found}{hint}"),
    )
}
