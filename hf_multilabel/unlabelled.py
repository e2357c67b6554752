"""Texts from the place of use that nobody has labelled, and the prevalences there that a decision is to be made for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset
from pydantic import ValidationError
from scipy.sparse import csr_matrix

from hf_multilabel.console import note, prevalence_table, show
from hf_multilabel.data.texts import read_texts
from hf_multilabel.decisions.prevalence import LEVELLING, TELLING, fit_prevalence
from hf_multilabel.errors import Finding, InputError, raise_findings
from hf_multilabel.inference import FinishedModel
from hf_multilabel.overlap import warn_of_trained_rows
from hf_multilabel.recipe import Recipe
from hf_multilabel.recipe.sections import DecisionSection

# With fewer, a label that no text has may hold for 7% of all, and a half is known to 14 points at best.
LEAST_TEXTS = 50
SHOWN = 5


def open_unlabelled(source: str, recipe: Recipe, text: str | Sequence[str] | None = None) -> UnlabelledTexts:
    """Read a file as `predict` does, if the settings let prevalences be estimated; rows without text are left out.

    Args:
        source: As of `read_texts`.
        recipe: Of the model, with the settings of its new decision: says how texts are read, too.
        text: Columns of the text; None: those of the recipe.

    Raises:
        InputError: As `check_estimable` and `read_texts`, or if there are too few.
    """
    check_estimable(recipe, source)
    blank: list[str] = []
    data = recipe.data
    reading = {"text_separator": data.text_separator, "strip_html": data.strip_html, "lacking": blank.append}
    rows = read_texts(source, text=text or data.text, **reading)
    texts = [row["text"] for row in rows if row["text"].strip()]
    if blank:
        places = ", ".join(blank[:SHOWN]) + " and more" * (len(blank) > SHOWN)
        note(f"warning: rows without text are left out, {len(blank):,}: {places}")
    if len(texts) < LEAST_TEXTS:
        what = f"expected at least {LEAST_TEXTS} texts, found {len(texts)}: prevalences among so few are chance"
        raise InputError(Finding("D125", source, what, "give more, some hundreds"))
    return UnlabelledTexts(Path(source).name, texts)


def check_estimable(recipe: Recipe, source: str) -> None:
    """Refuse settings that go with no prevalences, as a recipe that gives them would, or with no estimate of them.

    Args:
        recipe: With the settings; its own prevalences do not count.
        source: The file, for messages.

    Raises:
        InputError: Naming each.
    """
    decision, findings = recipe.decision, []
    if decision.calibration not in LEVELLING:
        expected = f"{', '.join(LEVELLING[:-1])} or {LEVELLING[-1]} beside unlabelled texts"
        what = f"expected {expected}: others take a level that is off for a prevalence"
        what = f"{what}, found {decision.calibration or 'null'}"
        findings.append(Finding("R103", "decision.calibration", what, "add decision.calibration=platt"))
    try:
        DecisionSection.model_validate(decision.model_dump() | {"prevalence": {source: 0.5}})
    except ValidationError as error:
        problems = [problem for part in error.errors() for problem in part["ctx"]["problems"]]
        for key, expected, found, fix in problems:
            found = source if key == "prevalence" else found
            fix = "add --objective fixed, or leave out --unlabelled" if key == "objective" else fix
            findings.append(Finding("R103", f"decision.{key}", f"expected {expected}, found {found}", fix))
    raise_findings(findings)


@dataclass(frozen=True)
class UnlabelledTexts:
    """Texts of a file, those that have any.

    Args:
        file: Its name, without folders: it is stored with the model.
        texts: M of them.
    """

    file: str
    texts: list[str]

    def score(self, finished: FinishedModel, batch_size: int) -> np.ndarray:
        """Logits, (M, L), after a warning if the model was trained on the texts."""
        warn_of_trained_rows(finished, self.texts)
        rows, labels = Dataset.from_dict({"text": self.texts}), len(finished.labels)
        nothing = csr_matrix((len(rows), labels), dtype=bool)
        return finished.scorer(rows, nothing, labels, batch_size, "unlabelled texts")()

    def with_prevalence(
        self, recipe: Recipe, labels: Sequence[str], logits: np.ndarray, targets: csr_matrix, there: np.ndarray
    ) -> tuple[Recipe, dict[str, Any]]:
        """The recipe as if it gave the estimated prevalences, which are shown, and what a decision says of them.

        Args:
            recipe: As `check_estimable` lets pass.
            labels: Names by id.
            logits: Of the labelled rows, (N, L).
            targets: Their label sets, (N, L).
            there: Logits of the texts, (M, L).
        """
        note(f"estimating prevalences from {len(there):,} texts of {self.file}")
        found = fit_prevalence(logits, targets, there, recipe.decision.calibration)
        if not found.known(labels):
            expected = f"expected a label that {TELLING} labelled rows have and {TELLING} lack, with scores that differ"
            what = f"{expected}, found none in {len(logits):,} rows"
            raise InputError(Finding("D125", self.file, what, "label more rows, or leave out --unlabelled"))
        show(prevalence_table(found.lines(labels), len(logits), len(there), self.file), asked=True)
        known = found.known(labels)
        if same := int(((found.low <= found.labelled) & (found.labelled <= found.high)).sum()):
            note(f"{same:,} of {len(known):,} intervals hold the labelled share: more texts would tell the two apart")
        if missing := len(labels) - len(known):
            needed = f"{TELLING} labelled rows with one and without, and scores that differ"
            note(f"{missing:,} labels keep their share: an estimate takes {needed}")
        evidence = {"file": self.file, "texts": len(there), "estimated": known, "intervals": found.intervals(labels)}
        changed = recipe.decision.model_copy(update={"prevalence": known})
        return replace(recipe, decision=changed), {"prevalence": evidence}
