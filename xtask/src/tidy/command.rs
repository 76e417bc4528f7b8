//! Every command of the server has a transcript of its name: what is not shown is not promised.

use super::files::File;

const COMMANDS: &str = "crates/levada-server/src/command";
const TRANSCRIPTS: &str = "tests/transcripts";
/// Files of that directory which hold no command.
const NO_COMMANDS: &[&str] = &["mod"];

/// Complains about command files without a transcript. `memory_usage.rs` asks for
/// `memory-usage.txt`.
pub(crate) fn check(files: &[File]) -> Vec<String> {
    let transcripts: Vec<&str> =
        files.iter().filter_map(|file| file.stem_in(TRANSCRIPTS, "txt")).collect();
    let commands = files.iter().filter_map(|file| file.stem_in(COMMANDS, "rs"));
    commands
        .filter(|command| !NO_COMMANDS.contains(command))
        .map(|command| command.replace('_', "-"))
        .filter(|command| !transcripts.contains(&command.as_str()))
        .map(|command| format!("{TRANSCRIPTS}/{command}.txt: no transcript of this command"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_without_a_transcript_is_found() {
        let command = |name| File::new(&format!("{COMMANDS}/{name}.rs"), "");
        let transcript = |name| File::new(&format!("{TRANSCRIPTS}/{name}.txt"), "");
        let files =
            [command("mod"), command("xadd"), command("memory_usage"), transcript("memory-usage")];
        assert_eq!(check(&files), ["tests/transcripts/xadd.txt: no transcript of this command"]);
        let files = [command("xadd"), transcript("xadd")];
        assert!(check(&files).is_empty());
    }
}
