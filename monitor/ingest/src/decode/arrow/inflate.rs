//! Buffers that are compressed, as they were before.
//!
//! Before: [`super::batch`] knows which buffers are read. After: [`super::locate`] finds the arrays
//! in what is written here. A buffer says how long it was: the sum is bounded before the first one
//! is read, and none may become longer or shorter than it says.
//!
//! Checksums of LZ4's frames are not looked at: Kafka has one over all of the message.

use std::ops::Range;

use arrow::ipc::CompressionType;
use zstd::zstd_safe::DCtx;

use super::problem::Problem;

const LZ4_MARK: [u8; 4] = [0x04, 0x22, 0x4d, 0x18];

/// How far back a block of LZ4 refers to those before it.
const LZ4_WINDOW: usize = 64 * 1_024;

/// How much a byte of LZ4 stands for at most: a length is told by bytes of 255 each.
pub(super) const LZ4_FACTOR: usize = 255;

/// How much a block of Zstandard stands for at most, and what one takes: its head, and a byte.
const ZSTD_BLOCK: usize = 128 * 1_024;
const ZSTD_BLOCK_PACKED: usize = 4;

/// What a context of Zstandard takes, which is kept from message to message: made anew for each, it
/// costs more than reading a few rows. Its window is the buffer that is written.
pub(super) const ZSTD_CONTEXT_BYTES: usize = 256 * 1_024;

/// What reads compressed buffers, and is kept from message to message.
#[derive(Default)]
pub(super) struct Codecs {
    /// There once a message was compressed so.
    pub(super) zstd: Option<DCtx<'static>>,
}

/// What buffers are compressed by.
pub(super) enum Codec<'a> {
    Lz4,
    Zstd(&'a mut DCtx<'static>),
}

impl Codecs {
    pub(super) fn get(&mut self, kind: CompressionType) -> Result<Codec<'_>, Problem> {
        match kind {
            CompressionType::LZ4_FRAME => Ok(Codec::Lz4),
            CompressionType::ZSTD => {
                if self.zstd.is_none() {
                    self.zstd = DCtx::try_create();
                }
                self.zstd.as_mut().map(Codec::Zstd).ok_or(Problem::Compression)
            }
            _ => Err(Problem::Compression),
        }
    }
}

impl Codec<'_> {
    /// Writes what a buffer holds to the end of `out`, where there is room for it; returns where.
    pub(super) fn inflate(
        &mut self,
        buffer: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Range<usize>, Problem> {
        let start = out.len();
        let Some((length, packed)) = split(buffer)? else { return Ok(start..start) };
        let Some(length) = length else {
            out.extend_from_slice(packed);
            return Ok(start..out.len());
        };
        out.resize(start + length, 0);
        let end = out.len();
        let written = match self {
            Self::Lz4 => lz4(packed, &mut out[start..])?,
            Self::Zstd(context) => {
                context.decompress(&mut out[start..], packed).map_err(|_| Problem::Compression)?
            }
        };
        if written == length { Ok(start..end) } else { Err(Problem::Compression) }
    }
}

/// How long a buffer is when it is read, and the bytes that it is read from.
#[derive(Clone, Copy)]
pub(super) struct Length {
    pub(super) bytes: usize,
    packed: usize,
    is_compressed: bool,
}

impl Length {
    pub(super) fn of(buffer: &[u8]) -> Result<Self, Problem> {
        let (length, packed) = split(buffer)?.unwrap_or_default();
        let (packed, is_compressed) = (packed.len(), length.is_some());
        Ok(Self { bytes: length.unwrap_or(packed), packed, is_compressed })
    }

    /// Returns whether the bytes can stand for so many: room is made for no more.
    pub(super) fn is_possible(self, kind: CompressionType) -> bool {
        let most = match kind {
            CompressionType::LZ4_FRAME => self.packed.saturating_mul(LZ4_FACTOR),
            _ => (self.packed / ZSTD_BLOCK_PACKED).saturating_mul(ZSTD_BLOCK),
        };
        !self.is_compressed || self.bytes <= most
    }
}

/// The length that a buffer has uncompressed, if it is compressed, and its bytes.
type Parts<'a> = (Option<usize>, &'a [u8]);

/// Parts the length that a buffer has uncompressed from its bytes; `None` of an empty one, and a
/// length of `None` where it is not compressed.
fn split(buffer: &[u8]) -> Result<Option<Parts<'_>>, Problem> {
    if buffer.is_empty() {
        return Ok(None);
    }
    let (length, packed) = buffer.split_first_chunk::<8>().ok_or(Problem::Compression)?;
    let length = i64::from_le_bytes(*length);
    if length == -1 {
        return Ok(Some((None, packed)));
    }
    let length = usize::try_from(length).map_err(|_| Problem::Compression)?;
    Ok((length != 0).then_some((Some(length), packed)))
}

/// Reads a frame of LZ4 into `out`, and returns how much of it is written. Block after block goes
/// to its place: a frame says that its blocks may have megabytes, which none need have.
fn lz4(frame: &[u8], out: &mut [u8]) -> Result<usize, Problem> {
    let mut frame = Frame(frame);
    if frame.array()? != LZ4_MARK {
        return Err(Problem::Compression);
    }
    let [flags, _block_size] = frame.array()?;
    let has = |bit: u8| flags & bit != 0;
    if flags >> 6 != 1 || has(0x01) {
        // Another version, or a dictionary that is elsewhere.
        return Err(Problem::Compression);
    }
    let (is_linked, has_block_sums, has_size) = (!has(0x20), has(0x10), has(0x08));
    frame.take(if has_size { 8 } else { 0 } + 1)?;
    let mut written = 0;
    loop {
        let size = u32::from_le_bytes(frame.array()?);
        if size == 0 {
            return Ok(written);
        }
        let bytes = usize::try_from(size & 0x7fff_ffff).map_err(|_| Problem::Compression)?;
        let block = frame.take(bytes)?;
        let (before, room) = out.split_at_mut(written);
        written += if size >> 31 == 1 {
            room.get_mut(..bytes).ok_or(Problem::Compression)?.copy_from_slice(block);
            bytes
        } else if is_linked {
            let before = &before[before.len().saturating_sub(LZ4_WINDOW)..];
            lz4_flex::block::decompress_into_with_dict(block, room, before)
                .map_err(|_| Problem::Compression)?
        } else {
            lz4_flex::block::decompress_into(block, room).map_err(|_| Problem::Compression)?
        };
        frame.take(if has_block_sums { 4 } else { 0 })?;
    }
}

struct Frame<'a>(&'a [u8]);

impl<'a> Frame<'a> {
    fn take(&mut self, bytes: usize) -> Result<&'a [u8], Problem> {
        let (taken, rest) = self.0.split_at_checked(bytes).ok_or(Problem::Compression)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Problem> {
        self.take(N)?.try_into().map_err(|_| Problem::Compression)
    }
}
