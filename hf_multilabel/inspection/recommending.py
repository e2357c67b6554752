"""A recipe for the data at hand: each choice follows from what was found, and says so in a comment.

What won where is measured in docs/quality.md and docs/methods.md.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hf_multilabel.data.profile import DataProfile
from hf_multilabel.errors import EnvironmentFault, Finding
from hf_multilabel.recipe import Recipe, load_recipe

# From so many labels on, scores are kept in part and most labels are too rare for weights and cuts of their own.
MANY_LABELS, SOME_LABELS = 1000, 100
# Share of rows without labels up to which they are taken for slips.
FEW_EMPTY = 0.01
LENGTHS = (32, 64, 128, 256, 384, 512)
# Texts that may be cut before the next length is worth its time.
MAY_BE_CUT = 0.1
SMALL_HIDDEN = 384
FEW_ROWS, SOME_ROWS = 2_000, 20_000
PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_./-]*")
RESERVED = {"null", "true", "false", "yes", "no", "on", "off"}
# Words of a label's name, for a head that starts at what the encoder knows of them.
WORD = re.compile(r"[^\W\d_]{3,}")
VOWEL = re.compile(r"[aeiouyAEIOUY]|[^\x00-\x7f]")


@dataclass(frozen=True)
class Choice:
    """One key of the recipe.

    Args:
        section: Of the recipe.
        key: In it.
        value: Plain.
        reason: Stands beside it; "" where there is nothing to say.
    """

    section: str
    key: str
    value: Any
    reason: str = ""


def write_recommendation(
    file: Path, profile: DataProfile, recipe: Recipe, positions: int, hidden: int, read: dict[str, Any]
) -> None:
    """Write the recommended recipe, checked as `train` will check it.

    Args:
        file: Replaced if it is there.
        profile: What was found.
        recipe: That the data were read with; its backbone is kept.
        positions: Tokens the backbone reads at most.
        hidden: Width of its states.
        read: Keys of the section `data` that say how the data are read.

    Raises:
        EnvironmentFault: If the file can't be written.
    """
    choices = recommend(profile, recipe.model.backbone, positions, hidden)
    reading = [Choice("data", key, value, why(key, profile.guessed)) for key, value in placed(read, file).items()]
    text = render([*reading, *choices], profile)
    part = file.with_name(f"{file.name}.part")
    try:
        part.write_text(text, encoding="utf-8")
        load_recipe(part)
        part.replace(file)
    except OSError as error:
        what = f"expected to write the recipe, found {error}"
        raise EnvironmentFault(Finding("D303", str(file), what, "name another file")) from error
    finally:
        part.unlink(missing_ok=True)


def why(key: str, guessed: Sequence[str]) -> str:
    """Why a key of the section `data` was guessed; "" where it was given."""
    reasons = (reason.partition(" (")[2].removesuffix(")") for reason in guessed if reason.startswith(f"data.{key}:"))
    return next((f"guessed: {reason}" for reason in reasons), "")


def placed(read: dict[str, Any], file: Path) -> dict[str, Any]:
    """The same keys, local paths written relative to the recipe where they lie below its folder."""
    found = dict(read)
    folder = file.absolute().parent
    for key in ("source", "label_names", "corrections"):
        value = found.get(key)
        if isinstance(value, str) and os.path.isabs(value) and Path(value).is_relative_to(folder):
            found[key] = f"./{Path(value).relative_to(folder)}"
    return found


def recommend(profile: DataProfile, backbone: str, positions: int, hidden: int) -> list[Choice]:
    """All choices, in the order of the recipe.

    Args:
        profile: What was found.
        backbone: As recipes name it.
        positions: Tokens it reads at most.
        hidden: Width of its states.
    """
    words = names_are_words(profile.labels)
    return [
        *_data(profile, positions),
        *_model(profile, backbone, words),
        *_loss(profile),
        *_training(profile, words, hidden),
        *_decision(profile),
        Choice("hub", "repo_id", None, "OWNER/NAME pushes the finished folder"),
    ]


def names_are_words(names: Sequence[str]) -> bool:
    """Whether most label names say something to a language model.

    Example:
        >>> names_are_words(["severe_toxic", "insult"]), names_are_words(["C17", "1309", "cs.AI"])
        (True, False)
    """
    speaking = sum(any(VOWEL.search(word) for word in WORD.findall(name)) for name in names)
    return speaking >= 0.8 * len(names)


def _data(profile: DataProfile, positions: int) -> list[Choice]:
    lengths = profile.lengths
    size = _max_length(profile, positions)
    above = lengths.cut_at[size] if lengths.unit == "tokens" else None
    cut = "the longest that is common" if above is None else f"{above:.1%} of the training texts are longer"
    if above is not None and above > MAY_BE_CUT:
        cut += "; model.windows reads on, at that many times the cost (docs/model.md)"
    choices = [Choice("data", "max_length", size, cut)]
    shared = {pair: count for pair, count in profile.duplicates["between_splits"].items() if count}
    repeated = sum(profile.duplicates.get("ids", {}).values())
    found = [f"{count:,} texts of {pair.split('/')[1]} are in {pair.split('/')[0]}" for pair, count in shared.items()]
    found += [f"{repeated:,} ids come twice"] if repeated else []
    if found:
        choices.append(Choice("data", "duplicates", "warn", f"{'; '.join(found)}: better removed from one of the two"))
    else:
        choices.append(Choice("data", "duplicates", "error", "no text is in two splits; if one is, something changed"))
    unseen = profile.unseen.get("count", 0)
    if unseen:
        reason = f"{unseen:,} labels occur only outside training: they can't be learned, but dropping them flatters"
        choices.append(Choice("data", "unseen_labels", "keep", reason))
    return choices


def _max_length(profile: DataProfile, positions: int) -> int:
    sizes = [size for size in LENGTHS if size <= positions] or [LENGTHS[0]]
    # a word is about 1.4 tokens where they could not be counted
    longer = profile.lengths.cut_at
    if profile.lengths.unit == "words":
        middle = profile.lengths.percentiles["train"][95] * 1.4
        return next((size for size in sizes if size >= middle), sizes[-1])
    return next((size for size in sizes if longer[size] <= MAY_BE_CUT), sizes[-1])


def _model(profile: DataProfile, backbone: str, words: bool) -> list[Choice]:
    choices = [
        Choice("model", "backbone", backbone, "" if "inilm" not in backbone.lower() else "small enough for a CPU"),
        Choice("model", "pooling", "mean", "the safe one (docs/methods.md)"),
    ]
    if words:
        reason = "the names are words: starting there gained 2 and 8 points of F1 (docs/methods.md)"
        choices.append(Choice("model", "head", "label_embedding", reason))
        choices.append(Choice("model", "head_kwargs", {"label_init": "names", "similarity": "cosine"}))
    else:
        reason = f"names such as {profile.labels[0]!r} say nothing to an encoder"
        choices.append(Choice("model", "head", "linear", reason))
    reason = "the fused kernel then trains on a CPU too: half the time at 512 tokens, no score lost"
    return [*choices, Choice("model", "attention_dropout", 0, reason)]


def _loss(profile: DataProfile) -> list[Choice]:
    labels = len(profile.labels)
    if labels > MANY_LABELS:
        reason = "weights by frequency would be ruled by the labels seen once"
        return [Choice("loss", "name", "bce", reason)]
    mean = profile.imbalance["mean_ir"]
    weighted = Choice(
        "loss", "name", "weighted_bce", f"mean imbalance {mean:.1f}: rare labels are found by cuts near 0.5"
    )
    if labels > SOME_LABELS:
        rule, reason = {"rule": "neg_pos_sqrt", "cap": 30}, "without the cap, labels seen once would rule"
    else:
        rule, reason = {"rule": "neg_pos_sqrt"}, "the best compromise at a cut of 0.5 (docs/methods.md)"
    return [weighted, Choice("loss", "pos_weight", rule, reason)]


def _training(profile: DataProfile, words: bool, hidden: int) -> list[Choice]:
    rows, labels = profile.splits["train"].rows, len(profile.labels)
    few = sorted(profile.counts["train"])[labels // 2]
    epochs = 10 if labels > MANY_LABELS else 4 if rows < FEW_ROWS or few <= 20 else 3 if rows < SOME_ROWS else 2
    small = hidden <= SMALL_HIDDEN
    probe = not words and labels <= MANY_LABELS
    rate = (1e-4 if probe else 2e-4) if small else 3e-5
    found = [
        Choice("training", "num_train_epochs", epochs, f"{rows:,} rows; half of the labels have at most {few:,}"),
        Choice("training", "per_device_train_batch_size", 16),
        Choice("training", "per_device_eval_batch_size", 64),
        Choice("training", "learning_rate", rate, "a small encoder takes more than the 2e-5 of a base-size one")
        if small
        else Choice("training", "learning_rate", rate, "the usual range of base-size encoders is 2e-5 to 5e-5"),
    ]
    if probe:
        found += [
            Choice("training", "head_learning_rate", rate, "the head starts solved: no reason to run ahead"),
            Choice("training", "head_init", "probe", "solved on the frozen encoder: the best start of a short run"),
            Choice("training", "probe_c", 0.1, "with a weaker penalty few rows make it overconfident"),
        ]
    else:
        found += [
            Choice("training", "head_learning_rate", 1e-3, "the head has most to learn"),
            Choice("training", "head_init", "prior", "from one half, the first steps would only learn to say no"),
        ]
    return [
        *found,
        Choice("training", "layerwise_decay", 0.9, "lower layers know the language already"),
        Choice("training", "warmup_steps", 0.1, "of all steps: Adam's first estimates are noisy"),
        Choice("training", "weight_decay", 0.01),
        Choice("training", "save_strategy", "epoch"),
        Choice("training", "save_total_limit", 2, "the last one, and one before in case it breaks"),
        Choice("training", "seed", 0),
    ]


def _decision(profile: DataProfile) -> list[Choice]:
    if len(profile.labels) > MANY_LABELS:
        reason = "most labels have too few validation rows for a cut of their own"
        choices = [Choice("decision", "objective", "micro_f1", reason)]
    else:
        choices = [Choice("decision", "objective", "balanced", "between the F1 of each label and of all pooled")]
    empty = sum(split.rows_without_labels for split in profile.splits.values())
    if empty > FEW_EMPTY * sum(split.rows for split in profile.splits.values()):
        return [*choices, Choice("decision", "empty", "allow", f"{empty:,} rows have no label")]
    reason = f"all rows but {empty:,} have a label" if empty else "every row has a label"
    return [*choices, Choice("decision", "empty", "at_least_one", reason)]


def render(choices: Sequence[Choice], profile: DataProfile) -> str:
    """The recipe as YAML with its reasons."""
    rows = ", ".join(f"{split} {facts.rows:,}" for split, facts in profile.splits.items())
    lines = [
        "# Recommended for these data by hf-multilabel inspect; change what you know better.",
        f"# {rows} rows, {len(profile.labels):,} labels, {profile.splits['train'].cardinality:.2f} a row.",
    ]
    near = profile.near_duplicates
    leaks = sum(near.between.values()) if near else 0
    if leaks:
        rows_repeat = "1 row nearly repeats" if leaks == 1 else f"{leaks:,} rows nearly repeat"
        lines.append(f"# {rows_repeat} one of another split: scores on them are optimistic.")
    for section in dict.fromkeys(choice.section for choice in choices):
        lines.append(f"{section}:")
        for choice in choices:
            if choice.section == section:
                comment = f"  # {' '.join(choice.reason.split())}" if choice.reason else ""
                lines.append(f"  {choice.key}: {yaml_value(choice.value)}{comment}")
    return "\n".join(lines) + "\n"


def yaml_value(value: Any) -> str:
    """A plain value in YAML, on one line.

    Example:
        >>> yaml_value(["a b", "tags"]), yaml_value({"cap": 30}), yaml_value("no"), yaml_value(0.0002)
        ('["a b", tags]', '{cap: 30}', '"no"', '2.0e-4')
    """
    written: Callable[[Any], str] = yaml_value
    if isinstance(value, dict):
        return "{" + ", ".join(f"{written(key)}: {written(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(written(item) for item in value) + "]"
    if isinstance(value, str) and PLAIN.fullmatch(value) and value.lower() not in RESERVED:
        return value
    if isinstance(value, float) and 0 < value < 5e-3:
        return f"{value:.1e}".replace("e-0", "e-")
    return json.dumps(value, ensure_ascii=False)
