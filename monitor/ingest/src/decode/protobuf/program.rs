//! A program for messages of one type: its descriptor and what is wanted, compiled together, so
//! that reading a message looks up no name of a field.
//!
//! Before: [`super::compile`] makes it. After: [`super::walk`] runs it. Nothing of the schema is
//! kept but what the paths lead through: unwanted fields are passed over without it. A node of the
//! wanted tree meets one type at most, and is one operation.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use super::compile;
use super::schema::{FieldKind, MessageId, ProtobufSchema, ScalarKind};
use super::wire::{Form, Head, Tag};
use crate::decode::programs::ProgramTooLarge;
use crate::decode::typed::value::{Number, Text, Value, WholeMeaning};
use crate::schema::SourceSchema;

/// Fields of lower numbers are found by their number, others by search.
const NEAR: usize = 256;

/// How messages of one type are read for one source. Compiled once, shared by the decoders of all
/// partitions.
#[derive(Debug)]
pub struct ProtobufProgram {
    pub(super) ops: Vec<Op>,
    /// For each operation what it and those below it leave behind.
    pub(super) extents: Vec<Extent>,
    pub(super) enums: Vec<Symbols>,
    /// All symbols of the enums that are wanted, one behind the other.
    pub(super) symbols: String,
    pub(super) message: Tree,
    /// For each list of the wanted tree how its elements are read, where the type has it.
    pub(super) lists: Vec<Option<List>>,
    /// How paths begin that lead to a field which the types do not have.
    pub(in crate::decode) unknown_paths: Box<[Box<str>]>,
}

/// How one tree of paths is read: that of the message, or that of a list's elements.
#[derive(Debug, Default)]
pub(super) struct Tree {
    pub(super) root: usize,
    /// How many flags and repeated fields there are.
    pub(super) flags: usize,
    pub(super) repeated: usize,
    pub(super) required: Vec<Required>,
}

/// A list of rows: which repeated field it is, and how each element is read.
#[derive(Debug)]
pub(super) struct List {
    pub(super) repeated: usize,
    /// The tag of an element that lies alone.
    pub(super) tag: Tag,
    pub(super) element: Tree,
}

/// A field that a message has not to be without.
#[derive(Debug)]
pub(super) struct Required {
    /// Flags that say that the message and the field are there.
    pub(super) message: usize,
    pub(super) field: usize,
    pub(super) path: String,
}

/// What an operation and those below it leave behind.
#[derive(Clone, Debug, Default)]
pub(super) struct Extent {
    pub(super) slot: Option<usize>,
    pub(super) inside: Range<usize>,
    pub(super) flags: Range<usize>,
    pub(super) repeated: Range<usize>,
}

/// What to do with a value. Numbers are indexes: of operations, flags, nodes of the wanted tree.
#[derive(Debug)]
pub(super) enum Op {
    Scalar(ScalarOp),
    Message(MessageOp),
    Repeated(RepeatedOp),
    Map(MapOp),
    Json(JsonOp),
}

#[derive(Clone, Copy, Debug)]
pub(super) struct ScalarOp {
    pub(super) want: usize,
    pub(super) scalar: Scalar,
    pub(super) slot: Option<usize>,
    /// Whether paths lead on, which find nothing.
    pub(super) is_inner: bool,
}

#[derive(Debug)]
pub(super) struct MessageOp {
    pub(super) slot: Option<usize>,
    pub(super) own: Own,
    pub(super) fields: Fields,
    /// The flag that says that the message is there.
    pub(super) flag: usize,
    /// What the slots inside hold when the message is there and empty.
    pub(super) inside: Range<usize>,
    pub(super) empty: Box<[Value]>,
}

/// What a message is where a path ends at it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Own {
    /// Nothing that a column takes.
    Message,
    /// The value of its only field.
    Wrapper(Scalar),
    /// A point in time.
    Time,
}

#[derive(Debug)]
pub(super) struct RepeatedOp {
    pub(super) repeated: usize,
    /// How an element lies in the bytes, and whether several may lie there as one value.
    pub(super) form: Form,
    pub(super) is_packed: bool,
    /// Wanted elements by their index.
    pub(super) elements: Box<[(usize, usize)]>,
    pub(super) is_list: bool,
}

#[derive(Debug)]
pub(super) struct MapOp {
    pub(super) want: usize,
    pub(super) key: ScalarKind,
    pub(super) key_form: Form,
    pub(super) value_form: Form,
    /// Operations by the position of the key in the wanted node.
    pub(super) entries: Box<[usize]>,
    /// Keys that are no text, each with its operation.
    pub(super) numbers: BTreeMap<i128, usize>,
}

/// A message that says only in the bytes what is in it.
#[derive(Debug)]
pub(super) struct JsonOp {
    pub(super) want: usize,
    pub(super) shape: Shape,
    pub(super) slot: Option<usize>,
    /// Flags that say that it is an object, and a list.
    pub(super) object: usize,
    pub(super) list: usize,
    /// Operations by the position of the key in the wanted node.
    pub(super) keys: Box<[usize]>,
    /// Wanted elements by their index, and where all of them are.
    pub(super) elements: Box<[(usize, usize)]>,
    pub(super) repeated: usize,
    /// The slot that says that the list is there of which each element is a row.
    pub(super) rows: Option<usize>,
}

/// What such a message can be.
#[derive(Clone, Copy, Debug)]
pub(super) enum Shape {
    /// `google.protobuf.Struct`.
    Object,
    /// `google.protobuf.ListValue`.
    List,
    /// `google.protobuf.Value`: any of JSON.
    Value,
}

/// How a value is read that has no others inside.
#[derive(Clone, Copy, Debug)]
pub(super) enum Scalar {
    Plain(ScalarKind),
    /// Index of its symbols.
    Enum(usize),
}

/// The symbols of an enum.
#[derive(Debug)]
pub(super) struct Symbols {
    pub(super) first: i32,
    /// By number, where each is in the program's text.
    pub(super) places: Box<[(i32, Range<usize>)]>,
}

impl Symbols {
    pub(super) fn value(&self, number: i32) -> Value {
        let found = self.places.binary_search_by_key(&number, |(number, _)| *number);
        Value::Text(match found {
            Ok(at) => {
                let Range { start, end } = self.places[at].1;
                Text::Symbol { start, end }
            }
            Err(_) => Text::Unnamed(number),
        })
    }
}

/// What to do with a field.
#[derive(Debug)]
pub(super) struct FieldOp {
    /// What comes before it, and how that is mostly written.
    pub(super) tag: Tag,
    pub(super) head: Head,
    pub(super) is_packed: bool,
    /// How it is read if it is one value that nothing else depends on, and the slot for it.
    pub(super) plain: Option<(Scalar, usize)>,
    /// The first is mostly the only one.
    pub(super) op: Option<usize>,
    pub(super) others: Box<[usize]>,
    /// The other fields of the same group of which one at most is there.
    pub(super) rivals: Box<[usize]>,
    /// The flag of a field that is required.
    pub(super) flag: Option<usize>,
}

/// The fields of a message of which something is wanted.
#[derive(Debug, Default)]
pub(super) struct Fields {
    /// Sorted by number.
    all: Box<[FieldOp]>,
    /// For numbers below [`NEAR`] the position in `all`, and one more.
    near: Box<[u16]>,
}

impl Fields {
    pub(super) fn new(mut all: Vec<FieldOp>) -> Self {
        all.sort_unstable_by_key(|field| field.tag.number);
        let mut near = Vec::new();
        let numbers = all.iter().map(|field| field.tag.number as usize);
        for (position, number) in (1..).zip(numbers.take_while(|number| *number < NEAR)) {
            near.resize(number + 1, 0);
            near[number] = position;
        }
        Self { all: all.into(), near: near.into() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Returns a field by its position, in the order of the numbers.
    pub(super) fn at(&self, position: usize) -> Option<&FieldOp> {
        self.all.get(position)
    }

    /// Returns the position of the field of a number.
    pub(super) fn find(&self, number: u32) -> Option<usize> {
        if let Some(position) = self.near.get(number as usize) {
            return usize::from(*position).checked_sub(1);
        }
        self.all.binary_search_by_key(&number, |field| field.tag.number).ok()
    }
}

impl ProtobufProgram {
    /// Compiles the reading of the source's paths in messages of a type of the schema.
    pub fn compile(
        source: &SourceSchema,
        schema: &ProtobufSchema,
        message: MessageId,
    ) -> Result<Arc<Self>, ProgramTooLarge> {
        compile::compile(source, schema, message).map(Arc::new)
    }

    /// Returns the value of a scalar field without bytes.
    pub(super) fn default_value(&self, scalar: Scalar) -> Value {
        default_value(&self.enums, scalar)
    }
}

pub(super) fn default_value(enums: &[Symbols], scalar: Scalar) -> Value {
    match scalar {
        Scalar::Enum(symbols) => enums[symbols].value(enums[symbols].first),
        Scalar::Plain(kind) => match kind {
            ScalarKind::Double => Value::Number(Number::Double(0.0)),
            ScalarKind::Float => Value::Number(Number::Float(0.0)),
            ScalarKind::Bool => Value::Boolean(false),
            ScalarKind::String | ScalarKind::Bytes => {
                Value::Text(Text::Payload { start: 0, end: 0 })
            }
            ScalarKind::Uint64 | ScalarKind::Fixed64 => Value::Number(Number::Unsigned(0)),
            ScalarKind::Int64
            | ScalarKind::Int32
            | ScalarKind::Fixed32
            | ScalarKind::Uint32
            | ScalarKind::Sfixed32
            | ScalarKind::Sfixed64
            | ScalarKind::Sint32
            | ScalarKind::Sint64 => Value::Number(Number::Whole(0, WholeMeaning::Number)),
        },
    }
}

impl Scalar {
    /// Returns how a value alone lies in the bytes.
    pub(super) fn form(self) -> Form {
        match self {
            Self::Plain(kind) => FieldKind::Scalar(kind).form(),
            Self::Enum(_) => Form::Varint,
        }
    }
}
