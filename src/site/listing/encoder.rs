//! Compressing a listing, in slices.
//!
//! A listing is compressed before its first response, and not in the background like a file. It is cached
//! for a second or so only, and usually nobody would request it again in that time.

use std::io;
use std::sync::Arc;

use bytes::Bytes;

use super::builder::grow;
use super::cache::{ListingCache, Reservation};
use super::page::ListingPage;
use crate::http::accept_encoding::Coding;
use crate::site::content::{
    ENCODER_PIECE_BYTES, ENCODER_WORKING_BYTES, Encoder, MIN_COMPRESSED_BYTES, saves_enough,
};
use crate::site::waiting::Slice;

/// Compresses a listing.
pub struct ListingEncoder {
    page: Arc<ListingPage>,
    coding: Coding,
    /// `None` at the end.
    encoder: Option<Encoder>,
    /// The number of content bytes given to the encoder so far.
    written: usize,
    reservation: Reservation,
    cache: Arc<ListingCache>,
}

impl ListingEncoder {
    /// Starts to compress `page` with memory of `reservation`. If the budget has no memory left, the cached
    /// listings are dropped. `None` if there is nothing to do, or no memory for it.
    #[must_use]
    pub fn begin(
        page: &Arc<ListingPage>,
        coding: Coding,
        mut reservation: Reservation,
        cache: &Arc<ListingCache>,
    ) -> Option<ListingEncoder> {
        if page.is_ready_in(coding) {
            return None;
        }
        if page.content.len() < MIN_COMPRESSED_BYTES {
            page.encoded.fill(coding, None);
            return None;
        }
        grow(&mut reservation, ENCODER_WORKING_BYTES, cache).ok()?;
        let encoder = Encoder::new(coding).unwrap_or_else(|error| failed(coding, &error));
        Some(ListingEncoder {
            page: Arc::clone(page),
            coding,
            encoder: Some(encoder?),
            written: 0,
            reservation,
            cache: Arc::clone(cache),
        })
    }

    /// The page that is being compressed.
    #[must_use]
    pub fn page(&self) -> Arc<ListingPage> {
        Arc::clone(&self.page)
    }

    /// Continues until `slice` is over: `None` if it is unfinished then, and the page at the end. If there
    /// is not enough memory, the page stays uncompressed.
    pub fn go_on(&mut self, slice: &dyn Slice) -> Option<Arc<ListingPage>> {
        while let Some(encoder) = &mut self.encoder {
            let rest = &self.page.content[self.written..];
            let piece = &rest[..rest.len().min(ENCODER_PIECE_BYTES)];
            if piece.is_empty() {
                break;
            }
            let needed = ENCODER_WORKING_BYTES + encoder.output_bytes();
            let missing = needed.saturating_sub(self.reservation.bytes());
            if grow(&mut self.reservation, missing, &self.cache).is_err() {
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
        if !saves_enough(self.page.content.len(), encoded.len()) {
            return self.page.encoded.fill(self.coding, None);
        }
        encoded.shrink_to_fit();
        let mut reservation = self.reservation.take();
        let bytes = encoded.capacity() as u64;
        reservation.shrink_to(bytes);
        let missing = bytes.saturating_sub(reservation.bytes());
        if grow(&mut reservation, missing, &self.cache).is_ok() {
            let bytes: Bytes = reservation.hold(encoded);
            self.page.encoded.fill(self.coding, Some(bytes));
        }
    }
}

/// The only cause is a lack of memory. The page can still be sent uncompressed.
fn failed<T>(coding: Coding, error: &io::Error) -> Option<T> {
    log::error!("a listing in {}: {error}", coding.token());
    None
}
