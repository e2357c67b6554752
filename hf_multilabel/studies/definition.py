"""From a study file and overrides to a `StudyPlan`; every problem is reported at once, at its place in the file."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from hf_multilabel.errors import Finding, InputError, nearest, raise_findings
from hf_multilabel.evaluation.metrics import metric_calls
from hf_multilabel.recipe import Recipe, load_recipe
from hf_multilabel.recipe.contracts import contract_findings
from hf_multilabel.recipe.overrides import apply_override
from hf_multilabel.recipe.paths import PathProblem, resolve_output
from hf_multilabel.recipe.reading import Document, Keys, read_file
from hf_multilabel.recipe.secrets import show
from hf_multilabel.studies.cells import Cell, grid_cells, is_group, written
from hf_multilabel.studies.files import find_study
from hf_multilabel.studies.search import draw_cell, range_problems
from hf_multilabel.studies.sections import StudyFile

PREFIX = "study."
# A trial leaves numbers, not models: no checkpoints, nothing pushed, no bootstrap; its curve is measured by the study.
TRIAL = {
    "training.save_strategy": "no",
    "training.eval_strategy": "no",
    "training.load_best_model_at_end": False,
    "evaluation.intervals": False,
    "hub.repo_id": None,
}
OWN = ("training.seed", "training.output_dir")
SEARCHED = 20


@dataclass(frozen=True)
class StudyPlan:
    """A study whose every value has been checked.

    Args:
        path: The file it was read from.
        settings: What the file says.
        base: Path or name of the base recipe.
        overrides: Recipe key to value: the file's, then those of the command line.
        typed: Overrides of the command line as typed.
        folder: Where it is kept.
        base_sha256: Of all that every trial has in common.
    """

    path: Path
    settings: StudyFile
    base: str
    overrides: dict[str, Any]
    typed: tuple[str, ...]
    folder: Path
    base_sha256: str

    @property
    def name(self) -> str:
        """The file's name without its ending."""
        return self.path.stem

    @property
    def is_grid(self) -> bool:
        """Whether the combinations are listed, not drawn."""
        return self.settings.grid is not None

    @property
    def trials(self) -> int | None:
        """Trials in all; None: the whole grid."""
        return self.settings.budget.trials or (None if self.is_grid else SEARCHED)

    @property
    def maximizes(self) -> bool:
        """Whether higher values are better."""
        return self.settings.direction == "maximize"

    def cells(self) -> list[Cell]:
        """The combinations of the grid."""
        return grid_cells(self.settings.grid or {})

    def recipe(self, cell: Cell, seed: int, folder: Path) -> Recipe:
        """The recipe of one run."""
        own = {"training.seed": seed, "training.output_dir": str(folder)}
        typed = {override.partition("=")[0].strip() for override in self.typed}
        common = {key: value for key, value in {**TRIAL, **self.overrides}.items() if key not in typed}
        values = {**common, **cell.values, **own}
        return load_recipe(self.base, [*(f"{key}={written(value)}" for key, value in values.items()), *self.typed])


def load_study(path: str | Path, overrides: Sequence[str] = ()) -> StudyPlan:
    """Read, override and check a study.

    Args:
        path: A file; or the name of a shipped study, such as `tune`.
        overrides: `section.key=value` for the base recipe, `study.key=value` for the study itself.

    Raises:
        InputError: With one finding for each thing that is wrong, also in the recipes of the trials.
    """
    file = find_study(path)
    document = read_file(file, str(path) if Path(path) == file else str(file))
    if not isinstance(document.values, dict):
        what = "expected keys such as recipe: and grid:, found none of them"
        raise InputError([*document.findings, Finding("R102", document.where(()), what, "write the keys")])
    _override(document, [value for value in overrides if value.startswith(PREFIX)])
    typed = tuple(value for value in overrides if not value.startswith(PREFIX))
    try:
        settings = StudyFile.model_validate(document.values)
    except ValidationError as error:
        found = contract_findings(error, document, StudyFile.model_json_schema())
        raise InputError([*document.findings, *found.values()]) from None
    raise_findings(
        [*document.findings, *_shape_findings(document, settings), *_key_findings(document, settings, typed)]
    )
    return _plan(file, document, settings, typed)


def _override(document: Document, overrides: Sequence[str]) -> None:
    """Change the study's own keys; they are wrapped in a section for the time, as overrides expect one."""
    document.values = {"study": document.values}
    document.places = {(): document.places[()]} | {("study", *keys): place for keys, place in document.places.items()}
    for override in overrides:
        apply_override(document, override)
    document.values = document.values["study"]
    document.places = {keys[1:]: place for keys, place in document.places.items() if keys}


def _shape_findings(document: Document, settings: StudyFile) -> Iterator[Finding]:
    """Entries of `grid` and `space` that are neither lists nor choices nor ranges."""
    for section in ("grid", "space"):
        for key, entry in (getattr(settings, section) or {}).items():
            here = (section, key)
            if is_group(entry) and entry:
                for choice, values in entry.items():
                    for inner, value in values.items():
                        yield from _value_findings(document, (*here, choice, inner), value, section)
            elif isinstance(entry, list) or (section == "space" and isinstance(entry, dict) and entry):
                yield from _value_findings(document, here, entry, section)
            else:
                wanted = "a list of values, or choices that map recipe keys to values"
                wanted += ", or a range" if section == "space" else ""
                yield _finding(document, here, f"{wanted}, found {show(entry)}", "write a list, such as [1, 2]")


def _value_findings(document: Document, keys: Keys, value: Any, section: str) -> Iterator[Finding]:
    if "." not in str(keys[-1]):
        yield _finding(
            document, keys, f"a recipe key section.key, found {show(keys[-1])}", "write for instance training.seed"
        )
    elif keys[-1] in OWN:
        fix = "write seeds" if keys[-1].endswith("seed") else "write output_dir of the study"
        yield _finding(document, keys, f"a key that a study may vary, found {show(keys[-1])}", fix)
    if value == []:
        yield _finding(document, keys, "at least one value, found an empty list", "write values")
    if section == "space":
        for inner, what, fix in range_problems(value):
            yield _finding(document, (*keys, inner) if inner else keys, what, fix)


def _key_findings(document: Document, settings: StudyFile, typed: Sequence[str]) -> Iterator[Finding]:
    """Overrides that are no recipe key, or that the study varies."""
    entries = settings.grid or settings.space or {}
    groups = [values for entry in entries.values() if is_group(entry) for values in entry.values()]
    varied = {key for key, entry in entries.items() if not is_group(entry)} | {key for group in groups for key in group}
    for key in settings.overrides:
        if key in OWN or "." not in key:
            fix = {"training.seed": "write seeds", "training.output_dir": "write output_dir of the study"}
            what = f"a recipe key section.key that is not the study's own, found {show(key)}"
            yield _finding(document, ("overrides", key), what, fix.get(key, "write for instance training.max_steps"))
    for override in typed:
        key = override.partition("=")[0].strip()
        if key in varied or key in OWN:
            fix = {"training.seed": "write study.seeds=[...]", "training.output_dir": "write study.output_dir=FOLDER"}
            what = f"expected a key that the study leaves alone, found {show(key)}"
            yield Finding(
                "R107", f"override {override}", what, fix.get(key, "change study.grid=... or study.space=...")
            )
    calls = [name for name, _, _ in metric_calls(k=(1, 3, 5, *_depths(settings.metric)))]
    if settings.metric != "loss" and settings.metric not in calls:
        near = nearest(settings.metric, calls)
        yield _finding(document, ("metric",), f"a metric of metrics.json, or loss, found {show(settings.metric)}",
                       f"write {near or 'macro_f1'}")  # fmt: skip


def _plan(file: Path, document: Document, settings: StudyFile, typed: tuple[str, ...]) -> StudyPlan:
    """The checked study; loads the base recipe and that of every combination once."""
    beside = file.absolute().parent / settings.recipe
    base = str(beside) if beside.is_file() else settings.recipe
    try:
        written_folder = settings.output_dir or f"runs/studies/{file.stem}"
        folder = Path(resolve_output(written_folder, Path.cwd(), file.absolute().parent))
    except PathProblem as problem:
        raise InputError(Finding("R106", document.where(("output_dir",)), problem.what, problem.fix)) from None
    plan = StudyPlan(file.absolute(), settings, base, dict(settings.overrides), typed, folder, "")
    common = {key: ("overrides", key) for key in settings.overrides}
    findings: dict[str, Finding] = {}
    cells = plan.cells() if plan.is_grid else list(_sample_cells(settings.space or {}))
    for cell in [Cell({}, {}), *cells]:
        try:
            plan.recipe(cell, settings.seeds[0], folder / "trials")
        except InputError as error:
            found = [_at_its_place(finding, document, {**common, **cell.origins}) for finding in error.findings]
            findings |= {str(finding): finding for finding in found}
            if not cell.values:
                break  # the base alone is wrong: every combination would say so again
    raise_findings(list(findings.values()))
    return StudyPlan(plan.path, settings, base, plan.overrides, typed, folder, _fingerprint(plan))


def _fingerprint(plan: StudyPlan) -> str:
    """What all trials have in common, and what is measured: results of another study must not mix with them."""
    settings = plan.settings
    measured = [settings.metric, settings.direction, settings.decision, sorted(settings.report), plan.is_grid]
    common = plan.recipe(Cell({}, {}), 0, plan.folder).resolved()
    varied = settings.space if not plan.is_grid else None  # a grid may grow; a search's ranges are what it learned on
    content = json.dumps([measured, common, settings.curve.model_dump(), varied], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()


class _Corner:
    """Stands in for a trial: draws the lowest, the highest, or the n-th choice."""

    def __init__(self, number: int) -> None:
        self.number = number

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        return choices[self.number % len(choices)]

    def suggest_float(self, name: str, low: float, high: float, **kwargs: Any) -> float:
        return (low, high)[self.number % 2]

    suggest_int = suggest_float


def _sample_cells(space: Mapping[str, Any]) -> Iterator[Cell]:
    """Cells that show every choice and both ends of every range at least once."""
    lengths = [2]
    for entry in space.values():
        lengths.append(len(entry) if isinstance(entry, (list, dict)) else 1)
        if is_group(entry):
            lengths += [len(v) for choice in entry.values() for v in choice.values() if isinstance(v, list)]
    for number in range(2 * max(lengths)):
        yield draw_cell(_Corner(number), space)


def _at_its_place(finding: Finding, document: Document, origins: Mapping[str, Keys]) -> Finding:
    """A finding about an override that the study wrote, at the line of the study."""
    match = re.match(r"override ([\w.]+)=", finding.where)
    if match is None or match[1] not in origins:
        return finding
    return Finding(finding.code, document.where(origins[match[1]]), finding.what, finding.fix)


def _finding(document: Document, keys: Keys, what: str, fix: str) -> Finding:
    return Finding("R103", document.where(keys), f"expected {what}", fix)


def _depths(metric: str) -> tuple[int, ...]:
    found = re.search(r"_at_(\d+)$", metric)
    return (int(found[1]),) if found else ()
