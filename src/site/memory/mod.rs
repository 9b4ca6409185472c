//! Knowledge of files that is kept: those that were found and the paths without one, until they are due to
//! be compared with the disk, and what is made of files while nobody waits.

pub mod absences;
pub mod all_sites;
pub mod cache;
pub mod checkers;
pub mod checks;
pub mod compressor;
pub mod forms;
pub mod found;
pub mod freshness;
pub mod judge;
pub mod logged_names;
pub mod site_path;
pub mod weighted_cache;
