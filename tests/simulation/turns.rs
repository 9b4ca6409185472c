//! The number of turns that a large transfer takes: each turn passes through a queue, and some need a
//! wake-up.

use std::fs;

use abide::clock::Millis;

use super::responses::{HeadRequests, finals, only};
use super::world::{TestSite, content};
use support::scripted::ScriptedPeer;

const SHARE: usize = 256 * 1024;

fn ask(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").into_bytes()
}

/// The turns that it takes to send `len` bytes from memory to a peer that takes everything.
fn turns_from_memory(len: usize) -> u32 {
    let mut site = TestSite::new();
    fs::write(site.directory.path().join("body"), content(len)).unwrap();
    (site.config.cache.bytes, site.config.cache.file_bytes) = (1 << 26, 1 << 22);
    let mut world = site.world();
    let first = world.connect(ScriptedPeer::new());
    world.send(Millis(0), first, ask("/body"));
    let it = world.connect(ScriptedPeer::new());
    world.run_until(Millis(0));
    let before = world.worker_turns();
    world.send(Millis(1), it, ask("/body"));
    world.run_until(Millis(1));
    assert_eq!(only(&world.peer(it).sent).body, content(len));
    // The first turn runs on the event loop.
    1 + world.worker_turns() - before
}

#[test]
fn a_body_as_large_as_a_turn_s_share_takes_one_turn() {
    assert_eq!(turns_from_memory(SHARE), 1);
}

#[test]
fn a_larger_one_gives_way_to_others_and_is_finished_by_a_worker() {
    assert_eq!(turns_from_memory(SHARE + 1), 2);
    assert_eq!(turns_from_memory(1 << 20), 2);
}

/// The turns that it takes to answer ten requests in one segment, each from the disk.
fn turns_from_disk(others_wait: bool) -> u32 {
    let mut site = TestSite::new();
    fs::write(site.directory.path().join("body"), content(10)).unwrap();
    site.config.cache.bytes = 0;
    let mut world = site.world();
    let it = world.connect(ScriptedPeer::new());
    if others_wait {
        world.hurry();
    }
    world.send(Millis(1), it, ask("/body").repeat(10));
    world.run_until(Millis(1));
    assert_eq!(
        finals(&world.peer(it).sent, HeadRequests::Known(&[])).len(),
        10
    );
    1 + world.worker_turns()
}

/// The first turn is the event loop's, which cannot answer.
#[test]
fn a_pipeline_that_takes_long_gives_way_to_others() {
    assert_eq!(turns_from_disk(false), 1 + 1);
    assert_eq!(turns_from_disk(true), 1 + 10);
}
