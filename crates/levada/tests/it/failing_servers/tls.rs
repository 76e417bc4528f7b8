//! TLS that goes wrong.

use levada::{Error, connect};

use super::url;

/// A server of an unknown authority is refused, and so is a client without a certificate.
#[tokio::test]
#[ignore = "needs a server with TLS: cargo xtask toolkit"]
async fn what_cannot_be_trusted_is_refused() {
    let url = url();
    let (place, files) = url.split_once('?').expect("it names files");
    connect(&url).await.expect("it is trusted").backend().len("x").await.expect("asked");
    let stranger = url.replace("ca.pem", "other.pem");
    let refused = connect(&stranger).await.expect_err("an authority that nobody knows");
    assert!(matches!(refused, Error::Connection(_)), "{refused:?}");
    let ca = files.split('&').find(|file| file.starts_with("ca=")).expect("there is one");
    let nameless = connect(&format!("{place}?{ca}")).await;
    assert!(nameless.is_err(), "it asks who is there");
    let plain = connect(&place.replace("rediss", "redis")).await;
    assert!(plain.is_err(), "it speaks nothing else");
}
