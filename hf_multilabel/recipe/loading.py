"""From a recipe file and overrides to a `Recipe`; every problem is reported at once, or none."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import io
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.scalarstring import DoubleQuotedScalarString

from hf_multilabel.assets import recipes_folder
from hf_multilabel.errors import Finding, InputError, raise_findings
from hf_multilabel.recipe.contracts import contract_findings
from hf_multilabel.recipe.data import DataSection
from hf_multilabel.recipe.fields import Section
from hf_multilabel.recipe.json_schema import RecipeFile, schema
from hf_multilabel.recipe.loss import LossSection
from hf_multilabel.recipe.model import ModelSection
from hf_multilabel.recipe.opening import open_recipe
from hf_multilabel.recipe.overrides import apply_override
from hf_multilabel.recipe.paths import PathProblem, resolve_backbone, resolve_file, resolve_output, resolve_source
from hf_multilabel.recipe.peft import PeftSection
from hf_multilabel.recipe.reading import Document, Keys, dotted, reads_as_text
from hf_multilabel.recipe.secrets import find_secrets, mask
from hf_multilabel.recipe.sections import DecisionSection, EvaluationSection, HubSection, ReportSection

# Lists whose items are label names: whatever looks like a number, a date or yes/no must be quoted.
LABEL_KEYS: tuple[Keys, ...] = (("data", "labels"), ("data", "label_names"))
# How lower rooms refuse a value: its key, what was expected and found, and what to do.
REFUSED = re.compile(r"([a-z_.]+): (expected .*)\. ([A-Z].*)")
OUTPUT: Keys = ("training", "output_dir")


@dataclass(frozen=True)
class Recipe:
    """A recipe whose every value has been checked; paths are absolute.

    Args:
        path: The file it was read from.
        data: What to load; `data.load_arguments()` are the arguments of `load_data`.
        model: Backbone, pooling and head.
        peft: Adapters in the backbone.
        loss: The objective and its weights.
        training: The arguments of `MultiLabelTrainingArguments` that were given, and `output_dir`.
        decision: How cuts are fitted.
        evaluation: What is measured.
        report: What is written for people to look at.
        hub: Where the run is pushed to.
        written: Paths as the user wrote them, by their keys.
        overridden: Keys whose values come from the command line.
    """

    path: Path
    data: DataSection
    model: ModelSection
    peft: PeftSection
    loss: LossSection
    training: dict[str, Any]
    decision: DecisionSection
    evaluation: EvaluationSection
    report: ReportSection
    hub: HubSection
    written: dict[Keys, str]
    overridden: frozenset[Keys] = frozenset()

    @property
    def name(self) -> str:
        """The file's name without its ending."""
        return self.path.stem

    def resolved(self) -> dict[str, Any]:
        """All sections with their defaults as plain values; paths as written, not as they are on this machine.

        Left out are `training.output_dir`, for the recipe is saved there and may be moved, keys that are null by
        default, and the Trainer's own defaults.
        """
        sections = {name: getattr(self, name) for name in RecipeFile.model_fields}
        found = {name: dict(_plain(value)) for name, value in sections.items()}
        for (section, key), path in self.written.items():
            found[section][key] = path
        del found["training"]["output_dir"]
        return found

    def dump(self) -> str:
        """The resolved recipe as YAML; read back from the recipe's own folder, it gives the same recipe."""
        stream = io.StringIO()
        writer = YAML()
        writer.default_flow_style, writer.width, writer.allow_unicode = False, 120, True
        writer.dump(_quoted(self.resolved()), stream)
        return f"# The recipe {self.name} with its overrides and defaults, as it was run.\n{stream.getvalue()}"

    @functools.cached_property
    def sha256(self) -> str:
        """Hash of the resolved recipe: the same run in another folder has the same."""
        return hashlib.sha256(json.dumps(self.resolved(), sort_keys=True).encode()).hexdigest()


@contextlib.contextmanager
def blame(recipe: Recipe, section: str) -> Iterator[None]:
    """Turn a refused value of a lower room into a finding about the recipe's section."""
    try:
        yield
    except (ValueError, TypeError, ImportError, RuntimeError) as error:
        raise InputError(_refusal(recipe, section, " ".join(str(error).split()))) from error


def _refusal(recipe: Recipe, section: str, said: str) -> Finding:
    """What a lower room says of a value: its key is the place, and its last sentence the fix."""
    where, what, fix = section, said.rstrip("."), "change the recipe's value"
    if found := REFUSED.fullmatch(said):
        key, what, fix = found[1], f"{found[1]}: {found[2]}", found[3][0].lower() + found[3][1:].rstrip(".")
        held = getattr(recipe, section)
        if key.partition(".")[0] in (held if isinstance(held, dict) else type(held).model_fields):
            where, what = f"{section}.{key}", found[2]
    is_typed = any(dotted(keys) in (where, where.rpartition(".")[0]) for keys in recipe.overridden)
    return Finding("R900", where if is_typed else f"{recipe.path} {where}", what, fix)


def load_recipe(path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read, override and check a recipe.

    Args:
        path: A file; or the name of a shipped recipe, such as `quickstart`.
        overrides: `section.key=value`, the value in YAML as in the file; paths are relative to the working folder.

    Returns:
        The recipe, valid and with absolute paths.

    Raises:
        InputError: With one finding for each thing that is wrong, in the order of the file.

    Example:
        >>> load_recipe("quickstart", ["training.num_train_epochs=1"]).training["num_train_epochs"]
        1.0
    """
    file, document = open_recipe(path)
    # `training:` with every line below it commented out means the defaults
    document.values = {name: {} if section is None else section for name, section in document.values.items()}
    for override in overrides:
        apply_override(document, override)
    written, absolute, misplaced = _resolve_paths(document, file)
    findings = misplaced | _label_findings(document) | _secret_findings(document)
    try:
        checked = RecipeFile.model_validate(document.values)
    except ValidationError as error:
        findings = contract_findings(error, document, schema()) | findings
        raise InputError(_in_order(document, findings)) from None
    raise_findings(_in_order(document, findings))
    overridden = frozenset(keys for keys, place in document.places.items() if place.is_override)
    return replace(_build(checked, file, written, absolute), overridden=overridden)


def _resolve_paths(document: Document, file: Path) -> tuple[dict[Keys, str], dict[Keys, str], dict[Keys, Finding]]:
    """Paths as written, the absolute ones (Hub ids stay), and findings for those that lead nowhere."""
    here, folder = Path.cwd(), file.absolute().parent
    written, absolute, findings = {OUTPUT: f"runs/{file.stem}"}, {}, {}
    for keys in PATHS:
        section = document.values.get(keys[0])
        value = section.get(keys[1]) if isinstance(section, dict) else None
        if isinstance(value, str):
            written[keys] = value
    for keys, value in written.items():
        from_file = keys in document.places and not document.places[keys].is_override
        folders = [folder, recipes_folder()] if from_file else [here]
        try:
            absolute[keys] = PATHS[keys](value, folders, folder)
        except PathProblem as problem:
            findings[keys] = Finding("R106", document.where(keys), mask(problem.what), problem.fix)
    return written, absolute, findings


def _label_findings(document: Document) -> dict[Keys, Finding]:
    """Label names that a YAML reader takes for a number, date, boolean or null."""
    findings = {}
    for keys, spelling in document.unquoted.items():
        is_list = len(keys) > 2
        if keys[:2] not in LABEL_KEYS or (not is_list and spelling in ("", "~", "null")):
            continue
        what = f"expected a label in quotes, found {mask(spelling) or 'an empty item'}"
        fix = f'quote it: "{mask(spelling)}"' if spelling else "remove the item"
        findings[keys] = Finding("R105", document.where(keys), what, fix)
    return findings


def _secret_findings(document: Document) -> dict[Keys, Finding]:
    """Access tokens, wherever they stand; their values are never shown."""
    what = "expected no access token in a recipe, found one (not shown)"
    fix = "use HF_TOKEN: remove it here and set that variable, or log in with `hf auth login`"
    return {keys: Finding("R104", document.where(keys), what, fix) for keys in find_secrets(document.values)}


def _in_order(document: Document, findings: dict[Keys, Finding]) -> list[Finding]:
    """All findings as they stand in the file, those of overrides last."""

    def position(keys: Keys) -> tuple[bool, int, int]:
        place = document.place(keys)
        return place.is_override, place.line, place.column

    return [*document.findings, *(findings[keys] for keys in sorted(findings, key=position))]


def _build(checked: RecipeFile, file: Path, written: dict[Keys, str], absolute: dict[Keys, str]) -> Recipe:
    sections = {name: getattr(checked, name) for name in RecipeFile.model_fields}
    sections["training"] = checked.training.model_dump(exclude_unset=True)
    for (section, key), path in absolute.items():
        value = sections[section]
        sections[section] = value | {key: path} if section == "training" else value.model_copy(update={key: path})
    return Recipe(path=file.absolute(), written=written, **sections)


def _plain(value: Any) -> Any:
    """A section as plain values, without keys that are null by default."""
    if not isinstance(value, Section):
        return value
    fields = type(value).model_fields
    found = {name: _plain(getattr(value, name)) for name in fields}
    return {name: inner for name, inner in found.items() if inner is not None or fields[name].default is not None}


def _quoted(value: Any) -> Any:
    """The same values, texts in quotes where a YAML reader would take them for something else."""
    if isinstance(value, dict):
        return {key: _quoted(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_quoted(inner) for inner in value]
    if isinstance(value, str) and not reads_as_text(value):
        return DoubleQuotedScalarString(value)
    return value


PATHS: dict[Keys, Callable[[str, list[Path], Path], str]] = {
    ("data", "source"): lambda written, folders, recipe: resolve_source(written, folders),
    ("data", "label_names"): lambda written, folders, recipe: resolve_file(written, folders[0]),
    ("data", "corrections"): lambda written, folders, recipe: resolve_file(written, folders[0]),
    ("model", "backbone"): lambda written, folders, recipe: resolve_backbone(written, folders[0]),
    OUTPUT: lambda written, folders, recipe: resolve_output(written, folders[0], recipe),
}
