#!/usr/bin/env bash
# Virtual viewers of `weir load run` play what ffmpeg made, through an adapter and an edge, over HTTP/1.1, 2 and 3: every kind of
# segment is parsed, followed and verified against the publisher's signature. A missed expectation is exit code 3, and two reports
# can be compared.
# needs: ffmpeg curl python

# shellcheck source=tests/conformance/lib.bash
source "$(dirname "${BASH_SOURCE[0]}")/lib.bash"

python=${WEIR_PYTHON:-python3}
folder=$(media abr)
network "${folder%/*}"

# scenario NAME PLAYLIST [LINE]...: a scenario of twelve viewers, all inspected, for four seconds.
scenario() {
    local name=$1 playlist=$2
    shift 2
    cat >"$scratch/$name.toml" <<-END
		name = "$name"
		viewers = 12
		seconds = 4
		[player]
		protocols = { h1 = 1, h2 = 1, h3 = 1 }
		viewers_per_connection = 2
		buffer_seconds = 6.0
		inspect_percent = 100
		connect_seconds = 20.0
		first_byte_seconds = 20.0
		body_seconds = 20.0
		cmcd = { version = 2, way = "headers" }
		[[target]]
		name = "edge"
		urls = ["https://$(address edge tls)/$playlist"]
		insecure = true
		verify = "http://$(address origin http)"
		[[expect]]
		figure = "errors"
		at_most = 0
		[[expect]]
		figure = "integrity_failures"
		at_most = 0
		[[expect]]
		figure = "rebuffer_count"
		at_most = 0
	END
    printf '%s\n' "$@" >>"$scratch/$name.toml"
}

# figure NAME FIGURE: what a run came to.
figure() {
    "$python" -c 'import json, sys; print(json.load(open(sys.argv[1]))["targets"][0]["figures"][sys.argv[2]])' \
        "$scratch/$1.json" "$2"
}

runs() { "$weir" load run "$scratch/$1.toml" --json "$scratch/$1.json" --html "$scratch/$1.html" >"$scratch/$1.txt" 2>"$scratch/$1.err"; }

more() { "$python" -c 'import sys; sys.exit(not float(sys.argv[1]) > float(sys.argv[2]))' "$1" "$2"; }

for playlist in abr/master ts-vod/stream byterange/stream byterange-ts/stream aes/stream; do
    name=${playlist%%/*}
    scenario "$name" "$playlist.m3u8"
    check "viewers play $name without an error" runs "$name"
    check "$name: start-up times of all viewers" equal "$(figure "$name" unstarted_viewers)" 0.0
    check "$name: something was verified" more "$(figure "$name" verified_signatures)" 0
done
check 'renditions were changed' more "$(figure abr switches)" 0

scenario missed ts-vod/stream.m3u8 '[[expect]]' 'figure = "segments"' 'at_least = 1000000'
code=0
runs missed || code=$?
check 'a missed expectation is exit code 3' equal "$code" 3
check 'and is named' matches "$(cat "$scratch/missed.err")" 'segments is [0-9]+, expected at least 1000000'
check 'two reports can be compared' "$weir" load compare "$scratch/ts-vod.json" "$scratch/missed.json"

sed -i 's/^viewers/viewrs/' "$scratch/missed.toml"
code=0
runs missed || code=$?
check 'a wrong key is exit code 78' equal "$code" 78
check 'and its line is named' matches "$(cat "$scratch/missed.err")" 'viewrs'
