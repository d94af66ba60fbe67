//! Compiles the fields of a writer's schema together with the paths of a source.
//!
//! Before: [`super::shape`] tells the types of fields, [`crate::decode::trie`] the paths. After:
//! [`super::locate`] runs the program over the arrays of a record batch, in their order, and
//! [`super::inflate`] over its buffers. A record is a row: the children of the root are columns.

use arrow::ipc;

use super::framing::{Head, body_bytes};
use super::problem::Problem;
use super::shape::{
    Extent, IntType, Scalar, Shape, Width, child, children, extent, needs_v5, pair, shape,
    value_shape,
};
use super::value::Kind;
use crate::decode::trie::Trie;

/// What to do with the arrays of a record batch.
#[derive(Debug)]
pub(super) struct Program {
    pub(super) head: Head,
    pub(super) columns: Vec<Item>,
    /// The dictionaries that columns ask for: their numbers, and what their values are.
    pub(super) dictionaries: Vec<(i64, Scalar)>,
}

/// What to do with a field.
#[derive(Debug)]
pub(super) enum Item {
    Skip(Extent),
    Read(Op),
}

/// What to do with the array of a field that paths end at or lead through.
#[derive(Debug)]
pub(super) struct Op {
    pub(super) wants: Vec<Want>,
    pub(super) kind: OpKind,
}

/// A value that a path ends at or leads through.
#[derive(Debug)]
pub(super) struct Want {
    /// The node of the tree.
    pub(super) node: usize,
    /// Which of the wants of the array around it this one is inside of.
    pub(super) around: usize,
    pub(super) via: Via,
}

/// How a value lies in the one around it.
#[derive(Debug)]
pub(super) enum Via {
    Field,
    Element(usize),
    Entry(Box<str>),
}

#[derive(Debug)]
pub(super) enum OpKind {
    Scalar(Scalar),
    /// Places in the dictionary of this index.
    Keys(IntType, usize),
    Struct(Vec<Item>),
    List {
        width: Width,
        element: Box<Item>,
    },
    FixedList {
        size: usize,
        element: Box<Item>,
    },
    /// Its keys are such texts.
    Map {
        keys: Scalar,
        value: Box<Item>,
    },
    Runs {
        ends: IntType,
        values: Box<Op>,
    },
    /// What no path leads into, and whether its array says where it is null.
    Closed {
        kind: Kind,
        has_nulls: bool,
        rest: Extent,
    },
}

impl Program {
    /// Compiles the message that has a schema for the paths inside of a record.
    pub(super) fn of_message(message: &ipc::Message<'_>, trie: &Trie) -> Result<Self, Problem> {
        let schema = message.header_as_schema().ok_or(Problem::NoSchema)?;
        let mut program = Self::compile(&schema, trie)?;
        program.head.body = body_bytes(message)?;
        Ok(program)
    }

    /// Compiles a schema for the paths inside of a record.
    pub(super) fn compile(schema: &ipc::Schema<'_>, trie: &Trie) -> Result<Self, Problem> {
        if schema.endianness() != ipc::Endianness::Little {
            return Err(Problem::Endianness);
        }
        let mut compiler =
            Compiler { trie, is_taken: vec![false; trie.nodes()], dictionaries: Vec::new() };
        let fields = schema.fields().ok_or(Problem::Field)?;
        let fields = (0..fields.len()).map(|at| fields.get(at));
        let needs_v5 = fields.clone().any(|it| needs_v5(&it));
        let version_min =
            if needs_v5 { ipc::MetadataVersion::V5 } else { ipc::MetadataVersion::V4 };
        let columns = compiler.children(fields, &[Trie::ROOT])?;
        let head = Head { version_min, body: 0 };
        Ok(Self { head, columns, dictionaries: compiler.dictionaries })
    }
}

struct Compiler<'t> {
    trie: &'t Trie,
    /// The nodes whose field was found: of fields with one name the last counts, as of keys.
    is_taken: Vec<bool>,
    dictionaries: Vec<(i64, Scalar)>,
}

impl Compiler<'_> {
    fn children<'a>(
        &mut self,
        fields: impl DoubleEndedIterator<Item = ipc::Field<'a>>,
        nodes: &[usize],
    ) -> Result<Vec<Item>, Problem> {
        let mut items = Vec::new();
        for field in fields.rev() {
            let name = field.name().unwrap_or_default();
            let mut wants = Vec::new();
            for (around, node) in nodes.iter().enumerate() {
                if let Some((_, node)) = self.trie.node(*node).child(name, 0)
                    && !std::mem::replace(&mut self.is_taken[node], true)
                {
                    wants.push(Want { node, around, via: Via::Field });
                }
            }
            items.push(self.item(&field, wants)?);
        }
        items.reverse();
        Ok(merged(items))
    }

    fn item(&mut self, field: &ipc::Field<'_>, wants: Vec<Want>) -> Result<Item, Problem> {
        if wants.is_empty() {
            return extent(field).map(Item::Skip);
        }
        self.op(field, wants).map(Item::Read)
    }

    fn op(&mut self, field: &ipc::Field<'_>, wants: Vec<Want>) -> Result<Op, Problem> {
        let nodes: Vec<usize> = wants.iter().map(|want| want.node).collect();
        let kind = match shape(field)? {
            Shape::Scalar(scalar) => OpKind::Scalar(scalar),
            Shape::Dictionary { keys, id } => match value_shape(field)? {
                Shape::Scalar(values) => OpKind::Keys(keys, self.dictionary(id, values)?),
                Shape::Dictionary { .. }
                | Shape::Struct
                | Shape::List(_)
                | Shape::FixedList { .. }
                | Shape::ListViews
                | Shape::Map
                | Shape::Runs
                | Shape::Union { .. } => closed(field, Kind::Encoded)?,
            },
            Shape::Struct => OpKind::Struct(self.children(children(field), &nodes)?),
            Shape::List(width) => {
                OpKind::List { width, element: Box::new(self.element(field, &nodes)?) }
            }
            Shape::FixedList { size } => {
                OpKind::FixedList { size, element: Box::new(self.element(field, &nodes)?) }
            }
            Shape::Map => self.map(field, &nodes)?,
            Shape::Runs => self.runs(field)?,
            Shape::ListViews => closed(field, Kind::Views)?,
            Shape::Union { .. } => closed(field, Kind::Union)?,
        };
        Ok(Op { wants, kind })
    }

    fn element(&mut self, field: &ipc::Field<'_>, nodes: &[usize]) -> Result<Item, Problem> {
        let mut wants = Vec::new();
        for (around, node) in nodes.iter().enumerate() {
            for (index, node) in &self.trie.node(*node).elements {
                wants.push(Want { node: *node, around, via: Via::Element(*index) });
            }
        }
        self.item(&child(field)?, wants)
    }

    fn map(&mut self, field: &ipc::Field<'_>, nodes: &[usize]) -> Result<OpKind, Problem> {
        let entries = child(field)?;
        if shape(&entries)? != Shape::Struct {
            return Err(Problem::Field);
        }
        let [key, value] = pair(&entries)?;
        let Shape::Scalar(keys @ (Scalar::Text(_) | Scalar::TextViews)) = shape(&key)? else {
            return closed(field, Kind::KeylessMap);
        };
        let mut wants = Vec::new();
        for (around, node) in nodes.iter().enumerate() {
            for (key, node) in self.trie.node(*node).keys() {
                wants.push(Want { node, around, via: Via::Entry(key.into()) });
            }
        }
        Ok(OpKind::Map { keys, value: Box::new(self.item(&value, wants)?) })
    }

    /// Compiles runs of values that have no others inside.
    fn runs(&mut self, field: &ipc::Field<'_>) -> Result<OpKind, Problem> {
        let [ends, values] = pair(field)?;
        let Shape::Scalar(Scalar::Whole(ends, _)) = shape(&ends)? else {
            return Err(Problem::Field);
        };
        // Those of a dictionary may have others inside too.
        let kinds = match shape(&values)? {
            Shape::Dictionary { .. } => value_shape(&values)?,
            kinds @ (Shape::Scalar(_)
            | Shape::Struct
            | Shape::List(_)
            | Shape::FixedList { .. }
            | Shape::ListViews
            | Shape::Map
            | Shape::Runs
            | Shape::Union { .. }) => kinds,
        };
        match kinds {
            Shape::Scalar(_) => {
                let values = Box::new(self.op(&values, Vec::new())?);
                Ok(OpKind::Runs { ends, values })
            }
            Shape::Dictionary { .. }
            | Shape::Struct
            | Shape::List(_)
            | Shape::FixedList { .. }
            | Shape::ListViews
            | Shape::Map
            | Shape::Runs
            | Shape::Union { .. } => closed(field, Kind::Encoded),
        }
    }

    /// Returns the index of a dictionary.
    fn dictionary(&mut self, id: i64, values: Scalar) -> Result<usize, Problem> {
        match self.dictionaries.iter().position(|(known, _)| *known == id) {
            Some(at) if self.dictionaries[at].1 == values => Ok(at),
            Some(_) => Err(Problem::Dictionaries),
            None => {
                self.dictionaries.push((id, values));
                Ok(self.dictionaries.len() - 1)
            }
        }
    }
}

fn closed(field: &ipc::Field<'_>, kind: Kind) -> Result<OpKind, Problem> {
    let Extent { arrays, buffers, views } = extent(field)?;
    let has_nulls = !matches!(shape(field)?, Shape::Runs | Shape::Union { .. });
    let buffers = buffers - usize::from(has_nulls);
    let rest = Extent { arrays: arrays - 1, buffers, views };
    Ok(OpKind::Closed { kind, has_nulls, rest })
}

/// Makes one of fields that are passed over one after the other.
fn merged(items: Vec<Item>) -> Vec<Item> {
    let mut merged: Vec<Item> = Vec::new();
    for item in items {
        match (merged.last_mut(), item) {
            (Some(Item::Skip(before)), Item::Skip(next)) => *before = before.and(next),
            (Some(Item::Skip(_) | Item::Read(_)) | None, item) => merged.push(item),
        }
    }
    merged
}
