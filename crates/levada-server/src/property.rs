//! What must hold for any bytes at all, for the fuzzer and its corpus.

use crate::config::Config;

/// CONFIG SET with any names and values, separated by zero bytes: what is accepted is shown, and
/// what is shown is accepted again and stays the same.
///
/// # Panics
///
/// If it is not so.
pub fn config_any(bytes: &[u8]) {
    let words: Vec<&[u8]> = bytes.split(|byte| *byte == 0).collect();
    let pairs = &words[..words.len() / 2 * 2];
    let mut config = Config::new();
    let Ok(names) = config.set(pairs) else {
        return;
    };
    for name in names {
        let shown = config.get(name).to_owned();
        let mut again = Config::new();
        let set = again.set(&[name.as_bytes(), shown.as_bytes()]);
        assert!(set.is_ok(), "{name} shows {shown:?}, which is refused");
        assert_eq!(again.get(name), shown, "{name}");
    }
    let shown = config.matching(&[b"*"]).len();
    assert!(words.iter().all(|pattern| config.matching(&[pattern]).len() <= shown));
}
