//! A cluster in miniature, and processes that share the work in it and end at any moment.
//!
//! Before: deeds, in any order. After: [`crate::sharing`] compares what they came to. As on Kafka,
//! a transaction is fenced where it moves the positions of its group: who was replaced cannot. It
//! is not fenced between that and its end; whoever comes next waits until nothing is undecided in
//! the part of the state topic that it reads. What a process had not committed is gone with it.

use std::collections::BTreeMap;
use std::sync::Arc;

use driftd_catalog::{PartitionId, Timestamp};
use driftd_core::config::Config;
use driftd_core::event::{Effect, Event};
use driftd_core::loss::{Accepted, Bounds, Loss};
use driftd_core::result::WindowResult;
use driftd_core::shard::{Output, Shard};
use driftd_core::snapshot::Snapshot;
use driftd_core::state::{Row, stored_positions};

use crate::damage::{Fault, Losing};
use crate::deeds::{Course, Deed, Ending, ZombieDeed};
use crate::growth::produce;
use crate::log::{Record, START};
use crate::members::{Member, Open, Owned, Work, Written};
use crate::simulation::partition;
use crate::tally::{Floor, Reached};
use crate::topic::{TopicLog, TransactionId, Verdict, Verdicts};

pub(crate) const LANES: u32 = 3;

/// What a cluster reaches by deeds alone.
pub(crate) const CLUSTER_FLOORS: [Floor; 10] = [
    ("waits for another process", 15),
    ("transactions that are fenced", 400),
    ("commits of a replaced process that count", 20),
    ("transactions that are sent again", 150),
    ("transactions that are not answered for", 150),
    ("old rows that are compacted away", 120),
    ("ends of keys that are compacted away", 20),
    ("rows that are deleted once they are taken", 150),
    ("begins while transactions are torn", 100),
    ("waits for the end of its own transaction", 100),
];

/// The topics, and who owns what now.
pub(crate) struct Cluster {
    /// Configurations that processes may have.
    pub(crate) configs: Vec<Arc<Config>>,
    pub(crate) logs: Vec<Vec<Record>>,
    pub(crate) now: Timestamp,
    pub(crate) verdicts: Verdicts,
    /// What readers and lanes keep: those of several lie in one partition.
    state: Vec<TopicLog>,
    pub(crate) partials: Vec<TopicLog>,
    /// What lanes sent.
    pub(crate) sent: Vec<Vec<Effect>>,
    /// How many effects of each lane came before it heard of lost records.
    heard: [Option<usize>; LANES as usize],
    /// What becomes of the first partition's log.
    pub(crate) losing: Losing,
    /// The partition whose reader has no profiles.
    pub(crate) blind: Option<usize>,
    /// Time passes with the records that are read.
    pub(crate) is_timely: bool,
    members: BTreeMap<Owned, Member>,
    /// What each has been given to for how many times.
    generations: BTreeMap<Owned, usize>,
    /// Positions of the groups.
    positions: BTreeMap<Owned, i64>,
    /// Members that were replaced, and do not know it.
    zombies: Vec<Member>,
    pub(crate) reached: Reached,
}

/// What becomes of a member after a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    GoesOn,
    BeginsAnew,
    IsReplaced,
}

impl Cluster {
    /// All processes begin with the first configuration.
    pub(crate) fn new(configs: &[Arc<Config>], logs: &[Vec<Record>]) -> Self {
        let topic = || (0..LANES).map(|_| TopicLog::default()).collect();
        let mut cluster = Self {
            configs: configs.to_vec(),
            logs: logs.to_vec(),
            now: START,
            verdicts: Verdicts::default(),
            state: topic(),
            partials: topic(),
            sent: (0..LANES).map(|_| Vec::new()).collect(),
            heard: [None; LANES as usize],
            losing: Losing::default(),
            blind: None,
            is_timely: false,
            members: BTreeMap::new(),
            generations: BTreeMap::new(),
            positions: BTreeMap::new(),
            zombies: Vec::new(),
            reached: Reached::default(),
        };
        let partitions = (0..logs.len()).map(Owned::Partition);
        for owned in partitions.chain((0..LANES as usize).map(Owned::Lane)) {
            cluster.give(owned, 0, false);
        }
        cluster
    }

    /// Gives something to a new process, which begins where the last owner committed.
    fn give(&mut self, owned: Owned, config: usize, is_late_commit: bool) {
        self.members.remove(&owned);
        *self.generations.entry(owned).or_insert(0) += 1;
        self.wait_for_open(owned, is_late_commit);
        self.lose(owned);
        let config = Arc::clone(&self.configs[config % self.configs.len()]);
        let rows = self.rows(owned);
        let accepted = self.accept(owned, &rows);
        let work = Work::begin(&config, owned, rows, (accepted.as_ref(), self.now), &self.logs);
        let generation = self.generations[&owned];
        let (open, last, unwritten) = (None, None, Vec::new());
        let mut member = Member { owned, generation, open, last, unwritten, work };
        let committed = self.positions.get(&owned).copied().unwrap_or(0);
        let is_gone_on_with = committed <= member.position();
        assert!(accepted.is_some() || is_gone_on_with, "rows of {owned:?} are old");
        if self.configs.len() == 1 {
            assert!(member.has_dropped_nothing());
        }
        member.tell(self.now, self.topic_partitions());
        self.members.insert(owned, member);
    }

    /// Where it is to come, the log of a partition loses records that nobody reads at this moment.
    fn lose(&mut self, owned: Owned) {
        if owned != Losing::OWNED {
            return;
        }
        let Some((fault, later)) = self.losing.coming.take() else { return };
        let stored = stored_positions(&self.rows(owned)).unwrap().remove(&partition(0));
        let Some(stored) = stored else { return };
        // Of whoever was replaced before nothing is heard any more.
        let is_its = |member: &mut Member| member.owned == owned;
        for mut zombie in self.zombies.extract_if(.., is_its).collect::<Vec<_>>() {
            self.end_transaction(&mut zombie, false);
        }
        (self.losing.start, self.logs[0]) = fault.damage(&self.logs[0], stored.next_offset);
        self.losing.anew_from = match fault {
            Fault::Deletes(_) => None,
            Fault::Cuts(_) => Some(self.end_of(0)),
        };
        self.losing.has_lost = true;
        produce(&mut self.logs[0], &later);
    }

    /// Returns what is lost of a partition, as a person accepts it whenever there is something.
    fn accept(&mut self, owned: Owned, rows: &[Row]) -> Option<Accepted> {
        if owned != Losing::OWNED || !self.losing.has_lost {
            return None;
        }
        let stored = stored_positions(rows).unwrap().remove(&partition(0))?;
        let start = self.losing.start;
        let is_other = stored.mark.is_some_and(|it| self.losing.bytes(it.offset) != it.bytes);
        let recreated = is_other.then_some(Loss::Recreated { next_offset: stored.next_offset });
        let loss =
            Loss::of(stored.next_offset, Bounds { start, end: self.end_of(0) }).or(recreated)?;
        let accepted = Accepted { partition: partition(0), loss, start, at: self.now };
        self.losing.accepted.push(accepted.clone());
        Some(accepted)
    }

    /// Returns the next offset of a partition's producer.
    fn end_of(&self, index: usize) -> i64 {
        let start = if index == 0 { self.losing.start } else { 0 };
        self.logs[index].last().map_or(start, |record| record.offset + 1)
    }

    /// Returns every part of the topics.
    fn topics(&mut self) -> impl Iterator<Item = &mut TopicLog> {
        self.state.iter_mut().chain(&mut self.partials)
    }

    /// Waits until what became of a transaction is to be seen in all topics.
    fn wait_for_marks(&mut self, id: TransactionId) {
        let mut waits = false;
        for part in self.topics().filter(|part| part.unmarked().contains(&id)) {
            part.join();
            waits = true;
        }
        self.reached.note_if(waits, "waits for the end of its own transaction");
    }

    /// Waits until nothing is undecided where the rows of a new owner lie.
    fn wait_for_open(&mut self, owned: Owned, is_late_commit: bool) {
        for id in self.state[owned.place()].open(&self.verdicts) {
            let is_its = |member: &Member| member.open.is_some_and(|open| open.transaction == id);
            if let Some(at) = self.zombies.iter().position(is_its) {
                let mut zombie = self.zombies.remove(at);
                let is_positioned = zombie.open.is_some_and(|open| open.is_positioned);
                let is_committed = is_positioned && is_late_commit;
                self.reached.note_if(is_committed, "commits of a replaced process that count");
                self.end_transaction(&mut zombie, is_committed);
                self.zombies.push(zombie);
            } else if let Some(other) = self.members.values().find(|it| is_its(it)) {
                self.reached.note("waits for another process");
                self.transact(other.owned, Course::Commits);
            } else {
                self.close(id, Verdict::Aborted);
            }
        }
        self.state[owned.place()].join();
        let is_torn = self.topics().any(|part| !part.unmarked().is_empty());
        self.reached.note_if(is_torn, "begins while transactions are torn");
    }

    /// Returns what lies in the part of the state topic where the rows of an owner are.
    pub(crate) fn rows(&self, owned: Owned) -> Vec<Row> {
        self.state[owned.place()].rows(&self.verdicts)
    }

    fn topic_partitions(&self) -> Event {
        let partitions: Vec<PartitionId> = (0..self.logs.len()).map(partition).collect();
        Event::TopicPartitions { source: 0, partitions }
    }

    pub(crate) fn act(&mut self, deed: Deed) {
        let partition = |index: usize| Owned::Partition(index % self.logs.len());
        let lane = |lane: usize| Owned::Lane(lane % LANES as usize);
        match deed {
            Deed::Read { partition: index, messages } => self.go_on(partition(index), messages),
            Deed::Report { partition: index } => {
                self.tell_shard(partition(index), |shard, id, outputs| {
                    shard.flush(id, None, outputs);
                });
            }
            Deed::Pass { partition: index, course } => self.transact(partition(index), course),
            Deed::EndReader { partition: index, config, ending } => {
                self.end(partition(index), config, ending);
            }
            Deed::Take { lane: number, rows } => self.go_on(lane(number), rows),
            Deed::Decide { lane: number, course } => self.transact(lane(number), course),
            Deed::EndLane { lane: number, config, ending } => {
                self.end(lane(number), config, ending);
            }
            Deed::Zombie { which, deed } => self.haunt(which, deed),
            Deed::Tick { millis } => {
                self.now = self.now.plus_millis(millis);
                let free = self.members.values_mut().filter(|member| member.open.is_none());
                free.for_each(|member| member.tell(self.now, Event::Tick));
            }
            Deed::Look => self.look(),
            Deed::Flow { messages } => self.flow(messages),
            Deed::Compact { lane, rows, is_late, keeps } => {
                let log = &mut self.state[lane % LANES as usize];
                let keeps = |offset: i64| offset.rem_euclid(8) < i64::from(keeps);
                let (old, ended) = log.compact(&self.verdicts, (rows, is_late), keeps);
                self.reached.note_if(0 < old, "old rows that are compacted away");
                self.reached.note_if(0 < ended, "ends of keys that are compacted away");
            }
            Deed::Expire { lane: number } => {
                let passed = self.positions.get(&lane(number)).copied().unwrap_or(0);
                let is_any = self.partials[number % LANES as usize].delete_before(passed);
                self.reached.note_if(is_any, "rows that are deleted once they are taken");
            }
            Deed::Tear { part, is_mended } => {
                let count = self.topics().count();
                let part = self.topics().nth(part % count).unwrap();
                if is_mended { part.join() } else { part.cut_off() }
            }
        }
    }

    /// A member reads on, unless it waits for its transaction.
    fn go_on(&mut self, owned: Owned, count: usize) {
        let Some(mut member) = self.members.remove(&owned) else { return };
        self.proceed(&mut member, count);
        self.members.insert(owned, member);
    }

    fn proceed(&mut self, member: &mut Member, count: usize) {
        if member.open.is_some() {
            return;
        }
        match (&mut member.work, member.owned) {
            (Work::Reader(reader), Owned::Partition(index)) => {
                let is_blind = self.blind == Some(index);
                let log = &self.logs[index];
                let newest = reader.read((self.now, log), count, is_blind);
                if member.owned == Losing::OWNED && self.losing.is_marked {
                    reader.mark(log, |offset| self.losing.bytes(offset));
                }
                if self.is_timely {
                    // How new records are that nobody counted is told by the clock where nothing
                    // else does: those of the producers are not ahead of it.
                    self.now = newest.max(Some(self.now)).unwrap();
                }
            }
            (Work::Lane(lane), Owned::Lane(number)) => {
                lane.take(self.now, (number, &self.partials[number]), &self.verdicts, count);
            }
            (Work::Reader(_), Owned::Lane(_)) | (Work::Lane(_), Owned::Partition(_)) => {
                panic!("{:?} is not of the other kind", member.owned)
            }
        }
    }

    /// A member's transaction begins, or goes on where it stood.
    pub(crate) fn transact(&mut self, owned: Owned, course: Course) {
        let Some(mut member) = self.members.remove(&owned) else { return };
        let next = self.run(&mut member, course);
        assert_ne!(next, Next::IsReplaced, "{owned:?} has one owner");
        let config = self.number_of(&member);
        self.members.insert(owned, member);
        if next == Next::BeginsAnew {
            self.give(owned, config, false);
            self.report(owned);
        }
    }

    fn number_of(&self, member: &Member) -> usize {
        let is_own = |config| Arc::ptr_eq(config, member.config());
        self.configs.iter().position(is_own).unwrap()
    }

    fn run(&mut self, member: &mut Member, course: Course) -> Next {
        if member.open.is_none() && !self.fill(member) {
            return Next::GoesOn;
        }
        if matches!(course, Course::Hangs { is_positioned: false }) {
            return Next::GoesOn;
        }
        let rest = member.unwritten.len();
        self.write(member, rest);
        let Some(open) = &mut member.open else { return Next::GoesOn };
        if !open.is_positioned && self.generations[&member.owned] != member.generation {
            self.reached.note("transactions that are fenced");
            self.end_transaction(member, false);
            return Next::IsReplaced;
        }
        open.is_positioned = true;
        match course {
            Course::Commits => self.end_transaction(member, true),
            Course::Aborts => {
                self.reached.note("transactions that are sent again");
                self.end_transaction(member, false);
            }
            Course::Hangs { .. } => {}
            Course::IsUnheard { takes_place } => {
                self.reached.note("transactions that are not answered for");
                self.end_transaction(member, takes_place);
                return Next::BeginsAnew;
            }
        }
        Next::GoesOn
    }

    /// Writes what a member has for its transaction; returns whether there was anything.
    fn fill(&mut self, member: &mut Member) -> bool {
        let Written { state, partials } = member.gather();
        if state.is_empty() && partials.is_empty() {
            return false;
        }
        // The coordinator begins no other one before.
        if let Some(id) = member.last {
            self.wait_for_marks(id);
        }
        let transaction = self.verdicts.begin();
        for change in state {
            self.state[member.owned.place()].write(transaction, (change.key, change.value));
        }
        member.begin(transaction);
        // What others write meanwhile lies between the halves.
        member.unwritten = partials;
        let half = member.unwritten.len() / 2;
        self.write(member, half);
        true
    }

    /// Writes so many of the rows for lanes that wait for it.
    fn write(&mut self, member: &mut Member, count: usize) {
        let Some(Open { transaction, .. }) = member.open else { return };
        for (lane, (key, value)) in member.unwritten.drain(..count) {
            self.partials[lane as usize].write(transaction, (key, Some(value)));
        }
    }

    fn end_transaction(&mut self, member: &mut Member, is_committed: bool) {
        let Some(open) = member.open.take() else { return };
        member.last = Some(open.transaction);
        member.unwritten.clear();
        if !is_committed {
            return self.close(open.transaction, Verdict::Aborted);
        }
        self.close(open.transaction, Verdict::Committed);
        self.positions.insert(member.owned, member.position());
        if let (Work::Lane(lane), Owned::Lane(number)) = (&mut member.work, member.owned)
            && let Some(at) = lane.heard_at.take()
        {
            self.heard[number].get_or_insert(self.sent[number].len() + at);
        }
        let effects = member.committed();
        if let Owned::Lane(lane) = member.owned {
            self.sent[lane].extend(effects);
        }
    }

    fn close(&mut self, id: TransactionId, verdict: Verdict) {
        self.verdicts.decide(id, verdict);
        self.topics().for_each(|part| part.mark(id));
    }

    /// The process of a member ends, or hangs, and another one takes its place.
    fn end(&mut self, owned: Owned, config: usize, ending: Ending) {
        let Some(mut member) = self.members.remove(&owned) else { return };
        if matches!(ending, Ending::Hangs { is_amid: true, .. }) {
            self.run(&mut member, Course::Hangs { is_positioned: true });
        }
        let open = member.open.map(|open| open.transaction);
        match ending {
            Ending::Dies => {
                self.give(owned, config, false);
                // One that writes nothing to the state topic is not waited for there.
                if let Some(id) = open.filter(|id| self.verdicts.of(*id) == Verdict::Open) {
                    self.close(id, Verdict::Aborted);
                }
            }
            Ending::Hangs { is_late_commit, .. } => {
                self.zombies.push(member);
                self.give(owned, config, is_late_commit);
            }
        }
        self.report(owned);
    }

    /// A reader says where it begins.
    fn report(&mut self, owned: Owned) {
        self.tell_shard(owned, Shard::report_progress);
    }

    /// One that was replaced does something all the same.
    fn haunt(&mut self, which: usize, deed: ZombieDeed) {
        let Some(at) = which.checked_rem(self.zombies.len()) else { return };
        let mut zombie = self.zombies.swap_remove(at);
        let next = match deed {
            ZombieDeed::GoesOn(count) => {
                self.proceed(&mut zombie, count);
                Next::GoesOn
            }
            ZombieDeed::Commits(course) => self.run(&mut zombie, course),
        };
        if next == Next::GoesOn {
            self.zombies.push(zombie);
        }
    }

    /// Has a partition's shard tell something.
    fn tell_shard(
        &mut self,
        owned: Owned,
        ask: impl FnOnce(&mut Shard, &PartitionId, &mut Vec<Output>),
    ) {
        let Owned::Partition(index) = owned else { return };
        let member = self.members.get_mut(&owned).filter(|member| member.open.is_none());
        if let Some(Member { work: Work::Reader(reader), .. }) = member {
            reader.ask(&partition(index), ask);
        }
    }

    /// Tells a lane something.
    pub(crate) fn tell_lane(&mut self, lane: usize, event: Event) {
        self.members.get_mut(&Owned::Lane(lane)).unwrap().tell(self.now, event);
    }

    pub(crate) fn look(&mut self) {
        let all: Vec<i64> = (0..self.logs.len()).map(|index| self.end_of(index)).collect();
        for (index, end) in all.iter().enumerate() {
            let owned = Owned::Partition(index);
            if self.members[&owned].position() == *end {
                let now = self.now;
                self.tell_shard(owned, |shard, id, outputs| {
                    shard.watch_silence(now, id, *end, outputs);
                });
            }
        }
        let ends = all.iter().enumerate().map(|(index, end)| (partition(index), *end));
        let ends: Vec<_> = ends.collect();
        for member in self.members.values_mut().filter(|member| member.open.is_none()) {
            member.tell(self.now, Event::Ends { source: 0, ends: ends.clone() });
        }
    }

    /// Everything that is on its way arrives.
    fn flow(&mut self, messages: usize) {
        self.end_open();
        for index in 0..self.logs.len() {
            self.go_on(Owned::Partition(index), messages);
            self.transact(Owned::Partition(index), Course::Commits);
        }
        for lane in 0..LANES as usize {
            self.go_on(Owned::Lane(lane), usize::MAX);
            self.transact(Owned::Lane(lane), Course::Commits);
        }
    }

    /// Members that wait for their transaction go on.
    fn end_open(&mut self) {
        let open = self.members.values().filter(|member| member.open.is_some());
        let open: Vec<Owned> = open.map(|member| member.owned).collect();
        for owned in open {
            self.transact(owned, Course::Commits);
        }
    }

    /// Adds records to the partitions that there are, and partitions to the topic.
    pub(crate) fn grow(&mut self, logs: Vec<Vec<Record>>) {
        self.end_open();
        let new = self.logs.len()..logs.len();
        self.logs = logs;
        let known = self.topic_partitions();
        let Event::TopicPartitions { partitions, .. } = known else { return };
        for member in self.members.values_mut() {
            let partitions = partitions.clone();
            member.tell(self.now, Event::TopicPartitions { source: 0, partitions });
        }
        new.for_each(|index| self.give(Owned::Partition(index), 0, false));
        self.reached.note("more partitions");
    }

    /// What was cut off a log has come again, otherwise.
    pub(crate) fn grow_again(&mut self, later: &[Record]) {
        if self.losing.has_lost {
            produce(&mut self.logs[0], later);
        }
    }

    /// Reads what is left, and gives everything to processes of the first configuration.
    pub(crate) fn settle(&mut self) {
        self.lay();
        for index in 0..self.logs.len() {
            let owned = Owned::Partition(index);
            self.go_on(owned, usize::MAX >> 1);
            self.transact(owned, Course::Commits);
            self.end(owned, 0, Ending::Dies);
            self.transact(owned, Course::Commits);
        }
        for lane in (0..LANES as usize).map(Owned::Lane) {
            self.transact(lane, Course::Commits);
            self.end(lane, 0, Ending::Dies);
        }
    }

    /// Whoever was replaced learns of it, and no transaction is left open.
    fn lay(&mut self) {
        for mut zombie in std::mem::take(&mut self.zombies) {
            self.run(&mut zombie, Course::Commits);
        }
        self.end_open();
        self.topics().for_each(TopicLog::join);
    }

    /// Returns how many windows a lane has closed.
    pub(crate) fn windows_closed(&self, lane: usize) -> u64 {
        let Work::Lane(lane) = &self.members[&Owned::Lane(lane)].work else { return 0 };
        lane.pipeline.windows_closed()
    }

    /// Reads, passes on and decides what is left.
    pub(crate) fn finish(mut self) -> Finished {
        let has_window = |it: &Effect| matches!(it, Effect::Window(_));
        let is_reached = self.sent.iter().flatten().any(has_window);
        self.reached.note_if(is_reached, "windows before the end");
        self.lay();
        for index in 0..self.logs.len() {
            let owned = Owned::Partition(index);
            self.go_on(owned, usize::MAX >> 1);
            self.tell_shard(owned, |shard, id, outputs| shard.flush(id, None, outputs));
            self.transact(owned, Course::Commits);
        }
        let mut joined: Option<Snapshot> = None;
        for lane in 0..LANES as usize {
            let owned = Owned::Lane(lane);
            self.go_on(owned, usize::MAX);
            self.tell_lane(lane, Event::InputEnded);
            self.transact(owned, Course::Commits);
            let Work::Lane(lane) = &self.members[&owned].work else { continue };
            let snapshot = lane.pipeline.snapshot(self.now);
            match &mut joined {
                Some(joined) => joined.join(&snapshot),
                None => joined = Some(snapshot),
            }
        }
        let all = |(sent, heard): (&Vec<Effect>, &Option<usize>)| heard.unwrap_or(sent.len());
        let unaware = self.sent.iter().zip(&self.heard).map(|it| windows(&it.0[..all(it)]));
        let unaware = unaware.flatten().collect();
        let effects: Vec<Effect> = self.sent.into_iter().flatten().collect();
        let (windows, losing) = (windows(&effects), self.losing);
        let snapshot = joined.unwrap();
        let (logs, reached) = (self.logs, self.reached);
        Finished { windows, unaware, snapshot, effects, logs, losing, reached }
    }
}

fn windows(effects: &[Effect]) -> Vec<Arc<WindowResult>> {
    let windows = effects.iter().filter_map(|effect| {
        if let Effect::Window(result) = effect { Some(Arc::clone(result)) } else { None }
    });
    windows.collect()
}

/// What the processes came to.
pub(crate) struct Finished {
    pub(crate) windows: Vec<Arc<WindowResult>>,
    /// Those of lanes that had not heard of lost records.
    pub(crate) unaware: Vec<Arc<WindowResult>>,
    pub(crate) snapshot: Snapshot,
    pub(crate) effects: Vec<Effect>,
    pub(crate) logs: Vec<Vec<Record>>,
    pub(crate) losing: Losing,
    pub(crate) reached: Reached,
}
