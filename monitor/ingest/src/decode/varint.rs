//! Numbers of seven bits a byte, the lowest first, as Avro and Protobuf have them: all bytes of one
//! at once.
//!
//! Before: a format's bytes come to a number of more than one byte, with seven others behind its
//! first. After: what it says is looked at there; longer numbers are read byte by byte there too.

/// Joins the seven bits of each byte of a number, the lowest first, and returns how many bytes it
/// has; `None` if it has more than these.
pub(super) fn joined(bytes: u64) -> Option<(u64, usize)> {
    const MORE: u64 = 0x8080_8080_8080_8080;
    let ends = !bytes & MORE;
    if ends == 0 {
        return None;
    }
    let last = ends.trailing_zeros();
    let bits = bytes & (u64::MAX >> (63 - last)) & !MORE;
    let bits = bits & 0x007f_007f_007f_007f | (bits & 0x7f00_7f00_7f00_7f00) >> 1;
    let bits = bits & 0x0000_3fff_0000_3fff | (bits & 0x3fff_0000_3fff_0000) >> 2;
    let bits = bits & 0x0fff_ffff | (bits & 0x0fff_ffff_0000_0000) >> 4;
    Some((bits, last as usize / 8 + 1))
}
