//! Hysteresis as data: a row of signals, and the row of transitions it must give.

use driftd_catalog::Timestamp;
use driftd_fixtures::trials::cases;
use proptest::prelude::*;

use super::*;

const DAY_MILLIS: i64 = 86_400_000;

fn window(day: i64) -> WindowId {
    WindowId {
        span: WindowSpan::starting_at(Timestamp::from_millis(day * DAY_MILLIS), DAY_MILLIS),
        model: ModelId::try_new("flights", "1").expect("a name"),
        segment: SegmentId::all(),
        name: "1d".into(),
    }
}

fn signal(c: char) -> Signal {
    match c {
        '!' => Signal::Breached,
        '.' => Signal::Quiet,
        _ => Signal::Unknown,
    }
}

/// Plays one signal a day (`!` breached, `.` quiet, `?` unknown); a day gives `R`, `C` or `-`.
fn play(policy: HysteresisPolicy, signals: &str) -> String {
    let mut episodes = Episodes::new(policy);
    let days = (0_i64..).zip(signals.chars());
    days.map(|(day, c)| {
        let signals = [FeatureSignal { feature: "temp", signal: signal(c), score: None }];
        match &episodes.observe(&window(day), &signals)[..] {
            [] => '-',
            [Transition::Raised(_)] => 'R',
            [Transition::Cleared(_)] => 'C',
            more => panic!("one feature has at most one transition, got {more:?}"),
        }
    })
    .collect()
}

fn check(policy: (u32, u32, u32), signals: &str, transitions: &str) {
    let policy = HysteresisPolicy::try_new(policy.0, policy.1, policy.2).expect("a valid policy");
    assert_eq!(play(policy, signals), transitions, "{policy:?} on {signals}");
}

#[test]
fn an_episode_opens_at_the_last_needed_breach() {
    check((1, 1, 1), ".!.!", "-RCR");
    check((2, 3, 2), "!.!..", "--R-C");
    check((2, 3, 2), "!..!..!", "-------");
    check((3, 3, 1), "!!.!!!.", "-----RC");
}

#[test]
fn an_episode_closes_only_after_quiet_windows_in_a_row() {
    check((1, 1, 3), "!..!...", "R-----C");
}

#[test]
fn unknown_windows_neither_raise_nor_clear() {
    check((1, 1, 1), "???", "---");
    check((1, 1, 2), "!????", "R----");
    check((1, 1, 2), "!.?.", "R--C");
}

#[test]
fn old_breaches_age_out_behind_unknown_windows() {
    check((2, 3, 1), "!?!", "--R");
    check((2, 3, 1), "!??!", "----");
}

#[test]
fn a_cleared_episode_does_not_reopen_on_its_old_evidence() {
    check((2, 4, 1), "!!.!!", "-RC-R");
}

#[test]
fn an_episode_tells_its_span_and_peak() {
    let mut episodes = Episodes::new(HysteresisPolicy::try_new(2, 3, 2).expect("valid"));
    let mut last = Vec::new();
    for (day, signal, score) in [
        (0, Signal::Breached, Some(1.5)),
        (1, Signal::Quiet, Some(9.0)),
        (2, Signal::Breached, Some(1.2)),
        (3, Signal::Breached, None),
        (4, Signal::Quiet, Some(0.4)),
        (5, Signal::Quiet, Some(0.4)),
    ] {
        last = episodes.observe(&window(day), &[FeatureSignal { feature: "temp", signal, score }]);
    }
    let [Transition::Cleared(episode)] = &last[..] else { panic!("cleared on day 5: {last:?}") };
    assert_eq!(episode.opened, window(2).span);
    assert_eq!(episode.last, window(5).span);
    assert_eq!(episode.windows_breached, 3);
    assert_eq!(episode.peak_score, Some(1.5));
    assert!(episode.id().starts_with("ep-flights-1-"));
}

#[test]
fn the_peak_of_forgotten_breaches_is_forgotten() {
    let mut episodes = Episodes::new(HysteresisPolicy::try_new(2, 2, 1).expect("valid"));
    for (day, signal, score) in [
        (0, Signal::Breached, 9.0),
        (1, Signal::Quiet, 0.1),
        (2, Signal::Breached, 1.1),
        (3, Signal::Breached, 1.2),
    ] {
        let signals = [FeatureSignal { feature: "temp", signal, score: Some(score) }];
        episodes.observe(&window(day), &signals);
    }
    let open = episodes.open(&window(0).model, &SegmentId::all());
    assert_eq!(open[0].peak_score, Some(1.2));
}

#[test]
fn a_revision_of_a_decided_window_changes_nothing() {
    let mut episodes = Episodes::new(HysteresisPolicy::try_new(1, 1, 1).expect("valid"));
    let breached = [FeatureSignal { feature: "temp", signal: Signal::Breached, score: None }];
    let quiet = [FeatureSignal { feature: "temp", signal: Signal::Quiet, score: None }];
    episodes.observe(&window(5), &breached);
    let before = episodes.clone();
    assert!(episodes.observe(&window(5), &quiet).is_empty());
    assert!(episodes.observe(&window(4), &quiet).is_empty());
    assert_eq!(episodes, before);
}

#[test]
fn segments_and_models_have_their_own_episodes() {
    let mut episodes = Episodes::new(HysteresisPolicy::try_new(1, 1, 1).expect("valid"));
    let breached = [FeatureSignal { feature: "temp", signal: Signal::Breached, score: None }];
    let mut other = window(0);
    other.segment = SegmentId::try_new("origin", "JFK").expect("a name");
    assert_eq!(episodes.observe(&window(0), &breached).len(), 1);
    assert_eq!(episodes.observe(&other, &breached).len(), 1);
    let all = episodes.open(&other.model, &SegmentId::all());
    let jfk = episodes.open(&other.model, &other.segment);
    assert_eq!((all.len(), jfk.len()), (1, 1));
    assert_ne!(all[0].id(), jfk[0].id());
}

fn policies() -> impl Strategy<Value = HysteresisPolicy> {
    (1..=64_u32).prop_flat_map(|of| {
        (1..=of, Just(of), 1..8_u32).prop_map(|(raise, of, clear)| {
            HysteresisPolicy::try_new(raise, of, clear).expect("generated inside the bounds")
        })
    })
}

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn the_same_windows_give_the_same_transitions(policy in policies(), signals in "[!.?]{0,200}") {
        prop_assert_eq!(play(policy, &signals), play(policy, &signals));
    }

    #[test]
    fn episodes_never_flap_faster_than_configured(
        policy in policies(),
        signals in "[!.?]{0,200}",
    ) {
        let transitions = play(policy, &signals);
        let changes: Vec<_> = transitions.char_indices().filter(|(_, c)| *c != '-').collect();
        for pair in changes.windows(2) {
            let [(from, kind), (to, next)] = pair else { unreachable!("windows of two") };
            prop_assert_ne!(kind, next, "raises and clears alternate");
            let least = if *kind == 'R' { policy.clear() } else { policy.raise() };
            prop_assert!(from + least as usize <= *to, "{transitions}");
        }
    }

    #[test]
    fn a_raise_has_its_breaches_in_the_last_windows(
        policy in policies(),
        signals in "[!.?]{0,200}",
    ) {
        for (day, c) in play(policy, &signals).char_indices() {
            let from = (day + 1).saturating_sub(policy.of() as usize);
            let recent = signals.chars().take(day + 1).skip(from);
            let breached = recent.filter(|c| *c == '!').count();
            prop_assert!(c != 'R' || policy.raise() as usize <= breached);
        }
    }
}
