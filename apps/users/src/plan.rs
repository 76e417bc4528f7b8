//! Who registers and what they change: a rule, so that the comparison can be a plain loop.

use crate::event::{Change, What};

/// The receiver of mails knows nobody under a name that begins like this.
pub(crate) const UNKNOWN: &str = "nobody";

/// Users between a registration and the change that is asked for with it.
const DISTANCE: u64 = 5;

pub(crate) fn user(number: u64) -> String {
    format!("user-{number:05}")
}

/// The address of a user; of some the mails cannot be delivered, ever.
pub(crate) fn mail(number: u64) -> String {
    let name = if number.is_multiple_of(20) { UNKNOWN } else { "reader" };
    format!("{name}-{number}@mail.example")
}

/// Everything that is asked for, in order.
pub(crate) fn requests(users: u64) -> Vec<Change> {
    (1..=users + DISTANCE).flat_map(|number| around(number, users)).collect()
}

fn around(number: u64, users: u64) -> Vec<Change> {
    let mut changes = Vec::new();
    let change = |verb: &str, number: u64, what: What| {
        let user = user(number);
        Change { request: format!("{verb} {user}"), user, what }
    };
    if number <= users {
        let (name, mail) = (format!("Reader {number}"), mail(number));
        changes.push(change("register", number, What::Registered { name, mail }));
    }
    if number > DISTANCE {
        let number = number - DISTANCE;
        let what = match number % 4 {
            0 => What::Closed,
            1 => What::Renamed { name: format!("Writer {number}") },
            2 => What::Moved { town: format!("Town {}", number % 7) },
            // It is not there, and nothing comes of it.
            _ => return [changes, vec![change("close", number + users, What::Closed)]].concat(),
        };
        changes.push(change("change", number, what));
    }
    changes
}

/// Whether the request comes twice: a second click.
pub(crate) fn is_clicked_twice(index: usize) -> bool {
    index.is_multiple_of(7)
}
