"""Training: the same from the same seed, and the same again after whatever stopped it."""

from __future__ import annotations

import importlib.util
import os
import resource
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from pydantic import ValidationError

from lightning_models.checkpoints import newest_checkpoint
from lightning_models.errors import StorageError, TrainingError, TrainingInterrupted
from lightning_models.training import TrainingConfig

SETUP = Path(__file__).with_name("training_setup.py")
_spec = importlib.util.spec_from_file_location("training_setup", SETUP)
setup = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(setup)


@pytest.fixture(scope="module")
def data():
    return setup.make_data()


@pytest.fixture(scope="module")
def uninterrupted(data, tmp_path_factory):
    return setup.run(tmp_path_factory.mktemp("whole"), data)


@pytest.fixture(scope="module", params=[pytest.param("window", marks=pytest.mark.soak), "sequence"])
def both(request, data, uninterrupted, tmp_path_factory):
    """A mode with its slices and the fit of one that was never stopped."""
    if request.param == "window":
        return request.param, data, uninterrupted
    chunks = setup.make_data("sequence")
    return request.param, chunks, setup.run(tmp_path_factory.mktemp("chunks"), chunks)


def same(first, second):
    pairs = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    return all(torch.equal(left, right) for left, right in pairs)


def assert_same_fit(first, second):
    assert first.history == second.history
    assert first.best_epoch == second.best_epoch
    assert same(first.network, second.network)


def test_a_seed_gives_the_same_weights(data, uninterrupted, tmp_path):
    assert_same_fit(setup.run(tmp_path / "again", data), uninterrupted)


def test_another_seed_gives_others(data, uninterrupted, tmp_path):
    assert not same(setup.run(tmp_path, data, seed=1).network, uninterrupted.network)


@pytest.mark.parametrize("epochs", [1, 3])
def test_a_resumed_run_equals_one_that_never_stopped(data, uninterrupted, tmp_path, epochs):
    setup.run(tmp_path, data, epochs=epochs)
    torch.manual_seed(99)
    resumed = setup.run(tmp_path, data, resume=True)
    assert_same_fit(resumed, uninterrupted)


def test_without_its_random_state_a_resumed_run_differs(data, uninterrupted, tmp_path):
    setup.run(tmp_path, data, epochs=2)
    last = tmp_path / "last.ckpt"
    checkpoint = torch.load(last, weights_only=True)
    torch.manual_seed(99)
    checkpoint["random_state"] = torch.get_rng_state()
    torch.save(checkpoint, last)
    assert not same(setup.run(tmp_path, data, resume=True).network, uninterrupted.network)


def kill_in_mid_epoch(folder, batch, mode, seconds):
    killed = subprocess.run(
        [sys.executable, SETUP, folder, str(batch), str(int(signal.SIGKILL)), mode, str(seconds)],
        cwd=Path(__file__).parents[2],
        timeout=300,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    return torch.load(folder / "last.ckpt", weights_only=True)


def test_after_kill_9_in_mid_epoch_a_resumed_run_equals_one_that_never_stopped(both, tmp_path):
    mode, data, uninterrupted = both
    batches = len(data.train_dataloader())
    last = kill_in_mid_epoch(tmp_path, 2 * batches + 5, mode, setup.EACH_BATCH)
    part = torch.load(tmp_path / "part.ckpt", weights_only=True)
    assert (last["epoch"], last["global_step"]) == (1, 2 * batches)
    assert part["global_step"] == 2 * batches + 4
    assert_same_fit(setup.run(tmp_path, data, resume=True), uninterrupted)
    assert not (tmp_path / "part.ckpt").exists()


@pytest.mark.soak
def test_without_checkpoints_inside_an_epoch_it_goes_on_from_the_last_whole_one(
    data, uninterrupted, tmp_path
):
    batches = len(data.train_dataloader())
    kill_in_mid_epoch(tmp_path, 2 * batches + 5, "window", 0)
    assert not (tmp_path / "part.ckpt").exists()
    assert_same_fit(setup.run(tmp_path, data, resume=True), uninterrupted)


def stop(folder, data, batch, number=signal.SIGINT, **options):
    """Stop a fit by a signal in the given batch, counted over epochs, and return the message."""
    with pytest.raises(TrainingInterrupted) as caught:
        setup.run(folder, data, network=lambda: setup.killed_network(batch, number), **options)
    return str(caught.value)


def test_a_run_stopped_inside_epochs_again_and_again_equals_one_that_never_stopped(both, tmp_path):
    _, data, uninterrupted = both
    batches = len(data.train_dataloader())
    assert "after 0 epochs and 2 of" in stop(tmp_path, data, 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["part.ckpt"]
    # In the same epoch, in the next but one, in a last batch, and in the first of an epoch.
    for batch, told in (
        (1, "after 0 epochs and 3 of"),
        (2 * batches, f"after 2 epochs and 3 of {batches} batches of the next;"),
        (batches - 3, "after 3 epochs;"),
        (1, "after 3 epochs and 1 of"),
    ):
        torch.manual_seed(99)
        assert told in stop(tmp_path, data, batch, resume=True)
    assert_same_fit(setup.run(tmp_path, data, resume=True), uninterrupted)


@pytest.mark.parametrize("forgotten", ["position", "random state", "optimiser", "losses"])
def test_a_part_of_an_epoch_needs_all_it_holds(both, tmp_path, forgotten):
    _, data, uninterrupted = both
    stop(tmp_path, data, len(data.train_dataloader()) + 3)
    part = tmp_path / "part.ckpt"
    held = torch.load(part, weights_only=True)
    if forgotten == "position":
        (loader,) = held["loops"]["fit_loop"]["state_dict"]["combined_loader"]
        assert loader == {"epoch": 1, "batches": 3}
        loader["batches"] = 0
    elif forgotten == "random state":
        torch.manual_seed(99)
        held["random_state"] = torch.get_rng_state()
    elif forgotten == "optimiser":
        held["optimizer_states"][0]["state"] = {}
    else:
        held["train_sums"] = {}
    torch.save(held, part)
    resumed = setup.run(tmp_path, data, resume=True)
    assert resumed.history != uninterrupted.history
    assert same(resumed.network, uninterrupted.network) == (forgotten == "losses")


def test_a_part_that_was_not_cleared_away_does_not_undo_its_epoch(data, uninterrupted, tmp_path):
    batches = len(data.train_dataloader())
    stop(tmp_path, data, batches + 3)
    part = (tmp_path / "part.ckpt").read_bytes()
    stop(tmp_path, data, 2 * batches - 3, resume=True)
    (tmp_path / "part.ckpt").write_bytes(part)
    assert newest_checkpoint(tmp_path) == tmp_path / "last.ckpt"
    assert_same_fit(setup.run(tmp_path, data, resume=True), uninterrupted)


def test_a_new_fit_does_not_take_up_the_checkpoints_of_an_earlier_one(
    data, uninterrupted, tmp_path
):
    stop(tmp_path, data, len(data.train_dataloader()) + 3, learning_rate=0.5)
    assert_same_fit(setup.run(tmp_path, data), uninterrupted)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best.ckpt", "last.ckpt"]


def test_a_second_ctrl_c_stops_at_once(data, uninterrupted, tmp_path):
    def press_twice():
        network = setup.killed_network(2, signal.SIGINT)
        hook = network.change.register_forward_hook
        hook(lambda *_: os.kill(os.getpid(), signal.SIGINT) if pressed() else None)
        return network

    def pressed():
        handler = getattr(signal.getsignal(signal.SIGINT), "__self__", None)
        return handler is not None and handler.asked

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(TrainingInterrupted, match="before its first checkpoint; nothing was kept"):
        setup.run(tmp_path, data, network=press_twice)
    assert signal.getsignal(signal.SIGINT) is before


def test_the_last_checkpoint_knows_the_best_one(data, tmp_path):
    result = setup.run(tmp_path, data, epochs=3)
    checkpoint = torch.load(tmp_path / "last.ckpt", weights_only=True)
    (score,) = [
        float(state["best_model_score"])
        for key, state in checkpoint["callbacks"].items()
        if "'monitor': 'val/loss'" in key
    ]
    assert score == pytest.approx(min(row["val/loss"] for row in result.history))


def test_the_best_epochs_weights_are_kept_when_later_ones_are_worse(data, tmp_path):
    result = setup.run(tmp_path / "long", data, epochs=12, learning_rate=0.2)
    assert result.best_epoch < 12
    shorter = setup.run(tmp_path / "short", data, epochs=result.best_epoch, learning_rate=0.2)
    assert same(result.network, shorter.network)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_keeps_its_checkpoints_and_says_how_to_go_on(
    data, uninterrupted, tmp_path, number
):
    handlers = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
    batch = 2 * len(data.train_dataloader()) + 5
    told = stop(tmp_path, data, batch, number, resume_hint="To go on: again.")
    assert "stopped after 2 epochs and 5 of 7 batches of the next" in told
    assert told.endswith(f"checkpoints are in {tmp_path}. To go on: again.")
    assert {each: signal.getsignal(each) for each in handlers} == handlers
    assert_same_fit(setup.run(tmp_path, data, resume=True), uninterrupted)


def test_a_run_that_kept_nothing_cannot_be_resumed(data, tmp_path):
    with pytest.raises(TrainingError, match=r"nothing to resume: .*last\.ckpt does not exist"):
        setup.run(tmp_path, data, resume=True)


def test_training_stops_when_validation_no_longer_improves(data, tmp_path):
    result = setup.run(tmp_path, data, epochs=40, learning_rate=0.3, patience=2)
    losses = [row["val/loss"] for row in result.history]
    assert len(losses) < 40
    assert len(losses) == result.best_epoch + 2
    assert losses[result.best_epoch - 1] == min(losses)


def test_a_run_that_had_stopped_early_trains_no_further_when_resumed(data, tmp_path):
    options = {"epochs": 40, "learning_rate": 0.3}
    stopped = setup.run(tmp_path, data, patience=2, **options)
    assert_same_fit(setup.run(tmp_path, data, patience=2, resume=True, **options), stopped)


def test_a_resumed_run_takes_the_patience_it_is_given_now(data, tmp_path):
    options = {"epochs": 40, "learning_rate": 0.3}
    stopped = setup.run(tmp_path, data, patience=2, **options)
    longer = setup.run(tmp_path, data, patience=4, resume=True, **options)
    assert len(longer.history) >= len(stopped.history) + 2


def test_without_a_validation_slice_every_epoch_is_trained(tmp_path):
    data = setup.make_data(train=0.9, validation=0.0, calibration=0.1, test=0.0)
    result = setup.run(tmp_path, data, epochs=3, patience=1)
    assert result.best_epoch == len(result.history) == 3
    assert "val/loss" not in result.history[0]
    interrupted = setup.run(tmp_path / "resumed", data, epochs=1, patience=1)
    assert len(interrupted.history) == 1
    assert_same_fit(
        setup.run(tmp_path / "resumed", data, epochs=3, patience=1, resume=True), result
    )


def test_checkpoints_hold_tensors_and_plain_values_only(data, tmp_path):
    setup.run(tmp_path, data, epochs=1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best.ckpt", "last.ckpt"]
    for name in ("best.ckpt", "last.ckpt"):
        assert "state_dict" in torch.load(tmp_path / name, weights_only=True)


@pytest.mark.parametrize("damage", [b"", b"no checkpoint", None])
def test_a_damaged_checkpoint_is_named(data, tmp_path, damage):
    setup.run(tmp_path, data, epochs=1)
    last = tmp_path / "last.ckpt"
    whole = last.read_bytes()
    last.write_bytes(whole[: len(whole) // 2] if damage is None else damage)
    with pytest.raises(TrainingError, match=r"last\.ckpt cannot be read: .*without --resume"):
        setup.run(tmp_path, data, resume=True)


@contextmanager
def no_file_longer_than(size):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_is_told_and_leaves_the_checkpoint_before_it_whole(data, tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill_the_disk(epoch, metrics):
        if epoch == 3:
            resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limits[1]))

    try:
        with pytest.raises(StorageError, match=r"could not be written to .*make room or choose"):
            setup.run(tmp_path, data, on_epoch=fill_the_disk)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["epoch"] == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best.ckpt", "last.ckpt"]


def test_that_disk_is_full_indeed(tmp_path):
    with no_file_longer_than(2000), pytest.raises(OSError, match="too large"):
        (tmp_path / "file").write_bytes(bytes(3000))


def test_a_resumed_run_after_a_full_disk_equals_one_that_never_stopped(
    data, uninterrupted, tmp_path
):
    test_a_full_disk_is_told_and_leaves_the_checkpoint_before_it_whole(data, tmp_path)
    assert_same_fit(setup.run(tmp_path, data, resume=True), uninterrupted)


@pytest.mark.parametrize(
    "wrong",
    [
        {"epochs": 0},
        {"seed": -1},
        {"seed": 2**32},
        {"batch_size": 1},
        {"learning_rate": 1e38},
        {"lr": 0.1},
    ],
)
def test_a_training_that_cannot_be_meant_is_refused(wrong):
    with pytest.raises(ValidationError):
        TrainingConfig(**wrong)


def test_the_progress_bar_counts_epochs_from_one(data, tmp_path, capfd, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    setup.run(tmp_path, data, epochs=2, progress=True)
    told = capfd.readouterr().err
    assert "Epoch 1/2" in told
    assert "Epoch 2/2" in told
    assert "Epoch 0/" not in told


class _EndsAfter(pl.Callback):
    # What a caller may bring along: here it asks for an end.
    def __init__(self, epoch):
        self._epoch = epoch
        self.fits = 0
        self.seen = []

    def on_fit_start(self, trainer, pl_module):
        self.fits += 1

    def on_validation_end(self, trainer, pl_module):
        self.seen.append(float(trainer.callback_metrics["val/log_loss"]))
        trainer.should_stop = trainer.current_epoch + 1 == self._epoch


def test_a_callback_ends_the_fit_after_the_epoch_that_is_running(data, uninterrupted, tmp_path):
    ending = _EndsAfter(2)
    ended = setup.run(tmp_path / "ended", data, callbacks=[ending])
    assert len(ended.history) == 2
    assert ended.history == uninterrupted.history[:2]
    assert ending.seen == [row["val/log_loss"] for row in ended.history]
    # One that asks for nothing changes nothing.
    watching = _EndsAfter(99)
    assert_same_fit(setup.run(tmp_path / "whole", data, callbacks=[watching]), uninterrupted)
    assert len(watching.seen) == len(uninterrupted.history) == setup.EPOCHS
