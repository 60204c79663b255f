# Test pictures and a tone encoded by two threads, and decoded and scaled again. (At slower presets libx264's output depends
# on memory that it has never written: MALLOC_PERTURB_ of the C library changes it, too.)
# packages: ffmpeg
program() {
  need ffmpeg ffmpeg
  local quiet=(ffmpeg -hide_banner -nostdin -loglevel error -y)
  "$@" "${quiet[@]}" -f lavfi -i testsrc=size=320x240:rate=25:duration=4 -f lavfi -i sine=frequency=440:duration=4 \
    -threads 2 -c:v libx264 -preset ultrafast -c:a aac -flags +bitexact -fflags +bitexact movie.mkv || return
  cksum <movie.mkv
  "$@" "${quiet[@]}" -threads 2 -i movie.mkv -vf scale=160:120,hue=s=0 -flags +bitexact -fflags +bitexact -f md5 - || return
  "$@" "${quiet[@]}" -f lavfi -i testsrc2=size=320x240:duration=2 -threads 2 -c:v mpeg4 -flags +bitexact -fflags +bitexact -f framemd5 - | cksum
}
