//! `ModelInferRequest` and `ModelInferResponse`: messages of Protobuf of the Open Inference
//! Protocol, by the numbers that it has for their fields.
//!
//! Before: [`super`] knows which of the two a payload is; the bytes do not tell. After: one
//! document of JSON with the keys that the protocol has there. Fields that nobody knows are passed
//! over, and of values that come again the last one counts, as everywhere in Protobuf.

use std::ops::Range;

use super::values::{
    NoValues, RowWriter, append_bool, append_float, append_integer, append_quoted, append_raw,
    append_text,
};
use super::{Datatype, TENSORS_MAX, TensorShape, Wanted};
use crate::decode::protobuf::wire::{Form, Malformed, Tag, Wire};
use crate::rejection::{Refusal, RejectReason};

/// Most parameters of a message or tensor.
const PARAMETERS_MAX: usize = 1_024;

/// Where the two types differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::decode) struct Numbers {
    /// Name and number of the list of tensors.
    tensors: (&'static str, u32),
    /// Number of the list of outputs that are asked for.
    requested: Option<u32>,
    /// Name and number of the list of raw values.
    raw: (&'static str, u32),
}

pub(in crate::decode) const REQUEST: Numbers =
    Numbers { tensors: ("inputs", 5), requested: Some(6), raw: ("raw_input_contents", 7) };

pub(in crate::decode) const RESPONSE: Numbers =
    Numbers { tensors: ("outputs", 5), requested: None, raw: ("raw_output_contents", 6) };

/// Parts of a message.
#[derive(Default)]
struct Body {
    /// Model, version and identity.
    texts: [Option<Range<usize>>; 3],
    parameters: Vec<Range<usize>>,
    tensors: Vec<Range<usize>>,
    requested: Vec<Range<usize>>,
    raw: Vec<Range<usize>>,
}

/// Parts of a tensor.
#[derive(Default)]
struct Tensor {
    name: Option<Range<usize>>,
    datatype: Option<Range<usize>>,
    shape: Vec<i64>,
    parameters: Vec<Range<usize>>,
    contents: Vec<Range<usize>>,
}

/// Keys of the texts of a message.
const TEXTS: [&str; 3] = ["model_name", "model_version", "id"];

/// Appends a message as JSON.
pub(in crate::decode) fn append(
    payload: &[u8],
    numbers: Numbers,
    wanted: &Wanted,
    into: &mut String,
) -> Result<(), Refusal> {
    let body = body(payload, numbers)?;
    let (list, raw) = (numbers.tensors.0, numbers.raw.0);
    let (found, expected) = (body.raw.len(), body.tensors.len());
    if 0 < found && found != expected {
        let detail = format_args!("`{raw}`: a list of {found}, and of {expected} at `{list}`");
        return Err(Refusal::new(RejectReason::UnequalLists, detail));
    }
    let mut writer = Writer { payload, into, is_first: true };
    writer.into.push('{');
    for (key, text) in TEXTS.iter().zip(&body.texts) {
        writer.text(key, text.as_ref())?;
    }
    writer.parameters(&body.parameters)?;
    writer.list(list, &body.tensors, |writer, index, part| {
        let raw = body.raw.get(index).cloned();
        writer.tensor(part, raw, |name| wanted.has(index, name), &format!("{list}[{index}]"))
    })?;
    if numbers.requested.is_some() {
        writer.list("outputs", &body.requested, |writer, _, part| writer.requested(part))?;
    }
    writer.into.push('}');
    Ok(())
}

/// Adds a part to a list of so many at most.
fn add(
    list: &mut Vec<Range<usize>>,
    part: Range<usize>,
    key: &str,
    count_max: usize,
) -> Result<(), Refusal> {
    if list.len() == count_max {
        let detail = format_args!("`{key}`: more than {count_max}");
        return Err(Refusal::new(RejectReason::TooManyRows, detail));
    }
    list.push(part);
    Ok(())
}

fn body(payload: &[u8], numbers: Numbers) -> Result<Body, Refusal> {
    let mut body = Body::default();
    let Body { texts, parameters, tensors, requested, raw } = &mut body;
    fields(payload, 0..payload.len(), |tag, wire| {
        if tag.form != Form::Counted {
            return wire.skip(tag).map_err(Malformed::refusal);
        }
        let part = wire.counted().map_err(Malformed::refusal)?;
        match tag.number {
            1 => texts[0] = Some(part),
            2 => texts[1] = Some(part),
            3 => texts[2] = Some(part),
            4 => add(parameters, part, "parameters", PARAMETERS_MAX)?,
            it if it == numbers.tensors.1 => add(tensors, part, numbers.tensors.0, TENSORS_MAX)?,
            it if Some(it) == numbers.requested => add(requested, part, "outputs", TENSORS_MAX)?,
            it if it == numbers.raw.1 => add(raw, part, numbers.raw.0, TENSORS_MAX)?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(body)
}

fn tensor(payload: &[u8], part: Range<usize>) -> Result<Tensor, Refusal> {
    let mut tensor = Tensor::default();
    let Tensor { name, datatype, shape, parameters, contents } = &mut tensor;
    fields(payload, part, |tag, wire| {
        match (tag.number, tag.form) {
            (1, Form::Counted) => *name = Some(counted(wire)?),
            (2, Form::Counted) => *datatype = Some(counted(wire)?),
            (3, Form::Counted | Form::Varint) => {
                numbers(payload, tag, wire, |number| add_size(shape, number))?;
            }
            (4, Form::Counted) => add(parameters, counted(wire)?, "parameters", PARAMETERS_MAX)?,
            // Parts of one that comes again belong together.
            (5, Form::Counted) => add(contents, counted(wire)?, "contents", PARAMETERS_MAX)?,
            (_, _) => wire.skip(tag).map_err(Malformed::refusal)?,
        }
        Ok(())
    })?;
    Ok(tensor)
}

fn counted(wire: &mut Wire<'_>) -> Result<Range<usize>, Refusal> {
    wire.counted().map_err(Malformed::refusal)
}

/// Adds a dimension; more than a tensor may have are one more.
fn add_size(shape: &mut Vec<i64>, size: u64) {
    if shape.len() <= TensorShape::DIMENSIONS_MAX {
        shape.push(i64::from_le_bytes(size.to_le_bytes()));
    }
}

/// Goes through the fields of a part.
fn fields(
    payload: &[u8],
    part: Range<usize>,
    mut take: impl FnMut(Tag, &mut Wire<'_>) -> Result<(), Refusal>,
) -> Result<(), Refusal> {
    let mut wire = Wire::new(payload, part);
    while !wire.is_end() {
        let tag = wire.tag().map_err(Malformed::refusal)?;
        take(tag, &mut wire)?;
    }
    Ok(())
}

/// Takes the numbers behind a tag, packed or one alone.
fn numbers(
    payload: &[u8],
    tag: Tag,
    wire: &mut Wire<'_>,
    mut take: impl FnMut(u64),
) -> Result<(), Refusal> {
    if tag.form != Form::Counted {
        take(varint(wire)?);
        return Ok(());
    }
    let mut packed = Wire::new(payload, counted(wire)?);
    while !packed.is_end() {
        take(varint(&mut packed)?);
    }
    Ok(())
}

/// Writes parts of a message as JSON.
struct Writer<'a, 'c> {
    payload: &'a [u8],
    into: &'c mut String,
    /// Whether the next key is the first one of its object.
    is_first: bool,
}

impl<'a> Writer<'a, '_> {
    /// Appends a key, and a comma before it.
    fn key(&mut self, key: &str) {
        if !std::mem::take(&mut self.is_first) {
            self.into.push(',');
        }
        append_quoted(key, self.into);
        self.into.push(':');
    }

    fn bytes(&self, part: Range<usize>) -> &'a [u8] {
        self.payload.get(part).expect("parts lie inside the payload")
    }

    /// Returns a text of the message; one without characters is none, as where it is not there.
    fn read(&self, key: &str, part: Option<&Range<usize>>) -> Result<Option<&'a str>, Refusal> {
        let Some(part) = part.filter(|it| !it.is_empty()) else { return Ok(None) };
        std::str::from_utf8(self.bytes(part.clone())).map(Some).map_err(|_| {
            let detail = format_args!("`{key}`: text that is not UTF-8");
            Refusal::new(RejectReason::InvalidUtf8, detail)
        })
    }

    fn text(&mut self, key: &str, part: Option<&Range<usize>>) -> Result<(), Refusal> {
        if let Some(text) = self.read(key, part)? {
            self.key(key);
            append_quoted(text, self.into);
        }
        Ok(())
    }

    /// Appends a list of objects.
    fn list(
        &mut self,
        key: &str,
        parts: &[Range<usize>],
        mut object: impl FnMut(&mut Self, usize, Range<usize>) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        if parts.is_empty() {
            return Ok(());
        }
        self.key(key);
        for (index, part) in parts.iter().enumerate() {
            self.into.push_str(if index == 0 { "[{" } else { ",{" });
            self.is_first = true;
            object(self, index, part.clone())?;
            self.into.push('}');
        }
        self.is_first = false;
        self.into.push(']');
        Ok(())
    }

    /// Appends what is said of an output that is asked for.
    fn requested(&mut self, part: Range<usize>) -> Result<(), Refusal> {
        let (mut name, mut parameters) = (None, Vec::new());
        fields(self.payload, part, |tag, wire| {
            match (tag.number, tag.form) {
                (1, Form::Counted) => name = Some(counted(wire)?),
                (2, Form::Counted) => {
                    add(&mut parameters, counted(wire)?, "parameters", PARAMETERS_MAX)?;
                }
                (_, _) => wire.skip(tag).map_err(Malformed::refusal)?,
            }
            Ok(())
        })?;
        self.text("name", name.as_ref())?;
        self.parameters(&parameters)
    }

    /// Appends a tensor, with its values where somebody reads them.
    fn tensor(
        &mut self,
        part: Range<usize>,
        raw: Option<Range<usize>>,
        is_wanted: impl Fn(&str) -> bool,
        path: &str,
    ) -> Result<(), Refusal> {
        let tensor = tensor(self.payload, part)?;
        let name = self.read("name", tensor.name.as_ref())?.unwrap_or_default();
        self.text("name", tensor.name.as_ref())?;
        self.text("datatype", tensor.datatype.as_ref())?;
        self.key("shape");
        self.into.push('[');
        for (index, size) in tensor.shape.iter().enumerate() {
            self.into.push_str(if index == 0 { "" } else { "," });
            append_integer(size, self.into);
        }
        self.into.push(']');
        self.parameters(&tensor.parameters)?;
        if !is_wanted(name) {
            return Ok(());
        }
        self.values(&tensor, raw).map_err(|NoValues { reason, problem }| {
            Refusal::new(reason, format_args!("`{path}`: {problem}"))
        })
    }

    fn values(&mut self, tensor: &Tensor, raw: Option<Range<usize>>) -> Result<(), NoValues> {
        let has_contents = tensor.contents.iter().any(|part| !part.is_empty());
        if raw.is_some() && has_contents {
            return Err(NoValues::wrong_type("values both raw and in `contents`"));
        }
        let sizes = tensor.shape.iter().map(|size| usize::try_from(*size).ok());
        let shape = TensorShape::of(sizes);
        // As in JSON, a tensor without values has none in any record, unless it has no records.
        if raw.is_none() && tensor.contents.is_empty() {
            if shape.is_ok_and(|it| it.count == 0) {
                self.key("data");
                self.into.push_str("[]");
            }
            return Ok(());
        }
        let shape = shape?;
        let datatype = tensor.datatype.clone().map(|part| self.bytes(part)).unwrap_or_default();
        let datatype = Datatype::parse(std::str::from_utf8(datatype).unwrap_or_default())?;
        self.key("data");
        match raw {
            Some(raw) => append_raw(datatype, shape, self.bytes(raw), self.into),
            None => self.contents(datatype, shape, &tensor.contents),
        }
    }

    /// Appends values that are numbers and texts of Protobuf: those of the datatype's field.
    fn contents(
        &mut self,
        datatype: Datatype,
        shape: TensorShape,
        parts: &[Range<usize>],
    ) -> Result<(), NoValues> {
        let own = field_of(datatype)
            .ok_or_else(|| NoValues::wrong_type("floats of 16 bits in `contents`"))?;
        let payload = self.payload;
        let mut found = 0;
        let mut rows = RowWriter::new(shape.width, self.into);
        for part in parts {
            let mut wire = Wire::new(payload, part.clone());
            while !wire.is_end() {
                let tag = wire.tag().map_err(NoValues::of)?;
                let is_values = (1..=8).contains(&tag.number) && FORMS.contains(&tag.form);
                if !is_values {
                    wire.skip(tag).map_err(NoValues::of)?;
                } else if tag.number == own {
                    found += append_field(payload, tag, &mut wire, datatype, &mut rows)?;
                } else {
                    let problem = "values in `contents` of another datatype than its own";
                    return Err(NoValues::wrong_type(problem));
                }
            }
        }
        rows.finish();
        if found == shape.count {
            return Ok(());
        }
        let count = shape.count;
        Err(NoValues::unequal(format!("a list of {found}, and of {count} by its shape")))
    }

    /// Appends a map of parameters, in which of a name that comes again the last one counts.
    fn parameters(&mut self, parts: &[Range<usize>]) -> Result<(), Refusal> {
        if parts.is_empty() {
            return Ok(());
        }
        self.key("parameters");
        self.into.push('{');
        self.is_first = true;
        for part in parts {
            let (mut name, mut values) = (None, Vec::new());
            fields(self.payload, part.clone(), |tag, wire| {
                match (tag.number, tag.form) {
                    (1, Form::Counted) => name = Some(counted(wire)?),
                    // Parts of one that comes again belong together.
                    (2, Form::Counted) => {
                        add(&mut values, counted(wire)?, "parameters", PARAMETERS_MAX)?;
                    }
                    (_, _) => wire.skip(tag).map_err(Malformed::refusal)?,
                }
                Ok(())
            })?;
            let name = self.read("parameters", name.as_ref())?.unwrap_or_default();
            self.key(name);
            self.parameter(&values)?;
        }
        self.is_first = false;
        self.into.push('}');
        Ok(())
    }

    /// Appends the value of a parameter: of several the last one.
    fn parameter(&mut self, parts: &[Range<usize>]) -> Result<(), Refusal> {
        let start = self.into.len();
        self.into.push_str("null");
        parts.iter().try_for_each(|part| self.choice(part.clone(), start))
    }

    /// Replaces what is behind `start` by each value that is in a part.
    fn choice(&mut self, part: Range<usize>, start: usize) -> Result<(), Refusal> {
        let payload = self.payload;
        let into = &mut *self.into;
        fields(payload, part, |tag, wire| {
            let before = into.len();
            match (tag.number, tag.form) {
                (1, Form::Varint) => append_bool(varint(wire)? != 0, into),
                (2, Form::Varint) => {
                    append_integer(i64::from_le_bytes(varint(wire)?.to_le_bytes()), into);
                }
                (3, Form::Counted) => {
                    let text = payload.get(counted(wire)?).unwrap_or_default();
                    let text = std::str::from_utf8(text).map_err(|_| {
                        let detail = format_args!("`parameters`: text that is not UTF-8");
                        Refusal::new(RejectReason::InvalidUtf8, detail)
                    })?;
                    append_quoted(text, into);
                }
                (4, Form::Fixed64) => {
                    let bytes = wire.array().map_err(Malformed::refusal)?;
                    append_float(f64::from_le_bytes(bytes), into);
                }
                (5, Form::Varint) => append_integer(varint(wire)?, into),
                (_, _) => return wire.skip(tag).map_err(Malformed::refusal),
            }
            into.replace_range(start..before, "");
            Ok(())
        })
    }
}

/// Forms in which values of tensors may lie.
const FORMS: [Form; 4] = [Form::Counted, Form::Varint, Form::Fixed32, Form::Fixed64];

fn varint(wire: &mut Wire<'_>) -> Result<u64, Refusal> {
    wire.varint().map_err(Malformed::refusal)
}

/// Returns the number of the field of `contents` that has values of a datatype.
fn field_of(datatype: Datatype) -> Option<u32> {
    match datatype {
        Datatype::Bool => Some(1),
        Datatype::Int8 | Datatype::Int16 | Datatype::Int32 => Some(2),
        Datatype::Int64 => Some(3),
        Datatype::Uint8 | Datatype::Uint16 | Datatype::Uint32 => Some(4),
        Datatype::Uint64 => Some(5),
        Datatype::Fp32 => Some(6),
        Datatype::Fp64 => Some(7),
        Datatype::Bytes => Some(8),
        Datatype::Fp16 | Datatype::Bf16 => None,
    }
}

/// Adds the values of one field, packed or one alone; returns how many.
fn append_field(
    payload: &[u8],
    tag: Tag,
    wire: &mut Wire<'_>,
    datatype: Datatype,
    rows: &mut RowWriter<'_>,
) -> Result<usize, NoValues> {
    if tag.form == Form::Counted && datatype == Datatype::Bytes {
        let part = wire.counted().map_err(NoValues::of)?;
        append_text(payload.get(part).unwrap_or_default(), rows)?;
        return Ok(1);
    }
    let alone = match datatype {
        Datatype::Fp32 => Some(Form::Fixed32),
        Datatype::Fp64 => Some(Form::Fixed64),
        Datatype::Bytes => None,
        Datatype::Bool
        | Datatype::Int8
        | Datatype::Int16
        | Datatype::Int32
        | Datatype::Int64
        | Datatype::Uint8
        | Datatype::Uint16
        | Datatype::Uint32
        | Datatype::Uint64
        | Datatype::Fp16
        | Datatype::Bf16 => Some(Form::Varint),
    };
    if alone == Some(tag.form) {
        append_value(wire, datatype, rows)?;
        return Ok(1);
    }
    if tag.form != Form::Counted {
        // Another form than the field's is that of an unknown one.
        wire.skip(tag).map_err(NoValues::of)?;
        return Ok(0);
    }
    let mut packed = Wire::new(payload, wire.counted().map_err(NoValues::of)?);
    let mut count = 0;
    while !packed.is_end() {
        append_value(&mut packed, datatype, rows)?;
        count += 1;
    }
    Ok(count)
}

/// Adds one number. Of those with fewer bits than were written the lowest count, as everywhere in
/// Protobuf.
fn append_value(
    wire: &mut Wire<'_>,
    datatype: Datatype,
    rows: &mut RowWriter<'_>,
) -> Result<(), NoValues> {
    match datatype {
        Datatype::Fp32 => {
            let value = f32::from_le_bytes(wire.array().map_err(NoValues::of)?);
            rows.value(|into| append_float(f64::from(value), into));
        }
        Datatype::Fp64 => {
            let value = f64::from_le_bytes(wire.array().map_err(NoValues::of)?);
            rows.value(|into| append_float(value, into));
        }
        Datatype::Bool => {
            let value = wire.varint().map_err(NoValues::of)?;
            rows.value(|into| append_bool(value != 0, into));
        }
        Datatype::Int8 | Datatype::Int16 | Datatype::Int32 => {
            let [a, b, c, d, ..] = wire.varint().map_err(NoValues::of)?.to_le_bytes();
            rows.value(|into| append_integer(i32::from_le_bytes([a, b, c, d]), into));
        }
        Datatype::Uint8 | Datatype::Uint16 | Datatype::Uint32 => {
            let [a, b, c, d, ..] = wire.varint().map_err(NoValues::of)?.to_le_bytes();
            rows.value(|into| append_integer(u32::from_le_bytes([a, b, c, d]), into));
        }
        Datatype::Int64 => {
            let value = wire.varint().map_err(NoValues::of)?;
            rows.value(|into| append_integer(i64::from_le_bytes(value.to_le_bytes()), into));
        }
        Datatype::Uint64 => {
            let value = wire.varint().map_err(NoValues::of)?;
            rows.value(|into| append_integer(value, into));
        }
        Datatype::Fp16 | Datatype::Bf16 | Datatype::Bytes => {
            unreachable!("these have no number of Protobuf")
        }
    }
    Ok(())
}
