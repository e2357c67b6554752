"""What the card says of a run, gathered from its recipe, model, metrics and the rows its results are reported on."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from datasets import Dataset
from huggingface_hub import ModelCard

from hf_multilabel.assets import recipes_folder
from hf_multilabel.console import note
from hf_multilabel.evaluation.metrics import label_table
from hf_multilabel.evaluation.outcomes import Outcome
from hf_multilabel.inference import FinishedModel
from hf_multilabel.publishing.card import CardFacts
from hf_multilabel.recipe import Recipe
from hf_multilabel.recipe.json_schema import RecipeFile
from hf_multilabel.recipe.reading import read_file

FIGURES = "figures"
REPORTED = ("validation", "test")
NAMED = re.compile(r"# The recipe (.*) with its overrides")
# Keys of a recipe that say where things lie or go, not how a model was trained.
PLACES = ("data.source", "training.output_dir", "hub.", "evaluation.")
# Of more changes to a shipped recipe the run is another one.
MOST_CHANGES = 15


@dataclass(frozen=True)
class Provenance:
    """Where a run came from, as others may read it.

    Args:
        name: Of the recipe.
        folder: Of the run, as people call it.
        source: The data, as the recipe names them.
        recipe: The resolved recipe, YAML.
        base_model: Hub id of the backbone; None if it has none.
    """

    name: str
    folder: str
    source: str
    recipe: str
    base_model: str | None

    @classmethod
    def of_recipe(cls, recipe: Recipe, base_model: str | None) -> Provenance:
        """Of a run that has just been trained."""
        return cls(
            name=recipe.name,
            folder=shown_path(recipe.training["output_dir"]),
            source=recipe.data.source,
            recipe=recipe.dump(),
            base_model=base_model,
        )

    @classmethod
    def of_model(cls, finished: FinishedModel) -> Provenance:
        """Of a finished run: its card says which backbone it had, or nobody does."""
        path = finished.file("recipe.yaml")
        recipe = path.read_text(encoding="utf-8")
        named = NAMED.match(recipe)
        return cls(
            name=named.group(1) if named else Path(finished.name).name,
            folder=shown_path(finished.name),
            source=read_file(path, str(path)).values["data"]["source"],
            recipe=recipe,
            base_model=known_base(finished.file("README.md")),
        )


@dataclass(frozen=True)
class Judged:
    """The rows that a card reports on, as the stored decision judges them.

    Args:
        split: Their split.
        outcome: Scores, label sets and truths, with the training counts where they are known.
        rows: Texts and ids.
    """

    split: str
    outcome: Outcome
    rows: Dataset


def describe_run(
    recipe: Recipe, finished: FinishedModel, metrics: Mapping[str, Any], origin: Provenance, judged: Judged | None
) -> CardFacts:
    """What the model card says of a run, without figures.

    Args:
        recipe: That of the model.
        finished: The model with its decision, on the CPU.
        metrics: Content of metrics.json.
        origin: Where the run came from.
        judged: None where the rows are not at hand: then nothing is said of single labels.

    Cost: One forward pass an example.
    """
    model, hub, names = finished.model, recipe.hub, finished.labels.names
    per_label: Sequence[Mapping[str, Any]] = ()
    if judged is not None:
        counts = judged.outcome.label_counts
        per_label = label_table(judged.outcome, names, model.config.decision["thresholds"], counts)
    changes = recipe_changes(origin)
    examples = [{"id": "", "text": text} for text in hub.examples]
    return CardFacts(
        name=hub.repo_id.split("/")[-1] if hub.repo_id else origin.name,
        labels=names,
        metrics={split: metrics[split] for split in REPORTED if split in metrics},
        decision=model.config.decision,
        max_length=recipe.data.max_length,
        text=[recipe.data.text] if isinstance(recipe.data.text, str) else recipe.data.text,
        per_label=per_label,
        repo_id=hub.repo_id,
        folder=origin.folder,
        base_model=origin.base_model,
        architecture=describe_architecture(recipe, finished),
        dataset=Path(origin.source).name,
        dataset_id=hub.datasets[0] if hub.datasets else None,
        license=hub.license,
        languages=[hub.language] if isinstance(hub.language, str) else hub.language or [],
        examples=hub.examples,
        answers=[answer["scores"] for answer in finished.predict(examples)],
        data=metrics.get("data", {}),
        training=metrics.get("training", {}),
        shortened=list(describe_cuts(recipe, metrics, changes)),
        changes=changes,
        tags=hub.tags,
        recipe=origin.recipe,
    )


def describe_finished(
    recipe: Recipe, finished: FinishedModel, metrics: Mapping[str, Any], judged: Judged | None, figures: bool = True
) -> tuple[CardFacts, dict[str, tuple[str, bytes]]]:
    """What the card says of a finished run, and its figures: `describe_run` and `draw_figures`.

    Args:
        recipe: That of the model, its data where they lie.
        finished: The model, on the CPU.
        metrics: Content of metrics.json.
        judged: None where the rows are not at hand: then there are no figures either.
        figures: Whether to draw any.
    """
    facts = describe_run(recipe, finished, metrics, Provenance.of_model(finished), judged)
    if judged is None or not figures:
        return facts, {}
    history = json.loads(finished.file("history.json").read_text(encoding="utf-8"))
    drawn = draw_figures(judged, finished, metrics, facts.name, history)
    return with_figures(facts, drawn), drawn


def changed_figures(manifest: Mapping[str, Any], figures: Mapping[str, tuple[str, bytes]]) -> dict[str, bytes | None]:
    """The figures as files to stage: the new ones, and None for those that a bundle has from before."""
    old = [name for name in manifest["files"] if name.startswith(f"{FIGURES}/")]
    return dict.fromkeys(old) | {path: content for path, (_, content) in figures.items()}


def describe_architecture(recipe: Recipe, finished: FinishedModel) -> str:
    """Encoder, pooling and head in a few words."""
    config = finished.model.config
    adapters = f" with {recipe.peft.method} adapters merged into it" if recipe.peft.method else ""
    windows = config.windows
    read = f"windows of {windows['length']} tokens ({windows['aggregation']}), " if windows else ""
    pooling = "" if finished.model.pooling is None else f"{config.pooling} pooling, "
    return f"{config.backbone_config.model_type} encoder{adapters}, {read}{pooling}{config.head} head"


def describe_cuts(
    recipe: Recipe, metrics: Mapping[str, Any], changes: Sequence[tuple[str, str, str]] = ()
) -> Iterator[str]:
    """What made the run smaller than its data and recipe ask for: rows, steps, epochs."""
    data, training = metrics.get("data", {}), metrics.get("training", {})
    used, there = data.get("rows", {}), data.get("rows_in_source", {})
    cut = [f"{used[split]:,} of {there[split]:,} {split} rows" for split in used if used[split] < there.get(split, 0)]
    if cut:
        yield f"It used {', '.join(cut)} (data.max_rows)."
    if recipe.training.get("max_steps", -1) > 0 and "steps" in training:
        epochs = f", {training['epochs']:.3g} epochs of the rows it used" if "epochs" in training else ""
        # the epochs of the recipe then say nothing
        changes = ()
        yield f"It stopped after {training['steps']:,} steps{epochs} (training.max_steps)."
    for key, here, there in changes:
        if key == "training.num_train_epochs" and float(here) < float(there):
            yield f"It trained for {float(here):g} of the {float(there):g} epochs of its recipe."


def recipe_changes(origin: Provenance) -> list[tuple[str, str, str]]:
    """Where a run differs from the shipped recipe of its name: key, value here, value there; nothing if there is none.

    What the run leaves as the Trainer has it by default is left out, and where a whole other recipe has the same name.
    """
    shipped = recipes_folder() / f"{origin.name}.yaml"
    if Path(origin.name).name != origin.name or not shipped.is_file():
        return []
    here, there = (_leaves(_values(content)) for content in (origin.recipe, shipped.read_text(encoding="utf-8")))
    changed = [
        (key, here.get(key, "not set"), there.get(key, "not set"))
        for key in dict.fromkeys([*there, *here])
        if here.get(key) != there.get(key) and not key.startswith(PLACES)
    ]
    return changed if len(changed) <= MOST_CHANGES else []


def known_base(card: Path) -> str | None:
    """The backbone that a card names."""
    found = ModelCard(card.read_text(encoding="utf-8"), ignore_metadata_errors=True).data.base_model
    return found if isinstance(found, str) else None


def draw_figures(
    judged: Judged, finished: FinishedModel, metrics: Mapping[str, Any], name: str, history: Sequence[Any]
) -> dict[str, tuple[str, bytes]]:
    """The figures of the card: path in the repository -> caption and PNG; none without matplotlib.

    A figure that fails costs the run nothing but the figures.
    """
    if find_spec("matplotlib") is None:
        note("the card has no figures: they need hf-multilabel[report]: pip install 'hf-multilabel[report]'")
        return {}
    from hf_multilabel.reports.evidence import RunEvidence
    from hf_multilabel.reports.figures import CAPTIONS, CARD_FIGURES, draw

    evidence = RunEvidence.of(
        judged.outcome,
        name=name,
        split=judged.split,
        labels=finished.labels.names,
        decision=finished.model.config.decision,
        history=history,
        metrics=metrics[judged.split],
    )
    try:
        drawn = draw(evidence, CARD_FIGURES)
    except Exception as error:  # a font or a backend of this machine must not cost hours of training
        note(f"warning: the card has no figures: {type(error).__name__}: {error}")
        return {}
    return {f"{FIGURES}/{name}.png": (CAPTIONS[name], content) for name, content in drawn.items()}


def with_figures(facts: CardFacts, figures: Mapping[str, tuple[str, bytes]]) -> CardFacts:
    """What a card says, with what `draw_figures` gave."""
    return replace(facts, figures={path: caption for path, (caption, _) in figures.items()})


def shown_path(path: str) -> str:
    """A path as others may read it: relative to the working folder, or only its name."""
    found = Path(path).absolute()
    return str(found.relative_to(Path.cwd())) if found.is_relative_to(Path.cwd()) else found.name


def _values(content: str) -> dict[str, Any]:
    """All values of a recipe with their defaults; those of training that were given."""
    from ruamel.yaml import YAML

    checked = RecipeFile.model_validate(YAML(typ="safe", pure=True).load(content))
    return checked.model_dump(exclude={"training"}) | {"training": checked.training.model_dump(exclude_unset=True)}


def _leaves(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Every value that is not null by its dotted key."""
    found = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            found |= _leaves(value, f"{prefix}{key}.")
        elif value is not None:
            found[f"{prefix}{key}"] = str(value)
    return found
