//! Compressed buffers: what they become, and what they may not claim.

use std::io::Write;

use arrow::ipc::CompressionType;
use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};

use super::inflate::{Codec, Codecs, Length, ZSTD_CONTEXT_BYTES};

/// Bytes that repeat, but not at once.
fn bytes(count: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let mut out: Vec<u8> = Vec::new();
    while out.len() < count {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let [kind, byte, ..] = state.to_be_bytes();
        match usize::from(kind) {
            back @ 200.. if back < out.len() => {
                let start = out.len() - back * out.len() / 256;
                let end = (start + 40).min(out.len());
                out.extend_from_within(start..end);
            }
            _ => out.push(byte),
        }
    }
    out.truncate(count);
    out
}

fn packed(length: usize, packed: &[u8]) -> Vec<u8> {
    [&i64::try_from(length).unwrap().to_le_bytes()[..], packed].concat()
}

#[test]
fn frames_of_lz4_are_read_whatever_they_have() {
    for count in [1, 100, 70_000, 400_000] {
        let bytes = bytes(count);
        for mode in [BlockMode::Independent, BlockMode::Linked] {
            for size in [BlockSize::Max64KB, BlockSize::Max256KB, BlockSize::Max4MB] {
                for has_more in [false, true] {
                    let mut info = FrameInfo::new().block_mode(mode).block_size(size);
                    if has_more {
                        info = info.block_checksums(true).content_checksum(true);
                        info = info.content_size(Some(count as u64));
                    }
                    let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
                    encoder.write_all(&bytes).unwrap();
                    let frame = packed(count, &encoder.finish().unwrap());
                    let mut out = vec![7; 3];
                    let place = Codec::Lz4.inflate(&frame, &mut out).unwrap();
                    assert!(out[place] == bytes, "{count} {mode:?} {size:?}");
                }
            }
        }
    }
}

#[test]
fn a_buffer_becomes_as_long_as_it_says() {
    let bytes = bytes(1_000);
    let mut encoder = FrameEncoder::new(Vec::new());
    encoder.write_all(&bytes).unwrap();
    let frame = encoder.finish().unwrap();
    let zstd = zstd::bulk::compress(&bytes, 3).unwrap();
    for (kind, body) in [(CompressionType::LZ4_FRAME, frame), (CompressionType::ZSTD, zstd)] {
        let mut codecs = Codecs::default();
        let mut codec = codecs.get(kind).unwrap();
        let mut inflate = |buffer: &[u8]| {
            let mut out = Vec::new();
            codec.inflate(buffer, &mut out).map(|place| out[place].to_vec())
        };
        assert_eq!(inflate(&packed(1_000, &body)).as_deref(), Ok(&bytes[..]));
        for wrong in [999, 1_001, 1, 100_000] {
            assert!(inflate(&packed(wrong, &body)).is_err(), "{wrong}");
        }
        assert!(inflate(&packed(1_000, &body[..body.len() / 2])).is_err());
        assert_eq!(inflate(&[]).as_deref(), Ok(&[][..]));
        assert_eq!(inflate(&packed(0, &body)).as_deref(), Ok(&[][..]));
        assert!(inflate(&[0; 7]).is_err());
        let plain = [&(-1_i64).to_le_bytes()[..], &bytes].concat();
        assert_eq!(inflate(&plain).as_deref(), Ok(&bytes[..]));
        assert!(inflate(&[&(-2_i64).to_le_bytes()[..], &bytes].concat()).is_err());
    }
}

#[test]
fn a_kept_context_reads_on_after_buffers_that_are_broken_and_takes_no_more_than_is_said() {
    let bytes = bytes(300_000);
    let mut codecs = Codecs::default();
    for level in [1, 3, 22] {
        let frame = zstd::bulk::compress(&bytes, level).unwrap();
        for body in [&frame[..], &frame[..frame.len() / 2], &frame[..]] {
            let mut out = Vec::new();
            let read = codecs
                .get(CompressionType::ZSTD)
                .unwrap()
                .inflate(&packed(bytes.len(), body), &mut out);
            assert_eq!(read.is_ok(), body.len() == frame.len());
            assert!(read.is_err() || out == bytes);
        }
    }
    let held = codecs.zstd.map_or(0, |context| context.sizeof());
    assert!(held <= ZSTD_CONTEXT_BYTES, "{held} bytes");
}

#[test]
fn room_is_made_for_no_more_than_the_bytes_can_stand_for() {
    let same = vec![7; 4 << 20];
    let mut encoder = FrameEncoder::new(Vec::new());
    encoder.write_all(&same).unwrap();
    let frame = encoder.finish().unwrap();
    let zstd = zstd::bulk::compress(&same, 19).unwrap();
    let is_possible = |kind, claimed: usize, body: &[u8]| {
        Length::of(&packed(claimed, body)).unwrap().is_possible(kind)
    };
    for (kind, body) in [(CompressionType::LZ4_FRAME, &frame), (CompressionType::ZSTD, &zstd)] {
        assert!(is_possible(kind, same.len(), body), "{} bytes", body.len());
        assert!(!is_possible(kind, same.len(), &body[..100]));
        assert!(!is_possible(kind, usize::try_from(i64::MAX).unwrap(), body));
        assert!(is_possible(kind, 0, &[]));
    }
    let plain = [&(-1_i64).to_le_bytes()[..], &same].concat();
    assert!(Length::of(&plain).unwrap().is_possible(CompressionType::LZ4_FRAME));
}
