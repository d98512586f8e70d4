#!/bin/sh
# Perplexity and needles of the model as it is, and under five methods of quantization.
# 36 needles at 256 and 512 tokens each; about 30 minutes on two cores.
set -eu
here=$(dirname "$0")
runs=${1:-runs/smollm2-135m}/evaluate
model=$(python "$here/../real_models.py" smollm2)
evaluate() {
    name=$1
    shift
    [ -e "$runs/$name/run.json" ] ||
        sinkscope evaluate "$model" --data stdlib-prose --haystack stdlib-prose --documents 16 --characters 4000 --window 1024 \
            --lengths 256,512 --depths 3 --seeds 2 --out "$runs/$name" "$@"
}
evaluate none
for method in w8a8-dynamic w8a8-static w8a8-static-down nf4; do
    evaluate $method --quantize $method
done
python "$here/../check_numbers.py" "$here/evaluate" "$runs"
