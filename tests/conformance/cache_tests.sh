#!/usr/bin/env bash
# The public HTTP cache test suite (http-cache-tests): through a pull-through edge, then through an adapter and two
# relays. What fails and may is in cache-tests/expected.json with its reason.
# needs: node npm
#
#   WEIR_CACHE_TESTS   directory of another version of the suite (a checkout of github.com/http-tests/cache-tests), whose
#                      exceptions are in cache-tests/expected-newest.json
#   CACHE_TEST         the id of one test, whose exchange is then shown

# shellcheck source=tests/conformance/lib.bash
source "$(dirname "${BASH_SOURCE[0]}")/lib.bash"

here=$root/tests/conformance/cache-tests
if [[ -n ${WEIR_CACHE_TESTS:-} ]]; then
    suite=$WEIR_CACHE_TESTS
    expected=$here/expected-newest.json
else
    suite=$here/node_modules/http-cache-tests
    expected=$here/expected.json
    if [[ ! $here/node_modules/.package-lock.json -nt $here/package-lock.json ]]; then
        (cd "$here" && npm ci --no-audit --no-fund)
    fi
fi

# origin NAME: a fresh origin of the suite; its address in NAME.port.
suite_origin() {
    local waited
    (cd "$suite" && exec node --no-warnings "$here/serve.mjs" "$suite" "$scratch/$1.pid") >"$scratch/$1.port" 2>"$scratch/$1.err" &
    children+=($!)
    for ((waited = 0; waited < 100; waited++)); do
        grep -q '^port ' "$scratch/$1.port" && return 0
        sleep 0.1
    done
    printf 'the origin did not start\n' >&2
    return 1
}
suite_port() { sed -n 's/^port //p' "$scratch/$1.port"; }

# suite TITLE ADDRESS: runs it and adds to the count.
suite_run() {
    local title=$1 status=0 counted
    node --no-warnings "$here/run.mjs" "$suite" "http://$2" "$expected" "$title" >"$scratch/run" 2>&1 || status=$?
    grep -v '^[0-9]* passed, [0-9]* failed$' "$scratch/run" || true
    counted=$(tail -n 1 "$scratch/run")
    if [[ $counted =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed$ ]]; then
        passed=$((passed + BASH_REMATCH[1]))
        failed=$((failed + BASH_REMATCH[2]))
    else
        printf 'the suite ended with status %d\n' "$status"
        failed=$((failed + 1))
    fi
}

suite_origin plain
start pull edge --upstream "http://127.0.0.1:$(suite_port plain)" --listen "$any" --http "$any" --admin "$any"
suite_run 'pull-through' "$(address pull http)"

suite_origin published
start origin origin --upstream "http://127.0.0.1:$(suite_port published)" --http "$any" --peer "$any" --admin "$any"
for name in near far; do
    start "$name" edge --join "http://$(address origin http)" --listen "$any" --http "$any" --peer "$any" --admin "$any"
done
suite_run 'adapter and two relays' "$(address near http)"
