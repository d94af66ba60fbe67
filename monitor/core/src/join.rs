//! Joins the requests and responses of one partition by their id.
//!
//! Before: the consumer lends each message of a source with a join. After: a decoder reads the
//! document of both halves at the offset of the one that came later, as if it had come so; what
//! waits is kept in [`crate::halves`].
//!
//! What is joined depends on the messages of the partition alone. Time is the newest record time
//! among them: a half waits until that is too far past what it was when the half came, and where
//! halves take more than they may, the ones that came first go first. A half whose time lies behind
//! that of others waits as long as they do, and one with a time far ahead ends the waiting of
//! those before it only.

use std::collections::BTreeMap;
use std::sync::Arc;

use driftd_catalog::Timestamp;
use driftd_ingest::{
    Decode, Decoded, Half, HalfReader, JsonDecoder, Message, Program, Rejection, SchemaId, Side,
};

use crate::config::{JoinConfig, SourceConfig};
use crate::halves::{Halves, JoinNews, Waiting, WaitingHalf};

/// Memory of a joined document that is kept for the next one.
const DOCUMENT_BYTES_KEPT: usize = 64 << 10;

/// Decodes the messages of one partition whose requests and responses are joined.
pub struct JoinDecoder {
    joiner: Joiner,
    decoder: JsonDecoder,
    /// Of the open batch.
    document_bytes: usize,
}

impl JoinDecoder {
    /// Goes on with halves that wait already.
    ///
    /// # Panics
    /// When the schema does not want the join's paths, which a valid configuration's does.
    pub fn new(source: &SourceConfig, join: &Arc<JoinConfig>, halves: Halves) -> Self {
        let reader = HalfReader::new(&source.schema, &join.half, source.message_limits());
        Self {
            joiner: Joiner::new(Arc::clone(join), reader, halves),
            decoder: JsonDecoder::new(Arc::clone(&source.schema), source.limits()),
            document_bytes: 0,
        }
    }

    /// Returns what changed since the last call. It is of the messages up to the newest one, so it
    /// belongs to a batch that is closed.
    pub fn take_news(&mut self) -> JoinNews {
        self.joiner.take_news()
    }

    /// Adds a message; returns why, if it is refused, and what was decoded where it made a record
    /// whole.
    pub fn decode_half(&mut self, message: &Message<'_>) -> Option<(&Rejection, Option<&[u8]>)> {
        let Self { joiner, decoder, document_bytes } = self;
        let rejection = joiner.read(message, decoder);
        let document = joiner.document();
        *document_bytes += document.map_or(0, <[u8]>::len);
        Some((rejection?, document))
    }

    /// Returns what halves take: those that wait, and those that the open batch has made an end of.
    pub fn held_bytes(&self) -> u64 {
        self.joiner.halves.waiting().bytes + self.joiner.news.removed_bytes
    }

    /// Returns what waits.
    pub fn waiting(&self) -> Waiting {
        self.joiner.halves.waiting()
    }
}

impl Decode for JoinDecoder {
    fn missing(&mut self, _: &Message<'_>) -> Option<SchemaId> {
        None
    }

    fn learn(&mut self, _: SchemaId, _: Program) {
        unreachable!("messages of JSON name no schema")
    }

    fn decode(&mut self, message: &Message<'_>) -> Option<&Rejection> {
        self.decode_half(message).map(|(rejection, _)| rejection)
    }

    fn messages(&self) -> usize {
        self.decoder.messages()
    }

    fn rows(&self) -> usize {
        self.decoder.rows()
    }

    /// Half of a document was counted when it came, maybe into another batch.
    fn text_bytes(&self) -> usize {
        self.document_bytes
    }

    fn finish(&mut self) -> Decoded {
        self.document_bytes = 0;
        self.decoder.finish()
    }
}

/// The halves of one partition.
struct Joiner {
    join: Arc<JoinConfig>,
    reader: HalfReader,
    halves: Halves,
    /// Offsets of those that wait, by side and id.
    places: [BTreeMap<Arc<str>, i64>; 2],
    news: JoinNews,
    /// What the newest message made whole, if it did.
    document: String,
    has_joined: bool,
}

/// Index of a side.
const fn index(side: Side) -> usize {
    match side {
        Side::Request => 0,
        Side::Response => 1,
    }
}

impl Joiner {
    fn new(join: Arc<JoinConfig>, reader: HalfReader, halves: Halves) -> Self {
        let mut places = [const { BTreeMap::new() }; 2];
        for half in halves.iter() {
            places[index(half.side)].insert(Arc::clone(&half.id), half.offset);
        }
        let (news, document) = (JoinNews::default(), String::new());
        Self { join, reader, halves, places, news, document, has_joined: false }
    }

    /// Takes a message: it waits, is refused, or makes a record whole, which the decoder reads.
    fn read<'d>(
        &mut self,
        message: &Message<'_>,
        decoder: &'d mut JsonDecoder,
    ) -> Option<&'d Rejection> {
        self.has_joined = false;
        self.pass_time(message.timestamp);
        let half = match self.reader.read(message) {
            Ok(half) => half,
            Err(rejection) => return decoder.refuse(message, rejection),
        };
        let place = self.places[index(half.side.other())].get(&*half.id).copied();
        let Some(other) = place.and_then(|offset| self.remove(offset)) else {
            self.wait(message, half);
            decoder.pass(message);
            return None;
        };
        self.news.counts.joined += 1;
        self.document.clear();
        self.document.shrink_to(DOCUMENT_BYTES_KEPT);
        let (offset, into) = (message.offset, &mut self.document);
        if let Err(rejection) = self.reader.append_pair(offset, &half, &other.payload, into) {
            return decoder.refuse(message, rejection);
        }
        self.has_joined = true;
        let payload = Some(self.document.as_bytes());
        let payload_bytes = message.payload.map_or(0, <[u8]>::len);
        match half.side {
            Side::Response => {
                decoder.decode_joined(&Message { payload, ..*message }, payload_bytes)
            }
            Side::Request => {
                let envelope: Vec<_> = other.envelope.iter().map(Option::as_deref).collect();
                let timestamp = other.time;
                let joined = Message { payload, offset, timestamp, envelope: &envelope };
                decoder.decode_joined(&joined, payload_bytes)
            }
        }
    }

    /// Returns what the newest message was decoded as, if it made a record whole.
    fn document(&self) -> Option<&[u8]> {
        self.has_joined.then_some(self.document.as_bytes())
    }

    /// Lets the record time of a message pass: halves that have waited too long wait no more.
    fn pass_time(&mut self, time: Option<Timestamp>) {
        self.halves.pass(time);
        let Some(newest) = self.halves.newest() else { return };
        let within = self.join.within_millis;
        while let Some((offset, side)) = self
            .halves
            .oldest()
            .and_then(|it| (it.since.plus_millis(within) < newest).then_some((it.offset, it.side)))
        {
            self.remove(offset);
            self.news.counts.expired.add(side);
        }
    }

    /// Keeps a half, and makes room for it.
    fn wait(&mut self, message: &Message<'_>, half: Half<'_>) {
        let Half { side, id, payload } = half;
        if self.places[index(side)].contains_key(&*id) {
            self.news.counts.duplicate.add(side);
            return;
        }
        let (time, envelope) = match side {
            Side::Request => (None, Vec::new()),
            Side::Response => {
                let kept = message.envelope.iter().map(|it| it.map(Box::from));
                (message.timestamp, kept.collect())
            }
        };
        let half = Arc::new(WaitingHalf {
            side,
            id: id.into(),
            offset: message.offset,
            since: self.halves.newest().unwrap_or(Timestamp::MIN),
            time,
            payload: payload.into(),
            envelope,
        });
        // One that never fits does not make others go.
        if self.join.bytes_max < half.bytes() {
            self.news.counts.evicted.add(side);
            return;
        }
        self.places[index(side)].insert(Arc::clone(&half.id), half.offset);
        self.news.added.insert(half.offset, Arc::clone(&half));
        self.halves.insert(half);
        self.make_room();
    }

    fn make_room(&mut self) {
        loop {
            let Waiting { halves, bytes } = self.halves.waiting();
            if halves <= self.join.records_max && bytes <= self.join.bytes_max {
                return;
            }
            let oldest = self.halves.oldest().map(|it| (it.offset, it.side));
            let Some((offset, side)) = oldest else { return };
            self.remove(offset);
            self.news.counts.evicted.add(side);
        }
    }

    fn remove(&mut self, offset: i64) -> Option<Arc<WaitingHalf>> {
        let half = self.halves.remove(offset)?;
        self.places[index(half.side)].remove(&half.id);
        // Nobody has heard of one that has come since.
        if self.news.added.remove(&offset).is_none() {
            self.news.removed.push(offset);
            self.news.removed_bytes += half.bytes();
        }
        Some(half)
    }

    fn take_news(&mut self) -> JoinNews {
        let news = std::mem::take(&mut self.news);
        JoinNews { newest: self.halves.newest(), ..news }
    }
}

#[cfg(test)]
mod tests;
