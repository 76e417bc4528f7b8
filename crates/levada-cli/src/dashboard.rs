//! `levada dashboard`: the pages of `levada serve` on their own, about any server; a plain Redis
//! has them too, without what it does not have.

use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Args;
use levada_dashboard::Dashboard;
use levada_server::Pages;

#[derive(Args)]
pub(crate) struct Given {
    /// The server: redis://[user:password@]HOST[:PORT][/DB], or rediss:// for TLS, where
    /// ?ca=FILE&cert=FILE&key=FILE names certificates. Whoever reaches the dashboard reads as
    /// this user; to change something they sign in.
    #[arg(long, env = "LEVADA_URL", hide_env_values = true, value_name = "URL")]
    #[arg(default_value = "redis://127.0.0.1:6379")]
    url: String,
    /// Port for browsers; 0 takes a free one.
    #[arg(long, env = "LEVADA_HTTP_PORT", value_name = "PORT", default_value_t = 8379)]
    http_port: u16,
    /// Address for it.
    #[arg(long, env = "LEVADA_HTTP_BIND", value_name = "ADDRESS")]
    #[arg(default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    http_bind: IpAddr,
    /// Names under which browsers may ask, beside localhost and addresses.
    #[arg(long, env = "LEVADA_HTTP_NAMES", value_delimiter = ',', value_name = "NAME")]
    http_names: Vec<String>,
}

/// Serves until it is ended.
pub(crate) fn run(given: &Given) -> Result<ExitCode> {
    let (address, port) = (given.http_bind, given.http_port);
    let listener = TcpListener::bind((address, port))
        .with_context(|| format!("cannot listen on {address}:{port}"))?;
    let pages = pages(&given.url, &given.http_names)?;
    eprintln!("Dashboard at http://{}/", listener.local_addr()?);
    levada_server::serve_pages(&listener, pages)?;
    Ok(ExitCode::SUCCESS)
}

/// The dashboard of the server at an address, as pages of the port for HTTP.
pub(crate) fn pages(url: &str, names: &[String]) -> Result<Pages> {
    let dashboard = Dashboard::new(levada::client(url)?)?;
    Ok(Pages::new(names, move |request| {
        let dashboard = dashboard.clone();
        async move { dashboard.answer(request).await }
    }))
}
