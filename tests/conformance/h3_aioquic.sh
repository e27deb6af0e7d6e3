#!/usr/bin/env bash
# aioquic, an independent HTTP/3: an edge's HTTP/3 door gives the origin's bytes, ranges and heads.
# needs: python curl

# shellcheck source=tests/conformance/lib.bash
source "$(dirname "${BASH_SOURCE[0]}")/lib.bash"

folder=$scratch/content
mkdir "$folder"
head -c 3456789 /dev/urandom >"$folder/film.ts"
: >"$folder/empty.ts"
network "$folder"
base=https://$(address edge tls)
want=$(digest "$folder/film.ts")
body=$scratch/body

# fetch PATH OPTION...: the client's JSON, read by the functions below.
fetch() {
    local path=$1
    shift
    said=$("$WEIR_PYTHON" "$root/tests/python/h3_fetch.py" --insecure --out "$body" "$@" "$base$path" || true)
}

# json EXPRESSION: of the last answer `a`, whose fields are in `h`.
json() {
    "$WEIR_PYTHON" -c 'import json, sys; a = json.loads(sys.argv[1]); h = dict(a.get("headers", [])); print(eval(sys.argv[2]))' \
        "$said" "$1"
}

fetch /film.ts
check 'GET' equal "$(json 'a.get("status"), a.get("alpn"), a.get("error")')" "(200, 'h3', None)"
check 'the origin'\''s bytes' equal "$(json 'a.get("sha256")')" "$want"
check 'length' equal "$(json 'h.get("content-length")')" 3456789
check 'media type' equal "$(json 'h.get("content-type")')" video/mp2t
check 'Cache-Status' matches "$(json 'h.get("cache-status")')" '^weir-.*fwd='
etag=$(json 'h.get("etag")')

fetch /film.ts
check 'GET again' equal "$(json 'a.get("status"), a.get("sha256")')" "(200, '$want')"
check 'from the cache' matches "$(json 'h.get("cache-status")')" '^weir-.*hit'

fetch /film.ts --method HEAD
check 'HEAD' equal "$(json 'a.get("status"), a.get("bytes"), h.get("content-length"), h.get("etag")')" \
    "(200, 0, '3456789', '$etag')"

fetch /film.ts --range 1000000-1999999
check 'range' equal "$(json 'a.get("status"), h.get("content-range")')" "(206, 'bytes 1000000-1999999/3456789')"
check 'the range'\''s bytes' cmp <(tail -c +1000001 "$folder/film.ts" | head -c 1000000) "$body"
fetch /film.ts --range -789
check 'the last bytes' cmp <(tail -c 789 "$folder/film.ts") "$body"
fetch /film.ts --range 3456789-
check 'range beyond the end' equal "$(json 'a.get("status"), h.get("content-range")')" "(416, 'bytes */3456789')"

fetch /film.ts --header "If-None-Match:$etag"
check 'If-None-Match' equal "$(json 'a.get("status"), a.get("bytes")')" '(304, 0)'
fetch /empty.ts
check 'an empty body' equal "$(json 'a.get("status"), a.get("bytes"), h.get("content-length")')" "(200, 0, '0')"
fetch /none.ts
check 'nothing there' equal "$(json 'a.get("status")')" 404
check 'nothing failed to verify' equal "$(metric weir_integrity_failures_total)" 0
