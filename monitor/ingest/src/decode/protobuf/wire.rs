//! The bytes of a message, read from front to back: tags, and the values behind them.
//!
//! Before: [`super::ProtobufDecoder`] lends the payload. After: [`super::walk`] takes values from
//! it and passes over the rest. Nothing is allocated, whatever lengths the bytes claim.

use std::fmt;
use std::ops::Range;

use crate::decode::varint::joined;
use crate::rejection::{Refusal, RejectReason};

/// Deepest groups inside of groups, as other readers have it.
const DEPTH_MAX: usize = 100;

/// A payload, or the part of it that is one message, and the place that reading has come to.
#[derive(Clone, Copy)]
pub(in crate::decode) struct Wire<'a> {
    /// All of the payload up to the end of the part.
    all: &'a [u8],
    at: usize,
}

/// What comes before a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::decode) struct Tag {
    pub(in crate::decode) number: u32,
    pub(in crate::decode) form: Form,
}

/// How a tag lies in the bytes of those who write no more of them than it needs: in the first of
/// four, those that are under the mask.
#[derive(Clone, Copy, Debug)]
pub(in crate::decode) struct Head {
    bits: u32,
    mask: u32,
    bytes: usize,
}

/// How a value lies in the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::decode) enum Form {
    Varint,
    Fixed32,
    Fixed64,
    /// A length, and so many bytes.
    Counted,
    /// Fields up to the tag that ends the group.
    Group,
    GroupEnd,
}

/// Bytes that are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::decode) struct Malformed {
    at: usize,
    problem: Problem,
}

/// What is wrong with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::decode) enum Problem {
    /// They end inside of a value.
    End,
    /// A number of more than 64 bits.
    LongNumber,
    /// A tag of no field, or of no form.
    Tag,
    /// A group ends that did not begin, or another one than began.
    Group,
    /// Groups inside of groups without end.
    Depth,
}

impl Head {
    /// What no bytes are equal to: of tags that need five.
    const NONE: Self = Self { bits: 1, mask: 0, bytes: 0 };

    pub(in crate::decode) fn of(tag: Tag) -> Self {
        let form = match tag.form {
            Form::Varint => 0,
            Form::Fixed64 => 1,
            Form::Counted => 2,
            Form::Group => 3,
            Form::GroupEnd => 4,
            Form::Fixed32 => 5,
        };
        let mut left = tag.number << 3 | form;
        let (mut bits, mut mask) = (0, 0);
        for (bytes, shift) in (1..).zip((0..u32::BITS).step_by(8)) {
            let is_last = left < 0x80;
            bits |= (left & 0x7f | if is_last { 0 } else { 0x80 }) << shift;
            mask |= 0xff << shift;
            if is_last {
                return Self { bits, mask, bytes };
            }
            left >>= 7;
        }
        Self::NONE
    }
}

impl Malformed {
    pub(in crate::decode) fn refusal(self) -> Refusal {
        Refusal::new(RejectReason::InvalidProtobuf, format_args!("{self}"))
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, problem } = self;
        write!(f, "at byte {at}: {problem}")
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::End => "the message ends inside of a value",
            Self::LongNumber => "a number of more than 64 bits",
            Self::Tag => "a tag of no field",
            Self::Group => "a group ends that did not begin",
            Self::Depth => "groups nested too deep",
        })
    }
}

impl<'a> Wire<'a> {
    /// Reads a part of the payload.
    pub(in crate::decode) fn new(payload: &'a [u8], part: Range<usize>) -> Self {
        Self { all: &payload[..part.end], at: part.start }
    }

    pub(in crate::decode) fn at(&self) -> usize {
        self.at
    }

    pub(in crate::decode) fn is_end(&self) -> bool {
        self.at == self.all.len()
    }

    fn malformed(&self, problem: Problem) -> Malformed {
        Malformed { at: self.at, problem }
    }

    #[inline]
    pub(in crate::decode) fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let found = self.all.get(self.at..).and_then(<[u8]>::first_chunk).copied();
        let found = found.ok_or(self.malformed(Problem::End))?;
        self.at += N;
        Ok(found)
    }

    /// Passes over a tag if it is the next, and written as it mostly is; returns whether it did.
    #[inline]
    pub(in crate::decode) fn passes(&mut self, head: Head) -> bool {
        let next = self.all.get(self.at..).and_then(<[u8]>::first_chunk);
        let is_next = next.is_some_and(|it| u32::from_le_bytes(*it) & head.mask == head.bits);
        if is_next {
            self.at += head.bytes;
        }
        is_next
    }

    /// Passes over bytes and returns where they are.
    #[inline]
    fn take(&mut self, count: u64) -> Result<Range<usize>, Malformed> {
        let left = self.all.len() - self.at;
        let count = usize::try_from(count).ok().filter(|count| *count <= left);
        let start = self.at;
        self.at += count.ok_or(self.malformed(Problem::End))?;
        Ok(start..self.at)
    }

    /// Reads a number: seven bits a byte, the lowest first.
    #[inline]
    pub(in crate::decode) fn varint(&mut self) -> Result<u64, Malformed> {
        match self.all.get(self.at) {
            Some(byte) if *byte < 0x80 => {
                self.at += 1;
                Ok(u64::from(*byte))
            }
            // By value: whoever is at hand by reference stays in memory.
            Some(_) | None => {
                let (bits, end) = self.long_varint()?;
                self.at = end;
                Ok(bits)
            }
        }
    }

    /// Returns a number, and where it ends.
    fn long_varint(self) -> Result<(u64, usize), Malformed> {
        if let Some(next) = self.all.get(self.at..).and_then(<[u8]>::first_chunk)
            && let Some((bits, bytes)) = joined(u64::from_le_bytes(*next))
        {
            return Ok((bits, self.at + bytes));
        }
        let mut ahead = self;
        let mut bits = 0;
        for shift in (0..70).step_by(7) {
            let [byte] = ahead.array()?;
            if shift == 63 && 1 < byte {
                break;
            }
            bits |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok((bits, ahead.at));
            }
        }
        Err(self.malformed(Problem::LongNumber))
    }

    pub(in crate::decode) fn tag(&mut self) -> Result<Tag, Malformed> {
        let before = *self;
        let bits = u32::try_from(self.varint()?).map_err(|_| before.malformed(Problem::Tag))?;
        let form = match bits & 7 {
            0 => Form::Varint,
            1 => Form::Fixed64,
            2 => Form::Counted,
            3 => Form::Group,
            4 => Form::GroupEnd,
            5 => Form::Fixed32,
            _ => return Err(before.malformed(Problem::Tag)),
        };
        match bits >> 3 {
            0 => Err(before.malformed(Problem::Tag)),
            number => Ok(Tag { number, form }),
        }
    }

    /// Reads a length, passes over so many bytes, and returns where they are.
    #[inline]
    pub(in crate::decode) fn counted(&mut self) -> Result<Range<usize>, Malformed> {
        let before = *self;
        let count = self.varint()?;
        self.take(count).map_err(|_| before.malformed(Problem::End))
    }

    /// Passes over the message behind a tag, and returns where its fields are.
    pub(in crate::decode) fn message(&mut self, tag: Tag) -> Result<Range<usize>, Malformed> {
        if tag.form == Form::Group { self.group(tag.number) } else { self.counted() }
    }

    /// Passes over the value behind a tag.
    pub(in crate::decode) fn skip(&mut self, tag: Tag) -> Result<(), Malformed> {
        match tag.form {
            Form::Varint => self.varint().map(|_| ()),
            Form::Fixed32 => self.array::<4>().map(|_| ()),
            Form::Fixed64 => self.array::<8>().map(|_| ()),
            Form::Counted => self.counted().map(|_| ()),
            Form::Group => self.group(tag.number).map(|_| ()),
            Form::GroupEnd => Err(self.malformed(Problem::Group)),
        }
    }

    /// Passes over a group that has begun, and returns where its fields are.
    fn group(&mut self, number: u32) -> Result<Range<usize>, Malformed> {
        let start = self.at;
        let mut open = [0; DEPTH_MAX];
        open[0] = number;
        let mut depth = 1;
        loop {
            let before = *self;
            let tag = self.tag()?;
            match tag.form {
                Form::Group => {
                    let place = open.get_mut(depth).ok_or(before.malformed(Problem::Depth))?;
                    *place = tag.number;
                    depth += 1;
                }
                Form::GroupEnd => {
                    depth -= 1;
                    if open[depth] != tag.number {
                        return Err(before.malformed(Problem::Group));
                    }
                    if depth == 0 {
                        return Ok(start..before.at);
                    }
                }
                Form::Varint | Form::Fixed32 | Form::Fixed64 | Form::Counted => self.skip(tag)?,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn varint(number: u64) -> Vec<u8> {
        let (mut bytes, mut left) = (Vec::new(), number);
        while 0x7f < left {
            bytes.push(left.to_le_bytes()[0] | 0x80);
            left >>= 7;
        }
        bytes.push(left.to_le_bytes()[0]);
        bytes
    }

    #[test]
    fn a_number_is_the_same_with_and_without_bytes_behind_it() {
        for shift in 0..64 {
            for bits in [1_u64 << shift, u64::MAX >> shift, 0x5555_5555_5555_5555 >> shift] {
                let mut bytes = varint(bits);
                let count = bytes.len();
                for rest in [0, 1, 9] {
                    bytes.resize(count + rest, 0xff);
                    let mut wire = Wire::new(&bytes, 0..bytes.len());
                    assert_eq!((wire.varint(), wire.at()), (Ok(bits), count), "{bits:x}");
                }
            }
        }
    }

    #[test]
    fn a_tag_is_passed_over_as_it_is_read() {
        for number in [1_u32, 15, 16, 2_047, 2_048, 262_143, 262_144, 33_554_431, 536_870_911] {
            for (form, bits) in [(Form::Varint, 0), (Form::Fixed64, 1), (Form::Fixed32, 5)] {
                let mut bytes = varint(u64::from(number << 3 | bits));
                let count = bytes.len();
                bytes.extend([7; 4]);
                let tag = Tag { number, form };
                let whole = || Wire::new(&bytes, 0..bytes.len());
                assert_eq!(whole().tag(), Ok(tag));
                let mut wire = whole();
                assert_eq!(wire.passes(Head::of(tag)), count <= 4, "{tag:?}");
                assert_eq!(wire.at(), if count <= 4 { count } else { 0 });
                let other = Head::of(Tag { number: number ^ 1, form });
                assert!(!whole().passes(other), "{tag:?}");
                let cut = count.saturating_sub(1);
                assert!(!Wire::new(&bytes, 0..cut).passes(Head::of(tag)), "{tag:?}");
            }
        }
    }
}
