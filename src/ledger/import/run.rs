//! From files to observations in the ledger.

use super::{
    line::Lines,
    sum::{Place, Sums},
};
use crate::{
    evidence::{Evidence, Own, counter},
    exit::{CONFIGURATION, Failure, RUNTIME},
    ledger::{args::ImportArgs, bytes, now},
};
use std::{
    collections::{BTreeMap, HashMap},
    fs::File,
    io::{BufRead, BufReader, Read as _},
    path::Path,
    process::ExitCode,
};
use weir_protocol::{Observation, RelayId};

/// Longest line, in bytes.
const MAX_LINE: u64 = 64 * 1024;

/// Imports.
pub(in crate::ledger) async fn run(args: ImportArgs) -> Result<ExitCode, Failure> {
    let ledger = Evidence::open(&args.place.directory(), args.admin).await?;
    let hosts: HashMap<String, RelayId> =
        args.relays.into_iter().map(|(host, relay)| (host.to_ascii_lowercase(), relay)).collect();
    let now = now();
    let ring = ledger.keys.ring(now)?;
    let mut sums = Sums {
        epoch_ms: ledger.epoch_ms,
        now,
        ring: &ring,
        hosts: &hosts,
        tokens: HashMap::new(),
        found: BTreeMap::new(),
    };
    let mut lines = 0;
    for path in &args.files {
        lines += read(path, &mut sums)?;
    }
    let sums = sums.into_sums();
    if sums.is_empty() {
        println!("✔ imported   nothing: there is no line in it");
        return Ok(ExitCode::SUCCESS);
    }
    let own: Result<Vec<Own>, _> = sums
        .iter()
        .map(|(place, sum)| Own::observation(observation(&ledger, *place, *sum), &ledger.keys.signing()))
        .collect();
    ledger.add(&own.map_err(|error| Failure::new(RUNTIME, error))?, args.replace).await?;
    let all = sums.iter().fold(0_u64, |all, (_, sum)| all.saturating_add(*sum));
    let (first, last) = (sums[0].0.0, sums[sums.len() - 1].0.0);
    println!("✔ imported   {lines} lines: {} B in {} sessions, epochs {first} to {last}", bytes(all), sums.len());
    Ok(ExitCode::SUCCESS)
}

fn observation(ledger: &Evidence, (epoch, relay, token): Place, sum: u64) -> Observation {
    Observation {
        publisher: ledger.keys.publisher(),
        epoch,
        relay,
        token,
        counter: counter(),
        listed_bytes: None,
        reported_bytes: None,
        imported_bytes: Some(sum),
        time: now(),
    }
}

/// Adds a file up; says how many lines it has.
fn read(path: &Path, sums: &mut Sums<'_>) -> Result<u64, Failure> {
    let failed =
        |error: std::io::Error| Failure::new(CONFIGURATION, format!("cannot read {}: {error}", path.display()));
    let mut reader = BufReader::new(File::open(path).map_err(failed)?);
    let (mut lines, mut number, mut rows) = (Lines::new(), 0_u64, 0);
    let mut text = Vec::new();
    loop {
        text.clear();
        number += 1;
        let read = reader.by_ref().take(MAX_LINE).read_until(b'\n', &mut text).map_err(failed)?;
        if read == 0 {
            return Ok(rows);
        }
        let wrong = |why: &str| {
            let text = format!("{} line {number}: {why}; nothing was imported", path.display());
            Failure::new(CONFIGURATION, text)
        };
        if text.len() as u64 == MAX_LINE && !text.ends_with(b"\n") {
            return Err(wrong("a line has at most 65536 bytes"));
        }
        let line = std::str::from_utf8(&text).map_err(|_| wrong("not UTF-8"))?;
        if let Some(row) = lines.read(line).map_err(|why| wrong(&why))? {
            sums.add(&row).map_err(|why| wrong(&why))?;
            rows += 1;
        }
    }
}
