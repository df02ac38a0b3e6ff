"""A bundle is whole, its own, and free of pickle, or it is not loaded at all."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import pickletools
import resource
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from lightning_models.bundle import (
    MANIFEST_FILE,
    WEIGHTS_FILE,
    Thresholds,
    bundle_sha256,
    load_network,
    read_bundle,
    write_bundle,
)
from lightning_models.candles import fingerprint_of
from lightning_models.data import SLICE_NAMES
from lightning_models.errors import BundleError, StorageError
from lightning_models.loading import load_predictor_from


@pytest.fixture
def folder(trained, tmp_path):
    """A copy of the trained model's bundle, to be damaged."""
    return Path(shutil.copytree(trained.model.path, tmp_path / "model"))


def edit(folder, **changes):
    manifest = json.loads((folder / MANIFEST_FILE).read_text())
    manifest.update(changes)
    (folder / MANIFEST_FILE).write_text(json.dumps(manifest))
    return manifest


def test_a_bundle_states_what_the_interface_names(trained):
    manifest = json.loads((trained.model.path / MANIFEST_FILE).read_text())
    assert set(manifest) == {
        *("schema", "weights_sha256", "network", "features", "mode", "lookback", "warmup"),
        *("burn_in", "burn_in_tolerance", "scaler", "calibration", "thresholds", "horizons"),
        *("symbols", "timeframe"),
        *("market", "slices", "unseen_from", "data_fingerprint", "evaluated_by", "metrics"),
        *("versions", "git_commit", "created_at", "expires_at", "golden"),
        *("bridged_share", "base_rate", "intervals"),
    }
    assert sorted(path.name for path in trained.model.path.iterdir()) == [
        MANIFEST_FILE,
        WEIGHTS_FILE,
    ]
    weights = (trained.model.path / WEIGHTS_FILE).read_bytes()
    assert manifest["weights_sha256"] == hashlib.sha256(weights).hexdigest()
    assert manifest["data_fingerprint"] == fingerprint_of(trained.candles)
    assert manifest["evaluated_by"] == trained.model.run_id
    assert manifest["symbols"] == ["SIM/USDT"]
    assert manifest["features"][0] == {"name": "close", "parameters": {}}
    assert set(manifest["slices"]) == set(SLICE_NAMES)
    for moment in (manifest["unseen_from"], manifest["created_at"]):
        assert moment.endswith("Z")
    assert manifest["unseen_from"] == manifest["slices"]["test"]["start"]


def test_a_bundle_written_and_read_forecasts_the_same_to_the_last_bit(trained, folder, tmp_path):
    bundle = read_bundle(folder)
    copy = write_bundle(tmp_path / "again", bundle, load_network(folder, bundle))
    assert read_bundle(copy) == bundle
    first, second = load_predictor_from(folder, "a"), load_predictor_from(copy, "b")
    candles = trained.candles[0]
    np.testing.assert_array_equal(
        first.predict_batch(candles).to_numpy(), second.predict_batch(candles).to_numpy()
    )
    assert bundle_sha256(copy) == bundle_sha256(folder)


def pickles_in(path):
    """Return why a file looks like a pickle, or nothing."""
    content = path.read_bytes()
    if path.suffix in (".pkl", ".pickle", ".pt", ".pth", ".ckpt", ".joblib", ".npy"):
        return f"named {path.name}"
    if content.startswith((b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")):
        return "starts like one"
    if b"PK\x03\x04" in content:
        return "holds a zip archive, as torch.save writes"
    for start in (content.find(b"\x80\x04\x95"), content.find(b"\x80\x05\x95")):
        if start >= 0:
            try:
                list(pickletools.genops(content[start:]))
            except ValueError:
                continue
            return "holds one"
    if b"python_model" in content:
        return "names a pickled model"
    return ""


def test_no_file_of_a_model_version_is_a_pickle(trained):
    root = trained.model.path
    while not (root / "MLmodel").is_file():
        root = root.parent
    files = [path for path in root.rglob("*") if path.is_file()]
    assert {"MLmodel", MANIFEST_FILE, WEIGHTS_FILE} <= {path.name for path in files}
    assert {path.name: pickles_in(path) for path in files if pickles_in(path)} == {}


@pytest.mark.parametrize("kind", ["plain", "hidden", "torch", "named"])
def test_a_pickle_would_be_noticed(tmp_path, kind):
    path = tmp_path / ("model.pkl" if kind == "named" else "model.bin")
    if kind == "torch":
        torch.save({"weight": torch.zeros(3)}, path)
    else:
        path.write_bytes((b"abc" if kind == "hidden" else b"") + pickle.dumps({"weight": [1, 2]}))
    assert pickles_in(path)


def flip_a_byte(path):
    content = bytearray(path.read_bytes())
    content[-10] ^= 0xFF
    path.write_bytes(content)


DAMAGES = {
    "weights changed": (lambda f: flip_a_byte(f / WEIGHTS_FILE), "does not match the hash"),
    "weights missing": (lambda f: (f / WEIGHTS_FILE).unlink(), "model.safetensors is missing"),
    "weights empty": (lambda f: (f / WEIGHTS_FILE).write_bytes(b""), "does not match the hash"),
    "manifest missing": (lambda f: (f / MANIFEST_FILE).unlink(), "bundle.json is missing"),
    "manifest cut short": (
        lambda f: (f / MANIFEST_FILE).write_bytes((f / MANIFEST_FILE).read_bytes()[:500]),
        "cannot be read",
    ),
    "manifest no text": (lambda f: (f / MANIFEST_FILE).write_bytes(b"\xff\xfe\x00"), "cannot be"),
    "a list": (lambda f: (f / MANIFEST_FILE).write_text("[1, 2]"), "no schema number"),
    "another project's": (lambda f: (f / MANIFEST_FILE).write_text('{"a": 1}'), "no schema"),
    "newer schema": (lambda f: edit(f, schema=2), "newer release; upgrade with pip"),
    "no such schema": (lambda f: edit(f, schema=0), "no release wrote"),
    "unknown key": (lambda f: edit(f, lokback=3), "lokback: Extra inputs"),
    "unknown network": (lambda f: edit(f, network={"kind": "os.system"}), "network"),
    "unknown feature": (lambda f: edit(f, features=["closse"] * 4), "did you mean 'close'"),
    "unknown timeframe": (lambda f: edit(f, timeframe="7h"), "unknown timeframe '7h'"),
    "another width": (
        lambda f: edit(f, network={"kind": "multi-layer", "hidden_size": 9, "layers": 1}),
        "do not fit its network 'multi-layer'",
    ),
    "a feature too few": (lambda f: edit(f, features=["close"]), "scaler has 4 entries where 1"),
    "no horizons": (lambda f: edit(f, horizons=[]), "horizons has 0 entries where 1"),
    "a calibration too many": (
        lambda f: edit(f, calibration=[{}, {}]),
        "calibration has 2 entries where 1",
    ),
    "another lookback": (lambda f: edit(f, lookback=9), "golden.time has 68 entries where 69"),
    "golden missing": (
        lambda f: edit(f, golden={"time": [], "ohlcv": [], "probability": [], "quantiles": []}),
        "no golden forecast",
    ),
    "another scaler": (
        lambda f: edit(f, scaler={"mean": [0.0] * 4, "deviation": [1.0] * 4}),
        "no longer gives the forecast",
    ),
    "another market": (lambda f: edit(f, market="moon"), "market"),
}


@pytest.mark.parametrize("damage", DAMAGES, ids=str)
def test_a_damaged_or_foreign_bundle_is_refused_with_a_next_step(folder, damage):
    inflict, message = DAMAGES[damage]
    inflict(folder)
    with pytest.raises(BundleError, match=message) as caught:
        load_predictor_from(folder, "it")
    assert any(
        step in str(caught.value) for step in ("Train the model again", "Name a folder", "upgrade")
    )


def edit_golden(folder, **changes):
    manifest = json.loads((folder / MANIFEST_FILE).read_text())
    edit(folder, golden=manifest["golden"] | changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"probability": [0.9]},
        {"quantiles": [[-0.5, 0.0, 0.5]]},
        {"probability": [float("nan")]},
        {"quantiles": [[float("nan")] * 3]},
    ],
    ids=["probability", "quantiles", "probability nan", "quantiles nan"],
)
def test_a_model_that_no_longer_gives_its_golden_forecast_is_refused(folder, changes):
    edit_golden(folder, **changes)
    with pytest.raises(BundleError, match=r"no longer gives the forecast .*made with .*torch"):
        load_predictor_from(folder, "it")


def test_golden_candles_that_cannot_be_are_refused(folder):
    manifest = json.loads((folder / MANIFEST_FILE).read_text())
    edit_golden(folder, time=manifest["golden"]["time"][::-1])
    with pytest.raises(BundleError, match="golden candles cannot be forecast from"):
        load_predictor_from(folder, "it")


def test_weights_under_other_names_are_refused(folder):
    state = safetensors.torch.load_file(folder / WEIGHTS_FILE)
    renamed = safetensors.torch.save({f"x.{name}": each for name, each in state.items()})
    (folder / WEIGHTS_FILE).write_bytes(renamed)
    edit(folder, weights_sha256=hashlib.sha256(renamed).hexdigest())
    with pytest.raises(BundleError, match="do not fit its network"):
        load_predictor_from(folder, "it")


def test_an_undamaged_bundle_loads(folder):
    assert load_predictor_from(folder, "it").required_bars == 68


@pytest.fixture
def writing(trained):
    bundle = read_bundle(trained.model.path)
    network = load_network(trained.model.path, bundle)
    return lambda target: write_bundle(target, bundle, network)


def assert_nothing_written(writing, target):
    with pytest.raises(StorageError, match=r"could not be written to .*Make room or choose"):
        writing(target)
    assert not target.exists()
    assert not [path for path in target.parent.glob("*") if "model" in path.name]


def test_a_file_cut_off_by_a_limit_leaves_nothing_half_written(writing, tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        assert_nothing_written(writing, tmp_path / "model")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.fixture
def tiny_disk(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = (
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", disk],
            capture_output=True,
            check=False,
        )
        if shutil.which("mount")
        else None
    )
    if mounted is None or mounted.returncode:
        pytest.skip("a small disk cannot be mounted without the right to")
    yield disk
    subprocess.run(["umount", disk], check=True)


def test_a_full_disk_leaves_nothing_half_written(writing, tiny_disk):
    assert_nothing_written(writing, tiny_disk / "model")


@pytest.fixture
def read_only(tmp_path, request):
    folder = tmp_path / "closed"
    folder.mkdir()
    folder.chmod(0o500)
    if os.access(folder, os.W_OK):  # the superuser writes there all the same
        folder = request.getfixturevalue("tiny_disk")
        subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
    return folder


def test_a_read_only_folder_leaves_nothing_half_written(writing, read_only):
    assert_nothing_written(writing, read_only / "model")


def test_a_model_that_is_there_is_not_written_over(writing, folder):
    before = bundle_sha256(folder)
    with pytest.raises(StorageError, match="could not be written"):
        writing(folder)
    assert bundle_sha256(folder) == before


def test_the_confidence_of_a_share_of_bars_is_read_off_the_calibration_slice():
    thresholds = Thresholds(confidence_quantiles=(tuple(0.5 + i / 1000 for i in range(101)),))
    assert thresholds.confidence_of_top(1.0) == 0.5
    assert thresholds.confidence_of_top(0.1) == pytest.approx(0.59)
    assert thresholds.confidence_of_top(0.005) == pytest.approx(0.5995)


def test_the_share_of_bars_that_a_move_leaves_is_read_off_the_calibration_slice():
    moves = tuple(i / 10_000 for i in range(101))
    thresholds = Thresholds(confidence_quantiles=(moves,), move_quantiles=(moves,))
    for share in (0.0, 0.005, 0.1, 0.37, 1.0):
        move = thresholds.move_of_top(share)
        assert thresholds.share_with_move(move) == pytest.approx(share)
    assert thresholds.share_with_move(0.0) == 1.0
    assert thresholds.share_with_move(0.02) == 0.0


def test_a_model_that_expects_no_move_leaves_no_bar_to_any_edge():
    still = Thresholds(confidence_quantiles=((0.5,) * 101,), move_quantiles=((0.0,) * 101,))
    assert still.share_with_move(0.0) == 1.0
    assert still.share_with_move(1e-9) == 0.0


def test_the_moves_of_a_bundle_are_those_of_its_calibration_slice(trained):
    bundle = read_bundle(trained.model.path)
    predictor = load_predictor_from(trained.model.path, "it")
    candles = trained.candles[0]
    closes = candles.time + candles.period_ms
    span = bundle.slices["calibration"]
    first, last = (round(time.timestamp() * 1000) for time in (span.start, span.end))
    rows = (closes >= first) & (closes <= last - bundle.horizons[0].candles * candles.period_ms)
    moves = np.abs(predictor.predict_batch(candles)["change_pct"].to_numpy()[rows]) / 100
    assert rows.sum() == span.samples
    for share in (0.1, 0.5, 0.9):
        expected = np.quantile(moves, 1 - share)
        assert bundle.thresholds.move_of_top(share) == pytest.approx(expected, rel=1e-4)
        reached = float(np.mean(moves >= expected))
        assert bundle.thresholds.share_with_move(expected) == pytest.approx(reached, abs=0.02)


def test_a_bundle_of_before_bounds_and_moves_still_forecasts(folder):
    manifest = json.loads((folder / MANIFEST_FILE).read_text())
    newer = load_predictor_from(folder, "it")
    del manifest["intervals"], manifest["thresholds"]["move_quantiles"]
    (folder / MANIFEST_FILE).write_text(json.dumps(manifest))
    older = load_predictor_from(folder, "it")
    assert older.bundle.thresholds.share_with_move(0.01) is None
    assert older.bundle.thresholds.move_of_top(0.1) is None
    golden = newer.bundle.golden
    probability, quantiles = older.forecast_latest(
        np.array(golden.time), np.array(golden.ohlcv, dtype=np.float64)
    )
    assert probability.tolist() == pytest.approx(list(golden.probability), abs=1e-6)
    assert quantiles.shape == (1, 3)


@pytest.mark.parametrize("levels", [1, 3])
def test_bounds_of_other_levels_or_horizons_are_refused(folder, levels):
    manifest = json.loads((folder / MANIFEST_FILE).read_text())
    offsets = [[0.1 * (1 + level) for level in range(levels)]]
    edit(folder, intervals=manifest["intervals"] | {"offsets": offsets})
    with pytest.raises(BundleError, match="do not rise with the levels"):
        load_predictor_from(folder, "it")
