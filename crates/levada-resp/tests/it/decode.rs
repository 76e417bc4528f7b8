//! Requests survive any pipeline and any cut.

use levada_resp::Limits;
use levada_resp::encode::request;
use levada_resp::property::{decode_any, meaning};
use proptest::collection::vec;
use proptest::prelude::*;

/// One request as bytes, and the arguments it should be read as; none if it should be ignored.
type Sent = (Vec<u8>, Option<Vec<Vec<u8>>>);

fn multibulk() -> impl Strategy<Value = Sent> {
    let arg = prop_oneof![8 => vec(any::<u8>(), 0..12), 1 => vec(any::<u8>(), 95..120),
        1 => vec(any::<u8>(), 9_990..10_010)];
    vec(arg, 1..12).prop_map(|args| (request(&args), Some(args)))
}

/// Every byte as an escape, so that any word can be sent inline.
fn inline() -> impl Strategy<Value = Sent> {
    vec(vec(any::<u8>(), 0..6), 1..5).prop_map(|args| {
        let escape = |byte: &u8| format!("\\x{byte:02x}");
        let quote = |arg: &Vec<u8>| format!(" \"{}\"", arg.iter().map(escape).collect::<String>());
        let line = args.iter().map(quote).collect::<String>() + "\n";
        (line.into_bytes(), Some(args))
    })
}

fn ignored() -> impl Strategy<Value = Sent> {
    prop::sample::select(vec!["*0\r\n", "*-1\r\n", "*-77\r\n", "\r\n", "\n", "  \r\n"])
        .prop_map(|text| (text.as_bytes().to_vec(), None))
}

/// Bytes that are nearly requests.
fn noise() -> impl Strategy<Value = Vec<u8>> {
    let token = prop_oneof![
        prop::sample::select(vec![
            "*1\r\n", "*2\r\n", "*3\r\n", "*0\r\n", "*-1\r\n", "*", "$", "$4\r\n", "$0\r\n", "$1",
            "PING", "\r", "\n", "\r\n", "\"", "'", "\\", "\\x4", " ", "0", "11", "-", "\0",
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
        vec(any::<u8>(), 1..4),
    ];
    vec(token, 0..24).prop_map(|tokens| tokens.concat())
}

proptest! {
    #[test]
    fn any_pipeline_means_the_same_cut_at_every_byte(
        sent in vec(prop_oneof![4 => multibulk(), 2 => inline(), 1 => ignored()], 0..8),
    ) {
        let stream: Vec<u8> = sent.iter().flat_map(|(bytes, _)| bytes.clone()).collect();
        let expect: Vec<Vec<Vec<u8>>> = sent.into_iter().filter_map(|(_, args)| args).collect();
        let each: Vec<usize> = (0..stream.len()).collect();
        for cuts in [&[][..], &each] {
            let found = meaning(&stream, cuts, Limits::authenticated());
            prop_assert_eq!(&found.requests, &expect);
            prop_assert_eq!((found.error, found.consumed), (None, stream.len()));
        }
    }

    #[test]
    fn any_two_reads_mean_the_same(
        sent in vec(multibulk(), 1..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let stream: Vec<u8> = sent.iter().flat_map(|(bytes, _)| bytes.clone()).collect();
        let cut = cut.index(stream.len());
        let limits = Limits::authenticated();
        prop_assert_eq!(meaning(&stream, &[cut], limits), meaning(&stream, &[], limits));
    }

    #[test]
    fn random_bytes_keep_the_contract(bytes in vec(any::<u8>(), 0..200)) {
        decode_any(&bytes);
    }

    #[test]
    fn near_requests_keep_the_contract(bytes in noise()) {
        decode_any(&bytes);
    }
}
