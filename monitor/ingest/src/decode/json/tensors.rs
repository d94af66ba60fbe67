//! Tensors: `{"shape": [2, 3], "data": [1, 2, 3, 4, 5, 6]}` becomes
//! `{"shape": [2, 3], "data": [[1, 2, 3], [4, 5, 6]]}`.
//!
//! The V2 protocol has a tensor's values in one list, row by row, or nested as the shape says, and
//! Seldon's `tensor` has them in one list. Before: a payload within its bounds, unfolded by
//! [`super::embedded`]. After: [`super::JsonDecoder`] reads the text, in which they are lists of
//! rows, by the same paths as if they had come so.
//!
//! The first dimension is the rows; a row is the list of its values, however many dimensions the
//! others are. What is no list is left as it is, for the words of those who read it.

use std::fmt;

use super::cursor::Cursor;
use super::embedded;
use super::rewrite::Rewrite;
use super::value::Kind;
use crate::decode::inference::{NoValues, RowWriter, TensorShape};
use crate::decode::whole::Whole;
use crate::path::FieldPath;
use crate::rejection::{Refusal, RejectReason};
use crate::schema::{Framing, SourceSchema};

/// How many times as long as a payload its text becomes at most, as a text that has grown by
/// doubling, with what it grew out of: two bytes, a value and its comma, become four where each
/// value is a row.
const TEXT_FACTOR: usize = 6;

/// Writes the tensors of payloads by rows. Kept from message to message for its memory.
pub(super) struct Tensors {
    rewrite: Rewrite,
    fields: Vec<(usize, Tensor)>,
}

/// The slot of a tensor's shape, and where its values and its shape are.
struct Tensor {
    shape: usize,
    path: FieldPath,
    shape_path: FieldPath,
}

/// Returns what writing a payload's tensors by rows takes at most.
pub(in crate::decode) fn bytes_max(schema: &SourceSchema, payload_bytes_max: usize) -> usize {
    if schema.tensors.is_empty() {
        return 0;
    }
    TEXT_FACTOR * embedded::text_bytes_max(schema, payload_bytes_max)
}

impl Tensors {
    /// Returns what writes a schema's payloads; `None` where there are no tensors.
    pub(super) fn new(schema: &SourceSchema) -> Option<Self> {
        let pairs: Vec<_> = schema.tensors.iter().map(|it| (it.clone(), it.shape())).collect();
        let paths = pairs.iter().flat_map(|(values, shape)| [values, shape]);
        let rewrite = Rewrite::new(Kind::Array, paths);
        let fields = pairs.into_iter().map(|(path, shape_path)| {
            let shape = rewrite.slot(&shape_path);
            (rewrite.slot(&path), Tensor { shape, path, shape_path })
        });
        let fields: Vec<_> = fields.collect();
        (!fields.is_empty()).then_some(Self { rewrite, fields })
    }

    /// Returns the payload with every tensor as a list of rows.
    pub(super) fn by_rows(&mut self, payload: &str, framing: Framing) -> Result<&str, Refusal> {
        let Self { rewrite, fields } = self;
        rewrite.text(payload, framing, fields, |tensor, values, walked, into| {
            tensor.append(values, walked.at(tensor.shape), into)
        })
    }
}

impl Tensor {
    /// Appends the values, which are a list, as rows.
    fn append(&self, values: &str, shape: Option<&str>, into: &mut String) -> Result<(), Refusal> {
        let sizes = sizes(&self.shape_path, shape)?;
        append_rows(&self.path, values, &sizes, into)
    }
}

/// Reads the sizes of a shape's dimensions.
pub(super) fn sizes(path: impl fmt::Display, text: Option<&str>) -> Result<Vec<usize>, Refusal> {
    let Some(text) = text.filter(|text| Kind::of(text) != Kind::Null) else {
        let detail = format_args!("`{path}`: absent or null");
        return Err(Refusal::new(RejectReason::MissingField, detail));
    };
    whole_numbers(text).ok_or_else(|| {
        let detail = format_args!("`{path}`: expected a list of whole numbers");
        Refusal::new(RejectReason::WrongType, detail)
    })
}

/// Reads a list of whole numbers; one or two more than a shape may have are enough.
fn whole_numbers(text: &str) -> Option<Vec<usize>> {
    let mut cursor = Cursor::new(text.as_bytes(), 0);
    cursor.take(b'[').then_some(())?;
    let mut sizes = Vec::new();
    cursor.space();
    while !cursor.take(b']') {
        let (Kind::Number, number) = scalar(text, &mut cursor) else { return None };
        let Whole::Integer(size) = Whole::read(number)? else { return None };
        if sizes.len() <= TensorShape::DIMENSIONS_MAX {
            sizes.push(usize::try_from(size).ok()?);
        }
        cursor.space();
        cursor.take(b',');
        cursor.space();
    }
    Some(sizes)
}

/// Appends values, which are a list, as rows of a shape.
pub(super) fn append_rows(
    path: impl fmt::Display,
    values: &str,
    sizes: &[usize],
    into: &mut String,
) -> Result<(), Refusal> {
    let shape = TensorShape::of(sizes.iter().map(|it| Some(*it)));
    let written = shape.and_then(|TensorShape { count, width }| {
        let cursor = Cursor::new(values.as_bytes(), 0);
        let is_nested = {
            let mut inside = cursor;
            inside.step();
            inside.space();
            inside.peek() == Some(b'[')
        };
        let mut walk = Walk { values, cursor, rows: RowWriter::new(width, into) };
        if is_nested {
            walk.list(sizes)?;
        } else {
            walk.list(&[count])?;
        }
        walk.rows.finish();
        Ok(())
    });
    written.map_err(|NoValues { reason, problem }| {
        Refusal::new(reason, format_args!("`{path}`: {problem}"))
    })
}

/// Passes over the next value of a list that was walked, unless there are values inside; returns
/// its kind and text.
fn scalar<'a>(text: &'a str, cursor: &mut Cursor<'a>) -> (Kind, &'a str) {
    let start = cursor.at();
    let kind = Kind::of(text.get(start..).unwrap_or_default());
    match kind {
        Kind::Array | Kind::Object => {}
        Kind::Text => {
            cursor.scalar();
        }
        // A cursor gives up on rare numbers, so only their end is looked for.
        Kind::Null | Kind::Boolean | Kind::Number | Kind::Special => {
            while let Some(byte) = cursor.peek()
                && !matches!(byte, b',' | b']' | b' ' | b'\t' | b'\r' | b'\n')
            {
                cursor.step();
            }
        }
    }
    (kind, text.get(start..cursor.at()).unwrap_or_default())
}

/// A walk over values that writes them as rows.
struct Walk<'a, 'c> {
    values: &'a str,
    cursor: Cursor<'a>,
    rows: RowWriter<'c>,
}

impl Walk<'_, '_> {
    /// Takes a list of so many lists, of so many, and so on, of values.
    fn list(&mut self, sizes: &[usize]) -> Result<(), NoValues> {
        let Some((expected, inner)) = sizes.split_first() else { return self.value() };
        if !self.cursor.take(b'[') {
            let (found, _) = scalar(self.values, &mut self.cursor);
            return Err(NoValues::wrong_type(format!("expected a list, found {found}")));
        }
        let mut found = 0;
        self.cursor.space();
        if !self.cursor.take(b']') {
            loop {
                self.list(inner)?;
                found += 1;
                self.cursor.space();
                if !self.cursor.take(b',') {
                    break;
                }
                self.cursor.space();
            }
            // The text was walked: the bracket is there.
            self.cursor.take(b']');
        }
        if found == *expected {
            return Ok(());
        }
        Err(NoValues::unequal(format!("a list of {found}, and of {expected} by its shape")))
    }

    fn value(&mut self) -> Result<(), NoValues> {
        let (found, text) = scalar(self.values, &mut self.cursor);
        if matches!(found, Kind::Array | Kind::Object) {
            let problem = format!("expected a number, text, boolean or null, found {found}");
            return Err(NoValues::wrong_type(problem));
        }
        self.rows.value(|into| into.push_str(text));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD as BASE64;

    use super::*;
    use crate::decode::json::embedded::Embedded;
    use crate::decode::json::tests::{feature, path};
    use crate::schema::{
        EmbeddedField, EmbeddedForm, FeatureKind, ModelSchema, TimeFormat, VersionField,
    };

    fn schema(tensors: &[&str], embedded: Vec<EmbeddedField>) -> SourceSchema {
        let rows = |text: &&str| feature(&format!("{text}[][0]"), FeatureKind::Float64);
        let model = ModelSchema {
            name: "m".into(),
            version: VersionField::Fixed("1".into()),
            prediction_id: None,
            features: tensors.iter().map(rows).collect(),
            segments: vec![],
        };
        let schema = SourceSchema::try_new(path("t"), TimeFormat::UnixMillis, None, vec![model]);
        let schema = schema.unwrap().with_embedded(embedded).unwrap();
        schema.with_tensors(tensors.iter().map(|it| path(it)).collect()).unwrap()
    }

    fn tensors(paths: &[&str]) -> Tensors {
        Tensors::new(&schema(paths, vec![])).unwrap()
    }

    fn rows(shape: &str, data: &str) -> Result<String, RejectReason> {
        let payload = format!(r#"{{"data":{data},"shape":{shape}}}"#);
        let mut tensors = tensors(&["data"]);
        let text = tensors.by_rows(&payload, Framing::Document).map_err(|it| it.at(0).reason)?;
        let data = text.strip_prefix(r#"{"data":"#).unwrap();
        Ok(data.strip_suffix(&format!(r#","shape":{shape}}}"#)).unwrap().to_owned())
    }

    #[test]
    fn rows_are_lists_of_their_values_however_they_are_nested() {
        for (shape, data, expected) in [
            ("[2,3]", "[1,2,3,4,5,6]", "[[1,2,3],[4,5,6]]"),
            ("[ 2 , 3 ]", " [ [1 ,2,3] , [4,\n5,6 ] ] ", " [[1,2,3],[4,5,6]] "),
            ("[3]", "[1,2,3]", "[[1],[2],[3]]"),
            ("[3,1]", "[[1],[2],[3]]", "[[1],[2],[3]]"),
            ("[1,2,2]", "[1,2,3,4]", "[[1,2,3,4]]"),
            ("[2,1,2]", "[[[1,2]],[[3,4]]]", "[[1,2],[3,4]]"),
            ("[1,4]", r#"[null,NaN,"a,]\"",true]"#, r#"[[null,NaN,"a,]\"",true]]"#),
            // Of exponents as long as these a cursor makes no number.
            ("[1]", "[1e-00000000000000000000001]", "[[1e-00000000000000000000001]]"),
            (
                "[2]",
                "[1e-9999999999999999999 ,-Infinity]",
                "[[1e-9999999999999999999],[-Infinity]]",
            ),
            // Whole numbers are those of features.
            ("[2.0,1e0]", "[1,2]", "[[1],[2]]"),
            ("[0,3]", "[]", "[]"),
            ("[0]", "[ ]", "[]"),
            // What is no list is left to those who read it.
            ("null", "null", "null"),
            ("[1]", r#""AAAA""#, r#""AAAA""#),
            ("[1]", r#"{"x":[1]}"#, r#"{"x":[1]}"#),
        ] {
            assert_eq!(rows(shape, data).as_deref(), Ok(expected), "{shape} {data}");
        }
    }

    #[test]
    fn values_are_as_many_as_the_shape_says() {
        for (shape, data) in [
            ("[2,3]", "[1,2,3,4,5]"),
            ("[2,3]", "[1,2,3,4,5,6,7]"),
            ("[2,3]", "[[1,2,3]]"),
            ("[2,3]", "[[1,2,3],[4,5]]"),
            ("[2,3]", "[[1,2],[3,4],[5,6]]"),
            ("[2,3]", "[]"),
            ("[0,3]", "[1]"),
            ("[9223372036854775807,3]", "[1]"),
            ("[1,4294967296,4294967296]", "[1]"),
        ] {
            assert_eq!(rows(shape, data), Err(RejectReason::UnequalLists), "{shape} {data}");
        }
        for (shape, data) in [
            ("[2,2]", "[[1,2],3]"),
            ("[2,2]", "[[1,2],null]"),
            ("[2,2]", "[1,[2]]"),
            ("[2,2]", "[[[1],2],[3,4]]"),
            ("[2]", "[[1],[2]]"),
            ("[2]", r#"[1,{"x":2}]"#),
        ] {
            assert_eq!(rows(shape, data), Err(RejectReason::WrongType), "{shape} {data}");
        }
    }

    #[test]
    fn a_shape_is_a_few_whole_numbers() {
        assert_eq!(rows("null", "[1]"), Err(RejectReason::MissingField));
        let (most, more) = (
            "1,".repeat(TensorShape::DIMENSIONS_MAX - 1),
            "1,".repeat(TensorShape::DIMENSIONS_MAX),
        );
        assert_eq!(rows(&format!("[{most}1]"), "[7]").as_deref(), Ok("[[7]]"));
        for shape in [
            "[]",
            "1",
            "\"1\"",
            "{}",
            "[-1]",
            "[1.5]",
            "[1,null]",
            "[[1]]",
            "[\"1\"]",
            "[1,0]",
            "[0,0]",
            "[1,1,0]",
            "[18446744073709551615,2]",
            "[1e16]",
            &format!("[{more}1]"),
            "[NaN]",
        ] {
            assert_eq!(rows(shape, "[1]"), Err(RejectReason::WrongType), "{shape}");
        }
        let mut tensors = tensors(&["a.data"]);
        let problem =
            tensors.by_rows(r#"{"a":{"data":[1]}}"#, Framing::Document).unwrap_err().at(0);
        assert_eq!(problem.reason, RejectReason::MissingField);
        assert_eq!(&*problem.detail, "`a.shape`: absent or null");
    }

    #[test]
    fn each_tensor_is_cut_once_and_each_line_by_itself() {
        let mut tensors = tensors(&["in[name=x].data", "in[1].data", "t.values"]);
        let payload = "{\"in\":[{\"name\":\"y\",\"data\":[1]},\
                       {\"name\":\"x\",\"data\":[1,2],\"shape\":[1,2]}]}\n\
                       \t\n\
                       {\"t\":{\"values\":[3,4],\"shape\":[2]},\"in\":{\"data\":[5]}}";
        let expected = payload.replace("[1,2],", "[[1,2]],").replace("[3,4]", "[[3],[4]]");
        assert_eq!(tensors.by_rows(payload, Framing::Lines).unwrap(), format!("{expected}\n"));
        let payload = "\n{\"t\":{\"values\":[3,4],\"shape\":[3]}}";
        let problem = tensors.by_rows(payload, Framing::Lines).unwrap_err().at(0);
        assert_eq!(&*problem.detail, "line 2: `t.values`: a list of 2, and of 3 by its shape");
    }

    /// Of each form the text that grows most: values of a byte, and values of none.
    #[test]
    fn a_text_takes_no_more_than_is_counted() {
        let tensor = format!(r#"{{"shape":[40000],"data":[{}]}}"#, vec!["1"; 40_000].join(","));
        let encoded = format!("\"{}\"", BASE64.encode(&tensor));
        let empty = format!(r#"{{"shape":[1,40001],"data":"{}"}}"#, ",".repeat(40_000));
        let field = |text, form| vec![EmbeddedField { path: path(text), form }];
        for (embedded, value) in [
            (vec![], tensor),
            (field("a", EmbeddedForm::Base64Json), encoded),
            (field("a.data", EmbeddedForm::Csv), empty),
        ] {
            let schema = schema(&["a.data"], embedded);
            let payload = format!(r#"{{"a":{value}}}"#);
            let mut embedded = Embedded::new(&schema);
            let text = match &mut embedded {
                Some(embedded) => embedded.unfold(&payload, Framing::Document).unwrap(),
                None => &payload,
            };
            let mut tensors = Tensors::new(&schema).unwrap();
            let rows = tensors.by_rows(text, Framing::Document).unwrap();
            assert!(rows.contains("null,null") || rows.contains("[1],[1]"));
            // While it grows, it is there twice, once half as long.
            let held = tensors.rewrite.capacity() * 3 / 2;
            assert!(held <= bytes_max(&schema, payload.len()), "{held} of {}", payload.len());
        }
    }
}
