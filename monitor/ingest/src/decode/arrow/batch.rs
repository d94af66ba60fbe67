//! The arrays and buffers of a record batch or dictionary, one after the other.
//!
//! Before: [`super::framing`] has found the message. After: [`super::locate`] takes them in the
//! order of the program. The buffers of a compressed message are read here first, those that are
//! wanted: [`Inflated`] has where each lies since.

use std::ops::Range;

use arrow::ipc;
use flatbuffers::{Follow, Vector};

use super::framing::{Content, Message, Stream};
use super::inflate::{self, Codecs};
use super::problem::Problem;
use super::program::{Item, Op, OpKind, Program};
use super::shape::{Extent, Scalar};
use crate::rejection::{Refusal, RejectReason};

/// Most bytes of buffers that are read decompressed in one message, if that is more than it may
/// have itself.
pub(super) const INFLATED_BYTES_MAX: usize = 16 << 20;

/// Bytes of them that are kept for the next message.
const INFLATED_BYTES_KEPT: usize = 1 << 20;

/// What is left of the arrays and buffers of a message.
pub(super) struct Arrays<'a> {
    nodes: Left<'a, ipc::FieldNode>,
    buffers: Left<'a, ipc::Buffer>,
    views: Left<'a, i64>,
    body: &'a [u8],
    /// Where buffers lie in the body, if not where they are said to.
    places: Option<&'a [Range<usize>]>,
}

/// How long an array is, and how many of it are null.
#[derive(Clone, Copy)]
pub(super) struct Node {
    pub(super) length: usize,
    pub(super) nulls: usize,
}

/// What is left of a vector.
struct Left<'a, T> {
    all: Option<Vector<'a, T>>,
    next: usize,
}

impl<'a, T: Follow<'a> + 'a> Left<'a, T> {
    fn new(all: Option<Vector<'a, T>>) -> Self {
        Self { all, next: 0 }
    }

    fn peek(&self) -> Result<T::Inner, Problem> {
        let all = self.all.filter(|all| self.next < all.len()).ok_or(Problem::Arrays)?;
        Ok(all.get(self.next))
    }

    fn take(&mut self) -> Result<T::Inner, Problem> {
        let found = self.peek()?;
        self.next += 1;
        Ok(found)
    }

    fn skip(&mut self, count: usize) -> Result<(), Problem> {
        let length = self.all.map_or(0, |all| all.len());
        let next = self.next.checked_add(count).filter(|next| *next <= length);
        self.next = next.ok_or(Problem::Arrays)?;
        Ok(())
    }
}

impl<'a> Arrays<'a> {
    /// Takes those of a message, whose buffers lie in `inflated` if they were compressed.
    pub(super) fn new(
        message: &Message<'a>,
        inflated: Option<(&'a [u8], &'a [Range<usize>])>,
    ) -> Self {
        let arrays = message.content.arrays();
        Self {
            nodes: Left::new(arrays.nodes()),
            buffers: Left::new(arrays.buffers()),
            views: Left::new(arrays.variadicBufferCounts()),
            body: inflated.map_or(message.body, |(bytes, _)| bytes),
            places: inflated.map(|(_, places)| places),
        }
    }

    /// Returns the next array without taking it.
    pub(super) fn peek(&self) -> Result<Node, Problem> {
        let node = self.nodes.peek()?;
        match (usize::try_from(node.length()), usize::try_from(node.null_count())) {
            (Ok(length), Ok(nulls)) => Ok(Node { length, nulls }),
            (Ok(_) | Err(_), Ok(_) | Err(_)) => Err(Problem::Arrays),
        }
    }

    pub(super) fn node(&mut self) -> Result<Node, Problem> {
        let node = self.peek()?;
        self.nodes.skip(1)?;
        Ok(node)
    }

    pub(super) fn buffer(&mut self) -> Result<&'a [u8], Problem> {
        let at = self.buffers.next;
        let said = self.buffers.take()?;
        let place = match self.places {
            Some(places) => places.get(at).cloned().ok_or(Problem::Buffer)?,
            None => place(said)?,
        };
        self.body.get(place).ok_or(Problem::Buffer)
    }

    /// Returns how many buffers beside its own an array of views has.
    pub(super) fn view_buffers(&mut self) -> Result<usize, Problem> {
        usize::try_from(self.views.take()?).map_err(|_| Problem::Arrays)
    }

    /// Passes over fields; returns how many buffers that were.
    pub(super) fn skip(&mut self, extent: Extent) -> Result<usize, Problem> {
        let mut buffers = extent.buffers;
        for _ in 0..extent.views {
            buffers = buffers.checked_add(self.view_buffers()?).ok_or(Problem::Arrays)?;
        }
        self.nodes.skip(extent.arrays)?;
        self.buffers.skip(buffers)?;
        Ok(buffers)
    }
}

fn place(said: &ipc::Buffer) -> Result<Range<usize>, Problem> {
    let (Ok(start), Ok(length)) = (usize::try_from(said.offset()), usize::try_from(said.length()))
    else {
        return Err(Problem::Buffer);
    };
    Ok(start..start.checked_add(length).ok_or(Problem::Buffer)?)
}

/// What was decompressed of the messages of a stream.
#[derive(Default)]
pub(super) struct Inflated {
    pub(super) bytes: Vec<u8>,
    /// For each message where its buffers lie in `bytes`, if it was compressed.
    pub(super) places: Vec<Option<Vec<Range<usize>>>>,
    codecs: Codecs,
}

impl Inflated {
    /// Forgets the message before, and gives back what only a large one needs.
    fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(INFLATED_BYTES_KEPT);
        self.places.clear();
    }

    /// Decompresses the buffers that the program reads.
    pub(super) fn read(
        &mut self,
        stream: &Stream<'_>,
        program: &Program,
        bytes_max: usize,
    ) -> Result<(), Refusal> {
        self.clear();
        if stream.messages.iter().all(|it| it.content.arrays().compression().is_none()) {
            return Ok(());
        }
        let mut wanted = Vec::new();
        let mut sum = 0_usize;
        for (message, number) in stream.messages.iter().zip(1..) {
            let found = wanted_buffers(message, program);
            let found = found.map_err(|problem| problem.in_message(number))?;
            sum = found.iter().fold(sum, |sum, it| sum.saturating_add(it.length.bytes));
            wanted.push(found);
        }
        if bytes_max.max(INFLATED_BYTES_MAX) < sum {
            let most = bytes_max.max(INFLATED_BYTES_MAX);
            let detail = format_args!("buffers of {sum} bytes when decompressed, more than {most}");
            return Err(Refusal::new(RejectReason::Oversized, detail));
        }
        for ((message, wanted), number) in stream.messages.iter().zip(&wanted).zip(1..) {
            check_claims(message, wanted).map_err(|problem| problem.in_message(number))?;
        }
        self.bytes.reserve_exact(sum);
        for ((message, wanted), number) in stream.messages.iter().zip(wanted).zip(1..) {
            let places = self.read_message(message, &wanted);
            self.places.push(places.map_err(|problem| problem.in_message(number))?);
        }
        Ok(())
    }

    fn read_message(
        &mut self,
        message: &Message<'_>,
        wanted: &[Wanted],
    ) -> Result<Option<Vec<Range<usize>>>, Problem> {
        let arrays = message.content.arrays();
        let Some(compression) = arrays.compression() else { return Ok(None) };
        if compression.method() != ipc::BodyCompressionMethod::BUFFER {
            return Err(Problem::Compression);
        }
        let buffers = arrays.buffers().ok_or(Problem::Arrays)?;
        let mut places = vec![0..0; buffers.len()];
        if wanted.is_empty() {
            return Ok(Some(places));
        }
        let mut codec = self.codecs.get(compression.codec())?;
        for Wanted { at, .. } in wanted {
            let place = place(buffers.get(*at))?;
            let buffer = message.body.get(place).ok_or(Problem::Buffer)?;
            places[*at] = codec.inflate(buffer, &mut self.bytes)?;
        }
        Ok(Some(places))
    }
}

/// A buffer that is read, and how long it is then.
struct Wanted {
    at: usize,
    length: inflate::Length,
}

/// Refuses buffers that say they are longer than their bytes can stand for.
fn check_claims(message: &Message<'_>, wanted: &[Wanted]) -> Result<(), Problem> {
    let Some(compression) = message.content.arrays().compression() else { return Ok(()) };
    let are_possible = wanted.iter().all(|it| it.length.is_possible(compression.codec()));
    if are_possible { Ok(()) } else { Err(Problem::Compression) }
}

/// Returns the buffers of a compressed message that the program reads; of another none.
fn wanted_buffers(message: &Message<'_>, program: &Program) -> Result<Vec<Wanted>, Problem> {
    if message.content.arrays().compression().is_none() {
        return Ok(Vec::new());
    }
    let mut marker = Marker { arrays: Arrays::new(message, None), wanted: Vec::new() };
    match message.content {
        Content::Rows { batch: _, rows: 0 } => {}
        Content::Rows { .. } => marker.items(&program.columns)?,
        Content::Dictionary { id, is_delta: _, values: _ } => {
            let known = program.dictionaries.iter().find(|(known, _)| *known == id);
            known.map_or(Ok(()), |(_, scalar)| marker.scalar(*scalar))?;
        }
    }
    Ok(marker.wanted)
}

/// Goes through the buffers as [`super::locate`] does.
struct Marker<'a> {
    arrays: Arrays<'a>,
    wanted: Vec<Wanted>,
}

impl Marker<'_> {
    fn items(&mut self, items: &[Item]) -> Result<(), Problem> {
        items.iter().try_for_each(|item| self.item(item))
    }

    fn item(&mut self, item: &Item) -> Result<(), Problem> {
        match item {
            Item::Skip(extent) => self.arrays.skip(*extent).map(|_| ()),
            Item::Read(op) => self.op(op),
        }
    }

    fn op(&mut self, op: &Op) -> Result<(), Problem> {
        match &op.kind {
            OpKind::Scalar(scalar) => self.scalar(*scalar),
            OpKind::Keys(..) => self.take(1, 2),
            OpKind::Struct(items) => {
                self.take(1, 1)?;
                self.items(items)
            }
            OpKind::List { width: _, element } => {
                self.take(1, 2)?;
                self.item(element)
            }
            OpKind::FixedList { size: _, element } => {
                self.take(1, 1)?;
                self.item(element)
            }
            OpKind::Map { keys, value } => {
                self.take(1, 2)?;
                self.take(1, 1)?;
                self.scalar(*keys)?;
                self.item(value)
            }
            OpKind::Runs { ends: _, values } => {
                self.take(1, 0)?;
                self.take(1, 2)?;
                self.op(values)
            }
            OpKind::Closed { kind: _, has_nulls, rest } => {
                self.take(1, usize::from(*has_nulls))?;
                self.arrays.skip(*rest).map(|_| ())
            }
        }
    }

    fn scalar(&mut self, scalar: Scalar) -> Result<(), Problem> {
        let Extent { arrays, buffers, views } = scalar.extent();
        let mut all = buffers;
        for _ in 0..views {
            all = all.checked_add(self.arrays.view_buffers()?).ok_or(Problem::Arrays)?;
        }
        self.take(arrays, all)
    }

    fn take(&mut self, arrays: usize, buffers: usize) -> Result<(), Problem> {
        self.arrays.nodes.skip(arrays)?;
        for _ in 0..buffers {
            let at = self.arrays.buffers.next;
            let length = inflate::Length::of(self.arrays.buffer()?)?;
            self.wanted.push(Wanted { at, length });
        }
        Ok(())
    }
}
