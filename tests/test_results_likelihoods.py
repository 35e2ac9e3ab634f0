"""Likelihoods, autoencoders and codes on the page of results, outputs/results/README.md, against their score cards."""

import re
from statistics import fmean, stdev

import pytest
from results_page import PAGE, RESULTS, card, section

KINDS = "", "-classifier", "-cooler"  # cards of a run of codes: the bound, its samples, those at temperature .9


def test_the_likelihoods_are_what_was_measured() -> None:
    """The sentence on pixelcnn against the CSV and the JSON, the others against their JSONs."""
    rows = (RESULTS / "eval" / "mnist-pixelcnn.csv").read_text().splitlines()
    curve = {int(images): float(nats) for images, nats, *_ in (row.split(",") for row in rows[1:])}
    told = re.findall(r"([\d.]{5}) after\s(\d+)k", PAGE)
    assert len(told) == 4 and all(f"{curve[int(k) * 1000]:.2f}" == nats for nats, k in told)
    table = re.findall(r"^\| `(\w+)` \| (\d+)k \| ([\d.]+) \| ([\d.]+) \|", section("Likelihoods"), re.MULTILINE)
    assert len(table) == 4
    for model, images, nats, error in table:
        result = card(f"mnist-{model}-{images}k")
        assert result["images_seen"] == 1000 * int(images)
        assert result["protocol"]["levels"] == "2 levels, drawn once with seed 0"
        assert (nats, error) == (f"{result['values']['nll']:.2f}", f"{result['values']['nll_se']:.2f}"), model


def test_the_bounds_of_the_autoencoder_are_what_was_measured() -> None:
    told = " ".join(section("Variational autoencoders").split())
    one, many = card("mnist-vae-600k"), card("mnist-vae-600k-iwae")
    values = one["values"]
    assert f"an ELBO of {values['elbo']:.2f} nats (standard error {values['elbo_se']:.2f})" in told
    assert f"reconstruction {values['reconstruction']:.2f} plus KL {values['kl']:.2f}" in told
    assert f"{values['active_units']:.0f} of {values['latents']:.0f} latents active" in told
    assert f"k={many['values']['iwae_k']:.0f}`, by {many['values']['iwae']:.2f}" in told
    for each in (one, many):
        assert each["protocol"]["likelihood"]["kind"] == "bound" and each["protocol"]["split"] == "test"


def test_the_bounds_of_three_seeds_are_what_was_measured() -> None:
    told = " ".join(section("Variational autoencoders").split())
    for name in ("vae-600k-seed", "vae_conv-1500k-"):
        bounds = [card(f"mnist-{name}{seed}")["values"]["elbo"] for seed in range(3)]
        assert f" {fmean(bounds):.2f} ± {stdev(bounds):.2f}" in told
    wide = card("mnist-vae_conv-1500k-0-iwae")["values"]
    assert f"k={wide['iwae_k']:.0f}`, seed 0 of the latter is bounded by {wide['iwae']:.2f}." in told


def elbos(name: str) -> list[float]:
    """Return the bound of the validation images, in the order of the images seen."""
    return [float(row.split(",")[1]) for row in (RESULTS / "eval" / f"{name}.csv").read_text().splitlines()[1:]]


@pytest.mark.parametrize("name, millions, seen", [("vae_conv", 15, 15_000_064), ("vae", 18, 18_000_000)])
def test_the_long_runs_of_the_autoencoders_are_what_was_measured(name, millions, seen) -> None:
    told = " ".join(section("Variational autoencoders").split())
    curve = elbos(f"mnist-{name}-{millions}m")  # after every million images
    assert f"{curve[0]:.2f} nats after 1M images, {curve[4]:.2f} after 5M, {curve[9]:.2f} after 10M" in told
    assert f"and {curve[-1]:.2f} at the end" in told and len(curve) == millions
    whole, codes = card(f"mnist-{name}-{millions}m"), card(f"mnist-{name}-{millions}m-iwae")
    assert f"test images {whole['values']['elbo']:.2f}, and with 500 codes {codes['values']['iwae']:.2f}" in told
    assert codes["values"]["iwae_k"] == 500 and whole["images_seen"] == codes["images_seen"] == seen


def test_more_codes_in_training_give_a_tighter_bound() -> None:
    told = " ".join(section("Variational autoencoders").split())
    for k, form in (
        (50, "by {} nats, with {:.0f} to {:.0f} of 50 latents active"),
        (1, "by {} and with {:.0f} to {:.0f}."),
    ):
        seeds = [card(f"mnist-iwae-300k-k{k}-{seed}")["values"] for seed in range(3)]
        bounds, active = [each["iwae"] for each in seeds], [each["active_units"] for each in seeds]
        assert form.format(f"{fmean(bounds):.2f} ± {stdev(bounds):.2f}", min(active), max(active)) in told
        assert all(each["iwae_k"] == 500 and each["latents"] == 50 for each in seeds)
    many, one = (card(f"mnist-iwae-2m-k{k}")["values"] for k in (50, 1))
    assert f"score is {many['iwae']:.2f} nats with 50 codes in training and {many['active_units']:.0f} of 50" in told
    assert f"and {one['iwae']:.2f} with one code and {one['active_units']:.0f}, two" in told
    assert len(elbos("mnist-iwae-2m-k1")) == 10


def spread(of: list[dict[str, float]], key: str, digits: int, factor: float = 1) -> str:
    """Return the mean and the standard deviation of the seeds as they are written on the page."""
    values = [factor * v[key] for v in of]
    return f"{fmean(values):.{digits}f} ± {stdev(values):.{digits}f}"


def test_the_codes_are_what_was_measured() -> None:
    told = " ".join(section("Discrete codes").split())
    cards = [[card(f"mnist-vqvae-550k{seed}{kind}") for seed in ("", "-1", "-2")] for kind in KINDS[:2]]
    bounds, drawn = ([each["values"] for each in found] for found in cards)
    assert f"at most {spread(bounds, 'nll_bound', 2)} nats" in told
    assert all(each["protocol"]["likelihood"]["kind"] == "bound" for each in cards[0])
    parts = spread(bounds, "reconstruction", 2), max(v["reconstruction"] for v in bounds), spread(bounds, "kl", 2)
    assert "reconstruction {}, at most {:.2f} in a seed, plus {} for the codes".format(*parts) in told
    assert f"perplexity {spread(bounds, 'perplexity', 1)}, {spread(bounds, 'psnr', 2)} dB" in told
    assert {each["codes"] for each in bounds} == {240}
    used = [each["codes_used"] for each in bounds]
    assert f"{min(used):.0f} to {max(used):.0f} of 240 codes in use" in told
    halves = cards[1][0]["floor"]["values"]["fid"]
    assert f"FID {spread(drawn, 'fid', 2)} (two halves of the test images: {halves:.2f})" in told
    assert f"{spread(drawn, 'accuracy', 1, 100)} % of the digits" in told


def test_the_best_codes_are_what_was_measured() -> None:
    told = " ".join(section("Discrete codes").split())
    cards = [[card(f"mnist-best-vqvae{seed}{kind}") for seed in ("", "-1", "-2")] for kind in KINDS]
    bounds, drawn, cooler = ([each["values"] for each in found] for found in cards)
    assert f"at most {spread(bounds, 'nll_bound', 2)} nats" in told
    parts = spread(bounds, "reconstruction", 2), spread(bounds, "kl", 2)
    assert "(reconstruction {} plus {}), all 125 codes in use".format(*parts) in told
    assert all(each["codes_used"] == each["codes"] == 125 for each in bounds)
    halves = cards[1][0]["floor"]["values"]["fid"]
    right = spread(drawn, "accuracy", 1, 100)
    assert f"FID {spread(drawn, 'fid', 2)} (two halves: {halves:.2f}), and {right} %" in told
    assert {each["protocol"]["sampling"]["temperature"] for each in cards[2]} == {0.9}
    assert f"FID {spread(cooler, 'fid', 2)} and {spread(cooler, 'accuracy', 1, 100)} %" in told


def test_the_codes_of_two_maps_are_what_was_measured() -> None:
    told = " ".join(section("Discrete codes").split())
    bound, drawn = card("mnist-vqvae2-550k"), card("mnist-vqvae2-550k-classifier")
    values, shares = bound["values"], drawn["values"]
    assert bound["images_seen"] == drawn["images_seen"] == card("mnist-vqvae-550k")["images_seen"]
    assert f"at most {values['nll_bound']:.2f} nats, reconstruction {values['reconstruction']:.2f} plus" in told
    top, bottom = values["code_nats_top"], values["code_nats_bottom"]
    assert f"plus {top:.2f} for the top and {bottom:.2f} for the bottom given the top;" in told
    used = f"{values['codes_used_top']:.0f} and {values['codes_used_bottom']:.0f} of {values['codes_top']:.0f} codes"
    assert used in told and f"; {values['psnr']:.2f} dB; FID {shares['fid']:.2f} (two halves:" in told
    floor, right = drawn["floor"]["values"]["fid"], shares["accuracy"]
    assert f"(two halves: {floor:.2f}), and {100 * right:.1f} % of the digits are" in told
    more = values["nll_bound"] - card("mnist-vqvae-550k")["values"]["nll_bound"]
    assert f"the one map above has {more:.2f} nats fewer with the same seed." in told


def test_sharper_reconstructions_are_what_was_measured() -> None:
    told = " ".join(section("Discrete codes").split())
    found = {model: [card(f"mnist-{model}-60k-{seed}")["values"] for seed in range(3)] for model in ("vqgan", "vqvae")}
    for key, digits in (("rfid", 1), ("rsharpness", 3)):
        of = {model: [each[key] for each in values] for model, values in found.items()}
        first, second = (f"{fmean(each):.{digits}f} ± {stdev(each):.{digits}f}" for each in of.values())
        assert f"{first} against {second}" in told
    first, second = (f"{fmean(each['psnr'] for each in values):.1f}" for values in found.values())
    assert f"at {first} against {second} dB" in told
    fewest = min(each["codes_used"] for each in found["vqgan"])
    assert f"{fewest:.0f} to 240 of 240 codes are in use" in told


def test_the_likelihoods_of_colours_are_what_was_measured() -> None:
    told = " ".join(section("Discrete codes").split())
    bits = {}
    for model, images in (("vae_conv", 50_048), ("hvae", 8_000)):
        for likelihood in ("logistic", "logistic_mixture"):
            found = card(f"shapes-{model}-{likelihood}")
            assert found["images_seen"] == images and found["protocol"]["images_reference"] == 500
            bits[model, likelihood] = f"{found['values']['bits_per_dim_bound']:.2f}"
    assert f"{bits['vae_conv', 'logistic_mixture']} against {bits['vae_conv', 'logistic']} bits per dimension" in told
    assert f"and {bits['hvae', 'logistic_mixture']} against {bits['hvae', 'logistic']} for `hvae`" in told
