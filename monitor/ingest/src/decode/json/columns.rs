//! The names of columns that a message tells, and which value of a row each of them is.
//!
//! Before: [`super::walk`] has found the names. After: it reads rows that are arrays by them. What
//! was made of the names is kept for the next message: a producer rarely changes them.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserializer;
use serde::de::{SeqAccess, Visitor};

use super::trie::Trie;

/// The columns of the newest message that told some.
#[derive(Default)]
pub(super) struct Columns {
    /// The JSON text that all else was made from.
    text: String,
    positions: BTreeMap<String, usize>,
    /// For each list the wanted values of its rows: position, and node in the list's tree.
    wanted: Vec<Vec<(usize, usize)>>,
}

/// What is wrong with names of columns.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ColumnsProblem {
    /// Not an array of text, or of text with half a surrogate pair.
    NoNames,
    /// The same name at two places.
    Repeated { first: usize, again: usize },
}

impl Columns {
    /// Takes the names from their JSON text.
    pub(super) fn read(&mut self, trie: &Trie, text: &str) -> Result<(), ColumnsProblem> {
        // No names have an empty text.
        if self.text == text {
            return Ok(());
        }
        self.text.clear();
        let mut names = Vec::new();
        serde_json::Deserializer::from_str(text)
            .deserialize_seq(Names(&mut names))
            .map_err(|_| ColumnsProblem::NoNames)?;
        self.positions.clear();
        for (again, name) in names.into_iter().enumerate() {
            if let Some(first) = self.positions.insert(name, again) {
                return Err(ColumnsProblem::Repeated { first, again });
            }
        }
        self.wanted = trie.lists().iter().map(|list| self.wanted(&list.element)).collect();
        self.text.push_str(text);
        Ok(())
    }

    fn wanted(&self, element: &Trie) -> Vec<(usize, usize)> {
        let root = element.node(Trie::ROOT);
        let mut wanted = root.elements.clone();
        let named = root.keys().filter_map(|(name, node)| Some((self.position(name)?, node)));
        wanted.extend(named);
        wanted.sort_unstable();
        wanted
    }

    /// Returns how many there are.
    pub(super) fn count(&self) -> usize {
        self.positions.len()
    }

    /// Returns the place of a name.
    pub(super) fn position(&self, name: &str) -> Option<usize> {
        self.positions.get(name).copied()
    }

    /// Returns the wanted values of a list's rows, by position.
    pub(super) fn of_list(&self, list: usize) -> &[(usize, usize)] {
        &self.wanted[list]
    }
}

/// Receives an array of text.
struct Names<'a>(&'a mut Vec<String>);

impl<'de> Visitor<'de> for Names<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of text")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        while let Some(name) = elements.next_element()? {
            self.0.push(name);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::FieldPath;

    #[test]
    fn names_are_found_whatever_their_order_and_read_anew_when_they_change() {
        let paths = ["d[].b", "d[].a.x", "d[][1]"].map(|text| FieldPath::parse(text).unwrap());
        let trie = Trie::new(paths.iter());
        let mut columns = Columns::default();
        columns.read(&trie, r#"["a", "z", "b"]"#).unwrap();
        assert_eq!((columns.count(), columns.position("b")), (3, Some(2)));
        assert_eq!(columns.of_list(0), [(0, 2), (1, 4), (2, 1)]);
        columns.read(&trie, r#"["\u0062"]"#).unwrap();
        assert_eq!((columns.count(), columns.position("a")), (1, None));
        assert_eq!(columns.of_list(0), [(0, 1), (1, 4)]);
        columns.read(&trie, "[]").unwrap();
        assert_eq!((columns.count(), columns.of_list(0)), (0, &[(1, 4)][..]));
    }

    #[test]
    fn a_problem_leaves_nothing_for_the_next_message() {
        let trie = Trie::new([].into_iter());
        let mut columns = Columns::default();
        for (text, problem) in [
            (r#"["a", 1]"#, ColumnsProblem::NoNames),
            (r#"{"a": 1}"#, ColumnsProblem::NoNames),
            (r#"["\ud800"]"#, ColumnsProblem::NoNames),
            (r#"["a", "b", "a"]"#, ColumnsProblem::Repeated { first: 0, again: 2 }),
        ] {
            assert_eq!(columns.read(&trie, text), Err(problem), "{text}");
            assert!(columns.read(&trie, text).is_err(), "{text}");
        }
        columns.read(&trie, r#"["a"]"#).unwrap();
        assert_eq!(columns.count(), 1);
    }
}
