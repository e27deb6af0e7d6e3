#!/bin/sh
# Draws and encodes the demo's clip: one fragmented MP4 for each rendition, written beside this script.
#
#   src/demo/clip/make.sh            needs ffmpeg with libx264 and the DejaVu fonts
#
# What the origin relies on, and why it is made like this:
# - 8 s: 200 pictures at 25 a second and exactly 375 AAC frames at 48 kHz, so that both tracks loop without a gap.
#   Picture and sound are periodic in 8 s too, so that the end joins the beginning to the ear and to the eye.
# - Three loops are encoded and the middle one is kept: there the encoders are in their steady state (no AAC priming, the
#   rate control settled), and what follows the last frame is what preceded the first.
# - A closed GOP of 2 s without B-frames: every fragment starts with an IDR picture and presentation order is decoding
#   order, so a fragment can stand after any other. Four IDR pictures a loop keep idr_pic_id alternating across the joint.
# - The whole encoding is an MP4 too: a container with time stamps in milliseconds would shift the sound by a few samples.
# - One fragment (moof + mdat) for each GOP, and no edit list, no sidx: only mfhd and tfdt depend on the position in time.
set -eu
cd "$(dirname "$0")"
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
ff="ffmpeg -nostdin -hide_banner -loglevel error -y"
mono=/usr/share/fonts/truetype/dejavu/DejaVuSansMono-Bold.ttf
sans=/usr/share/fonts/truetype/dejavu/DejaVuSans-Bold.ttf

# Water in slow waves, a dial whose hand turns once in 8 s, a float that drifts over the crest.
wave="sin(2*PI*(X/210+T/4)+1.7*sin(2*PI*(Y/170-T/8)))+0.6*sin(2*PI*(Y/95-T/2+0.25*sin(2*PI*(X/260+T/8))))"
angle="mod(atan2(X-508,180-Y)+2*PI,2*PI)"
ring="clip(4.5-abs(hypot(X-508,Y-180)-88),0,1)"
hand="clip(84-hypot(X-508,Y-180),0,1)*pow(max(0,1-mod(2*PI*T/8-$angle+4*PI,2*PI)/2.4),2)"
$ff -f lavfi -i "nullsrc=s=640x360:r=25:d=8,format=yuv444p,geq=\
lum='clip(62+17*($wave)+(150*$ring)+(120*$hand)-Y/14,16,235)':\
cb='clip(150+9*sin(2*PI*(X/320-T/8))-26*$ring-30*$hand,16,240)':\
cr='clip(100+10*sin(2*PI*(Y/240+T/4))-6*$hand,16,240)',\
scale=1280:720:flags=lanczos" \
  -f lavfi -i "color=c=0xffb454:s=34x34:r=25:d=8" -f lavfi -i "color=c=white:s=150x10:r=25:d=8" -filter_complex "\
[0][1]overlay=x='623+590*sin(2*PI*t/8)':y='600+34*sin(2*PI*t/2)':eval=frame[f];\
[f][2]overlay=x='-150+1430*mod(t,2)/2':y=710:eval=frame,\
noise=c0s=7:c0f=t:c0_seed=7480,\
drawbox=x=48:y=246:w=700:h=216:color=black@0.42:t=fill,\
drawtext=fontfile=$sans:text='WEIR':x=48:y=52:fontsize=54:fontcolor=white:shadowx=2:shadowy=2,\
drawtext=fontfile=$sans:text='test picture, 8 s loop':x=48:y=120:fontsize=28:fontcolor=white@0.85,\
drawtext=fontfile=$mono:text='%{eif\:floor(t)\:d\:2}.%{eif\:floor(mod(t+0.001,1)*100)\:d\:2}':x=76:y=272:fontsize=210:fontcolor=white,\
drawtext=fontfile=$mono:text='tone on the second':x=48:y=486:fontsize=26:fontcolor=white@0.85,\
drawbox=x=1000:y=344:w=32:h=32:color=white:t=fill:enable='lt(mod(t,1),0.12)'\
[v]" -map "[v]" -frames:v 200 -c:v libx264 -qp 0 -preset ultrafast -pix_fmt yuv420p "$tmp/picture.mp4"

# A quiet fifth that swells once in 8 s, and a bell on each second, higher on the first.
$ff -f lavfi -i "aevalsrc='(0.035*sin(2*PI*220*t)+0.03*sin(2*PI*330*t))*(1+0.5*sin(2*PI*t/8))\
+0.22*exp(-14*mod(t,1))*sin(2*PI*(880+440*lt(mod(t,8),1))*t)':s=48000:d=24:c=stereo" -c:a pcm_s16le "$tmp/tone.wav"

rendition() { # name, size, video kbit/s, H.264 level
  $ff -stream_loop 2 -i "$tmp/picture.mp4" -i "$tmp/tone.wav" -map 0:v -map 1:a -t 24 \
    -vf "drawtext=fontfile=$mono:text='$1':x=w-tw-48*w/1280:y=52*h/720:fontsize=40*h/720+4:fontcolor=white:shadowx=2:shadowy=2,scale=$2:flags=lanczos,setsar=1" \
    -c:v libx264 -preset slow -profile:v high -level "$4" -pix_fmt yuv420p -r 25 \
    -b:v "$3k" -maxrate "$3k" -bufsize "$3k" \
    -x264-params "keyint=50:min-keyint=50:scenecut=0:open-gop=0:bframes=0:threads=1" \
    -color_primaries bt709 -color_trc bt709 -colorspace bt709 -map_metadata -1 -fflags +bitexact -flags:v +bitexact -flags:a +bitexact \
    -c:a aac -b:a 96k -ar 48000 -ac 2 "$tmp/$1-whole.mp4"
  $ff -i "$tmp/$1-whole.mp4" -ss 8 -t 8 -c copy -map_metadata -1 -fflags +bitexact -avoid_negative_ts disabled \
    -movflags +frag_keyframe+empty_moov+default_base_moof+skip_sidx+skip_trailer -use_editlist 0 "$1.mp4"
}
rendition 360p 640x360 420 3.0
rendition 540p 960x540 1000 3.1
rendition 720p 1280x720 2000 3.1
ls -l ./*.mp4
