//! Models of the protocols between threads. Loom tries every interleaving of the short stories, and those of
//! the longer ones that have at most two preemptions.

mod ownership;
