//! How long a connection lives and how it ends: the promises to a client, the timeouts, the limits, and the
//! connections of a server that ends or is replaced.

mod descriptors;
mod drain;
mod event_loops;
mod half_open;
mod handshakes;
mod health;
mod inherited_sockets;
mod interrupt;
mod keep_alive;
mod overload;
mod pressure;
mod proxy_limits;
mod proxy_protocol;
mod reload;
mod selftest;
mod silent_peers;
mod slow_readers;
mod slowloris;
mod timeouts;
mod tls;
mod vanished_peers;
