//! Whole columns at a time: the way of messages whose rows are of one model, and all good.
//!
//! Before: [`super::document::Walk`] finds the columns of each batch. After: the open batch appends
//! them ([`crate::decode::batch`]). Nothing is appended before all is
//! checked. What is not simple here is read value by value as [`super::record`] has it, and a
//! message with anything to refuse is left to [`crate::decode::rows`], whose words are those of the
//! rejection: so this decides nothing but the time it takes.

use std::borrow::Cow;
use std::str;

use driftd_catalog::Timestamp;

use super::document::Walk;
use super::record::{ArrowRecord, TEXT_BYTES_MAX, in_unit};
use super::value::{Bitmap, Ints, Leaf, Meaning, Texts, Value};
use crate::decode::batch::Columnar;
use crate::decode::builders::{Cell, Chunk, Validity, Values};
use crate::decode::envelope::EnvelopeRecord;
use crate::decode::place::{NAME_BYTES_MAX, Place, is_category, is_segment};
use crate::decode::plan::{Plan, VersionPlan};
use crate::decode::rows::{Record, Rows};
use crate::decode::whole::Whole;
use crate::decode::{DecodeLimits, LEVEL_BYTES_MAX, event_time};
use crate::rejection::Refusal;
use crate::schema::FeatureKind;

/// Most record batches of a message that are held at once; one with more is read row by row.
const BATCHES_MAX: usize = 64;

/// Most values of a dictionary of which it is kept what is known.
const DICTIONARY_MAX: usize = 1 << 16;

/// A dictionary of no more values is never too large for its rows. With a larger one and few rows
/// keeping what is known of it would be most of the work, for each column and batch once more.
const DICTIONARY_MIN: usize = 1_024;

/// Texts of a column that are looked for among those before; with more it may repeat some.
const RECENT_TEXTS: usize = 8;

/// The columns of a message.
pub(super) struct Found<'a> {
    pub(super) columns: Columnar<'a>,
    /// The sum of what the texts of its rows have.
    pub(super) text_bytes: usize,
}

/// Returns the columns of a message; `None` where it has to be read row by row.
///
/// It has to be if its rows together have so long texts that they may be too many then: here they
/// are counted as there, or as more.
pub(super) fn read<'a>(
    plan: &'a Plan,
    walk: &mut Walk<'a>,
    beside: &mut Rows,
    rows: usize,
    limits: DecodeLimits,
) -> Option<Found<'a>> {
    if limits.rows_max < rows {
        return None;
    }
    let mut found: Option<Columnar<'a>> = None;
    let mut added = String::new();
    // There a version that is fixed is added once.
    let mut text_bytes = beside.added.len() + NAME_BYTES_MAX;
    while walk.advance().ok()? {
        let text_bytes = &mut text_bytes;
        let mut reader = Reader { plan, walk, beside, added: &mut added, text_bytes };
        let model = reader.model()?;
        if limits.cells_max < rows * plan.models[model].columns() {
            return None;
        }
        if plan.lists.is_empty() && plan.models[model].lists.is_empty() {
            // All is beside the payload, whose rows are not counted then.
            return None;
        }
        let all = found.get_or_insert_with(|| Columnar {
            model,
            times: Vec::with_capacity(rows),
            versions: Vec::new(),
            batches: Vec::new(),
        });
        if all.model != model || all.batches.len() == BATCHES_MAX {
            return None;
        }
        reader.versions(&plan.models[model].version, &mut all.versions)?;
        reader.times(&mut all.times)?;
        all.batches.push((reader.walk.columns.rows, reader.chunks(model)?));
    }
    // Without rows what is beside the payload is looked at all the same, but not here.
    found.map(|columns| Found { columns, text_bytes })
}

struct Reader<'a, 'w> {
    plan: &'a Plan,
    walk: &'w mut Walk<'a>,
    /// Has the values beside the payload.
    beside: &'w mut Rows,
    /// Where values that are read one by one leave their text.
    added: &'w mut String,
    /// The sum of what the texts of rows have up to here.
    text_bytes: &'w mut usize,
}

impl<'a> Reader<'a, '_> {
    /// Returns the model that all rows are of.
    fn model(&mut self) -> Option<usize> {
        let Some(place) = &self.plan.model else { return Some(0) };
        if place.is_beside() {
            let mut record = self.beside.envelope.record(&mut self.beside.added);
            let name = record.model(place).ok()?;
            return self.plan.model_of(place, record.texts().get(&name)).ok();
        }
        // A longer one is compared with none: the views of all rows may lead to one huge text.
        let is_good = |text: &str| text.len() <= NAME_BYTES_MAX;
        let names = self.levels(place, is_good, |it| it.model(place).map(Cell::Text))?;
        if !matches!(names.validity, Validity::All) {
            return None;
        }
        let mut models = names.texts.iter().map(|name| self.plan.models_by_name.get(&**name));
        let first = models.next()??;
        models.all(|other| other == Some(first)).then_some(*first)
    }

    /// Adds the versions of the rows, each with how many rows one after the other have it.
    fn versions(
        &mut self,
        plan: &'a VersionPlan,
        versions: &mut Vec<(usize, Cow<'a, str>)>,
    ) -> Option<()> {
        let rows = self.walk.columns.rows;
        let place = match plan {
            VersionPlan::Fixed(version) => {
                versions.push((rows, Cow::Borrowed(version)));
                return Some(());
            }
            VersionPlan::At(place) => place,
        };
        if place.is_beside() {
            let mut record = self.beside.envelope.record(&mut self.beside.added);
            let version = record.version(place).ok()?;
            let version = record.texts().get(&version).to_owned();
            versions.push((rows, Cow::Owned(version)));
            return Some(());
        }
        let is_good = |text: &str| text.len() <= NAME_BYTES_MAX;
        let found = self.levels(place, is_good, |it| it.version(place).map(Cell::Text))?;
        if !matches!(found.validity, Validity::All) {
            return None;
        }
        for run in found.keys.chunk_by(|one, other| one == other) {
            let text = found.texts.get(usize::try_from(*run.first()?).ok()?)?;
            versions.push((run.len(), text.clone()));
        }
        Some(())
    }

    /// Adds the event times of the rows.
    fn times(&mut self, times: &mut Vec<Timestamp>) -> Option<()> {
        let place = &self.plan.event_time;
        let format = self.plan.time_format;
        if place.is_beside() {
            let mut record = self.beside.envelope.record(&mut self.beside.added);
            let time = record.event_time(place, format).ok()?;
            times.extend(std::iter::repeat_n(time, self.walk.columns.rows));
            return Some(());
        }
        let column = self.walk.columns.get(place.slot);
        let known = times.len();
        if let (Leaf::Whole(numbers, meaning), Ok(None)) =
            (column.leaf, self.walk.columns.straight(&column))
        {
            let mut is_good = true;
            let whole = numbers.each(|number| {
                let (unit, number) = match meaning {
                    Meaning::Number => (format, number),
                    Meaning::Days | Meaning::Time(_) => in_unit(meaning, number),
                };
                match event_time::from_integer(unit, number) {
                    Some(time) => times.push(time),
                    None => is_good = false,
                }
            });
            if whole.is_some() && is_good {
                return Some(());
            }
            times.truncate(known);
        }
        for row in 0..self.walk.columns.rows {
            times.push(self.record(row).event_time(place, format).ok()?);
        }
        Some(())
    }

    /// Returns the columns of the model: features, segments, the identity.
    fn chunks(&mut self, model: usize) -> Option<Vec<Chunk<'a>>> {
        let model = &self.plan.models[model];
        let mut chunks = Vec::with_capacity(model.columns());
        for (place, kind) in &model.features {
            chunks.push(if place.is_beside() {
                self.constant(|it| it.feature(place, *kind))?
            } else {
                self.feature(place, *kind)?
            });
        }
        for (place, name) in &model.segments {
            if place.is_beside() {
                chunks.push(self.constant(|it| it.segment(place, name))?);
                continue;
            }
            let is_good = |text: &str| is_segment(name.len(), text);
            let levels = self.levels(place, is_good, |it| it.segment(place, name))?;
            chunks.push(levels.chunk());
        }
        if let Some(place) = &model.identity {
            let kind = FeatureKind::Categorical;
            chunks.push(if place.is_beside() {
                self.constant(|it| it.feature(place, kind))?
            } else {
                self.feature(place, kind)?
            });
        }
        Some(chunks)
    }

    /// Returns a column of which every row has the value beside the payload.
    fn constant(
        &mut self,
        read: impl Fn(&mut EnvelopeRecord<'_>) -> Result<Cell, Refusal>,
    ) -> Option<Chunk<'a>> {
        let rows = self.walk.columns.rows;
        let mut record = self.beside.envelope.record(&mut self.beside.added);
        let levels = |text: &str| Values::Levels {
            keys: vec![0; rows],
            texts: vec![Cow::Owned(text.to_owned())],
        };
        let values = match read(&mut record).ok()? {
            Cell::Null => Values::Nulls,
            Cell::Float32(value) => Values::Float32(vec![value; rows]),
            Cell::Float64(value) => Values::Float64(vec![value; rows]),
            Cell::Integer(value) => Values::Integer(vec![value; rows]),
            Cell::Boolean(value) => levels(level(value)),
            Cell::Text(span) => levels(record.texts().get(&span)),
        };
        Some(Chunk { values, validity: Validity::All })
    }

    fn feature(&mut self, place: &Place, kind: FeatureKind) -> Option<Chunk<'a>> {
        let column = self.walk.columns.get(place.slot);
        if let Leaf::Nothing = column.leaf {
            return Some(Chunk { values: Values::Nulls, validity: Validity::All });
        }
        if kind == FeatureKind::Categorical {
            let is_good = |text: &str| is_category(text.len());
            let levels = self.levels(place, is_good, |it| it.feature(place, kind))?;
            return Some(levels.chunk());
        }
        let rows = self.walk.columns.rows;
        let simple = match self.walk.columns.straight(&column) {
            Ok(bits) => simple(kind, column.leaf, bits, rows).map(|values| Chunk {
                values,
                validity: bits.map_or(Validity::All, |bits| Validity::Bits(bits.0)),
            }),
            Err(_) => None,
        };
        match simple {
            Some(chunk) => Some(chunk),
            None => self.each(place, kind),
        }
    }

    /// Reads a column value by value.
    fn each(&mut self, place: &Place, kind: FeatureKind) -> Option<Chunk<'a>> {
        if kind == FeatureKind::Boolean {
            return self.levels_by_rows(|it| it.feature(place, kind)).map(Levels::chunk);
        }
        let rows = self.walk.columns.rows;
        let (mut singles, mut doubles, mut wholes) = (Vec::new(), Vec::new(), Vec::new());
        let mut valid = Vec::with_capacity(rows);
        for row in 0..rows {
            let cell = self.record(row).feature(place, kind).ok()?;
            valid.push(cell != Cell::Null);
            match (kind, cell) {
                (FeatureKind::Float32, Cell::Float32(value)) => singles.push(value),
                (FeatureKind::Float64, Cell::Float64(value)) => doubles.push(value),
                (FeatureKind::Integer, Cell::Integer(value)) => wholes.push(value),
                (FeatureKind::Float32, Cell::Null) => singles.push(0.0),
                (FeatureKind::Float64, Cell::Null) => doubles.push(0.0),
                (FeatureKind::Integer, Cell::Null) => wholes.push(0),
                (kind, cell) => unreachable!("a cell of {kind:?}: {cell:?}"),
            }
        }
        let values = match kind {
            FeatureKind::Float32 => Values::Float32(singles),
            FeatureKind::Float64 => Values::Float64(doubles),
            FeatureKind::Integer => Values::Integer(wholes),
            FeatureKind::Categorical | FeatureKind::Boolean => {
                unreachable!("their values are levels")
            }
        };
        Some(Chunk { values, validity: Validity::Each(valid) })
    }

    fn record(&mut self, row: usize) -> ArrowRecord<'a, '_> {
        self.added.clear();
        self.walk.record(row, self.added)
    }

    /// Returns the texts of a column: as they lie there where they are texts, each looked at once
    /// where it stands in a dictionary, or else row by row as `read` has them.
    fn levels(
        &mut self,
        place: &Place,
        is_good: impl Fn(&str) -> bool,
        read: impl Fn(&mut ArrowRecord<'a, '_>) -> Result<Cell, Refusal>,
    ) -> Option<Levels<'a>> {
        let column = self.walk.columns.get(place.slot);
        let straight = self.walk.columns.straight(&column);
        let quick = match (column.leaf, straight) {
            (Leaf::Text(texts), Ok(bits)) => self.plain(texts, bits, &is_good),
            (Leaf::Keys(keys, dictionary), Ok(bits)) => {
                self.encoded(keys, dictionary, bits, &is_good)
            }
            _ => None,
        };
        let levels = match quick {
            Some(levels) => levels,
            None => self.levels_by_rows(read)?,
        };
        *self.text_bytes += levels.bytes;
        (*self.text_bytes <= TEXT_BYTES_MAX).then_some(levels)
    }

    fn levels_by_rows(
        &mut self,
        read: impl Fn(&mut ArrowRecord<'a, '_>) -> Result<Cell, Refusal>,
    ) -> Option<Levels<'a>> {
        let mut levels = Levels::new(self.walk.columns.rows);
        for row in 0..self.walk.columns.rows {
            let mut record = self.record(row);
            let cell = read(&mut record).ok()?;
            let texts = record.texts();
            let text = match &cell {
                Cell::Text(span) => texts.get(span),
                Cell::Boolean(value) => level(*value),
                Cell::Null => {
                    levels.push_null();
                    continue;
                }
                Cell::Float32(_) | Cell::Float64(_) | Cell::Integer(_) => {
                    unreachable!("a text, a boolean or null: {cell:?}")
                }
            };
            let key = match levels.recent(text.as_bytes()) {
                Some(key) => key,
                None => levels.add(Cow::Owned(text.to_owned())),
            };
            levels.push(key);
            // Texts are copies here.
            if TEXT_BYTES_MAX < *self.text_bytes + levels.bytes {
                return None;
            }
        }
        Some(levels)
    }

    fn plain(
        &self,
        texts: Texts<'a>,
        bits: Option<Bitmap<'a>>,
        is_good: &impl Fn(&str) -> bool,
    ) -> Option<Levels<'a>> {
        let mut levels = Levels::new(self.walk.columns.rows);
        for row in 0..self.walk.columns.rows {
            if let Some(bits) = bits
                && !bits.get(row).ok()?
            {
                levels.push_null();
                continue;
            }
            let text = texts.get(row, &self.walk.columns.data).ok()?;
            let key = if let Some(key) = levels.recent(text) {
                key
            } else {
                let text = bounded(text).filter(|text| is_good(text))?;
                levels.add(Cow::Borrowed(text))
            };
            levels.push(key);
        }
        Some(levels)
    }

    fn encoded(
        &self,
        keys: Ints<'a>,
        dictionary: usize,
        bits: Option<Bitmap<'a>>,
        is_good: &impl Fn(&str) -> bool,
    ) -> Option<Levels<'a>> {
        let dictionaries = &self.walk.dictionaries;
        let length = dictionaries.length(dictionary);
        let is_large = DICTIONARY_MIN.max(8 * self.walk.columns.rows) < length;
        if is_large || DICTIONARY_MAX < length {
            return None;
        }
        let mut known = vec![Known::Not; length];
        let mut levels = Levels::new(self.walk.columns.rows);
        for row in 0..self.walk.columns.rows {
            if let Some(bits) = bits
                && !bits.get(row).ok()?
            {
                levels.push_null();
                continue;
            }
            let place = keys.place(row).ok()?;
            let known = known.get_mut(place)?;
            if *known == Known::Not {
                *known = match dictionaries.value(dictionary, place).ok()? {
                    Value::Absent => Known::Null,
                    Value::Text(text) => {
                        let text = bounded(text).filter(|text| is_good(text))?;
                        Known::Key(levels.add(Cow::Borrowed(text)))
                    }
                    Value::Blocked { .. }
                    | Value::Boolean(_)
                    | Value::Number(_)
                    | Value::Other(_) => return None,
                };
            }
            match *known {
                Known::Key(key) => levels.push(key),
                Known::Not | Known::Null => levels.push_null(),
            }
        }
        Some(levels)
    }
}

/// What is known of a value of a dictionary.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Known {
    Not,
    Null,
    Key(u32),
}

/// Texts of rows: of each row which of them it has.
struct Levels<'a> {
    keys: Vec<u32>,
    texts: Vec<Cow<'a, str>>,
    validity: Validity<'a>,
    /// The sum of what the texts of the rows have.
    bytes: usize,
}

impl<'a> Levels<'a> {
    fn new(rows: usize) -> Self {
        let (keys, texts) = (Vec::with_capacity(rows), Vec::new());
        Self { keys, texts, validity: Validity::All, bytes: 0 }
    }

    /// Returns the key of a text that was added not long ago.
    fn recent(&self, text: &[u8]) -> Option<u32> {
        let recent = self.texts.iter().enumerate().rev().take(RECENT_TEXTS);
        let (at, _) = recent.into_iter().find(|(_, known)| known.as_bytes() == text)?;
        u32::try_from(at).ok()
    }

    fn add(&mut self, text: Cow<'a, str>) -> u32 {
        self.texts.push(text);
        u32::try_from(self.texts.len() - 1).expect("a message has fewer rows than u32")
    }

    /// Adds a row with the text of such a key.
    fn push(&mut self, key: u32) {
        self.keys.push(key);
        let text = usize::try_from(key).ok().and_then(|key| self.texts.get(key));
        self.bytes += text.map_or(0, |text| text.len());
        if let Validity::Each(valid) = &mut self.validity {
            valid.push(true);
        }
    }

    fn push_null(&mut self) {
        let rows = self.keys.len();
        self.keys.push(0);
        match &mut self.validity {
            Validity::Each(valid) => valid.push(false),
            Validity::All | Validity::Bits(_) => {
                let mut valid = vec![true; rows];
                valid.push(false);
                self.validity = Validity::Each(valid);
            }
        }
    }

    fn chunk(self) -> Chunk<'a> {
        let Self { keys, texts, validity, bytes: _ } = self;
        Chunk { values: Values::Levels { keys, texts }, validity }
    }
}

/// Returns a text no longer than any column or name takes.
fn bounded(text: &[u8]) -> Option<&str> {
    if LEVEL_BYTES_MAX < text.len() { None } else { str::from_utf8(text).ok() }
}

fn level(value: bool) -> &'static str {
    if value { "true" } else { "false" }
}

/// Returns numbers that become others without a look at each, or after one look at all; `None`
/// where some may not.
fn simple<'a>(
    kind: FeatureKind,
    leaf: Leaf<'a>,
    bits: Option<Bitmap<'a>>,
    rows: usize,
) -> Option<Values<'a>> {
    let is_valid = |row| bits.is_none_or(|bits| bits.get(row).unwrap_or(false));
    match (kind, leaf) {
        (FeatureKind::Float64, Leaf::Double(all)) => Some(Values::Doubles(all)),
        (FeatureKind::Float64 | FeatureKind::Float32, Leaf::Float(all)) => {
            Some(Values::Floats(all))
        }
        (FeatureKind::Integer, Leaf::Whole(Ints::I64(all), _)) => Some(Values::Longs(all)),
        (FeatureKind::Integer, Leaf::Whole(all, _)) => {
            let mut numbers = Vec::with_capacity(rows);
            all.each(|number| numbers.push(number))?;
            Some(Values::Integer(numbers))
        }
        (FeatureKind::Float64, Leaf::Whole(all, _)) => {
            let mut numbers = Vec::with_capacity(rows);
            all.each(|number| numbers.push(number as f64))?;
            Some(Values::Float64(numbers))
        }
        (FeatureKind::Float32, Leaf::Whole(all, _)) => {
            let mut numbers = Vec::with_capacity(rows);
            all.each(|number| numbers.push(number as f32))?;
            Some(Values::Float32(numbers))
        }
        (FeatureKind::Float32, Leaf::Double(all)) => narrowed(all, is_valid),
        (FeatureKind::Integer, Leaf::Double(all)) => whole(all, is_valid),
        (FeatureKind::Boolean, Leaf::Boolean(values)) => booleans(values, is_valid, rows),
        _ => None,
    }
}

#[expect(clippy::cast_possible_truncation, reason = "rounded to the nearest, or not taken")]
fn narrowed<'a>(all: &[[u8; 8]], is_valid: impl Fn(usize) -> bool) -> Option<Values<'a>> {
    let mut numbers = Vec::with_capacity(all.len());
    for (row, bytes) in all.iter().enumerate() {
        let number = f64::from_le_bytes(*bytes);
        let rounded = number as f32;
        if rounded.is_finite() != number.is_finite() && is_valid(row) {
            return None;
        }
        numbers.push(rounded);
    }
    Some(Values::Float32(numbers))
}

fn whole<'a>(all: &[[u8; 8]], is_valid: impl Fn(usize) -> bool) -> Option<Values<'a>> {
    let mut numbers = Vec::with_capacity(all.len());
    for (row, bytes) in all.iter().enumerate() {
        let number = f64::from_le_bytes(*bytes);
        match Whole::of(number) {
            Whole::Integer(number) => numbers.push(number),
            Whole::OutOfRange | Whole::Fraction if is_valid(row) => return None,
            Whole::OutOfRange | Whole::Fraction => numbers.push(0),
        }
    }
    Some(Values::Integer(numbers))
}

fn booleans<'a>(
    values: Bitmap<'_>,
    is_valid: impl Fn(usize) -> bool,
    rows: usize,
) -> Option<Values<'a>> {
    let mut levels = Levels::new(rows);
    for row in 0..rows {
        let key = if is_valid(row) {
            let text = level(values.get(row).ok()?);
            match levels.recent(text.as_bytes()) {
                Some(key) => key,
                None => levels.add(Cow::Borrowed(text)),
            }
        } else {
            0
        };
        levels.push(key);
    }
    Some(Values::Levels { keys: levels.keys, texts: levels.texts })
}
