//! LATENCY LATEST, LATENCY HISTORY event, LATENCY RESET \[event ...], LATENCY HISTOGRAM
//! \[command ...]
//!
//! No event is sampled, as in a Redis whose `latency-monitor-threshold` is 0: all answers are
//! empty. Times of commands are in INFO commandstats.

use super::{BASE, CONTAINER, OPERATOR};
use crate::context::Context;
use crate::spec::{CommandSpec, Request, Run, Then};
use crate::wire_error::WireError;

const LATENCY: CommandSpec = CommandSpec {
    since: "2.8.13",
    group: "server",
    arity: -2,
    flags: OPERATOR,
    run: Run::Server(nothing),
    ..BASE
};

pub(super) const SPEC: CommandSpec = CommandSpec {
    name: "latency",
    syntax: "subcommand ...",
    summary: "Answers that no latency event was sampled.",
    since: "2.8.13",
    group: "server",
    subcommands: &[
        CommandSpec {
            name: "latency|histogram",
            syntax: "[command ...]",
            summary: "Answers no histograms.",
            since: "7.0.0",
            run: Run::Server(no_histograms),
            ..LATENCY
        },
        CommandSpec {
            name: "latency|history",
            syntax: "event",
            summary: "Answers no samples.",
            arity: 3,
            ..LATENCY
        },
        CommandSpec { name: "latency|latest", summary: "Answers no samples.", arity: 2, ..LATENCY },
        CommandSpec {
            name: "latency|reset",
            syntax: "[event ...]",
            summary: "Answers that no event was forgotten.",
            run: Run::Server(reset),
            ..LATENCY
        },
    ],
    ..CONTAINER
};

#[expect(clippy::unnecessary_wraps, reason = "the type of every command")]
fn nothing(context: &mut Context<'_>, _: &Request<'_>) -> Result<Then, WireError> {
    context.output.write().array(0);
    Ok(Then::Done)
}

#[expect(clippy::unnecessary_wraps, reason = "the type of every command")]
fn no_histograms(context: &mut Context<'_>, _: &Request<'_>) -> Result<Then, WireError> {
    context.output.write().map(0);
    Ok(Then::Done)
}

#[expect(clippy::unnecessary_wraps, reason = "the type of every command")]
fn reset(context: &mut Context<'_>, _: &Request<'_>) -> Result<Then, WireError> {
    context.output.write().integer(0);
    Ok(Then::Done)
}
