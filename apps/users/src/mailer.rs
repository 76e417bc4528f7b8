//! The group `mailer`: sends the mails of the queue by SMTP.
//!
//! # What a mail can promise
//! At least once, and no more. The mark that a mail is done is written behind the answer of the
//! mail system, and SMTP has nothing that could be one step with it: a process that is killed
//! between the two has sent a mail that nobody remembers, and sends it again. What can be done is
//! done: marks close every other gap, and both copies have the same Message-ID, the id of the
//! event, by which mail programs show one of them.

use std::time::Duration;

use lettre::message::header::ContentType;
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor};
use levada::{Broker, Fault, Marks, Msg, Retry, State, Worker};

use crate::event::{Mail, message_id};

pub(crate) const GROUP: &str = "mailer";
/// Mails that are sent at the same time, and so the most that a kill can have sent again.
pub(crate) const CONCURRENCY: usize = 4;

type Post = AsyncSmtpTransport<Tokio1Executor>;

/// Sends to the mail system at a port of this machine, without TLS: a relay beside us.
pub(crate) fn worker(broker: &Broker, port: u16) -> Worker<Post> {
    let post = Post::builder_dangerous("127.0.0.1").port(port).build();
    // A mail system may be down for a night. Nothing waits for it but the mails.
    let retry = Retry::fixed(100_000, Duration::from_millis(200));
    let worker = Worker::new(broker, GROUP).state(post).handle(send).retry(retry);
    let marks = Marks::new(broker, Duration::from_hours(24));
    worker.idempotent(marks).concurrency(CONCURRENCY).timeout(Duration::from_mins(1))
}

async fn send(State(post): State<Post>, Msg(mail): Msg<Mail>) -> Result<(), Fault> {
    // Addresses that are none will not be any at the next attempt.
    let wrong = |error: &dyn std::fmt::Display| Fault::permanent(error);
    let to = mail.to.parse().map_err(|error: lettre::address::AddressError| wrong(&error))?;
    let from = "hello@users.example".parse().map_err(|error| {
        let error: lettre::address::AddressError = error;
        wrong(&error)
    })?;
    let message = Message::builder()
        .message_id(Some(format!("<{}>", message_id(&mail.cause))))
        .from(from)
        .to(to)
        .subject("Welcome")
        .header(ContentType::TEXT_PLAIN)
        .body(format!("Dear {},\n\nyour account is there.\n", mail.name))
        .map_err(|error| wrong(&error))?;
    match post.send(message).await {
        Ok(_) => Ok(()),
        Err(error) if error.is_permanent() => Err(wrong(&error)),
        Err(error) => Err(error.into()),
    }
}
