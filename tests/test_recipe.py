"""Reading, overriding and checking a recipe: what is accepted, and what is said of wrong values."""

from __future__ import annotations

import inspect
import json
import os
import re
import shlex
from pathlib import Path

import pytest

from hf_multilabel.data.augmentation import AUGMENTERS
from hf_multilabel.data.balancing import BALANCERS
from hf_multilabel.data.loading import load_data
from hf_multilabel.decisions import fit_decision
from hf_multilabel.decisions.options import OPTIONS
from hf_multilabel.errors import InputError
from hf_multilabel.losses import LOSSES, build_loss, loss_options, loss_weights
from hf_multilabel.recipe import load_recipe
from hf_multilabel.recipe.loading import blame
from hf_multilabel.recipe.opening import find_recipe
from hf_multilabel.recipe.reading import reads_as_text
from tests.recipe_text import VALID, load, refuse


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def test_defaults_of_a_two_line_recipe(work: Path) -> None:
    recipe = load(VALID)
    assert recipe.name == "x"
    assert recipe.data.source == "owner/dataset"
    assert recipe.model.pooling == "mean"
    assert recipe.decision.objective == "balanced"
    assert recipe.evaluation.k == [1, 3, 5]
    assert recipe.training == {"output_dir": str(work / "runs/x")}


def test_sections_are_the_arguments_of_the_rooms(work: Path) -> None:
    recipe = load(VALID)
    taken = set(inspect.signature(load_data).parameters) - {"known_labels", "single_file", "textless"}
    assert set(recipe.data.load_arguments()) == taken
    own = {"calibration", "prevalence", "risk", "cross_validation"}
    assert set(recipe.decision.model_dump()) <= {
        *inspect.signature(fit_decision).parameters,
        *OPTIONS,
        *own,
    }


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_takes_its_options_from_one_line(work: Path, name: str) -> None:
    options = {key: 0.5 for key in loss_options(name)}
    weights = {key: {"rule": "inverse"} for key in loss_weights(name)}
    recipe = load(VALID + f"loss: {json.dumps({'name': name, **options, **weights})}")
    loss = build_loss(counts=[1, 2], rows=4, **recipe.loss.arguments())
    assert set(loss.options) == set(options) - {"beta"}
    assert set(loss.weights) >= {key.removesuffix("s") for key in weights}


@pytest.mark.parametrize("written", ["1e-5", "1.0e-5", "0.00001", '"1e-5"', "'1E-5'"])
def test_a_number_is_a_number_however_written(work: Path, written: str) -> None:
    assert load(VALID + f"training: {{learning_rate: {written}}}").training["learning_rate"] == 1e-5


def test_whole_numbers_take_1e3_and_no_fraction(work: Path) -> None:
    assert load(VALID, "training.max_steps=1e3").training["max_steps"] == 1000
    assert "expected a whole number >= -1, found 1.5" in refuse(VALID, "training.max_steps=1.5")
    assert "expected a whole number >= -1, found true" in refuse(VALID, "training.max_steps=true")


def test_yaml_1_2_words_are_text(work: Path) -> None:
    recipe = load(VALID + "training: {eval_strategy: no}\nhub: {language: no, revision: 2024-01-01}")
    assert recipe.training["eval_strategy"] == "no"
    assert recipe.hub.language == "no"
    assert recipe.hub.revision == "2024-01-01"


def test_an_empty_section_means_its_defaults(work: Path) -> None:
    assert load(VALID + "training:\n  # all commented out\nhub:\n").training.keys() == {"output_dir"}


WRONG_VALUES = [
    (
        "training: {learnig_rate: 1}",
        r"x.yaml:3:12 training.learnig_rate: expected a key of training.*write learning_rat",
    ),
    ("trainig: {}", r"error\[R101\] recipes/x.yaml:3:1 trainig: expected a section.*write training"),
    ("model: {}", r"x.yaml:3:1 model: expected each key once, found it again; first on line 2"),
    ("training: {learning_rate: abc}", r"expected a finite number > 0, found 'abc'"),
    ("training: {learning_rate: -1}", r"expected a finite number > 0, found -1"),
    ("training: {learning_rate: 0}", r"expected a finite number > 0, found 0"),
    ("training: {learning_rate: .nan}", r"expected a finite number > 0, found nan"),
    ("training: {head_learning_rate: .inf}", r"expected a finite number > 0 or null, found inf"),
    ("training: {layerwise_decay: 1.5}", r"expected a finite number > 0 and <= 1, found 1.5"),
    ("training: {bf16: yes}", r"training.bf16: expected true or false, found 'yes'; fix: write true"),
    ("training: {eval_strategy: epochs}", r"expected one of no, steps, epoch, found 'epochs'; fix: write epoch"),
    ("training: {head_init: prob}", r"expected one of random, prior, probe, found 'prob'; fix: write prob"),
    ("training: {warmup_ratio: 0.1}", r"warmup_ratio.*fix: write warmup_steps"),
    ("training: {push_to_hub: true}", r"push_to_hub.*fix: write hub.repo_id"),
    ("training: {seed: 4294967296}", r"expected a whole number >= 0 and <= 4294967295, found 4294967296"),
    ("training: {max_steps: 0}", r"expected a whole number >= 1, or -1 for all epochs, found 0"),
    ("training: [1]", r"x.yaml:3:1 training: expected a mapping, found \[1\]"),
    (
        "training: {metric_for_best_model: micro_f2}",
        r"expected a metric, or loss, found 'micro_f2'; fix: write micro_f1",
    ),
    ("training: {load_best_model_at_end: true}", r"training.save_strategy: expected the value of eval_strategy \(no\)"),
    ("loss: {name: focall}", r"loss.name: expected one of bce, weighted_bce, .*found 'focall'; fix: write focal"),
    (
        "loss: {class_weights: {rule: inverse}}",
        r"loss.name: expected a loss that takes class_weights, found 'bce'; fix: write weighted_bce or focal or asym",
    ),
    ("loss: {name: focal, pos_weight: {rule: inverse}}", r"takes pos_weight, found 'focal'; fix: write weighted_bce, "),
    (
        "loss: {name: asymmetric, gamma_negative: 4}",
        r"expected a key of loss, found 'gamma_negative'; fix: write gamma",
    ),
    (
        "loss: {name: asymmetric, gamma: 4}",
        r"loss.gamma: expected an option of asymmetric \(gamma_pos, gamma_neg, clip, smoothing\), found 'gamma'; fix: "
        r"remove it, or write name: focal or class_balanced or distribution_balanced",
    ),
    ("loss: {name: focal, gamma: -1}", r"loss.gamma: expected a finite number >= 0 or null, found -1"),
    ("loss: {smoothing: 1}", r"loss.smoothing: expected a finite number >= 0 and < 1 or null, found 1"),
    ("loss: {name: weighted_bce, pos_weight: {cap: 2}}", r"loss.pos_weight.rule: expected one of .* found no such key"),
    ("loss: {name: weighted_bce, pos_weight: {rule: inverse, beta: 0.9}}", r"expected null under the rule inverse"),
    ("decision: {objective: macro}", r"expected one of fixed, micro_f1, macro_f1, balanced, .* found 'macro'"),
    ("decision: {threshold: 0.3}", r"decision.threshold: expected no cut: balanced fits it, found 0.3"),
    ("decision: {rule: top_k}", r"decision.top_k: expected a number under the rule top_k, found null"),
    ("decision: {top_k: 3}", r"decision.top_k: expected null under the rule threshold, found 3"),
    ("decision: {objective: cost, beta: 2}", r"decision.beta: expected null under cost, found 2.* micro_f1 or"),
    ("decision: {objective: recall_at_least}", r"decision.recall: expected a number under recall_at_least, found null"),
    ("decision: {objective: scut_fbr, fbr_fallback: top}", r"expected one of never, highest or null, found 'top'"),
    ("decision: {rule: expected_f1}", r"decision.objective: expected fixed under the rule expected_f1"),
    ("decision: {min_labels: 3, max_labels: 2}", r"min_labels: expected at most max_labels 2, found 3"),
    ("decision: {rule: threshold_top_k, top_k: 1, min_labels: 2}", r"min_labels: expected at most top_k 1, found 2"),
    ("decision: {rule: top_k, top_k: 1, empty: abstain}", r"empty: expected allow under the rule top_k, .*abstain"),
    (
        "decision: {rule: top_k, top_k: 1, objective: fixed, threshold: 0.3}",
        r"decision.threshold: expected no cut under the rule top_k, which uses none, found 0.3",
    ),
    ("decision: {rule: top_k, top_k: 1, cross_validation: {}}", r"rule: expected one that uses cuts, .* found 'top_k'"),
    ("decision: {objective: micro_f1, beta: 1.0e+155}", r"decision.beta: "),
    ("decision: {min_labels: 1, empty: abstain}", r"min_labels: expected null beside empty: abstain"),
    ("evaluation: {k: [0]}", r"evaluation.k\[0\]: expected a whole number >= 1, found 0"),
    ("evaluation: {k: []}", r"evaluation.k: expected a list of a whole number >= 1"),
    ("hub: {repo_id: a//b}", r"hub.repo_id: expected OWNER/NAME"),
    (
        "hub: {strategy: every_step}",
        r"hub.strategy: expected one of end, every_save, checkpoint, all_checkpoints, found",
    ),
    ("hub: {strategy: every_save}", r"hub.strategy: expected end without repo_id, found 'every_save'"),
    ("hub: {repo_id: a/b, create_pr: true, tag: v1}", r"hub.tag: expected null beside create_pr, found 'v1'"),
    ("hub: {repo_id: a/b, create_pr: true, revision: dev}", r"hub.revision: expected null beside create_pr"),
    ("hub: {repo_id: a/b, create_pr: true, strategy: checkpoint}", r"hub.strategy: expected end beside create_pr"),
    ("training: {hub_strategy: end}", r"hub_strategy.*fix: write hub.repo_id and hub.strategy"),
    ("hub: {private: 1}", r"hub.private: expected true or false, found 1"),
    ("hub: {revision: 1234567}", r'hub.revision: expected text or null, found 1234567; fix: quote it: "1234567"'),
]


@pytest.mark.parametrize(("line", "expected"), WRONG_VALUES, ids=[line for line, _ in WRONG_VALUES])
def test_wrong_values(work: Path, line: str, expected: str) -> None:
    assert re.search(expected, refuse(VALID + line + "\n"))


WRONG_DATA_AND_MODEL = [
    ("data.text=[]", r"data.text=\[\]: expected different names, at least one, found an empty list"),
    ("data.text=[a, a]", r"expected different names, at least one, found 'a' 2 times"),
    ("data.text=[a, 3]", r"expected text, found 3; fix: quote it: \"3\""),
    ("data.splits={dev: x}", r"expected one of 'train', 'validation' or 'test', found 'dev'"),
    ("data.max_rows={train: x}", r"expected a whole number >= 1, found 'x'"),
    ("data.duplicates=warning", r"expected one of error, warn, found 'warning'; fix: write warn"),
    ("data.label_names=none.txt", r"expected a file, found nothing at .*none.txt"),
    ("model.pooling=mena", r"expected one of cls, mean, max, attention, pooler, found 'mena'; fix: write mean"),
    (
        "model.head_kwargs={activaton: tanh}",
        r"expected one of activation, dropout, found 'activaton'; fix: write activation",
    ),
    ("model.head_kwargs={activation: sin}", r"expected arguments of the linear head \(.*'sin'"),
    ("model.head_kwargs={dropout: 2}", r"expected arguments of the linear head"),
    ("model.backbone_sha256=abc", r"expected text of the form .* or null, found 'abc'"),
    ("model.backbone=python:x y", r"expected a Hub id, a folder, python:PACKAGE/PATH or scratch"),
    ("model.backbone=./missing", r"expected a Hub id, a folder.*nothing at .*work/missing"),
    ("data.source=", r"expected text that is not empty, found null"),
    ("data.unknown_labels=-2", r"expected text or -1 or null, found -2"),
    (
        "data.soft_labels=true",
        r"expected false beside labels: 'labels' and label_format: auto, no 0/1 columns, found true",
    ),
    (
        "data.augment={rate: 0.1}",
        r"expected one of drop_sentences, trim_sentences, recombine_sentences, found no such key",
    ),
    ("data.augment={method: trim_sentence}", r"found 'trim_sentence'; fix: write trim_sentences"),
    ("data.balance={method: mlros}", r"expected one of lp_ros, lp_rus, ml_ros, ml_rus, class_aware, mlsmote, found"),
    ("data.balance={method: lp_rus, rate: 1}", r"expected a rate below 1 under the method lp_rus"),
    ("data.balance={method: class_aware, rate: 0.1}", r"expected no rate under the method class_aware, found 0.1"),
    ("data.balance={method: ml_ros, neighbors: 3}", r"expected no neighbors under the method ml_ros, found 3"),
    ("data.balance={method: mlsmote}", r"training.head_init: expected probe beside data.balance.method mlsmote"),
]


@pytest.mark.parametrize(("override", "expected"), WRONG_DATA_AND_MODEL, ids=[o for o, _ in WRONG_DATA_AND_MODEL])
def test_wrong_data_and_model(work: Path, override: str, expected: str) -> None:
    assert re.search(expected, refuse(VALID, override))


def test_a_probe_needs_a_head_it_can_solve(work: Path) -> None:
    settings = ["model.head=label_embedding", "training.head_init=probe"]
    assert load(VALID, *settings).model.head == "label_embedding"
    for kwargs in ("{similarity: cosine}", "{label_init: names}"):
        found = refuse(VALID, *settings, f"model.head_kwargs={kwargs}")
        assert re.search(r"training.head_init=probe: expected random or prior beside model.head label_embedding", found)


def test_arguments_of_the_chosen_head_are_checked(work: Path) -> None:
    found = refuse(VALID, "model.head=rnn", "model.head_kwargs={cell: gur}")
    assert re.search(r"expected arguments of the rnn head \(.*expected one of \['gru', 'lstm'\], found 'gur'", found)


def test_attention_heads_of_the_head_need_not_divide_a_made_up_size(work: Path) -> None:
    recipe = load(VALID, "model.head=transformer", "model.head_kwargs={num_heads: 12}")
    assert recipe.model.head_kwargs == {"num_heads": 12}


def test_scratch_checks_its_sizes(work: Path) -> None:
    recipe = load(VALID, "model.backbone=scratch", "model.scratch={hidden_size: 96}")
    assert recipe.model.scratch is not None
    assert recipe.model.scratch.hidden_size == 96
    assert "expected a divisor of hidden_size 100, found 8" in refuse(
        VALID, "model.backbone=scratch", "model.scratch.hidden_size=100"
    )
    assert "expected null for a backbone from scratch" in refuse(VALID, "model.backbone=scratch", "model.revision=main")


def test_everything_wrong_is_said_at_once_in_the_order_of_the_file(work: Path) -> None:
    message = refuse(
        "data:\n  sorce: a/b\n  labels: [no]\nmodel: {backbone: ./gone, pooling: men}\n"
        "training:\n  lr: 1\n  seed: 1\n  seed: 2\nhub: {repo_id: a b}\n",
        "loss.nme=bce",
    )
    codes = re.findall(r"error\[(R\d+)\] (\S+)", message)
    assert codes == [
        ("R102", "recipes/x.yaml:8:3"),
        ("R103", "recipes/x.yaml:1:1"),
        ("R101", "recipes/x.yaml:2:3"),
        ("R105", "recipes/x.yaml:3:12"),
        ("R106", "recipes/x.yaml:4:9"),
        ("R103", "recipes/x.yaml:4:27"),
        ("R101", "recipes/x.yaml:6:3"),
        ("R103", "recipes/x.yaml:9:7"),
        ("R101", "override"),
    ]


def test_findings_are_capped_at_20_and_counted(work: Path) -> None:
    message = refuse(VALID + "training: {" + ", ".join(f"x{i}: 1" for i in range(50)) + "}")
    assert len(message.splitlines()) == 21
    assert message.endswith("... and 30 more of 50 findings")


@pytest.mark.parametrize(
    "word", ["no", "Yes", "on", "0010", "2024-01-01", "1.0", "true", "null", "~", "12:30:45", "1e3"]
)
@pytest.mark.parametrize("key", ["labels", "label_names"])
def test_unquoted_label_says_quote_it(work: Path, word: str, key: str) -> None:
    source = VALID.replace("{source: owner/dataset}", f"{{source: owner/dataset, {key}: [fine, {word}]}}")
    message = refuse(source)
    assert f'data.{key}[1]: expected a label in quotes, found {word}; fix: quote it: "{word}"' in message
    assert "quote it" in refuse(VALID, f"data.{key}=[{word}]")
    quoted = load(source.replace(word + "]", f'"{word}"]'))
    assert getattr(quoted.data, key) == ["fine", word]


def test_empty_label_item(work: Path) -> None:
    assert "expected a label in quotes, found an empty item" in refuse(
        "data:\n  source: a/b\n  labels:\n    - a\n    -\nmodel: {backbone: a/b}\n"
    )


def test_remedies_need_one_line(work: Path) -> None:
    for method in BALANCERS:
        recipe = load(VALID, f"data.balance={{method: {method}}}", "training.head_init=probe")
        assert recipe.data.balance.arguments() == {"method": method, "seed": 0}
        assert load(recipe.dump()).data.balance == recipe.data.balance
    for method in AUGMENTERS:
        assert load(VALID, f"data.augment={{method: {method}}}").data.augment.rate == 0.2
    assert "found 'sequential'" in refuse(
        VALID, "data.balance={method: class_aware}", "training.train_sampling_strategy=sequential"
    )


def test_null_labels_mean_all_columns(work: Path) -> None:
    assert load(VALID, "data.labels=null").data.labels is None


def test_dates_and_merge_keys_are_text_elsewhere() -> None:
    assert not reads_as_text("0o17")
    assert reads_as_text("cs.CL")


BAD_OVERRIDES = [
    ("training", r"override training: expected section.key=value, found no ="),
    ("seed=1", r"override seed=1: expected section.key=value, found the key 'seed'"),
    ("training..seed=1", r"expected section.key=value, found the key 'training..seed'"),
    ("data.source.x=1", r"expected a mapping at data.source, found 'owner/dataset'"),
    ("data.text=[a", r"override data.text=\[a: expected ',' or '\]'"),
    ("trainig.seed=1", r"override trainig.seed=1: expected a section, found 'trainig'; fix: write training"),
    ("training.sed=1", r"override training.sed=1: expected a key of training, found 'sed'; fix: write seed"),
]


@pytest.mark.parametrize(("override", "expected"), BAD_OVERRIDES)
def test_bad_overrides(work: Path, override: str, expected: str) -> None:
    assert re.search(expected, refuse(VALID, override))


def test_overrides_replace_create_and_clear(work: Path) -> None:
    text = VALID + "loss: {name: weighted_bce, class_weights: {rule: inverse, cap: 3}}\ntraining: {seed: 1}\n"
    recipe = load(text, "training.seed=2", "loss.class_weights=null", "model.config_overrides.num_hidden_layers=2")
    assert recipe.training["seed"] == 2
    assert recipe.loss.class_weights is None
    assert recipe.model.config_overrides == {"num_hidden_layers": 2}
    assert load(VALID, "data.text=[title, body]").data.text == ["title", "body"]
    assert "expected each key once, found another override training.seed=1" in refuse(
        VALID, "training.seed=1", "training.seed=2"
    )


def test_an_override_mends_what_the_file_has_wrong(work: Path) -> None:
    assert load(VALID + "training: {seed: x}\n", "training.seed=3").training["seed"] == 3


def test_paths_start_at_the_recipe_and_in_overrides_at_the_working_folder(work: Path) -> None:
    for folder in ("recipes/mine", "mine", "recipes/weights"):
        Path(folder).mkdir(parents=True)
    text = "data: {source: mine}\nmodel: {backbone: ./weights}\ntraining: {output_dir: ../runs/there}\n"
    recipe = load(text)
    assert recipe.data.source == str(work / "recipes/mine")
    assert recipe.model.backbone == str(work / "recipes/weights")
    assert recipe.training["output_dir"] == str(work / "runs/there")
    recipe = load(text, "data.source=mine", "training.output_dir=here")
    assert recipe.data.source == str(work / "mine")
    assert recipe.training["output_dir"] == str(work / "here")


def test_the_saved_quickstart_still_finds_the_bundled_data(work: Path) -> None:
    assert load("data: {source: data/quickstart}\nmodel: {backbone: a/b}\n").data.source.endswith("data/quickstart")


@pytest.mark.parametrize(
    "source", ["./gone", "gone", "gone.csv", "owner/gone.csv", "there/gone", "/gone", "~/gone-too"]
)
def test_a_source_that_is_neither_path_nor_hub_id(work: Path, source: str) -> None:
    Path("there").mkdir()
    message = refuse(VALID, f"data.source={source}")
    tried = os.path.abspath(os.path.expanduser(source))
    assert f"expected a file, a folder or a Hub dataset OWNER/NAME, found none; tried {tried}" in message


def test_dump_reads_back_as_the_same_recipe(work: Path) -> None:
    Path("recipes/mine").mkdir(parents=True)
    text = (
        'data: {source: mine, labels: ["no", "0010", b], text_separator: " "}\n'
        "model: {backbone: owner/model, head_kwargs: {dropout: 0.2}}\n"
        "loss: {name: weighted_bce, pos_weight: {rule: neg_pos_ratio, cap: 1e1}}\n"
        "training: {learning_rate: 1e-5}\n"
    )
    recipe = load(text, "training.seed=7")
    dumped = recipe.dump()
    assert str(work) not in dumped
    assert "source: mine" in dumped
    assert '- "no"\n  - "0010"\n  - b\n' in dumped
    again = load(dumped)
    assert again.resolved() == recipe.resolved()
    assert again.sha256 == recipe.sha256
    assert again.data == recipe.data


def test_hash_is_of_what_the_run_does(work: Path) -> None:
    recipe = load(VALID + "training: {learning_rate: 1e-4}")
    assert load(VALID + "# comment\ntraining: {learning_rate: 0.0001}", "training.output_dir=o").sha256 == recipe.sha256
    assert load(VALID).sha256 != recipe.sha256


@pytest.mark.parametrize("name", ["quickstart", "quickstart.yaml", "recipes/quickstart.yaml", "recipes/quickstart"])
def test_shipped_recipes_are_found_by_name(work: Path, name: str) -> None:
    Path("quickstart").mkdir()
    assert load_recipe(name).name == "quickstart"


def test_missing_recipe_names_the_nearest(work: Path) -> None:
    with pytest.raises(
        InputError, match=r"error\[R001\].*expected a recipe, found no such file; fix: write quickstart"
    ):
        load_recipe("recipes/quikstart.yaml")
    with pytest.raises(InputError, match="give a path, or one of arxiv_topics, "):
        load_recipe("elsewhere/zzz")


def test_a_missing_recipe_names_the_nearest_file_beside_it(work: Path) -> None:
    (work / "own").mkdir()
    (work / "own" / "mine.yaml").touch()
    with pytest.raises(InputError, match=r"R001.*no such file; fix: write own/mine\.yaml$"):
        load_recipe("own/min.yaml")


def test_a_recipe_may_be_json(tmp_path: Path) -> None:
    (tmp_path / "mine.json").write_text('{"data": {"source": "x.csv"}}', encoding="utf-8")
    assert find_recipe(tmp_path / "mine.json") == tmp_path / "mine.json"


@pytest.mark.parametrize("name", ["comments.csv", "comments.tsv.gz", "new comments.parquet"])
def test_data_instead_of_a_recipe_are_shown_the_way(name: str, work: Path) -> None:
    (work / name).write_text("text,toxic\n'oh, no\",1\n")
    way = f"fix: write a recipe with: hf-multilabel inspect {shlex.quote(name)} --recipe mine.yaml"
    with pytest.raises(InputError, match=f"R001.*expected a recipe, found the name of a data file; {way}$"):
        load_recipe(name)


def test_a_mapping_on_the_command_line_is_searched_by_key() -> None:
    with pytest.raises(InputError, match=r"override data.augment=\{rate: 0.2\} data.augment.method: "):
        load_recipe("quickstart", ["data.augment={rate: 0.2}"])


def test_a_whole_section_on_the_command_line_is_shown_the_way() -> None:
    with pytest.raises(InputError, match=r"found the key 'loss'; fix: write for instance loss.KEY=VALUE"):
        load_recipe("quickstart", ["loss={name: bce}"])


@pytest.mark.parametrize(
    ("section", "said", "overrides", "match"),
    [
        ("decision", "risk: expected a, found 0.5. Lower it.", ["decision.risk={recall: 0.9}"],
         r"^error\[R900\] decision\.risk: expected a, found 0\.5; fix: lower it$"),
        ("decision", "risk.recall: expected a, found 0.5. Lower it.", ["decision.risk={recall: 0.9}"],
         r"^error\[R900\] decision\.risk\.recall: expected a"),
        ("decision", "risk: expected a, found b. Lower it.", [], r"x\.yaml decision\.risk: expected a, .*; fix: low"),
        ("decision", "probs: expected a, found b. Align them.", [], r"x\.yaml decision: probs: expected.*; fix: align"),
        ("training", "no such optimizer", [], r"x\.yaml training: no such optimizer; fix: change the recipe's value$"),
    ],
)  # fmt: skip
def test_what_lower_rooms_refuse_names_the_key_and_one_fix(
    section: str, said: str, overrides: list[str], match: str, work: Path
) -> None:
    with pytest.raises(InputError, match=match), blame(load(VALID, *overrides), section):
        raise ValueError(said)
