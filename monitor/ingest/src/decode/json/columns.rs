//! The names of columns that a message tells, and which value of a row each of them is.
//!
//! Before: [`super::walk`] has found the names. After: it reads rows that are arrays by them. What
//! was made of the names is kept for the next message: a producer rarely changes them.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserializer;
use serde::de::{Error, SeqAccess, Visitor};

use crate::decode::trie::Trie;

/// Most names of a message: as many as the places of a list that a path can name.
pub(super) const NAMES_MAX: usize = 65_536;

/// Longest JSON text of names that is kept for the next message.
const TEXT_BYTES_KEPT: usize = 64 * 1_024;

/// The columns of the newest document that told some.
#[derive(Default)]
pub(super) struct Columns {
    /// Whether that is the document that is read now.
    is_read: bool,
    /// The JSON text that all else was made from; empty where it is too long to be kept.
    text: String,
    count: usize,
    /// Of the names that are read.
    positions: BTreeMap<Box<str>, usize>,
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
    /// More than [`NAMES_MAX`].
    TooMany,
}

impl Columns {
    /// Begins another document.
    pub(super) fn begin(&mut self) {
        self.is_read = false;
    }

    /// Takes the names of the document, for rows of `lists`, from their JSON text.
    pub(super) fn read(
        &mut self,
        trie: &Trie,
        lists: &[usize],
        text: &str,
    ) -> Result<(), ColumnsProblem> {
        // No names have an empty text.
        if self.is_read || self.text == text {
            self.is_read = true;
            return Ok(());
        }
        self.text.clear();
        let all = all_positions(text)?;
        self.count = all.len();
        self.positions.clear();
        self.wanted.resize_with(trie.lists().len(), Vec::new);
        for &list in lists {
            let root = trie.lists()[list].element.node(Trie::ROOT);
            let wanted = &mut self.wanted[list];
            wanted.clone_from(&root.elements);
            for (name, node) in root.keys() {
                if let Some(&position) = all.get(name) {
                    self.positions.insert(name.into(), position);
                    wanted.push((position, node));
                }
            }
            wanted.sort_unstable();
        }
        if text.len() <= TEXT_BYTES_KEPT {
            self.text.push_str(text);
        }
        self.is_read = true;
        Ok(())
    }

    /// Returns how many there are.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Returns the place of a name that is read.
    pub(super) fn position(&self, name: &str) -> Option<usize> {
        self.positions.get(name).copied()
    }

    /// Returns the wanted values of a list's rows, by position.
    pub(super) fn of_list(&self, list: usize) -> &[(usize, usize)] {
        &self.wanted[list]
    }
}

/// Returns the place of each name.
fn all_positions(text: &str) -> Result<BTreeMap<String, usize>, ColumnsProblem> {
    let mut names = Vec::new();
    let read = serde_json::Deserializer::from_str(text).deserialize_seq(Names(&mut names));
    if NAMES_MAX < names.len() {
        return Err(ColumnsProblem::TooMany);
    }
    read.map_err(|_| ColumnsProblem::NoNames)?;
    let mut positions = BTreeMap::new();
    for (again, name) in names.into_iter().enumerate() {
        if let Some(first) = positions.insert(name, again) {
            return Err(ColumnsProblem::Repeated { first, again });
        }
    }
    Ok(positions)
}

/// Receives an array of text, up to the first that is too many.
struct Names<'a>(&'a mut Vec<String>);

impl<'de> Visitor<'de> for Names<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of text")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        while let Some(name) = elements.next_element()? {
            self.0.push(name);
            if NAMES_MAX < self.0.len() {
                return Err(A::Error::custom("too many names"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::FieldPath;

    /// Reads names as a document of its own.
    fn read(columns: &mut Columns, trie: &Trie, text: &str) -> Result<(), ColumnsProblem> {
        columns.begin();
        columns.read(trie, &[0], text)
    }

    fn trie(paths: &[&str]) -> Trie {
        let paths: Vec<_> = paths.iter().map(|text| FieldPath::parse(text).unwrap()).collect();
        Trie::new(paths.iter())
    }

    #[test]
    fn names_are_found_whatever_their_order_and_read_anew_when_they_change() {
        let trie = trie(&["d[].b", "d[].a.x", "d[][1]"]);
        let mut columns = Columns::default();
        read(&mut columns, &trie, r#"["a", "z", "b"]"#).unwrap();
        assert_eq!((columns.count(), columns.position("b")), (3, Some(2)));
        assert_eq!(columns.of_list(0), [(0, 2), (1, 4), (2, 1)]);
        read(&mut columns, &trie, r#"["\u0062"]"#).unwrap();
        assert_eq!((columns.count(), columns.position("a")), (1, None));
        assert_eq!(columns.of_list(0), [(0, 1), (1, 4)]);
        read(&mut columns, &trie, "[]").unwrap();
        assert_eq!((columns.count(), columns.of_list(0)), (0, &[(1, 4)][..]));
    }

    #[test]
    fn only_names_that_are_read_are_kept_and_only_short_texts() {
        let trie = trie(&["d[].b", "e[].c"]);
        let mut columns = Columns::default();
        for (count, is_kept) in [(9, true), (NAMES_MAX, false), (3, true)] {
            let names: Vec<_> = (1..count).map(|name| format!("\"{name}\"")).collect();
            let text = format!("[\"b\",{}]", names.join(","));
            read(&mut columns, &trie, &text).unwrap();
            assert_eq!((columns.count(), columns.position("1")), (count, None));
            assert_eq!((columns.positions.len(), columns.wanted[1].len()), (1, 0));
            assert_eq!(columns.text == text, is_kept);
            assert!(columns.text.capacity() <= TEXT_BYTES_KEPT);
            // Once a document, however long they are.
            assert_eq!(columns.read(&trie, &[0], "[]"), Ok(()));
            assert_eq!(columns.count(), count);
        }
        let text = format!("[{}1]", r#""x","#.repeat(NAMES_MAX + 1));
        assert_eq!(read(&mut columns, &trie, &text), Err(ColumnsProblem::TooMany));
    }

    #[test]
    fn a_problem_leaves_nothing_for_the_next_message() {
        let trie = trie(&["d[].a"]);
        let mut columns = Columns::default();
        for (text, problem) in [
            (r#"["a", 1]"#, ColumnsProblem::NoNames),
            (r#"{"a": 1}"#, ColumnsProblem::NoNames),
            (r#"["\ud800"]"#, ColumnsProblem::NoNames),
            (r#"["a", "b", "a"]"#, ColumnsProblem::Repeated { first: 0, again: 2 }),
        ] {
            assert_eq!(read(&mut columns, &trie, text), Err(problem), "{text}");
            assert!(read(&mut columns, &trie, text).is_err(), "{text}");
        }
        read(&mut columns, &trie, r#"["a"]"#).unwrap();
        assert_eq!(columns.count(), 1);
    }
}
