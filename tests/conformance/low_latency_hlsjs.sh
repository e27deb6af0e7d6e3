#!/usr/bin/env bash
# hls.js in low-latency mode, in headless Chromium, plays an LL channel through an adapter and two relays, and through
# `weir origin --ll` in front of chunked CMAF: less than three seconds behind, without a stall.
# needs: node chromium node_modules

# shellcheck source=tests/conformance/lib.bash
source "$(dirname "${BASH_SOURCE[0]}")/lib.bash"

"$weir" demo --origin-only "$any" >"$scratch/source.url" 2>"$scratch/source.err" </dev/null &
children+=($!)
for ((waited = 0; waited < 100; waited++)); do
    [[ -s $scratch/source.url ]] && break
    sleep 0.1
done
source_url=$(head -n 1 "$scratch/source.url")

# plays NAME PATH FLAG...: an adapter with these flags, two relays with a viewer each, and what the first one measures.
plays() {
    local name=$1 path=$2 relay
    shift 2
    start "$name" origin --upstream "$source_url" --http "$any" --peer "$any" --admin "$any" "$@"
    for relay in a b; do
        start "$name-$relay" edge --join "http://$(address "$name" http)" \
            --listen "$any" --http "$any" --peer "$any" --admin "$any"
    done
    node "$root/player-demo/tests/low_latency.mjs" --url "http://$(address "$name-a" http)$path" \
        --also "http://$(address "$name-b" http)$path"
}

check 'an LL origin through two relays' plays native /ll/master.m3u8
check 'chunked CMAF made low latency' plays made /chunked/540p/index.m3u8 --ll
