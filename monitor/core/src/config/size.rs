//! Amounts of memory as written in the configuration: `32MiB`, `2GiB`.
//!
//! Before: [`super::raw`] holds the text. After: [`super::validate`] takes the bytes.

/// What an amount of memory looks like.
pub(super) const PATTERN: &str = "^[0-9]{1,7}(KiB|MiB|GiB)$";

/// What to do about one that cannot be read.
pub(super) const HINT: &str =
    "write a whole number with the unit `KiB`, `MiB` or `GiB`, such as `512MiB`";

const UNITS: [(&str, u32); 3] = [("KiB", 10), ("MiB", 20), ("GiB", 30)];

/// Parses an amount of memory into bytes.
pub(super) fn parse(text: &str) -> Option<u64> {
    UNITS.iter().find_map(|(unit, shift)| {
        let number: u64 = text.strip_suffix(unit)?.parse().ok()?;
        number.checked_mul(1 << shift)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_bytes_by_their_unit() {
        for (text, bytes) in [
            ("0KiB", Some(0)),
            ("1KiB", Some(1_024)),
            ("512MiB", Some(536_870_912)),
            ("9999999GiB", Some(10_737_417_166_258_176)),
            ("512", None),
            ("512MB", None),
            ("1.5GiB", None),
            ("-1GiB", None),
            ("99999999999999999999GiB", None),
        ] {
            assert_eq!(parse(text), bytes, "{text}");
        }
    }
}
