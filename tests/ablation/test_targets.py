"""What is read from an analysis, and the controls that are drawn beside it."""

from dataclasses import replace

import pandas as pd
import pytest
from families import tiny
from report.synthetic import Shape, synthetic

from sinkscope.ablation.known import analysis_at, check_same_weights
from sinkscope.ablation.settings import AblationSettings, CacheName, named
from sinkscope.ablation.steps import attention
from sinkscope.ablation.steps.choose import Chosen, wanted
from sinkscope.ablation.steps.step import Subject
from sinkscope.ablation.targets import Targets, targets_of
from sinkscope.errors import RequestError
from sinkscope.models.taps.edits import SlidingCache
from sinkscope.tables.run_folder import Run

SHAPE = Shape(3, 4, 2, tokens=24, sequences=4, massive=True)


def _analysis(entries: list[tuple[int, int, int, float]]) -> Run:
    """A made-up analysis whose residual stream has these massive entries: layer, sequence, channel, value."""
    run = synthetic(SHAPE)
    table = run["massive"]
    rows = table[table["site"] == "h_out"].head(len(entries)).copy()
    rows["layer"], rows["sequence"], rows["channel"], rows["value"] = (list(x) for x in zip(*entries, strict=True))
    rows["is_massive"] = True
    medians = run["sites"].assign(abs_median=0.5)
    massive = rows.astype(table.dtypes.to_dict())
    return Run(run.info, {**run.tables, "massive": massive, "sites": medians})


def test_massive_entries_by_layer_and_where_they_first_appear() -> None:
    """One stray entry in layer 0, of four sequences, is not where channel 7 starts; channel 3 starts elsewhere."""
    entries = [(0, 2, 7, 600.0)]
    entries += [(1, n, 7, 1000.0 + n) for n in range(4)] + [(2, n, 7, 2000.0) for n in range(4)]
    entries += [(2, n, 3, -900.0) for n in range(2)]
    targets = targets_of(_analysis(entries))
    assert {layer: found.means for layer, found in targets.massive.items()} == {
        0: {7: 600.0}, 1: {7: 1001.5}, 2: {3: -900.0, 7: 2000.0},
    }  # fmt: skip
    assert {layer: found.means for layer, found in targets.first.items()} == {1: {7: 1001.5}, 2: {3: -900.0}}
    assert targets.massive[1].threshold == 500.0  # 1000 times the median


def test_sinks_are_positions_of_half_of_the_sequences() -> None:
    run = synthetic(SHAPE)
    sinks = pd.concat([run["sinks"], run["sinks"].head(2).assign(position=21, sequence=[0, 1])])
    assert targets_of(Run(run.info, {**run.tables, "sinks": sinks})).sinks == (0, 21)
    few = pd.concat([run["sinks"], run["sinks"].head(2).assign(position=21, sequence=[0, 0])])
    targets = targets_of(Run(run.info, {**run.tables, "sinks": few}))
    assert targets.sinks == (0,)
    heads = run["heads"].query("position == 0 and alpha > 0.3")
    assert targets.heads == {int(layer): tuple(rows["head"]) for layer, rows in heads.groupby("layer")}


def test_a_run_of_another_model_is_refused() -> None:
    run = synthetic(SHAPE)
    model = dict(run.info["model"])
    check_same_weights(run, model)
    for change, words in (
        ({"weights_sha256": "e" * 64}, "another model.*weights 0123456789ab.*weights eeeeeeeeeeee"),
        ({"quantization": "nf4"}, "use the same `quantize`"),
        ({"layers": 7}, "its layers is 3, this one's 7"),
    ):
        with pytest.raises(RequestError, match=words):
            check_same_weights(run, model | change)
    unhashed = Run({**run.info, "model": {**model, "weights_sha256": None}}, run.tables)
    check_same_weights(unhashed, model | {"weights_sha256": None})
    with pytest.raises(RequestError, match="another model"):
        check_same_weights(unhashed, model | {"weights_sha256": None, "revision": "abc"})
    with pytest.raises(RequestError, match=r"run of analyze.*'track'"):
        analysis_at(Run({"kind": "track"}, {}))


def test_names() -> None:
    assert named(("cache:4+60", "all")) == [CacheName(4, 60), "all"]
    with pytest.raises(RequestError, match=r"massive-zero, .*first-token and cache:N\+K, not 'massive'"):
        AblationSettings(what=("massive",))
    with pytest.raises(RequestError, match="keeps no recent token"):
        AblationSettings(what=("cache:4+0",))
    every = wanted(AblationSettings(what=("all", "sink-value", "cache:9+9")), 64)
    assert every[-6:] == [CacheName(n, 16 - n) for n in (0, 1, 2, 4, 8)] + [CacheName(9, 9)]
    assert every.count("sink-value") == 1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"stream": True}, "`stream`"), ({"draws": 0}, "`draws`"), ({"where": ("last",)}, "`where`"),
        ({"cache_positions": ("both",)}, "`cache_positions`"), ({"margin": 1.0}, "`margin`"), ({"what": ()}, "`what`"),
        ({"lengths": (64,)}, "for `needles`"), ({"seeds": 0}, "`seeds`"), ({"measured": -1}, "`measured`"),
    ],
)  # fmt: skip
def test_settings_that_could_never_work(changes: dict[str, object], words: str) -> None:
    with pytest.raises(RequestError, match=words):
        AblationSettings(**changes)  # type: ignore[arg-type]


def _chosen(what: str, targets: Targets, **changes: object) -> Chosen:
    subject = Subject(tiny("llama_gqa"), targets, tokens=24, bos_token=0)
    return Chosen(subject, replace(AblationSettings(what=tuple(what.split(","))), **changes))  # type: ignore[arg-type]


def test_steps_and_what_is_left_out() -> None:
    targets = Targets(sinks=(0,), heads={1: (0, 2), 2: (3,)})
    chosen = _chosen("all", targets)
    assert [step.key for step in chosen.steps] == [
        "sink-attention, all layers, renormalized", "sink-value, all layers", "sink-heads, layers 1 to 2",
        "first-token, text shifted by one", "first-token, <bos> added",
        *(f"cache:{n}+{6 - n}, original positions" for n in (0, 1, 2, 4)),
    ]  # fmt: skip
    assert [step.size for step in chosen.steps] == [1, 1, 3, 1, 1, 0, 1, 2, 4]
    assert [step.control is None for step in chosen.steps[-4:]] == [True, False, False, True]  # 2 do not hold 4 others
    assert [note.split(":")[0] for note in chosen.notes] == [
        "massive-zero", "massive-mean", "channel-zero", "super-weights",
    ]  # fmt: skip
    alone = _chosen("sink-heads", targets, by_layer=True)
    assert [step.where for step in alone.steps] == ["layers 1 to 2", "layer 1 alone", "layer 2 alone"]
    assert [step.where for step in _chosen("sink-heads", targets, layers=(2,)).steps] == ["layer 2"]
    with pytest.raises(RequestError, match="layers 0 to 2"):
        _chosen("sink-heads", targets, layers=(3,))
    assert "nothing leaves a cache" in _chosen("cache:4+20", targets).notes[0]
    assert _chosen("sink-value", Targets()).steps == []


def test_both_kinds_of_positions_are_steps_of_their_own() -> None:
    chosen = _chosen("cache:0+6,cache:2+4", Targets(), cache_positions=("original", "cache"))
    assert [step.key for step in chosen.steps] == [
        "cache:0+6, original positions", "cache:2+4, original positions", "cache:2+4, cache positions",
    ]  # fmt: skip
    assert [step.measured for step in chosen.steps] == [True, True, False]


def test_controls_are_of_the_same_size_and_seeded(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[object] = []
    monkeypatch.setattr(attention, "heads_ablated", lambda _model, heads: seen.append(heads))
    monkeypatch.setattr(attention, "cached", lambda _model, cache: seen.append(cache))
    monkeypatch.setattr(attention, "values_zeroed", lambda _model, positions, **_: seen.append(positions))
    subject = Subject(tiny("llama_gqa"), Targets(sinks=(0, 3), heads={0: (1,), 2: (0, 1, 2)}), tokens=24)
    heads = attention.sink_heads(subject, "sink-heads", "", [0, 2])
    values = attention.sink_value(subject, "sink-value", "", [0, 1, 2])
    kept = attention.cache(subject, CacheName(2, 6), "original")
    for step in (heads, values, kept):
        assert step.control is not None
        for seed in (1, 1, 2, 3, 4):
            step.control(seed).enter()
    of_heads, of_values, of_caches = seen[:5], seen[5:10], seen[10:]
    for taken in of_heads:
        assert isinstance(taken, dict)
        assert {layer: len(of_layer) for layer, of_layer in taken.items()} == {0: 1, 2: 3}
        assert taken[0] != (1,)
        assert 3 in taken[2]  # the one head that is no sink, and two that are
    for positions in of_values:
        assert isinstance(positions, tuple)
        assert len(positions) == 2
        assert not set(positions) & {0, 3}
    for cache in of_caches:
        assert isinstance(cache, SlidingCache)
        assert cache.kept is not None
        assert len(cache.kept) == 2
        assert set(cache.kept) <= set(range(2, 8))
    for drawn in (of_heads, of_values, of_caches):
        assert drawn[0] == drawn[1]
        assert len({repr(one) for one in drawn}) > 1
