//! The `abide` program: reads the command line and the configuration, and runs the server.

mod cli;

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;

use abide::admin::{Admin, AdminListener};
use abide::clock::SystemClock;
use abide::config::Config;
use abide::selftest;
use abide::server::Server;
use abide::server::diagnostics::{self, print_notice};

/// The exit status if the command line, the configuration or the environment is wrong.
const EXIT_BAD_START: u8 = 2;

fn main() -> ExitCode {
    // Dropped last, so that all earlier notices are written.
    let _flush_guard = diagnostics::start();
    start_log();
    let cli = cli::parse();
    let config = match cli.resolve() {
        Ok(config) => config,
        Err(error) => return refuse(&error),
    };
    for warning in config.warnings() {
        print_notice(format_args!("abide: warning: {warning}"));
    }
    if cli.check {
        return match write!(io::stdout(), "{}", config.to_toml()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                print_notice(format_args!(
                    "abide: the configuration cannot be printed: {error}"
                ));
                ExitCode::FAILURE
            }
        };
    }
    if cli.selftest {
        return test(config);
    }
    // Bound before the site's listeners, so that no client is accepted if the address is in use.
    let admin = match AdminListener::bind(&config) {
        Ok(admin) => admin,
        Err(error) => return refuse(&error),
    };
    let server = match Server::bind(config, Arc::new(SystemClock::new()), true) {
        Ok(server) => server,
        Err(error) => return refuse(&error),
    };
    let _admin = match serve_admin(admin, &server) {
        Ok(admin) => admin,
        Err(error) => return refuse(&error),
    };
    for address in server.addresses() {
        print_notice(format_args!("listening on {}", address.url()));
    }
    match server.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            print_notice(format_args!("abide: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// Starts the thread of the admin listener, if there is one. It answers until the result is dropped, at the
/// end of the program, so also while the server drains.
fn serve_admin(listener: Option<AdminListener>, server: &Server) -> io::Result<Option<Admin>> {
    let Some(listener) = listener else {
        return Ok(None);
    };
    let url = listener.address().url();
    let admin = listener.serve(server)?;
    print_notice(format_args!("admin on {url}"));
    Ok(Some(admin))
}

fn test(config: Config) -> ExitCode {
    match selftest::run(config) {
        Ok(report) => {
            let printed = write!(io::stdout(), "{report}");
            if report.is_safe() && printed.is_ok() {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            }
        }
        Err(error) => refuse(&error),
    }
}

fn refuse(error: &dyn std::error::Error) -> ExitCode {
    // A configuration can have several errors, with one line for each.
    for line in error.to_string().lines() {
        print_notice(format_args!("abide: {line}"));
    }
    ExitCode::from(EXIT_BAD_START)
}

/// Makes `log` write to standard error without waiting, as `RUST_LOG` and `RUST_LOG_STYLE` say.
fn start_log() {
    let mut builder =
        env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("warn"));
    builder.target(env_logger::Target::Pipe(Box::new(
        diagnostics::QueuedStderr,
    )));
    // env_logger only sees the pipe, so whether to use colours is decided here.
    let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let has_colours = std::env::var_os("TERM").is_some_and(|terminal| terminal != "dumb");
    let may_have = !is_set("RUST_LOG_STYLE") && !is_set("NO_COLOR");
    if io::stderr().is_terminal() && has_colours && may_have {
        builder.write_style(env_logger::WriteStyle::Always);
    }
    builder.init();
}
