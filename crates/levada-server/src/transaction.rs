//! MULTI, EXEC and WATCH of a connection, mapped onto the engine's atomic batches.
//!
//! What EXEC runs becomes one batch of the log, and its reply leaves as one: when the strictest of
//! its parts may.

use crate::dispatch::{Ran, Turn};
use crate::engine::ClientId;
use crate::registry::CommandNumber;
use crate::session::Transaction;
use crate::spec::{Request, Run, Transactional};
use crate::wire_error::WireError;

impl Turn<'_> {
    /// Runs a command about transactions.
    pub(crate) fn transact(
        &mut self,
        number: CommandNumber,
        request: &Request<'_>,
        transactional: Transactional,
    ) -> Ran {
        let queued = self.session.transaction.is_some();
        match transactional {
            Transactional::Multi if queued => return self.fail(number, &WireError::MULTI_NESTED),
            Transactional::Multi => self.session.transaction = Some(Box::default()),
            Transactional::Exec => return self.exec(number),
            Transactional::Discard if !queued => {
                return self.fail(number, &WireError::DISCARD_WITHOUT_MULTI);
            }
            Transactional::Discard => {
                self.session.transaction = None;
                self.unwatch();
            }
            Transactional::Watch if queued => {
                return self.fail(number, &WireError::WATCH_INSIDE_MULTI);
            }
            Transactional::Watch => {
                for key in request.keys(1) {
                    self.shard.watch(self.now, ClientId(self.session.id), key);
                    self.session.watched += 1;
                }
            }
            Transactional::Unwatch => self.unwatch(),
        }
        self.output().write().ok();
        Ran::Done
    }

    pub(crate) fn unwatch(&mut self) {
        if self.session.watched > 0 {
            self.session.watched = 0;
            self.shard.unwatch(ClientId(self.session.id));
        }
    }

    fn exec(&mut self, number: CommandNumber) -> Ran {
        let Some(transaction) = self.session.transaction.take() else {
            return self.fail(number, &WireError::EXEC_WITHOUT_MULTI);
        };
        let client = ClientId(self.session.id);
        if !transaction.failed && !self.prefetch(&transaction) {
            self.session.transaction = Some(transaction);
            return Ran::NeedBlocks;
        }
        let broken = self.session.watched > 0 && self.shard.is_watch_broken(self.now, client);
        self.unwatch();
        if transaction.failed {
            return self.fail(number, &WireError::EXEC_ABORTED);
        }
        if broken {
            self.output().write().null_array();
            return Ran::Done;
        }
        self.run_all(&transaction)
    }

    /// Looks ahead at all commands, so that the blocks that they need are read together and before
    /// any of them runs; `false` while some are on their way.
    fn prefetch(&mut self, transaction: &Transaction) -> bool {
        let (mut args, mut here) = (Vec::new(), true);
        for queued in transaction.commands() {
            let spec = self.state.registry.spec(queued.number);
            let Run::Engine(parse, _) = spec.run else {
                continue;
            };
            transaction.args(*queued, &mut args);
            let (database, now) = (self.session.database, self.now);
            let request = Request { args: &args, database, now, spec, random: 0 };
            // What is wrong with a command is told when it runs.
            if let Ok(asked) = parse(&request) {
                let client = ClientId(self.session.id);
                here &= self.shard.prefetch(now, client, &asked.command);
            }
        }
        here
    }

    /// Runs the queue as one batch. A connection that kills itself in it gets its reply first.
    fn run_all(&mut self, transaction: &Transaction) -> Ran {
        self.shard.transaction_begin();
        self.in_transaction = true;
        self.output().write().array(transaction.len());
        let (mut args, mut all) = (Vec::new(), Ran::Done);
        for queued in transaction.commands() {
            transaction.args(*queued, &mut args);
            // Rights may have gone since it was queued, by a command before it in this queue too.
            if !self.state.acl.is_unrestricted(self.session.user)
                && let Err(denied) = self.permit(queued.number, &args)
            {
                self.fail(queued.number, &WireError::rights_changed(denied.reason));
                continue;
            }
            match self.run(queued.number, &args) {
                Ran::Done => {}
                Ran::Close => all = Ran::Close,
                ran => unreachable!("{ran:?}: inside EXEC nothing waits, nor does the server end"),
            }
        }
        self.in_transaction = false;
        self.shard.transaction_end(self.now);
        all
    }
}
