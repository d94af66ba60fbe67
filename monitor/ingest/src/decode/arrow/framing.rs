//! The messages of a stream or file: what describes each, and its body.
//!
//! Before: the payload of a message of Kafka. After: [`super::program`] compiles the schema,
//! [`super::document`] goes through the messages. In a stream they follow one another; a file says
//! at its end where they lie, which is believed if none lies in another: so none is read twice.

use std::ops::Range;

use arrow::ipc;
use flatbuffers::VerifierOptions;

use super::problem::Problem;
use crate::rejection::Refusal;

/// The mark at the beginning and at the end of a file.
const FILE_MARK: &[u8] = b"ARROW1";

/// Says that the length of a message follows; in front of it since version 0.15 of Arrow.
const CONTINUATION: [u8; 4] = [0xff; 4];

/// What is never too much to go through.
const APPARENT_BYTES_MIN: usize = 64 * 1_024;

/// What a payload is.
pub(super) enum Opened<'a> {
    Stream(Opening<'a>),
    File(File<'a>),
}

/// Tells a stream from a file, and finds what has the schema.
pub(super) fn open(payload: &[u8]) -> Result<Opened<'_>, Refusal> {
    if payload.starts_with(FILE_MARK) {
        return File::open(payload).map(Opened::File).map_err(Problem::refusal);
    }
    // Before there was the mark, a length came first.
    let is_old = payload.split_first_chunk().is_some_and(|(length, rest)| {
        usize::try_from(i32::from_le_bytes(*length)).is_ok_and(|length| length <= rest.len())
    });
    if !is_old && !payload.starts_with(&CONTINUATION) {
        return Err(Problem::Start.refusal());
    }
    let mut reader = Reader { stream: payload, at: 0 };
    let schema = reader.metadata().and_then(|found| found.ok_or(Problem::NoSchema));
    let schema = schema.map_err(|problem| problem.in_message(0))?;
    Ok(Opened::Stream(Opening { schema, reader }))
}

/// The messages of one payload behind the schema, each checked as flatbuffers are.
pub(super) struct Stream<'a> {
    pub(super) messages: Vec<Message<'a>>,
    /// Whether dictionaries may follow the rows that need them.
    pub(super) is_file: bool,
    /// Rows of all record batches; too many to count are the most that can be.
    pub(super) rows: usize,
}

impl<'a> Stream<'a> {
    fn push(&mut self, message: Message<'a>) {
        if let Content::Rows { batch: _, rows } = message.content {
            self.rows = self.rows.saturating_add(rows);
        }
        self.messages.push(message);
    }
}

/// One of them.
#[derive(Clone, Copy)]
pub(super) struct Message<'a> {
    pub(super) content: Content<'a>,
    pub(super) body: &'a [u8],
}

#[derive(Clone, Copy)]
pub(super) enum Content<'a> {
    Rows { batch: ipc::RecordBatch<'a>, rows: usize },
    Dictionary { id: i64, is_delta: bool, values: ipc::RecordBatch<'a> },
}

impl<'a> Content<'a> {
    /// Returns the arrays of the message.
    pub(super) fn arrays(&self) -> ipc::RecordBatch<'a> {
        match self {
            Self::Rows { batch, rows: _ } => *batch,
            Self::Dictionary { id: _, is_delta: _, values } => *values,
        }
    }
}

/// A stream of which the first message was found.
pub(super) struct Opening<'a> {
    /// What describes the first message, not yet checked: often the same as of others.
    pub(super) schema: &'a [u8],
    reader: Reader<'a>,
}

/// What is known of messages by their schema.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    /// The oldest version of the format that messages may have.
    pub(super) version_min: ipc::MetadataVersion,
    /// Bytes of the body of the message that has the schema, which it has no use for.
    pub(super) body: usize,
}

impl<'a> Opening<'a> {
    /// Finds the messages behind the schema.
    pub(super) fn messages(self, head: Head) -> Result<Stream<'a>, Refusal> {
        let Self { schema: _, mut reader } = self;
        reader.take(head.body).map_err(|problem| problem.in_message(0))?;
        let mut stream = Stream { messages: Vec::new(), is_file: false, rows: 0 };
        for number in 1.. {
            let found = reader.message(head.version_min);
            let Some(message) = found.map_err(|problem| problem.in_message(number))? else { break };
            stream.push(message);
        }
        Ok(stream)
    }
}

/// A file whose footer was found and checked.
pub(super) struct File<'a> {
    /// What lies before the footer.
    bytes: &'a [u8],
    footer: ipc::Footer<'a>,
}

impl<'a> File<'a> {
    fn open(payload: &'a [u8]) -> Result<Self, Problem> {
        let rest = payload.strip_suffix(FILE_MARK).ok_or(Problem::Footer)?;
        let (rest, length) = rest.split_last_chunk().ok_or(Problem::Footer)?;
        let length = usize::try_from(i32::from_le_bytes(*length)).map_err(|_| Problem::Footer)?;
        let end = rest.len().checked_sub(length).ok_or(Problem::Footer)?;
        let (bytes, footer) = rest.split_at(end);
        let footer = ipc::root_as_footer_with_opts(&verifier(footer), footer);
        let footer = footer.map_err(|_| Problem::Footer)?;
        Ok(Self { bytes, footer })
    }

    pub(super) fn schema(&self) -> Result<ipc::Schema<'a>, Problem> {
        self.footer.schema().ok_or(Problem::NoSchema)
    }

    /// Finds the messages in the order in which they lie.
    pub(super) fn messages(self, head: Head) -> Result<Stream<'a>, Refusal> {
        let mut stream = Stream { messages: Vec::new(), is_file: true, rows: 0 };
        let blocks = self.blocks().map_err(Problem::refusal)?;
        for (number, block) in (1..).zip(blocks) {
            let message = self.message(&block, head.version_min);
            stream.push(message.map_err(|problem| problem.in_message(number))?);
        }
        Ok(stream)
    }

    fn blocks(&self) -> Result<Vec<FileBlock>, Problem> {
        let dictionaries = self.footer.dictionaries().into_iter().flatten();
        let batches = self.footer.recordBatches().into_iter().flatten();
        let mut blocks = dictionaries
            .map(|block| FileBlock::new(block, true))
            .chain(batches.map(|block| FileBlock::new(block, false)))
            .collect::<Result<Vec<_>, _>>()?;
        blocks.sort_by_key(|block| block.metadata.start);
        let lie_apart = blocks.is_sorted_by(|one, next| one.body.end <= next.metadata.start);
        if lie_apart { Ok(blocks) } else { Err(Problem::Blocks) }
    }

    fn message(
        &self,
        block: &FileBlock,
        version_min: ipc::MetadataVersion,
    ) -> Result<Message<'a>, Problem> {
        let metadata = self.bytes.get(block.metadata.clone()).ok_or(Problem::Cut)?;
        let body = self.bytes.get(block.body.clone()).ok_or(Problem::Cut)?;
        let mut reader = Reader { stream: metadata, at: 0 };
        let metadata = reader.metadata()?.ok_or(Problem::Unexpected)?;
        let (content, _) = describe(metadata, version_min)?;
        if matches!(content, Content::Dictionary { .. }) != block.is_dictionary {
            return Err(Problem::Unexpected);
        }
        Ok(Message { content, body })
    }
}

/// Where a message of a file lies.
struct FileBlock {
    metadata: Range<usize>,
    body: Range<usize>,
    is_dictionary: bool,
}

impl FileBlock {
    fn new(block: &ipc::Block, is_dictionary: bool) -> Result<Self, Problem> {
        let start = usize::try_from(block.offset()).map_err(|_| Problem::Blocks)?;
        let metadata = usize::try_from(block.metaDataLength()).map_err(|_| Problem::Blocks)?;
        let body = usize::try_from(block.bodyLength()).map_err(|_| Problem::Blocks)?;
        let middle = start.checked_add(metadata).ok_or(Problem::Blocks)?;
        let end = middle.checked_add(body).ok_or(Problem::Blocks)?;
        Ok(Self { metadata: start..middle, body: middle..end, is_dictionary })
    }
}

/// Returns how what describes a message is checked: as one in which nothing is named twice, so that
/// going through it costs no more than its bytes. A table has no fewer than 8 of them, with what
/// leads to it. Descriptions of layouts may be shared, which are shorter than their tables.
pub(super) fn verifier(metadata: &[u8]) -> VerifierOptions {
    let bytes = metadata.len();
    VerifierOptions {
        max_tables: bytes / 8,
        max_apparent_size: (8 * bytes).max(APPARENT_BYTES_MIN),
        ..VerifierOptions::default()
    }
}

/// Returns how many bytes the body of a message has.
pub(super) fn body_bytes(message: &ipc::Message<'_>) -> Result<usize, Problem> {
    usize::try_from(message.bodyLength()).map_err(|_| Problem::Cut)
}

/// Returns what a message holds, and how many bytes its body has.
fn describe(
    metadata: &[u8],
    version_min: ipc::MetadataVersion,
) -> Result<(Content<'_>, usize), Problem> {
    let described = ipc::root_as_message_with_opts(&verifier(metadata), metadata);
    let described = described.map_err(|_| Problem::Metadata)?;
    if !(version_min..=ipc::MetadataVersion::V5).contains(&described.version()) {
        return Err(Problem::Version);
    }
    Ok((content(&described)?, body_bytes(&described)?))
}

fn content<'a>(described: &ipc::Message<'a>) -> Result<Content<'a>, Problem> {
    match described.header_type() {
        ipc::MessageHeader::RecordBatch => {
            let batch = described.header_as_record_batch().ok_or(Problem::Metadata)?;
            let rows = usize::try_from(batch.length()).map_err(|_| Problem::Length)?;
            Ok(Content::Rows { batch, rows })
        }
        ipc::MessageHeader::DictionaryBatch => {
            let found = described.header_as_dictionary_batch().ok_or(Problem::Metadata)?;
            let values = found.data().ok_or(Problem::Metadata)?;
            Ok(Content::Dictionary { id: found.id(), is_delta: found.isDelta(), values })
        }
        _ => Err(Problem::Unexpected),
    }
}

struct Reader<'a> {
    stream: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// Returns what describes the next message; `None` at the end of the stream, which need not be
    /// marked.
    fn metadata(&mut self) -> Result<Option<&'a [u8]>, Problem> {
        if self.at == self.stream.len() {
            return Ok(None);
        }
        let mut length = self.word()?;
        if length == CONTINUATION {
            length = self.word()?;
        }
        let length = usize::try_from(i32::from_le_bytes(length)).map_err(|_| Problem::Cut)?;
        if length == 0 {
            return if self.at == self.stream.len() { Ok(None) } else { Err(Problem::Rest) };
        }
        self.take(length).map(Some)
    }

    /// Returns the next message.
    fn message(
        &mut self,
        version_min: ipc::MetadataVersion,
    ) -> Result<Option<Message<'a>>, Problem> {
        let Some(metadata) = self.metadata()? else { return Ok(None) };
        let (content, body) = describe(metadata, version_min)?;
        Ok(Some(Message { content, body: self.take(body)? }))
    }

    fn word(&mut self) -> Result<[u8; 4], Problem> {
        let bytes = self.take(4)?;
        bytes.try_into().map_err(|_| Problem::Cut)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Problem> {
        let end = self.at.checked_add(length).ok_or(Problem::Cut)?;
        let bytes = self.stream.get(self.at..end).ok_or(Problem::Cut)?;
        self.at = end;
        Ok(bytes)
    }
}
