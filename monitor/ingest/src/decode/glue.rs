//! The header that serializers of AWS Glue's schema registry write before a value, and values that
//! they have compressed.
//!
//! Before: a payload. After: [`super::framing`] has the schema's identifier, and each format reads
//! the value from where [`Inflater`] has put it, or from where it lies.

use flate2::{Decompress, FlushDecompress, Status};

use super::DecodeLimits;
use super::schema_id::Uuid;
use crate::rejection::{Refusal, RejectReason};

/// The version of the header, the compression, and an identifier of sixteen bytes.
pub(super) const HEADER_BYTES: usize = 18;
const VERSION: u8 = 3;
const PLAIN: u8 = 0;
const ZLIB: u8 = 5;

/// Memory of a value that is kept for the next one.
const BYTES_KEPT: usize = 64 << 10;
/// Of a value that was inflated this is made room for at first.
const BYTES_FIRST: usize = 4 << 10;
/// Bytes at the beginning of a value that say which type it is.
const HEAD_BYTES: usize = 16;

/// How a value lies in a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compression {
    None,
    Zlib,
}

/// Returns the identifier of the schema in a header, and how the value behind it lies.
pub(super) fn open(payload: &[u8]) -> Option<(Uuid, Compression)> {
    let (head, uuid) = payload.first_chunk::<HEADER_BYTES>()?.split_first_chunk::<2>()?;
    let compression = match *head {
        [VERSION, PLAIN] => Compression::None,
        [VERSION, ZLIB] => Compression::Zlib,
        _ => return None,
    };
    Some((Uuid(u128::from_be_bytes(*uuid.first_chunk()?)), compression))
}

/// Returns the value behind a header, or what it is compressed to.
pub(super) fn behind(payload: &[u8]) -> &[u8] {
    payload.get(HEADER_BYTES..).unwrap_or_default()
}

/// Returns the value behind a header of AWS Glue's serializers, also where it is compressed, as
/// long as it has no more bytes; `None` where there is none.
pub fn glue_value(payload: &[u8], bytes_max: usize) -> Option<Vec<u8>> {
    let (_, compression) = open(payload)?;
    match compression {
        Compression::None => Some(behind(payload).to_vec()),
        Compression::Zlib => {
            let mut inflater = Inflater::default();
            inflater.inflate(behind(payload), bytes_max).ok().map(|()| inflater.value)
        }
    }
}

/// A value that was compressed. Kept from message to message for its memory, which is that of a
/// small value between them.
#[derive(Default)]
pub(super) struct Inflater {
    state: Option<Box<Decompress>>,
    value: Vec<u8>,
    /// Of the values of the open batch, which their payloads do not tell.
    bytes: usize,
}

/// What is wrong with a compressed value.
enum Problem {
    NoZlib,
    TooLong,
}

impl Inflater {
    /// Returns a value, which may have so many bytes as a payload.
    pub(super) fn whole(
        &mut self,
        deflated: &[u8],
        limits: DecodeLimits,
        reason: RejectReason,
    ) -> Result<&[u8], Refusal> {
        let bytes_max = limits.payload_bytes_max;
        self.release();
        let inflated = self.inflate(deflated, bytes_max);
        self.bytes += self.value.len();
        inflated.map_err(|problem| match problem {
            Problem::NoZlib => {
                let detail =
                    "the header says that the value is compressed with zlib, and it is not";
                Refusal::new(reason, format_args!("{detail}"))
            }
            Problem::TooLong => {
                let detail = format_args!("a value of more than {bytes_max} bytes, compressed");
                Refusal::new(RejectReason::Oversized, detail)
            }
        })?;
        Ok(&self.value)
    }

    /// Lets the value go that was read last. Each partition has a decoder: what one value took
    /// would add up over them.
    pub(super) fn release(&mut self) {
        self.value.clear();
        self.value.shrink_to(BYTES_KEPT);
    }

    /// Returns the first bytes of a value; none where it is not compressed with zlib.
    pub(super) fn head(&mut self, deflated: &[u8]) -> [u8; HEAD_BYTES] {
        let mut head = [0; HEAD_BYTES];
        let state = fresh(&mut self.state);
        match state.decompress(deflated, &mut head, FlushDecompress::None) {
            Ok(_) => head,
            Err(_) => [0xff; HEAD_BYTES],
        }
    }

    /// The next values are of another batch.
    pub(super) fn end_batch(&mut self) {
        self.bytes = 0;
    }

    /// Returns the bytes of the open batch's values.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    fn inflate(&mut self, deflated: &[u8], bytes_max: usize) -> Result<(), Problem> {
        let state = fresh(&mut self.state);
        let mut read = 0;
        loop {
            let room = (bytes_max + 1).saturating_sub(self.value.len());
            self.value.reserve_exact(room.min(self.value.len().max(BYTES_FIRST)));
            let before = (read, self.value.len());
            let rest = deflated.get(read..).unwrap_or_default();
            let status = state.decompress_vec(rest, &mut self.value, FlushDecompress::None);
            read = usize::try_from(state.total_in()).map_err(|_| Problem::NoZlib)?;
            if bytes_max < self.value.len() {
                return Err(Problem::TooLong);
            }
            match status {
                Ok(Status::StreamEnd) if read == deflated.len() => return Ok(()),
                // It ends before its end, or is broken, or something follows.
                Ok(Status::StreamEnd) | Err(_) => return Err(Problem::NoZlib),
                Ok(Status::Ok | Status::BufError) if before == (read, self.value.len()) => {
                    return Err(Problem::NoZlib);
                }
                Ok(Status::Ok | Status::BufError) => {}
            }
        }
    }
}

/// Returns a state that begins anew.
fn fresh(state: &mut Option<Box<Decompress>>) -> &mut Decompress {
    let state = state.get_or_insert_with(|| Box::new(Decompress::new(true)));
    state.reset(true);
    state
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression as Level;
    use flate2::write::ZlibEncoder;

    use super::*;
    use crate::decode::draw::LIMITS;

    fn deflate(value: &[u8]) -> Vec<u8> {
        let mut encoder = ZlibEncoder::new(Vec::new(), Level::default());
        encoder.write_all(value).unwrap();
        encoder.finish().unwrap()
    }

    fn whole(deflated: &[u8], bytes_max: usize) -> Result<Vec<u8>, (RejectReason, String)> {
        let limits = DecodeLimits { payload_bytes_max: bytes_max, ..LIMITS };
        let mut inflater = Inflater::default();
        let value = inflater.whole(deflated, limits, RejectReason::InvalidAvro);
        let value = value.map(<[u8]>::to_vec).map_err(|refusal| {
            let rejection = refusal.at(0);
            (rejection.reason, rejection.detail)
        });
        assert!(inflater.bytes() <= bytes_max + 1, "no more is inflated than may be");
        value
    }

    #[test]
    fn what_a_large_value_took_is_given_back_when_it_was_read() {
        let large = deflate(&vec![b'x'; 4 * BYTES_KEPT]);
        let limits = DecodeLimits { payload_bytes_max: 8 * BYTES_KEPT, ..LIMITS };
        let mut inflater = Inflater::default();
        let read = inflater.whole(&large, limits, RejectReason::InvalidAvro);
        assert_eq!(read.map(<[u8]>::len).ok(), Some(4 * BYTES_KEPT));
        inflater.release();
        assert!(inflater.value.capacity() <= BYTES_KEPT);
        assert_eq!(inflater.bytes(), 4 * BYTES_KEPT, "of the open batch");
    }

    #[test]
    fn a_header_names_a_schema_and_a_compression() {
        let uuid = 0xb7b4_a7f0_9c96_4e4a_a687_fb5d_e9ef_0c63_u128;
        let with = |head: [u8; 2]| [&head[..], &uuid.to_be_bytes(), b"value"].concat();
        assert_eq!(open(&with([3, 0])), Some((Uuid(uuid), Compression::None)));
        assert_eq!(open(&with([3, 5])), Some((Uuid(uuid), Compression::Zlib)));
        assert_eq!(behind(&with([3, 0])), b"value");
        for head in [[3, 1], [2, 0], [0, 0]] {
            assert_eq!(open(&with(head)), None);
        }
        let short = with([3, 0]);
        assert_eq!(open(&short[..17]), None);
        assert_eq!(open(&short[..18]), Some((Uuid(uuid), Compression::None)));
    }

    /// One that takes a thousandth of its bytes, as a bomb does, ends where a payload would.
    #[test]
    fn a_value_is_inflated_up_to_the_bound_of_payloads() {
        let value = vec![7; 100_000];
        let deflated = deflate(&value);
        assert_eq!(whole(&deflated, 100_000), Ok(value));
        let (reason, detail) = whole(&deflated, 99_999).unwrap_err();
        assert_eq!(reason, RejectReason::Oversized);
        assert_eq!(detail, "a value of more than 99999 bytes, compressed");
        assert_eq!(whole(&deflate(b""), 10), Ok(Vec::new()));
    }

    #[test]
    fn what_is_no_zlib_or_not_all_of_it_is_refused() {
        let deflated = deflate(b"a value, a value, a value");
        let end = deflated.len();
        let broken = |place: usize| {
            let mut bytes = deflated.clone();
            bytes[place] ^= 0x10;
            bytes
        };
        let longer = [&deflated[..], b"x"].concat();
        for bytes in [&deflated[..0], &deflated[..1], &deflated[..end - 1], &longer] {
            assert_eq!(whole(bytes, 1_000).unwrap_err().0, RejectReason::InvalidAvro, "{bytes:?}");
        }
        for place in [0, end / 2, end - 1] {
            assert_eq!(whole(&broken(place), 1_000).unwrap_err().0, RejectReason::InvalidAvro);
        }
    }

    #[test]
    fn the_beginning_of_a_value_is_inflated_alone_and_before_the_whole() {
        let mut inflater = Inflater::default();
        for value in [&b"abcdefghijklmnopqrstuvwxyz"[..], b"abc"] {
            let deflated = deflate(value);
            let head = inflater.head(&deflated);
            let known = value.len().min(HEAD_BYTES);
            assert_eq!(head[..known], value[..known]);
            let whole = inflater.whole(&deflated, LIMITS, RejectReason::InvalidJson);
            assert_eq!(whole.ok(), Some(value));
        }
        assert_eq!(inflater.head(b"none"), [0xff; HEAD_BYTES]);
        assert_eq!(inflater.bytes(), 29);
        inflater.end_batch();
        assert_eq!(inflater.bytes(), 0);
    }
}
