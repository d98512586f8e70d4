from typing import Any

import pytest
import typer
from upstream import moved, require

HOME = "commands"


def test_what_is_relied_on() -> None:
    require("typer.core:TyperGroup.invoke", HOME, "self", "ctx")
    require("typer.core:TyperCommand.format_options", HOME, "self", "ctx", "formatter")
    require("typer.core:TyperCommand.get_params", HOME, "self", "ctx")
    require("typer.completion:get_completion_inspect_parameters", HOME)
    require("typer.completion:install_callback", HOME, "ctx", "param", "value")
    require("typer.completion:show_callback", HOME, "ctx", "param", "value")
    from sinkscope.compat.commands import UsageError

    assert UsageError.__name__ == "UsageError", moved("typer", "BadParameter has another base", HOME)


def test_overridden_methods_are_called_and_errors_arrive() -> None:
    from sinkscope.compat.commands import Command, Group, UsageError

    called: list[str] = []

    class OwnGroup(Group):
        def invoke(self, ctx: Any) -> Any:
            called.append("invoke")
            return super().invoke(ctx)

    class OwnCommand(Command):
        def format_options(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002
            called.extend(parameter.name for parameter in self.get_params(ctx))
            assert all(hasattr(parameter, "param_type_name") for parameter in self.get_params(ctx))

    app: Any = typer.Typer(cls=OwnGroup, add_completion=False, rich_markup_mode=None)

    @app.callback()
    def root() -> None:
        """Runs before the command."""

    @app.command(cls=OwnCommand)
    def verb(count: int = 1) -> None:
        called.append(f"verb {count}")

    app(args=["verb", "--count", "3"], standalone_mode=False)
    app(args=["verb", "--help"], standalone_mode=False)
    assert called[:2] == ["invoke", "verb 3"], moved("typer", "a group's invoke is not called", HOME)
    assert "count" in called, moved("typer", "a command's format_options is not called", HOME)
    with pytest.raises(UsageError) as caught:
        app(args=["verb", "--count", "many"], standalone_mode=False)
    assert "Invalid value" in caught.value.format_message()
    assert caught.value.exit_code == 2
