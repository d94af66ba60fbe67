//! The bytes of a message, read from front to back.
//!
//! Before: [`super::AvroDecoder`] lends the payload. After: [`super::walk`] and [`super::skip`]
//! take values from it. Nothing is allocated, whatever lengths the bytes claim.

use std::fmt;
use std::ops::Range;

use crate::decode::varint::joined;
use crate::rejection::{Refusal, RejectReason};

/// A payload and the place that reading has come to.
#[derive(Clone, Copy)]
pub(super) struct Bytes<'a> {
    all: &'a [u8],
    at: usize,
}

/// Bytes that are no value of their schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed {
    at: usize,
    problem: Problem,
}

/// What is wrong with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Problem {
    /// They end inside of a value.
    End,
    /// A number of more than ten bytes.
    LongNumber,
    /// An `int` beyond 32 bits.
    LargeInt,
    /// A length or number of items below zero, or beyond all bounds.
    Length,
    /// A boolean that is neither 0 nor 1.
    Boolean,
    /// No such branch of a union.
    Branch,
    /// No such symbol of an enum.
    Symbol,
    /// A block of items that is not as long as it says.
    Block,
    /// Values inside of values without end.
    Depth,
    /// Something behind the value.
    Rest,
}

impl Malformed {
    pub(super) fn refusal(self) -> Refusal {
        let Self { at, problem } = self;
        Refusal::new(RejectReason::InvalidAvro, format_args!("at byte {at}: {problem}"))
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::End => "the message ends inside of a value",
            Self::LongNumber => "a number of more than ten bytes",
            Self::LargeInt => "an `int` of more than 32 bits",
            Self::Length => "a length that cannot be",
            Self::Boolean => "a boolean that is neither 0 nor 1",
            Self::Branch => "a branch that the union does not have",
            Self::Symbol => "a symbol that the enum does not have",
            Self::Block => "a block that is not as long as it says",
            Self::Depth => "values nested too deep",
            Self::Rest => "the value ends here, and the message does not",
        })
    }
}

/// Some items of an array or map.
#[derive(Clone, Copy, Debug)]
pub(super) struct Block {
    pub(super) items: usize,
    /// Where the block ends, if it says so.
    pub(super) end: Option<usize>,
}

impl<'a> Bytes<'a> {
    pub(super) fn new(all: &'a [u8], at: usize) -> Self {
        Self { all, at }
    }

    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn malformed(&self, problem: Problem) -> Malformed {
        Malformed { at: self.at, problem }
    }

    /// Refuses bytes behind the last value.
    pub(super) fn end(&self) -> Result<(), Malformed> {
        if self.at == self.all.len() { Ok(()) } else { Err(self.malformed(Problem::Rest)) }
    }

    /// Passes over bytes and returns where they are.
    #[inline]
    pub(super) fn take(&mut self, count: usize) -> Result<Range<usize>, Malformed> {
        if self.all.len() - self.at < count {
            return Err(self.malformed(Problem::End));
        }
        let start = self.at;
        self.at += count;
        Ok(start..self.at)
    }

    #[inline]
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let found = self.all.get(self.at..).and_then(<[u8]>::first_chunk).copied();
        let found = found.ok_or(self.malformed(Problem::End))?;
        self.at += N;
        Ok(found)
    }

    pub(super) fn boolean(&mut self) -> Result<bool, Malformed> {
        let before = *self;
        match self.array()? {
            [0] => Ok(false),
            [1] => Ok(true),
            [_] => Err(before.malformed(Problem::Boolean)),
        }
    }

    /// Reads a `long`: seven bits a byte, the lowest first, the sign in the lowest of all. Bits
    /// beyond the 64th mean nothing, as for other readers.
    #[inline]
    pub(super) fn long(&mut self) -> Result<i64, Malformed> {
        let bits = match self.all.get(self.at) {
            Some(byte) if *byte < 0x80 => {
                self.at += 1;
                u64::from(*byte)
            }
            // By value: whoever is at hand by reference stays in memory.
            Some(_) | None => {
                let (bits, end) = self.several_bytes()?;
                self.at = end;
                bits
            }
        };
        Ok((bits >> 1).cast_signed() ^ -(bits & 1).cast_signed())
    }

    /// Returns the bits of a number, and where it ends.
    fn several_bytes(self) -> Result<(u64, usize), Malformed> {
        if let Some(next) = self.all.get(self.at..).and_then(<[u8]>::first_chunk)
            && let Some((bits, bytes)) = joined(u64::from_le_bytes(*next))
        {
            return Ok((bits, self.at + bytes));
        }
        let mut ahead = self;
        let mut bits = 0;
        for shift in (0..70).step_by(7) {
            let [byte] = ahead.array()?;
            bits |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok((bits, ahead.at));
            }
        }
        Err(self.malformed(Problem::LongNumber))
    }

    pub(super) fn int(&mut self) -> Result<i32, Malformed> {
        let before = *self;
        i32::try_from(self.long()?).map_err(|_| before.malformed(Problem::LargeInt))
    }

    /// Reads the index of one of `count` branches or symbols.
    pub(super) fn index(&mut self, count: usize, problem: Problem) -> Result<usize, Malformed> {
        let before = *self;
        let index = usize::try_from(self.long()?).ok().filter(|index| *index < count);
        index.ok_or(before.malformed(problem))
    }

    #[inline]
    fn length(&mut self) -> Result<usize, Malformed> {
        let before = *self;
        usize::try_from(self.long()?).map_err(|_| before.malformed(Problem::Length))
    }

    /// Reads a length and passes over so many bytes.
    #[inline]
    pub(super) fn counted(&mut self) -> Result<Range<usize>, Malformed> {
        let length = self.length()?;
        self.take(length)
    }

    /// Begins the next block of an array or map; `None` at the end.
    pub(super) fn block(&mut self) -> Result<Option<Block>, Malformed> {
        let before = *self;
        let items = self.long()?;
        if items == 0 {
            return Ok(None);
        }
        let end = if items < 0 { Some(self.block_end()?) } else { None };
        let items = usize::try_from(items.unsigned_abs());
        let items = items.map_err(|_| before.malformed(Problem::Length))?;
        Ok(Some(Block { items, end }))
    }

    fn block_end(&mut self) -> Result<usize, Malformed> {
        let mut ahead = *self;
        let length = ahead.length()?;
        self.at = ahead.at;
        Ok(ahead.take(length)?.end)
    }

    /// Passes over what is left of a block that says where it ends.
    pub(super) fn go_to(&mut self, end: usize) -> Result<(), Malformed> {
        if end < self.at {
            return Err(self.malformed(Problem::Block));
        }
        self.at = end;
        Ok(())
    }

    /// Refuses a block whose items, all of which were read, end elsewhere than it says.
    pub(super) fn end_block(&self, end: Option<usize>) -> Result<(), Malformed> {
        if end.is_none_or(|end| end == self.at) {
            Ok(())
        } else {
            Err(self.malformed(Problem::Block))
        }
    }
}
