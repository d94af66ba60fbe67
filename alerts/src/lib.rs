//! When to speak: from verdicts on windows to episodes, retraining requests and alert rules.
//!
//! Before: the core's evaluation of a closed window, as one [`Signal`] a feature.
//! After: [`Transition`]s on the page and in metrics, a [`RetrainRequest`] on the retraining topic.
//!
//! 1. [`Episodes`] applies the [`HysteresisPolicy`]: a feature that breaches its threshold in
//!    `raise` of the last `of` windows opens an [`Episode`]; `clear` quiet windows in a row close
//!    it. A window without a verdict does neither.
//! 2. [`RetrainTrigger`] asks for a retraining when enough episodes of a model are open, at most
//!    once a cooldown, with an id that a replay computes again.
//! 3. [`rules`] writes the Prometheus rule file and its runbook links from the metric catalogue,
//!    for those who page through Alertmanager.
//!
//! Everything runs in event time and is a pure function of the windows observed, in order. Nothing
//! here reads a clock, so a replay of the log tells the same story as the live run.
//!
//! ```
//! use driftd_alerts::{Episodes, FeatureSignal, HysteresisPolicy, Signal, Transition};
//! use driftd_catalog::{ModelId, SegmentId, Timestamp, WindowId, WindowSpan};
//!
//! let mut episodes = Episodes::new(HysteresisPolicy::try_new(2, 3, 2)?);
//! let window = |day: i64| WindowId {
//!     span: WindowSpan::starting_at(Timestamp::from_millis(day * 86_400_000), 86_400_000),
//!     model: ModelId::try_new("flights", "1").expect("a short name"),
//!     segment: SegmentId::all(),
//!     name: "1d".into(),
//! };
//! let breached = [FeatureSignal { feature: "temp", signal: Signal::Breached, score: Some(1.4) }];
//! assert!(episodes.observe(&window(0), &breached).is_empty());
//! let transitions = episodes.observe(&window(1), &breached);
//! let [Transition::Raised(episode)] = &transitions[..] else { panic!("two of three breached") };
//! assert_eq!(&*episode.feature, "temp");
//! # Ok::<(), driftd_alerts::PolicyError>(())
//! ```

mod episode;
mod identity;
mod policy;
mod retrain;
pub mod rules;

pub use episode::{Episode, EpisodeMemory, Episodes, FeatureSignal, Signal, Transition};
pub use policy::{HysteresisPolicy, PolicyError};
pub use retrain::{
    Hold, RetrainDecision, RetrainMemory, RetrainPolicy, RetrainRequest, RetrainTrigger,
};
