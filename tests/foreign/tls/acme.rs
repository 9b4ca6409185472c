//! A certificate from an ACME authority (RFC 8555): certbot writes the challenge below the root of the site,
//! pebble asks the server for it, and the server uses the renewed certificate without a signal.

use std::fs;
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use reqwest::blocking::{Client, Response};
use reqwest::tls::TlsInfo;
use rustix::process::Signal;
use support::process::{Process, Recipe, free_address};
use support::{Authority, Launch, Server, Site, pattern};

use super::LARGE_LEN;
use crate::real_clients::trial::Program;

/// The host that gets a certificate.
const NAME: &str = "site.test";

const CERTBOT_LIMIT: Duration = Duration::from_secs(60);

/// The time after which a renewed certificate must be used.
const NOTICE_LIMIT: Duration = Duration::from_secs(2);

/// The name server of the authority: each name is at 127.0.0.1.
fn name_server() -> Process {
    let recipe = Recipe {
        program: PathBuf::from("pebble-challtestsrv"),
        package: "pebble",
        arguments: &[
            "-defaultIPv6=",
            "-dns01={address}",
            "-http01=",
            "-https01=",
            "-tlsalpn01=",
            "-management=",
        ],
        config: String::new(),
        end_with: Signal::TERM,
    };
    recipe.start()
}

/// pebble takes its addresses from a file, and the rest from its environment and its arguments.
const PEBBLE: &str = r#"
cat >{place}/pebble.json <<END
{"pebble": {
    "listenAddress": "{address}", "certificate": "{certificate}", "privateKey": "{key}",
    "httpPort": {http_port}, "tlsPort": {http_port}
}}
END
PEBBLE_VA_NOSLEEP=1 PEBBLE_WFE_NONCEREJECT=0 \
    exec pebble -config {place}/pebble.json -dnsserver {name_server}
"#;

/// The authority of ACME, which asks for challenges at `http`. Its own TLS is certified by `authority`.
fn pebble(authority: &Authority, name_server: SocketAddr, http: SocketAddr) -> Process {
    let files = authority.issue_local();
    let config = PEBBLE
        .replace("{certificate}", &files.certificate.to_string_lossy())
        .replace("{key}", &files.key.to_string_lossy())
        .replace("{http_port}", &http.port().to_string())
        .replace("{name_server}", &name_server.to_string());
    let recipe = Recipe {
        program: PathBuf::from("sh"),
        package: "pebble",
        arguments: &["{config}"],
        config,
        end_with: Signal::TERM,
    };
    recipe.start()
}

/// certbot with its files below `place`.
struct Certbot {
    place: PathBuf,
    authority_root: PathBuf,
}

impl Certbot {
    fn run(&self, arguments: &[&str]) {
        let mut command = Command::new("certbot");
        command.args(arguments).arg("--non-interactive");
        for directory in ["config", "work", "logs"] {
            let path = self.place.join(directory);
            command.arg(format!("--{directory}-dir")).arg(path);
        }
        command.env("REQUESTS_CA_BUNDLE", &self.authority_root);
        command.env("NO_PROXY", "*");
        Program::start(&mut command).output(CERTBOT_LIMIT);
    }

    fn obtain(&self, pebble: SocketAddr, site: &Site) {
        let directory = format!("https://{pebble}/dir");
        let root = site.root().display().to_string();
        self.run(&[
            "certonly",
            "--agree-tos",
            "--register-unsafely-without-email",
            "--server",
            &directory,
            "--webroot",
            "--webroot-path",
            &root,
            "--domain",
            NAME,
        ]);
    }

    fn renew(&self) {
        self.run(&["renew", "--force-renewal", "--no-random-sleep-on-renew"]);
    }

    /// The link to the newest file of this name.
    fn live(&self, name: &str) -> PathBuf {
        self.place.join("config/live").join(NAME).join(name)
    }
}

/// The settings of a server with TLS, whose plain listener redirects everything but challenges.
fn with_tls(certbot: &Certbot, plain: SocketAddr) -> String {
    format!(
        "certificate = {:?}\nkey = {:?}\nhttps_redirect = true\n\
         listen = [\"https://127.0.0.1:0\", \"http://{plain}\"]\n",
        certbot.live("fullchain.pem"),
        certbot.live("privkey.pem")
    )
}

/// A client of the site that trusts the issuer of its certificate.
fn client(server: &Server, certbot: &Certbot) -> Client {
    let issuer = fs::read(certbot.live("chain.pem")).expect("the issuer");
    let issuer = reqwest::Certificate::from_pem(&issuer).expect("a certificate");
    Client::builder()
        .no_proxy()
        .resolve(NAME, server.tls_address())
        .tls_certs_only([issuer])
        .tls_info(true)
        .build()
        .expect("a client")
}

fn get(client: &Client, server: &Server, target: &str) -> Response {
    let port = server.tls_address().port();
    let response = client.get(format!("https://{NAME}:{port}{target}")).send();
    let response = response.unwrap_or_else(|error| panic!("{target}: {error:?}"));
    assert_eq!(response.status(), 200, "{target}");
    response
}

/// The certificate that the server shows to a new client.
fn shown(server: &Server, certbot: &Certbot) -> Vec<u8> {
    let response = get(&client(server, certbot), server, "/");
    let info = response.extensions().get::<TlsInfo>();
    let certificate = info.and_then(TlsInfo::peer_certificate);
    certificate.expect("a certificate").to_vec()
}

/// Waits until the server shows another certificate than `old`.
fn wait_for_another(old: &[u8], server: &Server, certbot: &Certbot) {
    let start = Instant::now();
    while shown(server, certbot) == old {
        assert!(
            start.elapsed() < NOTICE_LIMIT,
            "the old certificate is still in use"
        );
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
#[ignore = "needs certbot and pebble"]
fn a_certificate_is_renewed_while_connections_are_under_way() {
    let site = Site::new();
    site.write("large.bin", pattern(LARGE_LEN));
    let plain = free_address(Ipv4Addr::LOCALHOST);
    let authority = Authority::new();
    let name_server = name_server();
    let pebble = pebble(&authority, name_server.address, plain);
    let certbot = Certbot {
        place: site.beside("acme"),
        authority_root: authority.root(),
    };
    let server = Launch::of(site.root()).listen(&plain.to_string()).start();
    certbot.obtain(pebble.address, &site);
    drop(server);

    let settings = with_tls(&certbot, plain);
    let launch = Launch::of(site.root()).config(&settings);
    let server = launch.listening_as_configured(2).start();
    let old = shown(&server, &certbot);
    let idle = client(&server, &certbot);
    get(&idle, &server, "/").bytes().expect("the page");
    let mut download = get(&idle, &server, "/large.bin");
    let mut received = vec![0; LARGE_LEN / 4];
    download.read_exact(&mut received).expect("its beginning");

    certbot.renew();
    wait_for_another(&old, &server, &certbot);
    download.read_to_end(&mut received).expect("its rest");
    assert!(received == pattern(LARGE_LEN), "other bytes");
    let response = get(&idle, &server, "/");
    let info = response.extensions().get::<TlsInfo>();
    let kept = info.and_then(TlsInfo::peer_certificate);
    assert_eq!(kept, Some(&*old), "the connection was not kept");
    assert!(is_linked(&certbot.live("privkey.pem")));
}

/// Whether certbot has made a symbolic link, as it does below `live`.
fn is_linked(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_symlink())
}
