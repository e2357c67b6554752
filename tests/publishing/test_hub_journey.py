"""The whole way: train, push while training and at the end, load elsewhere by a tag, tune from the Hub, push back."""

from __future__ import annotations

import json
import logging
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer
from typer.testing import CliRunner

from hf_multilabel import tuning
from hf_multilabel.cli import app
from hf_multilabel.errors import EnvironmentFault, InputError
from hf_multilabel.inference import FinishedModel
from hf_multilabel.publishing.bundle import MANIFEST, verify_bundle
from hf_multilabel.publishing.origin import read_origin
from hf_multilabel.recipe import Recipe, load_recipe
from hf_multilabel.remote_code.modeling_multilabel import MultiLabelForSequenceClassification
from hf_multilabel.training.pushing import PushSaves
from hf_multilabel.tuning import tune, tune_hub_model
from hf_multilabel.workflow import train
from tests.loopback_hub import Blob, LoopbackHub, Repo
from tests.publishing.conftest import Pusher, Stranger
from tests.test_workflow import QUICK, quick_recipe

pytestmark = pytest.mark.hub

EVALUATED = ["training.eval_strategy=steps", "training.eval_steps=2"]
SAVES = ["training.save_strategy=steps", "training.save_steps=2"]
LIMITED = ["data.max_rows={train: 96, validation: 48, test: 48}"]
LOGGERS = ("huggingface_hub", "httpx2", "transformers", "hf_multilabel")
REWRITTEN = {"config.json", "metrics.json", "README.md", MANIFEST}


@dataclass
class Journey:
    """A run that was pushed, and what its model gave in memory for the texts it was proved on."""

    folder: Path
    home: Path
    said: str = ""
    proofs: list[tuple] = field(default_factory=list)


def evaluated_recipe(backbone: Path, folder: Path, *overrides: str) -> Recipe:
    """The quick recipe with evaluations and saves after steps 2 and 4."""
    quick = [override for override in QUICK if "eval_strategy" not in override]
    where = [f"model.backbone={backbone}", f"training.output_dir={folder}"]
    return load_recipe("quickstart", [*quick, *EVALUATED, *SAVES, *where, *overrides])


def push_in_turn(patch: pytest.MonkeyPatch) -> None:
    """Let each push of a save end before the training goes on, so that none is left out."""
    on_save = PushSaves.on_save

    def wait(self: PushSaves, *args: object, **kwargs: object) -> None:
        on_save(self, *args, **kwargs)
        self.thread and self.thread.join()

    patch.setattr(PushSaves, "on_save", wait)


def record_proofs(patch: pytest.MonkeyPatch, proofs: list[tuple]) -> None:
    """Keep what a model is proved on; the stranger below is the proof."""

    def keep(folder: Path, *evidence: object) -> dict:
        proofs.append(evidence)
        return {"rows": len(evidence[0])}

    patch.setattr("hf_multilabel.release.prove_bundle", keep)


@pytest.fixture(scope="module")
def journey(hub: LoopbackHub, tiny_backbone_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Journey:
    home = tmp_path_factory.mktemp("home")
    found = Journey(tmp_path_factory.mktemp("runs") / "journey", home)
    log = home / "log.txt"
    handler = logging.FileHandler(log)
    with pytest.MonkeyPatch.context() as patch:
        Pusher(hub, home, patch)
        push_in_turn(patch)
        record_proofs(patch, found.proofs)
        for name in LOGGERS:
            logging.getLogger(name).addHandler(handler)
            patch.setattr(logging.getLogger(name), "level", logging.DEBUG)
            logging.getLogger(name).manager._clear_cache()
        settings = ("hub.repo_id=user/journey", "hub.private=true", "hub.tag=v1.0", "hub.strategy=checkpoint")
        hub.fail("POST /api/models/user/journey/commit/main", 503)
        train(evaluated_recipe(tiny_backbone_folder, found.folder, *settings))
        for name in LOGGERS:
            logging.getLogger(name).removeHandler(handler)
    return found


def test_every_save_and_the_end_are_one_commit_each(journey: Journey, hub: LoopbackHub) -> None:
    repo = hub.repos["user/journey"]
    messages = [commit.message for commit in repo.branches["main"]]
    assert messages[:3] == ["initial commit", "Training in progress, step 2", "Training in progress, step 4"]
    assert len(messages) == 4
    assert messages[3].startswith("Upload multi-label model, test micro F1")
    assert repo.private
    assert repo.tags == {"v1.0": repo.at("main").oid}
    for step, commit in zip((2, 4), repo.branches["main"][1:3], strict=True):
        state = json.loads(commit.files["last-checkpoint/trainer_state.json"].data)
        assert state["global_step"] == step
        names = {name.removeprefix("last-checkpoint/") for name in commit.files if name.startswith("last-checkpoint/")}
        assert {"model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth"} <= names
        assert "training_args.bin" not in names
        assert f"step {step} of 4" in commit.files["README.md"].data.decode()
        assert "micro_f1" in json.loads(commit.files["metrics.json"].data)["validation"]["fixed"]
    assert not list(journey.folder.glob(".pushing-*"))


def test_a_stranger_gets_the_label_sets_of_the_training_by_the_tag(
    journey: Journey, hub: LoopbackHub, stranger: Stranger
) -> None:
    texts, _, predictions, max_length, _ = journey.proofs[0]
    names = json.loads((journey.folder / "config.json").read_text())["id2label"]
    found = stranger.ask("load", repo="user/journey", revision="v1.0", texts=texts, max_length=max_length)
    assert found["decided"] == predictions.tolist()
    assert found["shipped"] == "transformers_modules"
    expected = [{names[str(label)] for label in row.nonzero()[0]} for row in predictions]
    assert [set(labels) for labels in found["pipeline"]] == expected
    assert any(expected)
    # a save of the training loads the same way, and decides at 0.5
    commit = hub.repos["user/journey"].branches["main"][1].oid
    early = stranger.ask("load", repo="user/journey", revision=commit, texts=texts, max_length=max_length)
    assert early["thresholds"] == 0.5
    checkpoint = journey.folder / "checkpoint-2"
    model = MultiLabelForSequenceClassification.from_pretrained(checkpoint).eval()
    batch = AutoTokenizer.from_pretrained(checkpoint)(
        texts, truncation=True, max_length=max_length, padding=True, return_tensors="pt"
    )
    with torch.inference_mode():
        assert early["decided"] == model.decide(model(**batch).logits).tolist()


def test_the_token_is_nowhere(
    journey: Journey, hub: LoopbackHub, pusher: Pusher, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    hub.fail("POST /api/models/user/canary/commit/main", 403)
    refused = pusher.push(journey.folder, "user/canary")
    hub.fail("POST /api/models/user/canary/commit/main", 503, times=4)
    failed = pusher.push(journey.folder, "user/canary")
    assert (refused["exit_code"], failed["exit_code"]) == (2, 3)
    with pytest.raises(InputError) as error:
        quick_recipe(tmp_path, tmp_path / "x", f"training.hub_token={hub.token}")
    said = capfd.readouterr()
    texts = [str(error.value), refused["message"], failed["message"], said.out, said.err]
    assert "hf_loopbackcanary" not in "".join(texts)
    token = b"loopbackcanary"
    files = [path for folder in (journey.folder, journey.home) for path in folder.rglob("*") if path.is_file()]
    assert len(files) > 40
    assert (journey.home / "log.txt").stat().st_size > 0
    assert [path for path in files if token in path.read_bytes()] == []
    assert len(hub.traffic) > 30
    assert not any(token in request for request in hub.traffic)
    for repo in hub.repos.values():
        for commits in repo.branches.values():
            assert not any(token in blob.data for commit in commits for blob in commit.files.values())


def test_a_training_with_adapters_pushes_plain_models_and_survives_a_hub_that_fails(
    hub: LoopbackHub,
    pusher: Pusher,
    stranger: Stranger,
    tiny_backbone_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    push_in_turn(monkeypatch)
    proofs: list[tuple] = []
    record_proofs(monkeypatch, proofs)
    settings = ("hub.repo_id=user/adapted", "hub.strategy=every_save", "peft.method=lora", "training.save_steps=1")
    settings += ("training.head_init=random",)
    hub.fail("POST /api/models/user/adapted/commit/main", 503, times=8)  # two pushes fail, two go through
    train(quick_recipe(tiny_backbone_folder, tmp_path / "run", "training.save_strategy=steps", *settings))
    said = capsys.readouterr()
    assert (said.out + said.err).replace("\n", " ").count("training goes on") == 1
    messages = [commit.message for commit in hub.repos["user/adapted"].branches["main"]]
    assert messages[1:3] == ["Training in progress, step 3", "Training in progress, step 4"]
    texts, _, predictions, max_length, _ = proofs[0]
    early, final = hub.repos["user/adapted"].branches["main"][1], hub.repos["user/adapted"].at("main")
    assert {"adapter/adapter_config.json", "adapter/adapter_model.safetensors"} <= set(early.files) & set(final.files)
    assert str(tmp_path) not in early.files["adapter/adapter_config.json"].data.decode()
    loaded = stranger.ask("load", repo="user/adapted", revision=final.oid, texts=texts, max_length=max_length)
    assert loaded["decided"] == predictions.tolist()
    short = [text[:80] for text in texts[:4]]
    for commit in (early, final):
        found = stranger.ask(
            "adapter",
            repo="user/adapted",
            revision=commit.oid,
            backbone=str(tiny_backbone_folder),
            texts=short,
        )
        torch.testing.assert_close(torch.tensor(found["logits"]), torch.tensor(found["merged"]), atol=1e-4, rtol=0)


def test_a_save_is_left_out_while_a_push_is_on_its_way_and_training_is_the_same(
    hub: LoopbackHub, pusher: Pusher, journey: Journey, tiny_backbone_folder: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    record_proofs(monkeypatch, [])
    hub.delay_s = 1.0
    hub.fail("POST /api/repos/create", "slow")
    settings = ("hub.repo_id=user/busy-run", "hub.strategy=all_checkpoints", "hub.revision=dev")
    train(evaluated_recipe(tiny_backbone_folder, tmp_path / "run", *settings))
    branches = hub.repos["user/busy-run"].branches
    assert [commit.message for commit in branches["dev"]][1] == "Training in progress, step 2"
    assert len(branches["dev"]) == 3
    assert len(branches["main"]) == 1
    assert any(name.startswith("checkpoint-2/") for name in branches["dev"][-1].files)
    weights = [(folder / "model.safetensors").read_bytes() for folder in (tmp_path / "run", journey.folder)]
    assert weights[0] == weights[1]


def test_a_run_goes_on_elsewhere_from_its_last_checkpoint(
    hub: LoopbackHub, pusher: Pusher, journey: Journey, tiny_backbone_folder: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    record_proofs(monkeypatch, [])
    push_in_turn(monkeypatch)
    settings = ("hub.private=true", "hub.tag=v1.0", "hub.strategy=checkpoint")
    repo = hub.repos["user/journey"]
    # as if it had been interrupted after its first save
    monkeypatch.setitem(hub.repos, "user/journey", Repo(private=True, branches={"main": repo.branches["main"][:2]}))
    recipe = evaluated_recipe(tiny_backbone_folder, tmp_path / "run", "hub.repo_id=user/journey", *settings)
    train(recipe, resume=True)
    messages = [commit.message for commit in hub.repos["user/journey"].branches["main"]]
    assert messages[2] == "Training in progress, step 4"
    assert len(messages) == 4
    expected, found = (load_file(folder / "model.safetensors") for folder in (journey.folder, tmp_path / "run"))
    torch.testing.assert_close(found, expected)
    other = evaluated_recipe(
        tiny_backbone_folder, tmp_path / "x", "hub.repo_id=user/journey", *settings, "training.seed=7"
    )
    with pytest.raises(InputError, match=r"P312 *.*found one of another recipe.yaml"):
        train(other, resume=True)
    assert not (tmp_path / "x").exists()


def tune_pushed(journey: Journey, pusher: Pusher, repo_id: str, folder: Path, **arguments: object) -> dict:
    pusher.push(journey.folder, repo_id)
    return tune_hub_model(repo_id, "recipes/data/quickstart", LIMITED, folder=folder, **arguments)


def test_a_model_of_the_hub_is_tuned_and_only_its_decision_goes_back(
    journey: Journey, hub: LoopbackHub, pusher: Pusher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record_proofs(monkeypatch, [])
    decision = tune_pushed(journey, pusher, "user/tuned", tmp_path / "tuned", objective="micro_f1", push=True)
    assert decision["objective"] == "micro_f1"
    before, after = hub.repos["user/tuned"].branches["main"][-2:]
    changed = {name for name in {*before.files, *after.files} if after.files.get(name) != before.files.get(name)}
    assert {name for name in changed if not name.startswith("figures/")} == REWRITTEN
    assert after.message.startswith("New decision, test micro F1")
    assert json.loads(after.files["config.json"].data)["decision"] == decision
    assert read_origin(tmp_path / "tuned").commit == after.oid
    verify_bundle(tmp_path / "tuned")
    # tuned once more, while somebody polishes the card on the Hub: that commit has not been seen here
    repo = hub.repos["user/tuned"]
    card = after.files["README.md"].data.decode().replace("## Limits\n", "## Limits\n\nWritten on the Hub.\n")
    repo.commit("polish", {**after.files, "README.md": Blob(card.encode())})
    tune(str(tmp_path / "tuned"), "recipes/data/quickstart", LIMITED, objective="macro_f1")
    answer = pusher.push(tmp_path / "tuned", "user/tuned", only="decision")
    assert (answer["exit_code"], "P304" in answer["message"]) == (3, True)
    answer = pusher.push(tmp_path / "tuned", "user/tuned", only="decision", revision=after.oid)
    assert (answer["exit_code"], "P313" in answer["message"]) == (2, True)
    assert repo.at("main").message == "polish"
    # the run's own folder may: what was written into the card stays
    tuned = Path(shutil.copytree(journey.folder, tmp_path / "own"))
    tune(str(tuned), "recipes/data/quickstart", LIMITED, objective="macro_f1")
    assert "url" in pusher.push(tuned, "user/tuned", only="decision", tag="v2")
    latest = repo.at("v2")
    assert "Written on the Hub." in latest.files["README.md"].data.decode()
    assert json.loads(latest.files["config.json"].data)["decision"]["objective"] == "macro_f1"


def test_a_decision_never_goes_onto_another_model(
    journey: Journey, hub: LoopbackHub, pusher: Pusher, finished: Path
) -> None:
    answer = pusher.push(journey.folder, "user/nothing-there", only="decision")
    assert (answer["exit_code"], "P308" in answer["message"]) == (2, True)
    assert "user/nothing-there" not in hub.repos
    pusher.push(finished, "user/another")
    before = hub.repos["user/another"].at("main")
    answer = pusher.push(journey.folder, "user/another", only="decision")
    assert (answer["exit_code"], "found another model.safetensors" in answer["message"]) == (2, True)
    pusher.push(journey.folder, "user/another")
    repo = hub.repos["user/another"]
    config = json.loads(repo.at("main").files["config.json"].data) | {"pooling": "max"}
    repo.commit("by hand", {**repo.at("main").files, "config.json": Blob(json.dumps(config).encode())})
    answer = pusher.push(journey.folder, "user/another", only="decision")
    assert "found another pooling in config.json" in answer["message"]
    assert before in repo.branches["main"]
    assert repo.at("main").message == "by hand"


def test_code_of_strangers_is_not_run_and_refused_downloads_go(
    journey: Journey, hub: LoopbackHub, pusher: Pusher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tuning, "foreign_code", lambda folder: ["modeling_multilabel.py"])
    with pytest.raises(InputError, match=r"C117.* found another modeling_multilabel.py; fix: read it at"):
        tune_pushed(journey, pusher, "user/foreign", tmp_path / "foreign")
    assert list(tmp_path.glob("*foreign*")) == []
    with pytest.raises(InputError, match=r"P310\] user/not-there: expected a folder here or a model on the Hub"):
        tune_hub_model("user/not-there", folder=tmp_path / "not-there")
    hub.fail("(GET|HEAD) /user/foreign/resolve/.*/model.safetensors", 503, times=99)
    with pytest.raises(EnvironmentFault, match="P303"):
        tune_hub_model("user/foreign", folder=tmp_path / "foreign")
    assert list(tmp_path.glob("*foreign*")) == []


def test_commands_push_with_tag_branch_and_pull_request(
    journey: Journey, hub: LoopbackHub, pusher: Pusher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record_proofs(monkeypatch, [])
    run = CliRunner()
    folder, repo_id = str(journey.folder), "user/commanded"
    done = run.invoke(app, ["push", folder, repo_id, "--private", "--tag", "v1", "--message", "first"])
    repo = hub.repos[repo_id]
    assert done.output.strip().endswith(f"/commit/{repo.at('v1').oid}")
    assert (repo.private, repo.at("v1").message) == (True, "first")
    assert run.invoke(app, ["push", folder, repo_id, "--revision", "dev"]).exit_code == 0
    assert repo.at("dev").files == repo.at("main").files
    wrong = run.invoke(app, ["push", folder, repo_id, "--only", "weights"])
    assert wrong.exit_code == 2
    tuned = str(tmp_path / "tuned")
    done = run.invoke(
        app,
        [
            "tune",
            repo_id,
            "recipes/data/quickstart",
            *LIMITED,
            "--output",
            tuned,
            "--revision",
            "v1",
            "--objective",
            "micro_f1",
        ],
    )
    assert done.exit_code == 0, done.output
    assert run.invoke(app, ["push", tuned, repo_id, "--only", "decision", "--create-pr"]).exit_code == 0
    changed = {name for name, blob in repo.at("refs/pr/1").files.items() if repo.at("main").files.get(name) != blob}
    assert {name for name in changed if not name.startswith("figures/")} == REWRITTEN
    assert run.invoke(app, ["tune", folder, "--push"]).exit_code == 2


def test_a_silent_hub_is_noticed_in_seconds_and_the_cache_still_serves(
    journey: Journey, hub: LoopbackHub, pusher: Pusher, monkeypatch: pytest.MonkeyPatch
) -> None:
    pusher.push(journey.folder, "user/silent")
    texts = [{"id": "0", "text": "We study graph neural networks."}]
    expected = list(FinishedModel.load("user/silent").predict(texts))
    hub.fail(".* /user/", "reset", times=999)
    asked = len(hub.requests)
    assert list(FinishedModel.load("user/silent").predict(texts)) == expected
    with pytest.raises(EnvironmentFault, match=r"C103\] user/never: expected a folder of this name or an answer"):
        FinishedModel.load("user/never")
    assert len(hub.requests) - asked <= 4
    assert sum(pusher.waits) <= 2
