//! Settings of the server: a file, then `LEVADA_*` in the environment, then flags; the later wins.
//!
//! Here is what they are and which holds; `text` prints them as a file, `places` knows the lines of
//! a file that was read.

mod places;
mod text;

use std::net::IpAddr;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Args;
use levada_server::{AuthClients, AuthClientsUser, Policies, TlsSettings};
use serde::Deserialize;

use self::places::Places;
use crate::log::Format;

/// What was given, by flags or by the environment; the file is read on top of the defaults.
#[derive(Args, Default)]
pub(crate) struct Given {
    /// A file of settings in TOML; `levada config` prints one.
    #[arg(long, env = "LEVADA_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Port to listen on; 0 takes a free one. [default: 6379]
    #[arg(long, env = "LEVADA_PORT")]
    port: Option<u16>,
    /// Addresses to listen on. Others than loopback need a password. [default: 127.0.0.1]
    #[arg(long, env = "LEVADA_BIND", value_delimiter = ',', value_name = "ADDRESS")]
    bind: Option<Vec<IpAddr>>,
    /// Port for TLS; 0 for none. With it, `--port 0` serves nothing in clear. [default: 0]
    #[arg(long, env = "LEVADA_TLS_PORT", value_name = "PORT")]
    tls_port: Option<u16>,
    /// Certificates for TLS in PEM, the server's own first.
    #[arg(long, env = "LEVADA_TLS_CERT_FILE", value_name = "FILE")]
    tls_cert_file: Option<PathBuf>,
    /// Private key of the first of them, in PEM.
    #[arg(long, env = "LEVADA_TLS_KEY_FILE", value_name = "FILE")]
    tls_key_file: Option<PathBuf>,
    /// Certificates in PEM with which those of clients are signed.
    #[arg(long, env = "LEVADA_TLS_CA_CERT_FILE", value_name = "FILE")]
    tls_ca_cert_file: Option<PathBuf>,
    /// Whether clients must show a certificate: yes, no, optional. [default: yes]
    #[arg(long, env = "LEVADA_TLS_AUTH_CLIENTS", value_name = "WORD")]
    tls_auth_clients: Option<String>,
    /// Whom a client is that shows a certificate: CN, the user of its common name if there is one;
    /// off, whom AUTH says. [default: off]
    #[arg(long, env = "LEVADA_TLS_AUTH_CLIENTS_USER", value_name = "WORD")]
    tls_auth_clients_user: Option<String>,
    /// Port for HTTP: the dashboard, /metrics, /livez and /readyz; 0 for none. [default: 0]
    #[arg(long, env = "LEVADA_HTTP_PORT", value_name = "PORT")]
    http_port: Option<u16>,
    /// Address for it. Whoever reaches it reads names, and on the dashboard what the user
    /// `default` may read without a password. [default: 127.0.0.1]
    #[arg(long, env = "LEVADA_HTTP_BIND", value_name = "ADDRESS")]
    http_bind: Option<IpAddr>,
    /// Names under which browsers may ask for the dashboard, beside localhost and addresses.
    #[arg(long, env = "LEVADA_HTTP_NAMES", value_delimiter = ',', value_name = "NAME")]
    http_names: Option<Vec<String>>,
    /// Whether the port for HTTP has the dashboard. [default: true]
    #[arg(long, env = "LEVADA_DASHBOARD", value_name = "BOOL")]
    dashboard: Option<bool>,
    /// Streams that /metrics tells one by one, at most 10000; the others are one. [default: 100]
    #[arg(long, env = "LEVADA_METRICS_STREAMS", value_name = "COUNT")]
    metrics_streams: Option<usize>,
    /// Where the data lie; created where it is missing. [default: ./levada-data]
    #[arg(long, env = "LEVADA_DIR", value_name = "DIRECTORY")]
    dir: Option<PathBuf>,
    /// Password that clients must give.
    #[arg(long, env = "LEVADA_REQUIREPASS", value_name = "PASSWORD", hide_env_values = true)]
    requirepass: Option<String>,
    /// A file of users: "user NAME RULE ..." lines with the rules of ACL SETUSER.
    #[arg(long, env = "LEVADA_ACLFILE", value_name = "FILE")]
    aclfile: Option<PathBuf>,
    /// Whether other machines are served with a password only. [default: true]
    #[arg(long, env = "LEVADA_PROTECTED_MODE", value_name = "BOOL")]
    protected_mode: Option<bool>,
    /// Connections at once, and one more from loopback for an operator. [default: 10000]
    #[arg(long, env = "LEVADA_MAXCLIENTS", value_name = "COUNT")]
    maxclients: Option<u64>,
    /// Connections at once from one address; 0 for no bound. [default: 0]
    #[arg(long, env = "LEVADA_MAXCLIENTS_PER_ADDRESS", value_name = "COUNT")]
    maxclients_per_address: Option<u64>,
    /// Connections at once that are logged in as one user; 0 for no bound. [default: 0]
    #[arg(long, env = "LEVADA_MAXCLIENTS_PER_USER", value_name = "COUNT")]
    maxclients_per_user: Option<u64>,
    /// Memory for the buffers of all connections: behind it those go that take most; 0 for no
    /// bound.
    /// [default: 1GiB]
    #[arg(long, env = "LEVADA_MAXMEMORY_CLIENTS", value_name = "BYTES")]
    maxmemory_clients: Option<String>,
    /// How the log on stderr is written, an event a line: text or json. [default: text]
    #[arg(long, env = "LEVADA_LOG_FORMAT", value_name = "WORD")]
    log_format: Option<String>,
    /// Seconds that new streams track idempotent ids, 1 to 86400. [default: 100]
    #[arg(long, env = "LEVADA_STREAM_IDMP_DURATION", value_name = "SECONDS")]
    stream_idmp_duration: Option<u64>,
    /// Idempotent ids that they track per producer, 1 to 10000. [default: 100]
    #[arg(long, env = "LEVADA_STREAM_IDMP_MAXSIZE", value_name = "COUNT")]
    stream_idmp_maxsize: Option<u64>,
    /// Policy of new streams whose names match: "PATTERN OPTION ..." with the options of XCFGSET;
    /// the first that matches holds. Repeatable; `;` separates several in the environment.
    #[arg(long, env = "LEVADA_STREAM_POLICY", value_delimiter = ';', value_name = "POLICY")]
    stream_policy: Option<Vec<String>>,
    /// Policy of new groups, as "PATTERN GROUP OPTION ..." with the options of XGROUP CFGSET.
    #[arg(long, env = "LEVADA_GROUP_POLICY", value_delimiter = ';', value_name = "POLICY")]
    group_policy: Option<Vec<String>>,
    /// Memory for ids under DEDUP-WINDOW and DEDUP-MAX, 48 bytes each. [default: 512MiB]
    #[arg(long, env = "LEVADA_DEDUP_BYTES_MAX", value_name = "BYTES")]
    dedup_bytes_max: Option<String>,
    /// Memory for blocks that were read or written lately. [default: 128MiB]
    #[arg(long, env = "LEVADA_CACHE_BYTES", value_name = "BYTES")]
    cache_bytes: Option<String>,
    /// Bytes of blocks read a second to see whether they are whole; 0 for none, at most 1GiB.
    /// [default: 1MiB]
    #[arg(long, env = "LEVADA_SCRUB_BYTES_PER_SECOND", value_name = "BYTES")]
    scrub_bytes_per_second: Option<String>,
    /// Space kept for acknowledging, deleting and trimming on a full disk, 1MiB to 64GiB.
    /// [default: 32MiB]
    #[arg(long, env = "LEVADA_RESERVE_BYTES", value_name = "BYTES")]
    reserve_bytes: Option<String>,
    /// Free space below which the disk counts as full, 8MiB to 1024GiB. [default: 32MiB]
    #[arg(long, env = "LEVADA_HEADROOM_BYTES", value_name = "BYTES")]
    headroom_bytes: Option<String>,
    /// Average microseconds of a sync up to which the loop syncs itself, and waits; behind it other
    /// threads do. [default: 600]
    #[arg(long, env = "LEVADA_INLINE_SYNC_US", value_name = "MICROSECONDS")]
    inline_sync_us: Option<u64>,
    /// Answers the requests of benches without doing them.
    #[cfg(feature = "null")]
    #[arg(long)]
    null: bool,
    /// Writes and syncs a page before replies leave.
    #[cfg(feature = "null")]
    #[arg(long, requires = "null")]
    null_syncs: bool,
}

/// The settings in force. Its text form is a file that can be read again.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Settings {
    pub(crate) port: u16,
    pub(crate) bind: Vec<IpAddr>,
    pub(crate) tls_port: u16,
    pub(crate) tls_cert_file: PathBuf,
    pub(crate) tls_key_file: PathBuf,
    pub(crate) tls_ca_cert_file: PathBuf,
    /// As written; see [`Settings::tls`].
    tls_auth_clients: String,
    /// As written; see [`Settings::tls`].
    tls_auth_clients_user: String,
    pub(crate) http_port: u16,
    pub(crate) http_bind: IpAddr,
    pub(crate) http_names: Vec<String>,
    pub(crate) dashboard: bool,
    pub(crate) metrics_streams: usize,
    pub(crate) dir: PathBuf,
    pub(crate) requirepass: String,
    pub(crate) user: Vec<String>,
    pub(crate) aclfile: PathBuf,
    pub(crate) protected_mode: bool,
    pub(crate) maxclients: u64,
    pub(crate) maxclients_per_address: u64,
    pub(crate) maxclients_per_user: u64,
    /// As written; see [`Settings::maxmemory_clients`].
    maxmemory_clients: String,
    /// As written; see [`Settings::log_format`].
    log_format: String,
    pub(crate) stream_idmp_duration: u64,
    pub(crate) stream_idmp_maxsize: u64,
    stream_policy: Vec<String>,
    group_policy: Vec<String>,
    /// What the two above mean.
    #[serde(skip)]
    pub(crate) policies: Policies,
    /// As written; see [`Settings::dedup_bytes_max`].
    dedup_bytes_max: String,
    /// As written; see [`Settings::cache_bytes`].
    cache_bytes: String,
    /// As written; see [`Settings::scrub_bytes_per_second`].
    scrub_bytes_per_second: String,
    /// As written; see [`Settings::reserve_bytes`].
    reserve_bytes: String,
    /// As written; see [`Settings::headroom_bytes`].
    headroom_bytes: String,
    pub(crate) inline_sync_us: u64,
    #[cfg(feature = "null")]
    #[serde(skip)]
    pub(crate) null: bool,
    #[cfg(feature = "null")]
    #[serde(skip)]
    pub(crate) null_syncs: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            port: 6379,
            bind: vec![IpAddr::from([127, 0, 0, 1])],
            tls_port: 0,
            tls_cert_file: PathBuf::new(),
            tls_key_file: PathBuf::new(),
            tls_ca_cert_file: PathBuf::new(),
            tls_auth_clients: AuthClients::default().word().to_owned(),
            tls_auth_clients_user: AuthClientsUser::default().word().to_owned(),
            http_port: 0,
            http_bind: IpAddr::from([127, 0, 0, 1]),
            http_names: Vec::new(),
            dashboard: true,
            metrics_streams: 100,
            dir: PathBuf::from("./levada-data"),
            requirepass: String::new(),
            user: Vec::new(),
            aclfile: PathBuf::new(),
            protected_mode: true,
            maxclients: 10_000,
            maxclients_per_address: 0,
            maxclients_per_user: 0,
            maxmemory_clients: "1GiB".to_owned(),
            log_format: Format::Text.word().to_owned(),
            stream_idmp_duration: 100,
            stream_idmp_maxsize: 100,
            stream_policy: Vec::new(),
            group_policy: Vec::new(),
            policies: Policies::default(),
            dedup_bytes_max: "512MiB".to_owned(),
            cache_bytes: "128MiB".to_owned(),
            scrub_bytes_per_second: "1MiB".to_owned(),
            reserve_bytes: "32MiB".to_owned(),
            headroom_bytes: "32MiB".to_owned(),
            inline_sync_us: 600,
            #[cfg(feature = "null")]
            null: false,
            #[cfg(feature = "null")]
            null_syncs: false,
        }
    }
}

impl Given {
    /// The settings in force.
    pub(crate) fn resolve(self) -> Result<Settings> {
        let mut places = Places::default();
        let mut settings = match &self.config {
            None => Settings::default(),
            Some(path) => {
                let shown = path.display();
                let text = std::fs::read_to_string(path)
                    .with_context(|| format!("cannot read the settings in {shown}"))?;
                let settings: Settings =
                    toml::from_str(&text).with_context(|| format!("{shown} is not understood"))?;
                places = Places::of(path, &text);
                settings
            }
        };
        // What is given here stands in no file.
        for (setting, given) in
            [("stream-policy", &self.stream_policy), ("group-policy", &self.group_policy)]
        {
            if given.is_some() {
                places.lines.remove(setting);
            }
        }
        put(&mut settings.stream_policy, self.stream_policy);
        put(&mut settings.group_policy, self.group_policy);
        put(&mut settings.port, self.port);
        put(&mut settings.bind, self.bind);
        put(&mut settings.tls_port, self.tls_port);
        put(&mut settings.tls_cert_file, self.tls_cert_file);
        put(&mut settings.tls_key_file, self.tls_key_file);
        put(&mut settings.tls_ca_cert_file, self.tls_ca_cert_file);
        put(&mut settings.tls_auth_clients, self.tls_auth_clients);
        put(&mut settings.tls_auth_clients_user, self.tls_auth_clients_user);
        put(&mut settings.http_port, self.http_port);
        put(&mut settings.http_bind, self.http_bind);
        put(&mut settings.http_names, self.http_names);
        put(&mut settings.dashboard, self.dashboard);
        put(&mut settings.metrics_streams, self.metrics_streams);
        put(&mut settings.maxmemory_clients, self.maxmemory_clients);
        put(&mut settings.log_format, self.log_format);
        put(&mut settings.dir, self.dir);
        put(&mut settings.requirepass, self.requirepass);
        put(&mut settings.aclfile, self.aclfile);
        put(&mut settings.protected_mode, self.protected_mode);
        put(&mut settings.maxclients, self.maxclients);
        put(&mut settings.maxclients_per_address, self.maxclients_per_address);
        put(&mut settings.maxclients_per_user, self.maxclients_per_user);
        put(&mut settings.stream_idmp_duration, self.stream_idmp_duration);
        put(&mut settings.stream_idmp_maxsize, self.stream_idmp_maxsize);
        put(&mut settings.dedup_bytes_max, self.dedup_bytes_max);
        put(&mut settings.cache_bytes, self.cache_bytes);
        put(&mut settings.scrub_bytes_per_second, self.scrub_bytes_per_second);
        put(&mut settings.reserve_bytes, self.reserve_bytes);
        put(&mut settings.headroom_bytes, self.headroom_bytes);
        put(&mut settings.inline_sync_us, self.inline_sync_us);
        #[cfg(feature = "null")]
        {
            settings.null = self.null;
            settings.null_syncs = self.null_syncs;
        }
        settings.check()?;
        let (streams, groups) = (&settings.stream_policy, &settings.group_policy);
        let parsed = Policies::parse(streams, groups, settings.dedup_bytes_max()?);
        settings.policies = parsed.map_err(|fault| places.error(&fault))?;
        Ok(settings)
    }
}

fn put<T>(setting: &mut T, given: Option<T>) {
    if let Some(value) = given {
        *setting = value;
    }
}

impl Settings {
    /// Memory for the buffers of all connections, in bytes; 0 for no bound.
    pub(crate) fn maxmemory_clients(&self) -> Result<u64> {
        let bytes = bytes(&self.maxmemory_clients).context("maxmemory-clients")?;
        Ok(bytes as u64)
    }

    /// How the log is written.
    pub(crate) fn log_format(&self) -> Result<Format> {
        Format::parse(&self.log_format)
    }

    /// Memory for the cache of blocks, in bytes.
    pub(crate) fn cache_bytes(&self) -> Result<usize> {
        bytes(&self.cache_bytes)
    }

    /// Memory for idempotent ids, in bytes.
    pub(crate) fn dedup_bytes_max(&self) -> Result<u64> {
        Ok(bytes(&self.dedup_bytes_max)? as u64)
    }

    /// Bytes of blocks read a second to see whether they are whole.
    pub(crate) fn scrub_bytes_per_second(&self) -> Result<u64> {
        bytes_within("scrub-bytes-per-second", &self.scrub_bytes_per_second, 0, 1 << 30)
    }

    /// Space in bytes that is kept for a full disk: at least a manifest and its names.
    pub(crate) fn reserve_bytes(&self) -> Result<u64> {
        bytes_within("reserve-bytes", &self.reserve_bytes, 1 << 20, 64 << 30)
    }

    /// Free bytes below which the disk counts as full: at least what one batch may take.
    pub(crate) fn headroom_bytes(&self) -> Result<u64> {
        bytes_within("headroom-bytes", &self.headroom_bytes, 8 << 20, 1 << 40)
    }

    /// What the text form says, without its comments.
    pub(crate) fn to_json(&self) -> Result<serde_json::Value> {
        toml::from_str(&self.to_string()).context("the settings are no TOML")
    }

    /// TLS as the server takes it: one listener for each address, if there is a port for it.
    pub(crate) fn tls(&self) -> Result<TlsSettings> {
        let (word, user) = (&self.tls_auth_clients, &self.tls_auth_clients_user);
        Ok(TlsSettings {
            listeners: if self.tls_port == 0 { 0 } else { self.bind.len() },
            cert_file: self.tls_cert_file.clone(),
            key_file: self.tls_key_file.clone(),
            ca_cert_file: self.tls_ca_cert_file.clone(),
            auth_clients: AuthClients::parse(word).with_context(|| {
                format!("tls-auth-clients is {word}: it must be yes, no or optional")
            })?,
            auth_clients_user: AuthClientsUser::parse(user).with_context(|| {
                format!("tls-auth-clients-user is {user}: it must be CN or off")
            })?,
        })
    }

    /// Ports to listen on, each on all addresses; those with TLS last.
    pub(crate) fn ports(&self) -> Vec<u16> {
        let plain = (self.port != 0 || self.tls_port == 0).then_some(self.port);
        plain.into_iter().chain((self.tls_port != 0).then_some(self.tls_port)).collect()
    }

    fn check(&self) -> Result<()> {
        self.tls()?;
        self.maxmemory_clients()?;
        self.log_format()?;
        if self.metrics_streams > 10_000 {
            bail!("metrics-streams is {}: it must be at most 10000", self.metrics_streams);
        }
        self.cache_bytes()?;
        self.scrub_bytes_per_second()?;
        self.reserve_bytes()?;
        self.headroom_bytes()?;
        self.dedup_bytes_max()?;
        if self.bind.is_empty() {
            bail!("bind names no address: give at least one, such as 127.0.0.1");
        }
        if !self.user.is_empty() && !self.aclfile.as_os_str().is_empty() {
            bail!("user and aclfile are both given: users stand in one place");
        }
        if self.maxclients == 0 {
            bail!("maxclients is 0: nobody could connect");
        }
        let bounded = [
            ("stream-idmp-duration", self.stream_idmp_duration, 86_400),
            ("stream-idmp-maxsize", self.stream_idmp_maxsize, 10_000),
        ];
        for (name, value, max) in bounded {
            if value == 0 || value > max {
                bail!("{name} is {value}: it must be between 1 and {max}");
            }
        }
        Ok(())
    }
}

/// A number of bytes between two others, both included.
fn bytes_within(name: &str, text: &str, min: u64, max: u64) -> Result<u64> {
    let value = bytes(text).with_context(|| name.to_owned())? as u64;
    if value < min || value > max {
        bail!("{name} is {text}: it must be between {min} and {max} bytes");
    }
    Ok(value)
}

/// A number of bytes with a unit: `4096`, `64KiB`, `128MiB`, `1GiB`.
fn bytes(text: &str) -> Result<usize> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" | "kib" => 1 << 10,
        "m" | "mb" | "mib" => 1 << 20,
        "g" | "gb" | "gib" => 1 << 30,
        _ => bail!("{text} is no number of bytes: write it as 128MiB"),
    };
    let number: usize = number.parse().with_context(|| format!("{text} is no number of bytes"))?;
    number.checked_mul(unit).with_context(|| format!("{text} is more than this machine can count"))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn what_is_printed_can_be_read() {
        let settings = Settings { port: 7000, ..Settings::default() };
        let (stream_policy, group_policy) =
            (vec!["a\\* MAX-LEN 1".to_owned()], vec!["* g RETAIN NO".to_owned(), "x y".to_owned()]);
        let settings = Settings { stream_policy, group_policy, ..settings };
        let printed = settings.to_string();
        let back: Settings = toml::from_str(&printed).expect("it was printed by us");
        assert_eq!((back.to_string(), back.port), (printed, 7000));
        assert_eq!(back.stream_policy, settings.stream_policy);
        assert_eq!(back.group_policy, settings.group_policy);
    }

    #[test]
    fn the_password_is_not_printed() {
        let settings = Settings { requirepass: "secret".to_owned(), ..Settings::default() };
        assert!(!settings.to_string().contains("secret"));
    }

    #[test]
    fn unknown_keys_are_errors() {
        let error = toml::from_str::<Settings>("prot = 1").expect_err("a slip");
        assert!(error.to_string().contains("prot"), "{error}");
    }

    #[test]
    fn what_is_given_wins_over_the_defaults() {
        let given =
            Given { port: Some(1), cache_bytes: Some("1GiB".to_owned()), ..Given::default() };
        let settings = given.resolve().expect("both are right");
        assert_eq!((settings.port, settings.maxclients), (1, 10_000));
        assert_eq!(settings.cache_bytes().expect("checked"), 1 << 30);
    }

    #[test]
    fn what_is_out_of_bounds_is_refused() {
        let check = |stream_idmp_maxsize: u64, fits: bool| {
            let given =
                Given { stream_idmp_maxsize: Some(stream_idmp_maxsize), ..Given::default() };
            assert_eq!(given.resolve().is_ok(), fits, "{stream_idmp_maxsize}");
        };
        check(0, false);
        check(1, true);
        check(10_000, true);
        check(10_001, false);
    }

    #[test]
    fn a_policy_that_is_wrong_is_named_with_its_line() {
        let text = "port = 1\n\nstream-policy = [\n  \"* MAX-LEN 5\",\n  \"a* MAX 6\",\n]\n";
        let settings: Settings = toml::from_str(text).expect("it is TOML");
        let places = Places::of(Path::new("levada.toml"), text);
        let fault = Policies::parse(&settings.stream_policy, &[], 0).expect_err("MAX is unknown");
        let error = places.error(&fault).to_string();
        assert_eq!(error, "levada.toml, line 5: stream-policy: syntax error: MAX 6");
        let given = Given { group_policy: Some(vec!["* g NO 1".to_owned()]), ..Given::default() };
        let error = given.resolve().expect_err("NO is unknown").to_string();
        assert_eq!(error, "group-policy, number 1: syntax error: NO 1");
    }

    #[test]
    fn space_is_bounded_and_the_setting_named() {
        let check = |name: &str, text: &str, fits: bool| {
            let file = format!("{name} = \"{text}\"");
            let settings = toml::from_str::<Settings>(&file).expect("a known name");
            match settings.check() {
                Ok(()) => assert!(fits, "{file}"),
                Err(error) => assert!(!fits && error.to_string().contains(name), "{error}"),
            }
        };
        check("scrub-bytes-per-second", "0", true);
        check("scrub-bytes-per-second", "1GiB", true);
        check("scrub-bytes-per-second", "1025MiB", false);
        check("scrub-bytes-per-second", "fast", false);
        check("reserve-bytes", "1MiB", true);
        check("reserve-bytes", "0", false);
        check("reserve-bytes", "65GiB", false);
        check("headroom-bytes", "8MiB", true);
        check("headroom-bytes", "7MiB", false);
        check("headroom-bytes", "1025GiB", false);
    }

    #[test]
    fn the_log_is_for_people_or_for_programs() {
        let check = |word: &str, expect: Option<Format>| {
            let settings = Settings { log_format: word.to_owned(), ..Settings::default() };
            assert_eq!(settings.check().and_then(|()| settings.log_format()).ok(), expect);
        };
        check("text", Some(Format::Text));
        check("json", Some(Format::Json));
        check("JSON", None);
        let wrong = Settings { log_format: "xml".to_owned(), ..Settings::default() };
        let error = wrong.check().expect_err("unknown").to_string();
        assert_eq!(error, "log-format is xml: it must be text or json");
    }

    #[test]
    fn passwords_of_users_are_not_printed_nor_taken_for_others() {
        let user = vec!["a on >secret ~* +@all".to_owned(), "b off".to_owned()];
        let settings = Settings { user, ..Settings::default() };
        let text = settings.to_string();
        assert!(!text.contains("secret") && text.contains("a on >(not-shown)"), "{text}");
        let read: Settings = toml::from_str(&text).expect("it is TOML");
        assert_eq!(read.user, Vec::<String>::new());
        let user = vec!["b off ~*".to_owned()];
        let settings = Settings { user: user.clone(), ..Settings::default() };
        let read: Settings = toml::from_str(&settings.to_string()).expect("it is TOML");
        assert_eq!(read.user, user);
    }

    #[test]
    fn users_stand_in_one_place() {
        let (user, aclfile) = (vec!["a on".to_owned()], PathBuf::from("users.acl"));
        let settings = Settings { user, aclfile, ..Settings::default() };
        assert!(settings.check().expect_err("both").to_string().contains("aclfile"));
    }

    #[test]
    fn bytes_have_units() {
        let check =
            |text: &str, expect: Option<usize>| assert_eq!(bytes(text).ok(), expect, "{text}");
        check("4096", Some(4096));
        check("64KiB", Some(64 << 10));
        check("128mb", Some(128 << 20));
        for bad in ["", "x", "-1", "1TiB", "99999999999999999999"] {
            check(bad, None);
        }
    }
}
