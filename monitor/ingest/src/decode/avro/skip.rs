//! Passes over values that nobody asked for.
//!
//! Before: [`super::walk`] comes to one. What has a known width is not looked at, nor what a block
//! says the length of; else only what tells how long a value is. So texts that are passed over
//! need not be UTF-8.

use super::bytes::{Block, Bytes, Malformed, Problem};
use super::schema::{AvroSchema, Shape};

/// Values inside of values that are passed over, at most: types may hold themselves, and each level
/// takes stack.
const DEPTH_MAX: usize = 256;

/// Passes over one value.
pub(super) fn skip(
    schema: &AvroSchema,
    node: usize,
    bytes: &mut Bytes<'_>,
) -> Result<(), Malformed> {
    Skip { schema, bytes }.value(node, 0)
}

/// Passes over consecutive fields of a record.
pub(super) fn skip_fields(
    schema: &AvroSchema,
    fields: &[(Box<str>, usize)],
    bytes: &mut Bytes<'_>,
) -> Result<(), Malformed> {
    let mut skip = Skip { schema, bytes };
    fields.iter().try_for_each(|(_, field)| skip.value(*field, 0))
}

/// Passes over so many items of an array.
pub(super) fn skip_items(
    schema: &AvroSchema,
    item: usize,
    items: usize,
    bytes: &mut Bytes<'_>,
) -> Result<(), Malformed> {
    Skip { schema, bytes }.items(item, items, 0)
}

/// Passes over a block of an array.
pub(super) fn skip_block(
    schema: &AvroSchema,
    item: usize,
    block: Block,
    bytes: &mut Bytes<'_>,
) -> Result<(), Malformed> {
    match block.end {
        Some(end) => bytes.go_to(end),
        None => skip_items(schema, item, block.items, bytes),
    }
}

struct Skip<'a, 'b> {
    schema: &'a AvroSchema,
    bytes: &'a mut Bytes<'b>,
}

impl Skip<'_, '_> {
    fn value(&mut self, node: usize, depth: usize) -> Result<(), Malformed> {
        if let Some(width) = self.schema.width(node) {
            return self.bytes.take(width).map(|_| ());
        }
        if depth == DEPTH_MAX {
            return Err(self.bytes.malformed(Problem::Depth));
        }
        match self.schema.shape(node) {
            Shape::Int(_) => self.bytes.int().map(|_| ()),
            Shape::Long(_) => self.bytes.long().map(|_| ()),
            Shape::Bytes(_) | Shape::String => self.bytes.counted().map(|_| ()),
            Shape::Enum { name: _, symbols } => {
                self.bytes.index(symbols.len(), Problem::Symbol).map(|_| ())
            }
            Shape::Array(item) => self.array(*item, depth + 1),
            Shape::Map(value) => self.map(*value, depth + 1),
            Shape::Union(branches) => {
                let branch = self.bytes.index(branches.len(), Problem::Branch)?;
                self.value(branches[branch], depth + 1)
            }
            Shape::Record { name: _, fields } => {
                fields.iter().try_for_each(|(_, field)| self.value(*field, depth + 1))
            }
            Shape::Null | Shape::Boolean | Shape::Float | Shape::Double | Shape::Fixed { .. } => {
                unreachable!("its width is known")
            }
        }
    }

    fn array(&mut self, item: usize, depth: usize) -> Result<(), Malformed> {
        while let Some(block) = self.bytes.block()? {
            match block.end {
                Some(end) => self.bytes.go_to(end)?,
                None => self.items(item, block.items, depth)?,
            }
        }
        Ok(())
    }

    fn map(&mut self, value: usize, depth: usize) -> Result<(), Malformed> {
        while let Some(block) = self.bytes.block()? {
            if let Some(end) = block.end {
                self.bytes.go_to(end)?;
                continue;
            }
            for _ in 0..block.items {
                self.bytes.counted()?;
                self.value(value, depth)?;
            }
        }
        Ok(())
    }

    /// Items without a width have a byte each, so that there are no more than bytes.
    fn items(&mut self, item: usize, items: usize, depth: usize) -> Result<(), Malformed> {
        if let Some(width) = self.schema.width(item) {
            let bytes = items.checked_mul(width);
            let bytes = bytes.ok_or(self.bytes.malformed(Problem::Length))?;
            return self.bytes.take(bytes).map(|_| ());
        }
        (0..items).try_for_each(|_| self.value(item, depth))
    }
}
