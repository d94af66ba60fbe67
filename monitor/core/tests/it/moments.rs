//! Moments at which a process stores or ends: between any two things that it does, not only when a
//! step is over.
//!
//! Before: a draw says after how many of them. After: [`crate::simulation`] looks at the moment
//! behind each event that the pipeline took, and behind each effect that was carried out.

use proptest::prelude::*;

/// What happens to the process.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Happening {
    Stores,
    StoresAndEnds,
    /// So many of the stored messages are sent, and it ends before it hears of it.
    StoresSendsAndEnds(usize),
    Ends,
}

/// When it happens.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    /// Places that are passed before.
    places: usize,
    happening: Happening,
}

impl Moment {
    /// Passes a place; returns what happens there.
    pub(crate) fn pass(this: &mut Option<Self>) -> Option<Happening> {
        let moment = this.as_mut()?;
        if let Some(places) = moment.places.checked_sub(1) {
            moment.places = places;
            return None;
        }
        this.take().map(|moment| moment.happening)
    }
}

/// Draws moments for some of the steps.
pub(crate) fn moments() -> impl Strategy<Value = Vec<Option<Moment>>> {
    let happening = prop_oneof![
        3 => Just(Happening::Stores),
        3 => Just(Happening::StoresAndEnds),
        1 => (0..6_usize).prop_map(Happening::StoresSendsAndEnds),
        1 => Just(Happening::Ends),
    ];
    let places = prop_oneof![3 => 0..6_usize, 1 => 6..40_usize];
    let moment = (places, happening).prop_map(|(places, happening)| Moment { places, happening });
    prop::collection::vec(prop::option::weighted(0.5, moment), 1..12)
}
