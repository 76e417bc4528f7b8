//! Entries as `tail`, `replay` and `schedule` show them, each on a line, and which of them.

use std::fmt::Write as _;
use std::io::Write as _;

use anyhow::Result;
use clap::Args;
use serde_json::Value;

use crate::say;

/// Names and values, in order.
pub(crate) type Fields = Vec<(Vec<u8>, Vec<u8>)>;
/// Entries with their ids.
pub(crate) type Entries = Vec<(String, Fields)>;

/// What of an entry is shown.
#[derive(Args, Default)]
pub(crate) struct Form {
    /// Only entries whose field has this value; all that are given must hold.
    #[arg(long = "where", value_name = "FIELD=VALUE", value_parser = filter)]
    filters: Vec<(String, String)>,
    /// Only these fields.
    #[arg(long = "field", value_name = "FIELD")]
    fields: Vec<String>,
    /// Show values that are JSON as JSON, not as text.
    #[arg(long)]
    decode_json: bool,
}

fn filter(text: &str) -> Result<(String, String), &'static str> {
    let (field, value) = text.split_once('=').ok_or("it has no =")?;
    Ok((field.to_owned(), value.to_owned()))
}

impl Form {
    fn passes(&self, fields: &Fields) -> bool {
        let is = |(name, value): &(String, String)| {
            let wanted = (name.as_bytes(), value.as_bytes());
            fields.iter().any(|(name, value)| (name.as_slice(), value.as_slice()) == wanted)
        };
        self.filters.iter().all(is)
    }

    /// The fields that are asked for.
    fn asked<'f>(&self, fields: &'f Fields) -> impl Iterator<Item = &'f (Vec<u8>, Vec<u8>)> {
        let wanted = &self.fields;
        fields.iter().filter(move |(name, _)| {
            wanted.is_empty() || wanted.iter().any(|wanted| wanted.as_bytes() == name.as_slice())
        })
    }

    fn value(&self, value: &[u8]) -> Value {
        let decoded = self.decode_json.then(|| serde_json::from_slice(value).ok());
        decoded.flatten().unwrap_or_else(|| say::json(value))
    }

    /// For people: `name=value`, two spaces before each.
    pub(crate) fn text(&self, fields: &Fields) -> String {
        let mut line = String::new();
        for (name, value) in self.asked(fields) {
            let value = match self.value(value) {
                Value::String(_) => say::shown(value),
                other if self.decode_json => other.to_string(),
                _ => say::shown(value),
            };
            write!(line, "  {}={value}", say::shown(name)).expect("a string takes all");
        }
        line
    }

    /// For programs: an object of the fields.
    pub(crate) fn json(&self, fields: &Fields) -> Value {
        let fields = self.asked(fields).map(|(name, value)| (say::shown(name), self.value(value)));
        Value::Object(fields.collect())
    }
}

/// Shows entries of a stream on stdout, until it was enough.
pub(crate) struct Show<'a> {
    /// The stream that they stand in.
    pub(crate) stream: &'a str,
    /// What of each.
    pub(crate) form: &'a Form,
    /// As JSON.
    pub(crate) json: bool,
    /// How many more.
    pub(crate) left: usize,
}

impl Show<'_> {
    /// Shows what passes; `false` when that was enough, or nobody listens.
    pub(crate) fn all(&mut self, entries: &Entries) -> Result<bool> {
        let mut out = std::io::stdout().lock();
        for (id, fields) in entries {
            if self.left == 0 {
                return Ok(false);
            }
            if !self.form.passes(fields) {
                continue;
            }
            let line = match self.json {
                true => self.line(id, fields).to_string(),
                false => format!("{id}{}", self.form.text(fields)),
            };
            if !say::is_heard(writeln!(out, "{line}"))? {
                return Ok(false);
            }
            self.left -= 1;
        }
        Ok(self.left > 0 && say::is_heard(out.flush())?)
    }

    fn line(&self, id: &str, fields: &Fields) -> Value {
        serde_json::json!({ "stream": self.stream, "id": id, "fields": self.form.json(fields) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(pairs: &[(&str, &str)]) -> Fields {
        pairs
            .iter()
            .map(|(name, value)| (name.as_bytes().into(), value.as_bytes().into()))
            .collect()
    }

    #[test]
    fn what_is_asked_for_is_shown() {
        let entry = fields(&[("kind", "a"), ("body", "{\"n\":1}"), ("bad", "\u{1b}[2J")]);
        let form = Form {
            filters: vec![filter("kind=a").expect("a filter")],
            fields: vec!["body".to_owned()],
            decode_json: true,
        };
        assert!(form.passes(&entry) && !form.passes(&fields(&[("kind", "b")])));
        assert_eq!(form.text(&entry), "  body={\"n\":1}");
        assert_eq!(form.json(&entry).to_string(), "{\"body\":{\"n\":1}}");
        let whole = Form::default();
        assert_eq!(whole.text(&entry), "  kind=a  body={\"n\":1}  bad=\\u{1b}[2J");
        assert_eq!(whole.json(&entry)["body"], "{\"n\":1}");
    }
}
