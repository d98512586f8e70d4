"""What to type, by verb: the end of each `--help`. Every line is parsed in a test."""

EXAMPLES: dict[str, tuple[str, ...]] = {
    "ablate": (
        "sinkscope ablate demo --from runs/demo",
        "sinkscope ablate ./model --what massive-zero,cache:0+256,cache:4+252",
    ),
    "analyze": (
        "sinkscope analyze",
        "sinkscope analyze Qwen/Qwen3-0.6B --budget 5m --out runs/qwen",
        "sinkscope analyze ./model --data text.jsonl --sequences 64 --tokens 1024",
    ),
    "compare": (
        "sinkscope compare runs/demo runs/demo-vscale --out runs/pair",
        "sinkscope compare base=runs/a,runs/b vscale=runs/c,runs/d --out runs/seeds",
    ),
    "evaluate": (
        "sinkscope evaluate demo --out runs/demo-evaluation",
        "sinkscope evaluate ./model --quantize w8a8-static --budget 10m",
    ),
    "families": ("sinkscope families", "sinkscope families --json"),
    "finetune": (
        "sinkscope finetune demo --vscale --train theta --steps 50 --out runs/retrofit",
        "sinkscope finetune ./model --data text.jsonl --steps 500 --out runs/tuned",
    ),
    "plan": ("sinkscope plan Qwen/Qwen3-8B", "sinkscope plan ./model --sequences 64 --tokens 4096 --json"),
    "pretrain": (
        "sinkscope pretrain demo --steps 100 --out runs/small",
        "sinkscope pretrain mini --seeds 3 --out runs/mini --set optimizer.lr=1e-3",
    ),
    "quantize": (
        "sinkscope quantize demo demo-vscale --out runs/quantized",
        "sinkscope quantize ./model --methods w8a8-static,nf4 --out runs/int8",
    ),
    "report": (
        "sinkscope report runs/demo",
        "sinkscope report runs/demo --style paper --width 6.8 --format pdf,svg",
        "sinkscope report runs/demo --format md,tex --out tables",
    ),
    "reproduce": (
        "sinkscope reproduce --scale mini --seeds 3 --out runs/reproduction",
        "sinkscope reproduce --scale demo --dry-run",
        "sinkscope reproduce --model Qwen/Qwen3-0.6B --out runs/claims",
    ),
    "track": (
        "sinkscope track runs/mini/checkpoints --out runs/mini-track",
        "sinkscope track EleutherAI/pythia-70m --revisions 'step*'",
    ),
}
