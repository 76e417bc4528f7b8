//! Settings as a file that can be read again, with a comment for each: `levada config`. Passwords
//! are not shown.

use std::fmt;
use std::path::Path;

use super::Settings;

impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
        let bind: Vec<_> = self.bind.iter().map(|address| quoted(&address.to_string())).collect();
        writeln!(f, "# Port to listen on; 0 takes a free one.\nport = {}\n", self.port)?;
        writeln!(
            f,
            "# Addresses to listen on. Others than loopback need a password.\nbind = [{}]\n",
            bind.join(", ")
        )?;
        self.show_tls(f)?;
        let dir = quoted(&self.dir.display().to_string());
        writeln!(f, "# Where the data lie; created where it is missing.\ndir = {dir}\n")?;
        let password = if self.requirepass.is_empty() { "" } else { "(not shown)" };
        writeln!(
            f,
            "# Password that clients must give; empty for none.\n{}requirepass = {}\n",
            if password.is_empty() { "" } else { "# " },
            quoted(password)
        )?;
        let users: Vec<_> = self.user.iter().map(|line| without_passwords(line)).collect();
        let mut user = format!("user = {}", list(&users));
        if users != self.user {
            // A file without the passwords must not be taken for one with others.
            user = format!("# Passwords are not shown.\n# {}", user.replace('\n', "\n# "));
        }
        writeln!(f, "# Users, each as \"NAME RULE ...\" with the rules of ACL SETUSER.\n{user}\n")?;
        let aclfile = quoted(&self.aclfile.display().to_string());
        writeln!(f, "# A file of users instead, which ACL SAVE writes.\naclfile = {aclfile}\n")?;
        writeln!(
            f,
            "# Whether other machines are served with a password only.\nprotected-mode = {}\n",
            self.protected_mode
        )?;
        writeln!(
            f,
            "# Connections at once; from one address, and logged in as one user: 0 for no bound.\n\
             maxclients = {}\nmaxclients-per-address = {}\nmaxclients-per-user = {}\n",
            self.maxclients, self.maxclients_per_address, self.maxclients_per_user
        )?;
        writeln!(
            f,
            "# Memory for the buffers of all connections; 0 for no bound.\n\
             maxmemory-clients = {}\n",
            quoted(&self.maxmemory_clients)
        )?;
        writeln!(
            f,
            "# How the log on stderr is written, an event a line: text or json.\n\
             log-format = {}\n",
            quoted(&self.log_format)
        )?;
        writeln!(
            f,
            "# Seconds that new streams track idempotent ids, 1 to 86400.\n\
             stream-idmp-duration = {}\n",
            self.stream_idmp_duration
        )?;
        writeln!(
            f,
            "# Idempotent ids that they track per producer, 1 to 10000.\n\
             stream-idmp-maxsize = {}\n",
            self.stream_idmp_maxsize
        )?;
        self.show_policies(f)?;
        self.show_memory(f)
    }
}

/// An array of TOML, an item a line.
fn list(lines: &[String]) -> String {
    let quoted = |text: &String| toml::Value::String(text.clone()).to_string();
    let lines: Vec<_> = lines.iter().map(|line| format!("\n    {},", quoted(line))).collect();
    let end = if lines.is_empty() { "" } else { "\n" };
    format!("[{}{end}]", lines.concat())
}

impl Settings {
    /// The part of the text that is about policies.
    fn show_policies(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "# Policies of new streams: \"PATTERN OPTION ...\" with the options of XCFGSET. The \
             first\n# that matches holds.\nstream-policy = {}\n",
            list(&self.stream_policy)
        )?;
        writeln!(
            f,
            "# Policies of new groups: \"PATTERN GROUP OPTION ...\" with the options of XGROUP \
             CFGSET.\n\
             group-policy = {}\n",
            list(&self.group_policy)
        )
    }

    /// The part of the text that is about TLS and HTTP.
    fn show_tls(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
        let file = |path: &Path| quoted(&path.display().to_string());
        writeln!(
            f,
            "# Port for TLS; 0 for none. With it, port = 0 serves nothing in clear.\n\
             tls-port = {}\n\n\
             # Certificates in PEM, the server's own first, and its private key. They are read \
             again at\n# SIGHUP and when CONFIG SET names them.\n\
             tls-cert-file = {}\ntls-key-file = {}\n\n\
             # Certificates in PEM with which those of clients are signed.\n\
             tls-ca-cert-file = {}\n\n\
             # Whether clients must show a certificate: yes, no, optional.\n\
             tls-auth-clients = {}\n\n\
             # Whom a client is that shows one: CN, the user of its common name; off, whom AUTH \
             says.\ntls-auth-clients-user = {}\n",
            self.tls_port,
            file(&self.tls_cert_file),
            file(&self.tls_key_file),
            file(&self.tls_ca_cert_file),
            quoted(&self.tls_auth_clients),
            quoted(&self.tls_auth_clients_user)
        )?;
        writeln!(
            f,
            "# Port for HTTP: the dashboard, /metrics, /livez and /readyz; 0 for none. Whoever \
             reaches it\n# reads names, and on the dashboard what the user default may read \
             without a password.\nhttp-port = {}\nhttp-bind = {}\n\n\
             # Whether it has the dashboard, and its names beside localhost and addresses.\n\
             dashboard = {}\nhttp-names = {}\n\n\
             # Streams that /metrics tells one by one, at most 10000; the others are one.\n\
             metrics-streams = {}\n",
            self.http_port,
            quoted(&self.http_bind.to_string()),
            self.dashboard,
            list(&self.http_names),
            self.metrics_streams
        )
    }

    /// The part of the text that is about memory and disk.
    fn show_memory(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
        writeln!(
            f,
            "# Memory for idempotent ids under DEDUP-WINDOW and DEDUP-MAX, 48 bytes each.\n\
             dedup-bytes-max = {}\n",
            quoted(&self.dedup_bytes_max)
        )?;
        writeln!(
            f,
            "# Memory for blocks that were read or written lately.\ncache-bytes = {}\n",
            quoted(&self.cache_bytes)
        )?;
        writeln!(
            f,
            "# Bytes of blocks read a second to see whether they are whole; 0 for none, at most \
             1GiB.\nscrub-bytes-per-second = {}\n",
            quoted(&self.scrub_bytes_per_second)
        )?;
        writeln!(
            f,
            "# Space kept for acknowledging, deleting and trimming on a full disk, 1MiB to \
             64GiB.\nreserve-bytes = {}\n",
            quoted(&self.reserve_bytes)
        )?;
        writeln!(
            f,
            "# Free space below which the disk counts as full, 8MiB to 1024GiB.\n\
             headroom-bytes = {}\n",
            quoted(&self.headroom_bytes)
        )?;
        writeln!(
            f,
            "# Average microseconds of a sync up to which the loop syncs itself, and waits.\n\
             inline-sync-us = {}",
            self.inline_sync_us
        )
    }
}

/// The rules of a user without passwords in clear; hashes stay.
fn without_passwords(line: &str) -> String {
    let shown = |rule: &str| match rule.starts_with('>') {
        true => ">(not-shown)".to_owned(),
        false => rule.to_owned(),
    };
    line.split_whitespace().map(shown).collect::<Vec<_>>().join(" ")
}
