//! One half of a record, a request or a response that is a message by itself, and what it says
//! about whose half it is.
//!
//! Before: [`crate::Message`] from the consumer, of a source whose requests and responses are
//! joined. After: `driftd-core` keeps it until the other half comes, and [`super::JsonDecoder`]
//! reads the document of both.
//!
//! A half has to be one whole value by itself, so that none can end the document around it and add
//! keys to it. One that is a body of the Open Inference Protocol is kept as it came, and written as
//! JSON by [`super::bodies`] once more when it is joined: as text it may be many times as long.

use std::borrow::Cow;
use std::sync::Arc;

use super::bodies::Bodies;
use super::value::Kind;
use super::walk::{Found, Slots, walk};
use super::{checked_text, invalid_json};
use crate::decode::place::{Place, blocked};
use crate::decode::trie::Trie;
use crate::decode::whole::Whole;
use crate::decode::{CELLS_KEPT, DecodeLimits, Message, checked_payload, inference};
use crate::path::FieldPath;
use crate::rejection::{Refusal, RejectReason, Rejection};
use crate::schema::{InferenceMessage, SourceSchema};

/// Which half of a record a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// What the model was asked.
    Request,
    /// What it answered.
    Response,
}

impl Side {
    /// Both, requests first.
    pub const ALL: [Self; 2] = [Self::Request, Self::Response];

    /// Returns the name of the side: the label under which it is counted, and the key under which
    /// it is in the joined document.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Response => "response",
        }
    }

    /// Returns the other side.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Request => Self::Response,
            Self::Response => Self::Request,
        }
    }
}

/// Where messages say whose half they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HalfSchema {
    /// Where the id is that both halves have, in the payload of either or beside it.
    pub id: FieldPath,
    /// Where the side is.
    pub side: FieldPath,
    /// Text at `side` of a request.
    pub request: Arc<str>,
    /// Text at `side` of a response.
    pub response: Arc<str>,
    /// What halves are written in.
    pub form: HalfForm,
}

/// What halves are written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HalfForm {
    /// Each is one document of JSON.
    Json,
    /// Each is a body of the Open Inference Protocol that is JSON, perhaps with raw values of
    /// tensors behind it. `side` is beside the payload.
    InferenceJson,
    /// A request is a `ModelInferRequest`, a response a `ModelInferResponse`. `side` is beside the
    /// payload.
    InferenceProtobuf,
}

impl HalfForm {
    /// Returns how long the document of a half is at most.
    pub const fn text_bytes_max(self, payload_bytes_max: usize) -> usize {
        match self {
            Self::Json => payload_bytes_max,
            Self::InferenceJson | Self::InferenceProtobuf => {
                inference::text_bytes_max(payload_bytes_max)
            }
        }
    }

    /// Returns what writing the document of a half takes at most.
    pub const fn bytes_max(self, payload_bytes_max: usize) -> usize {
        match self {
            Self::Json => 0,
            Self::InferenceJson | Self::InferenceProtobuf => {
                inference::bytes_max(payload_bytes_max)
            }
        }
    }

    /// Returns what a body of this side is; `None` where halves are no bodies.
    const fn body(self, side: Side) -> Option<InferenceMessage> {
        match (self, side) {
            (Self::Json, Side::Request | Side::Response) => None,
            (Self::InferenceJson, Side::Request | Side::Response) => Some(InferenceMessage::Json),
            (Self::InferenceProtobuf, Side::Request) => Some(InferenceMessage::Request),
            (Self::InferenceProtobuf, Side::Response) => Some(InferenceMessage::Response),
        }
    }
}

/// A half of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Half<'a> {
    /// Which one.
    pub side: Side,
    /// What the other half has too.
    pub id: Cow<'a, str>,
    /// What it is written from when it is joined: its payload, of JSON without the prefix of a
    /// schema registry.
    pub payload: &'a [u8],
}

/// Reads what halves say. Kept from message to message for its memory.
pub struct HalfReader {
    limits: DecodeLimits,
    id: Place,
    side: Place,
    request: Arc<str>,
    response: Arc<str>,
    trie: Trie,
    slots: Slots,
    /// What writes requests, and what writes responses, where they are bodies of the protocol.
    bodies: Option<[Bodies; 2]>,
    /// The document of the body that was read last.
    text: String,
}

impl HalfReader {
    /// Longest id, in bytes: it is kept for as long as its half waits.
    pub const ID_BYTES_MAX: usize = 1_024;

    /// Plans the reading of halves, each of them within the limits, whose messages have beside them
    /// what the schema wants.
    ///
    /// # Panics
    /// When a path is none of one value, or of one beside the payload that the schema does not
    /// want; or when bodies of the protocol are to tell their side themselves.
    pub fn new(schema: &SourceSchema, half: &HalfSchema, limits: DecodeLimits) -> Self {
        let HalfSchema { id, side, request, response, form } = half;
        let inside = [id, side].into_iter().filter(|it| it.beside().is_none());
        let trie = Trie::new(inside);
        let place = |path: &FieldPath| {
            let slot = match path.beside() {
                Some(value) => schema.envelope.binary_search(value).expect("the schema wants it"),
                None => trie.place(path).1,
            };
            assert!(path.beside().is_some() || path.has_fixed_place(), "`{path}` is one value");
            Place { list: None, slot, path: path.clone() }
        };
        let (id, side) = (place(id), place(side));
        let slots = Slots::new(&trie, 0);
        let (request, response) = (Arc::clone(request), Arc::clone(response));
        let of_side = |of: Side| Some(Bodies::inside(schema, form.body(of)?, &[of.as_str()]));
        let bodies = of_side(Side::Request).zip(of_side(Side::Response));
        let bodies = bodies.map(<[Bodies; 2]>::from);
        assert!(bodies.is_none() || side.is_beside(), "a body of the protocol says no side");
        Self { limits, id, side, request, response, trie, slots, bodies, text: String::new() }
    }

    /// Reads a half, or says why its message is refused.
    pub fn read<'a>(&mut self, message: &Message<'a>) -> Result<Half<'a>, Rejection> {
        // What says whose half it is, is no field of records.
        self.half(message).map_err(|refusal| Rejection { path: None, ..refusal.at(message.offset) })
    }

    /// Appends the document of a record: of the half that was read last, and of the payload of one
    /// of the other side, which was [`Half::payload`] when it was read.
    ///
    /// That one is refused here alone where other tensors are read of it than were before.
    pub fn append_pair(
        &mut self,
        offset: i64,
        half: &Half<'_>,
        other: &[u8],
        into: &mut String,
    ) -> Result<(), Rejection> {
        for (side, before) in Side::ALL.into_iter().zip(["{", ","]) {
            into.extend([before, "\"", side.as_str(), "\":"]);
            let written = match &self.bodies {
                Some(_) if side == half.side => {
                    into.push_str(&self.text);
                    Ok(())
                }
                Some(_) | None => {
                    let payload = if side == half.side { half.payload } else { other };
                    self.append(side, payload, into)
                }
            };
            written.map_err(|refusal| refusal.at(offset))?;
        }
        into.push('}');
        Ok(())
    }

    /// Appends the document of a half.
    fn append(&mut self, side: Side, payload: &[u8], into: &mut String) -> Result<(), Refusal> {
        match (&mut self.bodies, side) {
            (Some([bodies, _]), Side::Request) | (Some([_, bodies]), Side::Response) => {
                bodies.append(payload, into)
            }
            (None, Side::Request | Side::Response) => {
                into.push_str(checked_text(Some(payload), self.limits)?);
                Ok(())
            }
        }
    }

    fn half<'a>(&mut self, message: &Message<'a>) -> Result<Half<'a>, Refusal> {
        if self.bodies.is_some() {
            return self.body(message);
        }
        let document = checked_text(message.payload, self.limits)?;
        self.walk(document)?;
        let side = self.side(&self.text(&self.side, message, document)?)?;
        let id = self.text(&self.id, message, document)?;
        Ok(Half { side, id, payload: document.as_bytes() })
    }

    /// Reads a half that is a body of the protocol, and says what is wrong with it while it is by
    /// itself.
    fn body<'a>(&mut self, message: &Message<'a>) -> Result<Half<'a>, Refusal> {
        let payload = checked_payload(message.payload, self.limits)?;
        let side = self.side(&self.text(&self.side, message, "")?)?;
        let mut document = std::mem::take(&mut self.text);
        document.clear();
        document.shrink_to(CELLS_KEPT);
        let written = self.append(side, payload, &mut document);
        let id = written.and_then(|()| {
            if !self.id.is_beside() {
                self.walk(&document)?;
            }
            self.text(&self.id, message, &document).map(Cow::into_owned)
        });
        self.text = document;
        Ok(Half { side, id: Cow::Owned(id?), payload })
    }

    /// Finds what the document says of whose half it is.
    fn walk(&mut self, document: &str) -> Result<(), Refusal> {
        let kind = walk(&self.trie, document, 0..document.len(), &mut self.slots)
            .map_err(|error| invalid_json(&error))?;
        if 0 < self.trie.slots() && kind != Kind::Object {
            let detail = format_args!("the message: expected an object, found {kind}");
            return Err(Refusal::new(RejectReason::WrongType, detail));
        }
        Ok(())
    }

    fn side(&self, text: &str) -> Result<Side, Refusal> {
        if *text == *self.request {
            Ok(Side::Request)
        } else if *text == *self.response {
            Ok(Side::Response)
        } else {
            let problem = format_args!("the text of neither a request nor a response");
            Err(self.side.refusal(RejectReason::UnknownSide, problem))
        }
    }

    /// Returns the text at a place: a text that is not empty, or a whole number as it is written.
    fn text<'a>(
        &self,
        at: &Place,
        message: &Message<'a>,
        document: &'a str,
    ) -> Result<Cow<'a, str>, Refusal> {
        let text = if at.is_beside() {
            let bytes = message.envelope.get(at.slot).copied().flatten();
            let bytes = bytes.ok_or_else(|| at.missing())?;
            let text = simdutf8::basic::from_utf8(bytes).map_err(|_| {
                at.refusal(RejectReason::InvalidUtf8, format_args!("bytes that are not UTF-8"))
            })?;
            Cow::Borrowed(text)
        } else {
            self.inside(at, document)?
        };
        let bytes = text.len();
        let bytes_max = Self::ID_BYTES_MAX;
        if bytes == 0 || bytes_max < bytes {
            let problem = format_args!("a text of {bytes} bytes, not 1 to {bytes_max}");
            return Err(at.refusal(RejectReason::InvalidName, problem));
        }
        Ok(text)
    }

    fn inside<'a>(&self, at: &Place, document: &'a str) -> Result<Cow<'a, str>, Refusal> {
        let written = match self.slots.get(at.slot) {
            None => return Err(at.missing()),
            Some(Found::Blocked { node, expected, found }) => {
                return Err(blocked(&self.trie.node(node).path, expected, found));
            }
            Some(Found::Value { start, end }) => {
                document.get(start..end).expect("values lie inside the payload")
            }
        };
        match Kind::of(written) {
            Kind::Null => Err(at.missing()),
            Kind::Text => text(written).ok_or_else(|| {
                let problem = format_args!("text with half a surrogate pair");
                at.refusal(RejectReason::InvalidJson, problem)
            }),
            Kind::Number if matches!(Whole::read(written), Some(Whole::Integer(_))) => {
                Ok(Cow::Borrowed(written))
            }
            found @ (Kind::Boolean | Kind::Number | Kind::Special | Kind::Array | Kind::Object) => {
                Err(at.wrong_type("text or a whole number", found))
            }
        }
    }
}

/// Returns what a JSON text means, without a copy where that is what it says.
fn text(written: &str) -> Option<Cow<'_, str>> {
    let inside = written.strip_prefix('"').and_then(|it| it.strip_suffix('"'))?;
    if inside.contains('\\') {
        return serde_json::from_str(written).ok().map(Cow::Owned);
    }
    Some(Cow::Borrowed(inside))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::EnvelopeValue;
    use crate::schema::{FeatureField, FeatureKind, ModelSchema, TimeFormat, VersionField};

    const KSERVE: [&str; 2] = [
        include_str!("../../../../../fixtures/messages/kserve_request.json"),
        include_str!("../../../../../fixtures/messages/kserve_response.json"),
    ];

    fn path(text: &str) -> FieldPath {
        FieldPath::parse(text).unwrap()
    }

    fn reader(id: &str, side: &str) -> HalfReader {
        let half = HalfSchema {
            id: path(id),
            side: path(side),
            request: "org.kubeflow.serving.inference.request".into(),
            response: "org.kubeflow.serving.inference.response".into(),
            form: HalfForm::Json,
        };
        let feature =
            FeatureField { name: "x".into(), path: path("request.x"), kind: FeatureKind::Float64 };
        let model = ModelSchema {
            name: "m".into(),
            version: VersionField::Fixed("1".into()),
            prediction_id: None,
            features: vec![feature],
            segments: Vec::new(),
        };
        let time = path("$time");
        let schema = SourceSchema::try_new(time, TimeFormat::Rfc3339, None, vec![model]).unwrap();
        let schema = schema.with_beside([&half.id, &half.side]);
        let limits = DecodeLimits { payload_bytes_max: 1_000, rows_max: 1, cells_max: 1 };
        HalfReader::new(&schema, &half, limits)
    }

    /// Reads a message whose id and side are in its headers.
    fn beside(id: Option<&[u8]>, side: Option<&[u8]>, payload: &str) -> Result<String, String> {
        let mut reader = reader("$headers.ce_id", "$headers.ce_type");
        let payload = Some(payload.as_bytes());
        let envelope = [id, side, None];
        let message = Message { payload, offset: 7, timestamp: None, envelope: &envelope };
        said(reader.read(&message))
    }

    fn inside(payload: &str) -> Result<String, String> {
        let mut reader = reader("id", "type");
        let payload = Some(payload.as_bytes());
        said(reader.read(&Message { payload, offset: 7, timestamp: None, envelope: &[None] }))
    }

    fn said(read: Result<Half<'_>, Rejection>) -> Result<String, String> {
        let half = |Half { side, id, payload: _ }: Half<'_>| format!("{} {id}", side.as_str());
        read.map(half).map_err(|Rejection { offset, reason, detail, path }| {
            assert_eq!(path, None, "no field of records is missed");
            format!("{offset} {reason} {detail}")
        })
    }

    const REQUEST: Option<&[u8]> = Some(b"org.kubeflow.serving.inference.request");
    const RESPONSE: Option<&[u8]> = Some(b"org.kubeflow.serving.inference.response");

    #[test]
    fn headers_say_whose_half_it_is() {
        let id = Some(&b"a-1"[..]);
        assert_eq!(beside(id, REQUEST, "[1]").as_deref(), Ok("request a-1"));
        assert_eq!(beside(id, RESPONSE, "{}").as_deref(), Ok("response a-1"));
        for (id, side, expected) in [
            (None, REQUEST, "7 missing_field `$headers.ce_id`: absent or null"),
            (id, None, "7 missing_field `$headers.ce_type`: absent or null"),
            (
                id,
                Some(&b"other"[..]),
                "7 unknown_side `$headers.ce_type`: the text of neither a request nor a response",
            ),
            (
                Some(&b""[..]),
                REQUEST,
                "7 invalid_name `$headers.ce_id`: a text of 0 bytes, not 1 to 1024",
            ),
            (
                Some(&b"\xff"[..]),
                REQUEST,
                "7 invalid_utf8 `$headers.ce_id`: bytes that are not UTF-8",
            ),
        ] {
            assert_eq!(beside(id, side, "{}").unwrap_err(), expected);
        }
        let long = vec![b'x'; HalfReader::ID_BYTES_MAX + 1];
        assert!(beside(Some(&long), REQUEST, "{}").unwrap_err().contains("invalid_name"));
        assert!(beside(Some(&long[1..]), REQUEST, "{}").is_ok());
    }

    #[test]
    fn the_payload_of_a_structured_event_says_it_too() {
        let id = "0009174a-24a8-4603-b098-09c8799950e9";
        for (event, side) in KSERVE.into_iter().zip(Side::ALL) {
            assert_eq!(inside(event), Ok(format!("{} {id}", side.as_str())));
        }
        let of =
            |id: &str| inside(&KSERVE[0].replace(r#""0009174a-24a8-4603-b098-09c8799950e9""#, id));
        assert_eq!(of(r#""a\u0062\"c""#).as_deref(), Ok("request ab\"c"));
        assert_eq!(of("12345678901234").as_deref(), Ok("request 12345678901234"));
        for (id, expected) in [
            ("null", "7 missing_field `id`: absent or null"),
            ("1.5", "7 wrong_type `id`: expected text or a whole number, found a number"),
            ("[1]", "7 wrong_type `id`: expected text or a whole number, found an array"),
            (r#""\ud800""#, "7 invalid_json `id`: text with half a surrogate pair"),
        ] {
            assert_eq!(of(id).unwrap_err(), expected);
        }
        let refused = inside("[]").unwrap_err();
        assert_eq!(refused, "7 wrong_type the message: expected an object, found an array");
        let refused = inside(r#"{"type": 1, "id": 1}"#).unwrap_err();
        assert!(refused.contains("unknown_side"), "{refused}");
    }

    #[test]
    fn only_one_whole_value_is_a_half() {
        let id = Some(&b"a"[..]);
        for (payload, reason) in [
            (r#"{}, "response": {}"#, "invalid_json"),
            ("{}}", "invalid_json"),
            ("{", "invalid_json"),
            ("{} {}", "invalid_json"),
            ("", "empty_payload"),
            (&" ".repeat(1_001), "oversized"),
        ] {
            let refused = beside(id, REQUEST, payload).unwrap_err();
            assert!(refused.contains(reason), "{payload}: {refused}");
        }
        for payload in ["NaN", "[NaN, 1e5]", " null ", "\u{0}\u{0}\u{0}\u{0}\u{1}{}"] {
            assert_eq!(beside(id, REQUEST, payload).as_deref(), Ok("request a"), "{payload}");
        }
    }

    #[test]
    fn the_values_beside_the_payload_lie_where_the_schema_says() {
        let half = HalfSchema {
            id: path("$key"),
            side: path("$headers.z"),
            request: "q".into(),
            response: "r".into(),
            form: HalfForm::Json,
        };
        let header = EnvelopeValue::Header("z".into());
        assert_eq!(half.side.beside(), Some(&header));
        assert!(header < EnvelopeValue::Key && EnvelopeValue::Key < EnvelopeValue::Time);
    }
}
