//! Partitions that run ahead are held back, and never for longer than somebody can catch up.

use driftd_catalog::PartitionId;
use driftd_core::event::{Effect, Event};

use crate::log::{START, regular};
use crate::model;
use crate::simulation::{Simulation, partition};

/// Two partitions with two records a second for ten minutes; 40 s may lie between them.
fn two() -> Simulation {
    let mut tree = model::tree();
    tree["sources"][0]["time"]["drift_max"] = "40s".into();
    let log = regular("1", |_| 5.0, 0..600_000, 500);
    Simulation::new(&model::config(&tree), &[log.clone(), log], 1)
}

/// The first partition has been paused since the second one crept on.
fn paused_for_minutes() -> Simulation {
    let mut simulation = two();
    simulation.read(1, 1);
    simulation.read(0, 100);
    for _ in 0..10 {
        simulation.tick(30_000);
        simulation.read(1, 1);
    }
    simulation
}

/// Which partitions were paused (`true`) and resumed (`false`), in order.
fn pauses(simulation: &Simulation) -> Vec<(PartitionId, bool)> {
    let changes = simulation.effects.iter().filter_map(|effect| {
        if let Effect::Pause(id) = effect {
            return Some((id.clone(), true));
        }
        if let Effect::Resume(id) = effect { Some((id.clone(), false)) } else { None }
    });
    changes.collect()
}

fn flush_count(simulation: &Simulation) -> usize {
    simulation.effects.iter().filter(|effect| matches!(effect, Effect::Flush(_))).count()
}

#[test]
fn a_partition_ahead_is_paused_until_the_slow_one_has_come_near() {
    let mut simulation = two();
    simulation.read(1, 1);
    simulation.read(0, 81);
    assert_eq!(pauses(&simulation), [], "40 s ahead are allowed");
    simulation.read(0, 1);
    assert_eq!(pauses(&simulation), [(partition(0), true)]);
    assert!(simulation.snapshot().partitions[0].paused);
    simulation.read(1, 1);
    assert_eq!(pauses(&simulation), [(partition(0), true), (partition(0), false)]);
    assert!(!simulation.snapshot().partitions[0].paused);
}

#[test]
fn a_paused_partition_goes_on_when_the_slow_one_is_read_by_somebody_else() {
    let mut simulation = two();
    simulation.read(1, 1);
    simulation.read(0, 200);
    simulation.handle(Event::Revoked { source: 0, partitions: vec![partition(1)] });
    simulation.tick(1);
    assert_eq!(pauses(&simulation), [(partition(0), true), (partition(0), false)]);
}

#[test]
fn a_partition_that_another_process_reads_holds_back_as_well() {
    let mut simulation = two();
    simulation.handle(Event::Revoked { source: 0, partitions: vec![partition(1)] });
    simulation.handle(Event::Ends { source: 0, ends: vec![(partition(1), 1_200)] });
    let mut is_at = |offset, seconds: i64| {
        let watermark = Some(START.plus_millis(seconds * 1_000));
        let standings = vec![(partition(1), offset, watermark)];
        simulation.handle(Event::Elsewhere { source: 0, standings });
        simulation.read(0, 200);
        simulation.tick(1);
        pauses(&simulation).last().is_some_and(|(_, is_paused)| *is_paused)
    };
    // Its own position is 97 s, then 197 s: four times 40 s ahead are allowed.
    assert!(!is_at(1, 0));
    assert!(is_at(60, 30));
    assert!(!is_at(80, 40), "197 s is not 160 s ahead any more");
    assert!(is_at(90, 45), "100 s further it is");
    assert!(!is_at(1_200, 600), "what is read to its end holds nobody back");
}

#[test]
fn a_partition_that_is_dead_holds_nobody_back_for_longer_than_wait_max() {
    let mut simulation = two();
    simulation.read(1, 1);
    simulation.read(0, 200);
    simulation.tick(59_999);
    assert_eq!(pauses(&simulation), [(partition(0), true)]);
    simulation.tick(1);
    assert_eq!(pauses(&simulation), [(partition(0), true), (partition(0), false)]);
    simulation.read(0, 100);
    assert_eq!(pauses(&simulation).len(), 2, "and is still not waited for");
}

#[test]
fn a_pause_is_not_taken_for_standing_still() {
    let mut simulation = paused_for_minutes();
    // The slow one overtakes: windows wait for the other, which has not moved for minutes.
    simulation.read(1, 200);
    simulation.tick(1);
    assert_eq!(flush_count(&simulation), 0);
    assert!(simulation.windows().iter().all(|window| window.complete));
}

#[test]
fn a_partition_that_is_tried_again_holds_back_for_as_long_as_it_is_waited_for() {
    let mut simulation = two();
    simulation.read(1, 1);
    simulation.handle(Event::LetGo(partition(1)));
    simulation.read(0, 200);
    simulation.tick(59_999);
    assert_eq!(pauses(&simulation), [(partition(0), true)]);
    simulation.tick(1);
    assert_eq!(pauses(&simulation), [(partition(0), true), (partition(0), false)]);
}

#[test]
fn a_pause_before_a_partition_is_let_go_of_is_not_taken_for_standing_still() {
    let mut simulation = paused_for_minutes();
    assert_eq!(pauses(&simulation), [(partition(0), true)]);
    simulation.handle(Event::LetGo(partition(0)));
    simulation.handle(Event::Assigned { source: 0, partitions: vec![partition(0)] });
    // The other one overtakes: windows wait for this one, which has not moved for minutes.
    simulation.read(1, 200);
    simulation.tick(1);
    assert_eq!(flush_count(&simulation), 0);
}

/// The pause may still be on its way when the partition is read again.
#[test]
fn the_pause_of_a_partition_that_goes_is_taken_back() {
    let goes =
        [Event::LetGo(partition(0)), Event::Revoked { source: 0, partitions: vec![partition(0)] }];
    for event in goes {
        let mut simulation = paused_for_minutes();
        simulation.handle(event);
        assert_eq!(pauses(&simulation), [(partition(0), true), (partition(0), false)]);
        simulation.handle(Event::Assigned { source: 0, partitions: vec![partition(0)] });
        assert!(!simulation.snapshot().partitions[0].paused);
    }
}
