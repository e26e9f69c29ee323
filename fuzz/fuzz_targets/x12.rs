//! Fuzzes the X12 reader: no input may panic, and cutting it into chunks may not change what is read.
//!
//! The first byte chooses the size of the chunks, the rest is the file.
#![no_main]

use claimrisk::domain::x12::{Reader, read_all};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((&size, file)) = data.split_first() else { return };
    let whole = read_all(file);
    let mut items = Vec::new();
    let mut reader = Reader::new();
    for chunk in file.chunks(usize::from(size) + 1) {
        reader.push(chunk, &mut |item| items.push(item));
    }
    let summary = reader.finish(&mut |item| items.push(item));
    assert!(whole == (items, summary), "chunks of {}", usize::from(size) + 1);
});
