//! `levada bench`: load for any server that speaks RESP, and figures that can be compared.
//!
//! One thread drives all connections, so that the client needs one core. A latency begins when its
//! request was due, not when it could be sent: a server that stalls cannot hide it (coordinated
//! omission). Scripts decide what is sent, [`load`] carries it.
//!
//! - `options`: what the command line says. `run`: one case after the other.
//! - `wire`: requests and replies. `load`: the loop over the connections.
//! - `append`, `beside`, `group`, `deliver`, `ask`, `pass`: the scripts; `value`: what they append.
//! - `disk`: the device, without a server.
//! - `process`: what the server used meanwhile.
//! - `report`: the table, the CSV file and the picture.

mod append;
mod ask;
mod beside;
mod deliver;
mod disk;
mod group;
mod load;
mod options;
mod pass;
mod process;
mod report;
mod run;
mod value;
mod wire;

pub(crate) use self::options::Bench;
pub(crate) use self::run::run;
