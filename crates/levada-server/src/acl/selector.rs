//! A set of rights: which commands, on which keys, with which channels and consumer groups.
//!
//! Rules are applied in order, and what a rule means depends on those before it, so both are kept:
//! the rules, to be written down again, and the commands that they allow, to be asked for each
//! request. Rules name commands and categories that exist; a name that nobody knows is refused.
//!
//! Rules about groups are ours. Unlike keys and channels all groups are allowed until a rule says
//! otherwise, and then alone something about them is written down: without such a rule a user is,
//! to the byte, what it is in Redis.

use levada_core::glob;

use crate::key_access::{GroupUse, KeyUse, access};
use crate::registry::{CommandNumber, Registry};
use crate::spec::{Channels, CommandSpec, category, flag};

/// What is wrong with a rule.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fault {
    /// No such command, no such category.
    Unknown,
    /// Not a rule.
    Syntax,
    /// A pattern of keys where all keys are allowed.
    AfterAllKeys,
    /// A pattern of channels where all channels are allowed.
    AfterAllChannels,
    /// A pattern of groups where all groups are allowed.
    AfterAllGroups,
    /// A password to take away that is not there.
    NoSuchPassword,
    /// A hash that is none.
    NotAHash,
    /// `+command|subcommand|argument`.
    ArgumentOfSubcommand,
}

impl Fault {
    /// As Redis says it.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Unknown => "Unknown command or category name in ACL",
            Self::Syntax => "Syntax error",
            Self::AfterAllKeys => {
                "Adding a pattern after the * pattern (or the 'allkeys' flag) is not valid and \
                 does not have any effect. Try 'resetkeys' to start with an empty list of patterns"
            }
            Self::AfterAllChannels => {
                "Adding a pattern after the * pattern (or the 'allchannels' flag) is not valid \
                 and does not have any effect. Try 'resetchannels' to start with an empty list of \
                 channels"
            }
            Self::AfterAllGroups => {
                "Adding a pattern after the * pattern (or the 'allgroups' flag) is not valid and \
                 does not have any effect. Try 'resetgroups' to start with an empty list of groups"
            }
            Self::NoSuchPassword => {
                "The password you are trying to remove from the user does not exist"
            }
            Self::NotAHash => {
                "The password hash must be exactly 64 characters and contain only lowercase \
                 hexadecimal characters"
            }
            Self::ArgumentOfSubcommand => "Allowing first-arg of a subcommand is not supported",
        }
    }
}

/// Why a request is refused; the order is that in which Redis prefers to name them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Reason {
    Command,
    Key,
    Channel,
    Group,
}

/// What a request was refused for, and where that stands among its arguments.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Denied {
    pub(crate) reason: Reason,
    pub(crate) at: usize,
}

/// What is asked of rights.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wish<'a> {
    pub(crate) number: CommandNumber,
    pub(crate) spec: &'static CommandSpec,
    pub(crate) args: &'a [&'a [u8]],
    /// `None` where they cannot be told.
    pub(crate) keys: Option<&'a [KeyUse]>,
    pub(crate) group: GroupUse,
}

/// What a rule that allows groups begins with.
const GROUP: &[u8] = b"group~";

/// Commands, a bit for each. Above the number of commands and subcommands.
const COMMANDS_MAX: usize = 512;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Bits([u64; COMMANDS_MAX / 64]);

impl Bits {
    const NONE: Self = Self([0; COMMANDS_MAX / 64]);
    const ALL: Self = Self([u64::MAX; COMMANDS_MAX / 64]);

    fn has(&self, number: CommandNumber) -> bool {
        let at = usize::from(number.0);
        self.0.get(at / 64).is_some_and(|word| word >> (at % 64) & 1 == 1)
    }

    fn put(&mut self, number: CommandNumber, value: bool) {
        let at = usize::from(number.0);
        let bit = 1 << (at % 64);
        // Beyond the last word there is no command: the registry's own test counts them.
        if let Some(word) = self.0.get_mut(at / 64) {
            *word = if value { *word | bit } else { *word & !bit };
        }
    }
}

/// `~pattern`, `%R~pattern` or `%W~pattern`.
#[derive(Clone, PartialEq, Eq, Debug)]
struct KeyPattern {
    reads: bool,
    writes: bool,
    pattern: Vec<u8>,
}

impl KeyPattern {
    fn describe(&self, text: &mut Vec<u8>) {
        text.extend_from_slice(match (self.reads, self.writes) {
            (true, false) => b"%R~",
            (false, true) => b"%W~",
            _ => b"~",
        });
        text.extend_from_slice(&self.pattern);
    }

    fn allows(&self, key: &[u8], wanted: u16) -> bool {
        let reads = wanted & access::ACCESS != 0;
        let writes = wanted & (access::UPDATE | access::INSERT | access::DELETE) != 0;
        (self.reads || !reads) && (self.writes || !writes) && glob::matches(&self.pattern, key)
    }
}

/// See the module.
#[derive(Clone, PartialEq, Eq, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "facts that change apart from each other")]
pub(crate) struct Selector {
    allowed: Bits,
    /// It began with all commands: later versions add their commands to it.
    begins_with_all: bool,
    /// Nothing was taken away since.
    all_commands: bool,
    /// What was allowed or not, in order.
    rules: Vec<(bool, String)>,
    /// Commands that are allowed with these first arguments only.
    first_arguments: Vec<(CommandNumber, Vec<u8>)>,
    all_keys: bool,
    keys: Vec<KeyPattern>,
    all_channels: bool,
    channels: Vec<Vec<u8>>,
    all_groups: bool,
    groups: Vec<Vec<u8>>,
}

impl Selector {
    /// No command is allowed, and nothing else but groups: who has no rule about them has all.
    pub(crate) const NONE: Self = Self {
        allowed: Bits::NONE,
        begins_with_all: false,
        all_commands: false,
        rules: Vec::new(),
        first_arguments: Vec::new(),
        all_keys: false,
        keys: Vec::new(),
        all_channels: false,
        channels: Vec::new(),
        all_groups: true,
        groups: Vec::new(),
    };

    /// From the text between parentheses.
    pub(crate) fn parse(registry: &Registry, text: &[u8]) -> Result<Self, Fault> {
        let mut selector = Self::NONE;
        for rule in text.split(u8::is_ascii_whitespace).filter(|rule| !rule.is_empty()) {
            selector.apply(registry, rule)?;
        }
        Ok(selector)
    }

    /// Whether everything is allowed.
    pub(crate) fn is_unrestricted(&self) -> bool {
        self.all_commands && self.all_keys && self.all_channels && self.all_groups
    }

    /// What a user begins with.
    pub(crate) fn put_all_channels(&mut self, all: bool) {
        (self.all_channels, self.channels) = (all, Vec::new());
    }

    /// Applies a rule. After an error nothing of it holds.
    pub(crate) fn apply(&mut self, registry: &Registry, rule: &[u8]) -> Result<(), Fault> {
        let lower = rule.to_ascii_lowercase();
        match lower.as_slice() {
            b"allkeys" | b"~*" => (self.all_keys, self.keys) = (true, Vec::new()),
            b"resetkeys" => (self.all_keys, self.keys) = (false, Vec::new()),
            b"allchannels" | b"&*" => (self.all_channels, self.channels) = (true, Vec::new()),
            b"resetchannels" => (self.all_channels, self.channels) = (false, Vec::new()),
            b"allgroups" | b"group~*" => (self.all_groups, self.groups) = (true, Vec::new()),
            b"resetgroups" => (self.all_groups, self.groups) = (false, Vec::new()),
            b"allcommands" | b"+@all" => self.allow_all(true),
            b"nocommands" | b"-@all" => self.allow_all(false),
            _ if lower.starts_with(GROUP) => self.add_groups(&rule[GROUP.len()..])?,
            _ => match rule {
                [b'~', pattern @ ..] => self.add_keys(true, true, pattern)?,
                [b'%', rest @ ..] => self.add_some_keys(rest)?,
                [b'&', pattern @ ..] => self.add_channels(pattern)?,
                [sign @ (b'+' | b'-'), b'@', name @ ..] => {
                    self.put_category(registry, *sign == b'+', name)?;
                }
                [b'+', name @ ..] => self.allow(registry, name)?,
                [b'-', name @ ..] => {
                    let number = registry.find_full(name).ok_or(Fault::Unknown)?;
                    self.put_command(registry, number, false);
                    self.note_rule(false, registry.spec(number).name.to_owned());
                }
                _ => return Err(Fault::Syntax),
            },
        }
        Ok(())
    }

    /// Whether these rights are enough for a request.
    pub(crate) fn check(&self, wish: &Wish<'_>) -> Result<(), Denied> {
        let Wish { number, spec, args, keys, .. } = *wish;
        if !self.all_commands && spec.flags & flag::NO_AUTH == 0 && !self.allowed.has(number) {
            let first = args.get(if spec.name.contains('|') { 2 } else { 1 });
            let named = |(of, argument): &(CommandNumber, Vec<u8>)| {
                *of == number && first.is_some_and(|first| first.eq_ignore_ascii_case(argument))
            };
            if !self.first_arguments.iter().any(named) {
                return Err(Denied { reason: Reason::Command, at: 0 });
            }
        }
        if !self.all_keys {
            // Keys that cannot be told are keys that nobody has allowed.
            let keys = keys.ok_or(Denied { reason: Reason::Key, at: 0 })?;
            let is_denied = |key: &&KeyUse| {
                let name = args.get(key.at).copied().unwrap_or_default();
                key.access & access::NOT_KEY == 0 && !self.allows_key(name, key.access)
            };
            if let Some(key) = keys.iter().find(is_denied) {
                return Err(Denied { reason: Reason::Key, at: key.at });
            }
        }
        self.check_channels(wish)?;
        self.check_group(wish)
    }

    fn check_channels(&self, wish: &Wish<'_>) -> Result<(), Denied> {
        let (count, is_pattern) = match wish.spec.channels {
            _ if self.all_channels => return Ok(()),
            Channels::None => return Ok(()),
            Channels::First => (1, false),
            Channels::Names => (usize::MAX, false),
            Channels::Patterns => (usize::MAX, true),
        };
        let mut channels = wish.args.iter().enumerate().skip(1).take(count);
        let denied = channels.find(|(_, channel)| !self.allows_channel(channel, is_pattern));
        denied.map_or(Ok(()), |(at, _)| Err(Denied { reason: Reason::Channel, at }))
    }

    fn check_group(&self, wish: &Wish<'_>) -> Result<(), Denied> {
        let at = match wish.group {
            _ if self.all_groups => return Ok(()),
            GroupUse::None => return Ok(()),
            GroupUse::At(at) => at,
            // As with keys: what cannot be told is what nobody has allowed.
            GroupUse::Unknown => return Err(Denied { reason: Reason::Group, at: 0 }),
        };
        let name = wish.args.get(at).copied().unwrap_or_default();
        let is_allowed = self.groups.iter().any(|pattern| glob::matches(pattern, name));
        if is_allowed { Ok(()) } else { Err(Denied { reason: Reason::Group, at }) }
    }

    /// Whether a key may be used so.
    fn allows_key(&self, key: &[u8], wanted: u16) -> bool {
        self.all_keys || self.keys.iter().any(|pattern| pattern.allows(key, wanted))
    }

    /// Whether a channel may be used. A pattern is allowed by nothing but its own spelling.
    pub(crate) fn allows_channel(&self, channel: &[u8], is_pattern: bool) -> bool {
        self.all_channels
            || self.channels.iter().any(|allowed| match is_pattern {
                true => allowed == channel,
                false => glob::matches(allowed, channel),
            })
    }

    /// The rules about commands that make it what it is.
    pub(crate) fn describe_commands(&self) -> String {
        let mut text = if self.begins_with_all { "+@all" } else { "-@all" }.to_owned();
        for (allow, name) in &self.rules {
            text.push_str(if *allow { " +" } else { " -" });
            text.push_str(name);
        }
        text
    }

    /// The patterns of keys, with spaces between.
    pub(crate) fn describe_keys(&self) -> Vec<u8> {
        let mut text = if self.all_keys { b"~*".to_vec() } else { Vec::new() };
        for (at, pattern) in self.keys.iter().enumerate() {
            text.extend_from_slice(if at == 0 { b"" } else { b" " });
            pattern.describe(&mut text);
        }
        text
    }

    /// The patterns of channels, with spaces between.
    pub(crate) fn describe_channels(&self) -> Vec<u8> {
        let mut text = if self.all_channels { b"&*".to_vec() } else { Vec::new() };
        for (at, pattern) in self.channels.iter().enumerate() {
            text.extend_from_slice(if at == 0 { b"&" } else { b" &" });
            text.extend_from_slice(pattern);
        }
        text
    }

    /// The patterns of groups, with spaces between; `None` where no rule is about groups.
    pub(crate) fn describe_groups(&self) -> Option<Vec<u8>> {
        let rules: Vec<_> = self.groups.iter().map(|name| [GROUP, name].concat()).collect();
        (!self.all_groups).then(|| rules.join(&b' '))
    }

    /// All of it, as rules that make the same.
    pub(crate) fn describe(&self, text: &mut Vec<u8>) {
        let mut words = vec![self.describe_keys()];
        if !self.all_channels {
            words.push(b"resetchannels".to_vec());
        }
        words.push(self.describe_channels());
        if let Some(groups) = self.describe_groups() {
            words.extend([b"resetgroups".to_vec(), groups]);
        }
        words.push(self.describe_commands().into_bytes());
        words.retain(|word| !word.is_empty());
        text.extend_from_slice(&words.join(&b' '));
    }

    fn allow_all(&mut self, allow: bool) {
        self.allowed = if allow { Bits::ALL } else { Bits::NONE };
        (self.begins_with_all, self.all_commands) = (allow, allow);
        self.rules.clear();
        self.first_arguments.clear();
    }

    /// `+name`, `+name|sub`, or `+name|argument` of a command that has no subcommands.
    fn allow(&mut self, registry: &Registry, name: &[u8]) -> Result<(), Fault> {
        let Some(bar) = name.iter().rposition(|byte| *byte == b'|') else {
            let number = registry.find_full(name).ok_or(Fault::Unknown)?;
            self.put_command(registry, number, true);
            self.note_rule(true, registry.spec(number).name.to_owned());
            return Ok(());
        };
        let (parent, sub) = (&name[..bar], &name[bar + 1..]);
        let number = registry.find_full(parent).ok_or(Fault::Unknown)?;
        if parent.contains(&b'|') {
            return Err(Fault::ArgumentOfSubcommand);
        }
        // A rule is written down as a word of a line of text: what is none would be another one
        // there.
        let is_word = std::str::from_utf8(sub)
            .is_ok_and(|sub| !sub.contains(|it: char| it.is_control() || it.is_whitespace()));
        if sub.is_empty() || !is_word {
            return Err(Fault::Syntax);
        }
        if registry.spec(number).subcommands.is_empty() {
            let argument = sub.to_ascii_lowercase();
            if !self.first_arguments.contains(&(number, argument.clone())) {
                self.first_arguments.push((number, argument));
            }
        } else {
            let number = registry.find_full(name).ok_or(Fault::Unknown)?;
            self.put_command(registry, number, true);
        }
        self.note_rule(true, String::from_utf8_lossy(name).to_ascii_lowercase());
        Ok(())
    }

    fn put_category(&mut self, registry: &Registry, allow: bool, name: &[u8]) -> Result<(), Fault> {
        let bit = category::named(name).ok_or(Fault::Unknown)?;
        self.note_rule(allow, format!("@{}", String::from_utf8_lossy(name).to_ascii_lowercase()));
        for number in registry.numbers() {
            if registry.spec(number).all_categories() & bit != 0 {
                self.put_command(registry, number, allow);
            }
        }
        Ok(())
    }

    /// A command with all its subcommands.
    fn put_command(&mut self, registry: &Registry, number: CommandNumber, allow: bool) {
        for number in std::iter::once(number).chain(registry.subcommands(number)) {
            self.allowed.put(number, allow);
        }
        self.all_commands &= allow;
        self.first_arguments.retain(|(of, _)| *of != number);
    }

    /// Keeps a rule, in place of what it makes meaningless.
    fn note_rule(&mut self, allow: bool, name: String) {
        let is_part = |old: &str| {
            old.strip_prefix(&name).is_some_and(|rest| rest.is_empty() || rest.starts_with('|'))
        };
        self.rules.retain(|(_, old)| !is_part(old));
        self.rules.push((allow, name));
    }

    /// `R~pattern`, `W~pattern`, `RW~pattern`.
    fn add_some_keys(&mut self, rule: &[u8]) -> Result<(), Fault> {
        if self.all_keys {
            return Err(Fault::AfterAllKeys);
        }
        let tilde = rule.iter().position(|byte| *byte == b'~').unwrap_or(rule.len());
        let letters = rule[..tilde].to_ascii_uppercase();
        let pattern = rule.get(tilde + 1..).unwrap_or_default();
        match letters.as_slice() {
            b"R" => self.add_keys(true, false, pattern),
            b"W" => self.add_keys(false, true, pattern),
            b"RW" | b"WR" => self.add_keys(true, true, pattern),
            _ => Err(Fault::Syntax),
        }
    }

    fn add_keys(&mut self, reads: bool, writes: bool, pattern: &[u8]) -> Result<(), Fault> {
        if self.all_keys {
            return Err(Fault::AfterAllKeys);
        }
        check_name(pattern)?;
        match self.keys.iter_mut().find(|known| known.pattern == pattern) {
            Some(known) => {
                known.reads |= reads;
                known.writes |= writes;
            }
            None => self.keys.push(KeyPattern { reads, writes, pattern: pattern.to_vec() }),
        }
        Ok(())
    }

    fn add_channels(&mut self, pattern: &[u8]) -> Result<(), Fault> {
        match self.all_channels {
            true => Err(Fault::AfterAllChannels),
            false => add_pattern(&mut self.channels, pattern),
        }
    }

    fn add_groups(&mut self, pattern: &[u8]) -> Result<(), Fault> {
        match self.all_groups {
            true => Err(Fault::AfterAllGroups),
            false => add_pattern(&mut self.groups, pattern),
        }
    }
}

/// Adds a pattern, unless it is there.
fn add_pattern(patterns: &mut Vec<Vec<u8>>, pattern: &[u8]) -> Result<(), Fault> {
    check_name(pattern)?;
    if !patterns.iter().any(|known| known == pattern) {
        patterns.push(pattern.to_vec());
    }
    Ok(())
}

/// Names and patterns stand between spaces, in the file too.
pub(crate) fn check_name(name: &[u8]) -> Result<(), Fault> {
    let breaks = |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, 0 | 0x0b);
    if name.iter().any(breaks) { Err(Fault::Syntax) } else { Ok(()) }
}
