# What the scripts here share: the command, a certificate, a film, and servers of others with one worker each. Source it.
#
# Invariant: every server is ended by its own process id, and the temporary directory goes with the script.

target=${CARGO_TARGET_DIR:-target}
weir=${WEIR_BIN:-}
for built in "$target/release/weir" "$target/debug/weir"; do
    if [[ -z $weir && -x $built ]]; then weir=$built; fi
done
scratch=$(mktemp -d)
children=()
export PATH="$PATH:/usr/sbin:/sbin"

finish() {
    local child
    for child in "${children[@]}"; do kill "$child" 2>/dev/null || true; done
    for child in "${children[@]}"; do wait "$child" 2>/dev/null || true; done
    rm -rf "$scratch"
}
trap finish EXIT
trap 'exit 130' INT TERM

[[ -n $weir ]] || { printf 'no weir command: cargo build --release, or set WEIR_BIN\n' >&2; exit 1; }

# need TOOL...: ends with 77, which means skipped, when one is not there.
need() {
    local tool
    for tool in "$@"; do
        command -v "$tool" >/dev/null || { printf 'skipped: %s is not installed\n' "$tool"; exit 77; }
    done
}

# A certificate for 127.0.0.1: P-256, as large sites have.
certificate() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost \
        -addext 'subjectAltName=DNS:localhost,IP:127.0.0.1' -keyout "$scratch/key.pem" -out "$scratch/cert.pem" 2>/dev/null
    cat "$scratch/cert.pem" "$scratch/key.pem" >"$scratch/both.pem"
}

# A film of 32 s in two renditions of 2 and 6 Mbit/s, segments of 2 s.
film() {
    local rung
    mkdir -p "$scratch/www/film"
    printf '#EXTM3U\n' >"$scratch/www/film/master.m3u8"
    for rung in 2000 6000; do
        mkdir -p "$scratch/www/film/$rung"
        ffmpeg -loglevel error -f lavfi -i 'mandelbrot=size=640x360:rate=25' -t 32 -c:v libx264 -preset ultrafast \
            -b:v ${rung}k -minrate ${rung}k -maxrate ${rung}k -bufsize ${rung}k -x264-params nal-hrd=cbr:keyint=50:scenecut=0 \
            -f hls -hls_time 2 -hls_segment_type fmp4 -hls_playlist_type vod "$scratch/www/film/$rung/index.m3u8"
        printf '#EXT-X-STREAM-INF:BANDWIDTH=%d000\n%d/index.m3u8\n' $((rung * 11 / 10)) "$rung" >>"$scratch/www/film/master.m3u8"
    done
}

# answers URL: waits until a server does.
answers() {
    local try
    for try in {1..100}; do
        if curl -ksf -o /dev/null "$1"; then return 0; fi
        sleep 0.1
    done
    printf 'nothing answers at %s\n' "$1" >&2
    tail -n 20 "$scratch"/*.log >&2 || true
    return 1
}

# start_nginx TLS_PORT PLAIN_PORT: HTTP/1.1 and HTTP/2; sets $nginx, its only process.
start_nginx() {
    mkdir -p "$scratch/www"
    # Started as root, it would work as another user, who cannot enter the temporary directory.
    cat >"$scratch/nginx.conf" <<-END
		daemon off;
		master_process off;
		user $(id -un) $(id -gn);
		pid $scratch/nginx.pid;
		error_log $scratch/nginx.log warn;
		events { worker_connections 8192; }
		http {
		    access_log off;
		    sendfile on;
		    tcp_nopush on;
		    keepalive_requests 1000000;
		    keepalive_timeout 300s;
		    open_file_cache max=10000 inactive=600s;
		    types { application/vnd.apple.mpegurl m3u8; video/mp4 mp4 m4s; }
		    client_body_temp_path $scratch/nginx-body;
		    proxy_temp_path $scratch/nginx-proxy;
		    fastcgi_temp_path $scratch/nginx-fastcgi;
		    uwsgi_temp_path $scratch/nginx-uwsgi;
		    scgi_temp_path $scratch/nginx-scgi;
		    ssl_certificate $scratch/cert.pem;
		    ssl_certificate_key $scratch/key.pem;
		    ssl_protocols TLSv1.3;
		    server {
		        listen 127.0.0.1:$1 ssl http2;
		        listen 127.0.0.1:$2;
		        root $scratch/www;
		        add_header Cache-Control max-age=3600;
		    }
		}
	END
    nginx -p "$scratch" -e "$scratch/nginx.log" -c "$scratch/nginx.conf" &
    nginx=$!
    children+=("$nginx")
    [[ ! -d $scratch/www/film ]] || answers "https://127.0.0.1:$1/film/master.m3u8"
}

# start_caddy PORT: HTTP/3 (and 1, 2); sets $caddy.
start_caddy() {
    cat >"$scratch/Caddyfile" <<-END
		{
		    admin off
		    auto_https off
		    servers {
		        protocols h1 h2 h3
		    }
		}
		https://127.0.0.1:$1 {
		    bind 127.0.0.1
		    tls $scratch/cert.pem $scratch/key.pem
		    root * $scratch/www
		    file_server
		}
	END
    # One core, as the others have.
    GOMAXPROCS=1 HOME=$scratch caddy run --config "$scratch/Caddyfile" --adapter caddyfile 2>"$scratch/caddy.log" &
    caddy=$!
    children+=("$caddy")
    answers "https://127.0.0.1:$1/film/master.m3u8"
}

# start_edge PORT UPSTREAM_PORT: a pull-through edge, all versions; sets $edge.
start_edge() {
    "$weir" edge --upstream "http://127.0.0.1:$2" --listen "127.0.0.1:$1" --admin 127.0.0.1:0 --data "$scratch/edge" \
        --cert "$scratch/both.pem" --key "$scratch/both.pem" --memory 512MiB 2>"$scratch/edge.log" >"$scratch/edge.out" &
    edge=$!
    children+=("$edge")
    answers "https://127.0.0.1:$1/film/master.m3u8"
}
