//! Deterministic ids: the same cause has the same id after a restart, a replay, or on another
//! machine.
//!
//! An id is a valid name of a Kubernetes Job, `TrainJob` and label value, so that every target of a
//! retraining request is idempotent by name.

use driftd_catalog::ModelId;
use sha2::{Digest, Sha256};

/// Longest id: names of Jobs may have 63 characters, and pods of children of a schedule add 11.
pub(crate) const ID_BYTES_MAX: usize = 52;
/// Two letters, three hyphens and eight hex digits.
const FIXED_BYTES: usize = 2 + 3 + 8;
/// Room kept for the version; the model's name gets what is left.
const VERSION_BYTES_MAX: usize = 15;

/// Returns `<prefix>-<model>-<version>-<8 hex digits of SHA-256 of key>`, of `[a-z0-9-]`.
pub(crate) fn event_id(prefix: &str, model: &ModelId, key: &str) -> String {
    debug_assert_eq!(prefix.len(), 2, "the length bound counts on two letters");
    let version = slug(model.version(), VERSION_BYTES_MAX);
    let name = slug(model.name(), ID_BYTES_MAX - FIXED_BYTES - version.len());
    let digest = Sha256::digest(key.as_bytes());
    let hash = u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]);
    format!("{prefix}-{name}-{version}-{hash:08x}")
}

/// Returns `text` in lower case with everything outside `[a-z0-9]` as single inner hyphens, cut to
/// `bytes_max`; `x` when nothing is left.
fn slug(text: &str, bytes_max: usize) -> String {
    let mut slug = String::with_capacity(bytes_max);
    for c in text.chars().map(|c| c.to_ascii_lowercase()) {
        if slug.len() == bytes_max {
            break;
        }
        if c.is_ascii_lowercase() || c.is_ascii_digit() {
            slug.push(c);
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
    }
    let trimmed = slug.trim_end_matches('-');
    if trimmed.is_empty() { "x".to_owned() } else { trimmed.to_owned() }
}

#[cfg(test)]
mod tests {
    use driftd_fixtures::trials::cases;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ids_read_like_their_model() {
        let model = ModelId::try_new("Fraud Detector", "v7.1").expect("a name");
        assert_eq!(event_id("rt", &model, "key"), "rt-fraud-detector-v7-1-2c70e12b");
        let model = ModelId::try_new("–", "✈").expect("a name");
        assert_eq!(event_id("ep", &model, "key"), "ep-x-x-2c70e12b");
    }

    proptest! {
        #![proptest_config(cases(256))]

        #[test]
        fn every_id_is_a_kubernetes_name(
            name in "[^\\p{Cc}]{1,30}",
            version in "[^\\p{Cc}]{1,30}",
            key in ".*",
        ) {
            let model = ModelId::try_new(&name, &version).expect("short and printable");
            let id = event_id("rt", &model, &key);
            prop_assert!(id.len() <= ID_BYTES_MAX, "{id}");
            prop_assert!(id.starts_with("rt-"));
            prop_assert!(id.ends_with(|c: char| c.is_ascii_hexdigit()));
            let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
            prop_assert!(id.bytes().all(allowed));
            prop_assert_eq!(&id, &event_id("rt", &model, &key));
        }
    }
}
