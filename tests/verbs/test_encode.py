"""gancli encode: the file is what the encoder says, its classes, and what is refused in one line."""

import shutil
import signal

import numpy as np
import pytest
import torch
from forks import exit_code
from helpers import run
from PIL import Image

import gancli
from gancli.cli import main
from gancli.data.spec import scaled
from gancli.errors import UsageError
from gancli.verbs.encode import run as encode

CPU = "runtime=cpu"
QUICK = ["images=8", "samples.every=0", "doctor.every=0", "eval.every=0"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A VAE of grey 8x8 images, one that is conditional, and a GAN."""
    folder = tmp_path_factory.mktemp("encoded")
    run(folder / "plain", *QUICK, "data.num_classes=3", model="vae")
    run(folder / "classes", *QUICK, "data.num_classes=3", "model.conditional=true", model="vae")
    run(folder / "gan", *QUICK, model="mlp_gan")
    return folder


def save(folder, *names, side=8):
    for i, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        grey = np.random.RandomState(i).randint(0, 256, (side, side), np.uint8)
        Image.fromarray(grey).save(folder / name)
    return folder


def test_the_file_has_the_posteriors_of_the_pictures(cli, trained, tmp_path):
    folder = save(tmp_path / "in", "b/two.png", "b/one.png", "a/one.png")
    words = ["encode", f"ckpt={trained / 'plain'}", f"images={folder}", CPU]
    answer = cli(*words, "batch_size=2", f"out={tmp_path / 'x.npz'}")
    assert answer.code == 0, answer.err
    found = np.load(tmp_path / "x.npz", allow_pickle=False)
    assert found["name"].tolist() == ["a/one", "b/one", "b/two"]
    assert found["label"].tolist() == [0, 1, 1] and found["classes"].tolist() == ["a", "b"]
    loaded = gancli.load(trained / "plain")
    pixels = np.stack([np.asarray(Image.open(folder / f"{name}.png"))[None] for name in found["name"]])
    seen = loaded.model.likelihood.snap(scaled(torch.from_numpy(pixels)))
    assert set(seen.unique().tolist()) == {-1.0, 1.0}  # a model of binary pixels
    mean, log_var = loaded.model.encoder((seen.flatten(1) + 1) / 2).chunk(2, 1)
    assert found["mean"] == pytest.approx(mean.numpy(), abs=1e-6) and found["mean"].shape == (3, 3)
    assert found["std"] == pytest.approx((log_var / 2).exp().numpy(), abs=1e-6) and found["std"].dtype == np.float32
    by_hand = loaded.encode(torch.from_numpy(pixels))
    assert np.allclose(by_hand.mean, found["mean"], atol=1e-6) and np.allclose(by_hand.std, found["std"], atol=1e-6)
    refused = cli(*words, f"out={tmp_path / 'x.npz'}")
    assert refused.code == 2 and "x.npz exists, and nothing is overwritten" in refused.err


@pytest.mark.parametrize("model", ["vqvae", "vqvae_paper", "dvae", "vqgan", "vqvae2"])
def test_codes_are_those_of_the_model_and_their_vectors_decode_to_its_reconstructions(cli, model, tmp_path):
    """The file alone, with the decoder, gives the reconstructions; the prior is conditional, and no class is needed."""
    more = [word for word in QUICK if "images" not in word] + ["images=16", "data.num_classes=3"]
    run(tmp_path / "run", *more, model=model)
    folder, size = tmp_path / "in", 16 if model == "vqvae2" else 8
    save(folder, "b/two.png", "b/one.png", "z/one.png", side=size)
    answer = cli("encode", f"ckpt={tmp_path / 'run'}", f"images={folder}", f"out={tmp_path / 'x.npz'}", CPU)
    assert answer.code == 0, answer.err
    found = dict(np.load(tmp_path / "x.npz", allow_pickle=False))
    loaded = gancli.load(tmp_path / "run")
    net = loaded.model
    assert net.conditional and found["label"].tolist() == [0, 0, 1] and found["classes"].tolist() == ["b", "z"]
    pixels = np.stack([np.asarray(Image.open(folder / f"{name}.png"))[None] for name in found["name"]])
    image = net.known(scaled(torch.from_numpy(pixels)))
    levels = ["_top", "_bottom"] if model == "vqvae2" else [""]
    index = [torch.from_numpy(found[f"codes{level}"]).long() for level in levels]
    assert all(each.dtype == np.int32 for name, each in found.items() if name.startswith(("codes", "levels")))
    z = net.embed(index[0] if len(index) == 1 else tuple(index))
    assert torch.equal(net.picture(z), net.picture(net.code(image)))
    by_hand = loaded.encode(torch.from_numpy(pixels))
    for level, each in zip(levels, index):
        assert torch.equal(by_hand.codes[level[1:]], each)
        if model == "dvae":
            assert set(found) == {"codes", "name", "label", "classes"}
            continue
        vectors = torch.from_numpy(found[f"vectors{level}"])[each].movedim(-1, 1)
        assert torch.equal(vectors, net.quantisers()[level[1:]].lookup(each))
        if model == "vqvae_paper":
            assert "levels" not in found
            continue
        sizes = torch.tensor([3, 4]).view(-1, 1, 1)  # FSQ: levels are counted from the lowest
        digits = torch.from_numpy(found[f"levels{level}"])
        assert torch.equal(digits[:, 0] + 3 * digits[:, 1], each.int())
        assert torch.allclose((digits - sizes // 2) / (sizes // 2), vectors)
    refused = cli("encode", f"ckpt={tmp_path / 'run'}", f"images={folder}", "label=1", CPU)
    assert refused.code == 2 and "depends on no class; omit label=" in refused.err
    with pytest.raises(UsageError, match="omit label="):
        loaded.encode(torch.from_numpy(pixels), 1)


def test_a_split_of_the_data_comes_with_its_labels(cli, trained):
    asked = (
        ("plain", [], 20, "test"),
        ("classes", ["split=train"], 57, "train"),
        ("classes", ["label=1"], 20, "test-label1"),
    )
    for name, words, n, file in asked:
        assert cli("encode", f"ckpt={trained / name}", *words, CPU).code == 0
        found = np.load(trained / name / "encodings" / f"000000000008-{file}.npz")
        split = gancli.load(trained / name)._data.split("train" if n == 57 else "test")
        assert len(found["mean"]) == n and found["name"][0] == f"{split.split}-000000"
        assert found["label"].tolist() == ([1] * n if "label=1" in words else split.labels.tolist())
    at_one = gancli.load(trained / "classes").encode(torch.from_numpy(split.pixels), 1)
    assert np.allclose(at_one.mean, found["mean"], atol=1e-5)
    at_two = gancli.load(trained / "classes").encode(torch.from_numpy(split.pixels), torch.full((20,), 2))
    assert not np.allclose(at_two.mean, found["mean"], atol=1e-5)


def test_folders_are_the_classes_of_the_data_if_they_are_called_so():
    labels, classes = encode.of_folders(["b/x", "a/y", "b/more/x"], ["a", "b", "c"])
    assert labels.tolist() == [1, 0, 1] and list(classes) == ["a", "b", "c"]
    labels, classes = encode.of_folders(["z/x", "a/y"], ["a", "b"])
    assert labels.tolist() == [1, 0] and classes == ["a", "z"]
    assert encode.of_folders(["z/x", "y"], ["a"]) == (None, ["a"])


def test_what_cannot_be_is_refused_in_one_line(cli, trained, tmp_path):
    wrong, empty = save(tmp_path / "wrong", "p.png", side=9), tmp_path / "empty"
    empty.mkdir()
    right = save(tmp_path / "right", "a/p.png")
    plain, classes = f"ckpt={trained / 'plain'}", f"ckpt={trained / 'classes'}"
    refused = {
        (f"ckpt={trained / 'gan'}",): "MLPGAN has no encoder with one normal vector of latents or with",
        (plain, f"images={wrong}"): "p.png is 9x9 grey, but the model's images are 8x8 grey: save it in that size",
        (plain, f"images={empty}"): "no pictures in it",
        (plain, f"images={tmp_path / 'no'}"): "no such folder",
        (plain, f"images={right}", "split=train"): "images= names other pictures; omit it",
        (plain, "label=1"): "unconditional",
        (plain, "out=latents.csv"): "give it a name such as latents.npz",
        (plain, "batch_size=0"): "batch_size=0: must be from 1",
        (classes, f"images={right}"): "label=None: the model's images are of a class",
        (classes, "label=9"): "label=9",
        (f"ckpt={tmp_path}",): "no checkpoint",
    }
    for words, says in refused.items():
        answer = cli("encode", *words, CPU)
        assert answer.code == 2 and says in answer.err and answer.err.strip().count("\n") == 0, (words, answer.err)
    model = gancli.load(trained / "classes")
    images = torch.zeros(2, 1, 8, 8, dtype=torch.uint8)
    for call, says in (
        (lambda: model.encode(images.float(), 1), "torch.uint8, not"),
        (lambda: model.encode(images[:0], 1), "images must be"),
        (lambda: model.encode(images), "of a class"),
        (lambda: model.encode(images, 1, batch_size=0), "batch_size=0: must be 1 or more"),
        (lambda: gancli.load(trained / "gan").encode(images), "no encoder"),
    ):
        with pytest.raises(UsageError, match=says):
            call()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_job_that_ended_half_way_leaves_no_file_and_may_be_repeated(trained, tmp_path, how, monkeypatch):
    words = ["encode", f"ckpt={trained / 'plain'}", f"out={tmp_path / 'out' / 'x.npz'}", CPU]
    save_arrays = np.savez

    def ending(stream, **arrays):
        save_arrays(stream, **arrays)
        stream.flush()
        signal.raise_signal(how)

    with monkeypatch.context() as patch:
        patch.setattr(np, "savez", ending)
        assert exit_code(lambda: main(words)) == (-how if how == signal.SIGKILL else 128 + how)
    assert not list((tmp_path / "out").glob("x.npz"))
    assert main(words) == 0
    assert [each.name for each in (tmp_path / "out").iterdir() if each.suffix == ".npz"] == ["x.npz"]
    assert np.load(tmp_path / "out" / "x.npz")["mean"].shape == (20, 3)


def test_nothing_is_written_through_the_links_of_a_run_folder(cli, trained, tmp_path):
    shutil.copytree(trained / "plain", tmp_path / "run", ignore=lambda *_: ["encodings"])
    (tmp_path / "home").mkdir()
    (tmp_path / "run" / "encodings").symlink_to("../home")
    for words in ([], [f"out={tmp_path / 'run' / 'encodings' / 'x.npz'}"]):
        answer = cli("encode", f"ckpt={tmp_path / 'run'}", *words, CPU)
        assert answer.code == 2 and "remove that link" in answer.err and not list((tmp_path / "home").iterdir())
