#!/bin/sh
# Perplexity and needles of the model as it is, and under four methods of quantization.
# 16 documents, and 36 needles at 256 and 512 tokens, each time; the minutes are in README.md.
set -eu
. "$(dirname "$0")/common.sh"
for method in none w8a8-dynamic w8a8-static w8a8-static-down nf4; do
    [ -e "$runs/evaluate/$method/run.json" ] ||
        sinkscope evaluate $smollm2 --quantize $method --data stdlib-prose --haystack stdlib-prose --documents 16 \
            --characters 4000 --window 1024 --lengths 256,512 --depths 3 --seeds 2 --out "$runs/evaluate/$method"
done
check evaluate evaluate
