//! The way from a message's root to a value, as configured: `features.age`, `scores[2]`, or to one
//! value a row: `instances[].age`. Or a value that Kafka has beside the payload:
//! `$headers.ce_time`, `$key`, `$time`.
//!
//! Before: text from the configuration. After: [`crate::schema`] says what each path means, and a
//! decoder walks all paths of a source at once.

use std::collections::BTreeMap;
use std::fmt;
use std::iter::Peekable;
use std::str::Chars;
use std::sync::Arc;

/// Longest accepted path text, in bytes: it is repeated in rejections.
const PATH_BYTES_MAX: usize = 128;

/// Most steps of a path. Below `serde_json`'s recursion limit of 128, which a walk therefore never
/// meets.
pub(crate) const STEPS_MAX: usize = 32;

/// Largest array index: wide feature vectors fit, a slip of the finger does not.
const INDEX_MAX: usize = 65_535;

/// A value that Kafka has of a message beside its payload.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EnvelopeValue {
    /// The header of this name; of several with it the last one.
    Header(Box<str>),
    /// The message's key.
    Key,
    /// When the message was produced, or appended where the topic says so.
    Time,
}

/// Where the shape is of the values beside it.
const SHAPE: &str = "shape";

const HEADERS: &str = "$headers";
const KEY: &str = "$key";
const TIME: &str = "$time";

/// One step from a value into a value inside it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Step {
    /// The value of an object's key.
    Key(Box<str>),
    /// The element of an array, from 0.
    Index(usize),
    /// The element of an array that is an object with this text at this key.
    Where {
        /// The key.
        key: Box<str>,
        /// Its text.
        text: Box<str>,
    },
    /// Every element of an array: each is of a row of its own.
    Each,
}

impl Step {
    /// Appends the step to the text of the path before it.
    pub(crate) fn append_to(&self, path: &mut String) {
        match self {
            Self::Key(key) => {
                if !path.is_empty() {
                    path.push('.');
                } else if key.starts_with('$') {
                    path.push('\\');
                }
                escape(key, &['.', '[', ']'], path);
            }
            Self::Where { key, text } => {
                path.push('[');
                escape(key, &['=', '[', ']'], path);
                path.push('=');
                escape(text, &['=', '[', ']'], path);
                path.push(']');
            }
            Self::Index(index) => path.extend(["[", &index.to_string(), "]"]),
            Self::Each => path.push_str("[]"),
        }
    }
}

/// Appends a name, with a backslash before what means something there.
fn escape(name: &str, special: &[char], path: &mut String) {
    for plain in name.chars() {
        if plain == '\\' || special.contains(&plain) {
            path.push('\\');
        }
        path.push(plain);
    }
}

/// A parsed path. Keys are separated by `.`, array elements are `[n]`, or `[key=text]` for the one
/// that is an object with that text at that key, and `[]`, once at most, is every element of an
/// array, which makes each a row; inside a key the characters `.`, `[`, `]` and `\` are written
/// with a `\` before them. The first step is a key or `[]`.
///
/// `$headers.NAME`, `$key` and `$time` are not in the payload; a key of it that begins with `$` may
/// be written with a `\` before it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct FieldPath {
    text: Arc<str>,
    /// None of a value beside the payload.
    steps: Arc<[Step]>,
    beside: Option<EnvelopeValue>,
}

impl FieldPath {
    /// Parses `a.b.c`, `a[2].b`, `a[k=t].b`, `a\.b`, `a[].b`, `[].a`, `$headers.a`, `$key`,
    /// `$time`.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        let mut parser = Parser { rest: text.chars().peekable(), position: 1 };
        let parsed = parser.steps(text).and_then(|steps| match beside(text, &steps)? {
            Some(value) => Ok((Vec::new(), Some(value))),
            None => Ok((steps, None)),
        });
        let (steps, beside) = parsed.map_err(|problem| PathError {
            path: text.to_owned(),
            position: parser.position,
            problem,
        })?;
        Ok(Self { text: text.into(), steps: steps.into(), beside })
    }

    /// Returns the path as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the value that the path names beside the payload, if it is one.
    pub fn beside(&self) -> Option<&EnvelopeValue> {
        self.beside.as_ref()
    }

    /// Returns whether the path finds an element of an array by a text in it.
    pub fn has_where(&self) -> bool {
        self.steps.iter().any(|step| matches!(step, Step::Where { .. }))
    }

    /// Returns whether the value is in the payload, and whatever that holds, at one place.
    pub fn has_fixed_place(&self) -> bool {
        self.beside.is_none() && !self.has_each() && !self.has_where()
    }

    /// Returns whether the value may be the values of a tensor, whose shape is beside them: it is
    /// at a key of the payload, and not one of each row.
    pub fn has_shape_beside(&self) -> bool {
        let is_key = matches!(self.steps.last(), Some(Step::Key(key)) if **key != *SHAPE);
        is_key && !self.has_each()
    }

    /// Returns whether the path leads to one value of a tensor's rows: of each row, or of one; by
    /// its place, or by the name that it has in `columns`.
    pub fn is_value_of(&self, tensor: &Self, columns: Option<&Self>) -> bool {
        match self.steps.strip_prefix(&*tensor.steps) {
            Some([Step::Each | Step::Index(_), Step::Index(_)]) => true,
            Some([Step::Each, Step::Key(_)]) => columns.is_some_and(|it| self.is_named_by(it)),
            Some(_) | None => false,
        }
    }

    /// Returns the path of the shape beside a tensor's values.
    pub(crate) fn shape(&self) -> Self {
        let (_, before) = self.steps.split_last().expect("values are at a key");
        Self::of(before.iter().cloned().chain([Step::Key(SHAPE.into())]).collect())
    }

    /// Returns the path of the values of a tensor of the Open Inference Protocol that the value is,
    /// or is inside of. Through these keys the path leads to the body.
    pub fn inference_tensor(&self, keys: &[&str]) -> Option<Self> {
        let place = self.steps_behind(keys)?.get(..3)?;
        let tensor = self.steps.get(..keys.len() + place.len())?;
        let [Step::Key(list), place, Step::Key(data)] = place else { return None };
        let is_list = matches!(&**list, "inputs" | "outputs") && !matches!(place, Step::Key(_));
        let is_tensor = is_list && **data == *"data";
        is_tensor.then(|| Self::of(tensor.into()))
    }

    /// Returns the steps behind these keys, if the path begins with them.
    pub(crate) fn steps_behind(&self, keys: &[&str]) -> Option<&[Step]> {
        let (before, behind) = self.steps.split_at_checked(keys.len())?;
        let are_they = before.iter().zip(keys).all(|(step, key)| match step {
            Step::Key(found) => **found == **key,
            Step::Index(_) | Step::Where { .. } | Step::Each => false,
        });
        are_they.then_some(behind)
    }

    fn of(steps: Arc<[Step]>) -> Self {
        let mut text = String::new();
        for step in &*steps {
            step.append_to(&mut text);
        }
        Self { text: text.into(), steps, beside: None }
    }

    /// Returns whether the path names one value a row.
    pub fn has_each(&self) -> bool {
        self.steps.contains(&Step::Each)
    }

    /// Returns the steps to the list of rows, if the path goes through one.
    pub(crate) fn list(&self) -> Option<&[Step]> {
        let each = self.steps.iter().position(|step| *step == Step::Each)?;
        Some(&self.steps[..each])
    }

    /// Returns whether the message itself is the list of rows.
    pub fn begins_with_each(&self) -> bool {
        self.steps.first() == Some(&Step::Each)
    }

    /// Returns whether the path reads a list of rows by the names at `names`: the list is another
    /// one in the same object, and a key follows its `[]`. Such a row may be an array of values.
    pub fn is_named_by(&self, names: &Self) -> bool {
        self.column(names).is_some()
    }

    /// Returns the name of the column in a list of rows that is named by `names`.
    pub(crate) fn column(&self, names: &Self) -> Option<&str> {
        let each = self.steps.iter().position(|step| *step == Step::Each)?;
        let (Some((Step::Key(_), list)), Some((Step::Key(_), beside)), Some(Step::Key(column))) =
            (self.steps[..each].split_last(), names.steps.split_last(), self.steps.get(each + 1))
        else {
            return None;
        };
        (list == beside && names.steps[..] != self.steps[..each]).then_some(&**column)
    }

    /// Returns whether the value at `list` is the list of rows that the path goes through.
    pub fn has_rows_of(&self, list: &Self) -> bool {
        self.list() == Some(&list.steps)
    }

    /// Returns whether the path finds an element by its text in each row of the list that `other`
    /// goes through, which reads rows by name.
    pub fn has_where_in_row_of(&self, other: &Self) -> bool {
        let inside = self.list().and_then(|list| self.steps.get(list.len() + 1));
        matches!(inside, Some(Step::Where { .. })) && self.list() == other.list()
    }

    /// Returns whether the value is the one at `other`, or inside of it.
    pub fn is_inside(&self, other: &Self) -> bool {
        self.beside == other.beside && self.steps.starts_with(&other.steps)
    }

    pub(crate) fn steps(&self) -> &[Step] {
        &self.steps
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FieldPath({:?})", self.text)
    }
}

/// Returns what the steps name beside the payload, if they do.
fn beside(text: &str, steps: &[Step]) -> Result<Option<EnvelopeValue>, PathProblem> {
    let is_escaped = text.starts_with('\\');
    match steps {
        _ if is_escaped => Ok(None),
        [Step::Key(first), Step::Key(name)] if **first == *HEADERS => {
            Ok(Some(EnvelopeValue::Header(name.clone())))
        }
        [Step::Key(first)] if **first == *KEY => Ok(Some(EnvelopeValue::Key)),
        [Step::Key(first)] if **first == *TIME => Ok(Some(EnvelopeValue::Time)),
        [Step::Key(first), ..] if [HEADERS, KEY, TIME].contains(&&**first) => {
            Err(PathProblem::NotBeside)
        }
        _ => Ok(None),
    }
}

/// Finds two paths that no message has both of: one goes through every element of a list, inside of
/// a value or before it, that is an object for the other. Returns where they are among `paths`, the
/// one that takes the value for a list first.
pub fn list_and_object<'a>(
    paths: impl IntoIterator<Item = &'a FieldPath>,
) -> Option<(usize, usize)> {
    // For each value one path that takes it for a list, and one for an object: best with `[]`.
    type Both<'a> = [Option<(usize, &'a FieldPath)>; 2];
    let mut values: BTreeMap<&[Step], Both<'_>> = BTreeMap::new();
    for (index, path) in paths.into_iter().enumerate() {
        // Whether the message itself is a list is a question of its own.
        for (position, step) in path.steps.iter().enumerate().skip(1) {
            let kind = usize::from(matches!(step, Step::Key(_)));
            let known = &mut values.entry(&path.steps[..position]).or_default()[kind];
            if path.has_each() && known.is_some_and(|(_, known)| !known.has_each()) {
                *known = None;
            }
            known.get_or_insert((index, path));
        }
    }
    values.into_values().find_map(|both| match both {
        [Some(list), Some(object)] if list.1.has_each() || object.1.has_each() => {
            Some((list.0, object.0))
        }
        [Some(_) | None, Some(_) | None] => None,
    })
}

/// A text that is not a path, and where it stops being one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("path `{path}`: {problem}, at character {position}")]
pub struct PathError {
    /// The refused text.
    pub path: String,
    /// Character, from 1, at which the problem was seen; one past the last when the text ends
    /// early.
    pub position: usize,
    /// What is wrong there.
    pub problem: PathProblem,
}

/// What is wrong with a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathProblem {
    /// `a..b`, a leading or trailing dot, a leading index, or nothing at all.
    #[error("expected a key")]
    KeyExpected,
    /// `a[x]`, `a[01]`, or an index beyond the bound.
    #[error("expected an array index from 0 to {INDEX_MAX} and `]`, or `[key=text]`")]
    IndexExpected,
    /// `a[].b[]`: rows inside of rows.
    #[error("a path has at most one `[]`")]
    SecondEach,
    /// `a[0]b` or a bare `]`.
    #[error("expected `.`, `[` or the end; write `\\{found}` when it belongs to the key")]
    SeparatorExpected {
        /// The character in its place.
        found: char,
    },
    /// `\x`, or a backslash at the end.
    #[error("a backslash stands before `.`, `[`, `]`, `\\`, a leading `$` or `=` in brackets only")]
    UnknownEscape,
    /// `$headers` alone, or something inside of `$key`.
    #[error(
        "beside the payload there are `$headers.NAME`, `$key` and `$time`; write `\\$` when it \
         belongs to a key of the payload"
    )]
    NotBeside,
    /// More steps than a walk follows.
    #[error("a path has at most {STEPS_MAX} steps")]
    TooDeep,
    /// Longer than fits into an error.
    #[error("a path has at most {PATH_BYTES_MAX} bytes")]
    TooLong,
}

/// Reads steps and counts characters, so that an error can say where.
struct Parser<'a> {
    rest: Peekable<Chars<'a>>,
    position: usize,
}

impl Parser<'_> {
    fn steps(&mut self, text: &str) -> Result<Vec<Step>, PathProblem> {
        if PATH_BYTES_MAX < text.len() {
            return Err(PathProblem::TooLong);
        }
        let mut steps = if text.starts_with("[]") { Vec::new() } else { vec![self.key()?] };
        while let Some(separator) = self.peek() {
            if steps.len() == STEPS_MAX {
                return Err(PathProblem::TooDeep);
            }
            match separator {
                '.' => {
                    self.advance();
                    steps.push(self.key()?);
                }
                '[' => {
                    self.advance();
                    if let Some('0'..='9') = self.peek() {
                        steps.push(self.index()?);
                    } else if self.peek() != Some(']') {
                        steps.push(self.condition()?);
                    } else if steps.contains(&Step::Each) {
                        return Err(PathProblem::SecondEach);
                    } else {
                        self.advance();
                        steps.push(Step::Each);
                    }
                }
                found => return Err(PathProblem::SeparatorExpected { found }),
            }
        }
        Ok(steps)
    }

    fn peek(&mut self) -> Option<char> {
        self.rest.peek().copied()
    }

    fn advance(&mut self) {
        if self.rest.next().is_some() {
            self.position += 1;
        }
    }

    fn key(&mut self) -> Result<Step, PathProblem> {
        let mut key = String::new();
        while let Some(next) = self.peek() {
            match next {
                '.' | '[' | ']' => break,
                '\\' => {
                    self.advance();
                    match self.peek() {
                        Some(escaped @ ('.' | '[' | ']' | '\\')) => key.push(escaped),
                        Some('$') if self.position == 2 => key.push('$'),
                        Some(_) | None => return Err(PathProblem::UnknownEscape),
                    }
                }
                plain => key.push(plain),
            }
            self.advance();
        }
        if key.is_empty() { Err(PathProblem::KeyExpected) } else { Ok(Step::Key(key.into())) }
    }

    /// Reads `key=text]`.
    fn condition(&mut self) -> Result<Step, PathProblem> {
        let key = self.name('=')?;
        let text = self.name(']')?;
        if key.is_empty() { Err(PathProblem::IndexExpected) } else { Ok(Step::Where { key, text }) }
    }

    /// Reads a name up to the character behind it, which is passed over.
    fn name(&mut self, end: char) -> Result<Box<str>, PathProblem> {
        let mut name = String::new();
        loop {
            let next = self.peek().ok_or(PathProblem::IndexExpected)?;
            match next {
                _ if next == end => break,
                '[' | ']' | '=' => return Err(PathProblem::IndexExpected),
                '\\' => {
                    self.advance();
                    match self.peek() {
                        Some(escaped @ ('=' | '[' | ']' | '\\')) => name.push(escaped),
                        Some(_) | None => return Err(PathProblem::UnknownEscape),
                    }
                }
                plain => name.push(plain),
            }
            self.advance();
        }
        self.advance();
        Ok(name.into())
    }

    fn index(&mut self) -> Result<Step, PathProblem> {
        let mut digits = String::new();
        while let Some(digit @ '0'..='9') = self.peek() {
            digits.push(digit);
            if INDEX_MAX.to_string().len() < digits.len() {
                return Err(PathProblem::IndexExpected);
            }
            self.advance();
        }
        let canonical = digits == "0" || !digits.starts_with('0');
        match digits.parse::<usize>() {
            Ok(index) if canonical && index <= INDEX_MAX && self.peek() == Some(']') => {
                self.advance();
                Ok(Step::Index(index))
            }
            Ok(_) | Err(_) => Err(PathProblem::IndexExpected),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Step {
        Step::Key(text.into())
    }

    fn steps(text: &str) -> Vec<Step> {
        FieldPath::parse(text).unwrap().steps().to_vec()
    }

    #[test]
    fn dots_separate_keys_and_brackets_hold_indexes() {
        assert_eq!(steps("a.b.c"), [key("a"), key("b"), key("c")]);
        assert_eq!(steps("a[2].b"), [key("a"), Step::Index(2), key("b")]);
        assert_eq!(steps("a[0][65535]"), [key("a"), Step::Index(0), Step::Index(65_535)]);
        assert_eq!(steps("größe.ms/s"), [key("größe"), key("ms/s")]);
    }

    #[test]
    fn values_of_tensors_of_the_protocol_are_known_behind_the_keys_of_their_body() {
        let tensor = |text: &str, keys: &[&str]| {
            let found = FieldPath::parse(text).unwrap().inference_tensor(keys);
            found.map(|it| it.to_string())
        };
        for tensor_of in ["inputs[name=x].data", "outputs[0].data"] {
            for text in [tensor_of.to_owned(), format!("{tensor_of}[][0]")] {
                assert_eq!(tensor(&text, &[]).as_deref(), Some(tensor_of), "{text}");
                let joined = format!("response.{text}");
                let expected = format!("response.{tensor_of}");
                assert_eq!(tensor(&joined, &["response"]), Some(expected), "{joined}");
                assert_eq!(tensor(&joined, &["request"]), None, "{joined}");
                assert_eq!(tensor(&joined, &[]), None, "{joined}");
            }
        }
        for other in ["inputs[0].shape", "inputs[0]", "inputs.x.data", "input[0].data", "x"] {
            assert_eq!(tensor(other, &[]), None, "{other}");
        }
    }

    #[test]
    fn empty_brackets_are_every_element() {
        assert_eq!(steps("a[].b"), [key("a"), Step::Each, key("b")]);
        assert_eq!(steps("a.b[]"), [key("a"), key("b"), Step::Each]);
        assert_eq!(steps("[].a"), [Step::Each, key("a")]);
        assert_eq!(steps("[]"), [Step::Each]);
        assert_eq!(steps("a[1][][3]"), [key("a"), Step::Index(1), Step::Each, Step::Index(3)]);
        for (text, has, begins) in [("a[]", true, false), ("[].a", true, true), ("a", false, false)]
        {
            let path = FieldPath::parse(text).unwrap();
            assert_eq!((path.has_each(), path.begins_with_each()), (has, begins), "{text}");
            let mut rebuilt = String::new();
            path.steps().iter().for_each(|step| step.append_to(&mut rebuilt));
            assert_eq!(rebuilt, text.trim_start_matches('.'));
        }
    }

    #[test]
    fn columns_are_named_by_a_list_beside_theirs() {
        for (path, names, column) in [
            ("split.data[].age", "split.columns", Some("age")),
            ("data[].age.x", "names", Some("age")),
            ("a[2].data[].age", "a[2].names", Some("age")),
            ("split.data[][0]", "split.columns", None),
            ("split.data[]", "split.columns", None),
            ("data[].age", "split.columns", None),
            ("split.data.age", "split.columns", None),
            ("[].age", "columns", None),
            ("data[].age", "names[0]", None),
            ("data[].age", "data", None),
        ] {
            let [path, names] = [path, names].map(|text| FieldPath::parse(text).unwrap());
            assert_eq!(path.column(&names), column, "{path} {names}");
        }
    }

    #[test]
    fn a_shape_is_beside_the_values_of_a_tensor() {
        for (text, shape) in [
            ("inputs[name=x].data", Some("inputs[name=x].shape")),
            (r"\$t.a\.b.values", Some(r"\$t.a\.b.shape")),
            ("data", Some("shape")),
            ("a[0].shape", None),
            ("inputs[0]", None),
            ("inputs[]", None),
            ("inputs[].data", None),
            ("$headers.data", None),
            ("$key", None),
        ] {
            let path = FieldPath::parse(text).unwrap();
            assert_eq!(path.has_shape_beside(), shape.is_some(), "{text}");
            if let Some(shape) = shape {
                assert_eq!(path.shape(), FieldPath::parse(shape).unwrap());
            }
        }
    }

    #[test]
    fn a_value_is_a_list_or_an_object() {
        for (paths, expected) in [
            (&["in[].age", "in.kind"][..], Some((0, 1))),
            (&["k", "a.in.kind", "a.in[]"], Some((2, 1))),
            (&["a[0]", "a.k", "a[].x"], Some((2, 1))),
            (&["in[].x.k", "in[].x[1]"], Some((1, 0))),
            (&["in[].x.k", "in[1].x[1]", "in[].y[1]", "in", "out[]"], None),
            // Without `[]` each may be absent from the messages that have the other.
            (&["a[0]", "a.k", "in[]"], None),
            (&["[].a", "k"], None),
        ] {
            let paths: Vec<_> = paths.iter().map(|it| FieldPath::parse(it).unwrap()).collect();
            assert_eq!(list_and_object(&paths), expected, "{paths:?}");
        }
    }

    #[test]
    fn an_element_is_found_by_a_text_in_it() {
        let by = |key: &str, text: &str| Step::Where { key: key.into(), text: text.into() };
        for (text, expected) in [
            ("in[name=age].data[]", vec![key("in"), by("name", "age"), key("data"), Step::Each]),
            (r"a[k\=\]=x.y]", vec![key("a"), by("k=]", "x.y")]),
            ("a[k=]", vec![key("a"), by("k", "")]),
        ] {
            assert_eq!(steps(text), expected, "{text}");
            assert!(FieldPath::parse(text).unwrap().has_where());
            let mut rebuilt = String::new();
            for step in &expected {
                step.append_to(&mut rebuilt);
            }
            assert_eq!(rebuilt, text);
        }
        assert!(!FieldPath::parse("a[1]").unwrap().has_where());
    }

    #[test]
    fn a_dollar_leads_beside_the_payload() {
        let beside = |text: &str| FieldPath::parse(text).unwrap().beside().cloned();
        assert_eq!(beside("$key"), Some(EnvelopeValue::Key));
        assert_eq!(beside("$time"), Some(EnvelopeValue::Time));
        let header = |name: &str| Some(EnvelopeValue::Header(name.into()));
        assert_eq!(beside("$headers.ce_time"), header("ce_time"));
        assert_eq!(beside(r"$headers.apicurio\.value"), header("apicurio.value"));
        for payload in [r"\$key", r"\$headers.a", "$oid", "a.$key", "$keys"] {
            assert_eq!(beside(payload), None, "{payload}");
        }
        assert_eq!(steps(r"\$key.x"), [key("$key"), key("x")]);
        for text in ["$headers", "$headers.a.b", "$headers[0]", "$key.x", "$time[]"] {
            let error = FieldPath::parse(text).unwrap_err();
            assert_eq!(error.problem, PathProblem::NotBeside, "{text}");
        }
        let mut rebuilt = String::new();
        for step in steps(r"\$key.$x") {
            step.append_to(&mut rebuilt);
        }
        assert_eq!(rebuilt, r"\$key.$x");
    }

    #[test]
    fn a_backslash_keeps_a_separator_inside_the_key() {
        assert_eq!(steps(r"a\.b.c\[0\]\\"), [key("a.b"), key(r"c[0]\")]);
    }

    #[test]
    fn a_path_shows_itself_as_written() {
        let path = FieldPath::parse(r"a\.b[1]").unwrap();
        assert_eq!(path.as_str(), r"a\.b[1]");
        assert_eq!(path.to_string(), path.as_str());
        let mut rebuilt = String::new();
        path.steps().iter().for_each(|step| step.append_to(&mut rebuilt));
        assert_eq!(rebuilt, path.as_str());
    }

    #[test]
    fn errors_name_the_position_and_the_problem() {
        use PathProblem::{
            IndexExpected, KeyExpected, SecondEach, SeparatorExpected, UnknownEscape,
        };
        for (text, position, problem) in [
            ("", 1, KeyExpected),
            (".a", 1, KeyExpected),
            ("[0]", 1, KeyExpected),
            ("a..b", 3, KeyExpected),
            ("ü.", 3, KeyExpected),
            ("a[", 3, IndexExpected),
            ("a[x]", 4, IndexExpected),
            ("a[=x]", 6, IndexExpected),
            ("a[x=y", 6, IndexExpected),
            ("a[x=y=z]", 6, IndexExpected),
            (r"a[x=\.]", 6, UnknownEscape),
            ("[]a", 3, SeparatorExpected { found: 'a' }),
            ("[].", 4, KeyExpected),
            ("a[].b[]", 7, SecondEach),
            ("[][]", 4, SecondEach),
            ("a[01]", 5, IndexExpected),
            ("a[65536]", 8, IndexExpected),
            ("a[999999]", 8, IndexExpected),
            ("a[1", 4, IndexExpected),
            ("a[1]b", 5, SeparatorExpected { found: 'b' }),
            ("a]", 2, SeparatorExpected { found: ']' }),
            (r"a\b", 3, UnknownEscape),
            (r"a\", 3, UnknownEscape),
        ] {
            let error = FieldPath::parse(text).unwrap_err();
            assert_eq!((error.position, error.problem), (position, problem), "{text}");
        }
        assert_eq!(
            FieldPath::parse("a..b").unwrap_err().to_string(),
            "path `a..b`: expected a key, at character 3"
        );
    }

    #[test]
    fn depth_and_length_are_bounded() {
        let deep = ["a"; STEPS_MAX].join(".");
        assert_eq!(steps(&deep).len(), STEPS_MAX);
        let problem = |text: &str| FieldPath::parse(text).unwrap_err().problem;
        assert_eq!(problem(&format!("{deep}.a")), PathProblem::TooDeep);
        assert_eq!(problem(&"a".repeat(PATH_BYTES_MAX + 1)), PathProblem::TooLong);
    }
}
