//! The commands of a page, and what they are said to print.

/// A block of commands.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Step {
    /// Where it begins, from 1 on.
    line: usize,
    pub(super) script: String,
    /// What it prints, if the page says so.
    pub(super) expect: Option<String>,
}

impl Step {
    /// Where it stands, for messages.
    pub(super) fn place(&self, page: &str) -> String {
        format!("{page}:{}: {}", self.line, self.script.trim())
    }
}

/// A fence with its language and what is in it.
#[derive(Debug)]
struct Fence<'a> {
    line: usize,
    language: &'a str,
    text: String,
    /// Nothing but empty lines stands between the fence before and this one.
    follows: bool,
}

/// All blocks that are run, in order.
pub(super) fn steps(text: &str) -> Vec<Step> {
    let fences = fences(text);
    let of = |(at, fence): (usize, &Fence<'_>)| {
        let next: Option<&Fence<'_>> = fences.get(at + 1);
        let expect = next.filter(|next| next.follows && next.language == "text");
        (fence.language == "sh run").then(|| Step {
            line: fence.line,
            script: fence.text.clone(),
            expect: expect.map(|next| next.text.clone()),
        })
    };
    fences.iter().enumerate().filter_map(of).collect()
}

/// Blocks for a shell that are not run and do not say why: `sh not-run: REASON`.
pub(super) fn unexplained(page: &str, text: &str) -> Vec<String> {
    let is_explained = |language: &str| match language.strip_prefix("sh") {
        Some(" run") => true,
        Some(why) => why.strip_prefix(" not-run: ").is_some_and(|why| !why.is_empty()),
        None => !["bash", "shell", "console"].contains(&language),
    };
    let fences = fences(text);
    let wrong = fences.iter().filter(|fence| !is_explained(fence.language));
    wrong.map(|fence| format!("{page}:{}: not run, and does not say why", fence.line)).collect()
}

/// Blocks of a language whose lines stand together in none of these sources.
pub(super) fn uncompiled(
    page: &str,
    text: &str,
    language: &str,
    sources: &[String],
) -> Vec<String> {
    let flat = |text: &str| {
        let lines = text.lines().map(|line| format!("\n{}", line.trim()));
        lines.collect::<String>() + "\n"
    };
    let sources: Vec<_> = sources.iter().map(|source| flat(source)).collect();
    let fences = fences(text);
    let wrong = fences.iter().filter(|fence| {
        let block = flat(&fence.text);
        fence.language == language && !sources.iter().any(|source| source.contains(&block))
    });
    wrong.map(|fence| format!("{page}:{}: stands in no file that compiles", fence.line)).collect()
}

fn fences(text: &str) -> Vec<Fence<'_>> {
    let mut fences = Vec::new();
    let mut lines = text.lines().enumerate();
    let mut follows = false;
    while let Some((index, line)) = lines.next() {
        let indent = line.len() - line.trim_start().len();
        match line.trim_start().strip_prefix("```") {
            Some(language) => {
                let inside = lines.by_ref().map(|(_, line)| line);
                let inside = inside.map(|line| line.get(indent..).unwrap_or(line.trim_start()));
                let text: Vec<_> = inside.take_while(|line| *line != "```").collect();
                let text = text.join("\n") + "\n";
                fences.push(Fence { line: index + 1, language: language.trim(), text, follows });
                follows = true;
            }
            None => follows &= line.trim().is_empty(),
        }
    }
    fences
}

/// Whether what was printed is what the page says; see the module above for what differs.
pub(super) fn is_meant(printed: &str, expect: &str) -> bool {
    let lines = |text: &str| -> Vec<String> { text.trim_end().lines().map(plain).collect() };
    lines_fit(&lines(printed), &lines(expect))
}

fn lines_fit(printed: &[String], expect: &[String]) -> bool {
    match expect.split_first() {
        None => printed.is_empty(),
        Some((any, rest)) if any == "..." => {
            (0..=printed.len()).any(|skipped| lines_fit(&printed[skipped..], rest))
        }
        Some((line, rest)) => printed
            .split_first()
            .is_some_and(|(first, others)| line_fits(first, line) && lines_fit(others, rest)),
    }
}

/// Whether the parts of a line stand in it in order, its beginning and end in their places.
fn line_fits(printed: &str, expect: &str) -> bool {
    let Some((begin, rest)) = expect.split_once("...") else {
        return printed == expect;
    };
    let Some(printed) = printed.strip_prefix(begin) else {
        return false;
    };
    let mut ends = printed.char_indices().map(|(at, _)| at).chain([printed.len()]);
    ends.any(|at| line_fits(&printed[at..], rest))
}

/// A line with every id that has the time of day in it, and every age, replaced by one word, and
/// with columns that are one space apart: how wide they are depends on the ages.
fn plain(line: &str) -> String {
    let line = line.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut plain = String::new();
    let mut rest = line.as_str();
    while let Some(at) = rest.find(|letter: char| letter.is_ascii_digit()) {
        plain.push_str(&rest[..at]);
        rest = &rest[at..];
        let (number, behind) = rest.split_at(digits(rest));
        let sequence = behind.strip_prefix('-').map_or(0, digits);
        let unit = behind.split(' ').next().unwrap_or_default();
        if number.len() == 13 && sequence > 0 {
            plain.push_str("ID");
            rest = &behind[1 + sequence..];
        } else if ["ms", "s", "m", "h", "d"].contains(&unit) {
            plain.push_str("AGE");
            rest = &behind[unit.len()..];
        } else {
            plain.push_str(number);
            rest = behind;
        }
    }
    plain + rest
}

fn digits(text: &str) -> usize {
    text.bytes().take_while(u8::is_ascii_digit).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_and_what_they_print_are_found() {
        let text = "a\n```sh run\nx\ny\n```\n\n```text\n1\n```\n```sh\nno\n```\n\n\
                    ```sh run\nz\n```\nb\n```text\nof no command\n```\n";
        let steps = steps(text);
        let step = |line, script: &str, expect: Option<&str>| Step {
            line,
            script: script.to_owned(),
            expect: expect.map(str::to_owned),
        };
        assert_eq!(steps, [step(2, "x\ny\n", Some("1\n")), step(14, "z\n", None)]);
        let within = super::steps("1. a:\n\n   ```sh run\n   x\n\n     y\n   ```\n\n   b\n");
        assert_eq!(within, [step(3, "x\n\n  y\n", None)]);
    }

    #[test]
    fn examples_stand_in_files_that_compile() {
        let sources = ["fn f() {\n\ta();\n\tb();\n}\n".to_owned()];
        let wrong =
            |block: &str| uncompiled("p", &format!("```go\n{block}\n```\n"), "go", &sources).len();
        assert_eq!(wrong("a();\nb();"), 0);
        assert_eq!(wrong("    a();"), 0);
        assert_eq!(wrong("a();\nc();"), 1);
        assert_eq!(wrong("a()"), 1);
        assert!(uncompiled("p", "```js\nx\n```\n", "go", &sources).is_empty());
    }

    #[test]
    fn what_is_not_run_says_why() {
        let check = |language: &str, count: usize| {
            let text = format!("a\n```{language}\nx\n```\n");
            assert_eq!(unexplained("p", &text).len(), count, "{language}");
        };
        check("sh run", 0);
        check("sh not-run: it asks systemd", 0);
        check("sh not-run: ", 1);
        check("sh", 1);
        check("bash", 1);
        check("", 0);
        check("rust", 0);
    }

    #[test]
    fn what_may_differ_may_and_nothing_else() {
        let check = |printed: &str, expect: &str, fits: bool| {
            assert_eq!(is_meant(printed, expect), fits, "{printed:?} {expect:?}");
        };
        check("OK\n", "OK\n", true);
        check("OK\n", "ok\n", false);
        check("\"1795240712780-0\"", "\"1700000000000-12\"", true);
        check("\"1795240712780-0\"", "\"1-1\"", false);
        check("a\nb\nc\n", "a\n...\nc\n", true);
        check("a\nc\n", "a\n...\nc\n", true);
        check("a\nb\n", "a\n...\nc\n", false);
        check("orders  g  5   12ms", "orders  g  5  3s", true);
        check("orders  g  5   12ms", "orders  g  6  3s", false);
        check("12ms", "-", false);
        check("lag 5, 12 ms old", "lag 5, ... old", true);
        check("lag 6, 12 ms old", "lag 5, ... old", false);
        check("OK\nmore\n", "OK\n", false);
        check("", "OK\n", false);
    }
}
