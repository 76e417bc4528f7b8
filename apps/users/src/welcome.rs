//! The group `welcome`: who has registered gets a mail. It writes the mail into the queue and no
//! more: whether the mail system is up is not its business.

use levada::{Broker, Fault, Id, Msg, Producer, Worker};

use crate::event::{Change, Mail, What};

pub(crate) const GROUP: &str = "welcome";

pub(crate) fn worker(broker: &Broker) -> Worker {
    Worker::new(broker, GROUP).handle(welcome)
}

async fn welcome(Id(id): Id, producer: Producer, Msg(change): Msg<Change>) -> Result<(), Fault> {
    if let What::Registered { name, mail } = change.what {
        // Killed behind this line it is sent again, under the same key: one entry.
        producer.send(&Mail { cause: id.to_string(), to: mail, name }).await?;
    }
    Ok(())
}
