//! Functions fit on a screen: a ratchet. Those in the list of known ones may be long until they
//! are shortened; then their line must go, so that the list only shrinks.

use super::files::File;
use super::source::blank;

/// Longest function, from the line of `fn` to its closing brace, both included.
const LINES_MAX: usize = 70;

/// Complains about long functions that are not known and about known ones that are not long.
/// `known` holds lines of the form `path name`; `#` starts a comment.
pub(crate) fn check(files: &[&File], known: &str) -> Vec<String> {
    let mut known: Vec<&str> = known
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default().trim())
        .filter(|line| !line.is_empty())
        .collect();
    let mut all = Vec::new();
    for file in files {
        for function in functions(file.text()).into_iter().filter(|f| f.lines > LINES_MAX) {
            let name = format!("{} {}", file.path, function.name);
            if let Some(at) = known.iter().position(|known| *known == name) {
                known.swap_remove(at);
            } else {
                let Function { name, line, lines } = function;
                all.push(format!("{}:{line}: {name} is {lines} lines long; split it", file.path));
            }
        }
    }
    let stale =
        |name| format!("{}: {name:?} is not long any more; remove it", super::LONG_FUNCTIONS);
    all.extend(known.into_iter().map(stale));
    all
}

struct Function {
    name: String,
    line: usize,
    lines: usize,
}

/// Every function with a body.
fn functions(text: &str) -> Vec<Function> {
    let code = blank(text);
    let bytes = code.as_bytes();
    let mut all = Vec::new();
    for (at, _) in code.match_indices("fn ") {
        let is_word = at == 0 || !(bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_');
        let name: String = code[at + 3..]
            .chars()
            .take_while(|character| character.is_alphanumeric() || *character == '_')
            .collect();
        if !is_word || name.is_empty() {
            continue;
        }
        if let Some(end) = body_end(bytes, at) {
            let breaks = |part: &str| part.matches('\n').count();
            let line = breaks(&code[..at]) + 1;
            all.push(Function { name, line, lines: breaks(&code[at..end]) + 1 });
        }
    }
    all
}

/// The position behind the closing brace of the function at `at`; `None` if it has no body.
fn body_end(bytes: &[u8], at: usize) -> Option<usize> {
    let (mut braces, mut brackets) = (0_usize, 0_i32);
    for (index, byte) in bytes.iter().enumerate().skip(at) {
        match byte {
            // The semicolon of `[u8; 4]` in a signature does not end it.
            b';' if braces == 0 && brackets == 0 => return None,
            b'[' | b'(' => brackets += 1,
            b']' | b')' => brackets -= 1,
            b'{' => braces += 1,
            b'}' => {
                braces = braces.checked_sub(1)?;
                if braces == 0 {
                    return Some(index + 1);
                }
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn function(lines: usize) -> String {
        format!("fn f(x: [u8; 4]) {{{}}}\n", "\n".repeat(lines - 1))
    }

    #[test]
    fn the_limit_is_the_limit() {
        assert!(check(&[&File::new("a.rs", &function(70))], "").is_empty());
        let long = check(&[&File::new("a.rs", &function(71))], "");
        assert_eq!(long, ["a.rs:1: f is 71 lines long; split it"]);
    }

    #[test]
    fn known_functions_may_be_long_until_they_are_short() {
        let known = "# why\na.rs f\n";
        assert!(check(&[&File::new("a.rs", &function(71))], known).is_empty());
        assert_eq!(check(&[&File::new("a.rs", &function(9))], known).len(), 1);
        assert_eq!(check(&[&File::new("b.rs", &function(71))], known).len(), 2);
    }

    #[test]
    fn braces_in_text_and_declarations_do_not_count() {
        let text = "trait T { fn a(&self); fn b() { \"}\"; '}'; /* } */ } }\nfn c() {}\n";
        let found: Vec<_> = functions(text).into_iter().map(|f| (f.name, f.lines)).collect();
        assert_eq!(found, [("b".to_owned(), 1), ("c".to_owned(), 1)]);
    }
}
