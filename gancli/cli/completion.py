"""Shell completion: Hydra completes the settings, and this module adds the verb in front of them."""

import os


def shift(argv: list[str], verbs: tuple[str, ...]) -> tuple[str, list[str]] | None:
    """Turn ``gancli -sc ...`` into a call of a verb's own completion.

    Hydra's shell code calls ``gancli -sc query=bash`` with the current line in COMP_LINE. The verb is removed from that
    line so that Hydra sees a program without verbs. While the verb itself is being typed, its completions are printed
    here.

    Returns:
        The verb and its arguments, or None if the query has been answered.
    """
    line = os.environ.get("COMP_LINE", "")
    if not any(word.startswith("query=") for word in argv):
        return verbs[0], ["-sc", *argv]  # install= and uninstall= are the same for all verbs
    program, _, rest = line.partition(" ")
    verb, space, settings = rest.lstrip().partition(" ")
    if not space:
        print(" ".join(name for name in verbs if name.startswith(verb)))
        return None
    if verb not in verbs:
        return None
    cut = f"{program} {settings}"
    point = int(os.environ.get("COMP_POINT", len(line)))
    os.environ |= {"COMP_LINE": cut, "COMP_POINT": str(max(0, point - (len(line) - len(cut))))}
    return verb, ["-sc", *argv]
