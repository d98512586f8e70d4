#!/bin/sh
# The same text through Gemma 3 270M, and the two side by side. Its tokenizer cuts other windows from the text.
# 16 x 1024 tokens of prose; about 25 minutes on two cores, and 10 more where analyze.sh has not run.
set -eu
here=$(dirname "$0")
runs=${1:-runs/smollm2-135m}
smollm2=$(python "$here/../real_models.py" smollm2)
gemma3=$(python "$here/../real_models.py" gemma3)
analyze() {
    [ -e "$2/run.json" ] || sinkscope analyze "$1" --data stdlib-prose --bos "$3" --sequences 16 --tokens 1024 --out "$2" --resume
}
analyze "$smollm2" "$runs/analyze/stdlib-prose-bos-never" never
analyze "$gemma3" "$runs/gemma3" always
sinkscope compare smollm2="$runs/analyze/stdlib-prose-bos-never" gemma3="$runs/gemma3" --allow-mismatch --out "$runs/compare" --force
python "$here/../check_numbers.py" "$here/gemma3.json" "$runs/gemma3"
