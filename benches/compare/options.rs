//! The options after `cargo bench --bench compare --`.

use std::net::SocketAddr;

use clap::Parser;

/// An additional server, from `--server NAME=CMD:PORT`.
#[derive(Debug, Clone)]
pub struct ExtraServer {
    pub name: String,
    /// The command for `sh`, with the directory to serve in `$ROOT` and the port in `$PORT`.
    pub command: String,
    /// The port on 127.0.0.1.
    pub port: u16,
}

/// Compares abide with other servers on this machine.
#[derive(Debug, Parser)]
#[command(name = "cargo bench --bench compare --")]
pub struct Options {
    /// One round of one second, and fewer numbers of connections
    #[arg(long)]
    pub quick: bool,

    /// Measure only this cell, repeatable; a wrong name lists them all
    #[arg(long = "cell", value_name = "NAME")]
    pub cells: Vec<String>,

    /// Add a server: CMD is run by sh, with $ROOT and $PORT set, and listens on 127.0.0.1:PORT
    #[arg(long = "server", value_name = "NAME=CMD:PORT", value_parser = extra)]
    pub servers: Vec<ExtraServer>,

    /// Leave out the servers whose names begin with NAME, repeatable
    #[arg(long = "without", value_name = "NAME")]
    pub without: Vec<String>,

    /// Give the servers one half of the CPUs and the clients the other
    #[arg(long)]
    pub pin: bool,

    /// Seconds for one measurement
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=600))]
    pub seconds: Option<u32>,

    /// Measurements of each cell, of which the median counts
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=99))]
    pub rounds: Option<u32>,

    /// Run as the floor: listen at the first address, and answer like the server at the second one
    #[arg(long, hide = true, num_args = 2)]
    pub floor: Vec<SocketAddr>,

    /// Passed by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

impl Options {
    /// Whether the options leave out the server with this name.
    pub fn leaves_out(&self, name: &str) -> bool {
        let mut unwanted = self.without.iter();
        unwanted.any(|start| name.starts_with(start.as_str()))
    }

    pub fn seconds(&self) -> u32 {
        self.seconds.unwrap_or(if self.quick { 1 } else { 2 })
    }

    pub fn rounds(&self) -> u32 {
        self.rounds.unwrap_or(if self.quick { 1 } else { 3 })
    }
}

fn extra(text: &str) -> Result<ExtraServer, String> {
    let form = "the form is NAME=CMD:PORT";
    let (name, rest) = text.split_once('=').ok_or(form)?;
    let (command, port) = rest.rsplit_once(':').ok_or(form)?;
    if name.is_empty() || command.is_empty() {
        return Err(form.to_owned());
    }
    Ok(ExtraServer {
        name: name.to_owned(),
        command: command.to_owned(),
        port: port.parse().map_err(|_| "PORT is not a port")?,
    })
}
