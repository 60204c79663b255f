# A generated PostScript file rendered, and distilled into a PDF file that is rendered again.
# packages: ghostscript
# quick
program() {
  need gs ghostscript
  cat >page.ps <<'PS'
%!PS-Adobe-3.0
/Helvetica findfont 24 scalefont setfont
1 1 3 {
  /page exch def
  0 1 60 { /i exch def
    i 60 div 1 i 60 div sub page 3 div setrgbcolor
    gsave 300 400 translate i 6 mul page mul rotate newpath 20 0 moveto 100 i add 50 180 i 200 40 curveto
    i 10 div setlinewidth stroke grestore
  } for
  0 setgray 72 72 moveto (page ) show page 10 string cvs show
  << /ShadingType 2 /ColorSpace /DeviceRGB /Coords [72 700 500 700] /Function
    << /FunctionType 2 /Domain [0 1] /C0 [1 0 0] /C1 [0 0 1] /N 1 >> /BBox [72 650 500 750] >> shfill
  /Times-Roman findfont 60 scalefont setfont 100 560 moveto (Clip) true charpath clip newpath
  0 5 600 { 0 exch moveto 600 0 rlineto stroke } for
  showpage
} for
PS
  "$@" gs -q -dBATCH -dNOPAUSE -dSAFER -sDEVICE=png16m -r100 -dTextAlphaBits=4 -dGraphicsAlphaBits=4 -sOutputFile=direct%d.png page.ps || return
  "$@" gs -q -dBATCH -dNOPAUSE -dSAFER -sDEVICE=pdfwrite -sOutputFile=page.pdf page.ps || return  # has the date in it
  "$@" gs -q -dBATCH -dNOPAUSE -dSAFER -dNumRenderingThreads=2 -dMaxBitmap=100000 -sDEVICE=png16m -r80 -sOutputFile=distilled%d.png page.pdf || return
  cksum -- *.png
  "$@" gs -q -dBATCH -dNODISPLAY -c '1 0 div' quit >error.log 2>&1
  echo "an error's status: $?, $(head -1 error.log)"
}
