//! One message: what a walk finds in it.
//!
//! Before: [`super::ProtobufDecoder`] knows the program and where the message begins. After:
//! [`crate::decode::rows`] reads its rows through [`ProtobufDocument`]. The rules are those of
//! JSON's lists (decision 0009), but that a list without elements and one that is absent are the
//! same in the bytes: none of either makes no rows.

use super::program::ProtobufProgram;
use super::walk::{Slots, walk, walk_element};
use crate::decode::DecodeLimits;
use crate::decode::place::blocked;
use crate::decode::plan::{NamedList, Plan};
use crate::decode::rows::{Document, Reader, Rows};
use crate::decode::typed::record::TypedRecord;
use crate::decode::typed::value::{Found, Value};
use crate::rejection::{Refusal, RejectReason};

/// What a walk finds in a message.
pub(super) struct ProtobufDocument<'a> {
    pub(super) plan: &'a Plan,
    pub(super) program: &'a ProtobufProgram,
    pub(super) payload: &'a [u8],
    /// What a walk found in the message.
    pub(super) slots: &'a mut Slots,
    /// For each list what a walk found in the element of the row that is read.
    pub(super) elements: &'a mut [Slots],
}

impl ProtobufDocument<'_> {
    /// Reads the message that begins at `start` and is the rest of the payload.
    pub(super) fn read(
        self,
        start: usize,
        rows: &mut Rows,
        limits: DecodeLimits,
    ) -> Result<(), Refusal> {
        let plan = self.plan;
        walk(self.program, &plan.trie, self.payload, start, self.slots)?;
        if plan.is_list {
            let detail = "the message: expected an array, found a message; the paths of one \
                          message begin with a key";
            return Err(Refusal::new(RejectReason::WrongType, format_args!("{detail}")));
        }
        Reader { plan, document: self, rows, limits }.read()
    }
}

impl Document for ProtobufDocument<'_> {
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
            Value::List => {
                let list = self.program.lists[list].as_ref();
                Ok(list.map(|list| self.slots.element_count(list)))
            }
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
            let is_there = matches!(self.slots.get(wanted.slot), Value::List);
            match &self.program.lists[list] {
                Some(list) if is_there => {
                    let place = self.slots.place(list, row);
                    let (program, payload) = (self.program, self.payload);
                    walk_element(program, list, &wanted.element, payload, place, found)?;
                }
                Some(_) | None => found.clear(),
            }
        }
        Ok(())
    }

    fn record<'r>(&'r self, added: &'r mut String) -> TypedRecord<'r, Slots> {
        let Self { plan, program, payload, slots, elements } = self;
        let (trie, symbols) = (&plan.trie, &*program.symbols);
        TypedRecord { payload, symbols, trie, slots, elements, added }
    }
}
