//! The systems outside: bank, warehouse, carrier, and the book of figures.
//!
//! Each is asked with a key and does a thing once ([`stage::Book`]): that, and nothing in the
//! stream, is what makes an effect happen once although events come at least once.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use levada::Fault;
use stage::Book;

use crate::plan::{self, BROKEN_ISSUER, BUSY_ISSUER};

/// What the demo makes when the broken issuer is mended.
const MENDED: &str = "lagoon.mended";

/// Where the books are.
#[derive(Clone, Debug)]
pub(crate) struct Books(PathBuf);

impl Books {
    pub(crate) fn new(dir: &Path) -> Self {
        Self(dir.to_owned())
    }

    /// The lines of a book as they are now.
    pub(crate) fn lines(&self, name: &str) -> Result<Vec<(String, String)>> {
        stage::lines(&self.path(name)).with_context(|| format!("cannot read the book of {name}"))
    }

    /// Lets the broken issuer answer from now on.
    pub(crate) fn mend(&self) -> Result<()> {
        Ok(std::fs::write(self.0.join(MENDED), "")?)
    }

    fn open(&self, name: &str) -> Result<Arc<Book>> {
        let book = Book::open(&self.path(name));
        Ok(Arc::new(book.with_context(|| format!("cannot open the book of {name}"))?))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(format!("{name}.book"))
    }
}

/// All of them, open in this process.
#[derive(Clone, Debug)]
pub(crate) struct Outside {
    books: Books,
    bank: Arc<Book>,
    pub(crate) warehouse: Arc<Book>,
    pub(crate) carrier: Arc<Book>,
    pub(crate) figures: Arc<Book>,
    /// Orders that were acknowledged to the customers.
    pub(crate) shop: Arc<Book>,
}

impl Outside {
    pub(crate) fn open(books: &Books) -> Result<Self> {
        Ok(Self {
            bank: books.open("bank")?,
            warehouse: books.open("warehouse")?,
            carrier: books.open("carrier")?,
            figures: books.open("figures")?,
            shop: books.open("shop")?,
            books: books.clone(),
        })
    }

    /// Asks the issuer of a card whether the money is there. Nothing moves yet.
    pub(crate) fn authorise(&self, issuer: &str, attempt: u64) -> Result<(), Fault> {
        if issuer == BROKEN_ISSUER && !self.books.0.join(MENDED).exists() {
            return Err(Fault::new(format!("{issuer} does not answer")));
        }
        if issuer == BUSY_ISSUER && attempt <= 2 {
            return Err(Fault::new(format!("the line to {issuer} is busy")));
        }
        Ok(())
    }

    /// Takes the money of an order, once.
    pub(crate) fn capture(&self, order: &str, cents: u64) -> Result<(), Fault> {
        record(&self.bank, &format!("capture {order}"), &cents.to_string())
    }

    /// Sends money back that came too late, once.
    pub(crate) fn refund(&self, order: &str, cents: u64) -> Result<(), Fault> {
        record(&self.bank, &format!("refund {order}"), &cents.to_string())
    }

    /// Tells the carrier of a step of a parcel, once.
    pub(crate) fn parcel(&self, order: &str, step: &str, attempt: u64) -> Result<(), Fault> {
        let number = plan::number(order).unwrap_or(0);
        if plan::is_busy_at_the_carrier(number) && attempt == 1 {
            return Err(Fault::new("the line to the carrier is busy"));
        }
        record(&self.carrier, &format!("{step} {order}"), "")
    }

    /// Requests that came a second time and changed nothing, since this process began.
    pub(crate) fn repeats(&self) -> u64 {
        let all = [&self.bank, &self.warehouse, &self.carrier, &self.figures, &self.shop];
        all.iter().map(|book| book.repeats()).sum()
    }
}

/// Writes into a book. The thread waits for the disk, so others take its tasks over.
pub(crate) fn record(book: &Book, key: &str, text: &str) -> Result<(), Fault> {
    tokio::task::block_in_place(|| book.write(key, text))?;
    Ok(())
}
