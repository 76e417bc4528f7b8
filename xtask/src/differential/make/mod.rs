//! Makes episodes: a pure function of seed and number, that never looks at a reply.
//!
//! Few keys, groups and ids, so that commands meet each other's effects; each family of commands
//! is a file that writes mostly well-formed commands, and [`Maker::spoil`] damages some of them in
//! ways that need no knowledge of the command. What depends on the speed of a server is avoided:
//! times are far in the past or far ahead, and an id that a server generated is used only with the
//! one stream that is never renamed, copied or removed, so that its order is the same on both.

mod groups;
mod keys;
mod session;
mod streams;
mod strings;
mod words;

use std::collections::HashMap;

use super::capability::Capability;
use super::episode::{Episode, Step, Word};
use super::random::Random;

/// Commands of an episode, about; transactions are closed behind it.
const STEPS: usize = 240;
/// The stream with generated ids, see the module.
pub(crate) const AUTO: &str = "auto";
/// In ms or s: a time between these may pass while an episode runs, and is not asked for.
const SOON: std::ops::RangeInclusive<i64> = 1..=99_999;
/// A point in time far ahead, in ms as in s.
const FAR: i64 = 4_000_000_000_000;

/// A command in the making.
pub(crate) type Line = Vec<Word>;

/// Makes one episode.
#[derive(Debug)]
pub(crate) struct Maker<'a> {
    random: Random,
    peer: &'a Capability,
    /// Whether [`AUTO`] is used.
    auto: bool,
    /// Steps that may have generated an id in [`AUTO`].
    generated: Vec<u32>,
    /// Steps that may have dumped a value.
    dumped: Vec<u32>,
    /// Where the next id of a stream probably goes.
    tops: HashMap<String, (u64, u64)>,
    client: usize,
    in_multi: [bool; super::CLIENTS],
    episode: Episode,
}

/// The words of a line that are given as text.
pub(crate) fn line(words: &[&str]) -> Line {
    words.iter().map(|word| Word::Bytes(word.as_bytes().to_vec())).collect()
}

/// One word from anything that is bytes.
pub(crate) fn word(bytes: impl AsRef<[u8]>) -> Word {
    Word::Bytes(bytes.as_ref().to_vec())
}

/// The episode of this number.
pub(crate) fn episode(seed: u64, number: u64, peer: &Capability) -> Episode {
    let mut random = Random::new(seed, number);
    let events = match random.below(4) {
        0 => "",
        1 => "KEA",
        2 if random.chance(20) => peer.all_events(),
        2 => peer.all_events().trim_end_matches('m'),
        _ => random.pick(&["E$gt", "Kt", "EgnA", "K$x", "KEt"]),
    };
    let episode = Episode {
        resp3: random.chance(40),
        events: events.to_owned(),
        node_entries: [0, 1, 2, 3, 5, 100][random.below(6)],
        steps: Vec::new(),
    };
    let auto = random.chance(20);
    let mut maker = Maker {
        random,
        peer,
        auto,
        generated: Vec::new(),
        dumped: Vec::new(),
        tops: HashMap::new(),
        client: 0,
        in_multi: [false; super::CLIENTS],
        episode,
    };
    while maker.episode.steps.len() < STEPS {
        maker.step();
    }
    for client in 0..super::LISTENER {
        if maker.in_multi[client] {
            maker.client = client;
            maker.push(line(&["EXEC"]));
        }
    }
    maker.episode
}

impl Maker<'_> {
    fn step(&mut self) {
        if self.random.chance(3) {
            self.client = usize::from(self.random.chance(30));
        }
        // Two round trips each.
        if self.random.chance(1) && self.random.chance(40) {
            let here = std::mem::replace(&mut self.client, super::LISTENER);
            let listen = self.listen();
            self.push(listen);
            self.client = here;
            return;
        }
        let mut line = match self.random.below(100) {
            0..=41 => self.streams(),
            42..=78 => self.groups(),
            79..=86 => self.strings(),
            87..=93 => self.keys(),
            _ => self.session(),
        };
        if self.random.chance(12) {
            self.spoil(&mut line);
        }
        if self.random.chance(3) {
            self.change_case(&mut line);
        }
        self.push(line);
    }

    /// Adds a command, if the peer knows it, and follows its transaction.
    fn push(&mut self, line: Line) {
        let number = u32::try_from(self.episode.steps.len()).expect("an episode is short");
        let mut step = Step { client: self.client, number, words: line };
        if step.words.is_empty() || !self.peer.knows(&step) {
            return;
        }
        avoid_the_near_future(&mut step);
        let name = step.lower(0);
        match name.as_slice() {
            b"multi" if step.words.len() == 1 => self.in_multi[self.client] = true,
            b"exec" | b"discard" | b"reset" if step.words.len() == 1 => {
                self.in_multi[self.client] = false;
            }
            b"xadd" if step.find("*").is_some() && step.words.get(1) == Some(&word(AUTO)) => {
                self.generated.push(number);
            }
            b"dump" => self.dumped.push(number),
            _ => {}
        }
        self.episode.steps.push(step);
    }

    /// Damages a command: any part but its name may be lost, doubled, moved or replaced.
    fn spoil(&mut self, line: &mut Line) {
        let damages = 1 + self.random.below(2);
        for _ in 0..damages {
            let len = line.len();
            let at = if len > 1 { 1 + self.random.below(len - 1) } else { 1 };
            match self.random.below(7) {
                0 if len > 1 => drop(line.remove(at)),
                1 if len > 1 => line.insert(at, line[at].clone()),
                2 if len > 2 => line.swap(at, 1 + self.random.below(len - 1)),
                3 if len > 1 => line.truncate(at),
                4 if len > 1 => line[at] = self.odd_word(),
                5 => line.insert(at, self.odd_word()),
                _ => line.push(self.odd_word()),
            }
        }
    }

    fn change_case(&mut self, line: &mut Line) {
        let keep_from = if self.random.chance(50) { 1 } else { line.len() };
        for each in line.iter_mut().take(keep_from) {
            if let Word::Bytes(bytes) = each {
                for byte in bytes.iter_mut() {
                    if self.random.chance(50) {
                        *byte ^= if byte.is_ascii_alphabetic() { 0x20 } else { 0 };
                    }
                }
            }
        }
    }
}

/// Moves times that would pass during the episode to where they do not.
fn avoid_the_near_future(step: &mut Step) {
    let name = step.lower(0);
    let range = match name.as_slice() {
        b"expire" | b"pexpire" | b"set" | b"getex" | b"setex" | b"psetex" | b"msetex" => {
            2..step.words.len()
        }
        b"xclaim" | b"xautoclaim" => 4..5,
        b"restore" => 2..3,
        b"xreadgroup" => match step.find("claim") {
            Some(at) => at + 1..at + 2,
            None => return,
        },
        b"xpending" => match step.find("idle") {
            Some(at) => at + 1..at + 2,
            None => return,
        },
        _ => return,
    };
    for at in range {
        let number = match step.words.get(at) {
            Some(Word::Bytes(bytes)) => std::str::from_utf8(bytes).ok(),
            _ => None,
        };
        let number = number.and_then(|text| text.parse::<i64>().ok());
        // What SET writes with a time that is over goes when a server happens to look.
        let before = step.lower(at - 1);
        let is_point = [&b"set"[..], b"msetex"].contains(&&name[..])
            && [&b"exat"[..], b"pxat"].contains(&&before[..]);
        if is_point && number.is_some_and(|number| (1..FAR).contains(&number)) {
            step.words[at] = word(FAR.to_string());
            continue;
        }
        if number.is_some_and(|number| SOON.contains(&number)) {
            step.words[at] = word("100000000");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_makes_the_same_episode() {
        let peer = Capability::newest();
        let text = |seed, number| episode(seed, number, &peer).to_text();
        assert_eq!(text(1, 7), text(1, 7));
        assert_ne!(text(1, 7), text(1, 8));
        assert_ne!(text(1, 7), text(2, 7));
        let made = episode(3, 3, &peer);
        let again = Episode::parse(&made.to_text()).expect("what is written is read");
        assert_eq!(again.to_text(), made.to_text());
    }
}
