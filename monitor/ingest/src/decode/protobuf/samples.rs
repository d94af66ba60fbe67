//! Draws types and messages for the tests: what other writers may write, in any order and form.
//!
//! Before: [`super::oracle`]. A type is drawn so that most of the wanted paths lead through it, a
//! message as bytes right away, so that fields come again, lie apart and are unknown.

#![expect(clippy::wildcard_enum_match_arm, reason = "the crate has types that are never drawn")]

use prost_reflect::prost_types::field_descriptor_proto::{Label, Type};
use prost_reflect::prost_types::{
    DescriptorProto, EnumDescriptorProto, EnumValueDescriptorProto, FieldDescriptorProto,
    FileDescriptorProto, MessageOptions, OneofDescriptorProto,
};
use prost_reflect::{
    Cardinality, DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, ReflectMessage,
    Value,
};
use serde_json::{Map, Value as Json};

use crate::decode::draw::{
    KEYS, Leaf, Rest, Tape, double, json_number, text, under_key, under_place,
};
use crate::path::Step;

/// Numbers of the fields that are drawn, one a key.
const NUMBERS: [i32; 8] = [7, 1, 15, 16, 300, 2, 536_870_911, 255];

/// Draws a file with a message `R`.
pub(super) struct Types<'t, 'a> {
    tape: &'t mut Tape<'a>,
    is_proto3: bool,
    names: usize,
    /// One a message of its own: their symbols are names of what is around them.
    enums: Vec<DescriptorProto>,
}

/// What a field is of.
struct Drawn {
    kind: Type,
    name: Option<String>,
}

impl Drawn {
    fn plain(kind: Type) -> Self {
        Self { kind, name: None }
    }

    fn message(name: String) -> Self {
        Self { kind: Type::Message, name: Some(name) }
    }
}

impl<'t, 'a> Types<'t, 'a> {
    pub(super) fn file(tape: &'t mut Tape<'a>, rests: &[Rest<'_>]) -> FileDescriptorProto {
        let is_proto3 = !tape.once_in(3);
        let mut types = Self { tape, is_proto3, names: 0, enums: Vec::new() };
        let message = types.message("R", ".R", rests);
        FileDescriptorProto {
            name: Some("drawn.proto".to_owned()),
            dependency: ["wrappers", "struct"]
                .map(|it| format!("google/protobuf/{it}.proto"))
                .to_vec(),
            message_type: [message].into_iter().chain(types.enums).collect(),
            syntax: Some(if is_proto3 { "proto3" } else { "proto2" }.to_owned()),
            ..FileDescriptorProto::default()
        }
    }

    fn name(&mut self) -> String {
        self.names += 1;
        format!("N{}", self.names)
    }

    /// Draws a message with most of the wanted fields, in any order, and others between them.
    fn message(&mut self, name: &str, full: &str, rests: &[Rest<'_>]) -> DescriptorProto {
        let mut message =
            DescriptorProto { name: Some(name.to_owned()), ..DescriptorProto::default() };
        let mut fields: Vec<(FieldDescriptorProto, bool)> = Vec::new();
        for (key, number) in KEYS.into_iter().zip(NUMBERS) {
            let below: Vec<_> =
                rests.iter().filter_map(|rest| under_key(rest, Some(key))).collect();
            let is_ignored = below.is_empty() || self.tape.once_in(80);
            if is_ignored && !self.tape.once_in(6) {
                continue;
            }
            let mut field = if is_ignored {
                let field = self.ignored(full, &mut message);
                FieldDescriptorProto { name: Some(format!("z{key}")), ..field }
            } else {
                let field = self.field(full, &below, &mut message);
                // Some are known by their name in JSON only.
                let name = if self.tape.once_in(6) { format!("q_{key}") } else { key.to_owned() };
                FieldDescriptorProto { name: Some(name), ..field }
            };
            field.json_name = Some(if is_ignored { format!("z{key}") } else { key.to_owned() });
            field.number = Some(number);
            let is_single = field.label() != Label::Repeated;
            let is_member = is_single && self.tape.once_in(4);
            if is_member {
                field.oneof_index = Some(0);
            }
            let has_presence = is_member || field.r#type() == Type::Message;
            let is_optional = self.is_proto3 && is_single && !has_presence;
            let is_told = is_optional && self.tape.once_in(4);
            fields.push((field, is_told));
        }
        if fields.iter().any(|(field, _)| field.oneof_index.is_some()) {
            message.oneof_decl.push(oneof("o"));
        }
        for (field, is_told) in &mut fields {
            if *is_told {
                field.proto3_optional = Some(true);
                field.oneof_index = Some(i32::try_from(message.oneof_decl.len()).unwrap());
                message.oneof_decl.push(oneof(&format!("_{}", field.name())));
            }
        }
        if !fields.is_empty() {
            let turn = self.tape.below(fields.len());
            fields.rotate_left(turn);
        }
        message.field = fields.into_iter().map(|(field, _)| field).collect();
        message
    }

    /// Draws a field that most of the paths lead through, and the types that it is of.
    fn field(
        &mut self,
        full: &str,
        rests: &[Rest<'_>],
        message: &mut DescriptorProto,
    ) -> FieldDescriptorProto {
        let longest = rests.iter().max_by_key(|(steps, _)| steps.len());
        let (steps, _) = longest.expect("some path leads here");
        match steps.first() {
            Some(Step::Index(_) | Step::Where { .. } | Step::Each) => {
                let below: Vec<_> = rests.iter().filter_map(under_place).collect();
                let drawn = self.single(full, &below, message);
                field(drawn, Label::Repeated)
            }
            Some(Step::Key(_)) if self.tape.once_in(4) => {
                let below: Vec<_> = rests.iter().filter_map(|rest| under_key(rest, None)).collect();
                let value = self.single(full, &below, message);
                let entry = self.entry(value);
                let name = format!("{full}.{}", entry.name());
                message.nested_type.push(entry);
                field(Drawn::message(name), Label::Repeated)
            }
            Some(Step::Key(_)) | None => {
                let drawn = self.single(full, rests, message);
                field(drawn, Label::Optional)
            }
        }
    }

    fn entry(&mut self, value: Drawn) -> DescriptorProto {
        let name = |mut field: FieldDescriptorProto, name: &str, number| {
            field.name = Some(name.to_owned());
            field.number = Some(number);
            field
        };
        DescriptorProto {
            name: Some(format!("{}Entry", self.name())),
            field: vec![
                name(field(Drawn::plain(Type::String), Label::Optional), "key", 1),
                name(field(value, Label::Optional), "value", 2),
            ],
            options: Some(MessageOptions { map_entry: Some(true), ..MessageOptions::default() }),
            ..DescriptorProto::default()
        }
    }

    fn single(&mut self, full: &str, rests: &[Rest<'_>], message: &mut DescriptorProto) -> Drawn {
        if self.tape.once_in(12) {
            let kind = self.tape.one_of(&["Struct", "Value", "Value", "ListValue"]);
            return Drawn::message(format!(".google.protobuf.{kind}"));
        }
        let longest = rests.iter().max_by_key(|(steps, _)| steps.len());
        match longest {
            Some((steps, _)) if matches!(steps.first(), Some(Step::Key(_))) => {
                let name = self.name();
                let full = format!("{full}.{name}");
                let nested = self.message(&name, &full, rests);
                message.nested_type.push(nested);
                Drawn::message(full)
            }
            Some((_, leaf)) => self.leaf(*leaf),
            None => Drawn::plain(Type::Int32),
        }
    }

    fn leaf(&mut self, leaf: Leaf) -> Drawn {
        let tape = &mut *self.tape;
        if tape.once_in(60) {
            return Drawn::plain(tape.one_of(&[Type::Int32, Type::Bool, Type::String]));
        }
        let wrapper = |name: &str| Drawn::message(format!(".google.protobuf.{name}Value"));
        match leaf {
            Leaf::Number => match tape.below(12) {
                0..3 => Drawn::plain(Type::Double),
                3 => wrapper(tape.one_of(&["Double", "Float", "Int64", "UInt32"])),
                4..6 => Drawn::plain(Type::Float),
                _ => Drawn::plain(tape.one_of(&WHOLE)),
            },
            Leaf::Whole => match tape.below(12) {
                0 => Drawn::plain(Type::Double),
                1 => wrapper(tape.one_of(&["Int32", "UInt64"])),
                _ => Drawn::plain(tape.one_of(&WHOLE)),
            },
            Leaf::Boolean => match tape.below(6) {
                5 => wrapper("Bool"),
                _ => Drawn::plain(Type::Bool),
            },
            Leaf::Time => Drawn::plain(tape.one_of(&[Type::Int64, Type::Uint64, Type::Double])),
            Leaf::Model => match tape.below(8) {
                7 => Drawn::plain(Type::String),
                6 => self.enumeration(&["first", "second", "other"]),
                _ => self.enumeration(&["first", "second"]),
            },
            Leaf::Text | Leaf::Version => match tape.below(8) {
                4 => wrapper("String"),
                5 => Drawn::plain(tape.one_of(&[Type::Uint64, Type::Double, Type::Sint32])),
                6 | 7 => self.enumeration(&["x", "y", "long_symbol"]),
                _ => Drawn::plain(Type::String),
            },
        }
    }

    fn enumeration(&mut self, symbols: &[&str]) -> Drawn {
        let name = self.name();
        let step = self.tape.one_of(&[1, 1, 200]);
        let value = |(number, symbol): (i32, &&str)| EnumValueDescriptorProto {
            name: Some((*symbol).to_owned()),
            number: Some(number * step),
            ..EnumValueDescriptorProto::default()
        };
        let value = (0..).zip(symbols).map(value).collect();
        let full = format!(".{name}.E");
        let enumeration = EnumDescriptorProto {
            name: Some("E".to_owned()),
            value,
            ..EnumDescriptorProto::default()
        };
        self.enums.push(DescriptorProto {
            name: Some(name),
            enum_type: vec![enumeration],
            ..DescriptorProto::default()
        });
        Drawn { kind: Type::Enum, name: Some(full) }
    }

    /// Draws a field that no path asks for.
    fn ignored(&mut self, full: &str, message: &mut DescriptorProto) -> FieldDescriptorProto {
        let label = self.tape.one_of(&[Label::Optional, Label::Repeated]);
        let plain = |kind| field(Drawn::plain(kind), label);
        match self.tape.below(6) {
            0 => plain(Type::Bytes),
            1 => plain(Type::Double),
            2 => plain(Type::Uint64),
            3 if !self.is_proto3 => {
                let name = self.name();
                let full = format!("{full}.{name}");
                let inner = self.message(&name, &full, &[]);
                message.nested_type.push(inner);
                field(Drawn { kind: Type::Group, name: Some(full) }, label)
            }
            4 => field(Drawn::message(full.to_owned()), label),
            _ => plain(Type::String),
        }
    }
}

const WHOLE: [Type; 10] = [
    Type::Int32,
    Type::Int64,
    Type::Uint32,
    Type::Uint64,
    Type::Sint32,
    Type::Sint64,
    Type::Fixed32,
    Type::Fixed64,
    Type::Sfixed32,
    Type::Sfixed64,
];

fn oneof(name: &str) -> OneofDescriptorProto {
    OneofDescriptorProto { name: Some(name.to_owned()), ..OneofDescriptorProto::default() }
}

fn field(drawn: Drawn, label: Label) -> FieldDescriptorProto {
    FieldDescriptorProto {
        label: Some(label.into()),
        r#type: Some(drawn.kind.into()),
        type_name: drawn.name,
        ..FieldDescriptorProto::default()
    }
}

/// Draws messages of a type, as bytes.
pub(super) struct Messages<'t, 'a> {
    pub(super) tape: &'t mut Tape<'a>,
    /// How long most lists are: of one length, so that rows are found.
    pub(super) length: usize,
}

impl Messages<'_, '_> {
    pub(super) fn draw(&mut self, message: &MessageDescriptor, depth: usize) -> Vec<u8> {
        let mut out = Vec::new();
        if message.full_name() == "google.protobuf.Value" {
            // Mostly one member of the six.
            for _ in 0..=self.tape.below(16) / 15 {
                let number = self.tape.one_of(&[1, 2, 2, 3, 3, 4, 5, 5, 6]);
                let field = message.get_field(if 4 < depth { 2 } else { number });
                let field = field.expect("it has six");
                self.once(&field, depth, &mut out);
            }
            return out;
        }
        let mut fields: Vec<_> = message.fields().collect();
        if !fields.is_empty() {
            let turn = self.tape.below(fields.len());
            fields.rotate_left(turn);
        }
        for field in fields {
            // What nobody asks for may hold itself, over and over.
            let depth_max = if field.name().starts_with('z') { 1 } else { 5 };
            if depth_max < depth && matches!(field.kind(), Kind::Message(_)) {
                continue;
            }
            self.field(&field, depth, &mut out);
            if self.tape.once_in(16) {
                self.unknown(&mut out);
            }
        }
        // A field again: of a scalar the last counts, of a message both, of a list more.
        if self.tape.once_in(6)
            && let Some(field) = message.fields().next()
            && !field.is_list()
            && depth < 5
        {
            self.field(&field, depth, &mut out);
        }
        out
    }

    fn items(&mut self) -> usize {
        match self.tape.below(16) {
            15 => self.tape.below(7),
            _ => self.length,
        }
    }

    fn field(&mut self, field: &FieldDescriptor, depth: usize, out: &mut Vec<u8>) {
        let is_member = field.containing_oneof().is_some();
        let times = match self.tape.below(12) {
            _ if field.cardinality() == Cardinality::Repeated => self.items(),
            0 => 0,
            1 => 2,
            it if is_member => it % 2,
            _ => 1,
        };
        self.times(field, times, depth, out);
    }

    fn once(&mut self, field: &FieldDescriptor, depth: usize, out: &mut Vec<u8>) {
        self.times(field, 1, depth, out);
    }

    fn times(&mut self, field: &FieldDescriptor, times: usize, depth: usize, out: &mut Vec<u8>) {
        let values: Vec<_> = (0..times).map(|_| self.value(field, depth)).collect();
        let kind = field.kind();
        let mut rest = &values[..];
        while !rest.is_empty() {
            let is_number = !matches!(kind, Kind::Message(_) | Kind::String | Kind::Bytes);
            if field.is_list() && is_number && !self.tape.once_in(3) {
                let (several, after) = rest.split_at(1 + self.tape.below(rest.len()));
                tag(field.number(), 2, out);
                counted(&several.concat(), out);
                rest = after;
                continue;
            }
            let (value, after) = rest.split_first().expect("some are left");
            rest = after;
            tag(field.number(), form(field), out);
            if field.is_group() {
                out.extend(value);
                tag(field.number(), 4, out);
            } else if is_number {
                out.extend(value);
            } else {
                counted(value, out);
            }
        }
    }

    /// Draws the bytes of a value, without its length.
    fn value(&mut self, field: &FieldDescriptor, depth: usize) -> Vec<u8> {
        let tape = &mut *self.tape;
        let small = i64::try_from(tape.below(200)).unwrap() - 50;
        let is_odd = tape.once_in(24);
        let whole = if is_odd { tape.long() } else { small };
        let positive = whole.unsigned_abs();
        let low = |bits: i64| bits.to_le_bytes()[..4].to_vec();
        match field.kind() {
            Kind::Double => double(tape).to_le_bytes().to_vec(),
            // With few digits, so that it has the same ones as a double.
            Kind::Float => {
                let number = f32::from(u16::try_from(tape.below(250)).unwrap()) / 8.0 - 3.0;
                number.to_le_bytes().to_vec()
            }
            Kind::Int32 | Kind::Int64 => varint(whole.cast_unsigned()),
            Kind::Uint32 | Kind::Uint64 => varint(positive),
            Kind::Sint32 | Kind::Sint64 => varint((whole << 1 ^ whole >> 63).cast_unsigned()),
            Kind::Fixed32 => low(positive.cast_signed()),
            Kind::Fixed64 => positive.to_le_bytes().to_vec(),
            Kind::Sfixed32 => low(whole),
            Kind::Sfixed64 => whole.to_le_bytes().to_vec(),
            Kind::Bool => varint(u64::try_from(tape.below(2)).unwrap()),
            Kind::String => text(tape).into_bytes(),
            Kind::Bytes => vec![0xff; tape.below(4)],
            Kind::Message(entry) if field.is_map() => self.entry(&entry, depth + 1),
            Kind::Message(message) => self.draw(&message, depth + 1),
            Kind::Enum(enumeration) => {
                let numbers: Vec<_> = enumeration.values().map(|it| it.number()).collect();
                let number = if is_odd { 77 } else { tape.one_of(&numbers) };
                varint(i64::from(number).cast_unsigned())
            }
        }
    }

    /// Draws an entry of a map: mostly a key that is wanted.
    fn entry(&mut self, entry: &MessageDescriptor, depth: usize) -> Vec<u8> {
        let mut out = Vec::new();
        let mut parts = Vec::new();
        if !self.tape.once_in(24) {
            let mut key = Vec::new();
            tag(1, 2, &mut key);
            counted(self.tape.one_of(&KEYS).as_bytes(), &mut key);
            parts.push(key);
        }
        let mut value = Vec::new();
        self.field(&entry.map_entry_value_field(), depth, &mut value);
        parts.push(value);
        if self.tape.once_in(3) {
            parts.reverse();
        }
        out.extend(parts.concat());
        out
    }

    /// Adds a field that no type has.
    fn unknown(&mut self, out: &mut Vec<u8>) {
        let number = 1_000 + u32::try_from(self.tape.below(3)).unwrap();
        match self.tape.below(5) {
            0 => {
                tag(number, 0, out);
                out.extend(varint(self.tape.long().cast_unsigned()));
            }
            1 => {
                tag(number, 1, out);
                out.extend([1; 8]);
            }
            2 => {
                tag(number, 2, out);
                counted(&[0xff; 3], out);
            }
            3 => {
                tag(number, 5, out);
                out.extend([1; 4]);
            }
            _ => {
                tag(number, 3, out);
                tag(2, 0, out);
                out.push(1);
                tag(number, 3, out);
                tag(number, 4, out);
                tag(number, 4, out);
            }
        }
    }
}

/// Returns the number of the form in which a value alone lies.
pub(super) fn form(field: &FieldDescriptor) -> u32 {
    match field.kind() {
        Kind::Double | Kind::Fixed64 | Kind::Sfixed64 => 1,
        Kind::Float | Kind::Fixed32 | Kind::Sfixed32 => 5,
        Kind::Message(_) if field.is_group() => 3,
        Kind::String | Kind::Bytes | Kind::Message(_) => 2,
        _ => 0,
    }
}

pub(super) fn varint(mut bits: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while 0x7f < bits {
        out.push(u8::try_from(bits & 0x7f).unwrap() | 0x80);
        bits >>= 7;
    }
    out.push(u8::try_from(bits).unwrap());
    out
}

pub(super) fn tag(number: u32, form: u32, out: &mut Vec<u8>) {
    out.extend(varint((number << 3 | form).into()));
}

pub(super) fn counted(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend(varint(bytes.len() as u64));
    out.extend(bytes);
}

/// Stands for a number that JSON has no equal of.
pub(super) const ODD_FLOAT: &str = "an odd float";

/// Returns the message as a producer of JSON would write it, by the names that the paths have.
pub(super) fn json(message: &DynamicMessage) -> Json {
    let descriptor = message.descriptor();
    if let Some(json) = struct_json(message) {
        return json;
    }
    if descriptor.full_name().starts_with("google.protobuf.") {
        let field = descriptor.fields().next().expect("a wrapper has a field");
        return value_json(&message.get_field(&field), &field);
    }
    let mut fields = Map::new();
    for field in descriptor.fields() {
        if field.supports_presence() && !message.has_field(&field) {
            continue;
        }
        let value = message.get_field(&field);
        fields.insert(field.json_name().to_owned(), value_json(&value, &field));
    }
    Json::Object(fields)
}

/// Returns what a message of JSON says.
fn struct_json(message: &DynamicMessage) -> Option<Json> {
    let descriptor = message.descriptor();
    match descriptor.full_name() {
        "google.protobuf.Struct" | "google.protobuf.ListValue" => {
            let field = descriptor.get_field(1).expect("it has one");
            Some(value_json(&message.get_field(&field), &field))
        }
        "google.protobuf.Value" => {
            let field = descriptor.fields().find(|field| message.has_field(field));
            Some(field.map_or(Json::Null, |field| match &*message.get_field(&field) {
                Value::EnumNumber(_) => Json::Null,
                #[expect(clippy::cast_possible_truncation, reason = "it is whole")]
                Value::F64(it)
                    if it.fract() == 0.0 && it.abs() < 9e15 && it.to_bits() != 1 << 63 =>
                {
                    Json::from(*it as i64)
                }
                value => value_json(value, &field),
            }))
        }
        _ => None,
    }
}

fn is_odd_nan(value: f64) -> bool {
    value.is_nan() && value.to_bits() != f64::NAN.to_bits()
}

fn value_json(value: &Value, field: &FieldDescriptor) -> Json {
    match value {
        // Nobody asks for bytes.
        Value::Bytes(_) => Json::Null,
        Value::Bool(value) => Json::from(*value),
        Value::I32(value) => Json::from(*value),
        Value::I64(value) => Json::from(*value),
        Value::U32(value) => Json::from(*value),
        Value::U64(value) => Json::from(*value),
        // Of many digits: JSON has those of a double, or others.
        Value::F32(value) if value.to_string() != f64::from(*value).to_string() => {
            Json::from(ODD_FLOAT)
        }
        // Nor has JSON other bits of no number than one.
        Value::F32(value) if is_odd_nan((*value).into()) => Json::from(ODD_FLOAT),
        Value::F64(value) if is_odd_nan(*value) => Json::from(ODD_FLOAT),
        Value::F32(value) => json_number((*value).into()),
        Value::F64(value) => json_number(*value),
        Value::String(text) => Json::from(text.as_str()),
        Value::EnumNumber(number) => {
            let Kind::Enum(enumeration) = field.kind() else { panic!("it is an enum's") };
            let symbol = enumeration.get_value(*number).map(|it| it.name().to_owned());
            Json::from(symbol.unwrap_or_else(|| number.to_string()))
        }
        Value::Message(message) => json(message),
        Value::List(items) => items.iter().map(|item| value_json(item, field)).collect(),
        Value::Map(entries) => {
            let Kind::Message(entry) = field.kind() else { panic!("a map has entries") };
            let field = entry.map_entry_value_field();
            let key = |key: &MapKey| key.as_str().expect("keys are texts").to_owned();
            let entries = entries.iter().map(|(it, value)| (key(it), value_json(value, &field)));
            Json::Object(entries.collect())
        }
    }
}
