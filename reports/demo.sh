#!/bin/sh
# What is committed about the packaged models: `demo`, and `demo-vscale` that was trained like it with V-scale. About twenty
# minutes on one core. It goes on where it was interrupted; `python reports/keep.py RUNS` then takes over what is committed.
set -eu
runs=${1:-runs}
mkdir -p "$runs"
cd "$runs"
new() { [ ! -e "$1/run.json" ]; } # whether a run is still to be made

for model in demo demo-vscale; do
    ! new $model || sinkscope analyze $model --out $model --resume
    ! new $model-evaluation ||
        sinkscope evaluate $model --lengths 224,240,256 --batch-size 8 --out $model-evaluation
done
! new demo-comparison || sinkscope compare demo demo-vscale --out demo-comparison
! new demo-quantization || sinkscope quantize demo demo-vscale --batch-size 8 --out demo-quantization
! new demo-mitigations ||
    sinkscope quantize demo demo-vscale --batch-size 8 --sequences 16 --tokens 240 --rank-sequences 8 --out demo-mitigations \
        --mitigate none,smooth,rotate,prefix,clip,keep \
        --methods none,w8a8-static,w8a8-dynamic,w4g32,w3g32,w4g32-a8-dynamic,fp8-static,mxfp8,mxfp6,mxfp4,nvfp4
! new demo-quantization-libraries ||
    sinkscope quantize demo demo-vscale --methods none,torchao-int8,torchao-int8-weights,smoothquant,gptq,awq \
        --batch-size 8 --out demo-quantization-libraries --allow-install
! new demo-finetuned/report || sinkscope finetune --vscale --out demo-finetuned $([ ! -e demo-finetuned ] || echo --resume)
