//! Compiles a message's type together with the wanted paths.
//!
//! Before: [`super::schema`] and [`crate::decode::trie`]. After: [`super::program`] is run.

use std::collections::BTreeMap;
use std::ops::Range;

use super::program::{
    Extent, FieldOp, Fields, JsonOp, List, MapOp, MessageOp, Op, Own, ProtobufProgram, RepeatedOp,
    Required, Scalar, ScalarOp, Shape, Symbols, Tree, default_value,
};
use super::schema::{Count, Field, FieldKind, MessageId, MessageType, ProtobufSchema, ScalarKind};
use super::wire::{Form, Head, Tag};
use crate::decode::plan::Plan;
use crate::decode::programs::{OPS_MAX, ProgramTooLarge, SYMBOL_BYTES_MAX, UnknownPaths};
use crate::decode::trie::{Node, Trie};
use crate::decode::typed::value::{Kind, Value};
use crate::schema::SourceSchema;

pub(super) fn compile(
    source: &SourceSchema,
    schema: &ProtobufSchema,
    message: MessageId,
) -> Compiled<ProtobufProgram> {
    let plan = Plan::new(source);
    let trie = &plan.trie;
    let lists = trie.lists().iter().map(|_| None).collect();
    let mut compiler = Compiler {
        schema,
        trie,
        tree: Tree::default(),
        size: 0,
        program: ProtobufProgram {
            ops: Vec::new(),
            extents: Vec::new(),
            enums: Vec::new(),
            symbols: String::new(),
            message: Tree::default(),
            lists,
            unknown_paths: Box::default(),
        },
        known_enums: BTreeMap::new(),
        unknown: UnknownPaths::default(),
    };
    compiler.tree.root = compiler.message(Trie::ROOT, message.0)?;
    let Compiler { tree, program, unknown, .. } = compiler;
    Ok(ProtobufProgram { message: tree, unknown_paths: unknown.into_paths(), ..program })
}

struct Compiler<'a> {
    schema: &'a ProtobufSchema,
    /// The tree that is compiled.
    trie: &'a Trie,
    tree: Tree,
    /// Operations, and what they list.
    size: usize,
    program: ProtobufProgram,
    known_enums: BTreeMap<usize, usize>,
    unknown: UnknownPaths,
}

type Compiled<T> = Result<T, ProgramTooLarge>;

impl<'a> Compiler<'a> {
    fn want(&self, want: usize) -> &'a Node {
        self.trie.node(want)
    }

    fn grow(&mut self, by: usize) -> Compiled<()> {
        self.size += by;
        if self.size <= OPS_MAX { Ok(()) } else { Err(ProgramTooLarge) }
    }

    /// Adds an operation for a node; what it leaves behind begins at these flags and fields.
    fn add(&mut self, want: usize, op: Op, from: (usize, usize)) -> Compiled<usize> {
        self.grow(1)?;
        let node = self.want(want);
        self.program.extents.push(Extent {
            slot: node.slot,
            inside: node.inside(),
            flags: from.0..self.tree.flags,
            repeated: from.1..self.tree.repeated,
        });
        self.program.ops.push(op);
        Ok(self.program.ops.len() - 1)
    }

    fn here(&self) -> (usize, usize) {
        (self.tree.flags, self.tree.repeated)
    }

    /// Returns the operation that reads a value alone.
    fn value(&mut self, want: usize, kind: FieldKind) -> Compiled<usize> {
        match kind {
            FieldKind::Message(message) | FieldKind::Group(message) => {
                match json_shape(self.schema.get(message)) {
                    Some(shape) if kind.form() == Form::Counted => self.json(want, shape),
                    Some(_) | None => self.message(want, message),
                }
            }
            FieldKind::Scalar(kind) => self.scalar(want, Scalar::Plain(kind)),
            FieldKind::Enum(index) => {
                let symbols = self.symbols(index)?;
                self.scalar(want, Scalar::Enum(symbols))
            }
        }
    }

    fn scalar(&mut self, want: usize, scalar: Scalar) -> Compiled<usize> {
        let node = self.want(want);
        let (slot, is_inner) = (node.slot, node.is_inner());
        let from = self.here();
        self.add(want, Op::Scalar(ScalarOp { want, scalar, slot, is_inner }), from)
    }

    fn symbols(&mut self, index: usize) -> Compiled<usize> {
        if let Some(known) = self.known_enums.get(&index) {
            return Ok(*known);
        }
        let schema = self.schema;
        let enumeration = schema.enum_type(index);
        self.grow(enumeration.symbols.len())?;
        let text = &mut self.program.symbols;
        let mut places = Vec::with_capacity(enumeration.symbols.len());
        for (number, symbol) in &enumeration.symbols {
            let start = text.len();
            text.push_str(symbol);
            places.push((*number, start..text.len()));
        }
        if SYMBOL_BYTES_MAX < text.len() {
            return Err(ProgramTooLarge);
        }
        self.program.enums.push(Symbols { first: enumeration.first, places: places.into() });
        let symbols = self.program.enums.len() - 1;
        self.known_enums.insert(index, symbols);
        Ok(symbols)
    }

    fn message(&mut self, want: usize, message: usize) -> Compiled<usize> {
        let from = self.here();
        let flag = self.tree.flags;
        self.tree.flags += 1;
        let (schema, node) = (self.schema, self.want(want));
        let kind = schema.get(message);
        let inside = node.inside();
        let mut empty = vec![Value::Absent; inside.len()];
        let found = Value::Blocked { want, expected: Kind::Array, found: Kind::Message };
        fill(&mut empty, &inside, &node.element_slots, found);
        let mut wanted: BTreeMap<u32, (&Field, Vec<usize>)> = BTreeMap::new();
        for (key, child) in node.keys() {
            let field = kind.field(key);
            self.unknown.ask(&self.want(child).path, field.is_some());
            let Some(field) = field else { continue };
            let op = self.field(child, field)?;
            self.absent(child, field, op, &inside, &mut empty);
            wanted.entry(field.number).or_insert((field, Vec::new())).1.push(op);
        }
        // Nothing is looked for in a message that no path leads into.
        let leads_on = node.keys().next().is_some();
        let fields = if leads_on { self.fields(want, kind, &wanted, flag)? } else { Vec::new() };
        let op = MessageOp {
            slot: node.slot,
            own: own(kind),
            fields: Fields::new(fields),
            flag,
            inside,
            empty: empty.into(),
        };
        self.add(want, Op::Message(op), from)
    }

    /// Returns what to do with the wanted fields, with those that are required, and with those of
    /// which one at most is there.
    fn fields(
        &mut self,
        want: usize,
        message: &MessageType,
        wanted: &BTreeMap<u32, (&Field, Vec<usize>)>,
        flag: usize,
    ) -> Compiled<Vec<FieldOp>> {
        let mut fields = Vec::new();
        for field in &message.fields {
            let ops = wanted.get(&field.number).map_or(&[][..], |(_, ops)| ops);
            let is_rival = |other: &Field| {
                other.number != field.number && other.oneof.is_some() && other.oneof == field.oneof
            };
            let rivals = wanted.values().filter(|(other, _)| is_rival(other));
            let rivals: Vec<_> = rivals.flat_map(|(_, ops)| ops).copied().collect();
            let is_required = field.count == Count::Required;
            if ops.is_empty() && rivals.is_empty() && !is_required {
                continue;
            }
            self.grow(1 + rivals.len())?;
            let required = is_required.then_some(self.tree.flags);
            if let Some(required) = required {
                self.tree.flags += 1;
                let path = below(&self.want(want).path, &field.name);
                self.tree.required.push(Required { message: flag, field: required, path });
            }
            let tag = Tag { number: field.number, form: field.kind.form() };
            let is_alone = ops.len() == 1 && rivals.is_empty() && !is_required;
            fields.push(FieldOp {
                tag,
                head: Head::of(tag),
                is_packed: is_packed(field),
                plain: ops.first().filter(|_| is_alone).and_then(|op| self.plain(*op)),
                op: ops.first().copied(),
                others: ops.iter().skip(1).copied().collect(),
                rivals: rivals.into(),
                flag: required,
            });
        }
        Ok(fields)
    }

    /// Returns how an operation reads one value for one slot, if that is all it does.
    fn plain(&self, op: usize) -> Option<(Scalar, usize)> {
        match &self.program.ops[op] {
            Op::Scalar(ScalarOp { scalar, slot, is_inner: false, .. }) => Some((*scalar, (*slot)?)),
            Op::Scalar(_) | Op::Message(_) | Op::Repeated(_) | Op::Map(_) | Op::Json(_) => None,
        }
    }

    /// Returns the operation that reads a field.
    fn field(&mut self, want: usize, field: &Field) -> Compiled<usize> {
        if let Some((key, value)) = self.schema.map(field) {
            return self.map(want, key, value);
        }
        match field.count {
            Count::Repeated => self.repeated(want, field),
            Count::Implicit | Count::Explicit | Count::Required => self.value(want, field.kind),
        }
    }

    /// Says what the slots of a field hold that has no bytes in a message that is there.
    fn absent(
        &self,
        want: usize,
        field: &Field,
        op: usize,
        inside: &Range<usize>,
        empty: &mut [Value],
    ) {
        let node = self.want(want);
        let found = match (&self.program.ops[op], field.count) {
            (Op::Map(_), _) => Value::Other(Kind::Message),
            (Op::Repeated(_), _) => Value::Other(Kind::Array),
            (Op::Scalar(scalar), Count::Implicit) => {
                default_value(&self.program.enums, scalar.scalar)
            }
            (Op::Scalar(_) | Op::Message(_) | Op::Json(_), _) => return,
        };
        let kind = found.kind();
        let blocked = |expected| Value::Blocked { want, expected, found: kind };
        if let Some(slot) = node.slot {
            fill(empty, inside, &(slot..slot + 1), found);
        }
        if kind != Kind::Message {
            fill(empty, inside, &node.key_slots, blocked(Kind::Message));
        }
        if kind != Kind::Array {
            fill(empty, inside, &node.element_slots, blocked(Kind::Array));
        } else if let Some(list) = node.list {
            let slot = self.trie.lists()[list].slot;
            fill(empty, inside, &(slot..slot + 1), Value::List);
        }
    }

    fn repeated(&mut self, want: usize, field: &Field) -> Compiled<usize> {
        let from = self.here();
        let repeated = self.tree.repeated;
        self.tree.repeated += 1;
        let node = self.want(want);
        let mut elements = Vec::new();
        for (index, child) in &node.elements {
            self.grow(1)?;
            elements.push((*index, self.value(*child, field.kind)?));
        }
        if let Some(list) = node.list {
            let tag = Tag { number: field.number, form: field.kind.form() };
            self.list(list, repeated, tag, |it| it.value(Trie::ROOT, field.kind))?;
        }
        let op = RepeatedOp {
            repeated,
            form: field.kind.form(),
            is_packed: is_packed(field),
            elements: elements.into(),
            is_list: node.list.is_some(),
        };
        self.add(want, Op::Repeated(op), from)
    }

    /// Compiles the reading of a list's elements. A path has one `[]`, so their tree has no lists.
    fn list(
        &mut self,
        list: usize,
        repeated: usize,
        tag: Tag,
        element: impl FnOnce(&mut Self) -> Compiled<usize>,
    ) -> Compiled<()> {
        let trie = self.trie;
        self.trie = &trie.lists()[list].element;
        let outer = std::mem::take(&mut self.tree);
        self.tree.root = element(self)?;
        let element = std::mem::replace(&mut self.tree, outer);
        self.trie = trie;
        self.program.lists[list] = Some(List { repeated, tag, element });
        Ok(())
    }

    fn json(&mut self, want: usize, shape: Shape) -> Compiled<usize> {
        let from = self.here();
        let (object, repeated) = from;
        self.tree.flags += 2;
        self.tree.repeated += 1;
        let node = self.want(want);
        let mut keys = Vec::new();
        for (_, child) in node.keys() {
            self.grow(1)?;
            keys.push(self.json(child, Shape::Value)?);
        }
        let mut elements = Vec::new();
        for (index, child) in &node.elements {
            self.grow(1)?;
            elements.push((*index, self.json(*child, Shape::Value)?));
        }
        if let Some(list) = node.list {
            let tag = Tag { number: 1, form: Form::Counted };
            self.list(list, repeated, tag, |it| it.json(Trie::ROOT, Shape::Value))?;
        }
        let op = JsonOp {
            want,
            shape,
            slot: node.slot,
            object,
            list: object + 1,
            keys: keys.into(),
            elements: elements.into(),
            repeated,
            rows: node.list.map(|list| self.trie.lists()[list].slot),
        };
        self.add(want, Op::Json(op), from)
    }

    fn map(&mut self, want: usize, key: &Field, value: &Field) -> Compiled<usize> {
        let from = self.here();
        let FieldKind::Scalar(key) = key.kind else {
            unreachable!("the keys of maps were seen to be scalars")
        };
        let mut entries = Vec::new();
        let mut numbers = BTreeMap::new();
        for (text, child) in self.want(want).keys() {
            self.grow(1)?;
            let op = self.value(child, value.kind)?;
            entries.push(op);
            if let Some(number) = number_key(key, text) {
                numbers.insert(number, op);
            }
        }
        let key_form = FieldKind::Scalar(key).form();
        let value_form = value.kind.form();
        let entries = entries.into();
        let op = Op::Map(MapOp { want, key, key_form, value_form, entries, numbers });
        self.add(want, op, from)
    }
}

/// Returns what a message is where a path ends at it. Of messages that are known by their name
/// only those count that have the fields of that name's owner.
fn own(message: &MessageType) -> Own {
    let Some(name) = message.name.strip_prefix("google.protobuf.") else {
        return Own::Message;
    };
    let kind = |number: u32| {
        let field = message.fields.iter().find(|field| field.number == number);
        field.filter(|field| field.count != Count::Repeated).map(|field| field.kind)
    };
    let expected = match name {
        "DoubleValue" => ScalarKind::Double,
        "FloatValue" => ScalarKind::Float,
        "Int64Value" => ScalarKind::Int64,
        "UInt64Value" => ScalarKind::Uint64,
        "Int32Value" => ScalarKind::Int32,
        "UInt32Value" => ScalarKind::Uint32,
        "BoolValue" => ScalarKind::Bool,
        "StringValue" => ScalarKind::String,
        "BytesValue" => ScalarKind::Bytes,
        "Timestamp" => {
            let expected = [ScalarKind::Int64, ScalarKind::Int32];
            let is_time = [kind(1), kind(2)] == expected.map(|it| Some(FieldKind::Scalar(it)));
            return if is_time { Own::Time } else { Own::Message };
        }
        _ => return Own::Message,
    };
    let is_wrapper = kind(1) == Some(FieldKind::Scalar(expected));
    if is_wrapper { Own::Wrapper(Scalar::Plain(expected)) } else { Own::Message }
}

/// Returns what a message of JSON can be.
fn json_shape(message: &MessageType) -> Option<Shape> {
    match &*message.name {
        "google.protobuf.Struct" => Some(Shape::Object),
        "google.protobuf.ListValue" => Some(Shape::List),
        "google.protobuf.Value" => Some(Shape::Value),
        _ => None,
    }
}

/// Numbers of a repeated field may lie together.
fn is_packed(field: &Field) -> bool {
    let is_number = matches!(field.kind.form(), Form::Varint | Form::Fixed32 | Form::Fixed64);
    field.count == Count::Repeated && is_number
}

/// Fills a range of slots, of which `values` has those of `inside`.
fn fill(values: &mut [Value], inside: &Range<usize>, slots: &Range<usize>, value: Value) {
    if !slots.is_empty() {
        values[slots.start - inside.start..slots.end - inside.start].fill(value);
    }
}

/// Returns the path of a field for messages.
fn below(path: &str, field: &str) -> String {
    if path.is_empty() { field.to_owned() } else { format!("{path}.{field}") }
}

/// Reads a path's key as one of a map whose keys are no text.
fn number_key(key: ScalarKind, text: &str) -> Option<i128> {
    match key {
        ScalarKind::Bool => match text {
            "false" => Some(0),
            "true" => Some(1),
            _ => None,
        },
        ScalarKind::String => None,
        ScalarKind::Double
        | ScalarKind::Float
        | ScalarKind::Int64
        | ScalarKind::Uint64
        | ScalarKind::Int32
        | ScalarKind::Fixed64
        | ScalarKind::Fixed32
        | ScalarKind::Bytes
        | ScalarKind::Uint32
        | ScalarKind::Sfixed32
        | ScalarKind::Sfixed64
        | ScalarKind::Sint32
        | ScalarKind::Sint64 => {
            let number: i128 = text.parse().ok()?;
            (number.to_string() == text).then_some(number)
        }
    }
}
