//! Hysteresis: how many windows it takes to open an episode, and how many to close it.
//!
//! Before: configuration. After: [`crate::Episodes`], which applies it.

/// Windows that can be looked back on: they are the bits of one `u64`.
const WINDOWS_MAX: u32 = 64;

/// `raise` of the last `of` windows open an episode; `clear` quiet windows in a row close it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HysteresisPolicy {
    raise: u32,
    of: u32,
    clear: u32,
}

impl HysteresisPolicy {
    /// Checks `1 <= raise <= of <= 64` and `1 <= clear`.
    pub const fn try_new(raise: u32, of: u32, clear: u32) -> Result<Self, PolicyError> {
        if raise == 0 {
            Err(PolicyError::RaiseIsZero)
        } else if clear == 0 {
            Err(PolicyError::ClearIsZero)
        } else if of < raise {
            Err(PolicyError::RaiseAboveOf { raise, of })
        } else if WINDOWS_MAX < of {
            Err(PolicyError::OfTooLarge { of })
        } else {
            Ok(Self { raise, of, clear })
        }
    }

    /// Breached windows that open an episode.
    pub const fn raise(&self) -> u32 {
        self.raise
    }

    /// Windows looked back on, the present one included.
    pub const fn of(&self) -> u32 {
        self.of
    }

    /// Quiet windows in a row that close an episode.
    pub const fn clear(&self) -> u32 {
        self.clear
    }

    /// The bits of a history that are inside the last `of` windows.
    pub(crate) const fn history_mask(&self) -> u64 {
        u64::MAX >> (WINDOWS_MAX - self.of)
    }
}

/// Numbers that are no hysteresis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// An episode would open without a breach.
    #[error("`raise` is 0, but an episode needs at least 1 breached window to open")]
    RaiseIsZero,
    /// An episode would close without a quiet window.
    #[error("`clear` is 0, but an episode needs at least 1 quiet window to close")]
    ClearIsZero,
    /// No episode could ever open.
    #[error("`raise` is {raise}, more than the {of} windows of `of`")]
    RaiseAboveOf {
        /// Breached windows asked for.
        raise: u32,
        /// Windows looked back on.
        of: u32,
    },
    /// The history is bounded.
    #[error("`of` is {of}, but at most {WINDOWS_MAX} windows are remembered")]
    OfTooLarge {
        /// Windows looked back on.
        of: u32,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_history_keeps_exactly_the_last_windows() {
        for (of, mask) in [(1, 1), (3, 0b111), (64, u64::MAX)] {
            let policy = HysteresisPolicy::try_new(1, of, 1).expect("a valid policy");
            assert_eq!(policy.history_mask(), mask);
        }
    }

    #[test]
    fn impossible_numbers_are_refused_by_name() {
        for (raise, of, clear, message) in [
            (0, 3, 1, "`raise` is 0, but an episode needs at least 1 breached window to open"),
            (1, 3, 0, "`clear` is 0, but an episode needs at least 1 quiet window to close"),
            (4, 3, 1, "`raise` is 4, more than the 3 windows of `of`"),
            (1, 65, 1, "`of` is 65, but at most 64 windows are remembered"),
        ] {
            let error = HysteresisPolicy::try_new(raise, of, clear).expect_err(message);
            assert_eq!(error.to_string(), message);
        }
    }
}
