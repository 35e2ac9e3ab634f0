"""The numbers of the lectures against closed forms and published ones."""

import json
import math

import numpy as np
import pytest
import torch
from helpers import lecture

from gancli.lectures import dirac_gan, fgan_bounds, optimal_discriminator, parallel_lines, progressive
from gancli.lectures.base import NUMBERS
from gancli.lectures.players import Line, critic_alone, jsd, log_normal
from gancli.losses.adversarial import Minimax, NonSaturating, Wasserstein
from gancli.verbs.train import train
from gancli.views import figures


@pytest.fixture(autouse=True)
def unsaved(monkeypatch) -> None:
    """Figures are not rendered, and the Dirac-GAN's fields not drawn: test_lectures.py looks at the files."""
    monkeypatch.setattr(dirac_gan, "_draw", lambda *args: None)
    monkeypatch.setattr(figures, "save", lambda figure, path: None)
    monkeypatch.setattr(figures, "pixels", lambda figure: np.zeros((1, 1, 3), np.uint8))


def numbers(folder, name: str, *more: str):
    train(lecture(name, *more), folder)
    return json.loads((folder / NUMBERS).read_text())


# N(0, 1) and N(d, 1): d, V*, JSD, |gradient| saturating and not, W1, Bayes accuracy
TABLE = """\
0   -1.38629 0.00000 0.0000  0.0000 0.0000 .5000
.5  -1.32567 .030311 .2353   .2647  .5000  .5987
1   -1.16345 .111421 .3980   .6020  1.0000 .6915
2   -.71263  .336831 .4496   1.5504 2.0000 .8413
3   -.33274  .526777 .2959   2.7041 3.0000 .9332
4   -.12085  .632720 .1372   3.8628 4.0000 .9772
6   -.00770  .689298 .01245  5.9875 6.0000 .9987
8   -.00019  .693054 .000393 7.9996 8.0000 1.0000"""


@pytest.mark.parametrize("row", TABLE.splitlines(), ids=lambda row: f"d={row.split()[0]}")
def test_the_optimal_discriminator_has_the_values_of_the_table(row):
    d, *digits = row.split()
    found = optimal_discriminator.closed_form(float(d))
    keys = ("V", "JSD", "gradient_saturating", "gradient_nonsaturating", "W1", "bayes_accuracy")
    for key, text in zip(keys, digits):
        places = len(text.partition(".")[2])
        assert abs(found[key] - float(text)) <= 0.5 * 10**-places + 1e-9, key
    assert found["V"] == pytest.approx(found["minus_log4_plus_2JSD"], abs=1e-12)


@pytest.mark.parametrize("d", [0.0, 0.3, 1.0, 2.5, 7.0])
def test_the_two_gradients_of_the_generator_add_up_to_the_distance(d):
    both = [abs(optimal_discriminator.gradient(loss, d)) for loss in (Minimax(), NonSaturating())]
    assert sum(both) == pytest.approx(d, abs=1e-8)  # torch cuts softplus off at 20


def test_a_learned_discriminator_finds_the_value_from_below(tmp_path):
    found = numbers(tmp_path, "optimal_discriminator", "lecture.distances=[1]", "lecture.shown=1", "images=200k")
    row = found["by_d"]["1"]
    assert row["V"] - 0.005 < row["V_learned"] < row["V"] + 1e-9


def test_parallel_lines_have_the_distances_of_the_paper(tmp_path):
    found = numbers(tmp_path, "parallel_lines", "lecture.learned=0", "lecture.points=21")
    for i, theta in enumerate(found["theta"]):
        apart = theta != 0
        assert found["KL"][i] == ("inf" if apart else 0.0) and found["TV"][i] == float(apart)
        assert found["JS"][i] == (math.log(2) if apart else 0.0) and found["W"][i] == abs(theta)
    table = {"0.05": (0.3368, 0.6931, 0.6931), "0.2": (0.0303, 0.4417, 0.6759), "0.5": (0.0050, 0.1114, 0.3368), "1": (0.0012, 0.0303, 0.1114)}  # fmt: skip  # noqa: E501
    at = [min(range(21), key=lambda i: abs(found["theta"][i] - theta)) for theta in (0.1, 0.5, 1.0)]
    for sigma, row in table.items():
        assert [round(found["JS_with_noise"][sigma][i], 4) for i in at] == list(row)


def test_players_learn_the_distances_of_parallel_lines(tmp_path):
    found = numbers(tmp_path, "parallel_lines", "lecture.learned=2", "lecture.points=3", "images=40k")["learned"]
    assert found["theta"] == [-1, 1]
    assert found["discriminator"] == pytest.approx([math.log(2)] * 2, abs=0.01)
    # lambda = 10: K W - lambda (K - 1)^2 is largest at K = 1 + W / 20, and the critic says K W.
    assert found["critic"] == pytest.approx([1.05, 1.05], abs=0.03)


def test_quadratures_of_parallel_lines_by_samples():
    """Jensen-Shannon as what it means: how many nats one draw tells about which of the two it came from."""
    sigma, theta = 0.3, 0.5
    x = sigma * torch.randn(400_000, 2, generator=torch.Generator().manual_seed(0)).double()
    x[:, 1] += theta
    ratio = log_normal(x, 0, sigma) - log_normal(x, theta, sigma)  # log p/q
    nats = math.log(2) - (torch.nn.functional.softplus(-ratio[:, 0]) + torch.nn.functional.softplus(ratio[:, 1])) / 2
    assert parallel_lines.noisy_jsd(theta, sigma) == pytest.approx(nats.mean().item(), abs=2e-3)


def test_divergences_of_fgan_are_those_of_the_table():
    found = fgan_bounds.true_divergences(1.0)
    known = {"kl": 0.5, "reverse_kl": 0.5, "pearson": 1.718282, "squared_hellinger": 0.235006}
    known |= {"jensen_shannon": 0.222843, "gan": -1.163451}
    assert found == pytest.approx(known, abs=1e-6)


def test_a_trained_t_comes_within_two_percent_of_every_divergence_and_never_above(tmp_path):
    found = numbers(tmp_path, "fgan_bounds", "lecture.distance=0.5", "images=80k", "batch_size=400", "lecture.looks=10")
    del found["d"]
    assert len(found) == 6
    for name, row in found.items():
        assert row["gap"] < 0.02, name
        assert row["highest_bound"] < row["divergence"] + 1e-6, name


def test_clipped_weights_stay_in_bounds_and_the_penalty_leaves_slopes_of_one(tmp_path):
    found = numbers(tmp_path, "weight_clipping", "images=40k", "model.width=32", "~lecture.scenes.swiss_roll")
    for scene in ("ring8", "grid25"):
        assert found["clipped"][scene]["largest_weight"] <= 0.1 + 1e-7
        assert found["clipped"][scene]["at_bound"] > 0.3 > 0.01 > found["penalised"][scene]["at_bound"]
        assert found["penalised"][scene]["slope_at_data"] == pytest.approx(1, abs=0.2)


def test_a_penalised_critic_near_its_optimum_is_higher_at_the_modes_than_between_them(tmp_path):
    small = [
        "model.width=64", "images=400k", "~lecture.scenes.grid25", "~lecture.scenes.swiss_roll",
        "~lecture.players.clipped", "lecture.titles.clipped=-",
    ]  # fmt: skip
    found = numbers(tmp_path, "weight_clipping", *small)
    assert found["penalised"]["ring8"]["above_centre"] > 0


def test_all_objectives_of_mode_collapse_update_their_generator_equally_often(tmp_path):
    small = ["images=1024", "batch_size=128", "model.width=8", "lecture.points=50"]
    found = numbers(tmp_path, "mode_collapse", *small)
    assert {row["generator_updates"] for scene in found.values() for row in scene.values()} == {8}


def test_each_choice_of_r1_and_r2_updates_its_generator_equally_often(tmp_path):
    small = ["images=1024", "batch_size=128", "model.width=8", "lecture.points=50"]
    found = numbers(tmp_path, "r1_r2", *small)["grid25"]
    assert set(found) == {f"{loss}_{way}" for loss in ("pairs", "plain") for way in ("alone", "r1", "r2", "both")}
    assert {row["generator_updates"] for row in found.values()} == {8}
    objectives = lecture("r1_r2").lecture.objectives
    for name, nodes in objectives.items():
        wanted = {"alone": [], "both": ["r1", "r2"]}.get(name.partition("_")[2], [name.partition("_")[2]])
        assert list(nodes.loss.get("penalties", {})) == wanted
        assert (nodes.loss.get("variant") == "rsgan") == name.startswith("pairs")


def test_normalised_layers_have_a_largest_singular_value_of_one(tmp_path):
    found = numbers(tmp_path, "spectral_norm", "images=1k", "batch_size=32", "model.width=4", "lecture.looks=3")
    assert len(found["with"]["per_layer"]) == 6
    assert all(1 - 1e-6 <= value <= 1.05 for value in found["with"]["per_layer"])
    assert max(abs(value - 1) for value in found["without"]["per_layer"]) > 0.1


def test_norms_of_the_generators_gradients_add_up_to_the_critics():
    """For one latent: D grad s and (1 - D) grad s have one direction, and add up to grad s."""
    from gancli.lectures.base import LectureContext
    from gancli.lectures.vanishing_gradient import gradient_norm
    from gancli.training.runtime import Runtime

    cfg = lecture("vanishing_gradient", "model.width=4", "batch_size=16", "images=32")
    run = LectureContext(cfg, Runtime.from_config(cfg.runtime), lambda *args: None).build()
    assert len(list(critic_alone(run))) == 2
    run.model.generator.eval()  # batch norm needs more than one image otherwise
    z = run.model.latent(1)
    parts = [gradient_norm(run.model, loss, z) for loss in (Minimax(), NonSaturating(), Wasserstein())]
    assert parts[0] + parts[1] == pytest.approx(parts[2], rel=1e-4) and min(parts) > 0


def test_jsd_of_the_same_and_of_disjoint_distributions():
    line = Line.over(-40, 40)
    p, far = log_normal(line.x, -20), log_normal(line.x, 20)
    assert jsd(p, p, line) == pytest.approx(0, abs=1e-12) and jsd(p, far, line) == pytest.approx(math.log(2), abs=1e-12)


RADII = {  # after 500 steps: simultaneous, alternating; Mescheder et al. 2018's notebook, from theta = psi = 1
    "gan": ("3.10", "1.42"),
    "nsgan": ("0.64", "0.28"),
    "wgan_clipped": ("1.00", "1.02"),
    "wgan_gp": ("1.80", "1.22"),
    "r1": ("2.6e-06", "2.3e-07"),
}
WGAN = {"simultaneous": (2.6e4, 500), "alternating": (1.40, 0.005)}  # of the same notebook, and half its last digit
OTHERS = ("wgan", "r1_critical", "instance_noise")


def without(*methods: str) -> list[str]:
    """Return the overrides that leave methods of the Dirac-GAN out."""
    return [f"~lecture.{part}.{name}" for part in ("titles", "methods") for name in ("consensus", *methods)]


def sigmoid(x: float) -> float:
    return 1 / (1 + np.exp(-x))


# The fields of (theta, psi): the real point lies at 0, the generated one at theta, and x has the score -psi * x.
FIELDS = {
    "gan": lambda theta, psi: (-psi * sigmoid(-psi * theta), theta * sigmoid(-psi * theta)),
    "nsgan": lambda theta, psi: (-psi * sigmoid(psi * theta), theta * sigmoid(-psi * theta)),
    "wgan_clipped": lambda theta, psi: (-psi, theta),
    "wgan_gp": lambda theta, psi: (-psi, theta - 0.7 * (abs(psi) - 1) * np.sign(psi)),
    "r1": lambda theta, psi: (-psi * sigmoid(-psi * theta), theta * sigmoid(-psi * theta) - 0.3 * psi),
}


def radius(name: str, how: str, steps: int, h: float = 0.2) -> float:
    """Return the distance from the equilibrium after so many Euler steps from (1, 1)."""
    theta, psi = 1.0, 1.0
    for _ in range(steps):
        moved = theta + h * FIELDS[name](theta, psi)[0]
        psi = psi + h * FIELDS[name](theta if how == "simultaneous" else moved, psi)[1]
        theta = moved
        psi = np.clip(psi, -1, 1) if name == "wgan_clipped" else psi
    return float(np.hypot(theta, psi))


def test_dirac_gan_is_on_the_way_to_the_published_radii(tmp_path):
    """The closed form of the fields ends there; the losses follow it for as long as a test may take."""
    found = numbers(tmp_path, "dirac_gan", *without(*OTHERS), "lecture.steps=40")["radius"]
    assert found.keys() == RADII.keys() == FIELDS.keys()
    for name, digits in RADII.items():
        for how, text in zip(("simultaneous", "alternating"), digits):
            form = ".1e" if "e" in text else ".2f"
            assert f"{radius(name, how, 500):{form}}" == text, (name, how)
            assert found[name][how] == pytest.approx(radius(name, how, 40), rel=1e-6), (name, how)


def test_dirac_gan_is_a_linear_map_without_a_bound_and_converges_by_damping_or_noise(tmp_path):
    found = numbers(tmp_path, "dirac_gan", *without(*RADII), "lecture.steps=200")["radius"]
    h = 0.2  # theta moves by -h psi, then psi by h theta: of before, or of after
    for how, step in (("simultaneous", [[1, -h], [h, 1]]), ("alternating", [[1, -h], [h, 1 - h * h]])):
        part, whole = (np.linalg.norm(np.linalg.matrix_power(step, n) @ [1, 1]) for n in (200, 500))
        published, rounding = WGAN[how]
        assert found["wgan"][how] == pytest.approx(part, rel=1e-9) and whole == pytest.approx(published, abs=rounding)
    assert max(found["r1_critical"].values()) < 1e-6  # with gamma = 0.3 it is 0.0004 or more
    assert max(found["instance_noise"].values()) < 0.06  # sampling noise around 0.02


def test_sliced_wasserstein_of_shifted_images_is_the_mean_shift_along_the_directions():
    """W1 along u of x and x + c is |u c|; for c = a e_1 in the plane its mean over directions is 2 a / pi."""
    torch.manual_seed(0)
    x = torch.randn(50, 2)
    assert progressive.sliced(x, x[torch.randperm(50)]) < 1e-6
    found = progressive.sliced(x, x + torch.tensor([3.0, 0.0]))
    assert found == pytest.approx(3 * 2 / math.pi, rel=4 * 0.48 / math.sqrt(progressive.DIRECTIONS))  # 4 deviations
    image = torch.randn(20, 1, 8, 8)
    checks = image + 0.5 * (-1.0) ** (torch.arange(8)[:, None] + torch.arange(8))  # gone once 2x2 pixels are averaged
    low, middle, high = progressive.distances(image, checks, 3)
    assert low < 1e-6 and middle < 1e-6 and high > 0.01
