"""What a user asks for, checked before seconds are spent on imports: models, data and files by name, cuts, settings."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hf_multilabel.errors import Finding, InputError, nearest, raise_findings

MANIFEST = "manifest.json"
# What marks a run's folder from its first step on.
RUN_FILE = ".run.json"
# Where runs lie if nothing else is said: RUNS/NAME is a folder's name and no Hub id.
RUNS = "runs"
SECTIONS = ("data", "model", "peft", "loss", "training", "decision", "evaluation", "report", "hub")
# Sections of a recipe that a command reads; others than those of this table read all of them, or take no key.
READ = {
    "evaluate": ("data", "evaluation"),
    "report": ("data", "evaluation"),
    "tune": ("data", "decision", "evaluation"),
    "inspect": ("data", "model", "peft", "training", "evaluation"),
}
# Of `data`, what only training reads: texts are cut where it cut them.
OF_TRAINING = ("data.max_length", "data.augment", "data.balance")
# `THRESHOLD_RULES` and what of it fits nothing, known before the imports take their seconds.
OBJECTIVES = ("fixed", "micro_f1", "macro_f1", "balanced", "samples_f1", "micro_f1_per_label", "scut_fbr")
OBJECTIVES += ("precision_at_least", "recall_at_least", "cardinality", "cost", "cost_plug_in", "f_star_half")
UNFITTED = ("fixed", "cost_plug_in")
# The rule that needs neither cuts nor a number of labels.
EXPECTED_F1 = "expected_f1"


def is_hub_id(model: str) -> bool:
    """Whether a name can only be one of the Hub: no such path is here, and it has the form OWNER/NAME.

    Example:
        >>> is_hub_id("me/toxic"), is_hub_id("runs/toxik"), is_hub_id("toxic")
        (True, False, False)
    """
    return model.count("/") == 1 and not means_path(model) and not Path(model).exists()


def means_path(model: str) -> bool:
    """Whether a name is that of a folder, be it there or not."""
    return model.startswith((".", "/", "~", f"{RUNS}/"))


def check_model(model: str | Path) -> None:
    """Refuse what is neither a run's folder nor a Hub id.

    Raises:
        InputError: If so.
    """
    folder = Path(model)
    if folder.exists() and not (folder / "config.json").is_file():
        found = "a file" if folder.is_file() else "no config.json"
        fix = "give the run's folder, for instance runs/quickstart, or a Hub id"
        if (folder / RUN_FILE).is_file():
            found, fix = "one that was interrupted", "go on with it: hf-multilabel train RECIPE --resume"
        raise InputError(Finding("C101", str(model), f"expected the folder of a finished run, found {found}", fix))
    if not folder.exists() and not is_hub_id(str(model)):
        what = "expected a run's folder or a Hub id OWNER/NAME, found neither"
        raise InputError(Finding("C102", str(model), what, _look_for(folder)))


def check_run(folder: str | Path) -> None:
    """Refuse a folder without a finished model.

    Raises:
        InputError: If so.
    """
    if not (Path(folder) / MANIFEST).is_file():
        found = f"no {MANIFEST}" if Path(folder).is_dir() else "no such folder"
        fix = "train it first" if Path(folder).is_dir() else f"train it first, or {_look_for(Path(folder))}"
        raise InputError(Finding("P101", str(folder), f"expected a finished model, found {found}", fix))


def _look_for(folder: Path) -> str:
    """What to look at instead of a folder that is not there: the run of the nearest name, or where runs lie."""
    runs = {run.name: run for parent in (Path(RUNS), folder.parent) if parent.is_dir() for run in parent.iterdir()}
    near = nearest(folder.name, [name for name, run in runs.items() if (run / "config.json").is_file()])
    return f"check the path: did you mean {runs[near]}?" if near else f"check the path; runs lie under {RUNS}/"


def check_output(output: Path | None) -> None:
    """Refuse an output that can't be written, before the work.

    Raises:
        InputError: If it is a folder, or its folder is not there.
    """
    if output is not None and (output.is_dir() or not output.parent.is_dir()):
        found = "a folder" if output.is_dir() else f"no folder {output.parent}"
        raise InputError(Finding("C202", str(output), f"expected a file in a folder, found {found}", "name another"))
    if output is not None and not os.access(output.parent, os.W_OK):
        found = f"expected a folder that may be written, found no right to write {output.parent}"
        raise InputError(Finding("C207", str(output), found, "name another folder"))


def check_texts(source: str) -> None:
    """Refuse a file of texts that is not there.

    Raises:
        InputError: If so.
    """
    if not Path(source).is_file():
        found = "a folder" if Path(source).is_dir() else "none"
        raise InputError(Finding("D101", source, f"expected a file, found {found}", "check the path"))


def check_refit(overrides: Sequence[str], split: str) -> None:
    """Refuse settings and rows that a decision is not fitted with.

    Raises:
        InputError: If so.
    """
    check_read(overrides, "tune")
    if split not in ("validation", "train"):
        fix = "keep test rows for evaluate; rows of your own that are no test can be given as a file of their own"
        raise InputError(Finding("C113", "--split", f"expected validation or train, found {split!r}", fix))


def check_unlabelled(source: str | None, text: Sequence[str] | None, overrides: Sequence[str]) -> None:
    """Refuse texts to estimate prevalences from that are not there, or beside given prevalences.

    Raises:
        InputError: If so, or if a column is named and no texts.
    """
    if source is None:
        if text:
            what = "expected --unlabelled, whose column it names, found none"
            raise InputError(Finding("C119", "--text", what, "write data.text=COLUMN for the labelled rows"))
        return
    check_texts(source)
    for override in overrides:
        if f"{override.partition('=')[0].strip()}.".startswith("decision.prevalence."):
            what = f"expected no given prevalences beside it, found {override}"
            raise InputError(Finding("C119", "--unlabelled", what, "give one of the two"))


def is_read(key: str, command: str) -> bool:
    """Whether a command reads a key of the recipe.

    Example:
        >>> is_read("data.text", "evaluate"), is_read("data.max_length", "evaluate"), is_read("training.seed", "train")
        (True, False, True)
    """
    sections = READ.get(command, SECTIONS)
    unread = () if "training" in sections else OF_TRAINING
    return key.partition(".")[0] in sections and not any(f"{key}.".startswith(f"{other}.") for other in unread)


def check_read(overrides: Sequence[str], command: str) -> None:
    """Refuse changes to a recipe that a command would ignore; what there is not is left to the recipe's own check.

    Raises:
        InputError: Naming each.
    """
    findings, sections = [], READ[command]
    example = "decision.empty=allow" if "decision" in sections else "data.text=body"
    for override in overrides:
        key, equals, _ = (part.strip() for part in override.partition("="))
        section = key.partition(".")[0]
        if not equals or section == key:
            what = f"expected section.key=value, found no {'dot' if equals else '='}"
            findings.append(Finding("C112", key, what, f"write for instance {example}"))
        elif section in SECTIONS and not is_read(key, command):
            what = f"expected a key of {' or '.join(sections)} that {command} reads, found another"
            fix = "leave it out, or train again"
            if command == "inspect":
                fix = "leave it out, or give it to `hf-multilabel train`"
            elif section == "decision":
                fix = "fit another one with `hf-multilabel tune`, or give cuts to `hf-multilabel predict --threshold`"
            findings.append(Finding("C112", key, what, fix))
    raise_findings(findings)


def read_overrides(
    thresholds: Sequence[str],
    objective: str | None,
    *,
    rule: str | None = None,
    top_k: int | None = None,
    false_positive_cost: float | None = None,
    false_negative_cost: float | None = None,
) -> dict[str, Any]:
    """What was typed after the options of `predict` that change the decision, as arguments of `override_decision`.

    Raises:
        InputError: If a cut is no number, a label comes twice, the objective needs labelled rows, or options exclude
            each other.

    Example:
        >>> read_overrides(["0.5", "sport=0.3"], None)
        {'threshold': 0.5, 'label_thresholds': {'sport': 0.3}, 'top_k': None, 'rule': None}
        >>> read_overrides([], "cost_plug_in", false_positive_cost=1, false_negative_cost=4)["threshold"]
        0.2
    """
    check_unfitted(objective)
    given = {"--objective": objective, "--threshold": thresholds or None, "--top-k": top_k}
    check_rule(rule, [option for option, value in given.items() if value is not None])
    common, single = read_cuts(thresholds)
    costs = {"--false-positive-cost": false_positive_cost, "--false-negative-cost": false_negative_cost}
    if objective == "cost_plug_in":
        if common is not None:
            what = f"expected the cut of --objective cost_plug_in alone, found another '{common:g}'"
            raise InputError(Finding("C206", "--threshold", what, "keep one of the two"))
        common = cost_cut(costs)
    else:
        for option in (option for option, cost in costs.items() if cost is not None):
            what = f"expected the objective cost_plug_in, which has costs, found {objective or 'none'}"
            raise InputError(Finding("C206", option, what, "add --objective cost_plug_in, or leave it out"))
    if objective == "fixed" and common is None:
        common = 0.5
    return {"threshold": common, "label_thresholds": single or None, "top_k": top_k, "rule": rule}


def check_unfitted(objective: str | None) -> None:
    """Refuse an objective that is fitted on labelled rows, or that there is not.

    Raises:
        InputError: If so.
    """
    if objective in (None, *UNFITTED):
        return
    what, near = f"expected {' or '.join(UNFITTED)}, found {objective!r}", nearest(str(objective), OBJECTIVES)
    if objective == EXPECTED_F1:
        what, fix = f"{what}, which is a rule", f"give --rule {EXPECTED_F1}"
    elif objective in OBJECTIVES:
        what = f"{what}: it needs labels"
        fix = f"fit it once: `hf-multilabel tune MODEL DATA --objective {objective}`, or give --threshold"
    elif near in UNFITTED:
        fix = f"write --objective {near}"
    elif near:
        fix = f"write --objective {near} to fit it once with `hf-multilabel tune MODEL DATA`, or give --threshold here"
    else:
        fix = "see `hf-multilabel tune --help` for those that are fitted once, or give --threshold"
    raise InputError(Finding("C204", "--objective", what, fix))


def check_rule(rule: str | None, others: Sequence[str]) -> None:
    """Refuse a rule that follows from other options, and options of another rule beside it.

    Raises:
        InputError: If so.
    """
    if rule is None:
        return
    if rule != EXPECTED_F1:
        follows = {"threshold": "give --threshold", "top_k": "give --top-k"}
        follows["threshold_top_k"] = "give --threshold and --top-k"
        fix = follows.get(rule, f"write {EXPECTED_F1}")
        raise InputError(Finding("C204", "--rule", f"expected {EXPECTED_F1}, found {rule!r}", fix))
    if others:
        what = f"expected no other rule beside {EXPECTED_F1}, found {others[0]}"
        raise InputError(Finding("C206", "--rule", what, "leave one of the two out"))


def cost_cut(costs: Mapping[str, float | None]) -> float:
    """The cut of `cost_plug_in`: a / (a + b) of the price of a wrong label and that of a missed one, 1 if not given.

    Raises:
        InputError: If a price is none.
    """
    wrong, missed = (1.0 if cost is None else float(cost) for cost in costs.values())
    for option, cost in zip(costs, (wrong, missed), strict=True):
        if not 0 < cost < math.inf:
            raise InputError(
                Finding("C206", option, f"expected a number above 0, found {cost}", "write for instance 5")
            )
    return wrong / (wrong + missed)


def read_cuts(thresholds: Sequence[str]) -> tuple[float | None, dict[str, float]]:
    """NUMBER and LABEL=NUMBER as they were typed: the cut of all labels, and those of single ones.

    Raises:
        InputError: If one is no number in [0, 1], or comes twice.
    """
    common: list[float] = []
    single: dict[str, float] = {}
    for written in thresholds:
        label, equals, number = written.rpartition("=")
        try:
            cut = float(number)
        except ValueError:
            cut = math.nan
        if not 0 <= cut <= 1:
            what = f"expected a number in [0, 1], or LABEL=NUMBER, found {written!r}"
            raise InputError(Finding("C206", "--threshold", what, "write for instance 0.3 or sport=0.3"))
        if common if not equals else label in single:
            what = f"expected one cut {'of ' + repr(label) if equals else 'of all labels'}, found another {written!r}"
            raise InputError(Finding("C206", "--threshold", what, "keep one of the two"))
        if equals:
            single[label] = cut
        else:
            common.append(cut)
    return (common[0] if common else None), single
