//! From the arguments of a request to its reply.
//!
//! Checks come in the order of Redis: is there such a command, has it the right number of
//! arguments, may this connection run it, is it to be queued; then its parser, then the engine.

use levada_core::command::{Command, ReadFrom};
use levada_core::error::Error as CoreError;
use levada_core::id::StreamId;
use levada_core::keyspace::KeyNumber;
use levada_core::reply::Reply;
use levada_resp::Protocol;

use crate::connection::Connections;
use crate::context::{Context, State};
use crate::engine::{
    Answer, BlockAccess, BlockedRead, BlockedReadgroup, ClientId, Now, Outcome, Shard,
};
use crate::entries::Source;
use crate::observe;
use crate::out::{Out, Release};
use crate::output::Output;
use crate::registry::{CommandNumber, Registry};
use crate::session::{Blocked, Reason, Replies, Session};
use crate::spec::{After, Asked, CommandSpec, NameList, Names, Request, Run, Then, flag};
use crate::usage::Usage;
use crate::wire_error::WireError;

/// A request that was refused before its command ran.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) error: WireError,
    /// The command, where it is known.
    pub(crate) number: Option<CommandNumber>,
}

/// What became of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ran {
    /// It is answered, queued, or its connection sleeps.
    Done,
    /// It is answered, and that was the last one.
    Close,
    /// Blocks are being read: the same request again, later.
    NeedBlocks,
    /// Commands wait for the end of a pause: the same request again behind it.
    Paused,
    /// It speaks another protocol: no reply, no connection.
    Foreign,
    /// The server ends.
    Shutdown,
}

/// A connection's turn at the engine.
pub(crate) struct Turn<'a> {
    pub(crate) shard: &'a mut Shard,
    pub(crate) state: &'a mut State,
    pub(crate) others: &'a mut Connections,
    pub(crate) session: &'a mut Session,
    pub(crate) out: &'a mut Out,
    pub(crate) now: Now,
    pub(crate) descriptor: i32,
    /// EXEC is running.
    pub(crate) in_transaction: bool,
    /// What the reply of the current request waits for.
    pub(crate) release: Release,
    /// The reply leaves even if the connection wants none.
    pub(crate) pushed: bool,
}

/// Finds the command of a request and checks the number of its arguments.
pub(crate) fn resolve(registry: &Registry, args: &[&[u8]]) -> Result<CommandNumber, Refused> {
    let name = args.first().copied().unwrap_or_default();
    let Some(mut number) = registry.find(name) else {
        return Err(Refused { error: WireError::unknown_command(args), number: None });
    };
    let mut spec = registry.spec(number);
    if let (false, Some(sub)) = (spec.subcommands.is_empty(), args.get(1)) {
        let Some(found) = registry.find_subcommand(number, sub) else {
            return Err(Refused {
                error: WireError::unknown_subcommand(spec.name, sub),
                number: None,
            });
        };
        number = found;
        spec = registry.spec(number);
    }
    if !spec.accepts(args.len()) {
        return Err(Refused { error: WireError::Arity(spec.name), number: Some(number) });
    }
    Ok(number)
}

impl Turn<'_> {
    /// Runs a request, or queues it, and writes its reply.
    pub(crate) fn request(&mut self, args: &[&[u8]]) -> Ran {
        let start = self.out.position();
        self.release = Release::default();
        #[cfg(feature = "null")]
        if self.state.settings.null && crate::null::answer(args, &mut self.output()) {
            self.out.mark(self.release);
            return Ran::Done;
        }
        self.pushed = false;
        if self.session.replies == Replies::SkipNext {
            self.session.replies = Replies::Skip;
        }
        let ran = match self.admit(args) {
            Ok(number) if self.is_paused(number) => return Ran::Paused,
            Ok(number) if self.must_queue(number) => {
                self.queue(number, args);
                Ran::Done
            }
            Ok(number) => self.run(number, args),
            Err(refused) if refused.number.is_none() && is_foreign(args) => return Ran::Foreign,
            Err(refused) => {
                self.refuse(&refused);
                Ran::Done
            }
        };
        if ran == Ran::NeedBlocks {
            return ran;
        }
        self.session.commands += 1;
        match self.session.replies {
            Replies::On | Replies::SkipNext => self.out.mark(self.release),
            Replies::Off | Replies::Skip if self.pushed => self.out.mark(self.release),
            Replies::Off | Replies::Skip => self.out.discard_from(start),
        }
        if self.session.replies == Replies::Skip {
            self.session.replies = Replies::On;
        }
        ran
    }

    /// The command of a request, if this connection may run it now.
    fn admit(&mut self, args: &[&[u8]]) -> Result<CommandNumber, Refused> {
        let number = resolve(&self.state.registry, args)?;
        let flags = self.state.registry.spec(number).flags;
        self.session.last_command = Some(number);
        let refused = |error| Err(Refused { error, number: Some(number) });
        if !self.session.authenticated
            && flags & flag::NO_AUTH == 0
            && self.state.acl.needs_password()
        {
            return refused(WireError::NO_AUTH);
        }
        if self.session.transaction.is_some() && flags & flag::NO_MULTI != 0 {
            return refused(WireError::NOT_IN_TRANSACTION);
        }
        if !self.state.acl.is_unrestricted(self.session.user)
            && let Err(denied) = self.permit(number, args)
        {
            let user = self.state.acl.name(self.session.user);
            let name = self.state.registry.spec(number).name;
            return refused(WireError::no_permission(denied.reason, user, name));
        }
        if self.is_restricted() && flags & flag::WHILE_LISTENING == 0 {
            return refused(WireError::Listening(self.state.registry.spec(number).name));
        }
        if self.session.monitors && flags & (flag::WRITE | flag::READONLY) != 0 {
            return refused(WireError::MONITORS);
        }
        if self.shard.is_full() && self.needs_space(number) {
            let name = self.state.registry.spec(number).name;
            return refused(WireError::Core(CoreError::DiskFull, name));
        }
        Ok(number)
    }

    /// Whether a command is one that is refused while there is no room; EXEC, if it would run one.
    fn needs_space(&self, number: CommandNumber) -> bool {
        let registry = &self.state.registry;
        let denied = |number| registry.spec(number).flags & flag::DENYOOM != 0;
        let queued =
            self.session.transaction.as_ref().filter(|_| registry.spec(number).name == "exec");
        let queued = queued.into_iter().flat_map(|transaction| transaction.commands());
        denied(number) || queued.map(|queued| queued.number).any(denied)
    }

    /// Whether replies could be taken for messages: a listener in RESP2.
    fn is_restricted(&self) -> bool {
        self.session.subscriptions.any() && self.session.protocol == Protocol::Resp2
    }

    /// Whether CLIENT PAUSE lets a command wait.
    fn is_paused(&self, number: CommandNumber) -> bool {
        let Some(pause) = self.state.pause.filter(|pause| pause.until_ms > self.now.monotonic_ms())
        else {
            return false;
        };
        let writes = |number| {
            let spec = self.state.registry.spec(number);
            // Messages count as changes: they would reach replicas.
            spec.flags & flag::WRITE != 0 || matches!(spec.name, "publish" | "spublish")
        };
        let is_exec = self.state.registry.spec(number).name == "exec";
        let queued = self.session.transaction.as_ref().filter(|_| is_exec);
        let queued = queued.into_iter().flat_map(|queue| queue.commands());
        pause.all || writes(number) || queued.into_iter().any(|queued| writes(queued.number))
    }

    fn must_queue(&self, number: CommandNumber) -> bool {
        self.session.transaction.is_some()
            && self.state.registry.spec(number).flags & flag::NOT_QUEUED == 0
    }

    fn queue(&mut self, number: CommandNumber, args: &[&[u8]]) {
        let transaction = self.session.transaction.as_mut().expect("asked before");
        match transaction.push(number, args) {
            Ok(()) => self.output().write().simple("QUEUED"),
            Err(error) => self.refuse(&Refused { error, number: Some(number) }),
        }
    }

    /// Answers an error to a request that did not run; a transaction is spoiled by it.
    fn refuse(&mut self, refused: &Refused) {
        let name = refused.number.map(|number| self.state.registry.spec(number).name);
        let mut error = refused.error.clone();
        if name == Some("exec") {
            self.session.transaction = None;
            self.unwatch();
            error = WireError::exec_aborted_by(&error);
        }
        if let Some(transaction) = &mut self.session.transaction {
            transaction.failed = true;
        }
        if let Some(number) = refused.number {
            self.state.stats.command_mut(number).rejected += 1;
        }
        self.state.stats.error(&error.text());
        self.output().error(&error);
    }

    /// Runs a command and writes its reply, unless it sleeps or needs blocks.
    pub(crate) fn run(&mut self, number: CommandNumber, args: &[&[u8]]) -> Ran {
        let spec = self.state.registry.spec(number);
        let timed = self.state.stats.times_next(number) || self.state.slow_log.is_on();
        let timed_from = timed.then(|| self.state.clock.now());
        let request = Request {
            args,
            database: self.session.database,
            now: self.now,
            spec,
            random: if spec.name == "randomkey" { self.state.random() } else { 0 },
        };
        let ran = match spec.run {
            Run::Engine(parse, write) => match parse(&request) {
                Ok(asked) => self.ask(number, &request, &asked, write),
                Err(error) => self.fail(number, &error),
            },
            Run::Server(run) => self.serve(number, &request, run),
            Run::Transaction(transactional) => self.transact(number, &request, transactional),
            // A container without its subcommand has failed the check of its arity.
            Run::Container => self.fail(number, &WireError::Arity(spec.name)),
        };
        if ran != Ran::NeedBlocks {
            let usec = timed_from
                .map(|from| self.state.clock.now().monotonic_us.saturating_sub(from.monotonic_us));
            self.state.stats.called(number, usec);
            if let Some(usec) = usec {
                let client = (self.session.address, self.session.name.as_slice());
                self.state.slow_log.note(args, usec, self.now, client);
            }
            if !self.state.monitors.is_empty() && spec.flags & flag::ADMIN == 0 {
                self.show_monitors(args);
            }
        }
        ran
    }

    /// Shows a request to those who look on, but not to its own sender.
    fn show_monitors(&mut self, args: &[&[u8]]) {
        let line = observe::line(args, self.now, self.session.database, self.session.address);
        for monitor in &self.state.monitors {
            let Some(other) = self.others.by_client(*monitor).filter(|other| !other.broken) else {
                continue;
            };
            other.out.target().extend_from_slice(line.as_bytes());
            other.out.mark(Release::default());
            let limit = self.state.limits.output.of(&other.session);
            other.broken |= limit.is_beyond(other.out.queued_bytes());
            self.state.wake.push(other.token);
        }
    }

    /// Answers an error to a command that ran.
    pub(crate) fn fail(&mut self, number: CommandNumber, error: &WireError) -> Ran {
        self.state.stats.command_mut(number).failed += 1;
        self.state.stats.error(&error.text());
        self.output().error(error);
        Ran::Done
    }

    /// The reply being written.
    pub(crate) fn output(&mut self) -> Output<'_> {
        if self.in_transaction {
            Output::nested(self.out, self.session.protocol)
        } else {
            Output::new(self.out, self.session.protocol)
        }
    }

    /// Asks the engine.
    fn ask(
        &mut self,
        number: CommandNumber,
        request: &Request<'_>,
        asked: &Asked<'_>,
        write: fn(&mut Output<'_>, Reply, &Names<'_>),
    ) -> Ran {
        let client = ClientId(self.session.id);
        let is_change = self.is_change(request, &asked.command);
        let found = Usage::look(self.shard.machine(), &asked.command, self.now);
        let Outcome::Done(answer) = self.shard.execute(self.now, client, &asked.command) else {
            return Ran::NeedBlocks;
        };
        self.state.usage.count(found);
        if self.touches(request.spec) {
            self.state.usage.touch(self.shard.machine(), &asked.command, self.now);
        }
        if let (Some(block_ms), Ok(Reply::NilList), false) =
            (asked.block_ms, &answer.result, self.in_transaction)
        {
            return self.block(number, request, asked, block_ms);
        }
        self.release = self.release.and(answer.wait.into());
        if let Some(after) = &asked.after {
            return self.after_check(number, answer, after, write);
        }
        match answer.result {
            Ok(reply) => {
                self.state.stats.changes += u64::from(is_change);
                let keys = NameList::Borrowed(asked.names);
                let names = Names { keys, now: self.now };
                write(&mut self.output(), reply, &names);
                if self.in_transaction {
                    self.out.draw_ahead(self.session.protocol, &mut AtOnce(self.shard));
                    if self.out.is_drawing() {
                        self.out.hold(self.shard, client);
                    }
                }
                Ran::Done
            }
            Err(error) => self.fail(number, &WireError::Core(error, request.spec.name)),
        }
    }

    /// Whether a command counts as a change of data: a group's history that is read again does not,
    /// unless that makes the consumer.
    fn is_change(&self, request: &Request<'_>, command: &Command<'_>) -> bool {
        if request.spec.flags & flag::WRITE == 0 {
            return false;
        }
        let Command::Xreadgroup(read) = command else {
            return true;
        };
        read.streams.iter().any(|(key, after)| {
            let found = self.shard.machine().stream(*key);
            let group = found.and_then(|(_, stream)| stream.groups.find(read.group));
            let is_known =
                group.is_some_and(|(_, group)| group.consumers.number(read.consumer).is_some());
            after.is_none() || !is_known
        })
    }

    /// Whether a command counts as a use of its keys.
    fn touches(&self, spec: &CommandSpec) -> bool {
        if spec.flags & flag::WRITE != 0 {
            return !self.session.no_touch;
        }
        let looks_only = match spec.name {
            "touch" => return true,
            "exists" | "type" | "ttl" | "pttl" | "expiretime" | "pexpiretime" => true,
            name => name.starts_with("object|") || name == "memory|usage",
        };
        !looks_only && !self.session.no_touch
    }

    /// Arguments are wrong, and what Redis checks before them has been checked.
    fn after_check(
        &mut self,
        number: CommandNumber,
        answer: Answer,
        after: &After,
        write: fn(&mut Output<'_>, Reply, &Names<'_>),
    ) -> Ran {
        let spec = self.state.registry.spec(number);
        let absent = match &answer.result {
            Ok(Reply::Nil) => {
                self.output().write().null();
                return Ran::Done;
            }
            Ok(Reply::Status("none")) | Err(CoreError::NoGroup { .. }) => after.absent.clone(),
            _ => None,
        };
        if let Some(reply) = absent {
            let names = Names { keys: NameList::Borrowed(&[]), now: self.now };
            write(&mut self.output(), reply, &names);
            return Ran::Done;
        }
        match answer.result {
            Ok(Reply::Status(kind)) if kind != "none" && kind != "stream" => {
                self.fail(number, &WireError::WRONG_TYPE)
            }
            Ok(_) => self.fail(number, &after.error),
            Err(error) => self.fail(number, &WireError::Core(error, spec.name)),
        }
    }

    /// Lets a read wait for entries.
    fn block(
        &mut self,
        number: CommandNumber,
        request: &Request<'_>,
        asked: &Asked<'_>,
        block_ms: u64,
    ) -> Ran {
        let read = self.blocked_read(&asked.command);
        let block_us = block_ms.saturating_mul(1000);
        let deadline = (block_ms > 0).then(|| self.now.monotonic_us.saturating_add(block_us));
        let group = match &read {
            BlockedRead::Xreadgroup(read) => Some(read.group.clone()),
            BlockedRead::Xread { .. } => None,
        };
        self.shard.wait(ClientId(self.session.id), read, deadline);
        self.sleep(Blocked {
            spec: request.spec,
            number,
            reason: Reason::Read,
            database: request.database,
            keys: asked.names.iter().map(|name| name.to_vec()).collect(),
            group,
        });
        Ran::Done
    }

    fn sleep(&mut self, blocked: Blocked) {
        self.session.blocked = Some(Box::new(blocked));
        self.state.blocked_clients += 1;
    }

    /// What a read waits for.
    fn blocked_read(&self, command: &Command<'_>) -> BlockedRead {
        match command {
            Command::Xread(read) => {
                let mut streams = Vec::with_capacity(read.streams.len());
                for (key, from) in &read.streams {
                    let after = match from {
                        ReadFrom::After(id) => *id,
                        // From memory: whatever became of the blocks on disk, nothing old is new.
                        ReadFrom::New | ReadFrom::Last => {
                            let found = self.shard.machine().stream(*key);
                            found.map_or(StreamId::MIN, |(_, stream)| stream.last_id)
                        }
                    };
                    streams.push((key.database, key.name.to_vec(), after));
                }
                BlockedRead::Xread { streams, count: read.count, most: read.most }
            }
            Command::Xreadgroup(read) => BlockedRead::Xreadgroup(BlockedReadgroup {
                group: read.group.to_vec(),
                consumer: read.consumer.to_vec(),
                no_ack: read.no_ack,
                count: read.count,
                most: read.most,
                claim_idle_ms: read.claim_idle_ms,
                streams: read
                    .streams
                    .iter()
                    .map(|(key, _)| (key.database, key.name.to_vec()))
                    .collect(),
            }),
            _ => unreachable!("only reads block"),
        }
    }

    /// Lets the server answer.
    fn serve(
        &mut self,
        number: CommandNumber,
        request: &Request<'_>,
        run: fn(&mut Context<'_>, &Request<'_>) -> Result<Then, WireError>,
    ) -> Ran {
        let protocol = self.session.protocol;
        let output = match self.in_transaction {
            true => Output::nested(self.out, protocol),
            false => Output::new(self.out, protocol),
        };
        let mut context = Context {
            shard: self.shard,
            state: self.state,
            session: self.session,
            others: self.others,
            output,
            now: self.now,
            in_transaction: self.in_transaction,
            descriptor: self.descriptor,
        };
        match run(&mut context, request) {
            Ok(Then::Done) => Ran::Done,
            Ok(Then::Pushed) => {
                self.pushed = true;
                Ran::Done
            }
            Ok(Then::Wait(wait)) => {
                self.release = self.release.and(wait.into());
                Ran::Done
            }
            Ok(Then::Close) => Ran::Close,
            Ok(Then::Shutdown) => Ran::Shutdown,
            Ok(Then::Sleep(until)) => {
                // Whatever it is that is waited for: what was written before is on disk by then.
                self.release = self.release.and(self.shard.wait_for_everything().into());
                self.sleep(Blocked {
                    spec: request.spec,
                    number,
                    reason: Reason::Sleep(until.unwrap_or(Reason::FOR_EVER)),
                    database: request.database,
                    keys: Vec::new(),
                    group: None,
                });
                Ran::Done
            }
            Err(error) => self.fail(number, &error),
        }
    }
}

/// Blocks for the replies inside EXEC.
struct AtOnce<'a>(&'a mut Shard);

impl Source for AtOnce<'_> {
    fn block(&mut self, key: KeyNumber, number: u64) -> BlockAccess<'_> {
        self.0.block_now(key, number)
    }
}

/// Whether this is HTTP, sent by a browser that was made to: such a connection gets no answer.
fn is_foreign(args: &[&[u8]]) -> bool {
    args.first().is_some_and(|name| {
        name.eq_ignore_ascii_case(b"POST") || name.eq_ignore_ascii_case(b"Host:")
    })
}
