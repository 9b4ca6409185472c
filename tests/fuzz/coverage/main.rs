//! The targets of `tests/fuzz` under libFuzzer; `tests/fuzz/longer.sh` builds and starts it.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;

#[path = "../chunked.rs"]
mod chunked;
#[path = "../fields.rs"]
mod fields;
#[path = "../path.rs"]
mod path;
#[path = "../peer.rs"]
mod peer;
#[path = "../proxy_header.rs"]
mod proxy_header;
#[path = "../request.rs"]
mod request;
#[path = "../responses.rs"]
mod responses;
#[path = "../script.rs"]
mod script;
#[path = "../session.rs"]
mod session;
#[path = "../tls.rs"]
mod tls;

/// libFuzzer reads the command line itself, so the environment names the target.
static CHECK: LazyLock<fn(&[u8])> =
    LazyLock::new(|| match std::env::var("FUZZ_TARGET").as_deref() {
        Ok("chunked") => chunked::check,
        Ok("fields") => fields::check,
        Ok("request") => request::check,
        Ok("session") => session::check,
        Ok("path") => path::check,
        Ok("tls") => tls::check,
        Ok("proxy_header") => proxy_header::check,
        other => panic!("FUZZ_TARGET is {other:?}"),
    });

fuzz_target!(|input: &[u8]| CHECK(input));
