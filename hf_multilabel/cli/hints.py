"""What to type instead of a command or an option that there is not."""

from __future__ import annotations

import difflib
import json
import shlex
from typing import Any

from typer.core import TyperGroup

from hf_multilabel.assets import recipes_folder
from hf_multilabel.request import is_read

# Commands of other tools, and what does the same here.
MEANT = {
    "compare": "evaluate RUN OTHER_RUN for numbers, report RUN OTHER_RUN for a page",
    "diff": "evaluate RUN OTHER_RUN for numbers, report RUN OTHER_RUN for a page",
    "test": "evaluate RUN",
    "eval": "evaluate RUN",
    "fit": "train RECIPE",
    "finetune": "train RECIPE",
    "resume": "train RECIPE --resume",
    "init": "inspect DATA --recipe FILE.yaml",
    "profile": "inspect DATA",
    "infer": "predict RUN TEXTS",
    "sweep": "study FILE",
    "upload": "push RUN OWNER/NAME",
    "onnx": "export onnx RUN",
    "serve": "space RUN",
    "demo": "space RUN",
    "check": "doctor RUN",
}
# Options of other tools, by the key that says the same here.
KEYS = {
    "epochs": "training.num_train_epochs",
    "lr": "training.learning_rate",
    "batch_size": "training.per_device_train_batch_size",
    "output": "training.output_dir",
    "repo": "hub.repo_id",
}


class Commands(TyperGroup):
    """The commands, whose usage errors say which existing thing was probably meant."""

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """The command that was named; of one that there is not, what does the same."""
        if args and args[0] in MEANT and args[0] not in self.commands:
            ctx.fail(f"No such command {args[0]!r}. Write: hf-multilabel {MEANT[args[0]]}")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Run the command; an option that there is not may be a key of the recipe."""
        given = list(ctx.args)
        try:
            return super().invoke(ctx)
        except Exception as error:
            if hasattr(error, "possibilities"):  # that there is no such option
                explain_option(error, given)
            raise


def explain_option(error: Any, given: list[str]) -> None:
    """Add to the message the override that says what the option was to say, if there is one.

    Args:
        error: Has the option's name, options near it and the command's context.
        given: The command's arguments.
    """
    command = error.ctx.command
    if not any(parameter.name == "overrides" for parameter in command.params):
        return
    key = find_key(error.option_name.lstrip("-").replace("-", "_"), command.name, not error.possibilities)
    if key is not None:
        value = value_of(error.option_name, given)
        error.message += f". Keys of the recipe are written without dashes: {shlex.quote(f'{key}={value}')}"


def find_key(name: str, command: str = "train", nearly: bool = True) -> str | None:
    """The recipe's key of a name.

    Args:
        name: As in `max_steps`.
        command: That is to read it.
        nearly: Whether a key of nearly this name will do.

    Example:
        >>> find_key("max_steps"), find_key("epochs"), find_key("max_lenght"), find_key("verbose")
        ('training.max_steps', 'training.num_train_epochs', 'data.max_length', None)
    """
    schema = json.loads((recipes_folder() / "recipe.schema.json").read_text(encoding="utf-8"))
    keys = {name: full for name, full in KEYS.items() if is_read(full, command)}
    for section, found in schema["properties"].items():
        for key in schema["$defs"][found["$ref"].rpartition("/")[2]]["properties"]:
            # training is meant by a name that several have
            if is_read(f"{section}.{key}", command) and (key not in keys or section == "training"):
                keys[key] = f"{section}.{key}"
    near = [name] if name in keys else difflib.get_close_matches(name, keys, n=1, cutoff=0.8) if nearly else []
    return keys[near[0]] if near else None


def value_of(option: str, given: list[str]) -> str:
    """What was given to an option, or VALUE.

    Example:
        >>> value_of("--a", ["x", "--a", "5"]), value_of("--a", ["--a=6"]), value_of("--a", ["--a", "--b"])
        ('5', '6', 'VALUE')
    """
    for argument, following in zip(given, [*given[1:], ""], strict=True):
        if argument.startswith(f"{option}="):
            return argument.partition("=")[2]
        if argument == option and following and not following.startswith("-"):
            return following
    return "VALUE"
