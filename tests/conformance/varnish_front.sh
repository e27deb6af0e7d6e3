#!/usr/bin/env bash
# One origin host name that any healthy relay answers, with the adapter as fall-back: Varnish's fallback director in front of two
# relays and the adapter. Viewers notice neither relay's death, and each segment is asked for once.
# needs: varnishd curl ffmpeg

# shellcheck source=tests/conformance/lib.bash
source "$(dirname "${BASH_SOURCE[0]}")/lib.bash"

folder=$(media ts-vod)
network "$folder"
start second edge --join "http://$(address origin http)" --listen "$any" --http "$any" --peer "$any" --admin "$any"
# Children in the order of their start.
edge=${children[1]}
second=${children[2]}

# backend NAME PROCESS
backend() {
    local address
    address=$(address "$2" http)
    printf 'backend %s { .host = "%s"; .port = "%s"; .probe = { .url = "/.well-known/weir"; .interval = 200ms; .timeout = 1s; ' \
        "$1" "${address%:*}" "${address##*:}"
    printf '.window = 2; .threshold = 1; .initial = 1; } }\n'
}

{
    printf 'vcl 4.1;\nimport directors;\n'
    backend first edge
    backend other second
    backend publisher origin
    cat <<-'END'
		sub vcl_init {
		    new origin = directors.fallback();
		    origin.add_backend(first);
		    origin.add_backend(other);
		    origin.add_backend(publisher);
		}
		sub vcl_recv { set req.backend_hint = origin.backend(); }
		sub vcl_deliver {
		    set resp.http.X-Front = "MISS";
		    if (obj.hits > 0) { set resp.http.X-Front = "HIT"; }
		}
	END
} >"$scratch/front.vcl"

# A port below the ephemeral range is tried until one is free.
front() {
    for _ in {1..20}; do
        port=$((20000 + (RANDOM % 10000)))
        varnishd -F -j none -n "$scratch/varnish-$port" -f "$scratch/front.vcl" -a "127.0.0.1:$port" -s malloc,64m \
            >"$scratch/varnish.err" 2>&1 &
        children+=($!)
        for _ in {1..100}; do
            kill -0 "${children[-1]}" 2>/dev/null || break
            if curl -sS --max-time 5 -o /dev/null "http://127.0.0.1:$port/stream.m3u8" 2>/dev/null; then return 0; fi
            sleep 0.1
        done
    done
    printf 'Varnish did not start\n' >&2
    return 1
}
front
base=http://127.0.0.1:$port
head=$scratch/head

# fetch PATH OPTION...: prints status and what Varnish says of its cache.
fetch() {
    local path=$1
    shift
    curl -sS --max-time 30 --output "$scratch/body" --dump-header "$head" --write-out '%{http_code} ' "$@" "$base$path"
    tr -d '\r' <"$head" | awk 'tolower($1) == "x-front:" { print $2 }'
}

# Whose answer it was.
answered() { tr -d '\r' <"$head" | sed -n 's/^[Cc]ache-[Ss]tatus: *\([^;]*\).*/\1/p' | tail -n 1; }

# ended PROCESS: ends it and waits until it is gone.
ended() {
    kill -9 "$1"
    while kill -0 "$1" 2>/dev/null; do sleep 0.05; done
}

check 'first fetch' equal "$(fetch /seg000.ts)" '200 MISS'
check 'its bytes' cmp "$folder/seg000.ts" "$scratch/body"
first=$(answered)
check 'a relay answered' matches "$first" '^weir-'
check 'second fetch' equal "$(fetch /seg000.ts)" '200 HIT'
check 'a range of what Varnish holds' equal "$(fetch /seg000.ts --range 1000-1999)" '206 HIT'
check 'its bytes' cmp <(tail -c +1001 "$folder/seg000.ts" | head -c 1000) "$scratch/body"
check 'the edge was asked once' equal "$(metric 'weir_http_requests_total{code_class="2xx",kind="segment"')" 1

ended "$edge"
sleep 1
check 'the first relay is gone: a segment' equal "$(fetch /seg001.ts)" '200 MISS'
check 'its bytes' cmp "$folder/seg001.ts" "$scratch/body"
other=$(answered)
check 'another relay answered' matches "$other" '^weir-'
check 'not the one that is gone' test "$other" != "$first"

ended "$second"
sleep 1
check 'no relay is left: a segment' equal "$(fetch /seg002.ts)" '200 MISS'
check 'its bytes' cmp "$folder/seg002.ts" "$scratch/body"
said=$(ffmpeg -nostdin -v error -i "$base/stream.m3u8" -threads 1 -f null - 2>&1 || echo 'ffmpeg failed')
check 'ffmpeg plays through Varnish' equal "$said" ''
for file in "$folder"/*.ts; do
    name=${file##*/}
    check "$name: served" matches "$(fetch "/$name")" '^200 (HIT|MISS)$'
    check "$name: the origin's bytes" cmp "$file" "$scratch/body"
done
