//! File descriptors: connections and large files that are being sent share them, and neither accept nor
//! open ever fails for lack of one.

use std::process::Stdio;

use support::client::request;
use support::{Client, Launch, Site, until};

/// The server's limit of descriptors.
const LIMIT: usize = 400;

/// Clients that each request a large file and read nothing of it. Each takes two descriptors.
const READERS: usize = 200;

fn name(number: usize) -> String {
    format!("/large{number}.bin")
}

#[test]
fn slow_readers_of_many_large_files_leave_descriptors_to_others() {
    let site = Site::new();
    for number in 0..READERS {
        site.sparse(&name(number)[1..], 64 << 20);
    }
    for config in ["", "[cache]\nbytes = 0\n"] {
        let limited = format!("ulimit -n {LIMIT} && exec \"$0\" \"$@\"");
        let server = Launch::of(site.root())
            .through(&["sh", "-c", &limited], Stdio::null())
            .config(config)
            .start();
        let mut readers = Vec::new();
        let mut refused = 0;
        for number in 0..READERS {
            let mut reader = Client::connect_narrow(server.address());
            reader.send(request("GET", &name(number), ""));
            let head = reader.head();
            match head.status {
                200 => readers.push(reader),
                503 => {
                    assert!(head.field("retry-after").is_some());
                    refused += 1;
                }
                status => panic!("{status} for file {number}"),
            }
        }
        println!("{} files under way, {refused} refused", readers.len());
        assert!(readers.len() >= LIMIT / 4, "{} readers", readers.len());
        assert!(refused > 0, "there is a bound");
        assert!(server.descriptors() < LIMIT);
        for _ in 0..20 {
            let mut other = server.connect();
            assert_eq!(other.get("/").status, 200, "from memory, or a small file");
        }
        let said = server.stderr();
        assert!(!said.contains("no connection can be accepted"), "{said}");
        drop(readers);
        until("the files are closed", || {
            let mut client = Client::connect_narrow(server.address());
            client.send(request("GET", &name(READERS - 1), ""));
            client.head().status == 200
        });
    }
}
