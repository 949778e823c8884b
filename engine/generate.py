"""The command line ``python -m engine.generate``, which reads parameters and writes picture files.

The exit status is 0, or 2 after a mistake of the caller, which one line describes, or 1 after any other failure.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from engine.command_line import CALLERS_MISTAKE, FAILED, say
from engine.errors import BadRequest, EngineError
from engine.generate_flags import flag_of, parser


class _Interrupted(int):
    """The exit status after Ctrl-C, when a thread may still be inside a long call that nothing can stop."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    try:
        options = parser().parse_args(arguments)
        from engine.generate_pictures import generate  # which imports what --help does not need

        generate(options)
    except BadRequest as error:
        mistakes = error.all
        named = [BadRequest(flag_of(each.field), each.value, each.allowed) for each in mistakes]
        return say("; ".join(map(str, named)), CALLERS_MISTAKE)
    except BrokenPipeError:  # the process that read the paths has exited; the pictures are written
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 – the end of the process closes it
        return 0
    except (EngineError, OSError) as error:
        return say(error, FAILED)
    except KeyboardInterrupt:
        return say("stopped", _Interrupted(FAILED))
    return 0


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    sys.stderr.flush()
    if isinstance(status, _Interrupted):
        os._exit(status)
    sys.exit(status)
