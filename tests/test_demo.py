"""The packaged demo has what the tool is for, and the library and the command line see the same of it."""

import json

import pytest

import sinkscope
from sinkscope.cli import main
from sinkscope.loading.resolve import packaged_folder


@pytest.fixture(scope="module")
def analysis() -> sinkscope.Analysis:
    return sinkscope.analyze("demo", batch_size=8)


def test_has_attention_sinks_at_bos_in_several_layers(analysis: sinkscope.Analysis) -> None:
    first = analysis.heads[analysis.heads["position"] == 0]
    assert first.loc[first["alpha"] > 0.3, "layer"].nunique() >= 2
    assert analysis.headline["sink_layers"] >= 2
    assert analysis.info["sink_tokens"][0].items() >= {"position": 0, "token": "<bos>"}.items()


def test_has_a_large_first_token_and_a_gradient_sink(analysis: sinkscope.Analysis) -> None:
    assert analysis.headline["residual_t0_over_early_max"] >= 5
    assert analysis.headline["gradient_sink_median"] > 3


def test_no_bound_is_violated(analysis: sinkscope.Analysis) -> None:
    assert set(analysis.bounds["bound"]) == {"value_mass", "value_moment", "compress_attn", "compress_mlp"}
    assert (analysis.bounds["checked"] > 0).all()
    assert (analysis.bounds["violations"] == 0).all()
    assert analysis.bounds["max_ratio"].max() <= 1 + 1e-4


def test_queries_at_token_zero_get_no_gradient(analysis: sinkscope.Analysis) -> None:
    q = analysis.positions[analysis.positions["site"] == "q"]
    for _, rows in q.groupby("layer"):
        assert rows.loc[rows["position"] == 0, "grad_norm"].item() < 1e-6 * rows["grad_norm"].max()


def test_is_small_and_carries_its_card() -> None:
    folder = packaged_folder("demo")
    assert {path.name for path in folder.iterdir()} >= {
        "README.md",
        "config.json",
        "model.safetensors",
        "tokenizer.json",
    }
    assert sum(path.stat().st_size for path in folder.iterdir()) < 20_000_000


def test_figures_are_figures_that_show_themselves(analysis: sinkscope.Analysis) -> None:
    shown = analysis.figures()["sink_heatmap"]
    assert shown._repr_png_().startswith(b"\x89PNG")


def test_its_twin_has_sinks_and_vscale_and_a_smaller_first_token(analysis: sinkscope.Analysis) -> None:
    twin = sinkscope.analyze("demo-vscale", batch_size=8)
    assert twin.info["model"]["vscale"] == "learned"
    assert (twin.vscale["theta"] != 0).all()
    assert twin.headline["sink_layers"] >= 2
    assert twin.headline["gradient_sink_median"] < analysis.headline["gradient_sink_median"]
    assert twin.headline["residual_t0_over_early"] < analysis.headline["residual_t0_over_early"]
    assert (twin.bounds["violations"] == 0).all()


@pytest.mark.slow
def test_command_line_and_library_agree(
    analysis: sinkscope.Analysis, tmp_path_factory: pytest.TempPathFactory, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path_factory.mktemp("demo") / "run"
    assert main(["analyze", "--out", str(out), "--json"]) == 0
    printed = json.loads(capfd.readouterr().out)
    assert printed["headline"].keys() == analysis.headline.keys()
    for name, value in analysis.headline.items():
        assert printed["headline"][name] == (value if value is None else pytest.approx(value, rel=1e-3, abs=1e-6)), name
    assert (out / "report.pdf").stat().st_size > 100_000
    run = sinkscope.read_run(out)
    assert run.tables.keys() == analysis.tables.keys()
