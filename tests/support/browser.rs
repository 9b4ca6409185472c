//! Headless Chromium in a process group of its own.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread;

use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::TempDir;

use super::until;

/// Switches that turn off background activity and background traffic.
const SWITCHES: [&str; 13] = [
    "--headless",
    // The tests of a commit run as root.
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-breakpad",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
    "--disable-background-timer-throttling",
    "--no-first-run",
    "--no-default-browser-check",
    "--no-proxy-server",
];

/// Starts the browser with the descriptors of its developer tools: 3 to read, 4 to write.
const PILOTED: &str = "exec chromium \"$@\" 3<&0 4>&1 </dev/null >/dev/null";

/// A browser with a profile of its own. Drop ends the browser and removes the profile.
pub struct Browser {
    main: Child,
    profile: TempDir,
}

impl Browser {
    /// A browser that shows `url`, with more switches.
    pub fn open(url: &str, switches: &[&str]) -> Browser {
        let mut command = Command::new("chromium");
        command.stdin(Stdio::null()).stdout(Stdio::null());
        Browser::start(command, |command| command.args(switches).arg(url))
    }

    /// A browser that takes commands over the first pipe, in the protocol of its developer tools, and
    /// reports events over the second. Both pipes end at once if it is not installed.
    pub fn piloted() -> (Browser, ChildStdin, ChildStdout) {
        let mut command = Command::new("sh");
        command.args(["-c", PILOTED, "sh"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let switch = "--remote-debugging-pipe";
        let mut browser = Browser::start(command, |command| command.arg(switch));
        let to = browser.main.stdin.take().expect("a pipe");
        let from = browser.main.stdout.take().expect("a pipe");
        (browser, to, from)
    }

    fn start(mut command: Command, more: impl Fn(&mut Command) -> &mut Command) -> Browser {
        let profile = TempDir::new().expect("a temporary directory");
        command
            .args(SWITCHES)
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .env("HOME", profile.path())
            .stderr(Stdio::null())
            .process_group(0);
        match more(&mut command).spawn() {
            Ok(main) => Browser { main, profile },
            Err(error) if error.kind() == ErrorKind::NotFound => {
                panic!("chromium is not installed: see .ci/install")
            }
            Err(error) => panic!("chromium does not start: {error}"),
        }
    }

    pub fn assert_runs(&mut self) {
        let ended = self.main.try_wait().expect("wait");
        assert!(ended.is_none(), "chromium ended too early: {ended:?}");
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Kills all processes at once, or one of them would write the profile again.
        let _ = kill_process_group(Pid::from_child(&self.main), Signal::KILL);
        let _ = self.main.wait();
        let profile = self.profile.path();
        let gone = || fs::remove_dir_all(profile).is_ok() || !profile.exists();
        if thread::panicking() {
            gone();
        } else {
            until("the profile can be removed", gone);
        }
    }
}
