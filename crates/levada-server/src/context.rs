//! What a command of the server's own may see and change.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use levada_core::command::Command;
use levada_engine::clock::Clock;
use levada_resp::Writer;
use rustls::ServerConfig;

use crate::acl::{Acl, UserNumber};
use crate::client_limits::ClientLimits;
use crate::config::Config;
use crate::connection::Connections;
use crate::engine::{Answer, ClientId, Now, Outcome, Shard};
use crate::head_count::HeadCount;
use crate::log_event::{LogEvent, LogName};
use crate::observe::SlowLog;
use crate::out::Release;
use crate::output::Output;
use crate::registry::Registry;
use crate::saves::Saves;
use crate::server::ClientsMemory;
use crate::session::{Reason, Session};
use crate::settings::Settings;
use crate::stats::Stats;
use crate::tls::TlsSettings;
use crate::usage::Usage;
use crate::wire_error::WireError;

/// A command's view of the server.
pub(crate) struct Context<'a> {
    pub(crate) shard: &'a mut Shard,
    pub(crate) state: &'a mut State,
    pub(crate) session: &'a mut Session,
    /// The other connections; the own one is not among them.
    pub(crate) others: &'a mut Connections,
    pub(crate) output: Output<'a>,
    pub(crate) now: Now,
    /// EXEC is running: nothing may wait.
    pub(crate) in_transaction: bool,
    /// The number of the own socket, as CLIENT LIST shows it.
    pub(crate) descriptor: i32,
}

/// What all connections share.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) registry: Registry,
    pub(crate) config: Config,
    pub(crate) stats: Stats,
    pub(crate) settings: Settings,
    /// Whether somebody else than this machine may connect.
    pub(crate) exposed: bool,
    pub(crate) clock: Clock,
    pub(crate) started: Now,
    pub(crate) blocked_clients: u64,
    /// Connections to be looked at again though their socket says nothing.
    pub(crate) wake: Vec<usize>,
    pub(crate) slow_log: SlowLog,
    /// Connections that are shown what others do.
    pub(crate) monitors: Vec<u64>,
    /// A recovery that a client has asked for.
    #[cfg(feature = "debug-shim")]
    pub(crate) reload: Option<(crate::server::Reload, u64)>,
    pub(crate) saves: Saves,
    pub(crate) usage: Usage,
    /// CLIENT PAUSE.
    pub(crate) pause: Option<Pause>,
    pub(crate) acl: Acl,
    pub(crate) limits: ClientLimits,
    pub(crate) heads: HeadCount,
    pub(crate) memory: ClientsMemory,
    /// What listeners with TLS speak.
    pub(crate) tls: Option<Arc<ServerConfig>>,
    random: u64,
    #[cfg(feature = "null")]
    pub(crate) null_syncs: crate::null::Syncs,
}

/// Commands wait until then.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pause {
    /// Monotonic milliseconds.
    pub(crate) until_ms: u64,
    /// All of them, not only those that write.
    pub(crate) all: bool,
}

impl State {
    pub(crate) fn new(settings: Settings, config: Config, exposed: bool, clock: Clock) -> Self {
        let registry = Registry::new(crate::command::table());
        let started = clock.now();
        let mut slow_log = SlowLog::default();
        slow_log.configure(&config);
        Self {
            stats: Stats::new(registry.len()),
            acl: Acl::new(&registry),
            limits: ClientLimits::of(&config),
            heads: HeadCount::new(),
            memory: ClientsMemory::default(),
            tls: None,
            registry,
            config,
            exposed,
            clock,
            started,
            blocked_clients: 0,
            wake: Vec::new(),
            slow_log,
            monitors: Vec::new(),
            #[cfg(feature = "debug-shim")]
            reload: None,
            saves: Saves::new(started),
            usage: Usage::new(started),
            pause: None,
            random: settings.seed | 1,
            #[cfg(feature = "null")]
            null_syncs: crate::null::Syncs::default(),
            settings,
        }
    }

    /// Puts an event into the server's log.
    pub(crate) fn log(&self, event: &LogEvent) {
        (self.settings.log)(event, self.clock.now().wall_ms);
    }

    /// The next random number: xorshift64*, seeded from outside.
    pub(crate) fn random(&mut self) -> u64 {
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        self.random.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Whether nobody else than this machine may be served without a password.
    pub(crate) fn is_protected(&self) -> bool {
        self.exposed && self.config.get("protected-mode") == "yes"
    }

    /// A connection is a user from now on, who was asked for a password or vouched for. If that
    /// user has as many as it may have it stays who it was.
    pub(crate) fn log_in(
        &mut self,
        session: &mut Session,
        user: UserNumber,
    ) -> Result<(), WireError> {
        let name = crate::command::shown_name(self.acl.name(user));
        if !self.heads.enter(session, (user, &name), self.limits.per_user_max) {
            return Err(WireError::MAX_CLIENTS_OF_USER);
        }
        session.authenticated = true;
        session.user = user;
        Ok(())
    }

    /// The users of the settings or of their file. An error says what is wrong with them.
    pub(crate) fn load_users(&mut self) -> Result<(), String> {
        self.apply_access_settings(&["requirepass", "acl-pubsub-default"]);
        let Settings { users, aclfile, .. } = &self.settings;
        self.acl.load_at_start(&self.registry, users, aclfile.as_deref())
    }

    /// Reads the files of TLS, as far as somebody speaks it, with some settings in place of those
    /// in force. An error says which file is wrong, and leaves everything as it was.
    pub(crate) fn load_tls(&mut self, pairs: &[&[u8]]) -> Result<(), String> {
        let listeners = self.settings.tls.listeners;
        let tls = TlsSettings::of(listeners, &self.config, pairs)?;
        if listeners > 0 {
            self.tls = Some(tls.load()?);
        }
        Ok(())
    }

    /// Reads the files of TLS again if a signal has asked for it.
    pub(crate) fn reload_tls_if_told(&mut self) {
        if !self.settings.reload.swap(false, Ordering::Relaxed) || self.tls.is_none() {
            return;
        }
        let event = match self.load_tls(&[]) {
            Ok(()) => LogEvent::new(LogName::TlsReloaded, "The certificates were read again"),
            Err(why) => LogEvent::tls_not_reloaded(&why),
        };
        self.log(&event);
    }

    /// Lets settings hold that CONFIG SET has changed.
    pub(crate) fn apply_access_settings(&mut self, names: &[&str]) {
        if names.contains(&"requirepass") {
            self.acl.set_default_password(&self.registry, self.config.get("requirepass"));
        }
        self.limits = ClientLimits::of(&self.config);
        self.acl.all_channels = self.config.get("acl-pubsub-default") == "allchannels";
    }
}

impl Context<'_> {
    /// Asks the engine about a string, which is always in memory.
    pub(crate) fn ask(&mut self, command: &Command<'_>) -> Answer {
        match self.shard.execute(self.now, ClientId(self.session.id), command) {
            Outcome::Done(answer) => answer,
            Outcome::NeedBlocks => unreachable!("strings need no blocks"),
        }
    }

    /// Ends the wait of another connection: by an error, or as if its time were over. Whether it
    /// was waiting.
    pub(crate) fn unblock(&mut self, client: u64, error: Option<&WireError>) -> bool {
        let Some(other) = self.others.by_client(client) else {
            return false;
        };
        let Some(blocked) = other.session.blocked.take() else {
            return false;
        };
        if blocked.reason == Reason::Read {
            self.shard.cancel_wait(ClientId(client));
        }
        self.state.blocked_clients -= 1;
        match (error, blocked.reason) {
            (Some(error), _) => {
                self.state.stats.error(&error.text());
                self.state.stats.command_mut(blocked.number).failed += 1;
                Writer::new(other.out.target(), other.session.protocol).error(error.text());
            }
            (None, Reason::Read) => {
                Writer::new(other.out.target(), other.session.protocol).null_array();
            }
            (None, Reason::Sleep(_)) => {
                crate::command::wait::reply(other.out.target(), other.session.protocol, &blocked);
            }
        }
        other.out.mark(Release::default());
        self.state.wake.push(other.token);
        true
    }
}
