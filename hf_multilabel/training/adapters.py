"""Parameter-efficient fine-tuning: adapters in the backbone, the head and the pooling trained as a whole beside them.

    build_model -> add_adapters -> train, checkpoints hold adapter and head alone -> load_merged -> a plain model

peft is imported where it is used: a recipe without adapters does not wait for it.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn
from transformers.pytorch_utils import Conv1D

from hf_multilabel.errors import nearest
from hf_multilabel.training.call_arguments import Problem, raise_problem

if TYPE_CHECKING:
    from peft import PeftConfig, PeftModel

    from hf_multilabel.remote_code.modeling_multilabel import MultiLabelForSequenceClassification

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
# What a recipe cannot set: decided here, of other tasks, or of peft's own bookkeeping.
HANDLED = frozenset(
    {
        *("task_type", "peft_type", "auto_mapping", "base_model_name_or_path", "revision", "inference_mode"),
        *("peft_version", "target_modules", "exclude_modules", "modules_to_save", "runtime_config"),
        *("megatron_config", "megatron_core", "loftq_config", "eva_config", "corda_config", "lora_ga_config"),
    }
)
# Trained and saved as a whole; a pooling without weights is left alone.
WHOLE = ("head", "pooling")


@dataclass(frozen=True)
class AdapterMethod:
    """A method of peft.

    Args:
        config: Name of its configuration class in peft.
        r: What it calls the rank; None if it has none.
        alpha: What it calls the scale.
        dropout: What it calls the dropout of its input.
        fixed: Arguments that make it this method.
        norms: It trains norms, where the others adapt linear layers.
    """

    config: str
    r: str | None = None
    alpha: str | None = None
    dropout: str | None = None
    fixed: Mapping[str, Any] = field(default_factory=dict)
    norms: bool = False

    def names(self) -> dict[str, str]:
        """Keys of a recipe to peft's names of them."""
        names = {"r": self.r, "alpha": self.alpha, "dropout": self.dropout}
        return {key: name for key, name in names.items() if name is not None}

    def config_class(self) -> type[PeftConfig]:
        """The class in peft."""
        import peft

        return getattr(peft, self.config)

    def arguments(self) -> list[str]:
        """Names of peft's further arguments, what the recipe's own keys set left out."""
        taken = {*HANDLED, *self.names().values(), *self.fixed}
        return [entry.name for entry in dataclasses.fields(self.config_class()) if entry.name not in taken]


def add_adapters(
    model: MultiLabelForSequenceClassification,
    method: str,
    *,
    r: int | None = None,
    alpha: float | None = None,
    dropout: float | None = None,
    target_modules: str | Sequence[str] = "all-linear",
    args: Mapping[str, Any] | None = None,
) -> PeftModel:
    """Freeze a backbone and put adapters into it; head and pooling stay trainable as a whole.

    Args:
        model: Changed in place.
        method: Key of `PEFT_METHODS`.
        r: Rank; None: peft's default of the method.
        alpha: Scale, None likewise.
        dropout: On the input of each adapter, None likewise.
        target_modules: Endings of module names inside the backbone, or "all-linear": its linear layers (all norms, for
            ln_tuning; keys, values and outputs, for ia3 where peft knows them).
        args: Further arguments under peft's names.

    Returns:
        The wrapped model: `backbone`, `head` and `config` are reached as before.

    Raises:
        ValueError: If the method is unknown or an argument wrong, no module of the backbone has such an ending, or a
            module has a name by which peft would take it for the head.

    Reference: Hu et al. 2021 (LoRA); Liu et al. 2024 (DoRA); Liu et al. 2022 (IA3).
    """
    from peft import get_peft_model

    given = {"r": r, "alpha": alpha, "dropout": dropout}
    given = {key: value for key, value in given.items() if value is not None}
    raise_problem([(f"peft.{key}", *rest) for key, *rest in adapter_problems(method, given, args or {})])
    chosen, arguments = PEFT_METHODS[method], dict(args or {})
    endings = find_endings(model, chosen, target_modules)
    if method == "ia3":
        arguments["feedforward_modules"] = as_pattern(arguments.get("feedforward_modules", endings[1]))
    whole = [name for name in WHOLE if _has_weights(getattr(model, name))]
    _check_names(model, whole)
    settings = {chosen.names()[key]: value for key, value in given.items()} | dict(chosen.fixed) | arguments
    config = chosen.config_class()(target_modules=as_pattern(endings[0]), modules_to_save=whole, **settings)
    return get_peft_model(model, config)


def find_endings(
    model: MultiLabelForSequenceClassification, method: AdapterMethod, target_modules: str | Sequence[str]
) -> tuple[list[str], list[str]]:
    """Endings of the names of the modules to adapt, and of those among them whose input IA3 scales.

    Args:
        model: Without adapters.
        method: One of `PEFT_METHODS`.
        target_modules: As for `add_adapters`.

    Raises:
        ValueError: If no module of the kind that the method adapts has one of the endings.
    """
    kinds = (nn.LayerNorm,) if method.norms else (nn.Linear, Conv1D)
    names = [
        name
        for name, module in model.backbone.named_modules()
        if isinstance(module, kinds) or (method.norms and "norm" in type(module).__name__.lower())
    ]
    own = sorted({name.rpartition(".")[2] for name in names})
    if target_modules == "all-linear":
        return _known_ia3(model) if method.config == "IA3Config" and _known_ia3(model)[0] else (own, [])
    endings = [target_modules] if isinstance(target_modules, str) else list(target_modules)
    for ending in endings:
        if not any(name == ending or name.endswith(f".{ending}") for name in names):
            raise ValueError(
                f"peft.target_modules: expected endings of module names in the backbone, such as {', '.join(own)}, "
                f"found {ending!r}. Write {nearest(ending, own) or 'all-linear'}."
            )
    return endings, []


def as_pattern(endings: Sequence[str]) -> str:
    """The regular expression of all modules of the backbone, and no others, whose names end so.

    Example:
        >>> bool(re.fullmatch(as_pattern(["query"]), "backbone.layer.0.query"))
        True
    """
    return rf"backbone\.(.*\.)?({'|'.join(re.escape(ending) for ending in endings)})" if endings else "(?!)"


def adapter_problems(method: str, given: Mapping[str, Any], args: Mapping[str, Any]) -> list[Problem]:
    """What is wrong with the settings of adapters, as far as it can be known without a model.

    Args:
        method: Key of `PEFT_METHODS`.
        given: Those of `r`, `alpha` and `dropout` that are set.
        args: Further arguments under peft's names.
    """
    if method not in PEFT_METHODS:
        near = nearest(method, PEFT_METHODS)
        return [("method", f"one of {', '.join(PEFT_METHODS)}", repr(method), f"write {near or 'lora'}")]
    chosen = PEFT_METHODS[method]
    problems = [
        (key, f"null: {method} has no such setting", repr(value), "remove it")
        for key, value in given.items()
        if key not in chosen.names()
    ]
    known = chosen.arguments() if args else []
    for name in args:
        if name not in known:
            own = [key for key, peft_name in chosen.names().items() if peft_name == name]
            fix = f"write peft.{own[0]}" if own else f"write {nearest(name, known) or 'one of them'}"
            problems.append((f"args.{name}", f"one of {', '.join(known)}", repr(name), fix))
    if problems or not (given or args):
        return problems
    try:
        settings = {chosen.names()[key]: value for key, value in given.items()} | dict(chosen.fixed) | dict(args)
        chosen.config_class()(target_modules=["x"], **settings)
    except (TypeError, ValueError) as error:
        problems.append(("args", f"arguments of {method} ({error})", repr({**given, **args}), "correct the value"))
    return problems


def load_merged(model: MultiLabelForSequenceClassification, folder: str | Path) -> MultiLabelForSequenceClassification:
    """Put saved adapters into a model and merge them: a plain model that gives the same logits, to rounding.

    Args:
        model: As it was before `add_adapters`, the head drawn anew; changed in place.
        folder: What the Trainer or `PeftModel.save_pretrained` wrote.

    Returns:
        The model with the head of the folder, in eval mode.

    Raises:
        ValueError: If a merged weight is not finite.
    """
    from peft import PeftModel

    adapted = PeftModel.from_pretrained(model, str(folder))
    # peft's own way fails for a head without a weight of its own (most methods), or leaves it wrapped (ln_tuning)
    for name in WHOLE:
        setattr(model, name, trained_part(getattr(model, name)))
    return adapted.merge_and_unload(safe_merge=True).requires_grad_(True).eval()


def trained_part(part: nn.Module | None) -> nn.Module | None:
    """Head or pooling as it is trained and saved: under adapters the copy that peft trains instead of it.

    Args:
        part: Of a model with or without adapters.
    """
    copies = getattr(part, "modules_to_save", None)
    return part if copies is None else copies[part.active_adapter]


def adapter_files(folder: str | Path, base: str | None) -> dict[str, bytes]:
    """The files of an adapter for the bundle, under `adapter/`.

    Args:
        folder: As for `load_merged`.
        base: Hub id of the backbone, None if it has none; a path of this machine stays out of the files.
    """
    config = json.loads((Path(folder) / CONFIG).read_text(encoding="utf-8")) | {"base_model_name_or_path": base}
    written = json.dumps(config, indent=2, sort_keys=True) + "\n"
    return {f"adapter/{CONFIG}": written.encode(), f"adapter/{WEIGHTS}": (Path(folder) / WEIGHTS).read_bytes()}


def _has_weights(module: nn.Module | None) -> bool:
    return module is not None and next(module.parameters(), None) is not None


def _check_names(model: nn.Module, whole: Sequence[str]) -> None:
    """Refuse what peft, which goes by the ends of names, would train as a whole beside the head."""
    for name, _ in model.named_modules():
        if name not in whole and name.endswith(tuple(whole)):
            raise ValueError(
                f"peft.method: expected no other module whose name ends in {' or '.join(whole)}, found {name!r}, which "
                "peft would train as a whole. Take another backbone, or train all of it."
            )


def _known_ia3(model: MultiLabelForSequenceClassification) -> tuple[list[str], list[str]]:
    """Keys, values and outputs of an encoder that peft knows, and which of them are feed-forward; else nothing."""
    from peft.utils import constants

    kind = model.config.backbone_config.model_type
    targets = constants.TRANSFORMERS_MODELS_TO_IA3_TARGET_MODULES_MAPPING.get(kind, [])
    return targets, constants.TRANSFORMERS_MODELS_TO_IA3_FEEDFORWARD_MODULES_MAPPING.get(kind, [])


_LORA = {"r": "r", "alpha": "lora_alpha", "dropout": "lora_dropout"}
PEFT_METHODS: dict[str, AdapterMethod] = {
    "lora": AdapterMethod("LoraConfig", **_LORA),
    "dora": AdapterMethod("LoraConfig", **_LORA, fixed={"use_dora": True}),
    "rslora": AdapterMethod("LoraConfig", **_LORA, fixed={"use_rslora": True}),
    "ia3": AdapterMethod("IA3Config"),
    "loha": AdapterMethod("LoHaConfig", r="r", alpha="alpha"),
    "lokr": AdapterMethod("LoKrConfig", r="r", alpha="alpha"),
    "vera": AdapterMethod("VeraConfig", r="r", dropout="vera_dropout"),
    "randlora": AdapterMethod("RandLoraConfig", r="r", alpha="randlora_alpha", dropout="randlora_dropout"),
    "oft": AdapterMethod("OFTConfig", dropout="module_dropout"),
    "hra": AdapterMethod("HRAConfig", r="r"),
    "miss": AdapterMethod("MissConfig", r="r", dropout="miss_dropout"),
    "ln_tuning": AdapterMethod("LNTuningConfig", norms=True),
}
