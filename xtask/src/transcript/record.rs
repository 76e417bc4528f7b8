//! Recording: puts the replies of a live server into a transcript where it has none.
//!
//! Only requests without an expectation are filled in; what a person wrote is never overwritten.

use std::path::Path;

use anyhow::{Context as _, Result};

/// A reply to be written behind the line of its request.
#[derive(Debug)]
pub(crate) struct Recorded {
    /// Number of the request's line, from 1.
    pub(crate) line: usize,
    /// The reply in transcript notation.
    pub(crate) text: String,
}

/// Writes the replies into the file.
pub(crate) fn insert(path: &Path, recorded: &[Recorded]) -> Result<()> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    std::fs::write(path, merge(&text, recorded)).with_context(|| path.display().to_string())
}

fn merge(text: &str, recorded: &[Recorded]) -> String {
    let mut output = String::new();
    for (index, line) in text.lines().enumerate() {
        output.push_str(line);
        output.push('\n');
        // A repeated request is recorded once, with its first reply.
        if let Some(reply) = recorded.iter().find(|reply| reply.line == index + 1) {
            output.push_str(&reply.text);
            output.push('\n');
        }
    }
    output
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_go_behind_their_requests() {
        let recorded = [Recorded { line: 2, text: "+PONG".to_owned() }];
        assert_eq!(merge("== t\n> PING\n> PING\n+PONG\n", &recorded), {
            "== t\n> PING\n+PONG\n> PING\n+PONG\n"
        });
    }
}
