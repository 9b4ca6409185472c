//! nginx reaches abide over a unix socket that its group may connect to.

use support::process::{Recipe, open_to_all};
use support::{Client, Launch, Site, recipes};
use tempfile::TempDir;

use super::super::lane::{Lane, Wanted};

const NGINX_HTTP: &str = "
    access_log off;
    server {
        listen {address};
        location / { proxy_pass http://unix:{path}; }
    }
";

fn nginx(path: &str) -> Recipe {
    let http = NGINX_HTTP.replace("{path}", path);
    // The first process gives up root for its worker.
    let main = "user www-data; worker_processes 1;";
    recipes::nginx(main, "worker_connections 1024;", &http)
}

#[test]
#[ignore = "needs nginx"]
fn nginx_reaches_the_socket_of_its_group() {
    let is_root = rustix::process::geteuid().is_root();
    let site = Site::new();
    let place = TempDir::new().expect("a temporary directory");
    open_to_all(place.path());
    let path = place.path().join("abide.sock");
    let path = path.to_str().expect("a path in UTF-8");
    let body = Client::connect(Launch::of(site.root()).start().address())
        .get("/")
        .body;
    for (config, is_admitted) in [
        ("socket_group = 'www-data'", true),
        ("socket_mode = '0666'", true),
        // The default admits the group of the process that made the socket.
        ("", false),
    ] {
        // Only root may give the socket to a group that it is not in, and nginx then runs as another user.
        if !is_root && config.contains("socket_group") {
            continue;
        }
        let _abide = Launch::of(site.root())
            .config(config)
            .listen(&format!("unix:{path}"))
            .start();
        let nginx = nginx(path).start();
        let wanted = Wanted {
            target: "/",
            body: &body,
        };
        let answer = Lane::to(nginx.address).ask(wanted, "");
        assert_eq!(
            answer.is_ok(),
            is_admitted || !is_root,
            "{config:?}: {answer:?}"
        );
    }
}
