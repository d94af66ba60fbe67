//! Views of the bytes of a record batch: arrays, and what one of their elements is.
//!
//! Before: [`super::locate`] finds the bytes of each array. After: [`super::record`] makes a cell,
//! a name or a time of an element, [`super::bulk`] takes whole arrays. Nothing in a view is
//! trusted: a place outside of it is a [`Problem`], found when it is asked for.

use std::fmt;
use std::ops::Range;

use arrow::array::ArrowPrimitiveType;
use arrow::datatypes::Float16Type;

use super::problem::Problem;
use crate::schema::TimeFormat;

type Half = <Float16Type as ArrowPrimitiveType>::Native;

/// The kinds of value, as far as paths and columns tell them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Null,
    Boolean,
    Number,
    Text,
    Bytes,
    Array,
    Record,
    Union,
    /// Lists of which each says where it lies, perhaps in another.
    Views,
    /// A map whose keys are no text, so that no path leads into it.
    KeylessMap,
    /// Lists or records as values of a dictionary or of runs.
    Encoded,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Null => "null",
            Self::Boolean => "a boolean",
            Self::Number => "a number",
            Self::Text => "text",
            Self::Bytes => "bytes",
            Self::Array => "an array",
            Self::Record => "a record or a map",
            Self::Union => "a union",
            Self::Views => "an array that is a view",
            Self::KeylessMap => "a map whose keys are no text",
            Self::Encoded => "lists or records in a dictionary or in runs",
        })
    }
}

/// What a whole number stands for, where it is more than a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    Number,
    /// Days since 1970.
    Days,
    /// A time since 1970 in this unit.
    Time(TimeFormat),
}

/// A value at a path.
#[derive(Clone, Copy, Debug)]
pub(super) enum Value<'a> {
    /// Nothing, or null.
    Absent,
    /// The path goes through the node of this index, where it expects a value of another kind.
    Blocked {
        want: usize,
        expected: Kind,
        found: Kind,
    },
    Boolean(bool),
    Number(Number),
    /// Not yet known to be UTF-8.
    Text(&'a [u8]),
    /// A value that no column takes.
    Other(Kind),
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Number {
    Whole(i64, Meaning),
    /// Above those that are signed.
    Large(u64),
    Float(f32),
    Double(f64),
    /// Its digits, if 128 bits hold them, and how many are behind the point.
    Decimal(Option<i128>, i32),
}

impl Value<'_> {
    /// Returns the kind of a value that is there.
    pub(super) fn kind(&self) -> Kind {
        match self {
            Self::Absent => Kind::Null,
            Self::Boolean(_) => Kind::Boolean,
            Self::Number(_) => Kind::Number,
            Self::Text(_) => Kind::Text,
            Self::Other(kind) | Self::Blocked { want: _, expected: _, found: kind } => *kind,
        }
    }
}

/// One bit an element, the lowest of a byte first.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bitmap<'a>(pub(super) &'a [u8]);

impl Bitmap<'_> {
    pub(super) fn get(self, at: usize) -> Result<bool, Problem> {
        let byte = self.0.get(at / 8).ok_or(Problem::Index)?;
        Ok(byte >> (at % 8) & 1 == 1)
    }
}

/// Whole numbers as they lie there, of some width.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ints<'a> {
    I8(&'a [[u8; 1]]),
    I16(&'a [[u8; 2]]),
    I32(&'a [[u8; 4]]),
    I64(&'a [[u8; 8]]),
    U8(&'a [[u8; 1]]),
    U16(&'a [[u8; 2]]),
    U32(&'a [[u8; 4]]),
    U64(&'a [[u8; 8]]),
}

impl Ints<'_> {
    pub(super) fn len(self) -> usize {
        match self {
            Self::I8(all) | Self::U8(all) => all.len(),
            Self::I16(all) | Self::U16(all) => all.len(),
            Self::I32(all) | Self::U32(all) => all.len(),
            Self::I64(all) | Self::U64(all) => all.len(),
        }
    }

    pub(super) fn get(self, at: usize) -> Result<i128, Problem> {
        let number = match self {
            Self::I8(all) => all.get(at).map(|it| i8::from_le_bytes(*it).into()),
            Self::I16(all) => all.get(at).map(|it| i16::from_le_bytes(*it).into()),
            Self::I32(all) => all.get(at).map(|it| i32::from_le_bytes(*it).into()),
            Self::I64(all) => all.get(at).map(|it| i64::from_le_bytes(*it).into()),
            Self::U8(all) => all.get(at).map(|it| u8::from_le_bytes(*it).into()),
            Self::U16(all) => all.get(at).map(|it| u16::from_le_bytes(*it).into()),
            Self::U32(all) => all.get(at).map(|it| u32::from_le_bytes(*it).into()),
            Self::U64(all) => all.get(at).map(|it| u64::from_le_bytes(*it).into()),
        };
        number.ok_or(Problem::Index)
    }

    /// Returns a number that is a place in something.
    pub(super) fn place(self, at: usize) -> Result<usize, Problem> {
        usize::try_from(self.get(at)?).map_err(|_| Problem::Index)
    }

    /// Gives each number to `take`; `None`, before any, where they may not fit.
    pub(super) fn each(self, mut take: impl FnMut(i64)) -> Option<()> {
        match self {
            Self::I8(all) => all.iter().for_each(|it| take(i8::from_le_bytes(*it).into())),
            Self::I16(all) => all.iter().for_each(|it| take(i16::from_le_bytes(*it).into())),
            Self::I32(all) => all.iter().for_each(|it| take(i32::from_le_bytes(*it).into())),
            Self::I64(all) => all.iter().for_each(|it| take(i64::from_le_bytes(*it))),
            Self::U8(all) => all.iter().for_each(|it| take(u8::from_le_bytes(*it).into())),
            Self::U16(all) => all.iter().for_each(|it| take(u16::from_le_bytes(*it).into())),
            Self::U32(all) => all.iter().for_each(|it| take(u32::from_le_bytes(*it).into())),
            Self::U64(_) => return None,
        }
        Some(())
    }
}

/// Where the elements of lists, or the bytes of texts, begin and end.
#[derive(Clone, Copy, Debug)]
pub(super) enum Offsets<'a> {
    Small(&'a [[u8; 4]]),
    Large(&'a [[u8; 8]]),
}

impl Offsets<'_> {
    pub(super) fn get(self, at: usize) -> Result<Range<usize>, Problem> {
        let place = |at: usize| match self {
            Self::Small(all) => {
                all.get(at).and_then(|it| usize::try_from(i32::from_le_bytes(*it)).ok())
            }
            Self::Large(all) => {
                all.get(at).and_then(|it| usize::try_from(i64::from_le_bytes(*it)).ok())
            }
        };
        match (place(at), place(at + 1)) {
            (Some(start), Some(end)) if start <= end => Ok(start..end),
            (Some(_) | None, Some(_) | None) => Err(Problem::Offsets),
        }
    }

    /// Refuses offsets that go back: the elements of two lists would be the same.
    pub(super) fn check(self) -> Result<(), Problem> {
        let is_sorted = match self {
            Self::Small(all) => all.is_sorted_by_key(|it| i32::from_le_bytes(*it)),
            Self::Large(all) => all.is_sorted_by_key(|it| i64::from_le_bytes(*it)),
        };
        if is_sorted { Ok(()) } else { Err(Problem::Offsets) }
    }
}

/// Texts of an array.
#[derive(Clone, Copy, Debug)]
pub(super) enum Texts<'a> {
    Plain {
        offsets: Offsets<'a>,
        data: &'a [u8],
    },
    /// Short ones lie in the views, others in buffers of which the first is `first`.
    Views {
        views: &'a [[u8; 16]],
        first: usize,
        count: usize,
    },
}

/// Longest text that lies in its view.
const INLINE_BYTES: usize = 12;

impl<'a> Texts<'a> {
    /// Returns a text; `data` has the buffers of all views.
    pub(super) fn get(self, at: usize, data: &[&'a [u8]]) -> Result<&'a [u8], Problem> {
        match self {
            Self::Plain { offsets, data } => data.get(offsets.get(at)?).ok_or(Problem::Offsets),
            Self::Views { views, first, count } => {
                let view = views.get(at).ok_or(Problem::Index)?;
                let word = |from: usize| {
                    let bytes = view.get(from..from + 4)?;
                    usize::try_from(i32::from_le_bytes(bytes.try_into().ok()?)).ok()
                };
                let length = word(0).ok_or(Problem::View)?;
                if length <= INLINE_BYTES {
                    return view.get(4..4 + length).ok_or(Problem::View);
                }
                let (Some(buffer), Some(start)) = (word(8), word(12)) else {
                    return Err(Problem::View);
                };
                let buffer = data.get(first..first + count).and_then(|all| all.get(buffer));
                let text = buffer.and_then(|buffer| buffer.get(start..start.checked_add(length)?));
                text.ok_or(Problem::View)
            }
        }
    }
}

/// Decimals of some width.
#[derive(Clone, Copy, Debug)]
pub(super) struct Decimals<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) width: usize,
    pub(super) scale: i32,
}

impl Decimals<'_> {
    pub(super) fn get(self, at: usize) -> Result<Number, Problem> {
        let start = at.checked_mul(self.width).ok_or(Problem::Index)?;
        let digits = self.bytes.get(start..start + self.width).ok_or(Problem::Index)?;
        let is_negative = digits.last().is_some_and(|last| 0x80 <= *last);
        let sign = if is_negative { 0xff } else { 0 };
        let (low, high) = digits.split_at(digits.len().min(16));
        let mut wide = [sign; 16];
        wide[..low.len()].copy_from_slice(low);
        let number = i128::from_le_bytes(wide);
        let fits = high.iter().all(|byte| *byte == sign) && (number < 0) == is_negative;
        Ok(Number::Decimal(fits.then_some(number), self.scale))
    }
}

/// The array that a path ends in.
#[derive(Clone, Copy, Debug)]
pub(super) enum Leaf<'a> {
    /// There is none, or all of it is null.
    Nothing,
    /// Its path goes through an array of another kind.
    Blocked {
        want: usize,
        expected: Kind,
        found: Kind,
    },
    Other(Kind),
    Boolean(Bitmap<'a>),
    Whole(Ints<'a>, Meaning),
    Half(&'a [[u8; 2]]),
    Float(&'a [[u8; 4]]),
    Double(&'a [[u8; 8]]),
    Decimal(Decimals<'a>),
    Text(Texts<'a>),
    /// Places in the dictionary of this index.
    Keys(Ints<'a>, usize),
    /// The same where the path leads on, as if it were values of another kind.
    BlockedKeys {
        keys: Ints<'a>,
        dictionary: usize,
        want: usize,
        expected: Kind,
    },
}

/// Returns a number of 16 bits, of which each is one of 32.
pub(super) fn half(bytes: [u8; 2]) -> f32 {
    Half::from_le_bytes(bytes).to_f32()
}
