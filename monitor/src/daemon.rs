//! The running daemon: its threads, the channels between them, and their orderly end.
//!
//! Before: a valid configuration, from `driftd run` or `driftd demo`. After: consumer threads
//! count, [`crate::stage`] decides and acts, one thread serves HTTP. Every channel is bounded.
//!
//! The end goes from the source on: consumers stop, the pipeline drains, outputs are sent, HTTP
//! closes.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io;
use std::iter;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use driftd_catalog::label::MemoryOwner;
use driftd_catalog::{ModelId, Timestamp};
use driftd_core::config::{Config, FirstStart, KafkaConfig, ScaleOutConfig, SourceConfig};
use driftd_core::event::Effect;
use driftd_core::pipeline::Pipeline;
use driftd_core::snapshot::Snapshot;
use driftd_core::state::{Dropped, RestoreError, Store as _, StoreId, restore_accepting};
use rdkafka::Offset;
use tokio::runtime;
use tokio::sync::{oneshot, watch};
use tracing::{error, info, warn};

use crate::accept::{self, AcceptError, AcceptLoss, Decisions};
use crate::board::Board;
use crate::clock::{self, Stopwatch};
use crate::commands::{CommandSender, commands};
use crate::courier::{Carrier, Courier};
use crate::http::{self, Health, HttpState, Instruments};
use crate::kafka::ConnectError;
use crate::kafka::consumer::{ConsumerParts, SourceConsumer};
use crate::kafka::outputs::OutputTopics;
use crate::kafka::owners::Owners;
use crate::kafka::probe;
use crate::kafka::producer::{Bounds, Producer, Reports};
use crate::kafka::rebalance::{Begin, BeginCell, Parked};
use crate::kafka::sharing::tell_left_halves;
use crate::kafka::status::StatusReader;
use crate::kafka::topics::{self, TopicError};
use crate::kafka::watch::{Ends, Watcher};
use crate::lanes::{self, Lanes, News};
use crate::memory::held::Holder;
use crate::memory::{Memory, MemoryError};
use crate::outbox::{EventReceiver, EventSender, events};
use crate::references::{ReferenceFileError, References};
use crate::registry::{self, Writers, WritersError};
use crate::stage::{Keeper, Stage, Start, end};
use crate::store::{FolderStore, StoreError};
use crate::unique;

/// Events waiting for the pipeline; more make the consumers pause.
const EVENTS_MAX: usize = 256;
/// The end takes no longer: below the thirty seconds that a supervisor usually waits.
const END_MAX: Duration = Duration::from_secs(25);
const END_LOOK: Duration = Duration::from_millis(20);
/// Wait before the topics of shared work are looked at again.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// Called with every effect before it is carried out, on the pipeline's thread.
pub type Observer = Box<dyn FnMut(&Effect) + Send>;

/// A daemon that could not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The configuration has no Kafka cluster.
    #[error(
        "`kafka` is missing from the configuration: say at least `kafka: {{brokers: [HOST:PORT]}}`"
    )]
    NoKafka,
    /// A client could not be made.
    #[error("cannot connect to Kafka")]
    Connect(#[from] ConnectError),
    /// The address of metrics and page cannot be taken.
    #[error("cannot listen on `{address}`: choose another `outputs.listen`")]
    Listen {
        /// The address.
        address: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// It needs more memory than there is.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// A topic of shared work does not serve.
    #[error("shared work cannot begin")]
    Topic(#[from] TopicError),
    /// The state of an earlier run cannot be had.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A loss cannot be accepted.
    #[error(transparent)]
    Accept(#[from] AcceptError),
    /// The state of an earlier run cannot be read.
    #[error(transparent)]
    Restore(#[from] RestoreError),
    /// The schemas of a topic's messages cannot be had.
    #[error(transparent)]
    Writers(#[from] WritersError),
    /// A profile that stored windows were counted against cannot be used.
    #[error(transparent)]
    Reference(#[from] ReferenceFileError),
    /// The system gives no more threads.
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
}

/// Threads that read, count, decide and answer.
#[derive(Debug)]
pub struct Daemon {
    address: SocketAddr,
    snapshot: watch::Receiver<Arc<Snapshot>>,
    health: Arc<Health>,
    stopping: Arc<AtomicBool>,
    /// Hang up to end the threads that only look.
    looking: Vec<SyncSender<()>>,
    workers: Vec<JoinHandle<()>>,
    http: Http,
}

#[derive(Debug)]
struct Http {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

/// What the threads share.
struct Shared {
    config: Arc<Config>,
    kafka: KafkaConfig,
    references: Arc<References>,
    /// For each source the schemas of its messages, where those have some.
    writers: Vec<Option<Arc<Writers>>>,
    producer: Arc<Producer>,
    memory: Arc<Memory>,
    health: Arc<Health>,
    instruments: Arc<Instruments>,
    events: EventSender,
    ends: Ends,
    owners: Owners,
    /// Whose losses are accepted where several processes share the work.
    decisions: Arc<Decisions>,
    parked: Parked,
    /// Name of this process, unlike any other in the group.
    member: Arc<str>,
    stopping: Arc<AtomicBool>,
}

/// Threads started so far.
#[derive(Default)]
struct Started {
    looking: Vec<SyncSender<()>>,
    commands: Vec<CommandSender>,
    workers: Vec<JoinHandle<()>>,
}

impl Daemon {
    /// Connects everything and starts all threads. `folder` is the configuration file's.
    pub fn start(
        config: Arc<Config>,
        folder: &Path,
        observer: Observer,
    ) -> Result<Self, StartError> {
        Self::start_accepting(config, folder, &[], observer)
    }

    /// Like [`Daemon::start`], without records that are lost.
    pub fn start_accepting(
        config: Arc<Config>,
        folder: &Path,
        losses: &[AcceptLoss],
        observer: Observer,
    ) -> Result<Self, StartError> {
        accept::check(&config, losses)?;
        let kafka = config.kafka.clone().ok_or(StartError::NoKafka)?;
        let memory = Memory::of(&config, &probe::partition_counts(&config, &kafka)).admit()?;
        info!(budget = %memory, "memory");
        let looks = config.scale_out.as_ref().map(|scale_out| look_at_topics(&kafka, scale_out));
        let has_answered = looks.transpose()?.unwrap_or(true);
        let reports = Reports::default();
        let bounds = Bounds::of(&config);
        let (events, receiver) = events(EVENTS_MAX);
        let shared = Shared {
            references: Arc::new(References::new(folder, Arc::clone(&config))),
            writers: registry::of_sources(&config, folder)?,
            producer: Arc::new(Producer::connect(&kafka, bounds, reports.clone())?),
            memory: Arc::new(memory),
            health: Arc::new(Health::new(clock::instant())),
            instruments: Arc::new(Instruments::new(EVENTS_MAX)),
            ends: Ends::default(),
            owners: Owners::default(),
            decisions: Arc::new(Decisions::new(losses)),
            parked: Parked::default(),
            member: member(&kafka),
            stopping: Arc::default(),
            events,
            config,
            kafka,
        };
        let Resumed { pipeline, keeper, topics } = resume(&shared, folder, losses)?;
        let carrier = carrier(&shared, &pipeline, reports.clone());
        let courier = carrier.as_ref().map(Carrier::courier);
        let (board, snapshot) = Board::new(Arc::new(pipeline.snapshot(clock::now())));
        let (address, http) = start_http(&shared, snapshot.clone())?;
        let (stopping, health) = (Arc::clone(&shared.stopping), Arc::clone(&shared.health));
        let mut started = Started::default();
        if !has_answered {
            started.start_look(&shared)?;
        }
        let deciding = started.start_lanes(&shared, &board)?;
        let starts = starts(&shared.config, &topics, courier.is_some());
        for (source, start) in starts.iter().enumerate() {
            started.start_source(&shared, deciding.as_ref(), source, &start.cell)?;
        }
        started.start_status_reader(&shared, deciding)?;
        let Started { looking, commands, mut workers } = started;
        let stage = stage(
            shared,
            (pipeline, keeper, courier),
            (receiver, reports),
            board,
            (commands, starts),
            observer,
        );
        if let Some(carrier) = carrier {
            workers.push(spawn("courier", move || carrier.run())?);
        }
        workers.push(spawn("pipeline", move || stage.run())?);
        Ok(Self { address, snapshot, health, stopping, looking, workers, http })
    }

    /// Where metrics, API and page are served.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The newest picture, and a way to wait for the next.
    pub fn snapshot(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.snapshot.clone()
    }

    /// Is not ready any more, stops reading, decides what was read, and waits until everything that
    /// was sent is answered for, or no answer is to be expected any more.
    pub fn stop(self) -> Arc<Snapshot> {
        let Self { address: _, snapshot, health, stopping, looking, workers, http } = self;
        health.ends();
        stopping.store(true, Ordering::Relaxed);
        drop(looking);
        join(workers);
        if http.stop.send(()).is_err() || http.thread.join().is_err() {
            error!("the HTTP server had ended before");
        }
        Arc::clone(&snapshot.borrow())
    }
}

impl Started {
    /// Starts the thread that looks at the topics of shared work once the cluster answers.
    fn start_look(&mut self, shared: &Shared) -> Result<(), StartError> {
        let Some(scale_out) = shared.config.scale_out.clone() else { return Ok(()) };
        let kafka = shared.kafka.clone();
        self.look("topics", move |stop| look_again(&kafka, &scale_out, stop))
    }

    /// Starts a thread that looks at something until it is told to stop.
    fn look(
        &mut self,
        name: &str,
        run: impl FnOnce(&Receiver<()>) + Send + 'static,
    ) -> Result<(), StartError> {
        let (looking, stop) = sync_channel(0);
        self.looking.push(looking);
        self.workers.push(spawn(name, move || run(&stop))?);
        Ok(())
    }

    /// Starts the thread that decides, where several processes share the work; returns what its
    /// news are sent by.
    fn start_lanes(
        &mut self,
        shared: &Shared,
        board: &Board,
    ) -> Result<Option<EventSender>, StartError> {
        let Some(scale_out) = shared.config.scale_out.clone() else { return Ok(None) };
        shared.health.wait_for_lanes();
        let (sender, events) = events(EVENTS_MAX);
        let lanes_topic = scale_out.partials_topic.clone();
        let lanes = Lanes {
            config: Arc::clone(&shared.config),
            kafka: shared.kafka.clone(),
            scale_out,
            member: Arc::clone(&shared.member),
            references: Arc::clone(&shared.references),
            events,
            board: board.clone(),
            heartbeat: shared.health.register("lanes", clock::instant()),
            health: Arc::clone(&shared.health),
            instruments: Arc::clone(&shared.instruments),
            stopping: Arc::clone(&shared.stopping),
            news: News::default(),
            ends: shared.ends.clone(),
        };
        self.workers.push(spawn("lanes", move || lanes.run())?);
        // Nobody hears of the partitions: what is looked at are their ends.
        let topic = lanes_topic.into();
        let (ends, health) = (shared.ends.clone(), Arc::clone(&shared.health));
        let watcher = Watcher::connect(&shared.kafka, 0, topic, ends, health, Vec::new())?;
        let (group, owners) = (lanes::group(&shared.kafka), shared.owners.clone());
        let watcher = watcher.beside_others(&shared.kafka, &group, owners)?;
        self.look("watch-lanes", move |stop| watcher.run(stop))?;
        Ok(Some(sender))
    }

    fn start_source(
        &mut self,
        shared: &Shared,
        deciding: Option<&EventSender>,
        source: usize,
        begin: &BeginCell,
    ) -> Result<(), StartError> {
        let topic = Arc::clone(&shared.config.sources[source].topic);
        let watcher = Watcher::connect(
            &shared.kafka,
            source,
            topic,
            shared.ends.clone(),
            Arc::clone(&shared.health),
            iter::once(&shared.events).chain(deciding).cloned().collect(),
        )?;
        let watcher = match &shared.config.scale_out {
            Some(_) => {
                let (kafka, owners) = (&shared.kafka, shared.owners.clone());
                watcher.beside_others(kafka, &kafka.group, owners)?
            }
            None => watcher,
        };
        self.look(&format!("watch-{source}"), move |stop| watcher.run(stop))?;
        for index in 0..shared.kafka.consumers {
            self.start_consumer(shared, source, begin, index)?;
        }
        Ok(())
    }

    fn start_consumer(
        &mut self,
        shared: &Shared,
        source: usize,
        begin: &BeginCell,
        index: u32,
    ) -> Result<(), StartError> {
        let name = format!("consume-{source}-{index}");
        let (sender, commands) = commands();
        let parts = ConsumerParts {
            config: Arc::clone(&shared.config),
            source,
            references: Arc::clone(&shared.references),
            writers: shared.writers[source].clone(),
            decisions: Arc::clone(&shared.decisions),
            parked: shared.parked.of_thread(index),
            index,
            member: Arc::clone(&shared.member),
            begin: Arc::clone(begin),
            ends: shared.ends.clone(),
            events: shared.events.clone(),
            commands,
            producer: Arc::clone(&shared.producer),
            heartbeat: shared.health.register(&name, clock::instant()),
            health: Arc::clone(&shared.health),
            stopping: Arc::clone(&shared.stopping),
        };
        let consumer = SourceConsumer::connect(&shared.kafka, parts)?;
        self.commands.push(sender);
        self.workers.push(spawn(&name, move || consumer.run())?);
        Ok(())
    }

    fn start_status_reader(
        &mut self,
        shared: &Shared,
        deciding: Option<EventSender>,
    ) -> Result<(), StartError> {
        let Some(retraining) = &shared.config.retraining else { return Ok(()) };
        let goes_on = shared.config.state.is_some() || shared.config.scale_out.is_some();
        let start = if goes_on { Offset::Beginning } else { Offset::End };
        let reader = StatusReader::connect(
            &shared.kafka,
            &retraining.status_topic,
            start,
            deciding.unwrap_or_else(|| shared.events.clone()),
        )?;
        self.look("job-reports", move |stop| reader.run(stop))
    }
}

fn stage(
    shared: Shared,
    (pipeline, keeper, courier): (Pipeline, Keeper, Option<Courier>),
    (events, reports): (EventReceiver, Reports),
    board: Board,
    (commands, starts): (Vec<CommandSender>, Vec<Start>),
    observer: Observer,
) -> Stage {
    Stage {
        pipeline,
        events,
        reports,
        producer: shared.producer,
        board,
        commands,
        starts,
        stopping: shared.stopping,
        heartbeat: shared.health.register("pipeline", clock::instant()),
        health: shared.health,
        instruments: shared.instruments,
        config: shared.config,
        observer,
        keeper,
        is_open: courier.is_none(),
        courier,
    }
}

/// Returns where each source begins, for good when nothing is sent: else nothing is read before it
/// is known what is sent already. In a topic that an earlier run has read, a partition that it did
/// not know is a new one.
fn starts(config: &Config, topics: &BTreeSet<Arc<str>>, is_sending: bool) -> Vec<Start> {
    let start = |source: &SourceConfig| {
        let is_resumed = topics.contains(&source.topic);
        let begin = match source.start {
            FirstStart::Latest if !is_resumed => Begin::Newest,
            FirstStart::Latest | FirstStart::Earliest => Begin::Oldest,
        };
        let cell = Arc::new(if is_sending { OnceLock::new() } else { OnceLock::from(begin) });
        let may_be_lost = begin == Begin::Newest && config.state.is_some();
        Start { cell, begin, may_be_lost }
    };
    config.sources.iter().map(start).collect()
}

/// Makes what carries outputs, where there are some.
fn carrier(shared: &Shared, pipeline: &Pipeline, reports: Reports) -> Option<Carrier> {
    let topics = OutputTopics::of(&shared.config)?;
    let source = shared.config.event_source();
    Some(Carrier::new(&shared.kafka, topics, source, pipeline.outbox()?, reports))
}

/// What an earlier run left.
struct Resumed {
    pipeline: Pipeline,
    keeper: Keeper,
    /// Topics that were read before.
    topics: BTreeSet<Arc<str>>,
}

/// Goes on from the stored state, where state is kept.
fn resume(shared: &Shared, folder: &Path, losses: &[AcceptLoss]) -> Result<Resumed, StartError> {
    if shared.config.scale_out.is_some() {
        // What is decided, kept and sent is the lanes'.
        let pipeline = Pipeline::new(Arc::clone(&shared.config));
        return Ok(Resumed { pipeline, keeper: Keeper::nothing(), topics: BTreeSet::new() });
    }
    let fresh = StoreId(unique::number());
    let Some(state) = &shared.config.state else {
        let pipeline = Pipeline::without_state(Arc::clone(&shared.config), fresh);
        return Ok(Resumed { pipeline, keeper: Keeper::nothing(), topics: BTreeSet::new() });
    };
    let store = FolderStore::open(state, folder)?;
    // Without its profile a window would be left behind: one that is there has to be read.
    let unusable = RefCell::new(None);
    let find = |model, id: &ModelId| {
        let reference = shared.references.load(model, id);
        reference.unwrap_or_else(|error| {
            unusable.borrow_mut().get_or_insert(error);
            None
        })
    };
    let rows = store.rows()?;
    let accepted = accept::accepted(&shared.kafka, losses, &rows)?;
    let begin = (fresh, &*accepted);
    let mut restored = restore_accepting(&shared.config, rows, &find, begin, clock::now())?;
    restored.pipeline.join_labels(&store.entries());
    if let Some(error) = unusable.into_inner() {
        return Err(error.into());
    }
    for Dropped { model, windows } in &restored.dropped {
        warn!(
            %model,
            windows,
            "windows are left behind: they were counted otherwise, or their reference is gone"
        );
    }
    info!(
        folder = %store.folder().display(),
        partitions = restored.partitions.len(),
        windows_closed = restored.pipeline.windows_closed(),
        "state read"
    );
    let mut topics = BTreeSet::new();
    for partition in restored.partitions {
        tell_left_halves(&partition);
        topics.insert(Arc::clone(&partition.id().topic));
        shared.parked.park(partition);
    }
    let interval_millis = state.commit_interval_millis;
    let held = Holder::new(MemoryOwner::Checkpoints);
    let keeper = Keeper { store: Some(store), interval_millis, stored_at: Timestamp::MIN, held };
    Ok(Resumed { pipeline: restored.pipeline, keeper, topics })
}

/// Refuses topics that do not serve; returns whether the cluster has answered. One that does not
/// answer yet is waited for later.
fn look_at_topics(kafka: &KafkaConfig, scale_out: &ScaleOutConfig) -> Result<bool, TopicError> {
    let mut has_answered = true;
    for problem in topics::verify(kafka, scale_out) {
        if !problem.is_advice() && !problem.is_unanswered() {
            return Err(problem);
        }
        has_answered &= !problem.is_unanswered();
        let problem = format!("{:#}", anyhow::Error::from(problem));
        warn!(problem, has_answered, "a topic of shared work");
    }
    Ok(has_answered)
}

/// Looks at the topics as soon as the cluster answers, and ends the process if they do not serve.
fn look_again(kafka: &KafkaConfig, scale_out: &ScaleOutConfig, stop: &Receiver<()>) {
    while matches!(stop.recv_timeout(LOOK_INTERVAL), Err(RecvTimeoutError::Timeout)) {
        match look_at_topics(kafka, scale_out) {
            Ok(true) => return,
            Ok(false) => {}
            Err(problem) => {
                let error = format!("{:#}", anyhow::Error::from(problem));
                error!(error, "shared work cannot go on");
                end();
            }
        }
    }
}

/// Returns the configured name of this process, or one that no other has.
fn member(kafka: &KafkaConfig) -> Arc<str> {
    let drawn = || format!("{:016x}", unique::number());
    kafka.instance.clone().unwrap_or_else(drawn).into()
}

#[expect(clippy::disallowed_methods, reason = "the edge opens sockets")]
fn start_http(
    shared: &Shared,
    snapshot: watch::Receiver<Arc<Snapshot>>,
) -> Result<(SocketAddr, Http), StartError> {
    let address = &shared.config.outputs.listen;
    let refused = |source| StartError::Listen { address: address.clone(), source };
    let listener = std::net::TcpListener::bind(address).map_err(refused)?;
    listener.set_nonblocking(true).map_err(refused)?;
    let bound = listener.local_addr().map_err(refused)?;
    let state = HttpState {
        config: Arc::clone(&shared.config),
        snapshot,
        health: Arc::clone(&shared.health),
        instruments: Arc::clone(&shared.instruments),
        memory: Arc::clone(&shared.memory),
        instance: Arc::clone(&shared.member),
        ends: shared.ends.clone(),
        owners: shared.owners.clone(),
        started: clock::now(),
        simd: driftd_kernels::backend(),
    };
    let (stop, stopped) = oneshot::channel();
    let thread = spawn("http", move || {
        if let Err(error) = serve(listener, state, stopped) {
            error!(%error, "the HTTP server could not start");
        }
    })?;
    Ok((bound, Http { stop, thread }))
}

/// One thread is enough: answers are made from memory.
fn serve(
    listener: std::net::TcpListener,
    state: HttpState,
    stopped: oneshot::Receiver<()>,
) -> io::Result<()> {
    runtime::Builder::new_current_thread().enable_all().build()?.block_on(async move {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        http::serve(listener, state, async move {
            // Hanging up stops the server as well as asking does.
            if stopped.await.is_err() {
                tracing::debug!("the daemon is gone; the HTTP server ends");
            }
        })
        .await;
        Ok(())
    })
}

/// Waits for threads to end. What they wait for themselves may be a broker that is gone: then a
/// supervisor would kill the process, and nobody would know what it had left to do.
fn join(workers: Vec<JoinHandle<()>>) {
    let since = Stopwatch::start();
    for worker in workers {
        while !worker.is_finished() && since.elapsed() < END_MAX {
            thread::park_timeout(END_LOOK);
        }
        if !worker.is_finished() {
            let thread = worker.thread().name().unwrap_or_default();
            error!(thread, "it has not ended in time: what it had not committed is read again");
        } else if worker.join().is_err() {
            error!("a thread ended by a panic");
        }
    }
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, StartError> {
    thread::Builder::new().name(name.to_owned()).spawn(run).map_err(StartError::Thread)
}
