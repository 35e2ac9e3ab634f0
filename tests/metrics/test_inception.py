"""Inception features: agreement with pytorch-fid's command and torch-fidelity on one random network; no downloads."""

import hashlib
import inspect
import shutil
from functools import cache
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers import compose
from PIL import Image
from torch import Tensor, nn

from gancli.data.folder import FolderImages
from gancli.errors import UsageError
from gancli.metrics import inception
from gancli.metrics.fid import fid
from gancli.metrics.inception import Inception, resize_tf1
from gancli.metrics.moments import Moments
from gancli.verbs.evaluate.run import evaluate

library = pytest.importorskip("pytorch_fid.inception")

CPU = torch.device("cpu")
N = 12, 7  # images per folder: some of the 10 splits of IS have two, and the fifth neighbour is not the last
FEW = 3  # of them for mean and covariance alone; a forward pass takes a tenth of a second per image
NAME = library.FID_WEIGHTS_URL.rsplit("/", 1)[-1]


def pictures(detail: int, seed: int, n: int = 2) -> Tensor:
    """Smooth random colours, (n, 3, 32, 32) uint8; less detail, larger patches."""
    noise = 255 * torch.rand(n, 3, detail, detail, generator=torch.Generator().manual_seed(seed))
    return F.interpolate(noise, size=32, mode="bicubic").clamp(0, 255).round().to(torch.uint8)


@pytest.fixture(scope="module")
def sets() -> tuple[Tensor, Tensor]:
    return pictures(4, 1, N[0]), pictures(9, 2, N[1])


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, sets) -> Path:
    """A TORCH_HOME that holds a random network under the name of the published weights, its statistics made sane."""
    home = tmp_path_factory.mktemp("torch")
    weights = home / "hub" / "checkpoints" / NAME
    weights.parent.mkdir(parents=True)
    with pytest.MonkeyPatch.context() as patch, torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        patch.setattr(library, "load_state_dict_from_url", lambda *args, **kwargs: None)
        patch.setattr(nn.Module, "load_state_dict", lambda self, state: None)
        net = library.fid_inception_v3()
        for module in net.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = None  # the plain mean over batches
        nn.init.normal_(net.fc.weight, 0, 0.25)
        nn.init.normal_(net.fc.bias)
        with torch.no_grad():
            some = torch.cat([images[:4] for images in sets]).float() / 127.5 - 1
            net.train()(F.interpolate(some, size=299, mode="bilinear"))
    torch.save(net.state_dict(), weights)
    return home


@pytest.fixture
def weights(home: Path) -> Path:
    return home / "hub" / "checkpoints" / NAME


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory, sets) -> tuple[str, str]:
    root = tmp_path_factory.mktemp("pictures")
    for name, images in zip("ab", sets, strict=True):
        for part, folder in ((images, root / name), (images[:FEW], root / f"few-{name}")):
            folder.mkdir()
            for i, image in enumerate(part):
                Image.fromarray(image.permute(1, 2, 0).numpy()).save(folder / f"{i:03d}.png")
    return str(root / "a"), str(root / "b")


@cache
def prepared(weights: Path, preproc: str = "tf") -> Inception:
    """No test changes it."""
    features = Inception(weights=str(weights), preproc=preproc)
    features.prepare(lambda: pytest.fail("looked at the data"), CPU)
    return features


def test_agrees_with_the_command_of_pytorch_fid(home, weights, folders, sets, monkeypatch) -> None:
    """Its mean and covariance of each folder; then its distance, in the few dimensions that so few images span."""
    from pytorch_fid import fid_score
    from scipy import linalg

    if "disp" not in inspect.signature(linalg.sqrtm).parameters:  # SciPy 1.18, with which the command itself crashes
        monkeypatch.setattr(fid_score.linalg, "sqrtm", lambda m, disp, root=linalg.sqrtm: (root(m), 0))
    monkeypatch.setenv("TORCH_HOME", str(home))
    model = library.InceptionV3([library.InceptionV3.BLOCK_INDEX_BY_DIM[2048]])
    few = [str(Path(folder).with_name(f"few-{Path(folder).name}")) for folder in folders]
    theirs = [fid_score.compute_statistics_of_path(f, model, FEW, 2048, "cpu", num_workers=0) for f in few]
    features, found = prepared(weights, "pytorch_fid"), [Moments(2048), Moments(2048)]
    for images, sums, (mean, covariance) in zip(sets, found, theirs, strict=True):
        sums.update(features(images[:FEW])[0])
        assert sums.gaussian().mean == pytest.approx(mean, rel=1e-5)
        assert np.abs(sums.gaussian().cov - covariance).max() < 1e-5 * np.abs(covariance).max()
    (mean1, covariance1), (mean2, covariance2) = theirs
    basis, _ = np.linalg.qr(np.column_stack([mean1, mean2, covariance1[:, :FEW], covariance2[:, :FEW]]))
    small = [part for mean, cov in theirs for part in (basis.T @ mean, basis.T @ cov @ basis)]
    assert fid_score.calculate_frechet_distance(*small) > 10
    assert fid(*(each.gaussian() for each in found)) == pytest.approx(
        fid_score.calculate_frechet_distance(*small), rel=1e-5
    )


def test_the_command_agrees_with_torch_fidelity_and_prdc(home, weights, folders, tmp_path, monkeypatch) -> None:
    """`gancli eval images=A data=folder data.root=B` on what `fidelity` and `prdc` say of the same two folders."""
    torch_fidelity, prdc = pytest.importorskip("torch_fidelity"), pytest.importorskip("prdc")
    monkeypatch.setenv("GANCLI_OUTPUTS", str(tmp_path / "outputs"))
    passed: dict[bytes, Tensor] = {}  # features by image
    call = Inception.__call__

    def remembered(self: Inception, images: Tensor) -> tuple[Tensor, Tensor | None]:
        found = call(self, images)
        passed.update((image.numpy().tobytes(), row) for image, row in zip(images, found[0], strict=True))
        return found

    monkeypatch.setattr(Inception, "__call__", remembered)
    whole = ["data.test=0", "data.validation=0", "split=train", "runtime=cpu", "floor=false", "bootstrap=0"]
    found = evaluate(
        compose(
            "eval",
            [
                f"images='{folders[0]}'", "data=folder", f"data.root='{folders[1]}'", *whole, f"batch_size={max(N)}",
                "features=inception", f"features.weights='{weights}'",
                "metrics=[fid,is,kid,precision_recall,density_coverage]",
            ],
        )
    )  # fmt: skip
    # IS and KID depend on the images' order; ours is a fixed shuffle, theirs that of the names.
    images, names = [], []
    for name, folder in zip("ab", folders, strict=True):
        ordered = FolderImages(folder, test=0, validation=0).split("train").pixels
        images.append(torch.from_numpy(np.array(ordered)))
        (tmp_path / name).mkdir(), names.append(str(tmp_path / name))
        for i, pixels in enumerate(ordered):
            Image.fromarray(pixels.transpose(1, 2, 0)).save(tmp_path / name / f"{i:03d}.png")
    theirs = torch_fidelity.calculate_metrics(
        input1=names[0], input2=names[1], fid=True, isc=True, kid=True, kid_subset_size=min(N) // 2, prc=True,
        prc_neighborhood=3, batch_size=max(N), samples_shuffle=False, cuda=False, cache=False, verbose=False,
        save_cpu_ram=True, feature_extractor="inception-v3-compat", feature_extractor_weights_path=str(weights),
    )  # fmt: skip
    assert theirs["frechet_inception_distance"] > 10 and theirs["inception_score_mean"] > 1.001
    assert found["fid"] == pytest.approx(theirs["frechet_inception_distance"], rel=1e-5)
    assert found["is"] == pytest.approx(theirs["inception_score_mean"], rel=1e-9)
    assert found["is_std"] == pytest.approx(theirs["inception_score_std"], rel=1e-9)
    assert found["kid"] == pytest.approx(theirs["kernel_inception_distance_mean"], rel=1e-5, abs=1e-6)
    assert found["kid_std"] == pytest.approx(theirs["kernel_inception_distance_std"], rel=1e-4, abs=1e-6)
    assert found["precision"] == pytest.approx(theirs["precision"], abs=1e-6)
    assert found["recall"] == pytest.approx(theirs["recall"], abs=1e-6)
    generated, real = (
        torch.stack([passed[each.numpy().tobytes()] for each in part]).double().numpy() for part in images
    )
    five = prdc.compute_prdc(real, generated, nearest_k=5)
    assert (found["density"], found["coverage"]) == pytest.approx((five["density"], five["coverage"]), abs=1e-9)


@pytest.mark.parametrize("size", [28, 32, 64, 128, 256, 299, 512])
def test_resize_is_tensorflow_1s_bit_for_bit(size) -> None:
    compat = pytest.importorskip("torch_fidelity.interpolate_compat_tensorflow")
    x = torch.randint(0, 256, (1, 1, size, size + 3), generator=torch.Generator().manual_seed(size)).float()
    expected = compat.interpolate_bilinear_2d_like_tensorflow1x(x, size=(299, 299), align_corners=False)
    assert torch.equal(resize_tf1(x, 299), expected)


def test_resize_by_hand() -> None:
    x = torch.tensor([[0.0, 4.0], [8.0, 20.0]])[None, None]
    expected = [[0, 2, 4, 4], [4, 8, 12, 12], [8, 14, 20, 20], [8, 14, 20, 20]]  # i * 2/4: no half pixel, edge repeated
    assert resize_tf1(x, 4)[0, 0].tolist() == expected


def test_grey_is_three_equal_planes_and_batches_do_not_matter(weights) -> None:
    features = prepared(weights)
    grey = pictures(6, 3)[:2, :1]
    x, logits = features(grey)
    assert x.shape == (2, 2048) and logits.shape == (2, 1008) and x.dtype == logits.dtype == torch.float32
    assert torch.equal(x, features(grey.repeat(1, 3, 1, 1))[0])
    assert torch.allclose(x[1:], features(grey[1:])[0], rtol=1e-5)
    state = torch.load(weights, weights_only=True)
    assert torch.allclose(logits, x @ state["fc.weight"].T, rtol=1e-5, atol=1e-5)  # IS: without the bias
    assert state["fc.bias"].abs().max() > 1


def test_a_run_around_it_notices_nothing(weights) -> None:
    before, loader = torch.get_rng_state(), library.load_state_dict_from_url
    with torch.autocast("cpu", torch.bfloat16):
        features = prepared.__wrapped__(weights)
        inside, _ = features(pictures(4, 1)[:1])
    assert torch.equal(torch.get_rng_state(), before) and library.load_state_dict_from_url is loader
    assert torch.equal(inside, features(pictures(4, 1)[:1])[0]) and not inside.requires_grad


def test_protocol_tells_the_two_preprocessings_apart(weights) -> None:
    tf, pytorch_fid = (prepared(weights, preproc) for preproc in ("tf", "pytorch_fid"))
    assert (tf.name, pytorch_fid.name) == ("inception", "inception-pytorch_fid")
    sha256 = hashlib.sha256(weights.read_bytes()).hexdigest()
    assert tf.protocol()["weights_sha256"] == sha256 and tf.protocol()["preproc"] == "tf"
    assert tf.protocol() != pytorch_fid.protocol()
    with pytest.raises(UsageError, match="did you mean 'pytorch_fid'"):
        Inception(preproc="pytorch-fid")


def refused(features: Inception) -> str:
    with pytest.raises(UsageError) as error:
        features.prepare(lambda: None, CPU)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_offline_one_line_says_what_to_fetch_and_where_to_put_it(tmp_path, monkeypatch) -> None:
    def offline(*args: object, **kwargs: object) -> None:
        raise URLError("Name or service not known")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    line = refused(Inception())
    for part in (
        NAME,
        str(tmp_path / "hub" / "checkpoints"),
        "features.weights=FILE",
        "features=classifier",
        "not known",
    ):
        assert part in line
    assert not list((tmp_path / "hub" / "checkpoints").iterdir())


def test_the_download_is_checked_and_happens_once(tmp_path, monkeypatch, weights) -> None:
    folder = tmp_path / "hub" / "checkpoints"
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(library, "FID_WEIGHTS_URL", weights.as_uri())
    assert "invalid hash" in refused(Inception())
    assert not list(folder.iterdir())  # nothing that a later run would take for the weights
    whole = hashlib.sha256(weights.read_bytes()).hexdigest()
    monkeypatch.setattr(inception, "SHA256", whole[:8] + "0" * 56)  # the eight digits of the name are not enough
    assert "invalid hash" in refused(Inception()) and not list(folder.iterdir())
    monkeypatch.setattr(inception, "SHA256", whole)
    Inception().prepare(lambda: None, CPU)
    assert [p.name for p in folder.iterdir()] == [NAME]
    monkeypatch.setattr(torch.hub, "download_url_to_file", lambda *args, **kwargs: pytest.fail("downloaded again"))
    Inception().prepare(lambda: None, CPU)


def test_a_present_file_is_checked_unless_it_is_named(home, weights, monkeypatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(home))  # it holds a random network under the published name
    line = refused(Inception())
    assert "damaged" in line and str(weights) in line and "features.weights=FILE" in line
    monkeypatch.setattr(inception, "SHA256", hashlib.sha256(weights.read_bytes()).hexdigest()[:8] + "0" * 56)
    assert "damaged" in refused(Inception())
    monkeypatch.setenv("GANCLI_INCEPTION", str(weights))
    Inception().prepare(lambda: None, CPU)
    monkeypatch.setenv("GANCLI_INCEPTION", str(home / "elsewhere.pth"))
    Inception(weights=str(weights)).prepare(lambda: None, CPU)  # what is typed wins
    assert "elsewhere.pth" in refused(Inception())


@pytest.mark.parametrize("content", ["missing", "text", "pickle", "other", "array"])
def test_a_file_with_something_else_is_refused(tmp_path, content, weights) -> None:
    file = tmp_path / "w.pth"
    if content == "text":
        file.write_text("<html>404</html>")
    elif content == "pickle":
        torch.save({"fc.weight": Path("runs code")}, file)
    elif content == "other":
        torch.save(nn.Linear(2, 2).state_dict(), file)
    elif content == "array":
        np.save(tmp_path / "w.npy", np.zeros(3))
        shutil.move(tmp_path / "w.npy", file)
    line = refused(Inception(weights=str(file)))
    assert str(file) in line and "features.weights" in line


def test_a_torchvision_that_cannot_be_imported_gets_one_line(monkeypatch) -> None:
    import builtins

    original = builtins.__import__

    def broken(name: str, *args: object, **kwargs: object) -> object:
        if name == "pytorch_fid":
            raise RuntimeError("operator torchvision::nms does not exist")
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", broken)
    assert "torchvision::nms" in refused(Inception())
