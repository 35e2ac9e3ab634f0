"""The Row LSTM and the Diagonal BiLSTM: what pixels see, slow twins, probabilities that sum to one, equal samplers."""

from functools import partial

import pytest
import torch
from pixel_models import LIKELIHOODS, all_images, chi_square_is_plausible, documented, sees

from gancli.data.spec import ImageSpec
from gancli.errors import UsageError
from gancli.models.pixelrnn import DiagonalBiLSTM, RowLSTM
from gancli.nn import lstm
from gancli.nn.likelihoods import Bernoulli, Categorical, DiscretizedLogisticMixture

MODELS = {"row": RowLSTM, "diagonal": DiagonalBiLSTM}
both = pytest.mark.parametrize("name", MODELS)


def make(name: str, spec: ImageSpec, likelihood, **kwargs):
    """A small float64 network with random weights everywhere, the states outside of the image included."""
    torch.manual_seed(0)
    model = MODELS[name](spec, likelihood, **{"width": 6, "layers": 2, "head": 6, "kernel": 3, **kwargs}).double()
    for p in model.parameters():
        torch.nn.init.normal_(p, std=0.5)
    return model


@pytest.mark.parametrize("height,width", [(1, 1), (1, 4), (4, 1), (3, 5), (5, 3)])
def test_skewing_makes_columns_of_diagonals_and_is_undone(height, width):
    x = torch.arange(1.0, 2 * height * width + 1).view(2, height, width)
    skewed = lstm.skew(x)
    assert skewed.shape == (2, height, width + height - 1)
    for row in range(height):
        for column in range(width + height - 1):
            inside = 0 <= column - row < width
            assert skewed[1, row, column] == (x[1, row, column - row] if inside else 0)
    assert torch.equal(lstm.unskew(skewed, width), x)


def cell(gates, state):
    """Equation 3 at one pixel."""
    o, f, i, g = gates.chunk(4)
    state = f.sigmoid() * state + i.sigmoid() * g.tanh()
    return o.sigmoid() * state.tanh(), state


def test_the_row_lstm_equals_its_equations_pixel_by_pixel():
    torch.manual_seed(0)
    layer, x = lstm.RowLSTM(6, 3, groups=3, kernel=5).double(), torch.randn(1, 6, 4, 5, dtype=torch.float64)
    torch.nn.init.normal_(layer.start)
    inputs = layer.here(x)[0]
    states = {(-1, c): layer.start.unbind() for c in range(5)}
    for r in range(4):
        for c in range(5):
            gates = inputs[:, r, c]
            for d in (1, 2):  # two of the kernel's five taps are to the left
                if c >= d:
                    gates = gates + layer.left.weight[:, :, 0, 2 - d] @ x[0, :, r, c - d]
            for tap in range(5):
                if 0 <= c + tap - 2 < 5:
                    gates = gates + layer.above.weight[:, :, tap] @ states[r - 1, c + tap - 2][0]
            states[r, c] = cell(gates, states[r - 1, c][1])
    slow = torch.stack([torch.stack([states[r, c][0] for c in range(5)], 1) for r in range(4)], 1)
    assert torch.allclose(layer(x)[0], slow, atol=1e-12)


def test_the_diagonal_bilstm_equals_its_equations_pixel_by_pixel():
    torch.manual_seed(0)
    layer, x = lstm.DiagonalBiLSTM(6, 3, groups=3).double(), torch.randn(1, 6, 4, 5, dtype=torch.float64)
    torch.nn.init.normal_(layer.start)
    maps = []
    for direction, image in enumerate((x, x.flip(3))):
        inputs, start = layer.here[direction](image)[0], layer.start[:, direction].unbind()
        states = {(-1, c): start for c in range(5)} | {(r, -1): start for r in range(4)}
        for r in range(4):
            for c in range(5):
                before = torch.cat([states[r, c - 1][0], states[r - 1, c][0]])
                states[r, c] = cell(inputs[:, r, c] + before @ layer.states[direction], states[r, c - 1][1])
        maps.append(torch.stack([torch.stack([states[r, c][0] for c in range(5)], 1) for r in range(4)], 1))
    left, right = maps[0], maps[1].flip(2)
    left[:, 1:] = left[:, 1:] + right[:, :-1]  # the mirrored map is seen one row later
    assert torch.allclose(layer(x)[0], left, atol=1e-12)


def field(name: str, spec: ImageSpec, row: int, column: int, layers: int) -> torch.Tensor:
    """The documented past: for rows a triangle per layer, then the 3x3 with mask A; for the diagonals everything.

    But for the end of the row above: features there do not know their own pixel, and none lies to their right.
    """
    found = torch.zeros(spec.height, spec.width, dtype=torch.bool)
    if name == "diagonal":
        found.view(-1)[: row * spec.width + column] = True
        if row > 0 and column + 1 < spec.width - 1:
            found[row - 1, -1] = False
        return found
    places = {(row, column)}
    for _ in range(layers):
        places = {
            (r - d, j)
            for r, c in places
            for d in range(r + 1)
            for j in range(max(0, c - d - 1), min(spec.width, c + d + 1))
        }
    for r, c in places:
        found |= documented(spec, r, c, kernel=3, blocks=0)
    return found


@both
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("row,column", [(0, 0), (0, 6), (4, 3), (6, 0), (6, 6)])
def test_a_pixel_sees_the_documented_field_and_nothing_of_the_future(name, layers, row, column):
    spec = ImageSpec(1, 7, 7, levels=2)
    seen = sees(make(name, spec, Bernoulli, layers=layers), row, column)[0]
    assert torch.equal(seen, field(name, spec, row, column, layers))
    assert not seen.flatten()[row * 7 + column :].any()


def test_the_diagonals_see_everything_where_the_first_layer_reaches_the_end_of_the_row():
    seen = sees(make("diagonal", ImageSpec(1, 7, 7, levels=2), Bernoulli, layers=1, kernel=7), 4, 3)[0]
    assert seen.flatten().tolist() == [True] * 31 + [False] * 18


def test_without_the_shift_the_mirrored_direction_tells_the_future(monkeypatch):
    monkeypatch.setattr(lstm, "pad", lambda x, p: x if p == (0, 0, 1, -1) else torch.nn.functional.pad(x, p))
    seen = sees(make("diagonal", ImageSpec(1, 7, 7, levels=2), Bernoulli), 4, 3)[0]
    assert seen[4, 4:].any()


@both
@pytest.mark.parametrize("group", [0, 1, 2])
def test_colours_see_earlier_colours_of_their_pixel(name, group):
    spec = ImageSpec(3, 4, 4, levels=4)
    seen = sees(make(name, spec, Categorical), 2, 1, group)
    past, earlier = field(name, spec, 2, 1, layers=2).repeat(3, 1, 1), torch.tensor([c < group for c in range(3)])
    past[:, 2, 1] = earlier
    if name == "diagonal":
        past[:2, 1, 3] = True  # the end of the row above: its blue features know its red and its green
    assert torch.equal(seen, past)


@both
def test_a_mixture_orders_its_colours_itself(name):
    seen = sees(make(name, ImageSpec(3, 4, 4), DiscretizedLogisticMixture), 2, 1)
    assert torch.equal(seen, field(name, ImageSpec(3, 4, 4), 2, 1, layers=2).expand(3, -1, -1))


@both
@pytest.mark.parametrize(
    "spec,likelihood",
    [
        (ImageSpec(1, 3, 3, levels=2), Bernoulli),
        (ImageSpec(1, 2, 2, levels=4), Categorical),
        (ImageSpec(3, 2, 2, levels=2), Categorical),
        (ImageSpec(3, 2, 1, levels=4), partial(DiscretizedLogisticMixture, components=2)),
    ],
    ids=["3x3 binary", "2x2 2-bit", "2x2 rgb binary", "rgb 2-bit mixture"],
)
def test_probabilities_of_all_images_sum_to_one(name, spec, likelihood):
    with torch.no_grad():
        log_p = make(name, spec, likelihood).log_prob(all_images(spec))
    assert log_p.logsumexp(0).item() == pytest.approx(0, abs=1e-9)
    assert log_p.std() > 0.1


@both
@pytest.mark.parametrize("case", LIKELIHOODS)
def test_all_samplers_draw_the_same_images_from_what_one_full_forward_says(name, case):
    model = make(name, *LIKELIHOODS[case])
    assert model.SAMPLERS == ("naive", "cache", "jacobi")
    noise = model.noise(3, torch.Generator().manual_seed(1)).double()
    naive, cache, jacobi = (model.from_noise(noise, sampler=s) for s in model.SAMPLERS)
    assert torch.equal(naive, cache) and torch.equal(naive, jacobi) and len(naive.unique(dim=0)) == 3
    assert torch.equal(model.likelihood.sample(model(naive), noise), naive)
    assert torch.equal(
        model.from_noise(noise.flip(0), sampler="cache"), naive.flip(0)
    )  # nothing is left of the last batch


@both
def test_samples_have_the_enumerated_probabilities(name):
    spec, n = ImageSpec(1, 3, 3, levels=2), 20_000
    model = make(name, spec, Bernoulli)
    with torch.no_grad():
        p = model.log_prob(all_images(spec)).exp()
    images = model.from_noise(model.noise(n, torch.Generator().manual_seed(0)).double())
    index = ((images.flatten(1) > 0) * 2 ** torch.arange(8, -1, -1)).sum(1)
    assert chi_square_is_plausible(torch.bincount(index, minlength=512).double(), n * p)


def test_impossible_settings_are_refused():
    rgb = ImageSpec(3, 8, 8)
    with pytest.raises(UsageError, match="model.width=16: must be a multiple of 3"):
        RowLSTM(rgb, Categorical)
    with pytest.raises(UsageError, match="model.head=2: must be 3 or more"):
        RowLSTM(rgb, Categorical, width=6, head=2)
    with pytest.raises(UsageError, match="model.kernel=4"):
        DiagonalBiLSTM(rgb, Categorical, width=6, head=6, kernel=4)
    with pytest.raises(UsageError, match="model.sampler=wavefront: allowed are naive, cache, jacobi"):
        DiagonalBiLSTM(rgb, Categorical, width=6, head=6, sampler="wavefront")
