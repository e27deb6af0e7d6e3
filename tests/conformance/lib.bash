# What the scripts here share: an origin, an edge, checks and their count. Source it; it is no test of its own.
#
# Invariant: every child is ended by its own process id, by closing the pipe it lives by or by a signal, and the
# temporary directory goes with the script.
#
#   WEIR_BIN   the command under test (default: the debug build in the target directory)

set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}
weir=${WEIR_BIN:-$target/debug/weir}
scratch=$(mktemp -d)
children=()
readonly DRAIN_TENTHS=150
passed=0
failed=0

[[ -x $weir ]] || { printf 'no command at %s: cargo build, or set WEIR_BIN\n' "$weir" >&2; exit 1; }

# The last thing a script prints is the count, also when it ends early.
finish() {
    local status=$? child waited
    trap - EXIT
    for child in "${children[@]}"; do
        kill "$child" 2>/dev/null || true
    done
    for child in "${children[@]}"; do
        # Draining has an end; a child that does not find it is a failure.
        for ((waited = 0; waited < DRAIN_TENTHS; waited++)); do
            kill -0 "$child" 2>/dev/null || break
            sleep 0.1
        done
        if ((waited == DRAIN_TENTHS)); then
            printf 'FAILED  process %d did not end\n' "$child"
            failed=$((failed + 1))
            kill -9 "$child"
        fi
    done
    if ((status != 0 || failed > 0)); then
        for log in "$scratch"/*.err; do
            [[ -s $log ]] && { printf -- '--- %s\n' "${log##*/}"; tail -n 40 "$log"; }
        done
        ((failed > 0)) || failed=1
    fi
    rm -rf "$scratch"
    printf '%d passed, %d failed\n' "$passed" "$failed"
    ((failed == 0)) || exit 1
}
trap finish EXIT

# check WHAT COMMAND...: one test, which holds when the command succeeds.
check() {
    local what=$1
    shift
    if "$@"; then
        passed=$((passed + 1))
        printf 'ok      %s\n' "$what"
    else
        failed=$((failed + 1))
        printf 'FAILED  %s: %s\n' "$what" "$*"
    fi
}

# equal A B: the same text; says both when they differ.
equal() {
    [[ $1 == "$2" ]] && return 0
    printf 'expected: %s\n     got: %s\n' "$2" "$1"
    return 1
}

# matches TEXT REGEX
matches() {
    [[ $1 =~ $2 ]] && return 0
    printf 'no match for %s in: %s\n' "$2" "$1"
    return 1
}

digest() { sha256sum <"$1" | cut -d ' ' -f 1; }

# start NAME ARGUMENT...: runs weir in the background and waits for its line of JSON, which is then in NAME.json.
start() {
    local name=$1 waited
    shift
    # --exit-with-stdin: should this shell be killed, its children go too.
    "$weir" "$@" --data "$scratch/$name" --json --exit-with-stdin \
        >"$scratch/$name.json" 2>"$scratch/$name.err" < <(exec tail -f /dev/null --pid=$$) &
    children+=($!)
    for ((waited = 0; waited < 300; waited++)); do
        [[ -s $scratch/$name.json ]] && return 0
        kill -0 "${children[-1]}" 2>/dev/null || break
        sleep 0.1
    done
    printf '%s did not start\n' "$name" >&2
    return 1
}

# address NAME FIELD: the first address that the process reported, such as 127.0.0.1:4711.
address() { sed -E "s/.*\"$2\":\[?\"([^\"]*)\".*/\1/" "$scratch/$1.json"; }

readonly any=127.0.0.1:0

# network FOLDER: an adapter in front of a folder and an edge that joined it, named origin and edge.
network() {
    start origin origin --upstream "$1" --http "$any" --peer "$any" --admin "$any"
    start edge edge --join "http://$(address origin http)" --listen "$any" --http "$any" --peer "$any" --admin "$any"
}

# metric NAME: the sum of a counter's samples at the edge.
metric() {
    curl -sS --max-time 10 "http://$(address edge admin)/metrics" |
        awk -v name="$1" 'index($1, name) == 1 { sum += $NF } END { print sum + 0 }'
}

# media NAME: a directory of the inputs that tests/media/make.sh makes.
media() {
    "$root/tests/media/make.sh" "$target/tmp/media"
    printf '%s' "$target/tmp/media/$1"
}
