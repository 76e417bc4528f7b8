//! Who must be patient: strangers, and connections that asked for more than a turn gives, of bytes
//! or of time.
//!
//! Both can be many at once and cost the loop much: a stranger a connection that is made and
//! closed, perhaps a handshake; a long reply the blocks that are read and the bytes that are
//! written. If each had its turn in every iteration, all others would wait for all of them. So they
//! stand in a queue of their own, of which an iteration takes some: one at least, and no more
//! when their time is over. That is half of what all others have just had, so that long replies
//! flow beside a full load, [`PATIENT_US_MIN`] where nobody had much, and [`PATIENT_US_ALONE`]
//! where nobody has been there for [`ALONE_US`]. What they are answered leaves at once, before
//! the loop asks for news; with a commit in between a single one of them would make all others
//! wait twice. Who changes something is the exception: a sync takes longer than many turns, so
//! others share it, for [`PATIENT_US_MAX`]. Where newcomers wait, too, both have every other
//! iteration.
//!
//! Nobody starves: who is in front has the next turn, and behind each come all others once.

use std::collections::VecDeque;

use levada_engine::error::Error;

use super::Server;
use crate::engine::Now;

/// Microseconds of an iteration that patient connections have, but for the last one's turn: at
/// least, and at most.
const PATIENT_US_MIN: u64 = 25;
const PATIENT_US_MAX: u64 = 1_000;
/// The same while there is nobody else: asking the system for news costs as much as a short turn.
const PATIENT_US_ALONE: u64 = 150;
/// Microseconds without a turn of somebody else behind which there is nobody.
const ALONE_US: u64 = 2_000;

/// Those who have something to do, by token.
#[derive(Default)]
pub(super) struct Patient {
    pub(super) tokens: VecDeque<usize>,
    /// What the turns of all others took, in microseconds, when somebody was last patient.
    pub(super) turns_us: u64,
    /// When somebody else had a turn last, in monotonic microseconds.
    pub(super) others_us: u64,
    /// Whether the last iteration accepted newcomers in their place.
    pub(super) gave_way: bool,
}

impl Server {
    /// Accepts who comes, or gives turns to those who must be patient: one of both in an iteration,
    /// and before the loop asks who else has come, who waits for no more than that.
    pub(super) fn serve_newcomers_or_patient(&mut self, now: Now) -> Result<(), Error> {
        let some_wait = !self.patient.tokens.is_empty();
        let accepts = self.accept_again && !(self.patient.gave_way && some_wait);
        self.patient.gave_way = accepts;
        if accepts {
            self.accept_again = false;
            self.accept(now);
        } else {
            // What they changed is committed below.
            self.was_woken |= self.take_patient_turns(now)?;
        }
        Ok(())
    }

    /// The turns of some patient connections, with what they are answered; whether there were any.
    fn take_patient_turns(&mut self, now: Now) -> Result<bool, Error> {
        if self.patient.tokens.is_empty() || self.shard.is_congested() {
            return Ok(false);
        }
        let is_alone = now.monotonic_us.saturating_sub(self.patient.others_us) > ALONE_US;
        let us_min = if is_alone { PATIENT_US_ALONE } else { PATIENT_US_MIN };
        let patient_us = (self.patient.turns_us / 2).clamp(us_min, PATIENT_US_MAX);
        // Who has more to do comes again in the next iteration.
        for _ in 0..self.patient.tokens.len() {
            if self.shard.is_congested() {
                break;
            }
            let Some(token) = self.patient.tokens.pop_front() else {
                break;
            };
            self.take_turn(token, now)?;
            self.flush();
            let us = if self.shard.will_sync() { PATIENT_US_MAX } else { patient_us };
            if self.state.clock.now().monotonic_us.saturating_sub(now.monotonic_us) >= us {
                break;
            }
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use crate::engine::Now;
    use crate::server::{Server, rig};

    const CROWD: usize = 100;

    /// Bytes that each of the crowd has been answered, sent or not.
    fn answered(server: &Server) -> Vec<u64> {
        server.connections.iter().skip(1).map(|it| it.out.position()).collect()
    }

    /// How many of the crowd have been answered more than `before`.
    fn served(before: &[u64], server: &Server) -> usize {
        before.iter().zip(answered(server)).filter(|(before, now)| *before < now).count()
    }

    #[test]
    fn who_asks_for_little_does_not_wait_for_all_who_ask_for_much() {
        let (mut server, address, _rest) = rig::opened("patience");
        let mut client = rig::client(address);
        server.run_until(|server| server.connections.len() == 1);
        let value = vec![b'x'; 2 << 20];
        let set = [b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$2097152\r\n", &value[..], b"\r\n"].concat();
        let mut sender = client.try_clone().expect("the same socket");
        let sending = std::thread::spawn(move || sender.write_all(&set).expect("taken"));
        server.run_until(|server| server.connections.iter().any(|it| it.session.commands == 1));
        server.run_until(|server| server.shard.durable() == server.shard.current());
        sending.join().expect("sent");
        let mut crowd: Vec<_> = (0..CROWD).map(|_| rig::client(address)).collect();
        for one in &mut crowd {
            one.write_all(&b"GET k\r\n".repeat(8)).expect("sent");
        }
        // A turn writes a small part of that, and a socket takes those of several turns.
        server.run_until(|server| server.connections.len() == CROWD + 1);
        server.run_until(|server| server.patient.tokens.len() > 1);

        // Whatever the machine does meanwhile, the time of the patient is over, or has not begun.
        let now = server.state.clock.now();
        let long_ago = Now { monotonic_us: 0, ..now };
        let at_once = Now { monotonic_us: u64::MAX, ..now };
        let waiting = server.patient.tokens.len();
        assert!(waiting > 1, "{waiting} have more to do");
        let first = server.patient.tokens[0];
        let before = answered(&server);
        assert!(server.take_patient_turns(long_ago).expect("runs"));
        assert_eq!(served(&before, &server), 1, "one goes on");
        assert_ne!(server.patient.tokens[0], first, "and then another is in front");
        let before = answered(&server);
        let waiting = server.patient.tokens.len();
        assert!(server.take_patient_turns(at_once).expect("runs"));
        assert_eq!(served(&before, &server), waiting, "each once");

        // Who asks for little stands elsewhere.
        client.write_all(b"PING\r\n").expect("sent");
        let token = server.connections.by_client(1).expect("it is there").token;
        server.run_until(|server| {
            assert!(!server.patient.tokens.contains(&token));
            server.connections.get_mut(token).expect("it is there").session.commands == 2
        });
        let mut replies = [0; 12];
        client.read_exact(&mut replies).expect("both replies");
        assert_eq!(replies, *b"+OK\r\n+PONG\r\n");
    }
}
