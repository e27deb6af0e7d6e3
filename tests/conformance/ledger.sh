#!/usr/bin/env bash
#
# The log and its payouts checked by programs that share no code with this project: Python reads notes, tiles and proofs by
# hand, OpenZeppelin's library loads the distributor. And the whole way on the command line: a ledger is made, published,
# cosigned, served, settled, copied, checked, and found out when a byte of it changes.
#
# needs: python curl

source "$(dirname "${BASH_SOURCE[0]}")/lib.bash"

vectors=$root/ledger/tests/vectors
python=${WEIR_PYTHON:-python3}
verify_log=$root/tests/python/verify_log.py

{ read -r log_key; read -r witness_key; } <"$vectors/log/keys"
check 'Python verifies the stored log' "$python" "$verify_log" "$vectors/log" "$log_key" --witness "$witness_key" \
    --since "$vectors/log/earlier-checkpoint" --proof "$vectors/log/leaf.tlog-proof"
check 'Python verifies the statements' "$python" "$root/protocol/tests/vectors/check.py"
check 'weir verifies the stored log' "$weir" ledger verify "$vectors/log" --log-key "$log_key" --witness "$witness_key" \
    --since "$vectors/log/earlier-checkpoint"
check 'weir verifies the stored proof' "$weir" ledger verify "$vectors/log/leaf.tlog-proof" --log-key "$log_key"

if command -v node >/dev/null && [[ -d $root/player-demo/node_modules/@openzeppelin/merkle-tree ]]; then
    check 'OpenZeppelin loads the distributor' node "$root/ledger/tests/openzeppelin.mjs" "$vectors/distributor.json" \
        "$root/player-demo/node_modules"
else
    printf 'skipped  OpenZeppelin: node or node_modules is missing\n'
fi

# --- on the command line ---------------------------------------------------------------------------------------------

data=$scratch/data
out=$scratch/out
"$weir" ledger init --data "$data" --origin ledger.example/weir >"$scratch/init.txt"
log_key=$(sed -n 's/^✔ log key *//p' "$scratch/init.txt")
publisher=$(sed -n 's/^✔ publisher *//p' "$scratch/init.txt")

# start NAME COMMAND...: a server that ends with its standard input; waits until it says where it is.
start() {
    local name=$1 tries
    shift
    mkfifo "$scratch/$name.in"
    "$@" <"$scratch/$name.in" >"$scratch/$name.out" 2>"$scratch/$name.err" &
    children+=($!)
    exec {hold}>"$scratch/$name.in"
    for ((tries = 0; tries < 200; tries++)); do
        grep -q 'http://' "$scratch/$name.out" && break
        sleep 0.05
    done
    url=$(sed -n 's/.*\(http:[^ ]*\).*/\1/p' "$scratch/$name.out")
}

start witness "$weir" ledger witness --data "$scratch/witness" --name witness.example/w1 --log "$log_key" \
    --listen 127.0.0.1:0 --exit-with-stdin
witness_url=$url
witness_key=$(sed -n 's/^✔ witness key *//p' "$scratch/witness.out")
check 'a witness cosigns' "$weir" ledger publish --data "$data" --out "$out" --openings --witness "$witness_url=$witness_key"
cp "$out/checkpoint" "$scratch/before"

cat >"$scratch/policy.toml" <<-END
	version = 1
	currency = "EUR"
	[[price]]
	kind = "viewer"
	micro_per_gb = 4000
END
check 'settles' "$weir" settle run --data "$data" --policy "$scratch/policy.toml" --out "$out"
check 'Python verifies the settled log' "$python" "$verify_log" "$out" "$log_key" --since "$scratch/before"
cp -r "$out" "$scratch/copy"
whom=(--log-key "$log_key" --publisher "$publisher")
check 'somebody else comes to the same' "$weir" settle verify "$scratch/copy" "${whom[@]}"
check 'the settlement is canonical JSON' "$python" -c '
import json, sys
text = open(sys.argv[1], encoding="utf-8").read()
value = json.loads(text)
sys.exit(text != json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False) + "\n")' "$out/settlement.json"

# fails_with STATUS TEXT COMMAND...
fails_with() {
    local expected=$1 text=$2 status=0
    shift 2
    "$@" >"$scratch/said" 2>&1 || status=$?
    [[ $status == "$expected" ]] && grep -q -- "$text" "$scratch/said" && return 0
    printf 'status %s: ' "$status"
    cat "$scratch/said"
    return 1
}

sed -i 's/"tree_size":[0-9]*/"tree_size":9/' "$scratch/copy/settlement.json"
check 'a changed number is named, with exit code 3' fails_with 3 'tree_size' "$weir" settle verify "$scratch/copy" "${whom[@]}"
cp "$out/settlement.json" "$scratch/copy/"
printf x | dd of="$(find "$scratch/copy/tile/0" -type f | sort -V | tail -n 1)" bs=1 seek=40 conv=notrunc status=none
check 'a changed tile is named, with exit code 3' fails_with 3 'tile/0/' "$weir" settle verify "$scratch/copy" "${whom[@]}"
check 'Python finds it too' fails_with 1 'tile 0' "$python" "$verify_log" "$scratch/copy" "$log_key"
check 'an unknown key of a policy is named with its line, exit code 78' fails_with 78 'line 3' \
    "$weir" settle run --data "$data" --policy <(printf 'version = 1\ncurrency = "EUR"\nprices = 1\n') --out "$scratch/no"

start serve "$weir" ledger serve "$out" --listen 127.0.0.1:0 --exit-with-stdin
check 'the served log is verified over HTTP' "$weir" ledger verify "$url" --log-key "$log_key" --since "$scratch/before"
check 'a tile is immutable' matches "$(curl -sI "${url}$(cd "$out" && find tile/0 -type f | head -n 1)")" 'immutable'
check 'nothing else is served' equal "$(curl -s -o /dev/null -w '%{http_code}' --path-as-is "${url}../data/ledger.key")" 404
check 'a witness refuses another key' equal \
    "$(printf 'old 0\n\n' | cat - "$vectors/log/checkpoint" | curl -s -o /dev/null -w '%{http_code}' --data-binary @- "${witness_url}add-checkpoint")" 403
