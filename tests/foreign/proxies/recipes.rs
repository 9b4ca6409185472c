//! How the proxies are configured: persistent connections on both sides, a short limit towards
//! abide and a long one towards the client, no cache, and no second try.

use super::process::Recipe;

const NGINX: &str = "
worker_processes 1;
daemon off;
pid {place}/nginx.pid;
error_log {place}/error.log;
events { worker_connections 1024; }
http {
    access_log off;
    client_body_temp_path {place}/client_body;
    proxy_temp_path {place}/proxy;
    fastcgi_temp_path {place}/fastcgi;
    uwsgi_temp_path {place}/uwsgi;
    scgi_temp_path {place}/scgi;
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
}
";

fn nginx_with(next: &str, pool: &str, version: &str) -> Recipe {
    Recipe {
        program: "nginx",
        package: "nginx-light",
        // Until it has read where to log, it would log to its default place.
        arguments: &["-p", "{place}", "-c", "{config}", "-e", "{place}/error.log"],
        config: NGINX
            .replace("{next}", next)
            .replace("{pool}", pool)
            .replace("{version}", version),
    }
}

/// nginx that keeps idle connections to abide for `limit_secs`.
pub fn nginx(ip: &str, port: u16, limit_secs: u32) -> Recipe {
    let pool =
        format!("keepalive 128; keepalive_requests 100000; keepalive_timeout {limit_secs}s;");
    let version = "proxy_http_version 1.1; proxy_set_header Connection \"\";";
    nginx_with(&format!("{ip}:{port}"), &pool, version)
}

/// nginx as it is by default: HTTP/1.0 and `Connection: close`.
pub fn nginx_http10(ip: &str, port: u16) -> Recipe {
    nginx_with(&format!("{ip}:{port}"), "", "")
}

/// HAProxy has no limit for one idle connection: it closes half of those that it does not need at
/// each `pool-purge-delay`. With 250 ms none of a hundred is left after 2 s.
const HAPROXY: &str = "
global
    nbthread 2
    maxconn 1000
defaults
    mode http
    timeout connect 5s
    timeout client 75s
    timeout http-request 75s
    timeout http-keep-alive 75s
    timeout server 20s
    retries 0
frontend front
    bind {address}
    default_backend abide
backend abide
    http-reuse always
    server abide {next} pool-purge-delay 250ms pool-max-conn 128
";

pub fn haproxy(ip: &str, port: u16) -> Recipe {
    Recipe {
        program: "haproxy",
        package: "haproxy",
        arguments: &["-db", "-f", "{config}"],
        config: HAPROXY.replace("{next}", &format!("{ip}:{port}")),
    }
}

const VARNISH: &str = "
vcl 4.1;
backend abide {
    .host = \"{ip}\";
    .port = \"{next_port}\";
}
sub vcl_recv {
    return (pass);
}
";

pub fn varnish(ip: &str, port: u16) -> Recipe {
    Recipe {
        program: "varnishd",
        package: "varnish",
        arguments: &[
            "-F",
            "-n",
            "{place}/varnish",
            "-a",
            "{address}",
            "-f",
            "{config}",
            "-s",
            "default,16m",
            "-p",
            "backend_idle_timeout=2",
            "-p",
            "timeout_idle=75",
            "-p",
            "thread_pools=1",
            "-p",
            "thread_pool_min=150",
        ],
        config: VARNISH
            .replace("{ip}", ip)
            .replace("{next_port}", &port.to_string()),
    }
}
