//! A mutating driver without coverage feedback from the compiler: a target returns a number that says what kind of answer
//! it gave, and an input with an answer not seen before joins the pool. Invariant: a run ends when its time is over, and
//! what is kept in the pool is bounded.

use std::{
    collections::HashSet,
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// Inputs that are mutated.
const POOL: usize = 4096;
/// Longest input, in bytes.
const LONGEST: usize = 16 * 1024;
/// Mutations of one input.
const MOST_EDITS: u64 = 6;
/// An input that takes longer than this is a failure: parsers here are linear.
const SLOW: Duration = Duration::from_secs(2);

/// xorshift64*: enough to choose places, and the same on every machine.
pub(super) struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, bound: usize) -> usize {
        if bound == 0 { 0 } else { (self.next() % bound as u64) as usize }
    }
}

/// Runs a target over the corpus and its mutations.
pub(super) fn run(name: &str, words: &[&str], target: fn(&[u8]) -> u64) {
    let seconds = number("WEIR_FUZZ_SECONDS").unwrap_or(1);
    let seed = number("WEIR_FUZZ_SEED")
        .unwrap_or_else(|| SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |since| since.as_nanos() as u64));
    let (mut random, mut seen) = (Random(seed | 1), HashSet::new());
    let mut pool = corpus(name);
    assert!(pool.len() >= 3, "the corpus of {name} is missing");
    for input in &pool {
        seen.insert(attempt(name, target, input, seed));
    }
    let (began, mut tried) = (Instant::now(), pool.len());
    while began.elapsed() < Duration::from_secs(seconds) {
        let mut input = pool[random.below(pool.len())].clone();
        for _ in 0..1 + random.next() % MOST_EDITS {
            edit(&mut input, &pool, words, &mut random);
        }
        input.truncate(LONGEST);
        tried += 1;
        if seen.insert(attempt(name, target, &input, seed)) {
            let at = if pool.len() < POOL { pool.len() } else { random.below(POOL) };
            if at == pool.len() { pool.push(input) } else { pool[at] = input }
        }
    }
    println!("# fuzz {name}: {tried} inputs in {:?}, {} kinds of answers, seed {seed}", began.elapsed(), seen.len());
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// Every file of the target's corpus, in the order of their names.
fn corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/faults/fuzz/corpus").join(name);
    let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| fs::read(file).unwrap()).collect()
}

fn attempt(name: &str, target: fn(&[u8]) -> u64, input: &[u8], seed: u64) -> u64 {
    let began = Instant::now();
    let outcome = catch_unwind(AssertUnwindSafe(|| target(input)));
    let took = began.elapsed();
    if let Ok(answer) = outcome
        && took < SLOW
    {
        return answer;
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/fuzz-failures");
    fs::create_dir_all(&folder).unwrap();
    let path = folder.join(format!("{name}-{seed:016x}"));
    fs::write(&path, input).unwrap();
    let why = if outcome.is_err() { "broke a property or panicked".to_owned() } else { format!("took {took:?}") };
    panic!("an input to {name} {why}: it is in {} (seed {seed}): {:?}", path.display(), String::from_utf8_lossy(input));
}

fn edit(input: &mut Vec<u8>, pool: &[Vec<u8>], words: &[&str], random: &mut Random) {
    let at = random.below(input.len() + 1);
    match random.below(9) {
        0 => {
            let word = words[random.below(words.len())];
            input.splice(at..at, word.bytes());
        }
        1 if !input.is_empty() => {
            let at = random.below(input.len());
            input[at] = random.next() as u8;
        }
        2 if !input.is_empty() => {
            let at = random.below(input.len());
            input[at] ^= 1 << random.below(8);
        }
        3 => {
            let to = (at + random.below(32)).min(input.len());
            input.drain(at..to);
        }
        4 => {
            let to = (at + random.below(64)).min(input.len());
            let piece = input[at..to].to_vec();
            let place = random.below(input.len() + 1);
            input.splice(place..place, piece);
        }
        5 => {
            // The end of another input behind the beginning of this one.
            let other = &pool[random.below(pool.len())];
            let from = random.below(other.len() + 1);
            input.truncate(at);
            input.extend_from_slice(&other[from..]);
        }
        6 => {
            let digits: Vec<usize> = (0..input.len()).filter(|at| input[*at].is_ascii_digit()).collect();
            if let Some(at) = digits.get(random.below(digits.len())) {
                const NUMBERS: [&str; 6] =
                    ["0", "-1", "18446744073709551615", "18446744073709551616", "9007199254740992", "1.5"];
                let number = NUMBERS[random.below(NUMBERS.len())];
                input.splice(*at..=*at, number.bytes());
            }
        }
        7 => input.truncate(at),
        _ => {
            let word = words[random.below(words.len())];
            let to = (at + word.len()).min(input.len());
            input.splice(at..to, word.bytes());
        }
    }
}
