//! The content of a file as it is sent: its media type, the codings that it is there in, and the field lines
//! that describe it.

pub mod comparison;
pub mod content_coding;
pub mod decoding;
pub mod encoded_names;
pub mod encoder;
pub mod loading;
pub mod media_types;
pub mod representation;
pub mod siblings;
