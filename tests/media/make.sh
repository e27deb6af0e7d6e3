#!/usr/bin/env bash
#
# usage: make.sh OUTDIR
#
# Makes real HLS inputs for the integration tests with ffmpeg: ten seconds of a moving picture and a tone, H.264 and AAC,
# in two-second segments.
#
#   ts-vod/        TS segments                                          stream.m3u8
#   abr/           fMP4 in three renditions, one directory each         master.m3u8, low/ mid/ high/ stream.m3u8
#   aes/           TS under AES-128, the key beside the playlist        stream.m3u8, enc.key
#   byterange/     fMP4 in a single file, addressed by byte ranges      stream.m3u8
#   byterange-ts/  the same in TS                                       stream.m3u8
#
# Every result is decoded before it gets its name, so a directory that is there is whole and good. What is there is
# kept, until this script changes. Several callers at once wait for one another.

set -euo pipefail

if (($# != 1)) || [[ $1 == -* ]]; then
    sed -n '/^# usage/,/^$/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
    exit 2
fi

readonly SECONDS_LONG=10
recipe=$(cksum <"${BASH_SOURCE[0]}")
mkdir -p "$1"
out=$(cd "$1" && pwd)
stamps=$out/.stamps
mkdir -p "$stamps"

exec 9>"$stamps/lock"
flock 9

# The inputs: -threads 1, since a small picture gains nothing from more and tests share the machine.
picture=(-f lavfi -i "testsrc2=size=320x180:rate=25:duration=$SECONDS_LONG")
tone=(-f lavfi -i "sine=frequency=440:sample_rate=48000:duration=$SECONDS_LONG")
# A key frame at each segment's start and nowhere else.
video=(-c:v libx264 -preset veryfast -profile:v main -pix_fmt yuv420p -g 50 -keyint_min 50 -sc_threshold 0 -threads 1)
audio=(-c:a aac -b:a 64k -ac 2)
hls=(-f hls -hls_time 2 -hls_list_size 0 -hls_playlist_type vod)

encode() { ffmpeg -nostdin -v error -y "${picture[@]}" "${tone[@]}" "$@"; }

# check PLAYLIST: every frame decodes without a word, and the length is right.
check() {
    local said length
    # The key's file name is none that ffmpeg takes for media.
    said=$(ffmpeg -nostdin -v error -allowed_extensions ALL -i "$1" -threads 1 -f null - 2>&1)
    if [[ -n $said ]]; then
        printf 'make.sh: %s does not decode cleanly:\n%s\n' "$1" "$said" >&2
        return 1
    fi
    length=$(ffprobe -v error -allowed_extensions ALL -show_entries format=duration -of csv=p=0 "$1")
    if ! awk -v got="$length" -v want="$SECONDS_LONG" 'BEGIN { exit !(got > want - 0.2 && got < want + 0.2) }'; then
        printf 'make.sh: %s lasts %s s instead of %s\n' "$1" "$length" "$SECONDS_LONG" >&2
        return 1
    fi
}

# make NAME: runs make_NAME in a fresh directory, which gets its name when it is finished.
make() {
    local name=$1 stamp=$stamps/$1
    if [[ -d $out/$name && -f $stamp && $(<"$stamp") == "$recipe" ]]; then
        return
    fi
    rm -rf "${out:?}/$name" "$out/.$name.part"
    mkdir "$out/.$name.part"
    cd "$out/.$name.part"
    "make_${name//-/_}"
    cd "$out"
    mv ".$name.part" "$name"
    printf '%s' "$recipe" >"$stamp"
}

make_ts_vod() {
    encode "${video[@]}" "${audio[@]}" "${hls[@]}" -hls_segment_filename 'seg%03d.ts' stream.m3u8
    check stream.m3u8
}

make_abr() {
    mkdir low mid high
    encode \
        -filter_complex '[0:v]split=3[a][b][high];[a]scale=160:90[low];[b]scale=240:134[mid]' \
        -map '[low]' -map 1:a -map '[mid]' -map 1:a -map '[high]' -map 1:a \
        "${video[@]}" -b:v:0 80k -b:v:1 200k -b:v:2 500k "${audio[@]}" "${hls[@]}" \
        -hls_segment_type fmp4 -hls_segment_filename '%v/seg%03d.m4s' -hls_fmp4_init_filename init.mp4 \
        -master_pl_name master.m3u8 -var_stream_map 'v:0,a:0,name:low v:1,a:1,name:mid v:2,a:2,name:high' \
        '%v/stream.m3u8'
    check low/stream.m3u8
    check mid/stream.m3u8
    check high/stream.m3u8
    check master.m3u8
}

make_aes() {
    # A known key: what is tested is its way, not its secrecy. The first line is what the playlist says, the second
    # where ffmpeg finds it.
    printf 'weir-test-aes128' >enc.key
    printf 'enc.key\nenc.key\n00112233445566778899aabbccddeeff\n' >enc.keyinfo
    encode "${video[@]}" "${audio[@]}" "${hls[@]}" -hls_key_info_file enc.keyinfo \
        -hls_segment_filename 'seg%03d.ts' stream.m3u8
    check stream.m3u8
}

make_byterange() {
    encode "${video[@]}" "${audio[@]}" "${hls[@]}" -hls_segment_type fmp4 -hls_flags single_file \
        -hls_segment_filename film.mp4 stream.m3u8
    check stream.m3u8
}

make_byterange_ts() {
    encode "${video[@]}" "${audio[@]}" "${hls[@]}" -hls_flags single_file -hls_segment_filename film.ts stream.m3u8
    check stream.m3u8
}

for name in ts-vod abr aes byterange byterange-ts; do
    make "$name"
done
