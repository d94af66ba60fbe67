//! A program for messages of one writer: its schema and what is wanted, compiled together, so that
//! reading a message looks up no name of a field.
//!
//! Before: [`crate::decode::trie`] and [`super::schema`]. After: [`super::walk`] runs it. A type of
//! the schema is compiled once for each node of the wanted tree that meets it, so recursive types
//! end where the paths do.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use super::schema::{AvroSchema, BytesMeaning, Shape};
use crate::decode::plan::Plan;
use crate::decode::programs::{OPS_MAX, ProgramTooLarge, SYMBOL_BYTES_MAX, UnknownPaths};
use crate::decode::trie::{Node, Trie};
use crate::decode::typed::value::{Kind, WholeMeaning};
use crate::schema::SourceSchema;

/// How messages of one writer are read for one source. Compiled once, shared by the decoders of all
/// partitions.
#[derive(Debug)]
pub struct AvroProgram {
    pub(super) schema: AvroSchema,
    pub(super) ops: Vec<Op>,
    pub(super) root: usize,
    /// All symbols of the enums that are wanted, one behind the other.
    pub(super) symbols: String,
    /// How paths begin that lead to a field which no record has.
    pub(in crate::decode) unknown_paths: Box<[Box<str>]>,
}

/// What to do with the next value. Numbers are indexes: of operations, or of the schema's types.
#[derive(Debug)]
pub(super) enum Op {
    /// Nothing: null has no bytes.
    Null,
    Scalar {
        want: usize,
        scalar: Scalar,
        /// The slot for it, if no path leads on.
        plain: Option<usize>,
    },
    Record {
        want: usize,
        record: usize,
        fields: Box<[FieldOp]>,
    },
    Map {
        want: usize,
        value: usize,
        entries: BTreeMap<Box<str>, usize>,
    },
    Array {
        want: usize,
        item: usize,
        elements: Box<[(usize, usize)]>,
        list: Option<ListOp>,
    },
    Union {
        branches: Box<[usize]>,
    },
}

/// A wanted field, and how many fields before it nobody wants.
#[derive(Debug)]
pub(super) struct FieldOp {
    pub(super) field: usize,
    pub(super) op: usize,
}

/// A list of rows, and how each of its elements is read.
#[derive(Clone, Copy, Debug)]
pub(super) struct ListOp {
    pub(super) list: usize,
    pub(super) op: usize,
}

/// How a value is read that has no others inside.
#[derive(Debug)]
pub(super) enum Scalar {
    Boolean,
    Int(WholeMeaning),
    Long(WholeMeaning),
    Float,
    Double,
    Text,
    Bytes(BytesMeaning),
    Fixed(usize, BytesMeaning),
    /// Where each symbol is in the program's text.
    Enum(Box<[Range<usize>]>),
}

impl Scalar {
    /// Returns the kind of the value that is read.
    pub(super) fn kind(&self) -> Kind {
        match self {
            Self::Boolean => Kind::Boolean,
            Self::Int(_) | Self::Long(_) | Self::Float | Self::Double => Kind::Number,
            Self::Text | Self::Enum(_) => Kind::Text,
            Self::Bytes(meaning) | Self::Fixed(_, meaning) => match meaning {
                BytesMeaning::Bytes => Kind::Bytes,
                BytesMeaning::Decimal { .. } => Kind::Number,
                BytesMeaning::Uuid => Kind::Text,
            },
        }
    }
}

impl AvroProgram {
    /// Compiles the reading of the source's paths in messages with the writer's schema.
    pub fn compile(
        source: &SourceSchema,
        writer: AvroSchema,
    ) -> Result<Arc<Self>, ProgramTooLarge> {
        let plan = Plan::new(source);
        let mut compiler = Compiler {
            schema: &writer,
            trie: &plan.trie,
            list: None,
            ops: Vec::new(),
            size: 0,
            symbols: String::new(),
            known: BTreeMap::new(),
            unknown: UnknownPaths::default(),
        };
        let root = compiler.op(Trie::ROOT, writer.root)?;
        let Compiler { ops, symbols, unknown, .. } = compiler;
        let unknown_paths = unknown.into_paths();
        Ok(Arc::new(Self { ops, root, symbols, unknown_paths, schema: writer }))
    }

    pub(super) fn op(&self, op: usize) -> &Op {
        &self.ops[op]
    }

    /// Returns the fields of a record.
    pub(super) fn fields(&self, record: usize) -> &[(Box<str>, usize)] {
        fields(&self.schema, record)
    }
}

fn fields(schema: &AvroSchema, record: usize) -> &[(Box<str>, usize)] {
    match schema.shape(record) {
        Shape::Record { name: _, fields } => fields,
        Shape::Null
        | Shape::Boolean
        | Shape::Int(_)
        | Shape::Long(_)
        | Shape::Float
        | Shape::Double
        | Shape::Bytes(_)
        | Shape::String
        | Shape::Fixed { .. }
        | Shape::Enum { .. }
        | Shape::Array(_)
        | Shape::Map(_)
        | Shape::Union(_) => unreachable!("an operation of a record is of a record"),
    }
}

struct Compiler<'a> {
    schema: &'a AvroSchema,
    /// The tree that is compiled, and the list whose elements it is of.
    trie: &'a Trie,
    list: Option<usize>,
    ops: Vec<Op>,
    /// Operations, and what they list.
    size: usize,
    symbols: String,
    /// Operations by list, wanted node and type.
    known: BTreeMap<(Option<usize>, usize, usize), usize>,
    unknown: UnknownPaths,
}

type Compiled<T> = Result<T, ProgramTooLarge>;

impl<'a> Compiler<'a> {
    /// Returns the operation that reads a type for a node of the tree.
    fn op(&mut self, want: usize, node: usize) -> Compiled<usize> {
        let key = (self.list, want, node);
        if let Some(&known) = self.known.get(&key) {
            return Ok(known);
        }
        let op = self.compile(want, node)?;
        let op = self.add(op)?;
        self.known.insert(key, op);
        Ok(op)
    }

    fn add(&mut self, op: Op) -> Compiled<usize> {
        self.grow(1)?;
        self.ops.push(op);
        Ok(self.ops.len() - 1)
    }

    fn grow(&mut self, by: usize) -> Compiled<()> {
        self.size += by;
        if self.size <= OPS_MAX { Ok(()) } else { Err(ProgramTooLarge) }
    }

    fn compile(&mut self, want: usize, node: usize) -> Compiled<Op> {
        let schema = self.schema;
        let scalar = match schema.shape(node) {
            Shape::Null => return Ok(Op::Null),
            Shape::Boolean => Scalar::Boolean,
            Shape::Int(meaning) => Scalar::Int(*meaning),
            Shape::Long(meaning) => Scalar::Long(*meaning),
            Shape::Float => Scalar::Float,
            Shape::Double => Scalar::Double,
            Shape::String => Scalar::Text,
            Shape::Bytes(meaning) => Scalar::Bytes(*meaning),
            Shape::Fixed { name: _, size, meaning } => Scalar::Fixed(*size, *meaning),
            Shape::Enum { name: _, symbols } => Scalar::Enum(self.symbols(symbols)?),
            Shape::Union(branches) => {
                self.grow(branches.len())?;
                let branches = branches.iter().map(|branch| self.op(want, *branch));
                return Ok(Op::Union { branches: branches.collect::<Compiled<_>>()? });
            }
            Shape::Record { name: _, fields } => return self.record(want, node, fields),
            Shape::Map(value) => return self.map(want, *value),
            Shape::Array(item) => return self.array(want, *item),
        };
        let node = self.trie.node(want);
        Ok(Op::Scalar { want, scalar, plain: node.slot.filter(|_| !node.is_inner()) })
    }

    fn symbols(&mut self, symbols: &[Box<str>]) -> Compiled<Box<[Range<usize>]>> {
        self.grow(symbols.len())?;
        let mut places = Vec::with_capacity(symbols.len());
        for symbol in symbols {
            let start = self.symbols.len();
            self.symbols.push_str(symbol);
            places.push(start..self.symbols.len());
        }
        if SYMBOL_BYTES_MAX < self.symbols.len() {
            return Err(ProgramTooLarge);
        }
        Ok(places.into())
    }

    fn want(&self, want: usize) -> &'a Node {
        self.trie.node(want)
    }

    fn record(&mut self, want: usize, record: usize, fields: &[(Box<str>, usize)]) -> Compiled<Op> {
        let wanted = self.want(want);
        let mut ops = Vec::new();
        for (field, (name, node)) in fields.iter().enumerate() {
            let Some((_, child)) = wanted.child(name, 0) else { continue };
            self.grow(1)?;
            ops.push(FieldOp { field, op: self.op(child, *node)? });
        }
        for (key, child) in wanted.keys() {
            let is_known = fields.iter().any(|(name, _)| **name == *key);
            self.unknown.ask(&self.want(child).path, is_known);
        }
        Ok(Op::Record { want, record, fields: ops.into() })
    }

    fn map(&mut self, want: usize, value: usize) -> Compiled<Op> {
        let mut entries = BTreeMap::new();
        for (key, child) in self.want(want).keys() {
            self.grow(1)?;
            entries.insert(key.into(), self.op(child, value)?);
        }
        Ok(Op::Map { want, value, entries })
    }

    fn array(&mut self, want: usize, item: usize) -> Compiled<Op> {
        let Node { elements: wanted, list, .. } = self.want(want);
        let mut elements = Vec::new();
        for (index, child) in wanted {
            self.grow(1)?;
            elements.push((*index, self.op(*child, item)?));
        }
        let list = match *list {
            None => None,
            Some(list) => {
                let tree = self.trie;
                self.trie = &tree.lists()[list].element;
                // A path has one `[]`, so the tree of a list has no lists.
                self.list = Some(list);
                let op = self.op(Trie::ROOT, item)?;
                self.list = None;
                self.trie = tree;
                Some(ListOp { list, op })
            }
        };
        Ok(Op::Array { want, item, elements: elements.into(), list })
    }
}
