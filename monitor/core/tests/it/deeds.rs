//! What processes of [`crate::cluster`] do, and what becomes of them: drawn in any order.
//!
//! Before: proptest. After: [`crate::cluster`] carries the deeds out; indices wrap around.

use proptest::prelude::*;

/// Something that happens next.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Deed {
    Read {
        partition: usize,
        messages: usize,
    },
    /// A reader tells what it holds of panes that it has not passed.
    Report {
        partition: usize,
    },
    /// A reader's transaction begins, or goes on where it stood.
    Pass {
        partition: usize,
        course: Course,
    },
    /// The next reader has the configuration of this number.
    EndReader {
        partition: usize,
        config: usize,
        ending: Ending,
    },
    Take {
        lane: usize,
        rows: usize,
    },
    /// A lane's transaction begins, or goes on where it stood.
    Decide {
        lane: usize,
        course: Course,
    },
    EndLane {
        lane: usize,
        config: usize,
        ending: Ending,
    },
    /// One that was replaced, and does not know it, does something.
    Zombie {
        which: usize,
        deed: ZombieDeed,
    },
    Tick {
        millis: i64,
    },
    /// Everybody hears where the log ends, and readers look for silence.
    Look,
    /// Everything that is on its way arrives, after so many messages of each partition.
    Flow {
        messages: usize,
    },
    /// The oldest rows of a part of the state topic are compacted: of eight old ones `keeps` stay.
    Compact {
        lane: usize,
        rows: usize,
        is_late: bool,
        keeps: u8,
    },
    /// What a lane has taken is deleted.
    Expire {
        lane: usize,
    },
    /// What becomes of transactions is not to be seen in a part of a topic any more, or is again.
    Tear {
        part: usize,
        is_mended: bool,
    },
}

/// How a transaction goes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Course {
    Commits,
    /// The member hears that it is aborted: what was in it waits, and is sent again.
    Aborts,
    /// It stands still behind its rows, or behind the positions.
    Hangs {
        is_positioned: bool,
    },
    /// The member does not hear of its end, and begins anew.
    IsUnheard {
        takes_place: bool,
    },
}

/// How a member stops to be the owner.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ending {
    /// Its process is gone.
    Dies,
    /// It hangs, perhaps amid a transaction that its positions are in already, and does not know
    /// that it is replaced. Such a one takes place before the next owner has seen to it, or never.
    Hangs { is_amid: bool, is_late_commit: bool },
}

/// What one does that was replaced.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ZombieDeed {
    /// Reads, or takes rows.
    GoesOn(usize),
    Commits(Course),
}

fn courses() -> impl Strategy<Value = Course> + Clone {
    prop_oneof![
        12 => Just(Course::Commits),
        1 => Just(Course::Aborts),
        2 => any::<bool>().prop_map(|is_positioned| Course::Hangs { is_positioned }),
        1 => any::<bool>().prop_map(|takes_place| Course::IsUnheard { takes_place }),
    ]
}

pub(crate) fn endings() -> impl Strategy<Value = Ending> + Clone {
    prop_oneof![
        1 => Just(Ending::Dies),
        1 => any::<(bool, bool)>()
            .prop_map(|(is_amid, is_late_commit)| Ending::Hangs { is_amid, is_late_commit }),
    ]
}

fn zombies() -> impl Strategy<Value = ZombieDeed> + Clone {
    let course = prop_oneof![
        3 => Just(Course::Commits),
        1 => Just(Course::Hangs { is_positioned: false }),
    ];
    prop_oneof![(1..20_usize).prop_map(ZombieDeed::GoesOn), course.prop_map(ZombieDeed::Commits),]
}

/// `waits` are the steps of wall-clock time.
pub(crate) fn deeds(
    waits: impl Strategy<Value = i64> + 'static,
) -> impl Strategy<Value = Vec<Deed>> {
    let which = 0..12_usize;
    let messages = prop_oneof![3 => 1..10_usize, 1 => 10..40_usize];
    let compaction = (which.clone(), 10..90_usize, any::<bool>(), 0..6_u8);
    let deed = prop_oneof![
        6 => (which.clone(), messages.clone())
            .prop_map(|(partition, messages)| Deed::Read { partition, messages }),
        5 => (which.clone(), courses())
            .prop_map(|(partition, course)| Deed::Pass { partition, course }),
        2 => (which.clone(), which.clone(), endings()).prop_map(|(partition, config, ending)| {
            Deed::EndReader { partition, config, ending }
        }),
        5 => (which.clone(), 1..20_usize).prop_map(|(lane, rows)| Deed::Take { lane, rows }),
        5 => (which.clone(), courses()).prop_map(|(lane, course)| Deed::Decide { lane, course }),
        2 => (which.clone(), which.clone(), endings())
            .prop_map(|(lane, config, ending)| Deed::EndLane { lane, config, ending }),
        3 => (which.clone(), zombies()).prop_map(|(which, deed)| Deed::Zombie { which, deed }),
        1 => waits.prop_map(|millis| Deed::Tick { millis }),
        1 => Just(Deed::Look),
        2 => which.clone().prop_map(|partition| Deed::Report { partition }),
        6 => messages.prop_map(|messages| Deed::Flow { messages }),
        2 => compaction.prop_map(|(lane, rows, is_late, keeps)| {
            Deed::Compact { lane, rows, is_late, keeps }
        }),
        1 => which.clone().prop_map(|lane| Deed::Expire { lane }),
        4 => (which, prop::bool::weighted(0.3))
            .prop_map(|(part, is_mended)| Deed::Tear { part, is_mended }),
    ];
    let few = prop::collection::vec(deed.clone(), 1..30);
    prop_oneof![4 => few, 1 => prop::collection::vec(deed, 30..100)]
}
