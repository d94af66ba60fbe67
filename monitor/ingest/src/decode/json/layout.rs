//! Layouts: the bytes between the values of records, as producers have written them lately.
//!
//! Before: [`super::document`] has a document to read. After: a row, as the walk would have made
//! it, or none, and the walk makes it.
//!
//! A producer writes each of its records by the same program, so that only the values differ. A
//! document that has the bytes of a layout before, between and behind its values is read in one
//! pass, each value straight into the cell it belongs to; where it differs, [`super::walk`] reads
//! it, and its layout is learned. `ClickHouse` guesses keys by their place in the row before; this
//! goes on to guess all that is between values.
//!
//! A layout is learned from a document that the walk has taken. Wanted values give way to others
//! without values inside, and those that are not wanted to any, so that nothing has to be proved
//! about the rest: what a layout takes, the walk takes, and finds the same values at the same
//! paths. Where paths of other models lead, the walk looks at more than the grammar, so there only
//! null is passed over. What would be refused is left to the walk, which has the words for it.

use std::ops::Range;

use driftd_catalog::Timestamp;

use super::cursor::{Cursor, Literal, Scalar};
use super::learner;
use super::record::time_of_number;
use super::value;
use crate::decode::batch::Head;
use crate::decode::builders::{Cell, Span};
use crate::decode::event_time;
use crate::decode::place::{Place, is_category, is_segment};
use crate::decode::plan::{ModelPlan, Plan, VersionPlan};
use crate::decode::rows::{Record as _, Rows};
use crate::decode::whole::Whole;
use crate::schema::{FeatureKind, TimeFormat};

/// Layouts that are kept: producers that write to one partition in turn, and models.
pub(super) const LAYOUTS_MAX: usize = 8;

/// What one takes at most: nearly 3,000 values, if there is little between them.
pub(super) const LAYOUT_BYTES_MAX: usize = 256 * 1_024;

/// What all of them take at most.
pub(in crate::decode) const LAYOUTS_BYTES_MAX: usize = LAYOUTS_MAX * LAYOUT_BYTES_MAX;

/// After so many documents in a row that none took, most are not tried any more: their producers
/// may write keys in no order.
const MISSES_MAX: u32 = 64;

/// Of those, one in so many is tried.
const MISSES_TRIED: u64 = 16;

/// Documents that none took and that are not learned from, while no lesson has served: at most.
const PAUSE_MAX: u32 = 256;

/// The layouts of one partition.
pub(super) struct Layouts {
    models: Vec<Targets>,
    pub(super) kept: Vec<Layout>,
    /// The one that took the last document.
    last: usize,
    /// Documents so far: the age of layouts.
    documents: u64,
    /// Documents in a row that none took.
    pub(super) misses: u32,
    /// Documents that are not learned from before the next lesson.
    pub(super) pause: u32,
    /// The pause after the next lesson: doubled by each, until a layout serves that was learned.
    next_pause: u32,
}

/// What a model does with the values at paths: by slot of the tree.
pub(super) struct Targets(Vec<(usize, Target)>);

/// What a value is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// It names the model or the version, and is the same in all documents of a layout.
    Name,
    Time(TimeFormat),
    Feature {
        column: usize,
        kind: FeatureKind,
    },
    /// The length of the segment's name counts, too.
    Segment {
        column: usize,
        name_bytes: usize,
    },
}

/// The bytes between values, and what the values are for.
#[derive(PartialEq, Eq)]
pub(super) struct Body {
    pub(super) model: usize,
    /// `None` where it is beside the payload.
    pub(super) version: Option<Box<str>>,
    pub(super) holes: Vec<Hole>,
    /// The bytes behind the last value.
    pub(super) end: Literal,
    pub(super) columns: usize,
}

/// One layout, and what became of it.
pub(super) struct Layout {
    body: Body,
    has_served: bool,
    /// When it last took a document.
    used_at: u64,
    /// The one that took the document after the last one that this one took.
    pub(super) next: usize,
}

/// A place where values differ.
#[derive(PartialEq, Eq)]
pub(super) struct Hole {
    pub(super) before: Literal,
    pub(super) value: Wanted,
}

/// What is done with the value in a hole.
#[derive(PartialEq, Eq)]
pub(super) enum Wanted {
    /// Nothing: any value will do.
    Any,
    /// Paths lead on from here: nothing but null leaves them absent.
    Null,
    One(Target),
    Several(Vec<Target>),
}

impl Layouts {
    pub(super) fn new(plan: &Plan) -> Self {
        // Where there are lists, documents are walked.
        let models = if plan.trie.lists().is_empty() { &plan.models[..] } else { &[] };
        Self {
            models: models.iter().map(|model| Targets::new(plan, model)).collect(),
            kept: Vec::new(),
            last: 0,
            documents: 0,
            misses: 0,
            pause: 0,
            next_pause: 1,
        }
    }

    /// Reads the document inside `bounds` by one of the layouts; returns whether one took it.
    pub(super) fn read(
        &mut self,
        plan: &Plan,
        document: (&str, &Range<usize>),
        rows: &mut Rows,
        cells_max: usize,
    ) -> bool {
        self.documents += 1;
        let is_tried = self.misses < MISSES_MAX || self.documents.is_multiple_of(MISSES_TRIED);
        let beside = if is_tried { Beside::read(plan, rows) } else { None };
        let taken = beside.and_then(|it| self.find((plan, &it), document, rows, cells_max));
        let Some(taken) = taken else {
            self.misses = self.misses.saturating_add(1);
            return false;
        };
        self.misses = 0;
        let layout = &mut self.kept[taken];
        layout.used_at = self.documents;
        if !std::mem::replace(&mut layout.has_served, true) {
            (self.pause, self.next_pause) = (0, 1);
        }
        self.follow(taken);
        true
    }

    /// Returns the layout that takes a document, the one first that has followed the last one.
    fn find(
        &self,
        (plan, beside): (&Plan, &Beside),
        document: (&str, &Range<usize>),
        rows: &mut Rows,
        cells_max: usize,
    ) -> Option<usize> {
        let expected = self.kept.get(self.last)?.next;
        let others = (0..self.kept.len()).filter(|it| *it != expected);
        let mut order = std::iter::once(expected).chain(others);
        order.find(|it| {
            let body = &self.kept[*it].body;
            beside.model.is_none_or(|model| model == body.model)
                && body.read((plan, beside), document, rows, cells_max)
        })
    }

    /// Notes which layout came after the last one.
    fn follow(&mut self, taken: usize) {
        self.kept[self.last].next = taken;
        self.last = taken;
    }

    /// Learns the layout of a document that none took, from the row that it became.
    pub(super) fn learn(
        &mut self,
        plan: &Plan,
        payload: &str,
        bounds: Range<usize>,
        (model, version): (usize, &str),
    ) {
        if let Some(pause) = self.pause.checked_sub(1) {
            self.pause = pause;
            return;
        }
        self.pause = self.next_pause;
        self.next_pause = PAUSE_MAX.min(2 * self.next_pause);
        let Some((holes, end)) = learner::layout(&plan.trie, &self.models[model], payload, bounds)
        else {
            return;
        };
        let columns = plan.models[model].columns();
        let is_beside = match &plan.models[model].version {
            VersionPlan::At(place) => place.is_beside(),
            VersionPlan::Fixed(_) => false,
        };
        let version = (!is_beside).then(|| version.into());
        self.keep(Body { model, version, holes, end, columns });
    }

    /// Keeps a layout, unless it is there: then a value was one that it leaves to the walk. The one
    /// that has not been used for longest goes.
    fn keep(&mut self, body: Body) {
        if self.kept.iter().any(|layout| layout.body == body) {
            return;
        }
        let place = if self.kept.len() < LAYOUTS_MAX {
            self.kept.len()
        } else {
            let used_at = |place: &usize| self.kept[*place].used_at;
            (0..self.kept.len()).min_by_key(used_at).expect("layouts are kept")
        };
        let layout = Layout { body, has_served: false, used_at: self.documents, next: place };
        if place < self.kept.len() {
            self.kept[place] = layout;
        } else {
            self.kept.push(layout);
        }
        self.follow(place);
    }
}

/// What is beside the payload and decides about a row.
struct Beside {
    model: Option<usize>,
    event_time: Option<Timestamp>,
}

impl Beside {
    /// Reads it; what is refused is left to the walk.
    fn read(plan: &Plan, rows: &mut Rows) -> Option<Self> {
        let mut beside = Self { model: None, event_time: None };
        let mut record = rows.envelope.record(&mut rows.added);
        if plan.event_time.is_beside() {
            beside.event_time = Some(record.event_time(&plan.event_time, plan.time_format).ok()?);
        }
        if let Some(place) = plan.model.as_ref().filter(|place| place.is_beside()) {
            let name = record.model(place).ok()?;
            beside.model = Some(plan.model_of(place, record.texts().get(&name)).ok()?);
        }
        Some(beside)
    }
}

impl Targets {
    fn new(plan: &Plan, model: &ModelPlan) -> Self {
        let mut targets = Vec::new();
        let mut add = |place: &Place, target| {
            if !place.is_beside() {
                targets.push((place.slot, target));
            }
        };
        if let Some(place) = &plan.model {
            add(place, Target::Name);
        }
        if let VersionPlan::At(place) = &model.version {
            add(place, Target::Name);
        }
        add(&plan.event_time, Target::Time(plan.time_format));
        for (column, (place, kind)) in model.features.iter().enumerate() {
            add(place, Target::Feature { column, kind: *kind });
        }
        for (column, (place, name)) in (model.features.len()..).zip(&model.segments) {
            add(place, Target::Segment { column, name_bytes: name.len() });
        }
        if let Some(place) = &model.identity {
            let column = model.columns() - 1;
            add(place, Target::Feature { column, kind: FeatureKind::Categorical });
        }
        targets.sort_by_key(|(slot, _)| *slot);
        Self(targets)
    }

    /// Returns what the values of a range of slots are for.
    pub(super) fn of(&self, slots: Range<usize>) -> &[(usize, Target)] {
        let at = |slot: usize| self.0.partition_point(|(other, _)| *other < slot);
        &self.0[at(slots.start)..at(slots.end)]
    }
}

impl Body {
    /// Reads a document into a row; leaves the rows as they were where it is another one's.
    fn read(
        &self,
        (plan, beside): (&Plan, &Beside),
        document: (&str, &Range<usize>),
        rows: &mut Rows,
        cells_max: usize,
    ) -> bool {
        if rows.reserve(self.columns, cells_max).is_err() {
            return false;
        }
        let cells = rows.cells.len();
        rows.cells.resize(cells + self.columns, Cell::Null);
        let row = &mut rows.cells[cells..];
        let event_time = self.fill(document, row, beside.event_time);
        let model = &plan.models[self.model];
        let head = event_time.and_then(|event_time| {
            rows.fill_beside(model, cells).ok()?;
            let version = self.version(model, rows)?;
            Some(Head { model: self.model, event_time, version })
        });
        let Some(head) = head else {
            rows.cells.truncate(cells);
            return false;
        };
        rows.heads.push(head);
        true
    }

    /// Returns where the version is.
    fn version(&self, model: &ModelPlan, rows: &mut Rows) -> Option<Span> {
        if let VersionPlan::At(place) = &model.version
            && place.is_beside()
        {
            return rows.envelope.record(&mut rows.added).version(place).ok();
        }
        let start = rows.added.len();
        rows.added.push_str(self.version.as_deref()?);
        Some(Span::Added(start..rows.added.len()))
    }

    /// Compares what is between values, and reads them into the row; returns the event time, which
    /// may be beside the payload.
    fn fill(
        &self,
        (payload, bounds): (&str, &Range<usize>),
        row: &mut [Cell],
        mut event_time: Option<Timestamp>,
    ) -> Option<Timestamp> {
        let mut cursor = Cursor::new(payload.as_bytes().get(..bounds.end)?, bounds.start);
        for Hole { before, value } in &self.holes {
            cursor.take_literal(before)?;
            let targets = match value {
                Wanted::One(Target::Feature { column, kind: FeatureKind::Float64 })
                    if let Some(number) = cursor.short_number() =>
                {
                    row[*column] = Cell::Float64(number);
                    continue;
                }
                Wanted::Any => {
                    cursor.skip()?;
                    continue;
                }
                Wanted::Null => {
                    cursor.take_all(b"null")?;
                    continue;
                }
                Wanted::One(target) => std::slice::from_ref(target),
                Wanted::Several(targets) => &targets[..],
            };
            let start = cursor.at();
            let scalar = cursor.scalar()?;
            let read = Read { scalar, payload, bounds: start..cursor.at() };
            for target in targets {
                match *target {
                    Target::Name => return None,
                    Target::Time(format) => event_time = Some(read.time(format)?),
                    Target::Feature { column, kind } => row[column] = read.feature(kind)?,
                    Target::Segment { column, name_bytes } => {
                        row[column] = read.segment(name_bytes)?;
                    }
                }
            }
        }
        cursor.take_literal(&self.end)?;
        event_time.filter(|_| cursor.at() == bounds.end)
    }
}

/// A scalar that was read, and its text in the payload.
struct Read<'a> {
    scalar: Scalar,
    payload: &'a str,
    bounds: Range<usize>,
}

impl<'a> Read<'a> {
    fn written(&self) -> Option<&'a str> {
        self.payload.get(self.bounds.clone())
    }

    /// Returns where text lies, or a number or a boolean as it is written.
    fn span(&self) -> Option<Range<usize>> {
        let Range { start, end } = self.bounds;
        match self.scalar {
            Scalar::Text { is_escaped: false } => Some(start + 1..end - 1),
            Scalar::Number(_) | Scalar::Boolean(_) => Some(start..end),
            Scalar::Text { is_escaped: true } | Scalar::Null | Scalar::Special(_) => None,
        }
    }

    fn time(&self, format: TimeFormat) -> Option<Timestamp> {
        match (format, self.scalar) {
            (TimeFormat::Rfc3339, Scalar::Text { is_escaped: false }) => {
                event_time::from_text(self.payload.get(self.span()?)?)
            }
            (
                TimeFormat::UnixSeconds
                | TimeFormat::UnixMillis
                | TimeFormat::UnixMicros
                | TimeFormat::UnixNanos,
                Scalar::Number(decimal),
            ) => match decimal.integer() {
                Some(number) => event_time::from_integer(format, number),
                None => time_of_number(format, self.written()?),
            },
            (
                TimeFormat::Rfc3339
                | TimeFormat::UnixSeconds
                | TimeFormat::UnixMillis
                | TimeFormat::UnixMicros
                | TimeFormat::UnixNanos,
                Scalar::Null
                | Scalar::Boolean(_)
                | Scalar::Number(_)
                | Scalar::Special(_)
                | Scalar::Text { .. },
            ) => None,
        }
    }

    #[inline]
    fn feature(&self, kind: FeatureKind) -> Option<Cell> {
        match (kind, self.scalar) {
            (FeatureKind::Float64, Scalar::Number(decimal)) => {
                let number = match decimal.float64() {
                    Some(number) => number,
                    None => value::float64(self.written()?),
                };
                number.is_finite().then_some(Cell::Float64(number))
            }
            (FeatureKind::Float32, Scalar::Number(decimal)) => {
                let number = match decimal.float32() {
                    Some(number) => number,
                    None => value::float32(self.written()?),
                };
                number.is_finite().then_some(Cell::Float32(number))
            }
            (FeatureKind::Integer, Scalar::Number(decimal)) => match decimal.integer() {
                Some(number) => Some(Cell::Integer(number)),
                None => match value::whole(self.written()?) {
                    Whole::Integer(number) => Some(Cell::Integer(number)),
                    Whole::Fraction | Whole::OutOfRange => None,
                },
            },
            (FeatureKind::Boolean, Scalar::Boolean(value)) => Some(Cell::Boolean(value)),
            (FeatureKind::Float64, Scalar::Special(number)) => Some(Cell::Float64(number)),
            #[expect(clippy::cast_possible_truncation, reason = "NaN and infinities fit f32")]
            (FeatureKind::Float32, Scalar::Special(number)) => Some(Cell::Float32(number as f32)),
            (
                FeatureKind::Integer | FeatureKind::Categorical | FeatureKind::Boolean,
                Scalar::Special(number),
            ) => number.is_nan().then_some(Cell::Null),
            (
                FeatureKind::Categorical,
                Scalar::Text { .. } | Scalar::Number(_) | Scalar::Boolean(_),
            ) => {
                let span = self.span()?;
                is_category(span.len()).then_some(Cell::Text(Span::Payload(span)))
            }
            (
                FeatureKind::Float32
                | FeatureKind::Float64
                | FeatureKind::Integer
                | FeatureKind::Categorical
                | FeatureKind::Boolean,
                Scalar::Null,
            ) => Some(Cell::Null),
            (
                FeatureKind::Float32
                | FeatureKind::Float64
                | FeatureKind::Integer
                | FeatureKind::Boolean,
                Scalar::Boolean(_) | Scalar::Number(_) | Scalar::Text { .. },
            ) => None,
        }
    }

    fn segment(&self, name_bytes: usize) -> Option<Cell> {
        match self.scalar {
            Scalar::Null => return Some(Cell::Null),
            Scalar::Special(number) => return number.is_nan().then_some(Cell::Null),
            Scalar::Boolean(_) | Scalar::Number(_) | Scalar::Text { .. } => {}
        }
        let span = self.span()?;
        let text = self.payload.get(span.clone())?;
        is_segment(name_bytes, text).then_some(Cell::Text(Span::Payload(span)))
    }
}
