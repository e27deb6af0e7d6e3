#!/usr/bin/env bash
# The publisher's word on byte ranges, verified at a relay by a script that shares no code with us.
# needs: curl python

# shellcheck source=tests/conformance/lib.bash
source "$(dirname "${BASH_SOURCE[0]}")/lib.bash"

python=${WEIR_PYTHON:-python3}
folder=$scratch/content
mkdir -p "$folder/show"
# Over several slices, with ranges across their borders.
head -c 7000000 /dev/urandom >"$folder/show/all.mp4"
{
    printf '#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-TARGETDURATION:4\n#EXT-X-PLAYLIST-TYPE:VOD\n'
    printf '#EXT-X-MAP:URI="all.mp4",BYTERANGE="1000@0"\n'
    printf '#EXTINF:4,\n#EXT-X-BYTERANGE:1500000@1000\nall.mp4\n'
    for _ in 1 2 3; do printf '#EXTINF:4,\n#EXT-X-BYTERANGE:1600000\nall.mp4\n'; done
    printf '#EXT-X-ENDLIST\n'
} >"$folder/show/v.m3u8"
network "$folder"
origin=http://$(address origin http)
relay=http://$(address edge http)

said=$("$python" "$root/tests/python/verify_ranges.py" "$origin" "$relay" /show/v.m3u8 2>&1) || true
check 'each range that the playlist lists is signed and has its digest' equal "$said" '5 ranges verify'

# The relay keeps what it was given: the adapter may go.
page="$relay/weir/record?key=%2Fshow%2Fall.mp4&range=0-999"
status=$(curl -sS --max-time 10 -o /dev/null -w '%{http_code}' -D "$scratch/head" "$page")
check 'the page again' equal "$status" 200
check 'it comes from what the relay holds' matches "$(<"$scratch/head")" 'hit'
check 'and goes out signed' matches "$(<"$scratch/head")" '[Ss]ignature-[Ii]nput: weir='
wrong=$(curl -sS --max-time 10 -o /dev/null -w '%{http_code}' "$relay/weir/record?key=%2Fshow%2Fall.mp4&range=9")
check 'a question that makes no sense' equal "$wrong" 400
