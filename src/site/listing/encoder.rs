//! Compressing a listing, in slices like all that is done for it.
//!
//! A page of several megabytes is kept for a second or so and then made anew. If it were compressed in
//! the background for those who ask next, like a file, mostly nobody would.

use std::io;
use std::sync::Arc;

use bytes::Bytes;

use super::builder::grow;
use super::cache::{ListingCache, Reservation};
use super::page::ListingPage;
use crate::http::accept_encoding::Coding;
use crate::site::content::{
    ENCODER_PIECE_BYTES, ENCODER_WORKING_BYTES, Encoder, MIN_COMPRESSED_BYTES, is_worth_it,
};
use crate::site::waiting::Slice;

/// A listing on its way into a coding.
pub struct ListingEncoder {
    page: Arc<ListingPage>,
    coding: Coding,
    /// `None` once it has come to its end.
    encoder: Option<Encoder>,
    /// Bytes of the content that the encoder has.
    written: usize,
    reservation: Reservation,
    kept: Arc<ListingCache>,
}

impl ListingEncoder {
    /// Begins to compress `page`, with memory of `reservation` and if need be of what is `kept`. `None` if there
    /// is nothing to do, or no memory to do it.
    #[must_use]
    pub fn begin(
        page: &Arc<ListingPage>,
        coding: Coding,
        mut reservation: Reservation,
        kept: &Arc<ListingCache>,
    ) -> Option<ListingEncoder> {
        if page.is_ready_in(coding) {
            return None;
        }
        if page.content.len() < MIN_COMPRESSED_BYTES {
            page.encoded.fill(coding, None);
            return None;
        }
        grow(&mut reservation, ENCODER_WORKING_BYTES, kept).ok()?;
        let encoder = Encoder::new(coding).unwrap_or_else(|error| failed(coding, &error));
        Some(ListingEncoder {
            page: Arc::clone(page),
            coding,
            encoder: Some(encoder?),
            written: 0,
            reservation,
            kept: Arc::clone(kept),
        })
    }

    /// The page that is compressed.
    #[must_use]
    pub fn page(&self) -> Arc<ListingPage> {
        Arc::clone(&self.page)
    }

    /// Goes on until `slice` is over: `None` if that comes first, then the page. The page stays without
    /// the coding if there is not enough memory.
    pub fn go_on(&mut self, slice: &dyn Slice) -> Option<Arc<ListingPage>> {
        while let Some(encoder) = &mut self.encoder {
            let rest = &self.page.content[self.written..];
            let piece = &rest[..rest.len().min(ENCODER_PIECE_BYTES)];
            if piece.is_empty() {
                break;
            }
            let needed = ENCODER_WORKING_BYTES + encoder.output_bytes();
            let missing = needed.saturating_sub(self.reservation.bytes());
            if grow(&mut self.reservation, missing, &self.kept).is_err() {
                self.encoder = None;
                break;
            }
            if let Err(error) = encoder.write(piece) {
                self.encoder = failed(self.coding, &error);
                break;
            }
            self.written += piece.len();
            if slice.is_over() {
                return None;
            }
        }
        if let Some(encoder) = self.encoder.take() {
            match encoder.finish() {
                Ok(encoded) => self.end(encoded),
                Err(error) => failed(self.coding, &error).unwrap_or_default(),
            }
        }
        Some(self.page())
    }

    fn end(&mut self, mut encoded: Vec<u8>) {
        if !is_worth_it(self.page.content.len(), encoded.len()) {
            return self.page.encoded.fill(self.coding, None);
        }
        encoded.shrink_to_fit();
        let mut reservation = self.reservation.take();
        let bytes = encoded.capacity() as u64;
        reservation.shrink_to(bytes);
        let missing = bytes.saturating_sub(reservation.bytes());
        if grow(&mut reservation, missing, &self.kept).is_ok() {
            let bytes: Bytes = reservation.hold(encoded);
            self.page.encoded.fill(self.coding, Some(bytes));
        }
    }
}

/// Only a lack of memory gets here; the page itself can still be sent.
fn failed<T>(coding: Coding, error: &io::Error) -> Option<T> {
    log::error!("a listing in {}: {error}", coding.token());
    None
}
