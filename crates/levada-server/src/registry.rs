//! Commands by name: built once from the table, asked for every request.
//!
//! Names are compared without regard to case and without an allocation. Every command and
//! subcommand has a number, by which statistics are kept.

use crate::spec::CommandSpec;

/// Places of the hash table; a power of two, above twice the number of commands.
const SLOTS: usize = 512;
const EMPTY: u16 = u16::MAX;

/// Number of a command or subcommand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct CommandNumber(pub(crate) u16);

/// A command, flattened.
#[derive(Debug)]
struct Entry {
    spec: &'static CommandSpec,
    /// Numbers of its subcommands.
    subcommands: std::ops::Range<u16>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Registry {
    entries: Vec<Entry>,
    top: usize,
    slots: Box<[u16; SLOTS]>,
}

impl Registry {
    pub(crate) fn new(table: &'static [CommandSpec]) -> Self {
        assert!(table.len() * 2 < SLOTS, "the table outgrew its hash");
        let number = |len| u16::try_from(len).expect("there are far fewer commands");
        let mut registry = Self {
            entries: table.iter().map(|spec| Entry { spec, subcommands: 0..0 }).collect(),
            top: table.len(),
            slots: Box::new([EMPTY; SLOTS]),
        };
        for (at, spec) in table.iter().enumerate() {
            let first = number(registry.entries.len());
            let subcommands = spec.subcommands.iter().map(|spec| Entry { spec, subcommands: 0..0 });
            registry.entries.extend(subcommands);
            registry.entries[at].subcommands = first..number(registry.entries.len());
            let mut slot = hash(spec.name.as_bytes());
            while registry.slots[slot] != EMPTY {
                slot = (slot + 1) % SLOTS;
            }
            registry.slots[slot] = number(at);
        }
        registry
    }

    /// Number of commands and subcommands.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The numbers of all commands and subcommands.
    pub(crate) fn numbers(&self) -> impl Iterator<Item = CommandNumber> + use<> {
        let len = u16::try_from(self.entries.len()).expect("there are far fewer commands");
        (0..len).map(CommandNumber)
    }

    /// The numbers of the subcommands of a command.
    pub(crate) fn subcommands(
        &self,
        number: CommandNumber,
    ) -> impl Iterator<Item = CommandNumber> + use<> {
        self.entries[number.0 as usize].subcommands.clone().map(CommandNumber)
    }

    /// Number of commands, subcommands not counted.
    pub(crate) fn top_len(&self) -> usize {
        self.top
    }

    pub(crate) fn spec(&self, number: CommandNumber) -> &'static CommandSpec {
        self.entries[number.0 as usize].spec
    }

    /// A command by its name.
    #[inline]
    pub(crate) fn find(&self, name: &[u8]) -> Option<CommandNumber> {
        let mut slot = hash(name);
        loop {
            let number = self.slots[slot];
            if number == EMPTY {
                return None;
            }
            let entry = &self.entries[number as usize];
            if entry.spec.name.as_bytes().eq_ignore_ascii_case(name) {
                return Some(CommandNumber(number));
            }
            slot = (slot + 1) % SLOTS;
        }
    }

    /// A subcommand by its name.
    pub(crate) fn find_subcommand(
        &self,
        container: CommandNumber,
        name: &[u8],
    ) -> Option<CommandNumber> {
        let mut numbers = self.entries[container.0 as usize].subcommands.clone();
        let found = numbers.find(|number| {
            let spec = self.entries[*number as usize].spec;
            spec.short_name().as_bytes().eq_ignore_ascii_case(name)
        })?;
        Some(CommandNumber(found))
    }

    /// A command, or a subcommand as `parent|name`.
    pub(crate) fn find_full(&self, name: &[u8]) -> Option<CommandNumber> {
        match name.iter().position(|byte| *byte == b'|') {
            None => self.find(name),
            Some(bar) => self.find_subcommand(self.find(&name[..bar])?, &name[bar + 1..]),
        }
    }
}

/// Length and the first eight bytes, in lower case, tell nearly all commands apart.
#[inline]
fn hash(name: &[u8]) -> usize {
    let mut head = [0_u8; 8];
    let len = name.len().min(8);
    head[..len].copy_from_slice(&name[..len]);
    let word = (u64::from_le_bytes(head) | 0x2020_2020_2020_2020) ^ (name.len() as u64);
    (word.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 55) as usize % SLOTS
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::table;

    #[test]
    fn every_command_is_found_in_any_case() {
        let registry = Registry::new(table());
        for spec in table() {
            for name in [spec.name.to_owned(), spec.name.to_ascii_uppercase()] {
                let number = registry.find(name.as_bytes()).expect("in the table");
                assert_eq!(registry.spec(number).name, spec.name);
            }
            for sub in spec.subcommands {
                let number = registry.find_full(sub.name.as_bytes()).expect("in the table");
                assert_eq!(registry.spec(number).name, sub.name);
            }
        }
        for name in ["", "x", "xad", "xaddd", "hset", "eval"] {
            assert!(registry.find(name.as_bytes()).is_none(), "{name}");
        }
    }

    #[test]
    fn the_hash_spreads_the_names() {
        let mut slots: Vec<_> = table().iter().map(|spec| hash(spec.name.as_bytes())).collect();
        slots.sort_unstable();
        slots.dedup();
        assert!(slots.len() * 10 >= table().len() * 8, "{} of {}", slots.len(), table().len());
    }
}
