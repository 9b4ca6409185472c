//! The encoded forms of one file: which there are, which could be made, and those that are ready.
//!
//! A form is filled in at its first use and then stays with its file in the cache. One thread does it,
//! however many ask.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use super::representation::Representation;
use super::siblings::Siblings;
use crate::http::accept_encoding::Coding;

/// The encoded forms of one file.
#[derive(Debug)]
pub struct Forms {
    /// By coding, in the order of [`Coding::COMPRESSED`].
    forms: [Form; 3],
}

#[derive(Debug)]
struct Form {
    /// Whether it is to be read from the name beside the file; if not, it is to be made.
    is_beside: bool,
    is_ordered: AtomicBool,
    /// Set once: the form, or that there is none.
    filled: OnceLock<Option<Representation>>,
}

/// What is known of a form.
#[derive(Debug)]
pub enum State<'a> {
    /// It is ready to be sent.
    Ready(&'a Representation),
    /// There is none, and none will be made: nothing lies beside the file and compressing it is not
    /// wanted, or brings too little.
    None,
    /// It lies beside the file, and has not been read.
    Beside,
    /// It could be made.
    Possible,
    /// Somebody makes it, or has been told to.
    Ordered,
}

impl Forms {
    /// The forms of a file with these `siblings`. What is missing there may be made if
    /// `may_compress`. `None` if there cannot be any.
    #[must_use]
    pub fn new(siblings: Option<&Siblings>, may_compress: bool) -> Option<Forms> {
        let forms = Coding::COMPRESSED.map(|coding| {
            let is_beside = siblings.is_some_and(|siblings| siblings.usable(coding).is_some());
            let filled = OnceLock::new();
            if !is_beside && !may_compress {
                // It is new, so nothing can be in it.
                let _ = filled.set(None);
            }
            Form {
                is_beside,
                is_ordered: AtomicBool::new(false),
                filled,
            }
        });
        let is_any = forms.iter().any(|form| form.filled.get().is_none());
        is_any.then_some(Forms { forms })
    }

    /// What is known of the form in `coding`. Never waits.
    #[must_use]
    pub fn state(&self, coding: Coding) -> State<'_> {
        let Some(form) = self.forms.get(coding as usize) else {
            return State::None;
        };
        match form.filled.get() {
            Some(Some(representation)) => State::Ready(representation),
            Some(None) => State::None,
            None if form.is_beside => State::Beside,
            None if form.is_ordered.load(Ordering::Relaxed) => State::Ordered,
            None => State::Possible,
        }
    }

    /// Whether the form in `coding` lies beside the file, read or not; if not, it can only be made.
    #[must_use]
    pub fn is_beside(&self, coding: Coding) -> bool {
        let form = self.forms.get(coding as usize);
        form.is_some_and(|form| form.is_beside)
    }

    /// The form in `coding`, if it is ready.
    #[must_use]
    pub fn ready_in(&self, coding: Coding) -> Option<&Representation> {
        self.forms.get(coding as usize)?.filled.get()?.as_ref()
    }

    /// Fills in the form in `coding`, with what `make` returns, unless that has been done; waits for
    /// another thread that is at it. Also tells whether it was this call that filled it in.
    pub fn fill(
        &self,
        coding: Coding,
        make: impl FnOnce() -> Option<Representation>,
    ) -> (Option<&Representation>, bool) {
        let Some(form) = self.forms.get(coding as usize) else {
            return (None, false);
        };
        let mut is_ours = false;
        let filled = form.filled.get_or_init(|| {
            is_ours = true;
            make()
        });
        (filled.as_ref(), is_ours)
    }

    /// Whether the caller is the one to have the form in `coding` made: true for one caller.
    #[must_use]
    pub fn claim_order(&self, coding: Coding) -> bool {
        let form = self.forms.get(coding as usize);
        form.is_some_and(|form| !form.is_ordered.swap(true, Ordering::Relaxed))
    }

    /// Gives the claim back: the order could not be placed, and the next caller may try.
    pub fn return_order(&self, coding: Coding) {
        if let Some(form) = self.forms.get(coding as usize) {
            form.is_ordered.store(false, Ordering::Relaxed);
        }
    }

    /// Those that are ready.
    pub fn ready(&self) -> impl Iterator<Item = &Representation> {
        self.forms
            .iter()
            .filter_map(|form| form.filled.get()?.as_ref())
    }
}
