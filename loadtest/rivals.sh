#!/usr/bin/env bash
# Measures Debian's nginx (HTTP/1.1, HTTP/2) and Caddy (HTTP/3) beside a Weir edge, in one run with interleaved rounds: the
# scenario loadtest/scenarios/rivals.toml. Further arguments go to `weir load run`, for example --html rivals.html.
#
# usage: loadtest/rivals.sh [ARGUMENTS]
#
#   WEIR_BIN   the command (default: the release build, else the debug build, in the target directory)
#
# Needs nginx, caddy, curl, openssl and, for the film, ffmpeg. Every server has one worker; nginx and Caddy send files, the edge
# pulls from nginx and answers from its cache.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=loadtest/servers.bash
source loadtest/servers.bash

need nginx caddy curl openssl ffmpeg
certificate
film
start_nginx 8443 8442
start_caddy 8444
start_edge 8445 8442

"$weir" load run loadtest/scenarios/rivals.toml \
    --server-pid "nginx-h1=$nginx" --server-pid "nginx-h2=$nginx" --server-pid "caddy-h3=$caddy" \
    --server-pid "weir-h1=$edge" --server-pid "weir-h2=$edge" --server-pid "weir-h3=$edge" "$@"
