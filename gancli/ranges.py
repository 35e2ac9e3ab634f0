"""Numbers with their ranges, for the annotations of constructors.

Config reads them from the source, by name, and refuses what is out of range before anything is imported. Other
packages may write ``Annotated[int, ">= 1"]`` themselves. Without a range every number has to be finite, and none of
gancli's own classes takes a negative one; ``Signed`` says that it may.
"""

from typing import Annotated

Units = Annotated[int, ">= 1", "<= 65536"]  # channels, units, dimensions
Depth = Annotated[int, ">= 1", "<= 1000"]  # layers, blocks, stages: each is built, so that a million would take hours
Extra = Annotated[int, ">= 0", "<= 1000"]  # layers that there may be none of
Positive = Annotated[int, ">= 1"]
Bits = Annotated[int, ">= 1", "<= 16"]
Share = Annotated[float, ">= 0", "<= 1"]
Drop = Annotated[float, ">= 0", "< 1"]  # the share of units that dropout removes
Threads = Annotated[int, ">= 0", "<= 1024"]
Above = Annotated[float, "> 0"]
Signed = Annotated[float, "signed"]
