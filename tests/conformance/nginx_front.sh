#!/usr/bin/env bash
# A relay URL as another CDN's origin: nginx with proxy_cache in front of an edge's plain door plays, and asks once.
# needs: nginx curl ffmpeg

# shellcheck source=tests/conformance/lib.bash
source "$(dirname "${BASH_SOURCE[0]}")/lib.bash"

folder=$(media ts-vod)
network "$folder"

# Started as root, nginx would work as another user, who cannot enter the temporary directory; hence `user`. It cannot
# listen on port 0 either: a port below the ephemeral range is tried until one is free.
front() {
    for _ in {1..20}; do
        port=$((20000 + (RANDOM % 10000)))
        cat >"$scratch/nginx.conf" <<-END
			daemon off;
			user $(id -un) $(id -gn);
			worker_processes 1;
			pid $scratch/nginx.pid;
			error_log stderr warn;
			events { worker_connections 256; }
			http {
			    access_log off;
			    client_body_temp_path $scratch/nginx-body;
			    proxy_temp_path $scratch/nginx-proxy;
			    fastcgi_temp_path $scratch/nginx-fastcgi;
			    uwsgi_temp_path $scratch/nginx-uwsgi;
			    scgi_temp_path $scratch/nginx-scgi;
			    proxy_cache_path $scratch/nginx-cache keys_zone=hls:1m;
			    server {
			        listen 127.0.0.1:$port;
			        location / {
			            proxy_pass http://$(address edge http);
			            proxy_http_version 1.1;
			            proxy_set_header Connection "";
			            proxy_cache hls;
			            proxy_cache_lock on;
			            proxy_cache_valid 200 1h;
			            add_header X-Front \$upstream_cache_status always;
			        }
			    }
			}
		END
        nginx -p "$scratch" -e stderr -c "$scratch/nginx.conf" 2>"$scratch/nginx.err" &
        children+=($!)
        for _ in {1..50}; do
            if ! kill -0 "${children[-1]}" 2>/dev/null; then break; fi
            # Our own nginx wrote its id once it listened.
            if [[ -s $scratch/nginx.pid ]]; then return 0; fi
            sleep 0.1
        done
    done
    printf 'nginx did not start\n' >&2
    return 1
}
front
base=http://127.0.0.1:$port
head=$scratch/head

# fetch PATH OPTION...: prints status and what nginx says of its cache.
fetch() {
    local path=$1
    shift
    curl -sS --max-time 30 --output "$scratch/body" --dump-header "$head" --write-out '%{http_code} ' "$@" "$base$path"
    tr -d '\r' <"$head" | awk 'tolower($1) == "x-front:" { print $2 }'
}

requests() { metric weir_http_requests_total; }

before=$(requests)
check 'first fetch' equal "$(fetch /seg000.ts)" '200 MISS'
check 'its bytes' cmp "$folder/seg000.ts" "$scratch/body"
check 'the edge says where they came from' matches "$(grep -i '^cache-status:' "$head")" 'weir-'
check 'the edge saw one request' equal $(($(requests) - before)) 1
check 'second fetch' equal "$(fetch /seg000.ts)" '200 HIT'
check 'its bytes' cmp "$folder/seg000.ts" "$scratch/body"
check 'a range of what nginx holds' equal "$(fetch /seg000.ts --range 1000-1999)" '206 HIT'
check 'its bytes' cmp <(tail -c +1001 "$folder/seg000.ts" | head -c 1000) "$scratch/body"
check 'the edge saw no other' equal $(($(requests) - before)) 1

said=$(ffmpeg -nostdin -v error -i "$base/stream.m3u8" -threads 1 -f null - 2>&1 || echo 'ffmpeg failed')
check 'ffmpeg plays through nginx' equal "$said" ''
length=$(ffprobe -v error -show_entries format=duration -of csv=p=0 "$base/stream.m3u8" || true)
check 'for ten seconds' matches "$length" '^(9\.[89]|10\.[01])'
for file in "$folder"/*; do
    name=${file##*/}
    check "$name: served" matches "$(fetch "/$name")" '^200 (HIT|MISS|EXPIRED|REVALIDATED)$'
    check "$name: the origin's bytes" cmp "$file" "$scratch/body"
done
segments=$(find "$folder" -name '*.ts' | wc -l)
check 'the edge was asked for each segment once' equal \
    "$(metric 'weir_http_requests_total{code_class="2xx",kind="segment"')" "$segments"
