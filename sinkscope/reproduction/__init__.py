"""The paper's chain from one command: train the trio, measure it, and hold every claim against its own test.

    sinkscope.reproduction.run.reproduce("mini", Path("runs/reproduction"), seeds=3)

Nothing is measured here. Stages call the verbs of the other rooms, `measures` reads their tables, `rule` turns numbers
and their intervals into verdicts, and what is tested was written down before any run: `claims`, printed as
docs/claims.md.
"""
