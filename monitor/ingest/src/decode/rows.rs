//! The rows of one message: how many there are, and the cells of each, whatever the format.
//!
//! Before: a format has found the document's values and lists ([`Document`]). After: its decoder
//! hands all rows to the batch, or none. Values that rows share are read once a document.

use std::collections::BTreeMap;

use driftd_catalog::Timestamp;

use super::batch::{Accepted, Head, OpenBatch};
use super::builders::{Cell, Span, Texts};
use super::change::ChangeKind;
use super::envelope::EnvelopeTexts;
use super::place::Place;
use super::plan::{ModelPlan, NamedList, Plan, VersionPlan};
use super::{CELLS_KEPT, DecodeLimits, Message};
use crate::rejection::{Refusal, RejectReason};
use crate::schema::{FeatureKind, Framing, TimeFormat};

/// A document of which a format has found the values and lists.
pub(super) trait Document {
    /// Reads the values of one row.
    type Record<'r>: Record
    where
        Self: 'r;

    /// Returns how many elements a list has; `None` when it is absent or null.
    fn length(&self, list: usize) -> Result<Option<usize>, Refusal>;

    /// Reads the names of columns, if any of the lists is there that are read by them.
    fn name_columns(&mut self, named: &[NamedList]) -> Result<(), Refusal>;

    /// Finds a row's values in its elements of the lists, some of which are read by names.
    fn enter(&mut self, lists: &[usize], named: &[NamedList], row: usize) -> Result<(), Refusal>;

    /// Returns the row that was entered; what is not in the payload is added to `added`.
    fn record<'r>(&'r self, added: &'r mut String) -> Self::Record<'r>;
}

/// One row of a document.
pub(super) trait Record {
    /// Reads the model's name.
    fn model(&mut self, at: &Place) -> Result<Span, Refusal>;

    /// Reads the version.
    fn version(&mut self, at: &Place) -> Result<Span, Refusal>;

    /// Reads the event time.
    fn event_time(&mut self, at: &Place, format: TimeFormat) -> Result<Timestamp, Refusal>;

    /// Reads a feature's or prediction's cell.
    fn feature(&mut self, at: &Place, kind: FeatureKind) -> Result<Cell, Refusal>;

    /// Reads the cell of the segment called `name`.
    fn segment(&mut self, at: &Place, name: &str) -> Result<Cell, Refusal>;

    /// Adds a text that is not in the payload.
    fn add_text(&mut self, text: &str) -> Span {
        let added = self.added();
        let start = added.len();
        added.push_str(text);
        Span::Added(start..added.len())
    }

    /// Returns the texts that are not in the payload, one behind the other.
    fn added(&mut self) -> &mut String;

    fn texts(&self) -> Texts<'_>;
}

/// The rows of one message that are read. Kept from message to message for its memory.
#[derive(Default)]
pub(super) struct Rows {
    pub(super) heads: Vec<Head>,
    /// For each row one a column of its model.
    pub(super) cells: Vec<Cell>,
    /// Texts that are not in the payload as they are.
    pub(super) added: String,
    /// Values beside the payload.
    pub(super) envelope: EnvelopeTexts,
    /// What the message says became of a row, where that makes it no record.
    skipped: Option<ChangeKind>,
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
    /// Forgets the message before, gives back what only a large one needs, and takes what is beside
    /// this one's payload.
    pub(super) fn begin(&mut self, message: &Message<'_>) {
        self.heads.clear();
        self.cells.clear();
        self.cells.shrink_to(CELLS_KEPT);
        self.added.clear();
        self.skipped = None;
        self.added.shrink_to(CELLS_KEPT);
        self.envelope.begin(message, &mut self.added);
    }

    /// Appends all rows to the batch, or none. `payload` has the texts that cells point into.
    pub(super) fn append_to(
        &self,
        batch: &mut OpenBatch,
        (message, payload): (&Message<'_>, &str),
        plan: &Plan,
    ) -> Result<(), Refusal> {
        if let Some(kind) = self.skipped {
            batch.skip(kind);
            return Ok(());
        }
        let texts = Texts { payload, added: &self.added };
        let accepted = Accepted { heads: &self.heads, cells: &self.cells, texts };
        batch.accept(message, &accepted).map_err(|(row, refusal)| {
            let has_one = plan.trie.lists().is_empty() && plan.framing == Framing::Document;
            if has_one { refusal } else { refusal.in_row(row) }
        })
    }

    /// Fills the columns of the newest row, whose cells begin at `first`, that are beside the
    /// payload.
    pub(super) fn fill_beside(&mut self, model: &ModelPlan, first: usize) -> Result<(), Refusal> {
        let mut record = self.envelope.record(&mut self.added);
        for &column in &model.beside {
            self.cells[first + column] = if let Some((place, kind)) = model.features.get(column) {
                record.feature(place, *kind)?
            } else if let Some((place, name)) = model.segments.get(column - model.features.len()) {
                record.segment(place, name)?
            } else {
                let place = model.identity.as_ref().expect("what is not there is not beside");
                record.feature(place, FeatureKind::Categorical)?
            };
        }
        Ok(())
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

/// Reads the rows of one document.
pub(super) struct Reader<'a, D> {
    pub(super) plan: &'a Plan,
    pub(super) document: D,
    pub(super) rows: &'a mut Rows,
    pub(super) limits: DecodeLimits,
}

/// How many rows a document has, and the list that says so.
#[derive(Clone, Copy)]
struct Count {
    list: usize,
    rows: usize,
}

impl<D: Document> Reader<'_, D> {
    /// Adds all of them.
    pub(super) fn read(&mut self) -> Result<(), Refusal> {
        let plan = self.plan;
        self.rows.firsts.clear();
        self.rows.skipped = self.skipped()?;
        if self.rows.skipped.is_some() {
            return Ok(());
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
            self.document.name_columns(&model.named)?;
        }
        for row in 0..count.rows {
            self.document
                .enter(&plan.lists, &model.named, row)
                .and_then(|()| self.document.enter(&model.lists, &model.named, row))
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
            self.document.name_columns(&plan.named)?;
        }
        for row in 0..count.rows {
            let read = self.document.enter(&plan.lists, &plan.named, row);
            let index = read.and_then(|()| self.model_index());
            let index = index.map_err(|refusal| refusal.in_row(row))?;
            let model @ ModelPlan { lists, named, named_again, .. } = &plan.models[index];
            self.rows
                .reserve(model.columns(), self.limits.cells_max)
                .map_err(|refusal| refusal.in_row(row))?;
            if !self.rows.firsts.contains_key(&index) {
                lists.iter().try_for_each(|list| self.measure(*list, &count))?;
                self.document.name_columns(named)?;
            }
            self.document
                .enter(named_again, named, row)
                .and_then(|()| self.document.enter(lists, named, row))
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
        let rows_max = self.limits.rows_max;
        let length = self.document.length(list)?;
        let Some(length) = length.filter(|length| rows_max < *length) else { return Ok(length) };
        let path = self.plan.trie.lists()[list].path();
        let detail = format_args!("`{path}` has {length} elements: more than {rows_max} rows");
        Err(Refusal::new(RejectReason::TooManyRows, detail))
    }

    /// Returns what became of a row, where that makes the message no record.
    fn skipped(&mut self) -> Result<Option<ChangeKind>, Refusal> {
        let Some(place) = &self.plan.change else { return Ok(None) };
        let kind = if place.is_beside() {
            let mut record = self.rows.envelope.record(&mut self.rows.added);
            let op = record.model(place)?;
            ChangeKind::of_op(record.texts().get(&op))
        } else {
            let mut record = self.document.record(&mut self.rows.added);
            let op = record.model(place)?;
            ChangeKind::of_op(record.texts().get(&op))
        };
        let kind = kind.ok_or_else(|| {
            place
                .wrong_type("what became of a row (`c`, `r`, `u`, `d`, `t` or `m`)", "another text")
        })?;
        Ok((!kind.is_record()).then_some(kind))
    }

    /// Returns whose record it is: an index into the schema's models.
    fn model_index(&mut self) -> Result<usize, Refusal> {
        let plan = self.plan;
        let Some(place) = &plan.model else { return Ok(0) };
        if place.is_beside() {
            let mut record = self.rows.envelope.record(&mut self.rows.added);
            let name = record.model(place)?;
            return plan.model_of(place, record.texts().get(&name));
        }
        let mut record = self.document.record(&mut self.rows.added);
        let name = record.model(place)?;
        plan.model_of(place, record.texts().get(&name))
    }

    /// Reads a row of the model `index`. What it shares with the first one of the same model is
    /// taken from there, so that a message that mixes models reads it no more often than another.
    fn read_row_of_list(&mut self, index: usize) -> Result<(), Refusal> {
        let Rows { heads, cells, firsts, .. } = &*self.rows;
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
        let Rows { heads, cells, added, envelope, firsts: _, skipped: _ } = &mut *self.rows;
        let shared = first.map(|first| heads[first.head].clone());
        let version = match (&model.version, &shared) {
            (VersionPlan::At(place), _) if place.list.is_some() => {
                self.document.record(added).version(place)?
            }
            (VersionPlan::Fixed(_) | VersionPlan::At(_), Some(shared)) => shared.version.clone(),
            (VersionPlan::Fixed(version), None) => self.document.record(added).add_text(version),
            (VersionPlan::At(place), None) if place.is_beside() => {
                envelope.record(added).version(place)?
            }
            (VersionPlan::At(place), None) => self.document.record(added).version(place)?,
        };
        let (place, format) = (&plan.event_time, plan.time_format);
        let event_time = match &shared {
            Some(shared) if place.list.is_none() => shared.event_time,
            None if place.is_beside() => envelope.record(added).event_time(place, format)?,
            Some(_) | None => self.document.record(added).event_time(place, format)?,
        };
        let here = cells.len();
        {
            let mut record = self.document.record(added);
            read_cells(model, &mut record, cells, first.map(|first| first.cells))?;
        }
        if first.is_none() && !model.beside.is_empty() {
            self.rows.fill_beside(model, here)?;
        }
        self.rows.heads.push(Head { model: index, event_time, version });
        Ok(())
    }
}

/// Reads the features, then the segments, then the identity: one cell a column. What rows share is
/// copied from the cells that begin at `shared`; what is beside the payload is left null.
fn read_cells(
    model: &ModelPlan,
    record: &mut impl Record,
    cells: &mut Vec<Cell>,
    shared: Option<usize>,
) -> Result<(), Refusal> {
    for (column, (place, kind)) in model.features.iter().enumerate() {
        cells.push(match shared.filter(|_| place.list.is_none()) {
            Some(first) => cells[first + column].clone(),
            None if place.is_beside() => Cell::Null,
            None => record.feature(place, *kind)?,
        });
    }
    for (column, (place, name)) in (model.features.len()..).zip(&model.segments) {
        cells.push(match shared.filter(|_| place.list.is_none()) {
            Some(first) => cells[first + column].clone(),
            None if place.is_beside() => Cell::Null,
            None => record.segment(place, name)?,
        });
    }
    if let Some(place) = &model.identity {
        cells.push(match shared.filter(|_| place.list.is_none()) {
            Some(first) => cells[first + model.columns() - 1].clone(),
            None if place.is_beside() => Cell::Null,
            None => record.feature(place, FeatureKind::Categorical)?,
        });
    }
    Ok(())
}
