//! One document of a message: what a layout takes at once, or else what walks find in it.
//!
//! Before: [`super::JsonDecoder`] has the bounds of the document. After: [`crate::decode::rows`]
//! reads its rows through [`JsonDocument`].

use std::fmt;
use std::ops::Range;

use super::columns::{Columns, ColumnsProblem, NAMES_MAX};
use super::layout::Layouts;
use super::record::JsonRecord;
use super::value::Kind;
use super::walk::{Found, Slots, walk, walk_element, walk_row};
use super::{invalid_json, not_the_root};
use crate::decode::DecodeLimits;
use crate::decode::batch::Head;
use crate::decode::builders::Texts;
use crate::decode::place::blocked;
use crate::decode::plan::{NamedList, Plan};
use crate::decode::rows::{Document, Reader, Rows};
use crate::decode::trie::List;
use crate::rejection::{Refusal, RejectReason};

/// What walks find in a document.
pub(super) struct JsonDocument<'a> {
    pub(super) plan: &'a Plan,
    pub(super) payload: &'a str,
    /// What a walk found in the document.
    pub(super) slots: &'a mut Slots,
    /// For each list what a walk found in the element of the row that is read.
    pub(super) elements: &'a mut [Slots],
    pub(super) columns: &'a mut Columns,
}

impl JsonDocument<'_> {
    /// Reads the document inside `bounds` of the payload.
    pub(super) fn read(
        self,
        bounds: Range<usize>,
        layouts: &mut Layouts,
        rows: &mut Rows,
        limits: DecodeLimits,
    ) -> Result<(), Refusal> {
        let (plan, payload) = (self.plan, self.payload);
        // A layout has the values of rows, and not what a change is.
        if !plan.trie.lists().is_empty() || plan.change.is_some() {
            return self.walk(bounds, rows, limits);
        }
        let is_read = rows.heads.len() < limits.rows_max
            && layouts.read(plan, (payload, &bounds), rows, limits.cells_max);
        if is_read {
            return Ok(());
        }
        self.walk(bounds.clone(), rows, limits)?;
        if let Some(Head { model, version, .. }) = rows.heads.last() {
            let texts = Texts { payload, added: &rows.added };
            layouts.learn(plan, payload, bounds, (*model, texts.get(version)));
        }
        Ok(())
    }

    fn walk(
        self,
        bounds: Range<usize>,
        rows: &mut Rows,
        limits: DecodeLimits,
    ) -> Result<(), Refusal> {
        let plan = self.plan;
        self.columns.begin();
        let kind = walk(&plan.trie, self.payload, bounds, self.slots)
            .map_err(|error| invalid_json(&error))?;
        let expected = if plan.is_list { Kind::Array } else { Kind::Object };
        if kind != expected {
            return Err(not_the_root(expected, kind));
        }
        Reader { plan, document: self, rows, limits }.read()
    }
}

impl Document for JsonDocument<'_> {
    type Record<'r>
        = JsonRecord<'r>
    where
        Self: 'r;

    fn length(&self, list: usize) -> Result<Option<usize>, Refusal> {
        let trie = &self.plan.trie;
        match self.slots.get(trie.lists()[list].slot) {
            None => Ok(None),
            Some(Found::Blocked { node, expected, found }) => {
                Err(blocked(&trie.node(node).path, expected, found))
            }
            Some(Found::Value { .. }) => Ok(Some(self.slots.element_count(list))),
        }
    }

    /// A list that is absent or null has no value for any row, whatever the names are.
    fn name_columns(&mut self, named: &[NamedList]) -> Result<(), Refusal> {
        let Some(place) = &self.plan.columns else { return Ok(()) };
        let (path, trie) = (&place.path, &self.plan.trie);
        let is_there = |it: &&NamedList| self.slots.get(trie.lists()[it.list].slot).is_some();
        if !named.iter().any(|it| is_there(&it)) {
            return Ok(());
        }
        let invalid = |problem: fmt::Arguments<'_>| {
            Refusal::new(RejectReason::InvalidColumns, format_args!("`{path}`: {problem}"))
        };
        let text = match self.slots.get(place.slot) {
            Some(Found::Value { start, end }) => self.payload.get(start..end),
            Some(Found::Blocked { .. }) | None => None,
        };
        let Some(text) = text.filter(|text| Kind::of(text) != Kind::Null) else {
            return Err(invalid(format_args!("absent or null")));
        };
        self.columns.read(trie, &self.plan.named_lists, text).map_err(|problem| match problem {
            ColumnsProblem::NoNames => invalid(format_args!("expected a list of names")),
            ColumnsProblem::Repeated { first, again } => {
                invalid(format_args!("the names at {first} and {again} are the same"))
            }
            ColumnsProblem::TooMany => invalid(format_args!("more than {NAMES_MAX} names")),
        })?;
        let mut names = named.iter().filter(is_there).flat_map(|it| &it.names);
        match names.find(|name| self.columns.position(name).is_none()) {
            None => Ok(()),
            Some(name) => Err(invalid(format_args!("no column is named `{name}`"))),
        }
    }

    fn enter(&mut self, lists: &[usize], named: &[NamedList], row: usize) -> Result<(), Refusal> {
        for &list in lists {
            let List { slot, element } = &self.plan.trie.lists()[list];
            let slots = &mut self.elements[list];
            if self.slots.get(*slot).is_none() {
                slots.clear();
                continue;
            }
            let bounds = self.slots.element(list, row);
            if named.iter().all(|it| it.list != list) {
                walk_element(element, self.payload, bounds, slots)
                    .map_err(|error| invalid_json(&error))?;
                continue;
            }
            let wanted = self.columns.of_list(list);
            let found = walk_row(element, self.payload, bounds, wanted, slots)
                .map_err(|error| invalid_json(&error))?;
            let count = self.columns.count();
            if let Some(found) = found.filter(|found| *found != count) {
                let path = self.plan.trie.lists()[list].path();
                let detail = format_args!("`{path}`: {found} values for {count} columns");
                return Err(Refusal::new(RejectReason::InvalidColumns, detail));
            }
        }
        Ok(())
    }

    fn record<'r>(&'r self, added: &'r mut String) -> JsonRecord<'r> {
        let Self { plan, payload, slots, elements, columns: _ } = self;
        JsonRecord { payload, trie: &plan.trie, slots, elements, added }
    }
}
