//! Rows by an exact text key, asked for much more often than made.
//!
//! The one file of the core that holds a hash map: it gives rows out by key, in the order in which they were put in, or
//! sorted. Must never: give out the map's own order, which differs from run to run.

use std::collections::HashMap;
use std::sync::Arc;

/// A table.
#[derive(Clone, Debug)]
pub struct Table<T> {
    places: HashMap<Arc<str>, usize>,
    rows: Vec<(Arc<str>, T)>,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { places: HashMap::new(), rows: Vec::new() }
    }
}

impl<T> Table<T> {
    /// The place of a key's row.
    pub fn place(&self, key: &str) -> Option<usize> {
        self.places.get(key).copied()
    }

    /// The row of a key.
    pub fn get(&self, key: &str) -> Option<&T> {
        self.at(self.place(key)?)
    }

    /// The row at a place.
    pub fn at(&self, place: usize) -> Option<&T> {
        self.rows.get(place).map(|(_, row)| row)
    }

    /// The row at a place, to be changed.
    pub fn at_mut(&mut self, place: usize) -> Option<&mut T> {
        self.rows.get_mut(place).map(|(_, row)| row)
    }

    /// Puts a row in, instead of the one that the key had; returns its place.
    pub fn put(&mut self, key: Arc<str>, row: T) -> usize {
        if let Some(place) = self.place(&key) {
            if let Some(old) = self.at_mut(place) {
                *old = row;
            }
            return place;
        }
        let place = self.rows.len();
        self.places.insert(Arc::clone(&key), place);
        self.rows.push((key, row));
        place
    }

    /// All rows with their keys, in the order in which the keys were first put in.
    pub fn rows(&self) -> &[(Arc<str>, T)] {
        &self.rows
    }

    /// All rows with their keys, in the order of the keys.
    pub fn sorted(&self) -> Vec<&(Arc<str>, T)> {
        let mut rows: Vec<_> = self.rows.iter().collect();
        rows.sort_unstable_by(|one, other| one.0.cmp(&other.0));
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_found_by_key_and_come_out_in_a_settled_order() {
        let mut table = Table::default();
        for (number, key) in ["b", "c", "a", "b"].into_iter().enumerate() {
            table.put(Arc::from(key), number);
        }
        assert_eq!((table.get("b"), table.get("x"), table.place("a")), (Some(&3), None, Some(2)));
        let keys = |rows: Vec<&(Arc<str>, usize)>| rows.iter().map(|(key, _)| key.to_string()).collect::<String>();
        assert_eq!((keys(table.rows().iter().collect()), keys(table.sorted())), ("bca".to_owned(), "abc".to_owned()));
    }
}
