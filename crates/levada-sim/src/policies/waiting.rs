//! Readers that wait: nobody waits while there is something for him (31), nor longer than he wanted
//! to, and who came first is served first (33).

use super::answers::What;
use super::client::{CONSUMERS, GROUP, KEY, new_read};
use super::state::valued;
use super::{Halt, Life, World};
use crate::crash::Restart;
use crate::history::{How, Id, Key as Written};
use levada_core::command::{Command, ReadMost};
use levada_core::error::Error;
use levada_core::reply::Reply;
use levada_engine::shard::{Answer, BlockedRead, BlockedReadgroup, ClientId, Event, Wait};

/// Readers that wait at a time.
const READERS_MAX: usize = 3;
/// The first of their numbers as clients.
const FIRST: u64 = 100;

/// What a reader is told, and the values that it is shown.
#[derive(Clone, Debug)]
pub(super) enum News {
    Served(ClientId, Wait, Vec<(Id, Option<Written>)>),
    TimedOut(ClientId),
}

/// A reader that waits.
#[derive(Clone, Debug)]
pub(super) struct Reader {
    client: ClientId,
    consumer: usize,
    count: u64,
    invoked: u64,
    deadline_us: Option<u64>,
}

impl World {
    /// A consumer waits, for whom there was nothing.
    pub(super) fn wait<S: Restart>(&mut self, life: &mut Life<S>, consumer: usize, count: u64) {
        if !self.policy.waits || life.readers.len() == READERS_MAX {
            return;
        }
        let deadline_ms = self.random.chance(40).then(|| self.now_ms + self.random.below(200));
        let deadline_us = deadline_ms.map(|ms| (ms + 1) * 1000);
        life.clients += 1;
        let client = ClientId(FIRST + life.clients);
        let read = BlockedRead::Xreadgroup(BlockedReadgroup {
            group: GROUP.to_vec(),
            consumer: CONSUMERS[consumer].to_vec(),
            count: Some(count),
            most: ReadMost::default(),
            claim_idle_ms: None,
            no_ack: false,
            streams: vec![(KEY.database, KEY.name.to_vec())],
        });
        self.tell(|| format!("{client:?} waits as {consumer}"));
        life.shard.wait(client, read, deadline_us);
        let invoked = self.counter.next();
        life.readers.push(Reader { client, consumer, count, invoked, deadline_us });
    }

    /// Hears what readers are told, as long as what they are shown is there.
    pub(super) fn hear_news<S: Restart>(&self, life: &mut Life<S>) -> Result<(), Halt> {
        while let Some(event) = life.shard.poll_event() {
            match event {
                Event::Served { client, answer: Answer { result, wait } } => {
                    self.tell(|| format!("  {client:?} is served: {result:?} {wait:?}"));
                    let entries = match result {
                        Ok(Reply::Streams(streams)) => valued(life, &streams[0].1)?,
                        // As when the device has stopped.
                        Err(error @ Error::Corrupt { .. }) => {
                            return Err(Halt::Failed(format!("{error:?}")));
                        }
                        other => return Err(Halt::Wrong(format!("a reader waited: {other:?}"))),
                    };
                    life.news.push(News::Served(client, wait, entries));
                }
                Event::TimedOut { client } => life.news.push(News::TimedOut(client)),
                Event::Retry { .. } => {}
            }
        }
        Ok(())
    }

    /// Takes note of all news.
    pub(super) fn take_news<S: Restart>(&mut self, life: &mut Life<S>) -> Result<(), Halt> {
        let all = std::mem::take(&mut life.news);
        self.take_note(life, all)
    }

    pub(super) fn take_note<S: Restart>(
        &mut self,
        life: &mut Life<S>,
        all: Vec<News>,
    ) -> Result<(), Halt> {
        for news in all {
            match news {
                News::Served(client, wait, entries) => self.serve(life, client, wait, entries)?,
                News::TimedOut(client) => {
                    let now_us = self.now_ms * 1000;
                    let is_due = |reader: &Reader| {
                        reader.client == client && reader.deadline_us.is_some_and(|at| at <= now_us)
                    };
                    let Some(at) = life.readers.iter().position(is_due) else {
                        return Err(Halt::Wrong(format!("{client:?} waited too short")));
                    };
                    life.readers.remove(at);
                }
            }
        }
        Ok(())
    }

    fn serve<S: Restart>(
        &mut self,
        life: &mut Life<S>,
        client: ClientId,
        wait: Wait,
        entries: Vec<(Id, Option<Written>)>,
    ) -> Result<(), Halt> {
        if life.readers.first().is_none_or(|first| first.client != client) {
            let text = format!("{client:?} is served, and not the first of {:?}", life.readers);
            return Err(Halt::Wrong(text));
        }
        let Reader { consumer, invoked, .. } = life.readers.remove(0);
        life.is_unheld = true;
        self.report.served += 1;
        let entries = self.delivered(life, entries)?;
        life.hold(wait, invoked, What::Took(consumer, How::Read, entries));
        Ok(())
    }

    /// At rest: nobody has waited too long, and for the first there is nothing. He asks again and
    /// waits no more.
    pub(super) fn check_readers<S: Restart>(&mut self, life: &mut Life<S>) -> Result<(), Halt> {
        let now_us = self.now_ms * 1000;
        let is_over = |reader: &&Reader| reader.deadline_us.is_some_and(|at| at <= now_us);
        if let Some(reader) = life.readers.iter().find(is_over) {
            return Err(Halt::Wrong(format!("{reader:?} waits for too long")));
        }
        if life.readers.is_empty() || !self.random.chance(20) {
            return Ok(());
        }
        let reader = life.readers.remove(0);
        if !life.shard.cancel_wait(reader.client) {
            return Err(Halt::Wrong(format!("{reader:?} does not wait")));
        }
        let read = new_read(CONSUMERS[reader.consumer], reader.count);
        match self.ask(life, &Command::Xreadgroup(read))?.0 {
            Ok(Reply::Nil | Reply::NilList) => Ok(()),
            other => {
                let text = format!("{:?}: {reader:?} waited beside {other:?}", self.policy);
                Err(Halt::Wrong(text))
            }
        }
    }
}
