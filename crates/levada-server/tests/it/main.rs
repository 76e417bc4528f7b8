//! The server over real sockets and a real directory.
//!
//! - `wire`: how bytes become requests and replies, whatever their sizes
//! - `session`: who may do what, and how connections end
//! - `blocking`: readers that wait
//! - `channels`: messages and who listens
//! - `groups`: users who may use some consumer groups
//! - `help`: that HELP names every subcommand
//! - `encrypted`, `certified`: TLS, and whom a certificate stands for
//! - `life`: starts, ends, restarts

mod blocking;
mod bounds;
mod certified;
mod channels;
mod compat;
mod cve;
mod encrypted;
mod groups;
mod help;
mod life;
mod limits;
mod metrics;
mod rig;
mod session;
mod wire;
