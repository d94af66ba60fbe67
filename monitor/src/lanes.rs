//! The thread that decides about models where several processes share the work.
//!
//! Before: rows of the partials topic, written by the readers of all processes. After: lines of
//! results and retraining events in their topics; pictures on the [`Board`]. Everything that a
//! stretch of a lane comes to (what is kept of it, what is sent, and how far it was read) becomes
//! visible in one transaction, so that whoever owns the lane next goes on exactly behind it.

mod assignment;
mod lane;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;
use std::{mem, thread};

use driftd_catalog::event::RetrainingStatus;
use driftd_catalog::label::MemoryOwner;
use driftd_catalog::{ModelId, PartitionId, Timestamp};
use driftd_core::config::{Config, KafkaConfig, ScaleOutConfig};
use driftd_core::event::Event;
use driftd_core::snapshot::LaneSnapshot;
use driftd_core::state::{LaneReader, LaneRowError};
use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerGroupMetadata};
use rdkafka::message::{BorrowedMessage, Message};
use tracing::{debug, error, info, warn};

use self::assignment::{Assignments, Change};
use self::lane::{Lane, RefusedEvents};
use crate::board::Board;
use crate::clock::{self, Stopwatch};
use crate::http::{Health, Heartbeat, Instruments};
use crate::kafka::abandoned;
use crate::kafka::committed::{self, Note, Standing};
use crate::kafka::error_kind::{OFFSET_OUT_OF_RANGE, error_kind};
use crate::kafka::gone::{RowsLost, Unexplained};
use crate::kafka::loss::{self, Found};
use crate::kafka::outputs::OutputTopics;
use crate::kafka::queues;
use crate::kafka::replaced::{end_if_replaced, look_before_return};
use crate::kafka::sharing::{Resumer, WAITING_BYTES_MAX, portions};
use crate::kafka::stalls::{Outlook, Stalls};
use crate::kafka::transactions::{Origin, Places, Refusal, TransactionError, Transactions};
use crate::kafka::watch::Ends;
use crate::kafka::{ConnectError, member};
use crate::memory::{self, held::Holder};
use crate::outbox::EventReceiver;
use crate::references::References;

const POLL_TIMEOUT: Duration = Duration::from_millis(50);
/// Rows taken between two looks at everything else.
const ROWS_MAX: usize = 1_024;
/// How often time passes for the lanes.
const TICK_MILLIS: i64 = 100;
/// Wait before everything begins anew.
const RESTART_PAUSE: Duration = Duration::from_secs(1);
/// Reports on jobs that a lane is told which comes later: more than are under way at once.
const REPORTS_MAX: usize = 1_000;
/// Events of a lane that are known to be refused.
const REFUSED_MAX: usize = 100;
/// Rows that nothing can be made of are logged once in so many.
const UNUSED_LOGGED: u64 = 1_000;

const PLACES: Places = Places {
    filled: "lanes.filled",
    flushed: "lanes.flushed",
    positioned: "lanes.positioned",
    committed: "lanes.committed",
};

/// What the thread is made of.
pub(crate) struct Lanes {
    pub(crate) config: Arc<Config>,
    pub(crate) kafka: KafkaConfig,
    pub(crate) scale_out: ScaleOutConfig,
    /// Name of this process, unlike any other in the group.
    pub(crate) member: Arc<str>,
    pub(crate) references: Arc<References>,
    /// Partitions of the sources, and reports on jobs.
    pub(crate) events: EventReceiver,
    pub(crate) board: Board,
    pub(crate) heartbeat: Heartbeat,
    pub(crate) health: Arc<Health>,
    pub(crate) instruments: Arc<Instruments>,
    pub(crate) stopping: Arc<AtomicBool>,
    pub(crate) news: News,
    /// Where lanes end, as last seen.
    pub(crate) ends: Ends,
}

/// What every lane has to know, also one that comes later.
#[derive(Default)]
pub(crate) struct News {
    partitions: BTreeMap<usize, Vec<PartitionId>>,
    reports: VecDeque<RetrainingStatus>,
}

/// Why a session ended before its time.
#[derive(Debug, thiserror::Error)]
enum SessionError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("what lanes came to cannot be committed")]
    Commit(#[from] TransactionError),
}

/// One membership of the group of lanes.
struct Session<'a> {
    parts: &'a mut Lanes,
    client: BaseConsumer<Assignments>,
    transactions: Transactions,
    reader: LaneReader<'a>,
    lanes: BTreeMap<i32, Lane>,
    /// Owned, and not read.
    stalls: Stalls,
    /// By lane.
    refused: BTreeMap<i32, RefusedEvents>,
    /// An offset is out of range.
    is_looking: bool,
    unused: Unused,
    ticked_at: Timestamp,
    committed_at: Timestamp,
    /// What waits for a transaction: to be kept, and to be sent.
    kept: Holder,
    unsent: Holder,
}

/// Returns the group whose members own lanes.
pub(crate) fn group(kafka: &KafkaConfig) -> String {
    format!("{}.lanes", kafka.group)
}

impl Lanes {
    /// Runs until the daemon stops.
    pub(crate) fn run(mut self) {
        let references = Arc::clone(&self.references);
        let find = move |model: usize, id: &ModelId| references.find(model, id);
        while !self.is_stopping() {
            let ended = Session::open(&mut self, &find).and_then(|mut session| {
                let ended = session.run();
                session.close();
                ended
            });
            self.board.show_lanes(Vec::new());
            let Err(error) = ended else { continue };
            let error = format!("{:#}", anyhow::Error::from(error));
            if self.is_stopping() {
                warn!(error, "what lanes came to last is not committed; it is decided again");
            } else {
                abandoned::end_if_too_many();
                error!(error, "lanes begin anew from what is stored");
                self.pause();
            }
        }
        debug!("the thread of lanes ends");
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    fn beat(&self) {
        self.heartbeat.beat(clock::instant());
    }

    fn pause(&mut self) {
        self.beat();
        let since = Stopwatch::start();
        while let Some(left) = RESTART_PAUSE.checked_sub(since.elapsed()) {
            match self.events.receive(left) {
                Ok(event) => drop(self.news.take(event)),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => thread::park_timeout(left),
            }
        }
    }

    fn client(&self) -> Result<BaseConsumer<Assignments>, ConnectError> {
        let name = format!("{}.lanes", self.member);
        let mut client = member(&self.kafka, &group(&self.kafka), &name)?;
        client
            .set("fetch.wait.max.ms", "50")
            .set("check.crcs", "true")
            .set("queued.max.messages.kbytes", (memory::LANES_QUEUE_BYTES >> 10).to_string());
        queues::tell(&mut client);
        let context = Assignments::new(Resumer {
            config: Arc::clone(&self.config),
            kafka: self.kafka.clone(),
            scale_out: self.scale_out.clone(),
            references: Arc::clone(&self.references),
            // Of a lane nothing is accepted.
            decisions: Arc::default(),
            heartbeat: self.heartbeat.clone(),
        });
        let client: BaseConsumer<Assignments> =
            client.create_with_context(context).map_err(ConnectError::from)?;
        client.subscribe(&[&self.scale_out.partials_topic]).map_err(ConnectError::from)?;
        Ok(client)
    }
}

impl News {
    /// Keeps what an event says; returns it for the lanes that are there.
    fn take(&mut self, event: Event) -> Option<Told> {
        match event {
            Event::TopicPartitions { source, partitions } => {
                self.partitions.insert(source, partitions.clone());
                Some(Told::Partitions(source, partitions))
            }
            // Not for a lane that comes later: what is old says nothing about silence.
            Event::Ends { source, ends } => Some(Told::Ends(source, ends)),
            Event::RetrainReported(status) => {
                self.reports.push_back(status.clone());
                while REPORTS_MAX < self.reports.len() {
                    self.reports.pop_front();
                }
                Some(Told::Report(status))
            }
            Event::Assigned { .. }
            | Event::Revoked { .. }
            | Event::LetGo(_)
            | Event::Partial(_)
            | Event::LeftOut { .. }
            | Event::Progress(_)
            | Event::DeadLettered { .. }
            | Event::ClientError { .. }
            | Event::Elsewhere { .. }
            | Event::Stalled { .. }
            | Event::Lost { .. }
            | Event::Checkpoint(_)
            | Event::Predictions(_)
            | Event::Labels(_)
            | Event::RetrainDelivered { .. }
            | Event::ResultsDelivered { .. }
            | Event::OutboxOpened(_)
            | Event::OutputsSent { .. }
            | Event::InputEnded
            | Event::Tick => None,
        }
    }

    fn all(&self) -> impl Iterator<Item = Told> {
        let partitions = self.partitions.iter();
        let partitions = partitions.map(|(source, ids)| Told::Partitions(*source, ids.clone()));
        partitions.chain(self.reports.iter().cloned().map(Told::Report))
    }
}

/// News for one lane.
#[derive(Clone)]
enum Told {
    Partitions(usize, Vec<PartitionId>),
    Ends(usize, Vec<(PartitionId, i64)>),
    Report(RetrainingStatus),
}

impl From<Told> for Event {
    fn from(told: Told) -> Self {
        match told {
            Told::Partitions(source, partitions) => Self::TopicPartitions { source, partitions },
            Told::Ends(source, ends) => Self::Ends { source, ends },
            Told::Report(status) => Self::RetrainReported(status),
        }
    }
}

impl<'a> Session<'a> {
    fn open(
        parts: &'a mut Lanes,
        find: driftd_core::state::Find<'a>,
    ) -> Result<Self, SessionError> {
        let name = format!("{}.{}.lanes", parts.kafka.group, parts.member);
        let transactions =
            Transactions::open(&parts.kafka, &name, PLACES, &parts.stopping, &|| parts.beat())?;
        Ok(Self {
            client: parts.client()?,
            transactions,
            reader: LaneReader::new(Arc::clone(&parts.config), parts.scale_out.lanes, find),
            lanes: BTreeMap::new(),
            stalls: Stalls::new(
                parts.scale_out.partials_topic.as_str().into(),
                0,
                Arc::clone(&parts.health),
            ),
            refused: BTreeMap::new(),
            is_looking: false,
            unused: Unused::default(),
            ticked_at: Timestamp::MIN,
            committed_at: clock::now(),
            kept: Holder::new(MemoryOwner::Checkpoints),
            unsent: Holder::new(MemoryOwner::Outbox),
            parts,
        })
    }

    /// Leaves the group.
    fn close(self) {
        let Self { client, parts, .. } = self;
        abandoned::close(client, || parts.beat());
    }

    fn run(&mut self) -> Result<(), SessionError> {
        while !self.parts.is_stopping() {
            self.parts.beat();
            self.take_news();
            if let Some(due) = self.stalls.due(clock::now()) {
                self.client.context().retry(&self.client, &due);
            }
            self.poll();
            if mem::take(&mut self.is_looking) {
                self.stop_where_gone();
            }
            self.follow_assignments();
            self.tick();
            if let Err(error) = self.commit_due() {
                let SessionError::Commit(lost) = &error else { return Err(error) };
                let parts = &self.parts;
                look_before_return(&self.client, &parts.kafka, lost, &|| parts.beat());
                return Err(error);
            }
        }
        if self.client.assignment_lost() {
            warn!("the group has moved on: what lanes came to last is decided again");
            return Ok(());
        }
        self.commit()
    }

    fn take_news(&mut self) {
        while let Ok(event) = self.parts.events.receive(Duration::ZERO) {
            let Some(told) = self.parts.news.take(event) else { continue };
            for lane in self.lanes.values_mut() {
                lane.handle(told.clone().into());
            }
        }
    }

    fn poll(&mut self) {
        let mut timeout = POLL_TIMEOUT;
        // A row of a lane that is not here yet would be passed over.
        if !self.client.context().changes().is_empty() {
            return;
        }
        for _ in 0..ROWS_MAX {
            match self.client.poll(timeout) {
                None => return,
                Some(Ok(message)) => {
                    // A row fetched just before its lane was revoked has no lane here any more.
                    let number = message.partition();
                    let Some(lane) = self.lanes.get_mut(&number) else { continue };
                    if let Err(error) = take(lane, &mut self.reader, &mut self.unused, &message) {
                        drop(message);
                        // Its rows stay for whoever can read them.
                        let is_damaged = matches!(error, LaneRowError::Damaged(_));
                        let outlook = if is_damaged { Outlook::Stays } else { Outlook::Passes };
                        return self.let_go(number, error, outlook);
                    }
                }
                Some(Err(error)) => {
                    error!(topic = self.parts.scale_out.partials_topic, %error, "cannot read");
                    end_if_replaced(&self.client, &self.parts.kafka);
                    if error_kind(&error) == OFFSET_OUT_OF_RANGE {
                        self.is_looking = true;
                        return;
                    }
                }
            }
            if !self.client.context().changes().is_empty() || self.is_full() {
                return;
            }
            timeout = Duration::ZERO;
        }
    }

    /// Stops at lanes of which rows are gone. Where none can be made out, each may be the one, and
    /// all begin again from what is stored.
    fn stop_where_gone(&mut self) {
        let topic: Arc<str> = self.parts.scale_out.partials_topic.as_str().into();
        let position = |(number, lane): (&i32, &Lane)| {
            (PartitionId { topic: Arc::clone(&topic), partition: *number }, lane.position())
        };
        let known = self.lanes.iter().map(position).collect();
        let Found { lost, suspects } = loss::find(&self.client, &known);
        for id in suspects {
            self.let_go(id.partition, Unexplained, Outlook::Passes);
        }
        for (id, loss) in lost {
            self.let_go(id.partition, RowsLost(loss), Outlook::Stays);
        }
    }

    fn follow_assignments(&mut self) {
        for change in self.client.context().changes().take() {
            self.parts.health.lanes_assigned();
            match change {
                Change::Assigned(assigned) => {
                    let lanes: Vec<i32> = assigned.iter().map(|(lane, _)| *lane).collect();
                    info!(?lanes, "lanes assigned");
                    for (number, restored) in assigned {
                        let refused = self.refused.get(&number).cloned().unwrap_or_default();
                        let config = Arc::clone(&self.parts.config);
                        let mut lane = Lane::new(config, restored, refused);
                        self.parts.news.all().for_each(|told| lane.handle(told.into()));
                        self.lanes.insert(number, lane);
                        self.stalls.go_on(clock::now(), number);
                    }
                }
                Change::Revoked(lanes) => {
                    info!(?lanes, "lanes revoked");
                    // Whoever owns them next has what was committed, and decides the rest again.
                    self.show();
                    self.lanes.retain(|lane, _| !lanes.contains(lane));
                    for lane in &lanes {
                        self.stalls.leave(*lane);
                    }
                    self.show();
                }
                Change::Stalled(stalled) => {
                    for (lane, error) in stalled {
                        let outlook = error.outlook();
                        self.stalls.stand(clock::now(), lane, error, outlook);
                    }
                }
            }
        }
    }

    fn tick(&mut self) {
        let now = clock::now();
        if now < self.ticked_at.plus_millis(TICK_MILLIS) {
            return;
        }
        self.ticked_at = now;
        let mut is_changed = false;
        for lane in self.lanes.values_mut() {
            lane.handle(Event::Tick);
            is_changed |= lane.take_changed();
        }
        if is_changed {
            self.show();
        }
        let sum = |bytes: fn(&Lane) -> usize| self.lanes.values().map(bytes).sum::<usize>() as u64;
        self.kept.set(sum(Lane::kept_bytes));
        self.unsent.set(sum(Lane::messages_bytes));
    }

    fn show(&mut self) {
        for lane in self.lanes.values_mut() {
            self.parts.instruments.lanes_came_to(lane.take_counts());
        }
        let topic: Arc<str> = self.parts.scale_out.partials_topic.as_str().into();
        let pictures = self.lanes.iter().map(|(number, lane)| {
            let id = PartitionId { topic: Arc::clone(&topic), partition: *number };
            let end = self.parts.ends.of(&id).map(|end| end.offset);
            let picture = lane.picture();
            let partitions = picture.unassigned.clone();
            let next_offset = lane.next_offset();
            let shown = LaneSnapshot { lane: *number, next_offset, end, partitions };
            (shown, Arc::clone(picture))
        });
        self.parts.board.show_lanes(pictures.collect());
    }

    fn commit_due(&mut self) -> Result<(), SessionError> {
        let interval = self.parts.scale_out.commit_interval_millis;
        if clock::now() < self.committed_at.plus_millis(interval) && !self.is_full() {
            return Ok(());
        }
        match self.commit() {
            Err(SessionError::Commit(TransactionError::Aborted { step, source })) => {
                warn!(step, error = %source, "transaction of lanes aborted");
                Ok(())
            }
            Err(SessionError::Commit(TransactionError::Refused(refusal))) => {
                self.refuse(refusal);
                Ok(())
            }
            committed => committed,
        }
    }

    /// Goes on without an output that its topic refuses, and stops at any other row: what is kept
    /// is kept whole.
    fn refuse(&mut self, refusal: Refusal) {
        let Origin { owner: number, output } = refusal.origin;
        let Some(index) = output else {
            return self.let_go(number, refusal, Outlook::Passes);
        };
        error!(lane = number, error = %refusal, "an output is left out");
        let event = self.lanes.get_mut(&number).and_then(|lane| lane.leave_out(index));
        // Without waiting for the next turn.
        self.committed_at = Timestamp::MIN;
        if let Some(id) = event {
            self.stop(number);
            let refused = self.refused.entry(number).or_default();
            refused.insert(id);
            while REFUSED_MAX < refused.len() {
                refused.pop_first();
            }
            self.client.context().again(&self.client, number);
        }
    }

    /// Reads a lane no more that the group leaves here.
    fn let_go(
        &mut self,
        number: i32,
        why: impl std::error::Error + Send + Sync + 'static,
        outlook: Outlook,
    ) {
        self.stop(number);
        self.stalls.stand(clock::now(), number, why, outlook);
    }

    /// Drops a lane that the group leaves here.
    fn stop(&mut self, number: i32) {
        self.client.context().stop(&self.client, number);
        self.lanes.remove(&number);
        self.show();
    }

    /// Whether enough waits for a transaction.
    fn is_full(&self) -> bool {
        WAITING_BYTES_MAX <= self.waiting_bytes()
    }

    fn waiting_bytes(&self) -> usize {
        self.lanes.values().map(Lane::waiting_bytes).sum()
    }

    /// Commits what the lanes came to. What is aborted goes on waiting.
    fn commit(&mut self) -> Result<(), SessionError> {
        self.committed_at = clock::now();
        self.lanes.values_mut().for_each(Lane::prepare);
        let news = self.lanes.iter().filter(|(_, lane)| lane.has_news());
        let portions = portions(news.map(|(number, lane)| (*number, lane.waiting_bytes())));
        let Some(member) = self.client.group_metadata().filter(|_| !portions.is_empty()) else {
            return Ok(());
        };
        let member = Arc::new(member);
        portions.iter().try_for_each(|portion| self.commit_portion(portion, &member))?;
        self.parts.instruments.stored(self.committed_at);
        Ok(())
    }

    fn commit_portion(
        &mut self,
        portion: &[i32],
        member: &Arc<ConsumerGroupMetadata>,
    ) -> Result<(), SessionError> {
        let news = portion.iter().filter_map(|number| Some((*number, self.lanes.get(number)?)));
        let news: Vec<(i32, &Lane)> = news.collect();
        let positions = self.positions(&news)?;
        let parts = &self.parts;
        let topics = OutputTopics::of(&parts.config);
        self.transactions.run(&positions, member, &|| parts.beat(), |transaction| {
            news.iter().try_for_each(|(number, lane)| {
                lane.send(transaction, topics.as_ref(), &parts.scale_out, *number)
            })
        })?;
        for number in portion {
            self.lanes.get_mut(number).into_iter().for_each(Lane::committed);
        }
        Ok(())
    }

    /// Of each lane, also of one of which nothing was read: only by its positions does the
    /// coordinator see that the group has moved on.
    fn positions(&self, lanes: &[(i32, &Lane)]) -> Result<TopicPartitionList, TransactionError> {
        let first = i32::try_from(self.parts.scale_out.lanes).unwrap_or(i32::MAX);
        let standing = |lane: &Lane| {
            let has_rows = lane.next_offset().is_some();
            let owner = Some(Arc::clone(&self.parts.member));
            let note = Note { first, has_rows, watermark: None, owner };
            Standing { next_offset: lane.position(), note }
        };
        let standings = lanes.iter().map(|(number, lane)| (*number, standing(lane)));
        committed::list(&self.parts.scale_out.partials_topic, standings)
            .map_err(TransactionError::Positions)
    }
}

/// Rows that nothing was made of.
#[derive(Debug, Default)]
struct Unused {
    left_out: u64,
    foreign: u64,
}

/// Lets a lane take a row; refuses one of another version and one that is damaged, which must not
/// be passed over.
fn take(
    lane: &mut Lane,
    reader: &mut LaneReader<'_>,
    unused: &mut Unused,
    row: &BorrowedMessage<'_>,
) -> Result<(), LaneRowError> {
    let (number, offset) = (row.partition(), row.offset());
    let key = row.key().unwrap_or_default();
    let content = row.payload().unwrap_or_default();
    match reader.read(u32::try_from(number).unwrap_or_default(), key, content) {
        Ok(event) => {
            let is_left_out = matches!(event, Some(Event::LeftOut { .. }));
            unused.left_out += u64::from(is_left_out);
            if is_left_out && unused.left_out % UNUSED_LOGGED == 1 {
                warn!(
                    rows = unused.left_out,
                    "counts of other configurations, or of references not here, are left out: \
                     their windows are incomplete"
                );
            }
            lane.take(offset, event);
        }
        Err(error @ LaneRowError::Foreign) => {
            unused.foreign += 1;
            if unused.foreign % UNUSED_LOGGED == 1 {
                error!(lane = number, offset, %error, rows = unused.foreign, "passed over");
            }
            lane.take(offset, None);
        }
        Err(error) => return Err(error),
    }
    Ok(())
}
