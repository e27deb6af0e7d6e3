#!/usr/bin/env bash
# Debian's curl, which shares no code with us: HTTP/1.1 plain and under TLS, and HTTP/2, at an edge.
# needs: curl

# shellcheck source=tests/conformance/lib.bash
source "$(dirname "${BASH_SOURCE[0]}")/lib.bash"

folder=$scratch/content
mkdir "$folder"
# Longer than any window on the way, and not a multiple of anything.
head -c 3456789 /dev/urandom >"$folder/film.ts"
printf '#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nfilm.ts\n#EXT-X-ENDLIST\n' >"$folder/film.m3u8"
network "$folder"
want=$(digest "$folder/film.ts")
body=$scratch/body
head=$scratch/head

# fetch URL OPTION...: the body and head in files; prints status and version.
fetch() {
    local url=$1
    shift
    curl -sS --max-time 30 --insecure --output "$body" --dump-header "$head" --write-out '%{http_code} %{http_version}' "$@" "$url"
}

# field NAME: a field of the last head.
field() { tr -d '\r' <"$head" | awk -v name="$1:" 'tolower($1) == name { sub(/^[^ ]* /, ""); print; exit }'; }

# door NAME URL VERSION OPTION...
door() {
    local name=$1 url=$2 version=$3 etag
    shift 3
    check "$name: GET" equal "$(fetch "$url/film.ts" "$@")" "200 $version"
    check "$name: the origin's bytes" equal "$(digest "$body")" "$want"
    check "$name: media type" equal "$(field content-type)" video/mp2t
    check "$name: length" equal "$(field content-length)" 3456789
    check "$name: Cache-Status" matches "$(field cache-status)" '^weir-.*(hit|fwd=)'
    check "$name: Age" matches "$(field age)" '^[0-9]+$'
    etag=$(field etag)

    check "$name: HEAD" equal "$(fetch "$url/film.ts" --head "$@")" "200 $version"
    check "$name: HEAD length" equal "$(field content-length)" 3456789
    check "$name: HEAD validator" equal "$(field etag)" "$etag"

    check "$name: range" equal "$(fetch "$url/film.ts" --range 1000000-1999999 "$@")" "206 $version"
    check "$name: Content-Range" equal "$(field content-range)" 'bytes 1000000-1999999/3456789'
    check "$name: the range's bytes" cmp <(tail -c +1000001 "$folder/film.ts" | head -c 1000000) "$body"
    check "$name: suffix range" equal "$(fetch "$url/film.ts" --range -789 "$@")" "206 $version"
    check "$name: the last bytes" cmp <(tail -c 789 "$folder/film.ts") "$body"
    check "$name: range beyond the end" equal "$(fetch "$url/film.ts" --range 3456789- "$@")" "416 $version"
    check "$name: its Content-Range" equal "$(field content-range)" 'bytes */3456789'

    check "$name: If-None-Match" equal "$(fetch "$url/film.ts" --header "If-None-Match: $etag" "$@")" "304 $version"
    check "$name: another validator" equal "$(fetch "$url/film.ts" --header 'If-None-Match: "other"' "$@")" "200 $version"
    check "$name: If-Range that holds" equal \
        "$(fetch "$url/film.ts" --range 0-9 --header "If-Range: $etag" "$@")" "206 $version"
    check "$name: If-Range that does not" equal \
        "$(fetch "$url/film.ts" --range 0-9 --header 'If-Range: "other"' "$@")" "200 $version"
    check "$name: its bytes" equal "$(digest "$body")" "$want"

    check "$name: playlist" equal "$(fetch "$url/film.m3u8" --compressed "$@")" "200 $version"
    check "$name: its text" cmp "$folder/film.m3u8" "$body"
    check "$name: its media type" equal "$(field content-type)" application/vnd.apple.mpegurl
    check "$name: nothing there" equal "$(fetch "$url/none.ts" "$@")" "404 $version"
    # With a body, curl 7.88 takes the end of an HTTP/2 upload that RFC 9113 section 8.1 allows for an error at times.
    check "$name: no POST" equal "$(fetch "$url/film.ts" --request POST "$@")" "405 $version"
    check "$name: preflight" equal "$(fetch "$url/film.ts" --request OPTIONS --header 'Origin: https://a.example' \
        --header 'Access-Control-Request-Method: GET' "$@")" "204 $version"
    check "$name: CORS" equal "$(field access-control-allow-origin)" '*'
}

door 'plain HTTP/1.1' "http://$(address edge http)" 1.1
door 'HTTP/1.1 under TLS' "https://$(address edge tls)" 1.1 --http1.1
door 'HTTP/2' "https://$(address edge tls)" 2 --http2
check 'HTTP/3 is announced' matches "$(field alt-svc)" "h3=\":$(address edge tls | cut -d : -f 2)\""
# Several streams of one connection.
curl -sS --no-progress-meter --max-time 60 --insecure --http2 --parallel --parallel-immediate --output "$scratch/many-#1" \
    "https://$(address edge tls)/film.ts?[1-8]"
for ((i = 1; i <= 8; i++)); do
    check "HTTP/2: stream $i of 8" equal "$(digest "$scratch/many-$i")" "$want"
done
check 'HTTP/1.1: no POST with a body' equal "$(fetch "http://$(address edge http)/film.ts" --data x)" '405 1.1'
check 'nothing failed to verify' equal "$(metric weir_integrity_failures_total)" 0
