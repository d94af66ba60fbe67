//! Reads the rows of one message: how many there are, and the cells of each.
//!
//! Before: [`super::walk`] has found the document's values and lists. After: [`super::JsonDecoder`]
//! hands all rows to the batch, or none. Values that rows share are read once a document.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use driftd_catalog::ModelId;

use super::columns::{Columns, ColumnsProblem, NAMES_MAX};
use super::layout::Layouts;
use super::record::Record;
use super::value::Kind;
use super::walk::{Found, Slots, walk, walk_element, walk_row};
use super::{invalid_json, not_the_root};
use crate::decode::batch::Head;
use crate::decode::builders::{Cell, Texts};
use crate::decode::place::{Place, blocked};
use crate::decode::plan::{ModelPlan, NamedList, Plan, VersionPlan};
use crate::decode::trie::List;
use crate::decode::{CELLS_KEPT, DecodeLimits};
use crate::rejection::{Refusal, RejectReason};
use crate::schema::Framing;

/// The rows of one message that are read. Kept from message to message for its memory.
#[derive(Default)]
pub(super) struct Rows {
    pub(super) heads: Vec<Head>,
    /// For each row one a column of its model.
    pub(super) cells: Vec<Cell>,
    /// Texts that are not in the payload as they are.
    pub(super) added: String,
    /// For each model of the document its first row, from which later ones take what they share.
    firsts: BTreeMap<usize, First>,
}

/// Where the first row of a model lies.
#[derive(Clone, Copy)]
struct First {
    head: usize,
    /// The first of its cells.
    cells: usize,
}

impl Rows {
    /// Forgets the message before, and gives back what only a large one needs.
    pub(super) fn clear(&mut self) {
        self.heads.clear();
        self.cells.clear();
        self.cells.shrink_to(CELLS_KEPT);
        self.added.clear();
        self.added.shrink_to(CELLS_KEPT);
    }

    /// Refuses more rows than a message may have: those of all its documents together.
    fn admit(&self, more: usize, rows_max: usize) -> Result<(), Refusal> {
        if self.heads.len() + more <= rows_max {
            return Ok(());
        }
        let detail = format_args!("more than {rows_max} rows up to here");
        Err(Refusal::new(RejectReason::TooManyRows, detail))
    }

    /// Refuses more values than a message may have, and else makes room for so many more.
    pub(super) fn reserve(&mut self, more: usize, cells_max: usize) -> Result<(), Refusal> {
        let held = self.cells.len();
        let cells = held + more;
        if cells_max < cells {
            let detail = format_args!("rows with {cells} values, more than {cells_max}");
            return Err(Refusal::new(RejectReason::TooManyRows, detail));
        }
        if self.cells.capacity() < cells {
            // Doubled where documents or rows come one by one, but not beyond what may come.
            self.cells.reserve_exact(more.max(held.min(cells_max - held)));
        }
        Ok(())
    }
}

/// One document of a message, as it is read into rows.
pub(super) struct Document<'a> {
    pub(super) plan: &'a Plan,
    pub(super) payload: &'a str,
    /// What a walk found in the document.
    pub(super) slots: &'a mut Slots,
    /// For each list what a walk found in the element of the row that is read.
    pub(super) elements: &'a mut [Slots],
    pub(super) columns: &'a mut Columns,
    pub(super) layouts: &'a mut Layouts,
    pub(super) rows: &'a mut Rows,
    pub(super) limits: DecodeLimits,
}

/// How many rows a document has, and the list that says so.
#[derive(Clone, Copy)]
struct Count {
    list: usize,
    rows: usize,
}

impl Document<'_> {
    /// Reads the document inside `bounds` of the payload.
    pub(super) fn read(&mut self, bounds: Range<usize>) -> Result<(), Refusal> {
        if !self.plan.trie.lists().is_empty() {
            return self.walk(bounds);
        }
        let DecodeLimits { rows_max, cells_max, payload_bytes_max: _ } = self.limits;
        let is_read = self.rows.heads.len() < rows_max
            && self.layouts.read(self.payload, &bounds, self.rows, cells_max);
        if is_read {
            return Ok(());
        }
        self.walk(bounds.clone())?;
        if let Some(Head { model, version, .. }) = self.rows.heads.last() {
            let texts = Texts { payload: self.payload, added: &self.rows.added };
            let row = (*model, texts.get(version));
            self.layouts.learn(self.plan, self.payload, bounds, row);
        }
        Ok(())
    }

    fn walk(&mut self, bounds: Range<usize>) -> Result<(), Refusal> {
        let plan = self.plan;
        self.rows.firsts.clear();
        self.columns.begin();
        let kind = walk(&plan.trie, self.payload, bounds, self.slots)
            .map_err(|error| invalid_json(&error))?;
        let expected = if plan.is_list { Kind::Array } else { Kind::Object };
        if kind != expected {
            return Err(not_the_root(expected, kind));
        }
        if plan.model.as_ref().is_some_and(|place| place.list.is_some()) {
            return self.read_rows_of_many();
        }
        let index = self.model_index()?;
        let model = &plan.models[index];
        if plan.lists.is_empty() && model.lists.is_empty() {
            if plan.framing == Framing::Lines {
                self.rows.admit(1, self.limits.rows_max)?;
                self.rows.reserve(model.columns(), self.limits.cells_max)?;
            }
            return self.read_row(index, None);
        }
        let count = self.count(plan.lists.iter().chain(&model.lists))?;
        self.rows.admit(count.rows, self.limits.rows_max)?;
        self.rows.reserve(count.rows * model.columns(), self.limits.cells_max)?;
        if 0 < count.rows {
            self.name_columns(&model.named)?;
        }
        for row in 0..count.rows {
            self.enter(&plan.lists, &model.named, row)
                .and_then(|()| self.enter(&model.lists, &model.named, row))
                .and_then(|()| self.read_row_of_list(index))
                .map_err(|refusal| refusal.in_row(row))?;
        }
        Ok(())
    }

    /// Reads rows that each name a model.
    fn read_rows_of_many(&mut self) -> Result<(), Refusal> {
        let plan = self.plan;
        let count = self.count(plan.lists.iter())?;
        self.rows.admit(count.rows, self.limits.rows_max)?;
        if 0 < count.rows {
            self.name_columns(&plan.named)?;
        }
        for row in 0..count.rows {
            let read = self.enter(&plan.lists, &plan.named, row).and_then(|()| self.model_index());
            let index = read.map_err(|refusal| refusal.in_row(row))?;
            let model @ ModelPlan { lists, named, named_again, .. } = &plan.models[index];
            self.rows
                .reserve(model.columns(), self.limits.cells_max)
                .map_err(|refusal| refusal.in_row(row))?;
            if !self.rows.firsts.contains_key(&index) {
                lists.iter().try_for_each(|list| self.measure(*list, &count))?;
                self.name_columns(named)?;
            }
            self.enter(named_again, named, row)
                .and_then(|()| self.enter(lists, named, row))
                .and_then(|()| self.read_row_of_list(index))
                .map_err(|refusal| refusal.in_row(row))?;
        }
        Ok(())
    }

    /// Returns the length of the lists. One that is absent or null has no value for any row.
    fn count<'l>(&self, lists: impl Iterator<Item = &'l usize> + Clone) -> Result<Count, Refusal> {
        let mut count: Option<Count> = None;
        for &list in lists.clone() {
            match &count {
                None => count = self.length(list)?.map(|rows| Count { list, rows }),
                Some(count) => self.measure(list, count)?,
            }
        }
        count.ok_or_else(|| {
            let mut paths = lists.map(|list| self.plan.trie.lists()[*list].path());
            let path = paths.next().unwrap_or_default();
            Refusal::new(RejectReason::MissingField, format_args!("`{path}`: absent or null"))
        })
    }

    /// Compares a list with the others, unless it is absent or null.
    fn measure(&self, list: usize, count: &Count) -> Result<(), Refusal> {
        let Some(rows) = self.length(list)? else { return Ok(()) };
        if rows == count.rows {
            return Ok(());
        }
        let path = |list: usize| self.plan.trie.lists()[list].path();
        let (one, other, expected) = (path(count.list), path(list), count.rows);
        Err(Refusal::new(
            RejectReason::UnequalLists,
            format_args!("`{other}` has {rows} elements, but `{one}` has {expected}"),
        ))
    }

    fn length(&self, list: usize) -> Result<Option<usize>, Refusal> {
        let trie = &self.plan.trie;
        match self.slots.get(trie.lists()[list].slot) {
            None => Ok(None),
            Some(Found::Blocked { node, expected, found }) => {
                Err(blocked(&trie.node(node).path, expected, found))
            }
            Some(Found::Value { .. }) => {
                let length = self.slots.element_count(list);
                if length <= self.limits.rows_max {
                    return Ok(Some(length));
                }
                let (path, rows_max) = (trie.lists()[list].path(), self.limits.rows_max);
                let detail =
                    format_args!("`{path}` has {length} elements: more than {rows_max} rows");
                Err(Refusal::new(RejectReason::TooManyRows, detail))
            }
        }
    }

    /// Reads the names of columns, if any of the lists is there that are read by them: one that is
    /// absent or null has no value for any row, whatever the names are.
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

    /// Finds the row's values in its elements of the lists.
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

    /// Returns whose record it is: an index into the schema's models.
    fn model_index(&mut self) -> Result<usize, Refusal> {
        let plan = self.plan;
        let Some(place) = &plan.model else { return Ok(0) };
        let (mut record, _) = self.record();
        let name = record.model(place)?;
        let name = record.texts().get(&name);
        plan.models_by_name.get(name).copied().ok_or_else(|| unknown_model(place, name))
    }

    /// Reads a row of the model `index`. What it shares with the first one of the same model is
    /// taken from there, so that a message that mixes models reads it no more often than another.
    fn read_row_of_list(&mut self, index: usize) -> Result<(), Refusal> {
        let Rows { heads, cells, added: _, firsts } = &*self.rows;
        let first = firsts.get(&index).copied();
        let here = First { head: heads.len(), cells: cells.len() };
        self.read_row(index, first)?;
        if first.is_none() {
            self.rows.firsts.insert(index, here);
        }
        Ok(())
    }

    fn read_row(&mut self, index: usize, first: Option<First>) -> Result<(), Refusal> {
        let plan = self.plan;
        let model = &plan.models[index];
        let shared = first.map(|first| self.rows.heads[first.head].clone());
        let (mut record, cells) = self.record();
        let version = match (&model.version, &shared) {
            (VersionPlan::Fixed(version), None) => record.add_text(version),
            (VersionPlan::At(place), None) => record.version(place)?,
            (VersionPlan::At(place), Some(_)) if place.list.is_some() => record.version(place)?,
            (VersionPlan::Fixed(_) | VersionPlan::At(_), Some(shared)) => shared.version.clone(),
        };
        let event_time = match &shared {
            Some(shared) if plan.event_time.list.is_none() => shared.event_time,
            Some(_) | None => record.event_time(&plan.event_time, plan.time_format)?,
        };
        read_cells(model, &mut record, cells, first.map(|first| first.cells))?;
        self.rows.heads.push(Head { model: index, event_time, version });
        Ok(())
    }

    fn record(&mut self) -> (Record<'_>, &mut Vec<Cell>) {
        let Self { plan, payload, slots, elements, rows, columns: _, layouts: _, limits: _ } = self;
        let Rows { heads: _, cells, added, firsts: _ } = &mut **rows;
        (Record { payload, trie: &plan.trie, slots, elements, added }, cells)
    }
}

/// Reads the features, then the segments: one cell a column. What rows share is copied from the
/// cells that begin at `shared`.
fn read_cells(
    model: &ModelPlan,
    record: &mut Record<'_>,
    cells: &mut Vec<Cell>,
    shared: Option<usize>,
) -> Result<(), Refusal> {
    for (column, (place, kind)) in model.features.iter().enumerate() {
        cells.push(match shared.filter(|_| place.list.is_none()) {
            Some(first) => cells[first + column].clone(),
            None => record.feature(place, *kind)?,
        });
    }
    for (column, (place, name)) in (model.features.len()..).zip(&model.segments) {
        cells.push(match shared.filter(|_| place.list.is_none()) {
            Some(first) => cells[first + column].clone(),
            None => record.segment(place, name)?,
        });
    }
    Ok(())
}

/// Tells a name that no model could have from one that no model has.
fn unknown_model(at: &Place, name: &str) -> Refusal {
    let (path, bytes) = (&at.path, name.len());
    match ModelId::try_new(name, "any") {
        Ok(_) => Refusal::new(
            RejectReason::UnknownModel,
            format_args!("`{path}`: no configured model has this name of {bytes} bytes"),
        ),
        Err(_) => Refusal::new(
            RejectReason::InvalidName,
            format_args!(
                "`{path}`: no name, or too long or with a control character, of {bytes} bytes"
            ),
        ),
    }
}
