"""The sections after training: `decision`, `evaluation`, `report` and `hub`."""

from __future__ import annotations

from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id
from pydantic import Field, field_validator, model_validator

from hf_multilabel.decisions.calibration import CALIBRATORS
from hf_multilabel.decisions.constraints import SCOPES
from hf_multilabel.decisions.cross_validation import COMBINE, MODES
from hf_multilabel.decisions.evidence import WITHOUT_CUTS
from hf_multilabel.decisions.fitting import check_guaranteed
from hf_multilabel.decisions.options import OPTIONS
from hf_multilabel.decisions.rare_labels import FALLBACKS
from hf_multilabel.decisions.risk_control import check_risk
from hf_multilabel.decisions.thresholds import THRESHOLD_RULES, UNFITTED, rule_options
from hf_multilabel.recipe.fields import POSITIVE, Section, contract_error, number, one_of, whole
from hf_multilabel.recipe.secrets import show
from hf_multilabel.remote_code.decision_multilabel import EMPTY, RULES
from hf_multilabel.training.pushing import STRATEGIES


class RiskSection(Section):
    """What the label sets are to be guaranteed for; the cut of all labels is then chosen for it."""

    recall: number(gt=0, lt=1) | None = Field(None, description="Share of a text's labels found, mean over texts.")
    precision: number(gt=0, lt=1) | None = Field(
        None, description="Share of right labels among those a text gets, mean over texts that get one."
    )
    confidence: number(gt=0, lt=1) | None = Field(
        None, description="How sure; null: recall is kept on average over draws of the validation rows."
    )

    @model_validator(mode="after")
    def _is_one_promise(self) -> RiskSection:
        try:
            check_risk(self.model_dump())
        except ValueError as error:
            where, _, what = str(error).partition(": expected ")
            expected, _, rest = what.partition(", found ")
            found, _, step = rest.partition(". ")
            key = where.partition("risk.")[2]
            raise contract_error((key, expected, found, step.rstrip(".").lower())) from None
        return self


class CrossValidationSection(Section):
    """Cuts from scores of rows that no model was trained on, more of them than the validation split has."""

    folds: whole(ge=2) = Field(5, description="Parts of the rows; each is held out once.")
    mode: one_of(MODES) = Field(
        "thresholds",
        description="What is done anew for each fold: the cuts alone, on validation rows; the head's last layer, "
        "solved on the features of training and validation rows; or the whole training (folds times its cost).",
    )
    combine: one_of(COMBINE) | None = Field(
        None,
        description="Cuts fitted on the scores of all folds pooled, or for each fold on those of the others and "
        "averaged on the logit scale; null: averaged under thresholds, else pooled.",
    )

    @property
    def combined(self) -> str:
        """`combine` with its default."""
        return self.combine or ("averaged" if self.mode == "thresholds" else "pooled")

    @model_validator(mode="after")
    def _combines(self) -> CrossValidationSection:
        if self.mode == "thresholds" and self.combine == "pooled":
            expected = "averaged under mode thresholds, where pooled scores are those of the validation split"
            raise contract_error(("combine", expected, "pooled", "change mode, or remove cross_validation"))
        return self


class DecisionSection(Section):
    """How probabilities become label sets; the cuts are fitted on the validation split only."""

    objective: one_of(THRESHOLD_RULES) = Field("balanced", description="What the cuts are chosen for.")
    threshold: number(gt=0, lt=1) = Field(0.5, description="The cut of every label under the objective fixed.")
    shrinkage: number(ge=0) | one_of(("auto",)) | None = Field(
        None,
        description="Of balanced: with n validation positives, a label's own cut counts n / (n + shrinkage), "
        "the common one the rest; auto: chosen on these rows by cross-fitting; null: 1.",
    )
    beta: number(gt=0, le=1e6) | None = Field(
        None, description="Of the F-measures: how much more recall counts than precision; null: 1."
    )
    scope: one_of(SCOPES) | None = Field(
        None, description="Of precision_at_least, recall_at_least, cost, f_star_half: a cut a label, or one overall."
    )
    precision: number(gt=0, le=1) | None = Field(None, description="Of precision_at_least: what the cuts must reach.")
    recall: number(gt=0, le=1) | None = Field(None, description="Of recall_at_least: what the cuts must reach.")
    false_positive_cost: number(gt=0) | None = Field(
        None, description="Of cost and cost_plug_in: price of a wrong label; null: 1."
    )
    false_negative_cost: number(gt=0) | None = Field(
        None, description="Of cost and cost_plug_in: price of a missed label; null: 1."
    )
    mean_labels: number(gt=0) | None = Field(
        None, description="Of cardinality: labels of a text on average; null: as many as are true."
    )
    fbr_floor: number(ge=0, le=1) | None = Field(
        None, description="Of scut_fbr: F below which a label's own cut is not trusted; null: 0.3."
    )
    fbr_fallback: one_of(FALLBACKS) | None = Field(
        None, description="Of scut_fbr: cut of such labels: never (FBR.0) or below their highest score (FBR.1)."
    )
    calibration: one_of(name for name in CALIBRATORS if name != "prior_shift") | None = Field(
        None, description="How logits become probabilities that mean what they say; null: their plain sigmoid."
    )
    prevalence: dict[str, number(gt=0, lt=1)] | None = Field(
        None, description="Label to the share of texts it holds for where the model is used, if not as in the data."
    )
    risk: RiskSection | None = Field(
        None, description="A guarantee, for instance {recall: 0.95, confidence: 0.9}; its cut replaces the objective's."
    )
    cross_validation: CrossValidationSection | None = Field(
        None,
        description="Folds for the cuts, for instance {folds: 5, mode: head}; null: the validation split as it is.",
    )
    rule: one_of(RULES) = Field(
        "threshold",
        description="Labels above their cut, the k most probable, both, or the set of the highest expected F1.",
    )
    top_k: POSITIVE | None = Field(None, description="k of the rules top_k and threshold_top_k.")
    empty: one_of(EMPTY) = Field(
        "allow", description="A text above no cut: no label, the best one (at_least_one), or abstain."
    )
    min_labels: POSITIVE | None = Field(None, description="Fewest labels a text gets.")
    max_labels: POSITIVE | None = Field(None, description="Most labels a text gets.")

    @model_validator(mode="after")
    def _goes_together(self) -> DecisionSection:
        problems = []
        if ("top_k" in self.rule) != (self.top_k is not None):
            expected = (
                f"a number under the rule {self.rule}" if self.top_k is None else f"null under the rule {self.rule}"
            )
            problems.append(("top_k", expected, show(self.top_k), "change top_k or rule"))
        if self.min_labels and self.max_labels and self.min_labels > self.max_labels:
            problems.append(("min_labels", f"at most max_labels {self.max_labels}", show(self.min_labels), "lower it"))
        if self.min_labels and self.empty == "abstain":
            problems.append(
                ("min_labels", "null beside empty: abstain", show(self.min_labels), "change one of the two")
            )
        if self.min_labels and self.top_k and self.min_labels > self.top_k:
            problems.append(("min_labels", f"at most top_k {self.top_k}", show(self.min_labels), "lower it"))
        if self.rule == "top_k" and self.empty == "abstain":
            expected = "allow under the rule top_k, under which no text abstains"
            problems.append(("empty", expected, show(self.empty), "change empty or rule"))
        if self.threshold != 0.5 and self.rule in WITHOUT_CUTS:
            expected = f"no cut under the rule {self.rule}, which uses none"
            problems.append(("threshold", expected, show(self.threshold), "remove it"))
        elif self.threshold != 0.5 and self.objective != "fixed":
            problems.append(("threshold", f"no cut: {self.objective} fits it", show(self.threshold), "remove it"))
        if self.rule == "expected_f1" and self.objective != "fixed":
            expected = "fixed under the rule expected_f1, which uses no cuts"
            problems.append(("objective", expected, show(self.objective), "write objective: fixed"))
        problems += self._options_of_another()
        problems += self._promises()
        problems += self._folds()
        if problems:
            raise contract_error(*problems)
        return self

    def _options_of_another(self) -> list[tuple[str, str, str, str]]:
        """Options the objective does not take, and those it needs."""
        taken, problems = rule_options(self.objective), []
        for key in OPTIONS:
            value = getattr(self, key)
            if key != "threshold" and key not in taken and value is not None:
                takers = " or ".join(rule for rule in THRESHOLD_RULES if key in rule_options(rule))
                problems.append((key, f"null under {self.objective}", show(value), f"write objective: {takers}"))
            elif taken.get(key) and value is None:
                problems.append((key, f"a number under {self.objective}", show(value), f"write {key}"))
        return problems

    def _promises(self) -> list[tuple[str, str, str, str]]:
        """What a guarantee or other prevalences do not go together with."""
        problems = []
        if self.prevalence and self.objective not in UNFITTED:
            expected = (
                f"{' or '.join(UNFITTED)} beside prevalence: other cuts are fitted at that of the validation rows"
            )
            problems.append(("objective", expected, show(self.objective), "change one of the two"))
        if self.risk and self.objective not in ("balanced", "fixed"):
            expected = "balanced, the default, beside risk, which sets the cut of all labels"
            problems.append(("objective", expected, show(self.objective), "remove objective"))
        if self.risk:
            try:
                check_guaranteed(self.model_dump(), self.risk.model_dump(), self.prevalence)
            except ValueError as error:
                key, _, what = str(error).partition(": expected ")
                expected, _, found = what.rpartition(", found ")
                problems.append(
                    (key, expected, found.removesuffix(". Change one of the two."), "change one of the two")
                )
        return problems

    def _folds(self) -> list[tuple[str, str, str, str]]:
        """What cross-validation does not go together with."""
        asked = self.cross_validation
        if asked is None:
            return []
        given = {"calibration": self.calibration, "prevalence": self.prevalence}
        wrong = [(key, "null beside averaged cuts, which must lie on one scale", value) for key, value in given.items()]
        wrong = wrong if asked.combined == "averaged" else []
        wrong += [("risk", "null beside cross_validation: its promise is for scores of one model", self.risk)]
        wrong += [
            ("objective", f"one that fits cuts beside cross_validation, not {self.objective}", self.objective)
            for _ in range(self.objective in UNFITTED and not self.calibration)
        ]
        wrong += [("rule", "one that uses cuts, or a calibration, beside cross_validation", self.rule)] * (
            self.rule == "top_k" and not self.calibration
        )
        return [
            (key, expected, show(value.model_dump() if isinstance(value, Section) else value), "change one of the two")
            for key, expected, value in wrong
            if value is not None
        ]


class EvaluationSection(Section):
    """What is measured on the validation and test splits."""

    k: list[POSITIVE] = Field([1, 3, 5], min_length=1, description="Cut-offs of P@k, R@k, nDCG@k, PSP@k, ...")
    keep_scores: whole(ge=2) | None = Field(
        None,
        description="Numbers kept of each text when a split is measured: scores and ranks of its true labels, and its "
        "highest other scores; from the number of labels on, all. null: all up to 1,000 labels, 64 above.",
    )
    intervals: bool = Field(
        True,
        description="95% confidence intervals of the tuned decision's scores, by bootstrap; of AUC and average "
        "precision only where texts x labels + 80 x true pairs is at most 2,500,000.",
    )


class ReportSection(Section):
    """The HTML page that shows what a run does, written into its folder; it needs the extra [report]."""

    enabled: bool | None = Field(
        None,
        description="Write report.html when the run ends; null: where it adds at most 5% to the training (which then "
        "takes 200 seconds or more). `hf-multilabel report RUN` writes it any time.",
    )
    texts: list[str] = Field(
        [], max_length=20, description="Texts looked at closely (attention, tokens); none: two of the test rows."
    )


class HubSection(Section):
    """Where the run's folder is pushed to, and what its model card says. The token comes from HF_TOKEN."""

    repo_id: str | None = Field(None, description="OWNER/NAME on the Hub; null: nothing is pushed.")
    private: bool = Field(False, description="Create the repo as a private one.")
    revision: str | None = Field(None, description="Branch to push to; null: main.")
    create_pr: bool = Field(False, description="Open a pull request instead of moving the branch.")
    tag: str | None = Field(None, description="Name the pushed commit so, for instance v1.0; must be free.")
    strategy: one_of(STRATEGIES) = Field(
        "end",
        description="What is pushed: the finished model; also the model of every save during training; with "
        "last-checkpoint/, from which training can go on; or with every checkpoint-N/.",
    )
    commit_message: str | None = Field(None, description="Message of the commit; null: one with the main metrics.")
    language: list[str] | str | None = Field(None, description="Language codes of the texts, for the card.")
    license: str | None = Field(None, description="Licence of the model, as the Hub spells it, for the card.")
    datasets: list[str] = Field([], description="Hub ids of the training data, for the card.")
    tags: list[str] = Field([], description="More tags of the card.")
    examples: list[str] = Field(
        [], description="Texts the card and its widget try the model on; none are taken from the data."
    )

    @field_validator("repo_id")
    @classmethod
    def _is_repo_id(cls, value: str | None) -> str | None:
        try:
            if value is not None:
                validate_repo_id(value)
        except HFValidationError:
            expected = "OWNER/NAME of letters, digits and - _ ."
            raise contract_error(("", expected, show(value), "name the repo as on the Hub")) from None
        return value

    @model_validator(mode="after")
    def _goes_together(self) -> HubSection:
        problems = []
        if self.create_pr and self.revision not in (None, "main"):
            problems.append(("revision", "null beside create_pr", show(self.revision), "remove one of the two"))
        if self.create_pr and self.tag is not None:
            problems.append(("tag", "null beside create_pr", show(self.tag), "tag the commit when it is merged"))
        if self.create_pr and self.strategy != "end":
            expected = "end beside create_pr: every push would open a pull request"
            problems.append(("strategy", expected, show(self.strategy), "remove one of the two"))
        if self.repo_id is None and self.strategy != "end":
            problems.append(("strategy", "end without repo_id", show(self.strategy), "write hub.repo_id"))
        if problems:
            raise contract_error(*problems)
        return self
