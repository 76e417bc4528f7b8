//! The program as an operator runs it, against real servers.
//!
//! - `add`: entries from the command line and from stdin.
//! - `backup`: copies of a directory that a server is using.
//! - `bench`: the load generator, on tiny input.
//! - `rig`: starts a Levada and a Redis, runs the program, and compares what servers hold.
//! - `dashboard`: its pages, what they change and what they refuse; `browser` asks for them.
//! - `deploy`: rules and dashboard, and the pages about them.
//! - `fill`: streams with all that can be in one, from a seed.
//! - `groups`: groups, consumers, and what is pending.
//! - `guide`: the commands of the guide pages, as they stand there.
//! - `hostile`: what hostile clients take of a process.
//! - `janitor`: trims, and tells what is amiss.
//! - `log`: what the server says, in both formats.
//! - `restart`: by SIGTERM, under load.
//! - `tls`: nothing else is spoken, to redis-cli and to each subcommand; certificates that change.
//! - `operate`: lag, tail, dead letters, colour, completions.
//! - `replay`: a part of a stream again, and groups that are set back.
//! - `schedule`: what is scheduled, shown and cancelled.
//! - `settings_page`: docs/settings.md is what the program says.
//! - `supervisor`: what systemd hears, and `ping`.
//! - `policies`: from the settings, and carried.
//! - `upgrade`: directories as released formats have them.
//! - `transfer`: what is carried, what is refused, what survives being killed.
//!
//! Without a redis-server (`REDIS_SERVER` names another one than the installed) the tests that need
//! one say so and pass; with `CI=true` they fail.

mod add;
mod backup;
mod bench;
mod browser;
mod dashboard;
mod deploy;
mod fill;
mod groups;
mod guide;
mod hostile;
mod janitor;
mod log;
mod operate;
mod policies;
mod replay;
mod restart;
mod rig;
mod schedule;
mod settings_page;
mod supervisor;
mod tls;
mod transfer;
mod upgrade;
