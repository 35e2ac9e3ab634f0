"""Pictures of 16 bits per channel that use fewer of them: the user is told of the key, and the key mends it."""

import struct
import zlib

import numpy as np
import pytest
from helpers import compose, run
from PIL import Image

from gancli import config
from gancli.cli import main
from gancli.data.pixels import Depth, flatten, to_array
from gancli.errors import UsageError


def grey16(values):
    return Image.fromarray(np.asarray(values, np.uint16))


def colour16(path, values):
    """Write a PNG of 16 bits per channel, (H, W, 3), which Pillow cannot."""
    rows = np.asarray(values, ">u2")
    data = b"".join(b"\0" + row.tobytes() for row in rows)

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", rows.shape[1], rows.shape[0], 16, 2, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("bits", [1, 8, 10, 12, 15, 16])
def test_the_highest_value_becomes_white_and_none_is_lost(bits):
    top = 2**bits - 1
    values = np.unique(np.linspace(0, top, 300).round().astype(int))[None]
    found = to_array(flatten(grey16(values), None, bits))[0, 0].astype(int)
    assert (found == np.floor(values[0] * 255 / top + 0.5)).all() and found[0] == 0 and found[-1] == 255
    if bits < 16:
        with pytest.raises(ValueError, match=f"reach {top + 1}, which are more than bit_depth={bits} bits"):
            flatten(grey16([[top + 1]]), None, bits)


def test_without_it_values_are_those_of_earlier_releases():
    values = np.arange(0, 65536)[None]
    assert (to_array(flatten(grey16(values)))[0] == (values + 128) // 257).all()
    assert (to_array(flatten(grey16(values), None, 16))[0] == (values + 128) // 257).all()


def test_pictures_of_8_bits_stay_as_they_are():
    image = Image.fromarray(np.arange(256, dtype=np.uint8)[None])
    assert (to_array(Depth(12).flatten(image))[0, 0] == np.arange(256)).all()


def test_colour_is_scaled_by_what_pillow_keeps_of_it(tmp_path):
    colour16(tmp_path / "a.png", [[[0, 2048, 4095], [4095, 0, 255]]])
    with Image.open(tmp_path / "a.png") as image:
        found = to_array(Depth(12).flatten(image))
    assert found[:, 0, 0].tolist() == [0, 136, 255] and found[:, 0, 1].tolist() == [255, 0, 0]
    for bits in (8, 10):
        with Image.open(tmp_path / "a.png") as image, pytest.raises(ValueError, match=f"bit_depth={bits}"):
            Depth(bits).flatten(image)


SOURCES = {
    "folder": (["data=folder", "data.root={root}/trainB"], "data.bit_depth"),
    "domains": (["data=domains", "data.root={root}", "data.layout=classes", "data.size=8"], "data.bit_depth"),
    "unpaired": (["data=unpaired", "data.root={root}", "data.size=8"], "data.bit_depth"),
    "paired": (["data=paired", "data.root={root}", "data.size=8"], "data.bit_depth"),
    "nested": (
        ["data=unpaired", "data/a=folder", "data/b=folder", *(f"data.{s}.root={{root}}/trainB" for s in "ab")],
        "data.b.bit_depth",
    ),
}


@pytest.mark.parametrize("kind", SOURCES)
def test_every_folder_of_pictures_names_the_key_and_takes_it(tmp_path, monkeypatch, caplog, kind):
    monkeypatch.setenv("GANCLI_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("gancli.console.log.propagate", True)
    for side in ("trainA", "trainB"):
        (tmp_path / side).mkdir()
        for i in range(20):
            grey16(np.full((8, 8), 200 * i + 200)).save(tmp_path / side / f"{i:02}.png")
    (words, key), more = SOURCES[kind], ["runtime=cpu"]
    words = [word.format(root=tmp_path) for word in words]

    def pixels(*settings):
        source, _ = config.build_data(compose("train", [*words, *more, *settings]).data)
        return source.split("train").pixels

    assert pixels().max() < 20
    assert f"name the bits that they use, such as {key}=12" in caplog.text
    caplog.clear()
    assert pixels(f"{key}=12").max() > 200 and f"{key}=" not in caplog.text
    with pytest.raises(UsageError, match=r"values reach \d+, which are more than bit_depth=9 bits"):
        pixels(f"{key}=9")
    with pytest.raises(UsageError, match=f"{key}=17"):
        pixels(f"{key}=17")


def test_so_do_the_sources_of_translations(tmp_path, capsys):
    run(tmp_path / "run", "images=8", "samples.every=0", model="cyclegan")
    (tmp_path / "photos").mkdir()
    grey16(np.full((16, 16), 4000)).save(tmp_path / "photos" / "a.png")
    words = ["sample", f"ckpt={tmp_path / 'run'}", f"source={tmp_path / 'photos'}", "runtime=cpu"]
    assert main([*words, f"out={tmp_path / 'dark'}"]) == 0
    assert "such as bit_depth=12" in capsys.readouterr().err
    assert main([*words, f"out={tmp_path / 'bright'}", "bit_depth=12"]) == 0
    assert "bit_depth" not in capsys.readouterr().err
    dark, bright = ((tmp_path / name / "a.png").read_bytes() for name in ("dark", "bright"))
    assert dark != bright
