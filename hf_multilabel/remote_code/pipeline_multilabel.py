"""The task `multi-label-classification`: texts in, label sets with their probabilities out."""

from __future__ import annotations

from typing import Any

from transformers import Pipeline

# A token is rarely longer: what lies beyond this many characters a token is cut off unread, in training and here.
CHARACTERS_A_TOKEN = 100


class MultiLabelClassificationPipeline(Pipeline):
    """Label sets by the decision stored with the model.

    A text gives `{"labels": [...], "scores": {label: probability}}`, best label first; a list of texts gives a list.
    Where the decision abstains instead of returning an empty set, `"abstained"` says whether it did.

    Args:
        top_k: Add `"probabilities"` of the k best labels, decided or not.
        return_all_scores: Add `"probabilities"` of all labels.
        max_length: Tokens read of a text; what tokenizer and model allow if None.

    Example:
        pipe = pipeline("multi-label-classification", model=repo, trust_remote_code=True)
        pipe("Rates rise as inflation cools", top_k=3)
    """

    _load_processor = False
    _load_image_processor = False
    _load_feature_extractor = False
    _load_tokenizer = True

    def _sanitize_parameters(
        self, top_k: int | None = None, return_all_scores: bool | None = None, max_length: int | None = None
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        if top_k is not None and (not isinstance(top_k, int) or top_k < 1):
            raise ValueError(f"top_k: expected a whole number above 0, found {top_k!r}. Leave it out for none.")
        shown = self.model.config.num_labels if return_all_scores else top_k
        return (
            {} if max_length is None else {"max_length": max_length},
            {},
            {} if shown is None else {"top_k": shown},
        )

    def __call__(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Decide one text (a dict), a list of texts (a list) or a stream of them (an iterator)."""
        inputs = list(inputs) if isinstance(inputs, tuple) else inputs
        # the parent looks at the first item to find out what it was given
        return [] if isinstance(inputs, list) and not inputs else super().__call__(inputs, *args, **kwargs)

    def preprocess(self, inputs: str, max_length: int | None = None) -> dict[str, Any]:
        """Tokenize one text, cut to what was read in training."""
        if not isinstance(inputs, str):
            raise ValueError(f"inputs: expected a text, found {inputs!r}. Pass one string a text.")
        limits = (max_length, self.tokenizer.model_max_length, self.model.max_tokens())
        length = min(limit for limit in limits if limit is not None)
        text = inputs[: length * CHARACTERS_A_TOKEN]
        return self.tokenizer(text, truncation=True, max_length=length, return_tensors="pt")

    def _forward(self, model_inputs: dict[str, Any]) -> Any:
        return self.model(**model_inputs)

    def postprocess(self, model_outputs: Any, top_k: int | None = None) -> dict[str, Any]:
        """Names and probabilities of one text's label set."""
        names, logits = self.model.config.label_names, model_outputs["logits"]  # (1, L)
        probs, decided = self.model.probabilities(logits)[0], self.model.decide(logits)[0]
        order = probs.argsort(descending=True, stable=True).tolist()  # of equals the lower id first, as in the decision
        scores = {names[label]: probs[label].item() for label in order if decided[label]}
        result: dict[str, Any] = {"labels": list(scores), "scores": scores}
        if top_k is not None:
            result["probabilities"] = {names[label]: probs[label].item() for label in order[:top_k]}
        if self.model.config.decision["empty"] == "abstain":
            result["abstained"] = not scores
        return result
