//! The turns of connections: what one iteration of the loop runs before it commits.

use std::time::Duration;

use levada_engine::clock::Clock;
use levada_engine::error::Error;
use levada_resp::{Limits, Progress, Writer};
use mio::Events;

use super::ahead::Ahead;
use super::{Blocks, DISK, Server, keep_buffer};
use crate::connection::{Connection, PATIENT_BYTES_MAX, READ_BYTES};
use crate::dispatch::{Ran, Turn};
use crate::engine::{ClientId, Now, Shard};
use crate::out::{Progress as Drawn, Release};
use crate::session::Reason;

/// Bytes of requests behind which a batch is closed in the middle of an iteration.
const BATCH_BYTES: usize = 1 << 20;
/// Bytes of replies behind which others have their turn, however much one has asked for; who must
/// be patient has [`PATIENT_BYTES_MAX`].
const TURN_BYTES: usize = 128 << 10;
/// How often a turn asks what time it is, in requests, and the microseconds behind which others
/// have theirs: some requests cost a thousand times what others do.
const TIMED_EVERY: usize = 64;
const TURN_US_MAX: u64 = 2_000;
/// The same for who has to be patient.
const PATIENT_TIMED_EVERY: usize = 1;
const PATIENT_TURN_US_MAX: u64 = 25;
/// Microseconds of a request, by the mean of a turn, up to which it is not its requests that made
/// the turn long: there were many, or the machine did something else.
const SHORT_REQUEST_US: u64 = 4;
/// Bytes up to which who was patient is not any more, of what a turn wrote and of what is unsent.
const CALM_BYTES: usize = 16 << 10;
/// Bytes of a request: the largest value, and room for the words around it. What a request changes
/// must fit into a file of the log.
const REQUEST_BYTES_MAX: usize = 18 << 20;
/// How often an iteration looks for more before it commits, and the microseconds of turns behind
/// which it does not: then its first request has waited long enough.
const GATHERS_MAX: usize = 4;
const GATHERING_US_MAX: u64 = 2_000;

impl Server {
    /// All turns of an iteration: of those that are ready, and of those that become so meanwhile
    /// while there is something to commit.
    pub(super) fn run_turns(&mut self, events: &mut Events, now: Now) -> Result<(), Error> {
        self.take_turns(now)?;
        for _ in 0..GATHERS_MAX {
            if !self.gather(events, now) {
                break;
            }
            self.take_turns(now)?;
        }
        Ok(())
    }

    /// A turn for each connection with something to do. With too much on its way to the disk
    /// nothing more is taken on: sockets fill up, and producers slow down.
    fn take_turns(&mut self, now: Now) -> Result<(), Error> {
        if self.shard.is_congested() {
            return Ok(());
        }
        let mut turns = std::mem::take(&mut self.turns);
        std::mem::swap(&mut turns, &mut self.ready);
        if !turns.is_empty() {
            self.patient.others_us = now.monotonic_us;
        }
        for token in turns.drain(..) {
            self.take_turn(token, now)?;
        }
        self.turns = turns;
        Ok(())
    }

    /// One turn, with what follows from it for others.
    pub(super) fn take_turn(&mut self, token: usize, now: Now) -> Result<(), Error> {
        self.turn(token, now);
        self.drain_events(now);
        if self.uncommitted_bytes > BATCH_BYTES {
            self.commit(now)?;
        }
        Ok(())
    }

    /// Before changes are committed: whether more has come meanwhile, which then shares their batch
    /// instead of waiting for it and for its own (ADR 21). Where nothing is synced that is worth
    /// waiting for in a crowd (ADR 25).
    fn gather(&mut self, events: &mut Events, now: Now) -> bool {
        let has_time = || {
            let us = self.state.clock.now().monotonic_us.saturating_sub(now.monotonic_us);
            us < GATHERING_US_MAX
        };
        if self.will_sync() {
            if !has_time() {
                return false;
            }
        } else if self.shard.position() > self.shard.current()
            && let Some(nap) = self.naps.due()
        {
            std::thread::sleep(nap);
        } else {
            return false;
        }
        if self.poll.poll(events, Some(Duration::ZERO)).is_err() {
            return false;
        }
        // The next iteration looks at the disk and accepts, and must not sleep before it does.
        let later = |token| token == DISK || self.is_listener(token);
        self.was_woken |= events.iter().any(|event| later(event.token()));
        self.note_readiness(events);
        !self.ready.is_empty()
    }

    fn will_sync(&self) -> bool {
        #[cfg(feature = "null")]
        if self.state.null_syncs.are_due(self.uncommitted_bytes) {
            return true;
        }
        self.shard.will_sync()
    }

    /// A connection's turn: reads once, runs what is whole, writes on what is long.
    fn turn(&mut self, token: usize, now: Now) {
        let Some(mut connection) = self.connections.take(token) else {
            return;
        };
        connection.queued = false;
        self.naps.note_turn(&mut connection.window);
        if connection.readable && !connection.closing {
            if connection.input.capacity() == 0 {
                connection.input = self.buffers.pop().unwrap_or_default();
            }
            let was_greeting = connection.stream.is_handshaking();
            match connection.read(&mut self.scratch, now) {
                Ok(count) => self.state.stats.bytes_in += count as u64,
                Err(error) => self.note_read_error(&mut connection, &error),
            }
            if was_greeting && !connection.stream.is_handshaking() {
                self.introduce(&mut connection, now);
            }
        }
        connection.out.lend_buffer(&mut self.buffers);
        self.run_requests(&mut connection, now);
        if connection.half_closed && !connection.has_request {
            connection.closing = true;
        }
        // Behind so much that was sent ahead its end is not read while it sleeps.
        let gone = connection.half_closed || connection.peer_closed && !connection.may_read();
        connection.broken |= gone && connection.session.blocked.is_some();
        self.count_memory(&mut connection);
        self.connections.put_back(connection);
        self.touched.push(token);
        self.relieve_memory();
        for token in std::mem::take(&mut self.state.wake) {
            self.wake(token);
        }
    }

    /// Runs requests until there is none, or one has to wait.
    fn run_requests(&mut self, connection: &mut Connection, now: Now) {
        let mut input = std::mem::take(&mut connection.input);
        let mut args = recycle(std::mem::take(&mut self.args));
        let mut consumed = 0;
        let began = connection.out.position();
        let bytes_max = if connection.is_patient() { PATIENT_BYTES_MAX } else { TURN_BYTES };
        let enough = began + bytes_max as u64;
        let mut time = TurnTime::of(connection);
        let mut ahead = Ahead::default();
        loop {
            if !draw(connection, &mut self.shard) {
                break;
            }
            // A short request may change much: more of them wait until the disk has room.
            let congested = self.shard.is_congested();
            let ready = connection.is_ready() && connection.has_request;
            let enough = connection.out.position() > enough;
            if !ready || congested || enough || time.is_over(&self.state.clock) {
                break;
            }
            let rest = &input[consumed..];
            ahead.look(&self.shard.machine().keys, connection.session.database, rest);
            match connection.decoder.decode(rest, &mut self.ranges) {
                Ok(Progress::Request { consumed: count }) => {
                    args.clear();
                    args.extend(self.ranges.iter().map(|range| &rest[range.clone()]));
                    if self.request(connection, &args, now) {
                        consumed += count;
                    }
                }
                Ok(Progress::Inline { consumed: count }) => {
                    let words = connection.decoder.inline_bytes().to_vec();
                    let words: Vec<_> =
                        self.ranges.iter().map(|range| &words[range.clone()]).collect();
                    if self.request(connection, &words, now) {
                        consumed += count;
                    }
                }
                Ok(Progress::Empty { consumed: count }) => consumed += count,
                Ok(Progress::Incomplete { .. }) => connection.has_request = false,
                Err(error) => {
                    let protocol = connection.session.protocol;
                    Writer::new(connection.out.target(), protocol).protocol_error(error);
                    connection.out.mark(Release::default());
                    self.state.stats.error(b"ERR");
                    connection.closing = true;
                }
            }
        }
        let wrote = connection.out.position() - began;
        let calm_bytes = if connection.is_heavy { CALM_BYTES } else { TURN_BYTES };
        let wrote_much = wrote.max(connection.out.len() as u64) > calm_bytes as u64;
        let receives_much = !connection.has_request && input.len() - consumed > READ_BYTES;
        connection.is_heavy =
            wrote_much || receives_much || connection.out.is_drawing() || time.is_slow();
        self.args = recycle(args);
        self.uncommitted_bytes += consumed;
        input.drain(..consumed);
        if input.is_empty() && input.capacity() > 0 {
            keep_buffer(&mut self.buffers, std::mem::take(&mut input));
        }
        connection.input = input;
    }

    /// Runs one request; `false` if it is to be run again.
    fn request(&mut self, connection: &mut Connection, args: &[&[u8]], now: Now) -> bool {
        if self.refuse_in_reserve(connection, args) {
            return true;
        }
        let ran = Turn {
            shard: &mut self.shard,
            state: &mut self.state,
            others: &mut self.connections,
            session: &mut connection.session,
            out: &mut connection.out,
            now,
            descriptor: std::os::fd::AsRawFd::as_raw_fd(&connection.stream),
            in_transaction: false,
            release: Release::default(),
            pushed: false,
        }
        .request(args);
        self.deliver(Some(connection));
        self.note_events(now);
        match ran {
            Ran::Done => {}
            Ran::Close => connection.closing = true,
            Ran::Foreign => connection.broken = true,
            Ran::Shutdown => self.stopping = true,
            Ran::NeedBlocks => {
                connection.awaits_blocks = true;
                return false;
            }
            Ran::Paused => {
                connection.paused = true;
                self.paused.insert(connection.token);
                return false;
            }
        }
        if connection.session.authenticated != connection.decoder.limits().authenticated {
            connection.decoder.set_limits(limits(connection.session.authenticated));
        }
        let reason = connection.session.blocked.as_ref().map(|blocked| blocked.reason);
        if let Some(Reason::Sleep(until)) = reason
            && until != Reason::FOR_EVER
        {
            self.timers.insert((until, connection.session.id));
        }
        true
    }
}

/// When a turn has lasted long enough, whatever it has written. Asking the time costs as much as a
/// small command, so it is asked now and then.
struct TurnTime {
    every: usize,
    us_max: u64,
    asked: usize,
    until_us: Option<u64>,
    over: bool,
}

impl TurnTime {
    fn of(connection: &Connection) -> Self {
        let (every, us_max) = match connection.is_patient() {
            true => (PATIENT_TIMED_EVERY, PATIENT_TURN_US_MAX),
            false => (TIMED_EVERY, TURN_US_MAX),
        };
        Self { every, us_max, asked: 0, until_us: None, over: false }
    }

    /// Before each request.
    fn is_over(&mut self, clock: &Clock) -> bool {
        self.asked += 1;
        if self.asked.is_multiple_of(self.every) {
            let now_us = clock.now().monotonic_us;
            self.over = now_us >= *self.until_us.get_or_insert(now_us + self.us_max);
        }
        self.over
    }

    /// Whether its requests made the turn long.
    fn is_slow(&self) -> bool {
        self.over && self.asked as u64 * SHORT_REQUEST_US <= self.us_max
    }
}

/// Writes on a long reply; whether it is written whole. What is left is held until then.
pub(super) fn draw(connection: &mut Connection, shard: &mut Shard) -> bool {
    let (client, out) = (ClientId(connection.session.id), &mut connection.out);
    if out.is_drawing() {
        let mut blocks = Blocks { shard, client };
        match out.draw(connection.session.protocol, &mut blocks) {
            Drawn::Done | Drawn::Full => {}
            Drawn::Reading => connection.awaits_blocks = true,
            Drawn::Broken => connection.broken = true,
        }
    }
    let whole = !out.is_drawing();
    if whole && std::mem::take(&mut out.holds) {
        shard.let_go(client);
    } else if !whole && !out.holds {
        out.hold(shard, client);
    }
    whole
}

/// Limits of a connection.
pub(super) fn limits(authenticated: bool) -> Limits {
    if authenticated {
        Limits { request_bytes_max: REQUEST_BYTES_MAX, ..Limits::authenticated() }
    } else {
        Limits::unauthenticated()
    }
}

/// An empty vector with the memory of another: its elements are references to something else.
fn recycle<'a>(mut args: Vec<&[u8]>) -> Vec<&'a [u8]> {
    args.clear();
    args.into_iter().map(|_| -> &'a [u8] { unreachable!("it is empty") }).collect()
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;

    use super::*;
    use crate::server::rig;

    /// Longest wait for the disk: only a failing test waits that long.
    const PATIENCE_US: u64 = 20_000_000;
    const XADD: &[u8] = b"*5\r\n$4\r\nXADD\r\n$1\r\ns\r\n$1\r\n*\r\n$1\r\nf\r\n$1\r\nv\r\n";

    #[test]
    fn who_must_be_patient_has_a_short_turn_and_its_rest_later() {
        const REQUESTS: usize = 9_000;
        let (mut server, mut client, _rest) = rig::with_client("short-turn");
        client.write_all(&b"PING\r\n".repeat(REQUESTS)).expect("sent");
        let now = server.state.clock.now();
        let connection = server.connections.by_client(1).expect("it is there");
        let (token, before) = (connection.token, connection.session.commands);
        connection.is_heavy = true;
        connection.readable = true;
        server.take_turn(token, now).expect("runs");
        let connection = server.connections.by_client(1).expect("it is there");
        let ran = connection.session.commands - before;
        assert!((1..REQUESTS as u64).contains(&ran), "{ran} in one turn");
        assert!(connection.has_request);
        server.run_until(|server| {
            let connection = server.connections.by_client(1).expect("it is there");
            connection.session.commands == REQUESTS as u64 && !connection.is_heavy
        });
    }

    #[test]
    fn who_has_many_short_requests_is_not_patient_for_it() {
        let time =
            |every, us_max, asked| TurnTime { every, us_max, asked, until_us: Some(0), over: true };
        assert!(time(TIMED_EVERY, TURN_US_MAX, 64).is_slow());
        assert!(!time(TIMED_EVERY, TURN_US_MAX, 1_024).is_slow());
        assert!(time(PATIENT_TIMED_EVERY, PATIENT_TURN_US_MAX, 2).is_slow());
        assert!(!time(PATIENT_TIMED_EVERY, PATIENT_TURN_US_MAX, 20).is_slow());
        assert!(!TurnTime { over: false, ..time(TIMED_EVERY, TURN_US_MAX, 1) }.is_slow());
    }

    #[test]
    fn who_does_not_read_is_answered_little_ahead_and_all_in_the_end() {
        const GETS: usize = 400;
        let (mut server, mut client, _rest) = rig::with_client("unread");
        let value: Vec<_> = (0..64_u32 << 10).map(|at| (at % 251) as u8).collect();
        run(&mut server, &mut client, 1, &[command(&[b"SET", b"k", &value])]);
        client.write_all(&b"GET k\r\n".repeat(GETS)).expect("sent");
        server.run_until(|server| {
            let connection = server.connections.by_client(1).expect("it is there");
            let ahead = connection.out.len();
            assert!(ahead <= TURN_BYTES + value.len() + 64, "{ahead}");
            connection.is_heavy && !connection.writable
        });
        let connection = server.connections.by_client(1).expect("it is there");
        assert!(connection.out.len() <= PATIENT_BYTES_MAX + value.len() + 64);
        let reply = [&b"$65536\r\n"[..], &value, b"\r\n"].concat();
        let all = [&b"+OK\r\n"[..], &reply.repeat(GETS)].concat();
        let found = read(&mut server, &client, 1 + GETS as u64, all.len());
        assert!(found == all, "something else is answered");
        calm_down(&mut server, &mut client);
    }

    #[test]
    fn the_end_sends_to_the_patient_what_their_sockets_take() {
        let (mut server, _client, _rest) = rig::with_client("patient-end");
        let connection = server.connections.by_client(1).expect("it is there");
        connection.is_heavy = true;
        connection.out.target().extend(std::iter::repeat_n(b'x', 3 * PATIENT_BYTES_MAX));
        connection.out.mark(Release::default());
        server.flush_released();
        let connection = server.connections.by_client(1).expect("it is there");
        let left = connection.out.len();
        assert!(left == 0 || !connection.writable, "{left} bytes, and the socket takes more");
    }

    #[test]
    fn a_long_request_is_received_with_patience_until_it_is_whole() {
        let (mut server, mut client, _rest) = rig::with_client("long-request");
        let set = command(&[b"SET", b"k", &vec![b'x'; 256 << 10]]);
        let (most, rest) = set.split_at(set.len() - 10);
        client.write_all(most).expect("the system takes it");
        server.run_until(|server| {
            let connection = server.connections.by_client(1).expect("it is there");
            connection.input.len() == most.len()
        });
        assert!(server.connections.by_client(1).expect("it is there").is_heavy);
        run(&mut server, &mut client, 1, &[rest.to_vec()]);
        calm_down(&mut server, &mut client);
    }

    /// A command as clients send it.
    fn command(words: &[&[u8]]) -> Vec<u8> {
        let header = format!("*{}\r\n", words.len()).into_bytes();
        let bulk =
            |word: &&[u8]| [format!("${}\r\n", word.len()).as_bytes(), word, b"\r\n"].concat();
        words.iter().map(bulk).fold(header, |all, word| [all, word].concat())
    }

    /// How many commands of a client have run.
    fn ran(server: &mut Server, id: u64) -> u64 {
        server.connections.by_client(id).expect("it is not closed").session.commands
    }

    /// Sends commands of a client and runs the loop until they have run.
    fn run(server: &mut Server, client: &mut TcpStream, id: u64, commands: &[Vec<u8>]) {
        let until = ran(server, id) + commands.len() as u64;
        let (mut sender, bytes) = (client.try_clone().expect("the same socket"), commands.concat());
        let sending = std::thread::spawn(move || sender.write_all(&bytes).expect("taken"));
        server.run_until(|server| ran(server, id) == until);
        sending.join().expect("sent");
    }

    /// The first client asks for little until it is not patient any more. Once should do, but where
    /// the machine stands still in that turn it seems long.
    fn calm_down(server: &mut Server, client: &mut TcpStream) {
        for _ in 0..100 {
            server.run_until(|server| server.patient.tokens.is_empty());
            if !server.connections.by_client(1).expect("it is there").is_heavy {
                return;
            }
            run(server, client, 1, &[b"PING\r\n".to_vec()]);
        }
        panic!("it stays patient, whatever it asks for");
    }

    /// Reads so many bytes as the first client while the loop runs, until so many of its commands
    /// and one more have run.
    fn read(server: &mut Server, client: &TcpStream, commands: u64, len: usize) -> Vec<u8> {
        let mut reader = client.try_clone().expect("the same socket");
        let reading = std::thread::spawn(move || {
            let mut bytes = vec![0; len];
            reader.read_exact(&mut bytes).expect("whole");
            reader.write_all(b"PING\r\n").expect("sent");
            bytes
        });
        server.run_until(|server| ran(server, 1) > commands);
        let bytes = reading.join().expect("read");
        server.run_until(|server| server.connections.by_client(1).expect("there").out.is_empty());
        let mut pong = [0; 7];
        (&*client).read_exact(&mut pong).expect("answered");
        assert_eq!(&pong, b"+PONG\r\n");
        bytes
    }

    #[test]
    fn a_long_reply_is_whole_whatever_is_removed_before_it_is_written() {
        const ENTRIES: u16 = 600;
        let (mut server, address, _rest) = rig::opened("whole-reply");
        let [mut reader, mut other] = [0, 1].map(|_| rig::client(address));
        server.run_until(|server| server.connections.len() == 2);
        let removals: [&[&[u8]]; 4] = [
            &[b"XTRIM", b"s", b"MAXLEN", b"0"],
            &[b"XTRIM", b"s", b"MAXLEN", b"3"],
            &[b"DEL", b"s"],
            &[b"FLUSHALL"],
        ];
        let range = command(&[b"XRANGE", b"s", b"-", b"+"]);
        for removal in removals {
            let name = String::from_utf8_lossy(removal[0]).into_owned();
            let mut expected = format!("*{ENTRIES}\r\n").into_bytes();
            let mut fill = vec![command(&[b"DEL", b"s"])];
            for number in 1..=ENTRIES {
                let (id, value) = (format!("{number}-0"), number.to_le_bytes().repeat(8 << 10));
                fill.push(command(&[b"XADD", b"s", id.as_bytes(), b"f", &value]));
                expected.extend_from_slice(b"*2\r\n");
                expected.extend(&command(&[id.as_bytes()])[4..]);
                expected.extend(command(&[b"f", &value]));
            }
            run(&mut server, &mut other, 2, &fill);
            reader.write_all(&range).expect("sent");
            server.run_until(|server| {
                server.connections.by_client(1).expect("it is there").out.is_drawing()
            });
            run(&mut server, &mut other, 2, &[command(removal)]);
            let before = ran(&mut server, 1);
            let found = read(&mut server, &reader, before, expected.len());
            assert!(found == expected, "{name} changes what is being written");
            assert!(!server.connections.by_client(1).expect("it is there").out.holds, "{name}");
        }
    }

    #[test]
    fn what_exec_shows_is_whole_whatever_it_removes_behind() {
        const ENTRIES: usize = 40;
        let (mut server, mut client, _rest) = rig::with_client("whole-exec");
        let value = vec![b'x'; 1 << 20];
        let mut commands: Vec<_> =
            (0..ENTRIES).map(|_| command(&[b"XADD", b"s", b"*", b"f", &value])).collect();
        commands.push(command(&[b"MULTI"]));
        commands.push(command(&[b"XRANGE", b"s", b"-", b"+"]));
        commands.push(command(&[b"DEL", b"s"]));
        commands.push(command(&[b"EXEC"]));
        run(&mut server, &mut client, 1, &commands);
        // The ids of those and of the entries have one length, as a clock does not go far here.
        let id = b"$15\r\n1700000000000-0\r\n".len();
        let entry = b"*2\r\n".len() + id + command(&[b"f", &value]).len();
        let queued = b"+OK\r\n+QUEUED\r\n+QUEUED\r\n".len();
        let ends = b"*2\r\n*40\r\n:1\r\n".len();
        let before = ran(&mut server, 1);
        let found = read(&mut server, &client, before, ENTRIES * (id + entry) + queued + ends);
        assert_eq!(&found[found.len() - 6..], b"\r\n:1\r\n");
    }

    #[test]
    fn what_comes_during_a_turn_shares_its_batch_and_the_disk_is_not_forgotten() {
        let (mut server, address, _rest) = rig::opened("gather");
        let [mut one, mut two] = [0, 1].map(|_| rig::client(address));
        server.run_until(|server| server.connections.iter().count() == 2);
        let mut events = Events::with_capacity(16);
        let before = server.shard.current();
        let now = server.state.clock.now();
        // Whatever the machine does meanwhile, the turns have taken no time, or too much.
        let at_once = Now { monotonic_us: u64::MAX, ..now };
        let long_ago =
            Now { monotonic_us: now.monotonic_us.saturating_sub(GATHERING_US_MAX), ..now };
        one.write_all(XADD).expect("sent");
        assert!(!server.gather(&mut events, at_once), "nothing has changed yet: what for?");
        server.poll.poll(&mut events, None).expect("something has come");
        server.note_readiness(&events);
        server.take_turns(now).expect("runs");
        assert_eq!(server.shard.position(), before + 1);
        // Loopback has it in the other socket when this returns.
        two.write_all(XADD).expect("sent");
        assert!(!server.gather(&mut events, long_ago), "the first has waited long enough");
        assert!(server.gather(&mut events, at_once));
        server.take_turns(now).expect("runs");
        assert!(!server.gather(&mut events, at_once), "nobody else has come");

        // The next change is made while the sync of these ends: whoever asks for more meets the
        // disk.
        one.write_all(XADD).expect("sent");
        server.poll.poll(&mut events, None).expect("something has come");
        server.note_readiness(&events);
        server.commit(now).expect("one batch");
        assert_eq!(server.shard.current(), before + 1);
        server.take_turns(now).expect("runs");
        let until_us = server.state.clock.now().monotonic_us + PATIENCE_US;
        while !server.was_woken {
            let us = server.state.clock.now().monotonic_us;
            assert!(us < until_us, "the disk has not woken the loop");
            server.gather(&mut events, at_once);
        }
        server.commit(now).expect("another batch");
        // Sleeping here would last for seconds, and nobody has asked for replies in vain.
        let mut replies = [0; 64];
        while server.shard.durable() < before + 2 {
            server.flush();
            server.iterate(&mut events).expect("runs");
        }
        server.flush();
        assert!(one.read(&mut replies).expect("a reply") > 20);
        assert!(two.read(&mut replies).expect("a reply") > 20);

        // What may be synced later waits for nothing, and nothing is saved by more of it.
        one.write_all(b"XCFGSET s DURABILITY INTERVAL\r\n").expect("sent");
        server.run_until(|server| server.shard.durable() >= before + 3);
        one.write_all(XADD).expect("sent");
        server.poll.poll(&mut events, None).expect("something has come");
        server.note_readiness(&events);
        server.take_turns(now).expect("runs");
        assert!(server.shard.position() > server.shard.current());
        two.write_all(XADD).expect("sent");
        assert!(!server.gather(&mut events, at_once));
    }

    #[test]
    fn a_busy_loop_lets_those_share_a_commit_that_wait_for_no_sync() {
        let (mut server, address, _rest) = rig::opened("nap");
        let mut clients: Vec<_> = (0..16).map(|_| rig::client(address)).collect();
        let xcfgset = b"XADD s 1-1 f v\r\nXCFGSET s DURABILITY INTERVAL\r\n";
        clients[0].write_all(xcfgset).expect("sent");
        server.run_until(|server| server.connections.len() == 16 && server.shard.durable() > 1);
        // All have had turns lately.
        for round in 1..=20 {
            for client in &mut clients {
                client.write_all(b"PING\r\n").expect("sent");
            }
            server.run_until(|server| {
                server.connections.iter().all(|it| it.session.commands >= round)
            });
        }
        let mut events = Events::with_capacity(16);
        let now = server.state.clock.now();
        server.naps.end(now.monotonic_us);
        server.naps.begin(now.monotonic_us);
        let before = server.shard.current();
        clients[0].write_all(XADD).expect("sent");
        server.poll.poll(&mut events, None).expect("something has come");
        server.note_readiness(&events);
        server.take_turns(now).expect("runs");
        assert!(server.shard.position() > before && !server.shard.will_sync());
        // Loopback has it in the other socket when this returns.
        clients[1].write_all(XADD).expect("sent");
        assert!(server.gather(&mut events, now), "it waits for more, and finds it");
        server.take_turns(now).expect("runs");
        assert!(!server.gather(&mut events, now), "once");
        server.commit(now).expect("one batch");
        assert_eq!(server.shard.current(), before + 1);
    }
}
