"""What `tradepost doctor` found out about one thing."""

from typing import Literal

import msgspec

State = Literal["good", "warn", "bad"]


class Finding(msgspec.Struct, frozen=True):
    """One thing of a store, or of the installation (`store` empty): how it is in words, and what to do where it is not good."""

    store: str
    what: str
    state: State
    said: str
    mend: str = ""
