#!/bin/sh
# Which recipe survives the outliers: formats of today, and what can be done before rounding. Prose is evaluated, code is
# calibrated on. 8 x 256 tokens; the minutes are in README.md. Groups of 64, as 128 does not divide 576 channels.
set -eu
. "$(dirname "$0")/common.sh"
methods=none,w8a8-static,w8a8-static-down,w8a8-dynamic,w4g64,w4g64-a8-dynamic,fp8,fp8-static,mxfp8,mxfp6,mxfp4,nvfp4
[ -e "$runs/mitigate/run.json" ] ||
    sinkscope quantize $smollm2 --methods $methods --mitigate none,smooth,rotate,prefix,clip,keep --data stdlib-prose \
        --calibration-data stdlib-code --sequences 8 --tokens 256 --rank-sequences 1 --rank-limit 24 --out "$runs/mitigate"
check mitigate.json mitigate
