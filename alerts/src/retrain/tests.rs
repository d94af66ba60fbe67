//! Requests are rare, justified, and the same on every replay.

use driftd_fixtures::trials::cases;
use proptest::prelude::*;

use super::*;
use crate::{Episodes, FeatureSignal, HysteresisPolicy, Signal};

const DAY: i64 = 86_400_000;

fn window(version: &str, day: i64) -> WindowId {
    WindowId {
        span: WindowSpan::starting_at(Timestamp::from_millis(day * DAY), DAY),
        model: ModelId::try_new("flights", version).expect("a name"),
        segment: SegmentId::all(),
        name: "1d".into(),
    }
}

fn episode(feature: &str) -> Episode {
    let window = window("1", 0);
    Episode {
        model: window.model,
        segment: window.segment,
        feature: feature.into(),
        opened: window.span,
        last: window.span,
        windows_breached: 1,
        peak_score: Some(2.0),
    }
}

fn policy(minimum_features: u32) -> RetrainPolicy {
    RetrainPolicy {
        name: "weather".into(),
        minimum_features,
        features: None,
        cooldown_millis: 3 * DAY,
        expiry_millis: 0,
    }
}

fn request(decision: RetrainDecision) -> RetrainRequest {
    let RetrainDecision::Request(request) = decision else {
        panic!("expected a request, got {decision:?}")
    };
    request
}

#[test]
fn a_request_carries_its_cause_and_a_readable_identity() {
    let mut trigger = RetrainTrigger::new(policy(1));
    let request = request(trigger.observe(&window("1", 4), &[episode("temp")]));
    assert_eq!(request.dedupe_key, "flights/1/weather/1970-01-04T00:00:00Z");
    assert!(request.id.starts_with("rt-flights-1-"), "{}", request.id);
    assert_eq!(request.attempt, 1);
    assert_eq!(request.cooldown_until, Timestamp::from_millis(8 * DAY));
    assert_eq!(request.expires, None);
    assert_eq!(request.episodes, vec![episode("temp")]);
}

#[test]
fn too_few_episodes_ask_for_nothing() {
    let mut trigger = RetrainTrigger::new(policy(2));
    assert_eq!(trigger.observe(&window("1", 0), &[episode("temp")]), RetrainDecision::None);
    assert_eq!(RetrainTrigger::new(policy(0)).observe(&window("1", 0), &[]), RetrainDecision::None);
}

#[test]
fn only_the_listed_features_count() {
    let listed = RetrainPolicy { features: Some(vec!["temp".into(), "dewp".into()]), ..policy(2) };
    let mut trigger = RetrainTrigger::new(listed);
    let open = [episode("dewp"), episode("origin")];
    assert_eq!(trigger.observe(&window("1", 0), &open), RetrainDecision::None);
    let open = [episode("dewp"), episode("origin"), episode("temp")];
    let request = request(trigger.observe(&window("1", 1), &open));
    assert_eq!(request.episodes, vec![episode("dewp"), episode("temp")]);
}

#[test]
fn the_cooldown_holds_every_version_of_the_model_back() {
    let mut trigger = RetrainTrigger::new(policy(1));
    let open = [episode("temp")];
    request(trigger.observe(&window("1", 0), &open));
    let until = Timestamp::from_millis(4 * DAY);
    let held = RetrainDecision::Suppressed { until, hold: Hold::Cooldown };
    assert_eq!(trigger.observe(&window("1", 1), &open), held);
    assert_eq!(trigger.observe(&window("2", 2), &open), held);
    assert_eq!(request(trigger.observe(&window("1", 3), &open)).attempt, 2);
}

#[test]
fn attempts_start_again_when_the_drift_was_gone() {
    let mut trigger = RetrainTrigger::new(policy(1));
    request(trigger.observe(&window("1", 0), &[episode("temp")]));
    assert_eq!(trigger.observe(&window("1", 1), &[]), RetrainDecision::None);
    assert_eq!(request(trigger.observe(&window("1", 9), &[episode("temp")])).attempt, 1);
}

#[test]
fn a_request_in_flight_holds_back_until_settled_or_expired() {
    let open = [episode("temp")];
    let in_flight = RetrainPolicy { expiry_millis: 6 * DAY, ..policy(1) };
    let mut trigger = RetrainTrigger::new(in_flight);
    let first = request(trigger.observe(&window("1", 0), &open));
    let until = Timestamp::from_millis(7 * DAY);
    assert_eq!(first.expires, Some(until));
    let held = RetrainDecision::Suppressed { until, hold: Hold::InFlight };
    assert_eq!(trigger.observe(&window("1", 4), &open), held);

    let mut settled = trigger.clone();
    assert!(!settled.settle("rt-other-1-00000000"));
    assert!(settled.settle(&first.id));
    request(settled.observe(&window("1", 5), &open));
    request(trigger.observe(&window("1", 6), &open));
}

#[test]
fn a_process_that_forgot_its_request_asks_under_the_same_id() {
    let open = [episode("temp")];
    let first = request(RetrainTrigger::new(policy(1)).observe(&window("1", 3), &open));
    let after_restart = request(RetrainTrigger::new(policy(1)).observe(&window("1", 4), &open));
    assert_eq!(first.id, after_restart.id);
}

/// Plays signals of one feature through episodes and trigger, one a day.
fn play(policy: &RetrainPolicy, signals: &str) -> Vec<RetrainRequest> {
    let mut episodes = Episodes::new(HysteresisPolicy::try_new(2, 3, 2).expect("valid"));
    let mut trigger = RetrainTrigger::new(policy.clone());
    let mut requests = Vec::new();
    for (day, c) in (0_i64..).zip(signals.chars()) {
        let window = window("1", day);
        let signal = if c == '!' { Signal::Breached } else { Signal::Quiet };
        episodes.observe(&window, &[FeatureSignal { feature: "temp", signal, score: None }]);
        let open = episodes.open(&window.model, &window.segment);
        if let RetrainDecision::Request(request) = trigger.observe(&window, &open) {
            requests.push(request);
        }
    }
    requests
}

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn a_replay_asks_for_the_same_under_the_same_ids(
        signals in "[!.]{0,100}",
        cooldown in 0..9_i64,
    ) {
        let policy = RetrainPolicy { cooldown_millis: cooldown * DAY, ..policy(1) };
        prop_assert_eq!(play(&policy, &signals), play(&policy, &signals));
    }

    #[test]
    fn requests_are_a_cooldown_apart_and_never_share_an_id(
        signals in "[!.]{0,100}",
        cooldown in 0..9_i64,
    ) {
        let policy = RetrainPolicy { cooldown_millis: cooldown * DAY, ..policy(1) };
        let requests = play(&policy, &signals);
        for pair in requests.windows(2) {
            prop_assert!(pair[0].cooldown_until <= pair[1].window.end());
            prop_assert_ne!(&pair[0].id, &pair[1].id);
        }
    }
}
