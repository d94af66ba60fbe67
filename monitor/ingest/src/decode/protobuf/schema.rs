//! The types that messages were written with, as far as reading them needs it.
//!
//! Before: a `FileDescriptorSet` ([`super::descriptor`]), which compilers of `.proto` files make.
//! After: [`super::program`] compiles one of its messages together with what is wanted. Names are
//! resolved here; options and default values mean nothing to a reader of what was written.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message as _;

use super::descriptor::{
    Descriptor, EnumDescriptor, Features, FieldDescriptor, FieldPresence, FileDescriptor,
    FileDescriptorSet, Label, MessageEncoding,
};
use super::wire::Form;
use crate::decode::schema_id::MessageName;

/// Longest accepted set of descriptors, in bytes.
pub const DESCRIPTORS_BYTES_MAX: usize = 8 << 20;

/// The messages and enums of some `.proto` files.
#[derive(Clone, Debug)]
pub struct ProtobufSchema {
    messages: Vec<MessageType>,
    enums: Vec<EnumType>,
    /// Messages by full name.
    names: BTreeMap<Box<str>, usize>,
    /// The outermost messages of each file.
    files: BTreeMap<Box<str>, Vec<usize>>,
    /// All messages of each file in the order of their full names.
    ordered: BTreeMap<Box<str>, Vec<usize>>,
    bytes: usize,
}

/// One message of a schema: which one it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageId(pub(super) usize);

#[derive(Clone, Debug)]
pub(super) struct MessageType {
    /// Full name.
    pub(super) name: Box<str>,
    pub(super) fields: Vec<Field>,
    /// Messages that are defined inside of it.
    nested: Vec<usize>,
    is_entry: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Field {
    pub(super) name: Box<str>,
    /// Its name in JSON.
    json_name: Box<str>,
    pub(super) number: u32,
    pub(super) count: Count,
    pub(super) kind: FieldKind,
    /// The group of fields of which one at most is there.
    pub(super) oneof: Option<u32>,
}

/// How often a field is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Count {
    /// Once or not; without bytes it has its default value.
    Implicit,
    /// Once or not, which is told apart.
    Explicit,
    Required,
    Repeated,
}

/// Index of a message or enum of the schema, where it is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FieldKind {
    Scalar(ScalarKind),
    Enum(usize),
    Message(usize),
    /// A message that lies in the bytes as a group.
    Group(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ScalarKind {
    Double,
    Float,
    Int64,
    Uint64,
    Int32,
    Fixed64,
    Fixed32,
    Bool,
    String,
    Bytes,
    Uint32,
    Sfixed32,
    Sfixed64,
    Sint32,
    Sint64,
}

#[derive(Clone, Debug)]
pub(super) struct EnumType {
    /// Its number for a field without bytes.
    pub(super) first: i32,
    /// Numbers in their order, each with the name that is first in the file.
    pub(super) symbols: Vec<(i32, Box<str>)>,
}

impl ProtobufSchema {
    /// Reads a `FileDescriptorSet`, which holds every file that one of its files imports.
    pub fn parse(descriptors: &[u8]) -> Result<Self, ProtobufSchemaError> {
        let bytes = descriptors.len();
        if DESCRIPTORS_BYTES_MAX < bytes {
            return Err(ProtobufSchemaError::TooLong { bytes });
        }
        let set = FileDescriptorSet::decode(descriptors)
            .map_err(|source| ProtobufSchemaError::NotDescriptors { source })?;
        if set.file.is_empty() {
            return Err(ProtobufSchemaError::Empty);
        }
        let mut names = Names::default();
        set.file.iter().for_each(|file| names.file(file));
        let mut parser = Parser { names: &names, messages: vec![None; names.messages.len()] };
        set.file.iter().try_for_each(|file| parser.file(file))?;
        let messages: Vec<MessageType> = parser.messages.into_iter().flatten().collect();
        check_maps(&messages)?;
        let Names { messages: names, enums: _, values: enums, files } = names;
        // Full names are kept twice, and each is longer than what the descriptors have of it.
        let name_bytes: usize = names.keys().map(|name| 2 * name.len()).sum();
        let ordered = files.iter().map(|(file, all)| (file.clone(), ordered(&messages, all)));
        let ordered = ordered.collect();
        let bytes = bytes + name_bytes + messages.len() * size_of::<usize>();
        Ok(Self { messages, enums, names, files, ordered, bytes })
    }

    /// Returns about how much memory it takes, in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Finds a message by its full name, such as `shop.v1.Prediction`.
    pub fn message(&self, full_name: &str) -> Option<MessageId> {
        self.names.get(full_name).copied().map(MessageId)
    }

    /// Finds the message of a file that another message says it is.
    pub fn message_named(&self, file: &str, name: &MessageName) -> Option<MessageId> {
        match name {
            MessageName::Only => None,
            MessageName::At(places) => self.message_at(file, &places.iter().collect::<Vec<_>>()),
            MessageName::Called(name) => {
                let is_it = |it: &&usize| self.messages[**it].name.rsplit('.').next() == Some(name);
                self.files.get(file)?.iter().find(is_it).copied().map(MessageId)
            }
            MessageName::InOrder(number) => {
                let number = usize::try_from(*number).ok()?;
                self.ordered.get(file)?.get(number).copied().map(MessageId)
            }
        }
    }

    /// Finds a message by its place: among the outermost ones of a file, then inside of each other.
    ///
    /// Each map of a message has a message of its own beside those that are written inside of it.
    /// Serializers of Confluent for Java do not count these, those for other languages do. `None`
    /// where the two ways find two messages: bytes do not say who wrote them.
    pub(super) fn message_at(&self, file: &str, places: &[usize]) -> Option<MessageId> {
        let all = self.files.get(file)?;
        let is_written = |message: &usize| !self.messages[*message].is_entry;
        let counted = self.follow(all, places, |nested, place| nested.get(place).copied());
        let written = self.follow(all, places, |nested, place| {
            nested.iter().copied().filter(is_written).nth(place)
        });
        let counted = counted.filter(is_written);
        match (counted, written) {
            (Some(one), Some(other)) if one != other => None,
            _ => counted.or(written).map(MessageId),
        }
    }

    fn follow(
        &self,
        outermost: &[usize],
        places: &[usize],
        pick: impl Fn(&[usize], usize) -> Option<usize>,
    ) -> Option<usize> {
        let mut all = outermost;
        let mut found = None;
        for place in places {
            let message = pick(all, *place)?;
            all = &self.messages[message].nested;
            found = Some(message);
        }
        found
    }

    /// Returns the message's full name.
    pub fn name(&self, message: MessageId) -> &str {
        &self.messages[message.0].name
    }

    pub(super) fn get(&self, message: usize) -> &MessageType {
        &self.messages[message]
    }

    pub(super) fn enum_type(&self, index: usize) -> &EnumType {
        &self.enums[index]
    }

    /// Returns the key's and the value's field, if the field is a map.
    pub(super) fn map(&self, field: &Field) -> Option<(&Field, &Field)> {
        match (field.count, field.kind) {
            (Count::Repeated, FieldKind::Message(message)) if self.get(message).is_entry => {
                let fields = &self.get(message).fields;
                let by_number = |number| fields.iter().find(move |it: &&Field| it.number == number);
                Some((by_number(1)?, by_number(2)?))
            }
            (
                Count::Implicit | Count::Explicit | Count::Required | Count::Repeated,
                FieldKind::Scalar(_)
                | FieldKind::Enum(_)
                | FieldKind::Message(_)
                | FieldKind::Group(_),
            ) => None,
        }
    }
}

impl MessageType {
    /// Finds a field by its name, or by its name in JSON if no other field has that one.
    pub(super) fn field(&self, key: &str) -> Option<&Field> {
        if let Some(field) = self.fields.iter().find(|field| *field.name == *key) {
            return Some(field);
        }
        let mut others = self.fields.iter().filter(|field| *field.json_name == *key);
        others.next().filter(|_| others.next().is_none())
    }
}

impl FieldKind {
    /// Returns how a value alone lies in the bytes.
    pub(super) fn form(self) -> Form {
        match self {
            Self::Scalar(scalar) => scalar.form(),
            Self::Enum(_) => Form::Varint,
            Self::Message(_) => Form::Counted,
            Self::Group(_) => Form::Group,
        }
    }
}

impl ScalarKind {
    fn form(self) -> Form {
        match self {
            Self::Double | Self::Fixed64 | Self::Sfixed64 => Form::Fixed64,
            Self::Float | Self::Fixed32 | Self::Sfixed32 => Form::Fixed32,
            Self::Int64
            | Self::Uint64
            | Self::Int32
            | Self::Bool
            | Self::Uint32
            | Self::Sint32
            | Self::Sint64 => Form::Varint,
            Self::String | Self::Bytes => Form::Counted,
        }
    }
}

/// Returns the outermost messages of a file with all that are inside of them, also those of maps,
/// in the order of their full names. Names are ASCII, of which all languages have one order.
fn ordered(messages: &[MessageType], outermost: &[usize]) -> Vec<usize> {
    let mut all = outermost.to_vec();
    let mut next = 0;
    while let Some(message) = all.get(next) {
        all.extend_from_slice(&messages[*message].nested);
        next += 1;
    }
    all.sort_by(|one, other| messages[*one].name.cmp(&messages[*other].name));
    all
}

/// Every name that the files define.
#[derive(Default)]
struct Names {
    messages: BTreeMap<Box<str>, usize>,
    enums: BTreeMap<Box<str>, usize>,
    values: Vec<EnumType>,
    files: BTreeMap<Box<str>, Vec<usize>>,
}

impl Names {
    fn file(&mut self, file: &FileDescriptor) {
        let scope = &file.package;
        let outermost = file.message_type.iter().map(|it| self.message(scope, it)).collect();
        self.files.insert(file.name.as_str().into(), outermost);
        file.enum_type.iter().for_each(|it| self.enumeration(scope, it));
    }

    fn message(&mut self, scope: &str, message: &Descriptor) -> usize {
        let name = inside(scope, &message.name);
        let next = self.messages.len();
        // Of two with one name, which no compiler lets pass, all that is said goes to the first.
        let index = *self.messages.entry(name.as_str().into()).or_insert(next);
        for nested in &message.nested_type {
            self.message(&name, nested);
        }
        message.enum_type.iter().for_each(|it| self.enumeration(&name, it));
        index
    }

    fn enumeration(&mut self, scope: &str, enumeration: &EnumDescriptor) {
        let mut symbols: Vec<(i32, Box<str>)> = Vec::new();
        let mut known = BTreeSet::new();
        for value in &enumeration.value {
            if known.insert(value.number) {
                symbols.push((value.number, value.name.as_str().into()));
            }
        }
        let first = symbols.first().map_or(0, |(number, _)| *number);
        symbols.sort_unstable_by_key(|(number, _)| *number);
        self.enums.insert(inside(scope, &enumeration.name).into(), self.values.len());
        self.values.push(EnumType { first, symbols });
    }
}

fn inside(scope: &str, name: &str) -> String {
    if scope.is_empty() { name.to_owned() } else { format!("{scope}.{name}") }
}

/// What holds for the fields of a message unless they say otherwise.
#[derive(Clone, Copy)]
struct Habits {
    /// Of a field that is neither repeated nor one of several, nor a message.
    count: Count,
    is_delimited: bool,
}

impl Habits {
    fn of_file(file: &FileDescriptor) -> Self {
        let count = if file.syntax == "proto3" { Count::Implicit } else { Count::Explicit };
        let features = file.options.as_ref().and_then(|it| it.features);
        Self { count, is_delimited: false }.with(features)
    }

    fn with(self, features: Option<Features>) -> Self {
        let Some(features) = features else { return self };
        let count = match features.field_presence() {
            FieldPresence::Unknown => self.count,
            FieldPresence::Explicit => Count::Explicit,
            FieldPresence::Implicit => Count::Implicit,
            FieldPresence::LegacyRequired => Count::Required,
        };
        let is_delimited = match features.message_encoding() {
            MessageEncoding::Unknown => self.is_delimited,
            MessageEncoding::LengthPrefixed => false,
            MessageEncoding::Delimited => true,
        };
        Self { count, is_delimited }
    }
}

struct Parser<'a> {
    names: &'a Names,
    messages: Vec<Option<MessageType>>,
}

impl Parser<'_> {
    fn file(&mut self, file: &FileDescriptor) -> Result<(), ProtobufSchemaError> {
        let habits = Habits::of_file(file);
        let mut messages = file.message_type.iter();
        messages.try_for_each(|it| self.message(&file.package, it, habits).map(|_| ()))
    }

    fn message(
        &mut self,
        scope: &str,
        message: &Descriptor,
        habits: Habits,
    ) -> Result<usize, ProtobufSchemaError> {
        let name = inside(scope, &message.name);
        let options = message.options.as_ref();
        let mut habits = habits.with(options.and_then(|it| it.features));
        let is_entry = options.is_some_and(|it| it.map_entry);
        habits.is_delimited &= !is_entry;
        let nested = message.nested_type.iter().map(|it| self.message(&name, it, habits));
        let nested = nested.collect::<Result<_, _>>()?;
        let mut fields = Vec::new();
        let mut numbers = BTreeSet::new();
        for field in &message.field {
            let field = self.field(&name, field, habits)?;
            if !numbers.insert(field.number) {
                return Err(invalid(&name, &field.name, "has the number of another one"));
            }
            fields.push(field);
        }
        if is_entry && !is_map_entry(&fields) {
            return Err(invalid(&name, "key", "is not that of a map"));
        }
        let index = self.names.messages[name.as_str()];
        let name = name.into();
        self.messages[index] = Some(MessageType { name, fields, nested, is_entry });
        Ok(index)
    }

    fn field(
        &self,
        message: &str,
        field: &FieldDescriptor,
        habits: Habits,
    ) -> Result<Field, ProtobufSchemaError> {
        let invalid = |problem| invalid(message, &field.name, problem);
        let habits = habits.with(field.options.as_ref().and_then(|it| it.features));
        let number = u32::try_from(field.number).ok().filter(|it| (1..1 << 29).contains(it));
        let number = number.ok_or_else(|| invalid("has a number that no field may have"))?;
        let kind = self.kind(message, field, habits)?;
        let oneof = field.oneof_index.filter(|_| !field.proto3_optional);
        let oneof = oneof.and_then(|it| u32::try_from(it).ok());
        let is_message = matches!(kind, FieldKind::Message(_) | FieldKind::Group(_));
        let is_told = oneof.is_some() || field.proto3_optional || is_message;
        let count = match field.label() {
            Label::Repeated => Count::Repeated,
            Label::Required => Count::Required,
            Label::Optional if habits.count == Count::Implicit && is_told => Count::Explicit,
            Label::Optional => habits.count,
        };
        let name = field.name.as_str().into();
        let json_name = field.json_name.clone().unwrap_or_else(|| json_name(&field.name)).into();
        Ok(Field { name, json_name, number, count, kind, oneof })
    }

    fn kind(
        &self,
        message: &str,
        field: &FieldDescriptor,
        habits: Habits,
    ) -> Result<FieldKind, ProtobufSchemaError> {
        let scalar = match field.kind {
            1 => ScalarKind::Double,
            2 => ScalarKind::Float,
            3 => ScalarKind::Int64,
            4 => ScalarKind::Uint64,
            5 => ScalarKind::Int32,
            6 => ScalarKind::Fixed64,
            7 => ScalarKind::Fixed32,
            8 => ScalarKind::Bool,
            9 => ScalarKind::String,
            12 => ScalarKind::Bytes,
            13 => ScalarKind::Uint32,
            15 => ScalarKind::Sfixed32,
            16 => ScalarKind::Sfixed64,
            17 => ScalarKind::Sint32,
            18 => ScalarKind::Sint64,
            10 => return self.named(message, field).map(FieldKind::Group),
            11 => {
                let named = self.named(message, field)?;
                // The entry of a map is defined inside of the message, so it is known here.
                let is_entry = self.messages[named].as_ref().is_some_and(|it| it.is_entry);
                let is_group = habits.is_delimited && !is_entry;
                let kind = if is_group { FieldKind::Group } else { FieldKind::Message };
                return Ok(kind(named));
            }
            14 => {
                let found = self.names.enums.get(full(field));
                return found.copied().map(FieldKind::Enum).ok_or_else(|| unknown(message, field));
            }
            _ => return Err(invalid(message, &field.name, "has a type that there is not")),
        };
        Ok(FieldKind::Scalar(scalar))
    }

    fn named(&self, message: &str, field: &FieldDescriptor) -> Result<usize, ProtobufSchemaError> {
        let found = self.names.messages.get(full(field));
        found.copied().ok_or_else(|| unknown(message, field))
    }
}

/// Compilers write full names with a dot before them.
fn full(field: &FieldDescriptor) -> &str {
    field.type_name.strip_prefix('.').unwrap_or(&field.type_name)
}

fn is_map_entry(fields: &[Field]) -> bool {
    let is_key = |it: &Field| match it.kind {
        FieldKind::Scalar(ScalarKind::Double | ScalarKind::Float | ScalarKind::Bytes)
        | FieldKind::Enum(_)
        | FieldKind::Message(_)
        | FieldKind::Group(_) => false,
        FieldKind::Scalar(_) => it.number == 1 && it.count != Count::Repeated,
    };
    fields.len() == 2
        && fields.iter().any(is_key)
        && fields.iter().any(|it| it.number == 2 && it.count != Count::Repeated)
}

/// Refuses maps whose entries are groups: some readers take such a field for a map, and others for
/// what it says, a list of messages.
fn check_maps(messages: &[MessageType]) -> Result<(), ProtobufSchemaError> {
    let is_wrong = |field: &Field| match field.kind {
        FieldKind::Group(of) => messages[of].is_entry,
        FieldKind::Scalar(_) | FieldKind::Enum(_) | FieldKind::Message(_) => false,
    };
    for message in messages {
        if let Some(field) = message.fields.iter().find(|it| is_wrong(it)) {
            return Err(invalid(&message.name, &field.name, "is a map whose entries are groups"));
        }
    }
    Ok(())
}

/// The name in JSON of a field that does not say it.
fn json_name(name: &str) -> String {
    let mut json = String::with_capacity(name.len());
    let mut is_upper = false;
    for letter in name.chars() {
        if letter == '_' {
            is_upper = true;
        } else {
            json.push(if is_upper { letter.to_ascii_uppercase() } else { letter });
            is_upper = false;
        }
    }
    json
}

fn unknown(message: &str, field: &FieldDescriptor) -> ProtobufSchemaError {
    ProtobufSchemaError::UnknownType {
        field: format!("{message}.{}", field.name),
        name: full(field).to_owned(),
    }
}

fn invalid(message: &str, field: &str, problem: &'static str) -> ProtobufSchemaError {
    ProtobufSchemaError::Invalid { field: format!("{message}.{field}"), problem }
}

/// Bytes that are no descriptors of messages.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ProtobufSchemaError {
    /// More than [`DESCRIPTORS_BYTES_MAX`].
    #[error("the descriptors have {bytes} bytes, more than {DESCRIPTORS_BYTES_MAX}")]
    TooLong {
        /// Their length.
        bytes: usize,
    },
    /// No `FileDescriptorSet`.
    #[error("it is no `FileDescriptorSet`")]
    NotDescriptors {
        /// Why not.
        source: prost::DecodeError,
    },
    /// One of no files.
    #[error("it holds the descriptors of no file")]
    Empty,
    /// An import that is not there.
    #[error("`{field}` is of type `{name}`, which no file of the set defines")]
    UnknownType {
        /// Full name.
        field: String,
        /// What it is of.
        name: String,
    },
    /// A field that no compiler lets pass.
    #[error("`{field}` {problem}")]
    Invalid {
        /// Full name.
        field: String,
        /// What is wrong with it.
        problem: &'static str,
    },
}
