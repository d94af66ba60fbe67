//! The frozen levels of a categorical feature.
//!
//! Before: a reference sample. After: [`crate::counts`], which counts columns against them.

use thiserror::Error;

/// Most levels of one feature. What a reference has beyond them is counted as unseen on both sides,
/// as its rare levels are.
pub const LEVELS_MAX: usize = 4_096;

/// Why a list of levels is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LevelsError {
    /// More levels than a reference may have.
    #[error("{found} levels, but a reference keeps at most {LEVELS_MAX}: keep the most frequent")]
    TooMany {
        /// How many were given.
        found: usize,
    },
    /// Levels do not ascend strictly by code point.
    #[error("level {name:?} at index {index} is not above the one before it by code point")]
    NotAscending {
        /// Where, counted from 0.
        index: usize,
        /// The level.
        name: Box<str>,
    },
}

/// Distinct reference levels in the order of their code points.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Levels {
    names: Vec<Box<str>>,
}

impl Levels {
    /// Takes levels that ascend strictly by code point. None at all is allowed: all is unseen then.
    pub fn try_new(names: Vec<Box<str>>) -> Result<Self, LevelsError> {
        if names.len() > LEVELS_MAX {
            return Err(LevelsError::TooMany { found: names.len() });
        }
        match names.windows(2).position(|pair| pair[1] <= pair[0]) {
            Some(before) => {
                let index = before + 1;
                Err(LevelsError::NotAscending { index, name: names[index].clone() })
            }
            None => Ok(Self { names }),
        }
    }

    /// Returns the bytes that they take.
    pub fn bytes(&self) -> usize {
        let names = self.names.iter().map(|name| name.len()).sum::<usize>();
        size_of_val(&*self.names) + names
    }

    /// Returns the levels, ascending.
    pub fn names(&self) -> &[Box<str>] {
        &self.names
    }

    /// Returns the index of a level, or nothing when the reference has not seen it.
    pub fn find(&self, name: &str) -> Option<usize> {
        self.names.binary_search_by(|level| level.as_ref().cmp(name)).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_found_by_their_text() {
        let levels = Levels::try_new(vec!["AA".into(), "B6".into(), "é".into()]).unwrap();
        assert_eq!(levels.find("B6"), Some(1));
        assert_eq!(levels.find("é"), Some(2));
        assert_eq!(levels.find(""), None);
    }

    #[test]
    fn repeated_levels_are_refused_by_name() {
        let error = Levels::try_new(vec!["a".into(), "a".into()]).unwrap_err();
        assert_eq!(error, LevelsError::NotAscending { index: 1, name: "a".into() });
    }

    #[test]
    fn too_many_levels_are_refused_with_their_number() {
        let names = (0..=LEVELS_MAX).map(|i| format!("{i:05}").into()).collect();
        assert_eq!(Levels::try_new(names), Err(LevelsError::TooMany { found: LEVELS_MAX + 1 }));
    }
}
