//! The `abide` program: reads the command line and the configuration, and runs the server.

mod cli;

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;

use abide::admin::{AdminListener, AdminThread};
use abide::clock::{Clock, SystemClock};
use abide::config::Config;
use abide::selftest::{self, report::Report};
use abide::server::confinement;
use abide::server::diagnostics::{self, print_notice};
use abide::server::service_manager::ServiceManager;
use abide::server::{BoundListeners, Server, StartError};
use cli::Cli;

/// The exit status if the command line, the configuration or the environment is wrong.
const EXIT_BAD_START: u8 = 2;

fn main() -> ExitCode {
    start_log();
    let cli = cli::parse();
    let config = match cli.resolve() {
        Ok(config) => config,
        Err(error) => return refuse(&error),
    };
    warn(&config.warnings());
    if cli.check {
        return check(&config, &cli);
    }
    if cli.selftest {
        let _flush_guard = diagnostics::start();
        return test(&config);
    }
    serve(config, cli)
}

/// Prints `config`, unless a start would refuse it. The process gives up its rights first, as at a start.
fn check(config: &Config, cli: &Cli) -> ExitCode {
    if let Err(error) = Server::check_sockets(config) {
        return refuse(&error);
    }
    if let Err(error) = confinement::rehearse(config, cli.config.as_deref()) {
        return refuse(&error);
    }
    match Server::check(config, SystemClock::new().now()) {
        Ok(warnings) => warn(&warnings),
        Err(error) => return refuse_of(config.user.as_deref(), &error),
    }
    match write!(io::stdout(), "{}", config.to_toml()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            print_notice(format_args!(
                "abide: the configuration cannot be printed: {error}"
            ));
            ExitCode::FAILURE
        }
    }
}

/// Runs the server until it has ended. `config` is what `cli` says.
fn serve(config: Config, cli: Cli) -> ExitCode {
    let mut listeners = match BoundListeners::bind(&config, true) {
        Ok(listeners) => listeners,
        Err(error) => return refuse(&error),
    };
    // Before the rights are given up: this opens files of /proc.
    let admin = listeners.take_admin().map(AdminListener::from);
    let service_manager = ServiceManager::of_environment().unwrap_or_else(|error| {
        print_notice(format_args!(
            "abide: warning: NOTIFY_SOCKET is not used: {error}"
        ));
        None
    });
    let confinement = match confinement::confine(&config, cli.config.as_deref()) {
        Ok(confinement) => confinement,
        Err(error) => return refuse(&error),
    };
    // The first thread. The guard is dropped after the server, so that all its notices are written.
    let _flush_guard = diagnostics::start();
    let user = config.user.clone();
    let mut server = match Server::start(config, Arc::new(SystemClock::new()), listeners) {
        Ok(server) => server,
        Err(error) => return refuse_of(user.as_deref(), &error),
    };
    warn(&confinement.warnings);
    warn(&server.warnings());
    if let Some(service_manager) = service_manager {
        server.report_to(service_manager);
    }
    server.reload_by(Box::new(move |running| {
        cli.resolve_again(running, &confinement)
    }));
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

fn warn(warnings: &[String]) {
    for warning in warnings {
        print_notice(format_args!("abide: warning: {warning}"));
    }
}

/// Starts the thread of the admin listener, if there is one. It answers until the result is dropped, at the
/// end of the program, so also while the server drains.
fn serve_admin(
    listener: Option<AdminListener>,
    server: &Server,
) -> io::Result<Option<AdminThread>> {
    let Some(listener) = listener else {
        return Ok(None);
    };
    let url = listener.address().url();
    let admin = listener.serve(server)?;
    print_notice(format_args!("admin on {url}"));
    Ok(Some(admin))
}

fn test(config: &Config) -> ExitCode {
    match selftest::run(config) {
        Ok(reports) => {
            let printed = reports
                .iter()
                .try_for_each(|report| write!(io::stdout(), "{report}"));
            if reports.iter().all(Report::is_safe) && printed.is_ok() {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            }
        }
        Err(error) => refuse(&error),
    }
}

/// Refuses a start with the rights of `user`, if one is configured.
fn refuse_of(user: Option<&str>, error: &StartError) -> ExitCode {
    match user.filter(|_| error.is_denied) {
        Some(user) => refuse(&format_args!("{error} for the user {user}")),
        None => refuse(error),
    }
}

fn refuse(error: &dyn fmt::Display) -> ExitCode {
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
