"""A copy of this process, for what ends the process that it happens in: importing torch again would take seconds."""

import os
import traceback
from collections.abc import Callable


def exit_code(call: Callable[[], int]) -> int:
    """Call a function in a fork of this process; return what it returns, or minus the signal that ended the fork.

    It must not run backward passes: torch's threads for these do not survive a fork.
    """
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = call()
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
