//! Bad input by a seed: samples that are flipped, cut, nested, and filled with numbers and bytes that readers dislike.
//!
//! Each case has a generator of its own: its number and the seed are all that is needed to see it again.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{Duration, Instant};

#[path = "random.rs"]
mod random;
pub use random::Random;

/// Cases of one share when nobody says how many.
const FEW: u64 = 6_000;
/// No case may take longer, on a busy machine, in a build that is not optimised.
const LONGEST: Duration = Duration::from_secs(5);

/// Runs the cases of one kind of input, which has so many hundredths of all that `CLAIMRISK_FUZZ_CASES` asks for.
#[expect(clippy::print_stderr, reason = "the numbers are what people ask for")]
pub fn run(what: &str, hundredths: u64, mut case: impl FnMut(&mut Random)) {
    let asked = |name: &str| std::env::var_os(name)?.into_string().ok()?.parse::<u64>().ok();
    let cases = asked("CLAIMRISK_FUZZ_CASES").map_or(FEW, |all| all * hundredths / 100);
    let seed = asked("CLAIMRISK_FUZZ_SEED").unwrap_or(0x5eed);
    let (began, mut slowest) = (Instant::now(), Duration::ZERO);
    let numbers = asked("CLAIMRISK_FUZZ_CASE").map_or(0..cases, |one| one..one + 1);
    for number in numbers {
        let mut random = Random(Random(seed ^ (number << 20)).next());
        let started = Instant::now();
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| case(&mut random))) {
            eprintln!("{what}: case {number} of seed {seed} failed");
            resume_unwind(panic);
        }
        slowest = slowest.max(started.elapsed());
        assert!(slowest < LONGEST, "{what}: case {number} of seed {seed} took {slowest:?}");
    }
    eprintln!("{what}: {cases} cases in {:.1} s, the slowest {slowest:?}", began.elapsed().as_secs_f64());
}

/// What numbers, texts and nesting may do harm anywhere.
pub const NASTY: [&[u8]; 22] = [
    b"\0",
    b"\xff\xfe",
    b"\xc3",
    b"\xed\xa0\x80",
    b"\xef\xbb\xbf",
    b"\\u0000",
    b"\\ud800",
    b"\xe2\x80\xae",
    b"-1",
    b"1e309",
    b"9223372036854775808",
    b"-9223372036854775808",
    b"99999999999999999999999999999999999999",
    b"0.0000000000000000000000000001",
    b"NaN",
    b"null",
    b"{",
    b"[",
    b"\"",
    b"%00",
    b"%",
    b"&",
];

/// Changes bytes in one to seven places. `words` mean something to the reader, so that a change hits more than free text.
pub fn mutate(bytes: &mut Vec<u8>, random: &mut Random, words: &[&[u8]]) {
    for _ in 0..=random.index(6) {
        let at = random.index(bytes.len() + 1);
        let until = |length: usize| (at + length).min(bytes.len());
        match random.index(9) {
            0 => bytes.truncate(at),
            1 => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << random.index(8)),
            2 => drop(bytes.splice(at..at, random.pick(words).iter().copied())),
            3 => drop(bytes.splice(at..at, random.pick(&NASTY).iter().copied())),
            4 => drop(bytes.drain(at..until(random.index(40)))),
            5 => {
                let copy = bytes[at..until(random.index(300))].to_vec();
                let to = random.index(bytes.len() + 1);
                bytes.splice(to..to, copy);
            }
            6 => {
                let end = until(random.index(20));
                bytes[at..end].iter_mut().for_each(|byte| *byte = random.byte());
            }
            7 => {
                // A word in the place of another part, and digits that grow.
                let end = until(random.index(12));
                bytes.splice(at..end, random.pick(words).iter().copied());
            }
            // Deep nesting and long numbers are rare: they are slow to make.
            _ if random.one_in(20) => {
                let (word, times) =
                    (random.pick(&[b"[".as_slice(), b"{\"a\":", b"9", b"(", b"~", b":"]), random.index(3000));
                bytes.splice(at..at, word.repeat(times));
            }
            _ => bytes.rotate_left(at),
        }
    }
}
