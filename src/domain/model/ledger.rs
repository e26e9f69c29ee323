//! The labels of all submissions in the payer's order, ready to be folded again from the start.
//!
//! A label that was wrong is replaced or taken out here, and the whole is folded anew: the model is a function of what
//! the ledger holds. Must never: keep a factor's text more than once.

use std::collections::BTreeMap;

use super::learner::Places;
use super::{Configuration, Features, Label, Learner, OrderKey, Table};

/// The ledger.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// Names only.
    names: Table<()>,
    labels: BTreeMap<OrderKey, (Places, Label)>,
    of: BTreeMap<i64, OrderKey>,
}

impl Ledger {
    /// Puts a submission's label in, instead of the one it had.
    pub fn put(&mut self, submission: i64, order: OrderKey, features: &Features, label: Label) {
        self.remove(submission);
        let numbers = self.names.numbers_for(features);
        let places = Places::of(features, &mut |feature| self.names.place_or(feature, &numbers, || ()));
        self.of.insert(submission, order.clone());
        self.labels.insert(order, (places, label));
    }

    /// Takes a submission's label out, if it had one.
    pub fn remove(&mut self, submission: i64) {
        if let Some(order) = self.of.remove(&submission) {
            self.labels.remove(&order);
        }
    }

    /// How many labels there are.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// A learner that has folded every label, in order.
    pub fn replay(&self, configuration: Configuration) -> Learner {
        let mut learner = Learner::over(&self.names, configuration);
        for (places, label) in self.labels.values() {
            learner.fold_places(places, label);
        }
        learner
    }
}
