"""gancli <verb> key=value ...: from the command line to a verb, and from any error to one line and an exit code."""

import gc
import os
import sys

from gancli import __version__
from gancli.cli import options
from gancli.errors import UsageError, did_you_mean
from gancli.verbs import SUMMARIES, VERBS

__all__ = ["main"]

HELP = """\
gancli {version}: train, evaluate and sample generative image models.

Usage: gancli <verb> [key=value ...] [-m]

{verbs}

  gancli train model=dcgan data=digits
  gancli eval ckpt=latest
  gancli sample ckpt=latest n=64
  gancli report outputs/sweep/...
  gancli doctor outputs/digits-dcgan/...

Groups, chosen by group=option:

{groups}

A sweep: gancli train -m model=dcgan,wgan seed=1,2,3. The same command again goes on with it: jobs that are done
stay, half-done ones resume, the others run; sweep=new begins another one. launcher.slots=4 runs four jobs at a
time; auto, as many as there are GPUs, or cores.
A search: gancli tune model=dcgan data=mnist space=gan_lr trials=30.
gancli <verb> --help lists the groups, their options and the keys; gancli help <group> explains the options.
Your own options lie in conf/ here, or in the folders of GANCLI_CONF; settings of this machine in
conf/local/default.yaml, such as runtime: {{device: cpu, threads: 4}}. Runs go into outputs/, or GANCLI_OUTPUTS.
Classes of your own: put their package on PYTHONPATH and name it, 'trust=[mypackage]'.
Completion for bash: eval "$(gancli -sc install=bash)\""""


def main(argv: list[str] | None = None) -> int:
    """Run one command line and return its exit code.

    0: success, 2: an error that the user can fix, 3: training diverged, 130 or 143: stopped by a signal, 1: any other
    error.
    """
    argv = sys.argv[1:] if argv is None else list(argv)
    gc.disable()  # composing makes many objects but little garbage; collections took a tenth of the response time
    try:
        return _dispatch(argv)
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    except BrokenPipeError:  # the reader, such as `head`, has closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # otherwise the interpreter complains at exit
        return 0
    except (Exception, KeyboardInterrupt) as error:
        from gancli.cli.job import report  # here, and command in other places: help needs neither

        return report(error)
    finally:
        gc.enable()


def _dispatch(argv: list[str]) -> int:
    if not argv or argv[0] in ("-h", "--help", "help"):
        if not argv[1:]:
            verbs = "\n".join(f"  {name:<10}{summary}" for name, summary in SUMMARIES.items())
            print(HELP.format(version=__version__, verbs=verbs, groups=options.overview()))
        elif argv[1] in VERBS:
            return _run(argv[1], ["--help"])
        else:
            print(*map(options.explained, argv[1:]), sep="\n\n")
        return 0
    if argv[0] in ("-V", "--version"):
        print(f"gancli {__version__}")
        return 0
    if argv[0] in ("-sc", "--shell-completion"):
        from gancli.cli import completion

        answer = completion.shift(argv[1:], tuple(VERBS))
        return 0 if answer is None else _run(*answer)
    if argv[0] not in VERBS:
        raise UsageError(f"no verb {argv[0]!r}{did_you_mean(argv[0], VERBS)} (allowed: {', '.join(VERBS)})")
    return _run(argv[0], argv[1:])


def _run(verb: str, argv: list[str]) -> int:
    from gancli.cli import command

    return command.run(verb, argv)
