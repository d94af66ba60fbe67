//! The columns of a record batch that paths ask for, and the value of a row in each.
//!
//! Before: [`super::locate`] fills them. After: [`super::record`] and [`super::bulk`] read them.

use super::maps::{Entries, Known};
use super::problem::Problem;
use super::value::{Bitmap, Ints, Leaf, Number, Offsets, Texts, Value, half};

/// One step from an element of an array to one of another, or to null.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step<'a> {
    /// Itself, where it is not null.
    Valid(Bitmap<'a>),
    /// An element of the list that it is, among `length` of all lists.
    Element { offsets: Offsets<'a>, index: usize, length: usize },
    /// The same of lists of one size.
    FixedElement { size: usize, index: usize, length: usize },
    /// The value of the last entry with a key, of the map that it is.
    Entry { offsets: Offsets<'a>, keys: Texts<'a>, key: &'a str, length: usize },
    /// The same where it was found before.
    KnownEntry(Known),
    /// The value of the run that it is in.
    Run { ends: Ints<'a>, length: usize },
}

/// A step, and the one before it: those of a path are shared with paths that go on elsewhere.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link<'a> {
    pub(super) before: Option<usize>,
    pub(super) step: Step<'a>,
}

/// Where the values of a path are: what leads from a row to an element of the array.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column<'a> {
    pub(super) link: Option<usize>,
    pub(super) leaf: Leaf<'a>,
}

impl Column<'_> {
    pub(super) const NOTHING: Self = Self { link: None, leaf: Leaf::Nothing };
}

/// The columns of one record batch, one a slot.
pub(super) struct Columns<'a> {
    found: Vec<Column<'a>>,
    /// Slots of those that are there.
    there: Vec<usize>,
    links: Vec<Link<'a>>,
    /// The buffers of views.
    pub(super) data: Vec<&'a [u8]>,
    pub(super) entries: Entries,
    pub(super) rows: usize,
}

impl<'a> Columns<'a> {
    pub(super) fn new(slots: usize) -> Self {
        Self {
            found: vec![Column::NOTHING; slots],
            there: Vec::new(),
            links: Vec::new(),
            data: Vec::new(),
            entries: Entries::default(),
            rows: 0,
        }
    }

    /// Forgets a batch; what it takes is what was there.
    pub(super) fn clear(&mut self) {
        for slot in self.there.drain(..) {
            self.found[slot] = Column::NOTHING;
        }
        self.links.clear();
        self.data.clear();
        self.entries.clear();
        self.rows = 0;
    }

    pub(super) fn set(&mut self, slot: usize, column: Column<'a>) {
        self.found[slot] = column;
        self.there.push(slot);
    }

    pub(super) fn get(&self, slot: usize) -> Column<'a> {
        self.found[slot]
    }

    /// Adds a step behind `before`, and returns where it is.
    pub(super) fn link(&mut self, before: Option<usize>, step: Step<'a>) -> usize {
        self.links.push(Link { before, step });
        self.links.len() - 1
    }

    /// Returns whether rows lead to the element of their number, or to null.
    pub(super) fn is_by_row(&self, link: Option<usize>) -> bool {
        link.is_none_or(|at| match self.links[at] {
            Link { before, step: Step::Valid(_) } => self.is_by_row(before),
            Link { .. } => false,
        })
    }

    /// Returns the validity of a column that rows lead straight to; `Err` where they do not.
    pub(super) fn straight(&self, column: &Column<'a>) -> Result<Option<Bitmap<'a>>, NotStraight> {
        match column.link.map(|at| self.links[at]) {
            None => Ok(None),
            Some(Link { before: None, step: Step::Valid(bits) }) => Ok(Some(bits)),
            Some(Link { .. }) => Err(NotStraight),
        }
    }

    /// Returns the value of a row.
    pub(super) fn value(
        &self,
        column: &Column<'a>,
        row: usize,
        dictionaries: &Dictionaries<'a>,
    ) -> Result<Value<'a>, Problem> {
        let at = match column.link {
            None => row,
            Some(link) => match self.follow(link, row)? {
                None => return Ok(Value::Absent),
                Some(at) => at,
            },
        };
        match column.leaf {
            Leaf::Keys(keys, dictionary) => dictionaries.value(dictionary, keys.place(at)?),
            Leaf::BlockedKeys { keys, dictionary, want, expected } => {
                Ok(match dictionaries.value(dictionary, keys.place(at)?)? {
                    Value::Absent => Value::Absent,
                    value @ (Value::Blocked { .. }
                    | Value::Boolean(_)
                    | Value::Number(_)
                    | Value::Text(_)
                    | Value::Other(_)) => Value::Blocked { want, expected, found: value.kind() },
                })
            }
            leaf @ (Leaf::Nothing
            | Leaf::Blocked { .. }
            | Leaf::Other(_)
            | Leaf::Boolean(_)
            | Leaf::Whole(..)
            | Leaf::Half(_)
            | Leaf::Float(_)
            | Leaf::Double(_)
            | Leaf::Decimal(_)
            | Leaf::Text(_)) => element(leaf, at, &self.data),
        }
    }

    /// Returns the element that a row leads to; `None` where there is null on the way.
    fn follow(&self, link: usize, row: usize) -> Result<Option<usize>, Problem> {
        let Link { before, step } = self.links[link];
        let at = match before {
            None => row,
            Some(before) => match self.follow(before, row)? {
                None => return Ok(None),
                Some(at) => at,
            },
        };
        let within = |place: usize, length: usize| {
            if place < length { Ok(Some(place)) } else { Err(Problem::Index) }
        };
        match step {
            Step::Valid(bits) => Ok(bits.get(at)?.then_some(at)),
            Step::Element { offsets, index, length } => {
                let list = offsets.get(at)?;
                if index < list.len() { within(list.start + index, length) } else { Ok(None) }
            }
            Step::FixedElement { size, index, length } => {
                if size <= index {
                    return Ok(None);
                }
                let start = at.checked_mul(size).ok_or(Problem::Index)?;
                within(start.checked_add(index).ok_or(Problem::Index)?, length)
            }
            Step::Entry { offsets, keys, key, length } => {
                let entries = offsets.get(at)?;
                if length < entries.end {
                    return Err(Problem::Offsets);
                }
                for entry in entries.rev() {
                    if keys.get(entry, &self.data)? == key.as_bytes() {
                        return Ok(Some(entry));
                    }
                }
                Ok(None)
            }
            Step::KnownEntry(known) => Ok(self.entries.get(known, at)),
            Step::Run { ends, length } => within(run(ends, at)?, length),
        }
    }
}

/// A column to whose elements rows lead on a longer way than by their number.
#[derive(Debug)]
pub(super) struct NotStraight;

/// Returns the run that an element is in: the first that ends behind it.
fn run(ends: Ints<'_>, at: usize) -> Result<usize, Problem> {
    let (mut low, mut high) = (0, ends.len());
    while low < high {
        let middle = low + (high - low) / 2;
        if ends.place(middle)? <= at { low = middle + 1 } else { high = middle }
    }
    Ok(low)
}

/// Returns an element of an array that holds no places in a dictionary.
fn element<'a>(leaf: Leaf<'a>, at: usize, data: &[&'a [u8]]) -> Result<Value<'a>, Problem> {
    Ok(match leaf {
        Leaf::Nothing => Value::Absent,
        Leaf::Blocked { want, expected, found } => Value::Blocked { want, expected, found },
        Leaf::Other(kind) => Value::Other(kind),
        Leaf::Boolean(bits) => Value::Boolean(bits.get(at)?),
        Leaf::Whole(numbers, meaning) => {
            let number = numbers.get(at)?;
            Value::Number(match (i64::try_from(number), u64::try_from(number)) {
                (Ok(number), _) => Number::Whole(number, meaning),
                (Err(_), Ok(number)) => Number::Large(number),
                (Err(_), Err(_)) => unreachable!("numbers have at most 64 bits"),
            })
        }
        Leaf::Half(all) => Value::Number(Number::Float(half(*all.get(at).ok_or(Problem::Index)?))),
        Leaf::Float(all) => {
            let bytes = all.get(at).ok_or(Problem::Index)?;
            Value::Number(Number::Float(f32::from_le_bytes(*bytes)))
        }
        Leaf::Double(all) => {
            let bytes = all.get(at).ok_or(Problem::Index)?;
            Value::Number(Number::Double(f64::from_le_bytes(*bytes)))
        }
        Leaf::Decimal(all) => Value::Number(all.get(at)?),
        Leaf::Text(texts) => Value::Text(texts.get(at, data)?),
        Leaf::Keys(..) | Leaf::BlockedKeys { .. } => {
            unreachable!("values of a dictionary are no places in another")
        }
    })
}

/// The dictionaries that are there, one for each that columns of the schema may have.
pub(super) struct Dictionaries<'a> {
    /// For each the arrays that follow one another.
    parts: Vec<Vec<Part<'a>>>,
    /// The buffers of views.
    pub(super) data: Vec<&'a [u8]>,
}

/// Some values of a dictionary.
pub(super) struct Part<'a> {
    pub(super) start: usize,
    pub(super) length: usize,
    pub(super) validity: Option<Bitmap<'a>>,
    pub(super) leaf: Leaf<'a>,
}

impl<'a> Dictionaries<'a> {
    pub(super) fn new(count: usize) -> Self {
        Self { parts: (0..count).map(|_| Vec::new()).collect(), data: Vec::new() }
    }

    /// Forgets a dictionary.
    pub(super) fn replace(&mut self, dictionary: usize) {
        self.parts[dictionary].clear();
    }

    /// Returns how many values a dictionary has.
    pub(super) fn length(&self, dictionary: usize) -> usize {
        self.parts[dictionary].last().map_or(0, |part| part.start + part.length)
    }

    pub(super) fn is_there(&self, dictionary: usize) -> bool {
        !self.parts[dictionary].is_empty()
    }

    pub(super) fn add(&mut self, dictionary: usize, part: Part<'a>) {
        self.parts[dictionary].push(part);
    }

    pub(super) fn value(&self, dictionary: usize, at: usize) -> Result<Value<'a>, Problem> {
        let parts = &self.parts[dictionary];
        let behind = parts.partition_point(|part| part.start <= at);
        let part = behind.checked_sub(1).map(|last| &parts[last]).ok_or(Problem::Index)?;
        let at = at - part.start;
        if part.length <= at {
            return Err(Problem::Index);
        }
        if part.validity.map_or(Ok(true), |bits| bits.get(at))? {
            element(part.leaf, at, &self.data)
        } else {
            Ok(Value::Absent)
        }
    }
}
