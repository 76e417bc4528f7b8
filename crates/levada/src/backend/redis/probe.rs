//! What a server is and can do, read from what it says of itself.

use redis::Value;

use super::parse::text_of;
use crate::capabilities::Capabilities;

/// Commands whose presence is asked for, in this order.
pub(super) const COMMANDS: [&str; 5] = ["XNACK", "XACKDEL", "XSCHED", "XDLQ", "ZADD"];

/// Makes sense of INFO and of COMMAND INFO over [`COMMANDS`].
pub(super) fn capabilities(info: &str, commands: &Value) -> Capabilities {
    let field = |name: &str| {
        info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
    };
    let has = |command: &str| {
        let at = COMMANDS.iter().position(|name| *name == command);
        let row = at.and_then(|at| rows(commands).get(at));
        row.is_some_and(|row| !rows(row).is_empty())
    };
    let levada = field("levada_version");
    let valkey = field("valkey_version");
    let redis = field("redis_version").unwrap_or("0");
    let server = match (levada, valkey) {
        (Some(version), _) => format!("Levada {version}"),
        (None, Some(version)) => format!("Valkey {version}"),
        (None, None) => format!("Redis {redis}"),
    };
    let is_levada = levada.is_some();
    // Valkey announces a Redis version for clients that ask for it; it has none of these.
    let since = |wanted| is_levada || valkey.is_none() && version(redis) >= wanted;
    Capabilities {
        durable: is_levada,
        idempotent_append: since((8, 6)),
        leases: is_levada,
        redrive: has("XDLQ"),
        nack: has("XNACK"),
        ack_delete: has("XACKDEL"),
        claim_on_read: since((8, 4)),
        schedule: has("XSCHED"),
        sorted_sets: has("ZADD"),
        read_limit: since((8, 10)),
        order_by: false,
        retention: is_levada,
        ..Capabilities::plain(server)
    }
}

fn rows(value: &Value) -> &[Value] {
    match value {
        Value::Array(rows) => rows,
        _ => &[],
    }
}

fn version(text: &str) -> (u32, u32) {
    let mut parts = text.split('.').map(|part| part.parse().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
}

/// INFO as text.
pub(super) fn info_text(value: &Value) -> String {
    text_of(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(info: &str, present: &[&str]) -> Capabilities {
        let row = |name: &&str| match present.contains(name) {
            true => Value::Array(vec![Value::BulkString(name.as_bytes().to_vec())]),
            false => Value::Nil,
        };
        capabilities(info, &Value::Array(COMMANDS.iter().map(row).collect()))
    }

    #[test]
    fn servers_are_told_apart() {
        let redis = check("redis_version:7.0.15\r\n", &["ZADD"]);
        assert_eq!(redis.server, "Redis 7.0.15");
        assert!(redis.sorted_sets && !redis.idempotent_append && !redis.leases);
        let redis = check("redis_version:8.6.3\r\n", &["ZADD", "XACKDEL"]);
        assert!(redis.idempotent_append && redis.ack_delete && !redis.nack && !redis.read_limit);
        let valkey = check("redis_version:8.6.0\r\nvalkey_version:9.1.2\r\n", &["ZADD"]);
        assert_eq!(valkey.server, "Valkey 9.1.2");
        assert!(!valkey.idempotent_append);
        let levada = check("redis_version:8.6.3\r\nlevada_version:0.1.0\r\n", &["XNACK"]);
        assert!(levada.leases && levada.nack && levada.durable && !levada.sorted_sets);
    }
}
