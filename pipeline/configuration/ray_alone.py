"""Ray on this machine alone: on the loopback interface, behind a token, telling nobody.

Ray reads these variables when it is imported, so both must be called before.
"""

import os
import secrets


def keep_usage_private() -> None:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")


def listen_to_this_machine_only() -> None:
    """For a cluster that this process starts; the token is its own and its children's."""
    os.environ.update(
        RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER="0",  # Ray's switch for 127.0.0.1 as a node's address
        RAY_AUTH_MODE="token",
        RAY_AUTH_TOKEN=secrets.token_hex(32),
    )
