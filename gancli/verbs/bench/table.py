"""The table of a benchmark, for the terminal."""

from collections.abc import Mapping
from typing import Any

from gancli.errors import counted

GIB = 2**30


def table(found: Mapping[str, Any]) -> str:
    """Return what was measured as lines of text.

    Args:
        found: the contents of ``bench.json``, see run.bench().
    """
    machine, turn, work, memory = (found[key] for key in ("machine", "turn", "work", "memory"))
    low, high = min(found["rounds"]["gancli"]), max(found["rounds"]["gancli"])
    lines = [
        f"{found['model']} on {found['data']}, batch_size={found['batch_size']}: {machine['device']}, "
        f"{counted(machine['threads'], 'thread')}, {machine['precision']}, torch {machine['torch']}",
        _line("images/s", f"{found['images_per_s']:,.0f}", f"median of {len(found['rounds']['gancli'])} rounds, "
              f"{low:,.0f} to {high:,.0f}"),
        _line("a turn", _time(turn["seconds"]), f"{turn['images']:g} images, phase by phase:"),
    ]  # fmt: skip
    lines += [_line(f"  {name}", _time(each), f"{each / turn['seconds']:.1%}") for name, each in turn["phases"].items()]
    lines += [
        _line("operators", f"{work['operators'] / work['images']:,.2f}", "calls per image, without views"),
        _line("products", _rate(work["flops_per_s"], "FLOP/s"), _share(work["flops_share"], found, "flops", "FLOP/s")),
        _line("memory traffic", _rate(work["bytes_per_s"], "B/s"), _share(work["bytes_share"], found, "bytes", "B/s")),
        _line("peak memory", _gib(memory["peak"]), f"of {_gib(memory['total'])}, {memory['kind']}"),
    ]
    if work["kernels"] is not None:
        lines.append(_line("kernels", f"{work['kernels'] / work['images']:,.2f}", "per image, with copies and fills"))
    for name, each in found["compare"].items():
        said = f"images/s; this config makes {each['ratio']:.2f} times as many"
        lines.append(_line(f"  {name}", f"{each['images_per_s']:,.0f}", said))
    return "\n".join(lines)


def _line(name: str, value: str, said: str) -> str:
    return f"{name:<24}{value:>14}  {said}"


def _time(seconds: float) -> str:
    return f"{1e3 * seconds:,.3f} ms"


def _gib(size: int) -> str:
    return f"{size / GIB:.2f} GiB"


def _rate(number: float, unit: str) -> str:
    return f"{number / 1e9:,.1f} G{unit}"


def _share(share: float, found: Mapping[str, Any], ceiling: str, unit: str) -> str:
    what = {"flops": "a large product of matrices", "bytes": "a large copy"}[ceiling]
    return f"{share:.1%} of the {_rate(found['ceilings'][ceiling], unit)} of {what}"
