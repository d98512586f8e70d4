#!/bin/sh
# The same text through Gemma 3 270M, whose tokenizer cuts it into other windows, and the two side by side.
# 16 x 1024 tokens of prose; the minutes are in README.md. analyze.sh must have run before.
set -eu
. "$(dirname "$0")/common.sh"
python "$here/../real_models.py" gemma3
[ -e "$runs/gemma3/run.json" ] ||
    sinkscope analyze $gemma3 --data stdlib-prose --bos always --sequences 16 --tokens 1024 --out "$runs/gemma3" --resume
sinkscope compare smollm2="$runs/analyze/stdlib-prose-bos-never" gemma3="$runs/gemma3" --allow-mismatch \
    --out "$runs/compare" --force
check gemma3.json gemma3
