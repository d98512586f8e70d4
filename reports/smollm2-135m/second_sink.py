"""Is the second sink the first " the" or blank of its window? Prints each, from the runs of analyze.sh.

    python reports/smollm2-135m/second_sink.py [RUNS]

Of every sequence it takes the second sink as the report has it (docs/definitions.md, "Sink tokens"), and looks in the
window whether the same token stands before it. Takes a few seconds.
"""

import sys
from pathlib import Path

from sinkscope import read_run
from sinkscope.loading.load import load_model
from sinkscope.quantities.sink_groups import second_sinks
from sinkscope.text.sources import open_documents
from sinkscope.text.windows import pack_for

sys.path.append(str(Path(__file__).parents[1]))
from real_models import take


def main() -> None:
    """Prints a line for each sequence, and how many are the first of their token."""
    runs = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/smollm2-135m") / "analyze"
    loaded = load_model(str(take("smollm2")), device="cpu")
    for data in ("stdlib-prose", "stdlib-code"):
        for bos in ("never", "always"):
            run = read_run(runs / f"{data}-bos-{bos}")
            N, T = run.info["data"]["sequences"], run.info["data"]["tokens"]
            packed = pack_for(loaded.model, loaded.tokenizer, open_documents(data), N, T, bos)
            if packed.sha256 != run.info["data"]["sha256"]:
                sys.exit(f"{runs} was measured on other windows: run analyze.sh with this Python")
            second = second_sinks(run["sinks"], run.headline["heads_total"])
            firsts, tokens = 0, []
            for (sequence, position), heads in second.groupby(["sequence", "position"]).size().items():
                ids = packed.input_ids[sequence].tolist()
                token = loaded.tokenizer.decode([ids[position]])
                first = ids.index(ids[position]) == position
                firsts += first
                tokens.append(token)
                what = "the first" if first else "not the first"
                print(f"{data}, {bos} {sequence}: {token!r} at {position}, {heads} heads; {what} in its window")
            counts = ", ".join(f"{token!r} {tokens.count(token)}" for token in sorted(set(tokens)))
            print(f"{data}, bos {bos}: {firsts} of {len(tokens)} are the first of their token; {counts}")


if __name__ == "__main__":
    main()
