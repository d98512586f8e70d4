"""From the fields of requests to the options of a verb, and back to the requests."""

import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer
from typer.testing import CliRunner

import sinkscope
from sinkscope.cli.signature import Offered, command
from sinkscope.cli.verbs import VERBS
from sinkscope.errors import RequestError
from sinkscope.fields import Section, described

MOST = 10  # parameters of a verb's own


@dataclass(frozen=True)
class Cake:
    """A request."""

    flour: str = described("wheat", "Which flour.", Section.DATA)
    layers: int | None = described(None, "How many.", Section.DATA, option="cake_layers")
    baked: bool = described(True, "Leave it raw.", Section.OUTPUT, only_off=True, before="flour")
    iced: bool = described(True, "Ice it.", Section.OUTPUT, both_ways=True)
    sizes: tuple[int, ...] | None = described(None, "Sizes, as `flour`.", Section.DATA)
    tins: tuple[str, ...] = described(("round",), "Tins.", Section.DATA, or_none=True)
    shelf: Path | None = described(None, "Where it cools.", Section.OUTPUT)


def called(*arguments: str, offered: Offered | None = None) -> Any:
    """What a verb is called with."""
    seen: list[Cake] = []

    def bake(cake: Annotated[Cake, offered or Offered()], hot: bool = False) -> None:  # noqa: ARG001
        seen.append(cake)

    app = typer.Typer(add_completion=False)
    app.command()(command(bake))
    result = CliRunner().invoke(app, list(arguments), standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    return seen[0]


def test_options_fill_the_fields() -> None:
    assert called() == Cake()
    typed = called(
        "--flour", "rye", "--cake-layers", "3", "--no-baked", "--no-iced", "--sizes", "1, 2,2", "--tins", "a,b"
    )
    assert typed == Cake("rye", 3, False, False, (1, 2), ("a", "b"))
    assert called("--tins", "none").tins == ()
    assert called("--shelf", "~/x").shelf == Path("~/x").expanduser()


def test_what_is_no_number_is_named() -> None:
    with pytest.raises(RequestError, match="`sizes` takes whole numbers by commas"):
        called("--sizes", "1,two")


def test_a_verb_may_offer_less_and_say_it_otherwise() -> None:
    offered = Offered("layers", "flour", flour={"default": "spelt"})
    assert called(offered=offered) == Cake("spelt")
    with pytest.raises(Exception, match="No such option"):
        called("--iced", offered=offered)
    all_but_one = Offered(but=["iced"])
    assert called("--flour", "rye", offered=all_but_one) == Cake("rye")
    with pytest.raises(Exception, match="No such option"):
        called("--iced", offered=all_but_one)


def test_listing_order_and_text() -> None:
    def bake(cake: Cake) -> None: ...

    parameters = inspect.signature(command(bake)).parameters
    assert list(parameters) == ["no_baked", "flour", "cake_layers", "iced", "sizes", "tins", "shelf"]
    option = parameters["sizes"].annotation.__metadata__[0]
    assert (option.help, option.rich_help_panel) == ("Sizes, as --flour.", "Data")


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.__name__)
def test_no_verb_has_many_parameters_of_its_own(verb: Any) -> None:
    assert len(inspect.signature(verb).parameters) <= MOST


@pytest.mark.parametrize("verb", ["analyze", "compare", "evaluate", "plan", "quantize", "track"])
def test_nor_has_the_library_s(verb: str) -> None:
    code = getattr(sinkscope, verb).__code__
    keywords = bool(code.co_flags & inspect.CO_VARKEYWORDS)
    assert code.co_argcount + code.co_kwonlyargcount + keywords <= MOST


@pytest.mark.parametrize("verb", ["analyze", "compare", "evaluate", "load", "plan", "quantize", "track"])
def test_help_lists_keywords_with_their_defaults(verb: str) -> None:
    parameters = inspect.signature(getattr(sinkscope, verb)).parameters
    assert parameters["dtype"].default == "auto"
    assert all(parameter.kind is not inspect.Parameter.VAR_KEYWORD for parameter in parameters.values())
    if verb in ("analyze", "quantize", "track"):
        assert (parameters["sequences"].default, parameters["bos"].default) == (None, "auto")
    if verb in ("analyze", "evaluate", "quantize", "track"):
        assert parameters["budget"].default is None
