//! Whatever the scanner lets through, httparse (hyper's parser) reads with the same borders.
#![no_main]

use httparse::{EMPTY_HEADER, Request, Status};
use jovis::proxy::fuzzing;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    for span in fuzzing::requests(bytes) {
        let head = &bytes[span.begin..span.head];
        let mut headers = [EMPTY_HEADER; 2000];
        let mut request = Request::new(&mut headers);
        match request.parse(&bytes[span.begin..]) {
            Ok(Status::Complete(end)) => assert_eq!(end, head.len(), "{}", head.escape_ascii()),
            Ok(Status::Partial) => panic!("half a head: {}", head.escape_ascii()),
            // hyper refuses it then, which is as good.
            Err(_) => continue,
        }
        let values = |name: &str| {
            let named = request.headers.iter().filter(|it| it.name.eq_ignore_ascii_case(name));
            named.map(|it| it.value).collect::<Vec<_>>()
        };
        let (lengths, codings) = (values("content-length"), values("transfer-encoding"));
        assert!(lengths.len() + codings.len() <= 1, "{}", head.escape_ascii());
        let body = span.end - span.head;
        match (lengths.first(), codings.first()) {
            (Some(length), _) => {
                let length = std::str::from_utf8(length).expect("digits").parse::<usize>();
                assert_eq!(length, Ok(body), "{}", head.escape_ascii());
            }
            (_, Some(coding)) => {
                assert!(coding.eq_ignore_ascii_case(b"chunked"));
                assert!(bytes[span.head..span.end].ends_with(b"\r\n"));
            }
            _ => assert_eq!(body, 0, "{}", head.escape_ascii()),
        }
    }
});
