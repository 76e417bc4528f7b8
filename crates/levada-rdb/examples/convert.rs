//! Writes a payload of DUMP for another RDB version: `convert 10 < payload > payload-for-redis-7.0`

use std::{
    env,
    error::Error,
    io::{Read, Write, stdin, stdout},
};

use levada_rdb::{StreamWriter, Value, decode, encode_text};

fn main() -> Result<(), Box<dyn Error>> {
    let version: u16 = env::args().nth(1).ok_or("usage: convert VERSION")?.parse()?;
    let mut payload = Vec::new();
    stdin().read_to_end(&mut payload)?;
    let converted = match decode(&payload, 1 << 30)? {
        Value::Text(text) => encode_text(&text, version),
        Value::Stream(stream) => {
            let mut writer = StreamWriter::new(version);
            for node in &stream.nodes {
                for entry in node.entries() {
                    writer.push(entry.id, &entry.fields);
                }
            }
            writer.finish(&stream.ids, &stream.groups, stream.idmp.as_ref())
        }
        Value::Unsupported(kind) => return Err(format!("no {kind} can be converted").into()),
    };
    Ok(stdout().write_all(&converted)?)
}
