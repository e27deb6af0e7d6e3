#!/usr/bin/env bash
# Whether `weir load raw` measures what h2load measures: both get the same objects from the same nginx over HTTP/1.1 and HTTP/2, in
# turns, and the medians of three rounds must agree within 15 %: requests a second, and the server's CPU time for each request.
#
# usage: loadtest/h2load.sh
#
#   WEIR_BIN   the command (default: the release build, else the debug build, in the target directory)
#   ROUNDS     how often each has its turn (default 3)
#
# Needs nginx, openssl and h2load (Debian: nghttp2-client). Both clients use one core: a client that is slower than the server
# would measure itself.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=loadtest/servers.bash
source loadtest/servers.bash

need nginx openssl h2load python3
readonly rounds=${ROUNDS:-3}
certificate
mkdir -p "$scratch/www"
head -c 2097152 /dev/urandom >"$scratch/www/large"
head -c 204800 /dev/urandom >"$scratch/www/middle"
head -c 2048 /dev/urandom >"$scratch/www/small"
start_nginx 8443 8442
answers https://127.0.0.1:8443/small

hertz=$(getconf CLK_TCK)
# The server's CPU time so far, in ticks.
ticks() { awk '{ sub(/.*\) /, ""); print $12 + $13 }' "/proc/$nginx/stat"; }

# figures TOOL VERSION OBJECT REQUESTS CONNECTIONS: prints "requests-a-second CPU-microseconds-a-request".
figures() {
    local before after rate
    before=$(ticks)
    if [[ $1 == h2load ]]; then
        local version=()
        [[ $2 == 1 ]] && version=(--h1)
        rate=$(h2load "${version[@]}" -t 1 -n "$4" -c "$5" -m 1 "https://127.0.0.1:8443/$3" |
            sed -n 's/^finished in .*, \([0-9.]*\) req\/s.*/\1/p')
    else
        rate=$("$weir" load raw --insecure --http "$2" -n "$4" -c "$5" --json "https://127.0.0.1:8443/$3" |
            python3 -c 'import json, sys; print(json.load(sys.stdin)["requests_per_second"])')
    fi
    after=$(ticks)
    awk -v rate="$rate" -v ticks=$((after - before)) -v hertz="$hertz" -v n="$4" \
        'BEGIN { printf "%.1f %.1f\n", rate, ticks / hertz * 1e6 / n }'
}

median() { sort -g | awk '{ v[NR] = $1 } END { print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }

status=0
printf '%-22s %12s %12s %7s   %12s %12s %7s\n' '' h2load/s weir/s ratio 'h2load us' 'weir us' ratio
for case in 'large 1500 16' 'middle 12000 64' 'small 60000 64'; do
    read -r object requests connections <<<"$case"
    for version in 1 2; do
        : >"$scratch/h2load.txt"
        : >"$scratch/weir.txt"
        for ((round = 0; round < rounds; round++)); do
            for tool in h2load weir; do
                figures "$tool" "$version" "$object" "$requests" "$connections" >>"$scratch/$tool.txt"
            done
        done
        row=()
        for column in 1 2; do
            theirs=$(cut -d' ' -f"$column" "$scratch/h2load.txt" | median)
            ours=$(cut -d' ' -f"$column" "$scratch/weir.txt" | median)
            row+=("$theirs" "$ours" "$(awk -v a="$theirs" -v b="$ours" 'BEGIN { printf "%.2f", b / a }')")
        done
        verdict=
        for ratio in "${row[2]}" "${row[5]}"; do
            if ! awk -v r="$ratio" 'BEGIN { exit !(r >= 0.85 && r <= 1.15) }'; then
                verdict='  outside 15 %'
                status=1
            fi
        done
        printf '%-22s %12s %12s %7s   %12s %12s %7s%s\n' "$object over HTTP/$version" "${row[@]}" "$verdict"
    done
done
exit "$status"
