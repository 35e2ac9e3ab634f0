"""Several processes score, sample and evaluate as one does, each with its part of the images."""

import signal
from typing import Any

import pytest
from pairs import found_by


@pytest.fixture(scope="module")
def pair(tmp_path_factory) -> dict[str, Any]:
    """What two processes found, see score_pair.py; they are started once for all tests."""
    return found_by("score_pair.py", tmp_path_factory.mktemp("pair"))


VALUES = {
    "cdcgan": "fid", "pixelcnn": "nll", "vae_conv": "iwae", "hvae": "rfid", "vqvae": "code_nats",
    "stylegan2": "path_length_w", "lapgan": "refined_fid", "cyclegan": "a2b/cycle_l1", "pix2pix": "a2b/identity_l1",
    "stargan": "domain_right",
}  # fmt: skip


@pytest.mark.parametrize("model", VALUES)
def test_two_processes_score_as_one(model, pair):
    """The same random numbers, batch for batch, so that values agree to the last digits."""
    found = pair["scored"][model]
    assert VALUES[model] in found["one"] and found["both"].keys() == found["one"].keys()
    assert found["both"] == pytest.approx(found["one"], rel=1e-6)


@pytest.mark.parametrize("model", [each for each in VALUES if each != "stylegan2"])  # whose paths draw by themselves
def test_both_compute_a_part(model, pair):
    first, second = pair["scored"][model]["computed"]
    assert 0 < second <= first <= 3 * second


@pytest.mark.parametrize("model", ["cdcgan", "pixelcnn", "vae_conv", "hvae"])
def test_two_processes_draw_as_one(model, pair):
    """To the last bit, the grid included."""
    found = pair["scored"][model]
    assert found["files"] == 22 and found["different"] == 0


def test_an_evaluation_during_training_is_shared_and_the_one_of_gancli_eval(pair):
    found = pair["trained"]
    assert {"fid", "nll_bound", "elbo"} < found["one"].keys()
    assert found["both"] == pytest.approx(found["one"], rel=1e-6)
    first, second = found["computed"]
    assert 0 < second <= first <= 3 * second


@pytest.mark.parametrize("told", ["0", "1"])
def test_a_signal_to_one_stops_both_within_an_evaluation_that_is_owed(told, pair):
    """The evaluation is done by the resumed run, whose last scores are there in the end."""
    found = pair["stopped"][told]
    assert found["ends"] == [f"{int(signal.SIGUSR1)} at 8 images"] * 2
    assert found["owed"] == ["eval"] and {"eval/fid", "eval/elbo"} < {*found["again"]}
