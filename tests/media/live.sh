#!/usr/bin/env bash
#
# usage: live.sh OUTDIR SECONDS
#
# A live channel in real time: two-second TS segments, a window of five, old ones deleted, in OUTDIR/live.m3u8. Runs in
# the foreground for SECONDS and then ends the playlist; SIGTERM ends it earlier, and kill -9 leaves a frozen one.

set -euo pipefail

if (($# != 2)) || ! [[ $2 =~ ^[1-9][0-9]*$ ]]; then
    sed -n '/^# usage/,/^$/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
    exit 2
fi

mkdir -p "$1"
cd "$1"

# temp_file: a playlist or segment appears under its name only when it is whole, as on a well-behaved origin.
exec ffmpeg -nostdin -v error -y \
    -re -f lavfi -i "testsrc2=size=320x180:rate=25:duration=$2" \
    -re -f lavfi -i "sine=frequency=440:sample_rate=48000:duration=$2" \
    -c:v libx264 -preset veryfast -tune zerolatency -profile:v main -pix_fmt yuv420p \
    -g 50 -keyint_min 50 -sc_threshold 0 -threads 1 \
    -c:a aac -b:a 64k -ac 2 \
    -f hls -hls_time 2 -hls_list_size 5 -hls_flags delete_segments+program_date_time+temp_file \
    -hls_segment_filename 'live%05d.ts' live.m3u8
