"""Learned sinks (gpt-oss): their mass is what the weights of all tokens leave of 1."""

import numpy as np
import pandas as pd
import torch
from reference import measure
from reference.agree import assert_table
from reference.models import padded, tiny, tokens

import sinkscope
from sinkscope import Scope, Settings

LENGTH = 20
SETTINGS = Settings(sink_epsilon=0.25, sink_window=8, early=5, positions=LENGTH)


def expected(measured: object, model: torch.nn.Module) -> pd.DataFrame:
    """The table from whole maps of eager attention, which leaves the sink's column out."""
    rows = []
    for i, block in enumerate(model.model.layers):
        for h in range(4):
            of_sequences = [sequence.layers[i].weights[h] for sequence in measured.sequences]
            left = [1 - weights.sum(-1) for weights in of_sequences]
            rows.append(
                {
                    "layer": i,
                    "head": h,
                    "logit": float(block.self_attn.sinks[h].detach()),
                    "mass": np.mean([float(rest.mean()) for rest in left]),
                    "token_mass": np.mean([float(weights.sum(-1).mean()) for weights in of_sequences]),
                    "early_mass": np.mean([float(rest[:8].mean()) for rest in left]),
                    "alpha": np.mean([float(weights[:8, 0].mean()) for weights in of_sequences]),
                }
            )
    return pd.DataFrame(rows)


def test_mass_agrees_with_whole_maps() -> None:
    model, ids = tiny("gpt_oss"), tokens(4, LENGTH)
    run = sinkscope.analyze(model, input_ids=ids, batch_size=3, settings=SETTINGS).run
    table = expected(measure(model, ids), model)
    assert table["mass"].between(0.01, 0.99).any()
    assert_table("learned_sinks", run["learned_sinks"], table, relative=1e-4, of_largest=1e-6)
    assert np.isclose(run.info["headline"]["learned_sink_mass_mean"], table["mass"].mean(), rtol=1e-4)


def test_padding_takes_no_part() -> None:
    model = tiny("gpt_oss")
    ids, mask, labels = padded([LENGTH, 13], "left")
    with Scope(model, SETTINGS) as scope:
        model(input_ids=ids, attention_mask=mask, labels=labels, use_cache=False).loss.backward()
    table = expected(measure(model, ids, mask), model)
    assert_table("learned_sinks", scope.run()["learned_sinks"], table, relative=1e-4, of_largest=1e-6)


def test_the_first_query_has_a_gradient() -> None:
    """Its row has two entries, the token itself and the sink, and so can move."""
    positions = sinkscope.analyze(tiny("gpt_oss"), input_ids=tokens(3, LENGTH), settings=SETTINGS).positions
    queries = positions[positions["site"] == "q"].set_index(["layer", "position"])["grad_norm"]
    assert (queries[:, 0] > 1e-3 * queries.groupby("layer").max()).all()


def test_other_models_have_no_such_table() -> None:
    run = sinkscope.analyze(tiny("llama_gqa"), input_ids=tokens(2, LENGTH), settings=SETTINGS).run
    assert "learned_sinks" not in run.tables
    assert run.info["headline"]["learned_sink_mass_mean"] is None
