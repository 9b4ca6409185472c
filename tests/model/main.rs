//! Models of the protocols between threads, of which loom tries every interleaving.

mod ownership;
