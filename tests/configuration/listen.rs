//! The addresses to listen on.

use abide::config::ListenAddress;

use super::{load, refusal};

#[test]
fn listen_takes_distinct_literal_addresses() {
    assert_eq!(
        refusal("listen = []"),
        "abide.toml:1: listen: the list is empty, it must have an address"
    );
    assert_eq!(
        refusal("listen = [\n  '127.0.0.1:80',\n  'localhost:80',\n]"),
        "abide.toml:3: listen: \"localhost:80\" cannot be listened on, host names are not looked \
         up: write an address such as 127.0.0.1:8080, [::1]:8080 or unix:/run/abide.sock"
    );
    assert_eq!(
        refusal("listen = ['127.0.0.1:80', '127.0.0.1:80']"),
        "abide.toml:1: listen: 127.0.0.1:80 is listed twice"
    );
    let config = load("listen = ['127.0.0.1:0', '127.0.0.1:0', 'unix:a']");
    assert_eq!(config.listen[2], ListenAddress::unix("a"));
}

#[test]
fn two_protocols_cannot_share_a_socket() {
    for (first, second) in [
        ("127.0.0.1:80", "https://127.0.0.1:80"),
        ("https://127.0.0.1:80", "http://127.0.0.1:80"),
        ("proxy+http://127.0.0.1:80", "https://127.0.0.1:80"),
    ] {
        let said = refusal(&format!("listen = ['{first}', '{second}']"));
        assert!(said.contains(" is the same socket as "), "{said}");
    }
    assert_eq!(
        refusal("listen = ['[::1]:443', 'https://[::1]:443']"),
        "abide.toml:1: listen: https://[::1]:443 is the same socket as [::1]:443, which speaks something else"
    );
}

#[test]
fn tls_has_neither_unix_sockets_nor_the_proxy_protocol() {
    for (address, reason) in [
        (
            "https://unix:/run/abide.sock",
            "TLS is not supported on unix sockets",
        ),
        (
            "proxy+https://127.0.0.1:443",
            "the PROXY protocol is not supported before TLS",
        ),
        (
            "tls://127.0.0.1:443",
            "the schemes are http, https, proxy+http and proxy+unix",
        ),
    ] {
        let said = refusal(&format!("listen = [\n'{address}']"));
        let start =
            format!("abide.toml:2: listen: \"{address}\" cannot be listened on, {reason}: ");
        assert!(said.starts_with(&start), "{said}");
    }
}

#[test]
#[cfg(not(feature = "tls"))]
fn a_program_without_tls_refuses_an_https_address() {
    assert_eq!(
        refusal("listen = ['https://127.0.0.1:443']\ncertificate = 'c'\nkey = 'k'"),
        "abide.toml:1: listen: https://127.0.0.1:443 needs TLS, and this program was built without it"
    );
}
