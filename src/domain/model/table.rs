//! Rows by name, asked for much more often than made. A name is a kind and up to three words; words are kept once each and
//! stand for a number, so that a name is compared as a number and never as a digest of itself.
//!
//! The one file of the core that holds a hash map: it gives rows out by name, in the order in which they were put in, or
//! sorted. Must never: give out the map's own order, which differs from run to run.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::features::{ABSENT, Feature, Features};
use super::{Kind, WORDS};

/// A number for words that the table does not know.
const UNKNOWN: u32 = u32::MAX - 1;

/// A name: the kind and the numbers of its words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Name {
    kind: Kind,
    words: [u32; WORDS],
}

impl Hash for Name {
    /// As two numbers: this is where looking up spends its time.
    fn hash<H: Hasher>(&self, state: &mut H) {
        let [one, two, three] = self.words;
        state.write_u64(u64::from(one) << 32 | u64::from(two));
        state.write_u64((self.kind as u64) << 32 | u64::from(three));
    }
}

/// A table.
#[derive(Clone, Debug)]
pub struct Table<T> {
    numbers: HashMap<Arc<str>, u32, RandomState>,
    words: Vec<Arc<str>>,
    places: HashMap<Name, u32, RandomState>,
    names: Vec<Name>,
    rows: Vec<T>,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self {
            numbers: HashMap::default(),
            words: Vec::new(),
            places: HashMap::default(),
            names: Vec::new(),
            rows: Vec::new(),
        }
    }
}

/// The numbers that a table has for the words of a claim, in their order.
#[derive(Debug)]
pub struct Numbers(Vec<u32>);

impl Numbers {
    fn name(&self, feature: &Feature) -> Name {
        let [one, two, three] = feature.words;
        // Written out: the compiler makes much less of `map` here.
        Name { kind: feature.kind, words: [self.number(one), self.number(two), self.number(three)] }
    }

    fn number(&self, word: u32) -> u32 {
        match word {
            ABSENT => ABSENT,
            word => self.0.get(word as usize).copied().unwrap_or(UNKNOWN),
        }
    }
}

impl<T> Table<T> {
    /// The numbers of a claim's words; those that are not known have none.
    pub fn numbers(&self, features: &Features) -> Numbers {
        Numbers(features.words().map(|word| self.numbers.get(word).copied().unwrap_or(UNKNOWN)).collect())
    }

    /// The numbers of a claim's words, each of which gets one.
    pub fn numbers_for(&mut self, features: &Features) -> Numbers {
        Numbers(features.words().map(|word| self.number(word)).collect())
    }

    fn number(&mut self, word: &str) -> u32 {
        if let Some(number) = self.numbers.get(word) {
            return *number;
        }
        // No table comes near 2^32 words or rows.
        let number = u32::try_from(self.words.len()).unwrap_or(UNKNOWN);
        let word: Arc<str> = Arc::from(word);
        self.words.push(Arc::clone(&word));
        self.numbers.insert(word, number);
        number
    }

    /// The place of a factor's row, by numbers of this table.
    pub fn place(&self, feature: &Feature, numbers: &Numbers) -> Option<usize> {
        self.places.get(&numbers.name(feature)).map(|place| *place as usize)
    }

    /// The same; a row that is not there is made.
    pub fn place_or(&mut self, feature: &Feature, numbers: &Numbers, make: impl FnOnce() -> T) -> usize {
        match self.place(feature, numbers) {
            Some(place) => place,
            None => self.push(numbers.name(feature), make()),
        }
    }

    fn push(&mut self, name: Name, row: T) -> usize {
        let place = self.rows.len();
        self.places.insert(name, u32::try_from(place).unwrap_or(u32::MAX));
        self.names.push(name);
        self.rows.push(row);
        place
    }

    /// The row of a name written out, such as `payer_procedure/60054|99213`.
    pub fn get(&self, key: &str) -> Option<&T> {
        let (kind, words) = Kind::parse_key(key)?;
        self.named(kind, words.map(Option::unwrap_or_default))
    }

    /// The row of a kind and words; empty ones where there are fewer.
    pub fn named(&self, kind: Kind, names: [&str; WORDS]) -> Option<&T> {
        let mut numbers = [ABSENT; WORDS];
        for (number, word) in numbers.iter_mut().zip(names).filter(|(_, word)| !word.is_empty()) {
            *number = *self.numbers.get(word)?;
        }
        self.at(*self.places.get(&Name { kind, words: numbers })? as usize)
    }

    /// Puts a row in under its name written out, instead of the one that was there; `None` when that is no name.
    pub fn put(&mut self, key: &str, row: T) -> Option<()> {
        let (kind, words) = Kind::parse_key(key)?;
        let numbers = words.map(|word| word.map_or(ABSENT, |word| self.number(word)));
        let place = self.places.get(&Name { kind, words: numbers }).map(|place| *place as usize);
        match place.and_then(|place| self.rows.get_mut(place)) {
            Some(old) => *old = row,
            None => {
                self.push(Name { kind, words: numbers }, row);
            }
        }
        Some(())
    }

    /// The row at a place.
    pub fn at(&self, place: usize) -> Option<&T> {
        self.rows.get(place)
    }

    /// The first word of the name of the row at a place.
    pub fn word_of(&self, place: usize) -> Option<&str> {
        self.names.get(place).map(|name| self.word(name.words[0]))
    }

    /// The row at a place, to be changed.
    pub fn at_mut(&mut self, place: usize) -> Option<&mut T> {
        self.rows.get_mut(place)
    }

    /// The same names with other rows, each made of the kind and the first word.
    pub fn map<U>(&self, mut make: impl FnMut(Kind, &str) -> U) -> Table<U> {
        let rows = self.names.iter().map(|name| make(name.kind, self.word(name.words[0]))).collect();
        Table {
            numbers: self.numbers.clone(),
            words: self.words.clone(),
            places: self.places.clone(),
            names: self.names.clone(),
            rows,
        }
    }

    /// The names whose rows make another row, with those.
    pub fn filter_map<U>(&self, mut make: impl FnMut(&T) -> Option<U>) -> Table<U> {
        let mut other = Table { numbers: self.numbers.clone(), words: self.words.clone(), ..Table::default() };
        for (name, row) in self.names.iter().zip(&self.rows) {
            if let Some(row) = make(row) {
                other.push(*name, row);
            }
        }
        other
    }

    /// All rows with their kinds and names written out, in the order in which they were first put in.
    pub fn rows(&self) -> impl Iterator<Item = (Kind, String, &T)> {
        self.names.iter().zip(&self.rows).map(|(name, row)| {
            let words = name.words.iter().take_while(|word| **word != ABSENT).map(|word| self.word(*word));
            (name.kind, name.kind.key(words), row)
        })
    }

    /// All rows with their names written out, in the order of the names.
    pub fn sorted(&self) -> Vec<(String, &T)> {
        let mut rows: Vec<_> = self.rows().map(|(_, key, row)| (key, row)).collect();
        rows.sort_unstable_by(|one, other| one.0.cmp(&other.0));
        rows
    }

    fn word(&self, number: u32) -> &str {
        self.words.get(number as usize).map_or("", |word| word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_found_by_name_and_come_out_in_a_settled_order() {
        let mut table = Table::default();
        for (number, key) in ["rule/B", "payer/C", "bias", "rule/B"].into_iter().enumerate() {
            table.put(key, number).expect("a name");
        }
        assert_eq!((table.get("rule/B"), table.get("rule/X"), table.get("payer/B")), (Some(&3), None, None));
        let put_in: Vec<String> = table.rows().map(|(_, key, _)| key).collect();
        assert_eq!(put_in, ["rule/B", "payer/C", "bias"]);
        let sorted: Vec<String> = table.sorted().into_iter().map(|(key, _)| key).collect();
        assert_eq!(sorted, ["bias", "payer/C", "rule/B"]);
        assert_eq!(table.put("nothing/B", 1), None);
        assert_eq!(table.put("rule/B|C|D|E", 1), None);
    }

    #[test]
    fn other_rows_keep_the_names() {
        let mut table = Table::default();
        table.put("payer_procedure/P|99213", 1).expect("a name");
        let other = table.map(|kind, word| format!("{} {word}", kind.word()));
        assert_eq!(other.get("payer_procedure/P|99213").map(String::as_str), Some("payer_procedure P"));
    }
}
