#!/bin/sh
# The paper's claims: the mini trio with five seeds, trained from nothing, and the two real models, of which the claims are
# tested that need no training. The minutes are in reproduction/README.md, and it goes on where it was interrupted;
# `python reports/keep.py RUNS` then takes over what is committed. The real models need `pip install '.[gguf]'`.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
runs=${1:-runs}
mkdir -p "$runs"
cd "$runs"
reproduce() { # reproduce OUT OPTION...
    out=$1
    shift
    [ -e "$out/report/run.json" ] || sinkscope reproduce "$@" --out "$out" $([ ! -e "$out" ] || echo --resume)
}

reproduce reproduction-mini --scale mini --seeds 5
for model in smollm2 gemma3; do
    file=$(python "$here/real_models.py" $model)
    ln -sf "$file" . # so that no run tells where the model lies
    reproduce claims-$model --model "$(basename "$file")" --data stdlib-prose --sequences 16 --tokens 512
done
