#!/usr/bin/env bash
# What counting and signing for payment costs an edge at full HTTP/3 load: the share of profile samples, taken by `perf` over the
# whole process, in whose call chain code of the meter, the ledger's messages or the tokens is found, inlined or not.
#
# usage: loadtest/metering.sh [SAMPLES]     (20000)
#
#   WEIR_BIN   the command (default: the release build, else the debug build, in the target directory)
#
# Needs perf, addr2line, python3, curl, openssl and, for the film, ffmpeg. An adapter with a ledger, an edge that joins it, and
# `weir load raw` with a session's token, all on this machine.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=loadtest/servers.bash
source loadtest/servers.bash

samples=${1:-20000}
need perf addr2line python3 curl openssl ffmpeg
certificate
film

"$weir" origin --upstream "$scratch/www" --name film --http 127.0.0.1:8450 --peer 127.0.0.1:0 --admin 127.0.0.1:0 \
    --data "$scratch/origin" --ledger 2>"$scratch/origin.log" >"$scratch/origin.out" &
children+=($!)
answers http://127.0.0.1:8450/.well-known/weir
"$weir" edge --join http://127.0.0.1:8450 --listen 127.0.0.1:8451 --peer 127.0.0.1:0 --admin 127.0.0.1:0 \
    --data "$scratch/edge" --cert "$scratch/both.pem" --key "$scratch/both.pem" --memory 512MiB --claim-seconds 5 \
    2>"$scratch/edge.log" >"$scratch/edge.out" &
edge=$!
children+=("$edge")
answers https://127.0.0.1:8451/film/film/master.m3u8

url=$("$weir" token --data "$scratch/origin" --url https://127.0.0.1:8451/film/film/2000/index1.m4s)
"$weir" load raw "$url" --http 3 -c 4 --streams 2 -n 20 --insecure >/dev/null
"$weir" load raw "$url" --http 3 -c 4 --streams 2 -n 10000000 --insecure >"$scratch/raw.out" &
load=$!
children+=("$load")

# A sample for each millisecond of processor time, with 8 KiB of stack for the call chain.
perf record --quiet -e cpu-clock -F 1000 --call-graph dwarf,8192 -p "$edge" -o "$scratch/perf.data" -- \
    sleep $((samples / 500 + 2)) 2>"$scratch/perf.log" || { cat "$scratch/perf.log" >&2; exit 1; }
kill "$load"
perf script -i "$scratch/perf.data" --no-demangle --no-inline -F ip,sym,symoff,dso 2>/dev/null |
    python3 loadtest/shares.py "$weir" "$samples" \
        'metering=relay/src/meter/' 'tokens=edge/src/tokens/,relay/src/tokens/' \
        'messages=protocol/src/statement/,protocol/src/token.rs' 'quic=quinn'
