//! `levada bench`, and `levada import` and `levada export` between real servers.
//!
//! - `bench`: the load generator, on tiny input.
//! - `rig`: starts a Levada and a Redis, runs the program, and compares what servers hold.
//! - `deploy`: rules and dashboard, and the pages about them.
//! - `fill`: streams with all that can be in one, from a seed.
//! - `guide`: the commands of the guide pages, as they stand there.
//! - `janitor`: trims, and tells what is amiss.
//! - `tls`: a client that is not ours, and certificates that change.
//! - `policies`: from the settings, and carried.
//! - `transfer`: what is carried, what is refused, what survives being killed.
//!
//! Without a redis-server (`REDIS_SERVER` names another one than the installed) the tests that need
//! one say so and pass; with `CI=true` they fail.

mod bench;
mod deploy;
mod fill;
mod guide;
mod janitor;
mod policies;
mod rig;
mod tls;
mod transfer;
