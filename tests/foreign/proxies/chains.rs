//! The configurations of the proxies: persistent connections on both sides, a short idle limit towards
//! abide and a long one towards the client, no cache, and no retries.

use support::process::Recipe;
use support::recipes;

const NGINX_HTTP: &str = "
    access_log off;
    keepalive_timeout 75s;
    keepalive_requests 100000;
    upstream abide {
        server {next};
        {pool}
    }
    server {
        listen {address};
        location / {
            proxy_pass http://abide;
            proxy_next_upstream off;
            {version}
        }
    }
";

fn nginx_with(ip: &str, port: u16, pool: &str, version: &str) -> Recipe {
    let http = NGINX_HTTP
        .replace("{next}", &format!("{ip}:{port}"))
        .replace("{pool}", pool)
        .replace("{version}", version);
    recipes::nginx("worker_processes 1;", "worker_connections 1024;", &http)
}

/// nginx, which keeps idle connections to abide for `limit_secs`.
pub fn nginx(ip: &str, port: u16, limit_secs: u32) -> Recipe {
    let pool =
        format!("keepalive 128; keepalive_requests 100000; keepalive_timeout {limit_secs}s;");
    let version = "proxy_http_version 1.1; proxy_set_header Connection \"\";";
    nginx_with(ip, port, &pool, version)
}

/// nginx with its defaults: HTTP/1.0 and `Connection: close`.
pub fn nginx_http10(ip: &str, port: u16) -> Recipe {
    nginx_with(ip, port, "", "")
}

/// HAProxy, which has no idle limit for a single connection: at each `pool-purge-delay` it closes half of
/// the connections that it does not need. With 250 ms none of a hundred is left after 2 s.
pub fn haproxy(ip: &str, port: u16) -> Recipe {
    let server = format!("server abide {ip}:{port} pool-purge-delay 250ms pool-max-conn 128");
    recipes::haproxy("", "retries 0", &server)
}
