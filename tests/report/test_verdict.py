"""Page 1 and the terminal print this run's numbers, with published ones beside them."""

import io

from rich.console import Console
from synthetic import Shape, changed, synthetic

from sinkscope.report.analysis import front_page as verdict
from sinkscope.report.analysis import numbers
from sinkscope.report.analysis.consequences import command
from sinkscope.report.analysis.headline_rows import public_rows, rows
from sinkscope.report.analysis.terminal import summary
from sinkscope.report.published import PUBLIC, published_for
from sinkscope.report.text import NOT_MEASURED, number

RUN = synthetic(Shape(3, 4, 2, tokens=20))
SHOWN = (
    "sink_rate_max",
    "residual_t0_over_early",
    "value_drain",
    "abs_max",
    "abs_over_median_max",
    "gradient_sink_median",
    "gradient_sink_q25",
    "mass_slope",
    "bounds_checked",
)
ON_THE_PAGE_OF_NUMBERS = (*SHOWN, "residual_t0_mean", "residual_t0_max", "mlp_t0_mean", "attn_t0_mean", "kurtosis_max",
                          "massive_count")  # fmt: skip


def page_one(run) -> list[str]:
    return [text.get_text() for text in verdict.ENTRY.draw(run).written]


def test_page_one_prints_the_headline_of_the_run() -> None:
    printed = " ".join(page_one(RUN))
    for name in SHOWN:
        assert number(RUN.info["headline"][name]) in printed, name


def test_a_rank_is_a_whole_number_where_it_is_one() -> None:
    def rank(value: float) -> str:
        return next(row for row in rows(changed(RUN, sink_norm_rank_median=value)) if "Rank" in row.quantity).measured

    assert [rank(1.0), rank(1.5), rank(None)] == ["1", "1.50", NOT_MEASURED]


def test_the_page_of_numbers_prints_all_of_them() -> None:
    printed = " ".join(text.get_text() for text in numbers.ENTRY.draw(RUN).written)
    for name in ON_THE_PAGE_OF_NUMBERS:
        assert number(RUN.info["headline"][name]) in printed, name


def test_another_number_is_another_page() -> None:
    printed = " ".join(page_one(changed(RUN, abs_max=4711.0, gradient_sink_median=81.5)))
    assert "4,711" in printed
    assert "81.5" in printed


def test_what_was_not_measured_is_said_not_drawn_as_zero() -> None:
    by_name = {row.quantity: row for row in rows(changed(RUN, loss=None, perplexity=None))}
    assert by_name["Loss [nats per token]"].measured == NOT_MEASURED


def test_reference_columns_are_the_papers() -> None:
    by_name = {row.quantity: row for row in rows(RUN)}
    assert by_name["Sink rate (1), mean (max)"].baseline == "0.617 (0.984)"
    assert by_name["Residual norm, token 0 / early"].vscale == "3.0"


def test_the_gradient_sink_has_its_number_of_sequences_and_interval() -> None:
    head = RUN.info["headline"]
    ends = f"{number(head['gradient_sink_median_low'])} to {number(head['gradient_sink_median_high'])}"
    row = {row.quantity: row for row in rows(RUN)}["95 % interval over 4 sequences"]
    assert row.measured == ends
    for said in (" ".join(page_one(RUN)), str(summary(RUN))):
        assert "95 % interval over 4 sequences" in said
        assert ends in said
    few = {row.quantity: row for row in rows(synthetic(Shape(3, 4, 2, tokens=20, sequences=1)))}
    assert few["95 % interval over 1 sequence"].measured == "no interval"
    assert not any("typical" in row.remark for row in rows(RUN))


def test_the_slope_has_its_fit_and_its_pairs() -> None:
    head = RUN.info["headline"]
    row = {row.quantity: row for row in rows(RUN)}["Slope of gradient on mass (11), 95 % interval"]
    ends = f"{number(head['mass_slope_low'])} to {number(head['mass_slope_high'])}"
    assert row.measured == f"{number(head['mass_slope'])} ({ends})"
    assert row.remark.startswith(f"R^2 {number(head['mass_slope_r2'], 2)}, {head['mass_slope_pairs']} pairs")
    assert head["mass_slope_pairs"] == 3 * 4 * 20
    assert head["mass_slope_low"] < 0.95 < head["mass_slope_high"]
    older = changed(RUN)
    for name in ("mass_slope_r2", "mass_slope_pairs"):
        del older.info["headline"][name]
    row = {row.quantity: row for row in rows(older)}["Slope of gradient on mass (11), 95 % interval"]
    assert row.measured.endswith("(no interval)")  # its ends were those of independent pairs


def test_gradients_have_no_rows_without_backward() -> None:
    forward = synthetic(Shape(3, 4, 2, backward=False))
    assert not any("radient" in row.quantity or "Bounds" in row.quantity for row in rows(forward))


def test_published_values_are_matched_by_name() -> None:
    assert [value.value for value in published_for("meta-llama/Llama-2-7b-hf")] == [(1415, 2533)]
    assert {value.metric for value in published_for("Qwen/Qwen3-8B")} == {"massive_first_layer", "gradient_sink_median"}
    assert {value.model for value in published_for("meta-llama/Meta-Llama-3.1-8B-Instruct")} == {"Llama-3.1-8B"}
    assert {value.metric for value in published_for("/models/gemma-3-27b-it")} == {"abs_max"}


def test_similar_names_do_not_match() -> None:
    for name in ("Qwen/Qwen2.5-72B", "deepseek-ai/DeepSeek-R1-0528-Qwen3-8B", "meta-llama/Llama-3.1-80B", "demo", ""):
        assert published_for(name) == (), name


def test_every_published_value_can_be_shown() -> None:
    for value in PUBLIC:
        run = synthetic(Shape(1, 2, 1, tokens=8), name=value.model)
        assert any(value.source in source for *_, source in public_rows(run)), value


def test_page_one_shows_published_values_beside_the_measured() -> None:
    printed = page_one(synthetic(Shape(3, 4, 2, tokens=20), name="Qwen/Qwen2.5-1.5B"))
    assert "7,968" in printed
    assert any("arXiv:2605.15572" in text for text in printed)


def test_terminal_summary_prints_as_text_and_through_rich() -> None:
    buffer = io.StringIO()
    Console(file=buffer, width=100).print(summary(RUN))
    for text in (str(summary(RUN)), buffer.getvalue()):
        assert number(RUN.info["headline"]["residual_t0_mean"]) in text
        assert "0.617 (0.984)" in text


def test_a_narrow_terminal_has_no_columns_of_the_papers() -> None:
    buffer = io.StringIO()
    Console(file=buffer, width=99).print(summary(RUN))
    assert number(RUN.info["headline"]["residual_t0_mean"]) in buffer.getvalue()
    assert "0.617" not in buffer.getvalue()
    assert "Paper" not in buffer.getvalue()


def test_the_terminal_says_the_findings_first_and_the_command_whole() -> None:
    buffer = io.StringIO()
    Console(file=buffer, width=60).print(summary(RUN))
    text = buffer.getvalue()
    assert text.index("- Token 0") < text.index("Measure it:") < text.index("Quantity")
    assert "".join(command(RUN).split()) in "".join(text.split())


def test_the_papers_losses_and_norms_stand_beside_a_model_of_its_shape_alone() -> None:
    def baseline(run) -> dict[str, str]:
        return {row.quantity: row.baseline for row in rows(run)}

    other, alike = baseline(RUN), baseline(synthetic(Shape(17, 8, 4, tokens=20, hidden=1024)))
    norm, loss = "Residual norm, token 0 (3), mean (max)", "Loss [nats per token]"
    assert (other[norm], other[loss]) == ("-", "-")
    assert (alike[norm], alike[loss]) == ("1,916 (2,852)", "2.9168")
    ratio = "Residual norm, token 0 / early"
    assert other[ratio] == alike[ratio] == "11.1"
    settings = {**RUN.info["settings"], "sink_epsilon": 0.2}
    assert baseline(synthetic(Shape(3, 4, 2), settings=settings))["Sink rate (1), mean (max)"] == "-"


def test_markup_in_names_is_printed_as_it_stands() -> None:
    assert "[bold]model" in str(summary(synthetic(Shape(1, 2, 1), name="[bold]model")))
