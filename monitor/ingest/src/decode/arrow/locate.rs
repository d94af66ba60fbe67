//! Finds the arrays of a record batch that paths ask for.
//!
//! Before: [`super::program`] says which they are, [`super::batch`] has the bytes. After:
//! [`super::columns`] has a column for each path that leads somewhere. Of each array that is read
//! the length, the buffers and the number of nulls are checked here; what lies at a place in it is
//! checked when it is read. What is passed over is not looked at.

use std::borrow::Cow;

use super::batch::{Arrays, Node};
use super::columns::{Column, Columns, Dictionaries, Part, Step};
use super::maps::{Maps, Wanted};
use super::problem::Problem;
use super::program::{Item, Op, OpKind, Program, Via, Want};
use super::shape::{IntType, Scalar, Width};
use super::value::{Bitmap, Decimals, Ints, Kind, Leaf, Offsets, Texts};
use crate::decode::trie::Trie;

/// Finds the columns of a record batch of so many rows.
pub(super) fn columns<'a>(
    program: &'a Program,
    trie: &Trie,
    arrays: Arrays<'a>,
    rows: usize,
    columns: &mut Columns<'a>,
) -> Result<(), Problem> {
    columns.clear();
    columns.rows = rows;
    let mut locator = Locator { trie, arrays, columns };
    let root = [Want { node: Trie::ROOT, around: 0, via: Via::Field }];
    locator.end(&root, &[None], Leaf::Other(Kind::Record));
    locator.items(&program.columns, &[None], rows)
}

/// Adds the values of a dictionary.
pub(super) fn dictionary<'a>(
    program: &Program,
    mut arrays: Arrays<'a>,
    id: i64,
    is_delta: bool,
    dictionaries: &mut Dictionaries<'a>,
) -> Result<(), Problem> {
    let known = program.dictionaries.iter().position(|(known, _)| *known == id);
    let Some(at) = known else { return Ok(()) };
    if !is_delta {
        dictionaries.replace(at);
    } else if !dictionaries.is_there(at) {
        return Err(Problem::Delta);
    }
    let node = arrays.node()?;
    let start = dictionaries.length(at);
    // What is null takes no bytes, so there may be more than can be counted.
    start.checked_add(node.length).ok_or(Problem::Length)?;
    let (validity, leaf) =
        scalar(&mut arrays, program.dictionaries[at].1, node, &mut dictionaries.data)?;
    let length = node.length;
    dictionaries.add(at, Part { start, length, validity, leaf });
    Ok(())
}

struct Locator<'a, 'c> {
    trie: &'c Trie,
    arrays: Arrays<'a>,
    columns: &'c mut Columns<'a>,
}

/// For each of the values around an array what leads to it.
type Links<'l> = &'l [Option<usize>];

impl<'a> Locator<'a, '_> {
    fn items(&mut self, items: &'a [Item], around: Links<'_>, rows: usize) -> Result<(), Problem> {
        for item in items {
            match item {
                Item::Skip(extent) => self.arrays.skip(*extent).map(|_| ())?,
                Item::Read(_) if self.arrays.peek()?.length != rows => return Err(Problem::Length),
                // Mostly so, and then without memory of its own.
                Item::Read(op) if op.wants.len() == 1 => {
                    self.op(op, &[around[op.wants[0].around]])?;
                }
                Item::Read(op) => {
                    let links: Vec<_> = op.wants.iter().map(|it| around[it.around]).collect();
                    self.op(op, &links)?;
                }
            }
        }
        Ok(())
    }

    /// Finds the array of values to which `links` lead, one for each of its wants.
    fn op(&mut self, op: &'a Op, links: Links<'_>) -> Result<(), Problem> {
        let node = self.arrays.node()?;
        match &op.kind {
            OpKind::Scalar(kind) => {
                let (validity, leaf) =
                    scalar(&mut self.arrays, *kind, node, &mut self.columns.data)?;
                let links = self.valid(links, validity);
                self.end(&op.wants, &links, leaf);
            }
            OpKind::Keys(kind, dictionary) => {
                let validity = validity(&mut self.arrays, node)?;
                let keys = ints(self.arrays.buffer()?, *kind, node.length)?;
                let links = self.valid(links, validity);
                self.end(&op.wants, &links, Leaf::Keys(keys, *dictionary));
            }
            OpKind::Struct(items) => {
                let validity = validity(&mut self.arrays, node)?;
                let links = self.valid(links, validity);
                self.end(&op.wants, &links, Leaf::Other(Kind::Record));
                self.items(items, &links, node.length)?;
            }
            OpKind::List { width, element } => {
                let validity = validity(&mut self.arrays, node)?;
                let offsets = offsets(self.arrays.buffer()?, *width, node.length)?;
                offsets.check()?;
                let links = self.valid(links, validity);
                self.end(&op.wants, &links, Leaf::Other(Kind::Array));
                self.inside(element, &links, |via, length| match via {
                    Via::Element(index) => Step::Element { offsets, index: *index, length },
                    Via::Field | Via::Entry(_) => unreachable!("elements are in lists"),
                })?;
            }
            OpKind::FixedList { size, element } => {
                let validity = validity(&mut self.arrays, node)?;
                let links = self.valid(links, validity);
                self.end(&op.wants, &links, Leaf::Other(Kind::Array));
                let size = *size;
                self.inside(element, &links, |via, length| match via {
                    Via::Element(index) => Step::FixedElement { size, index: *index, length },
                    Via::Field | Via::Entry(_) => unreachable!("elements are in lists"),
                })?;
            }
            OpKind::Map { keys, value } => self.map(op, *keys, value, node, links)?,
            OpKind::Runs { ends, values } => self.runs(op, *ends, values, node, links)?,
            OpKind::Closed { kind, has_nulls, rest } => {
                let bits = if *has_nulls { validity(&mut self.arrays, node)? } else { None };
                self.arrays.skip(*rest)?;
                let links = self.valid(links, bits);
                self.end(&op.wants, &links, Leaf::Other(*kind));
            }
        }
        Ok(())
    }

    fn map(
        &mut self,
        op: &'a Op,
        keys: Scalar,
        value: &'a Item,
        map: Node,
        links: Links<'_>,
    ) -> Result<(), Problem> {
        let validity = validity(&mut self.arrays, map)?;
        let offsets = offsets(self.arrays.buffer()?, Width::Small, map.length)?;
        offsets.check()?;
        let links = self.valid(links, validity);
        self.end(&op.wants, &links, Leaf::Other(Kind::Record));
        // The entries, of which each is there and has a key.
        let entries = self.arrays.node()?;
        self.arrays.buffer()?;
        let node = self.arrays.node()?;
        let (_, keys) = scalar(&mut self.arrays, keys, node, &mut self.columns.data)?;
        let Leaf::Text(keys) = keys else { unreachable!("keys of maps are compiled as text") };
        if node.length != entries.length || self.arrays.peek()?.length != entries.length {
            return Err(Problem::Length);
        }
        let maps = Maps { rows: map.length, offsets, keys, length: entries.length };
        let wanted = self.wanted_entries(&maps, value, &links);
        self.inside(value, &links, |via, length| match via {
            Via::Entry(key) => match wanted.as_ref().and_then(|it| it.known(key)) {
                Some(known) => Step::KnownEntry(known),
                None => Step::Entry { offsets, keys, key, length },
            },
            Via::Field | Via::Element(_) => unreachable!("entries are in maps"),
        })
    }

    /// Finds the entries that are wanted of maps, one a row.
    fn wanted_entries(
        &mut self,
        maps: &Maps<'a>,
        value: &'a Item,
        links: Links<'_>,
    ) -> Option<Wanted<'a>> {
        let Item::Read(op) = value else { return None };
        let is_by_row = |it: &Want| self.columns.is_by_row(links[it.around]);
        op.wants.iter().all(is_by_row).then_some(())?;
        let keys = op.wants.iter().filter_map(|it| match &it.via {
            Via::Entry(key) => Some(&**key),
            Via::Field | Via::Element(_) => None,
        });
        let Columns { entries, data, .. } = &mut *self.columns;
        entries.find(maps, keys, data)
    }

    fn runs(
        &mut self,
        op: &'a Op,
        ends: IntType,
        values: &'a Op,
        node: Node,
        links: Links<'_>,
    ) -> Result<(), Problem> {
        let found = self.arrays.node()?;
        validity(&mut self.arrays, found)?;
        let ends = ints(self.arrays.buffer()?, ends, found.length)?;
        let mut end = 0;
        for run in 0..ends.len() {
            let next = ends.place(run).map_err(|_| Problem::Runs)?;
            if next <= end {
                return Err(Problem::Runs);
            }
            end = next;
        }
        let length = self.arrays.peek()?.length;
        if end < node.length || length != ends.len() {
            return Err(Problem::Runs);
        }
        let step = Step::Run { ends, length };
        let links: Vec<_> =
            links.iter().map(|before| Some(self.columns.link(*before, step))).collect();
        let node = self.arrays.node()?;
        match &values.kind {
            OpKind::Scalar(kind) => {
                let (validity, leaf) =
                    scalar(&mut self.arrays, *kind, node, &mut self.columns.data)?;
                let links = self.valid(&links, validity);
                self.end(&op.wants, &links, leaf);
            }
            OpKind::Keys(kind, dictionary) => {
                let validity = validity(&mut self.arrays, node)?;
                let keys = ints(self.arrays.buffer()?, *kind, node.length)?;
                let links = self.valid(&links, validity);
                self.end(&op.wants, &links, Leaf::Keys(keys, *dictionary));
            }
            OpKind::Struct(_)
            | OpKind::List { .. }
            | OpKind::FixedList { .. }
            | OpKind::Map { .. }
            | OpKind::Runs { .. }
            | OpKind::Closed { .. } => unreachable!("values of runs have none inside"),
        }
        Ok(())
    }

    /// Finds the array inside of lists or maps, to whose elements `step` leads.
    fn inside(
        &mut self,
        item: &'a Item,
        around: Links<'_>,
        step: impl Fn(&'a Via, usize) -> Step<'a>,
    ) -> Result<(), Problem> {
        match item {
            Item::Skip(extent) => self.arrays.skip(*extent).map(|_| ()),
            Item::Read(op) => {
                let length = self.arrays.peek()?.length;
                let wants = op.wants.iter();
                let links: Vec<_> = wants
                    .map(|it| Some(self.columns.link(around[it.around], step(&it.via, length))))
                    .collect();
                self.op(op, &links)
            }
        }
    }

    /// Leads on to the elements that are not null.
    fn valid<'l>(
        &mut self,
        links: Links<'l>,
        validity: Option<Bitmap<'a>>,
    ) -> Cow<'l, [Option<usize>]> {
        let Some(bits) = validity else { return Cow::Borrowed(links) };
        let links = links.iter().map(|before| Some(self.columns.link(*before, Step::Valid(bits))));
        Cow::Owned(links.collect())
    }

    /// Leaves an array where paths end, and says of paths into values of another kind that they
    /// find this one.
    fn end(&mut self, wants: &[Want], links: Links<'_>, leaf: Leaf<'a>) {
        for (Want { node: want, .. }, link) in wants.iter().zip(links) {
            let (want, link) = (*want, *link);
            let node = self.trie.node(want);
            if let Some(slot) = node.slot {
                self.columns.set(slot, Column { link, leaf });
            }
            if !node.is_inner() {
                continue;
            }
            for (slots, expected) in
                [(&node.key_slots, Kind::Record), (&node.element_slots, Kind::Array)]
            {
                let Some(leaf) = blocked(leaf, want, expected) else { continue };
                slots.clone().for_each(|slot| self.columns.set(slot, Column { link, leaf }));
            }
        }
    }
}

/// Returns what a path finds that expects another kind of value than the array has.
fn blocked(leaf: Leaf<'_>, want: usize, expected: Kind) -> Option<Leaf<'_>> {
    let found = match leaf {
        Leaf::Nothing => return None,
        Leaf::Keys(keys, dictionary) => {
            return Some(Leaf::BlockedKeys { keys, dictionary, want, expected });
        }
        Leaf::BlockedKeys { .. } | Leaf::Blocked { .. } => return Some(leaf),
        Leaf::Other(kind) => kind,
        Leaf::Boolean(_) => Kind::Boolean,
        Leaf::Whole(..) | Leaf::Half(_) | Leaf::Float(_) | Leaf::Double(_) | Leaf::Decimal(_) => {
            Kind::Number
        }
        Leaf::Text(_) => Kind::Text,
    };
    (found != expected).then_some(Leaf::Blocked { want, expected, found })
}

/// Takes the buffers of an array without others inside.
fn scalar<'a>(
    arrays: &mut Arrays<'a>,
    kind: Scalar,
    node: Node,
    data: &mut Vec<&'a [u8]>,
) -> Result<(Option<Bitmap<'a>>, Leaf<'a>), Problem> {
    if kind == Scalar::Null {
        return Ok((None, Leaf::Nothing));
    }
    let views = match kind {
        Scalar::TextViews | Scalar::OpaqueViews => arrays.view_buffers()?,
        Scalar::Null
        | Scalar::Boolean
        | Scalar::Whole(..)
        | Scalar::Half
        | Scalar::Float
        | Scalar::Double
        | Scalar::Decimal { .. }
        | Scalar::Text(_)
        | Scalar::Opaque { .. } => 0,
    };
    let validity = validity(arrays, node)?;
    let Node { length, nulls: _ } = node;
    let leaf = match kind {
        Scalar::Null => Leaf::Nothing,
        Scalar::Boolean => Leaf::Boolean(bits(arrays.buffer()?, length)?),
        Scalar::Whole(kind, meaning) => Leaf::Whole(ints(arrays.buffer()?, kind, length)?, meaning),
        Scalar::Half => Leaf::Half(fixed(arrays.buffer()?, length)?),
        Scalar::Float => Leaf::Float(fixed(arrays.buffer()?, length)?),
        Scalar::Double => Leaf::Double(fixed(arrays.buffer()?, length)?),
        Scalar::Decimal { width, scale } => {
            let bytes = length.checked_mul(width).ok_or(Problem::Buffer)?;
            let bytes = arrays.buffer()?.get(..bytes).ok_or(Problem::Buffer)?;
            Leaf::Decimal(Decimals { bytes, width, scale })
        }
        Scalar::Text(width) => {
            let offsets = offsets(arrays.buffer()?, width, length)?;
            Leaf::Text(Texts::Plain { offsets, data: arrays.buffer()? })
        }
        Scalar::TextViews => {
            let (found, first) = (fixed(arrays.buffer()?, length)?, data.len());
            for _ in 0..views {
                data.push(arrays.buffer()?);
            }
            Leaf::Text(Texts::Views { views: found, first, count: views })
        }
        Scalar::Opaque { buffers } => {
            (1..buffers).try_for_each(|_| arrays.buffer().map(|_| ()))?;
            Leaf::Other(Kind::Bytes)
        }
        Scalar::OpaqueViews => {
            (0..=views).try_for_each(|_| arrays.buffer().map(|_| ()))?;
            Leaf::Other(Kind::Bytes)
        }
    };
    Ok((validity, leaf))
}

/// Takes the bits that say what is null, and counts them.
fn validity<'a>(arrays: &mut Arrays<'a>, node: Node) -> Result<Option<Bitmap<'a>>, Problem> {
    let buffer = arrays.buffer()?;
    if node.nulls == 0 {
        return Ok(None);
    }
    let bits = bits(buffer, node.length)?;
    let (whole, rest) = (node.length / 8, node.length % 8);
    let ones = |byte: u8| usize::try_from(byte.count_ones()).unwrap_or(0);
    let mut valid: usize = bits.0[..whole].iter().map(|byte| ones(*byte)).sum();
    if 0 < rest {
        valid += ones(bits.0[whole] & ((1 << rest) - 1));
    }
    if node.length - valid == node.nulls { Ok(Some(bits)) } else { Err(Problem::Nulls) }
}

fn bits(buffer: &[u8], length: usize) -> Result<Bitmap<'_>, Problem> {
    buffer.get(..length.div_ceil(8)).map(Bitmap).ok_or(Problem::Buffer)
}

fn fixed<const N: usize>(buffer: &[u8], length: usize) -> Result<&[[u8; N]], Problem> {
    buffer.as_chunks().0.get(..length).ok_or(Problem::Buffer)
}

fn ints(buffer: &[u8], kind: IntType, length: usize) -> Result<Ints<'_>, Problem> {
    Ok(match kind {
        IntType::I8 => Ints::I8(fixed(buffer, length)?),
        IntType::I16 => Ints::I16(fixed(buffer, length)?),
        IntType::I32 => Ints::I32(fixed(buffer, length)?),
        IntType::I64 => Ints::I64(fixed(buffer, length)?),
        IntType::U8 => Ints::U8(fixed(buffer, length)?),
        IntType::U16 => Ints::U16(fixed(buffer, length)?),
        IntType::U32 => Ints::U32(fixed(buffer, length)?),
        IntType::U64 => Ints::U64(fixed(buffer, length)?),
    })
}

/// Takes offsets, of which there is one more than elements, or none at all of no elements.
fn offsets(buffer: &[u8], width: Width, length: usize) -> Result<Offsets<'_>, Problem> {
    let count = if length == 0 { 0 } else { length.checked_add(1).ok_or(Problem::Buffer)? };
    Ok(match width {
        Width::Small => Offsets::Small(fixed(buffer, count)?),
        Width::Large => Offsets::Large(fixed(buffer, count)?),
    })
}
