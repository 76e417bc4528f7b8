//! What follows where rights are asked for, refused, or taken away.
//!
//! Rights that are taken away hold at once: who listens to a channel that is no longer allowed is
//! thrown out, a reader that sleeps for a key or in a group that is no longer allowed is woken with
//! an error, and the connections of a removed user end.

use super::log::{Entry, Refusal};
use super::{Denied, Reason as Why, UserNumber, Wish};
use crate::context::{Context, State};
use crate::describe_client::Described;
use crate::dispatch::Turn;
use crate::engine::{ClientId, Listening};
use crate::key_access::{GroupUse, KeyUse};
use crate::registry::CommandNumber;
use crate::session::{Reason, Session};
use crate::wire_error::WireError;

impl Turn<'_> {
    /// Asks whether the user of the connection may run a request, and notes it if not.
    #[cold]
    pub(crate) fn permit(&mut self, number: CommandNumber, args: &[&[u8]]) -> Result<(), Denied> {
        let spec = self.state.registry.spec(number);
        let keys = spec.key_uses(args);
        let group = spec.group_use(args);
        let wish = Wish { number, spec, args, keys: keys.as_deref(), group };
        let denied = match self.state.acl.check(self.session.user, &wish) {
            Ok(()) => return Ok(()),
            Err(denied) => denied,
        };
        let object = match denied.reason {
            Why::Command => spec.name.as_bytes(),
            Why::Key | Why::Channel | Why::Group => {
                args.get(denied.at).copied().unwrap_or_default()
            }
        };
        let in_transaction = self.in_transaction || self.session.transaction.is_some();
        let client = Described::of_session(self.session, self.descriptor);
        let client = client.line(self.state, self.now);
        let user = self.state.acl.name(self.session.user).to_vec();
        let refused = Refused {
            refusal: Refusal::Denied(denied.reason),
            in_transaction,
            object,
            user,
            client,
        };
        self.state.note_refusal(refused, self.now.wall_ms);
        Err(denied)
    }
}

/// What was refused, and to whom.
pub(crate) struct Refused<'a> {
    pub(crate) refusal: Refusal,
    pub(crate) in_transaction: bool,
    pub(crate) object: &'a [u8],
    pub(crate) user: Vec<u8>,
    /// As CLIENT LIST describes it.
    pub(crate) client: String,
}

impl State {
    /// Puts a refusal into the log that ACL LOG shows.
    pub(crate) fn note_refusal(&mut self, refused: Refused<'_>, wall_ms: u64) {
        let Refused { refusal, in_transaction, object, user, client } = refused;
        let len_max = usize::try_from(self.config.number("acllog-max-len")).unwrap_or(usize::MAX);
        let entry = Entry {
            id: 0,
            count: 0,
            refusal,
            in_transaction,
            object: object.to_vec(),
            user,
            client: client.trim_end().to_owned(),
            created_ms: wall_ms,
            updated_ms: 0,
        };
        self.acl.log.note(entry, len_max);
    }
}

impl Context<'_> {
    /// Lets what a changed user may do now hold for its connections. Whether the own one ends.
    pub(crate) fn revoke(&mut self, user: UserNumber) -> bool {
        if self.state.acl.is_unrestricted(user) {
            return false;
        }
        let (mut out, mut asleep) = (Vec::new(), Vec::new());
        for other in self.others.iter().filter(|other| other.session.user == user) {
            if self.listens_in_vain(&other.session) {
                out.push(other.session.id);
            } else if self.sleeps_in_vain(&other.session) {
                asleep.push(other.session.id);
            }
        }
        for client in asleep {
            self.wake_refused(client);
        }
        self.throw_out(|session| out.contains(&session.id));
        self.session.user == user && self.listens_in_vain(self.session)
    }

    /// Ends the connections of a user who is no longer there. Whether the own one ends.
    pub(crate) fn throw_out_user(&mut self, user: UserNumber) -> bool {
        self.throw_out(|session| session.user == user);
        self.session.user == user
    }

    fn throw_out(&mut self, is_meant: impl Fn(&Session) -> bool) {
        for other in self.others.iter_mut().filter(|other| is_meant(&other.session)) {
            other.session.authenticated = false;
            other.session.user = UserNumber::DEFAULT;
            self.state.heads.leave(&mut other.session);
            other.broken = true;
            self.state.wake.push(other.token);
        }
    }

    /// Whether a connection listens to something that its user may not listen to.
    fn listens_in_vain(&self, session: &Session) -> bool {
        if !session.subscriptions.any() {
            return false;
        }
        let user = self.state.acl.user(session.user);
        let allows = |name: &[u8], is_pattern| {
            user.is_some_and(|user| user.allows_channel(name, is_pattern))
        };
        [Listening::Channel, Listening::Pattern, Listening::Shard].into_iter().any(|listening| {
            let is_pattern = listening == Listening::Pattern;
            let names = self.shard.listened(ClientId(session.id), listening);
            names.iter().any(|name| !allows(name, is_pattern))
        })
    }

    /// Whether a connection waits for entries that its user may not read.
    fn sleeps_in_vain(&self, session: &Session) -> bool {
        self.why_in_vain(session).is_some()
    }

    fn why_in_vain(&self, session: &Session) -> Option<Denied> {
        let blocked = session.blocked.as_ref().filter(|it| it.reason == Reason::Read)?;
        let names = blocked.keys.iter().map(Vec::as_slice);
        let mut args: Vec<&[u8]> =
            std::iter::once(blocked.spec.name.as_bytes()).chain(names).collect();
        let keys = (1..args.len()).map(|at| KeyUse { at, access: blocked.spec.access_of(at - 1) });
        let keys: Vec<_> = keys.collect();
        let group = blocked.group.as_ref().map_or(GroupUse::None, |_| GroupUse::At(args.len()));
        args.extend(blocked.group.as_deref());
        let (number, spec) = (blocked.number, blocked.spec);
        let wish = Wish { number, spec, args: &args, keys: Some(&keys), group };
        self.state.acl.check(session.user, &wish).err()
    }

    /// Wakes a reader with the error that it would get if it asked now.
    fn wake_refused(&mut self, client: u64) {
        let Some(other) = self.others.iter().find(|other| other.session.id == client) else {
            return;
        };
        let (Some(denied), Some(blocked)) =
            (self.why_in_vain(&other.session), other.session.blocked.as_ref())
        else {
            return;
        };
        let user = self.state.acl.name(other.session.user).to_vec();
        let spec = blocked.spec;
        let named = match denied.reason {
            Why::Group => blocked.group.clone(),
            _ => denied.at.checked_sub(1).and_then(|at| blocked.keys.get(at)).cloned(),
        };
        let object = named.unwrap_or_else(|| spec.name.as_bytes().to_vec());
        let error = WireError::no_permission(denied.reason, &user, spec.name);
        let line = Described::of(other).line(self.state, self.now);
        let refusal = Refusal::Denied(denied.reason);
        let refused =
            Refused { refusal, in_transaction: false, object: &object, user, client: line };
        self.state.note_refusal(refused, self.now.wall_ms);
        self.unblock(client, Some(&error));
    }
}
