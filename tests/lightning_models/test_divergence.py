"""A loss that is no longer a number: training stops there, and the best epoch stays."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
import torch

from lightning_models.checkpoints import read_checkpoint
from lightning_models.divergence import FiniteLoss, read_divergences
from lightning_models.errors import TrainingError

_spec = importlib.util.spec_from_file_location(
    "training_setup", Path(__file__).with_name("training_setup.py")
)
setup = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(setup)

# Each step multiplies the weights by 1 - 0.5 * 8: they pass the largest float in mid-epoch.
DIVERGING = {"learning_rate": 0.5, "weight_decay": 8.0, "epochs": 40}


@pytest.fixture(scope="module", params=[pytest.param("window", marks=pytest.mark.soak), "sequence"])
def data(request):
    return setup.make_data(request.param)


@pytest.fixture(scope="module")
def lost(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("lost")
    told = []
    with pytest.raises(TrainingError) as caught:
        setup.run(
            folder,
            data,
            **DIVERGING,
            checkpoint_seconds=setup.EACH_BATCH,
            resume_hint="Repeat it with --resume 7.",
            on_epoch=lambda epoch, row: told.append(row["val/loss"]),
        )
    return folder, str(caught.value), told


def has_finite_weights(path):
    return all(
        torch.isfinite(value).all()
        for value in read_checkpoint(path)["state_dict"].values()
        if value.is_floating_point()
    )


def test_it_says_where_it_was_lost_what_is_kept_and_what_to_try(lost, data):
    folder, message, losses = lost
    epoch, best = len(losses) + 1, losses.index(min(losses)) + 1
    assert epoch > best
    assert f"no longer a number in epoch {epoch}, batch " in message
    assert f" of {len(data.train_dataloader())}; " in message
    assert f"epoch {best}, the best so far (validation loss {min(losses):.4f}), is kept" in message
    assert str(folder / "best.ckpt") in message
    for hint in ("training.learning_rate=0.05", "gradient_clip below 1", "broken prices"):
        assert hint in message
    assert message.endswith("Repeat it with --resume 7.")


def test_the_best_epoch_is_what_is_left_to_go_on_from(lost):
    folder, _, losses = lost
    names = ["best.ckpt", "diverged.json", "last.ckpt"]
    assert sorted(path.name for path in folder.iterdir()) == names
    best = losses.index(min(losses))
    for name in ("best.ckpt", "last.ckpt"):
        assert read_checkpoint(folder / name)["epoch"] == best
        assert has_finite_weights(folder / name)
    (record,) = read_divergences(folder)
    assert (record.learning_rate, record.gradient_clip) == (0.5, 1.0)


@pytest.mark.soak
def test_without_the_watch_what_is_written_is_no_number(data, tmp_path, monkeypatch):
    monkeypatch.setattr(FiniteLoss, "on_train_batch_end", lambda *arguments: None)
    with pytest.raises(TrainingError, match="in its validation"):
        setup.run(tmp_path / "half", data, **DIVERGING)
    assert has_finite_weights(tmp_path / "half" / "last.ckpt")
    monkeypatch.setattr(FiniteLoss, "on_validation_epoch_end", lambda *arguments: None)
    setup.run(tmp_path / "none", data, **DIVERGING)
    assert not has_finite_weights(tmp_path / "none" / "last.ckpt")


def test_with_a_lower_rate_it_goes_on_from_the_best_epoch(data, tmp_path):
    with pytest.raises(TrainingError, match="no longer a number"):
        setup.run(tmp_path, data, **DIVERGING)
    kept = read_checkpoint(tmp_path / "last.ckpt")["epoch"] + 1
    result = setup.run(
        tmp_path, data, resume=True, learning_rate=0.01, weight_decay=8.0, epochs=kept + 2
    )
    assert len(result.history) == kept + 2
    (group,) = read_checkpoint(tmp_path / "last.ckpt")["optimizer_states"][0]["param_groups"]
    assert group["lr"] == 0.01


def test_with_the_same_rate_it_would_be_lost_again(data, tmp_path):
    for resume in (False, True):
        with pytest.raises(TrainingError, match="no longer a number"):
            setup.run(tmp_path, data, **DIVERGING, resume=resume)


def broken_network():
    network = setup.make_network()
    with torch.no_grad():
        network.change.projection.weight.fill_(float("nan"))
    return network


def test_lost_in_the_first_epoch_there_is_nothing_to_keep(data, tmp_path):
    with pytest.raises(TrainingError, match=r"epoch 1, batch 1 of .*no epoch was finished before"):
        setup.run(tmp_path, data, network=broken_network, checkpoint_seconds=setup.EACH_BATCH)
    assert [path.name for path in tmp_path.iterdir()] == ["diverged.json"]


def test_without_a_validation_slice_the_last_epoch_before_is_kept(tmp_path):
    data = setup.make_data(train=0.9, validation=0.0, calibration=0.1, test=0.0)
    with pytest.raises(TrainingError, match=r"the last before it, is kept in .*last\.ckpt"):
        setup.run(tmp_path, data, **DIVERGING)
    assert has_finite_weights(tmp_path / "last.ckpt")


def test_a_new_fit_forgets_that_an_earlier_one_was_lost(data, tmp_path):
    (tmp_path / "diverged.json").write_text(
        json.dumps({"place": "epoch 1", "learning_rate": 1, "gradient_clip": 1})
    )
    assert len(read_divergences(tmp_path.parent)) >= 1
    setup.run(tmp_path, data, epochs=1)
    assert read_divergences(tmp_path) == []


def test_a_damaged_record_is_told(tmp_path):
    (tmp_path / "diverged.json").write_text("{")
    with pytest.raises(TrainingError, match=r"diverged\.json cannot be read"):
        read_divergences(tmp_path)
