//! Writes a reply in the notation of transcripts, so that what a failure prints, and what
//! recording stores, can be pasted back as an expectation.

use super::reply::Reply;

/// Widest line before a list is broken into one line per item, in columns.
const COLUMNS_MAX: usize = 96;

/// The notation of `reply`, on one line if it fits.
pub(crate) fn render(reply: &Reply) -> String {
    match reply {
        Reply::Simple(text) if is_plain(text) => format!("+{}", String::from_utf8_lossy(text)),
        Reply::Error(text) if is_plain(text) => {
            let text = String::from_utf8_lossy(text);
            match text.strip_suffix(' ') {
                Some(start) => format!("-{start}<space>"),
                None => format!("-{text}"),
            }
        }
        other => block(other, 0),
    }
}

fn block(reply: &Reply, indent: usize) -> String {
    let line = one_line(reply);
    if line.len() + indent <= COLUMNS_MAX {
        return line;
    }
    let (open, items, close) = match reply {
        Reply::Array(items) => ("[", items_of(items, indent), "]"),
        Reply::Set(items) => ("set[", items_of(items, indent), "]"),
        Reply::Push(items) => ("push[", items_of(items, indent), "]"),
        Reply::Map(pairs) => {
            let lines = pairs
                .iter()
                .map(|(key, value)| format!("{}: {}", one_line(key), block(value, indent + 2)));
            ("{", lines.collect(), "}")
        }
        _ => return line,
    };
    let (margin, inner) = (" ".repeat(indent), " ".repeat(indent + 2));
    let items = items.join(&format!("\n{inner}"));
    format!("{open}\n{inner}{items}\n{margin}{close}")
}

/// One line per item; a flat list of fields and values, as XINFO has it, gets a line per pair.
fn items_of(items: &[Reply], indent: usize) -> Vec<String> {
    let is_flat_map = items.len() >= 4
        && items.len().is_multiple_of(2)
        && items.iter().step_by(2).all(|key| matches!(key, Reply::Bulk(_)))
        && items.iter().skip(1).step_by(2).any(|value| !matches!(value, Reply::Bulk(_)));
    if !is_flat_map {
        return items.iter().map(|item| block(item, indent + 2)).collect();
    }
    let pair = |two: &[Reply]| format!("{} {}", one_line(&two[0]), block(&two[1], indent + 2));
    items.chunks_exact(2).map(pair).collect()
}

fn one_line(reply: &Reply) -> String {
    let list = |items: &[Reply]| items.iter().map(one_line).collect::<Vec<_>>().join(" ");
    match reply {
        Reply::Simple(text) if is_word(text) => format!("+{}", String::from_utf8_lossy(text)),
        Reply::Simple(text) => format!("+{}", quoted(text)),
        Reply::Error(text) => format!("-{}", quoted(text)),
        Reply::Integer(number) => number.to_string(),
        Reply::Bulk(text) => quoted(text),
        Reply::Verbatim(text) => format!("txt{}", quoted(text)),
        Reply::NullBulk => "nil".to_owned(),
        Reply::NullArray => "nil-array".to_owned(),
        Reply::Null => "null".to_owned(),
        Reply::Boolean(value) => value.to_string(),
        Reply::Double(text) => format!(",{}", String::from_utf8_lossy(text)),
        Reply::Array(items) => format!("[{}]", list(items)),
        Reply::Set(items) => format!("set[{}]", list(items)),
        Reply::Push(items) => format!("push[{}]", list(items)),
        Reply::Map(pairs) => {
            let pair =
                |(key, value): &(Reply, Reply)| format!("{}: {}", one_line(key), one_line(value));
            format!("{{{}}}", pairs.iter().map(pair).collect::<Vec<_>>().join(" "))
        }
    }
}

fn quoted(text: &[u8]) -> String {
    let mut output = String::from("\"");
    for &byte in text {
        match byte {
            b'"' | b'\\' => output.extend(['\\', char::from(byte)]),
            b'\n' => output.push_str("\\n"),
            b'\r' => output.push_str("\\r"),
            b'\t' => output.push_str("\\t"),
            0x20..=0x7e => output.push(char::from(byte)),
            other => output.extend([format!("\\x{other:02x}")]),
        }
    }
    output.push('"');
    output
}

fn is_plain(text: &[u8]) -> bool {
    text.first().is_some_and(u8::is_ascii_alphabetic)
        && text.iter().all(|byte| (0x20..0x7f).contains(byte))
}

fn is_word(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(u8::is_ascii_alphanumeric)
}

#[cfg(test)]
mod tests {
    use super::super::pattern::Pattern;
    use super::super::words::Captures;
    use super::*;

    #[test]
    fn what_is_rendered_matches_again() {
        let long = Reply::Bulk(b"a \"quoted\" \\ value\r\n\x00\xff".repeat(3));
        let pairs = vec![(Reply::Bulk(b"key".to_vec()), Reply::Array(vec![long.clone(); 4]))];
        for reply in [
            Reply::Simple(b"OK".to_vec()),
            Reply::Error(b"ERR ends in a space ".to_vec()),
            Reply::Array(vec![Reply::Error(b"ERR x".to_vec()), Reply::Simple(b"a b".to_vec())]),
            Reply::Array(vec![Reply::NullBulk, Reply::NullArray, Reply::Null, Reply::Integer(-3)]),
            Reply::Map(pairs),
            Reply::Push(vec![Reply::Boolean(true), Reply::Double(b"1.5".to_vec())]),
            Reply::Array(vec![long.clone(), Reply::Integer(1), long, Reply::Set(vec![])]),
        ] {
            let text = render(&reply);
            let pattern = Pattern::parse(&text).unwrap();
            assert!(pattern.matches(&reply, &mut Captures::new()), "{text}");
        }
    }
}
