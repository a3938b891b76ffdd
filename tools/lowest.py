"""Print every lower bound in setup.cfg as an exact pin, for pip's --constraint.

Usage: python tools/lowest.py [EXTRA ...]

Reads install_requires and the named extras, with the extras those name in turn. A
requirement without one lower bound is an error: nobody tests a bound nobody states.
"""

import configparser
import re
import sys
from pathlib import Path

SETUP_CFG = Path(__file__).resolve().parent.parent / "setup.cfg"
BOUNDED = re.compile(r"([A-Za-z0-9._-]+)(?:\[[^]]*\])?>=([0-9.]+)")
OUR_EXTRAS = re.compile(r"causalweights\[([^]]+)\]")


def pins_of(lines, extras_require):
    """Return {name: bound} for requirement lines, following our own extras."""
    pins = {}
    for line in filter(None, map(str.strip, lines.splitlines())):
        if ours := OUR_EXTRAS.fullmatch(line):
            for extra in ours[1].split(","):
                pins |= pins_of(extras_require[extra.strip()], extras_require)
        elif bounded := BOUNDED.fullmatch(line):
            pins[bounded[1]] = bounded[2]
        else:
            raise ValueError(f"setup.cfg: {line!r} has no single lower bound")
    return pins


def main():
    """Print the pins of the package and of the extras named on the command line."""
    config = configparser.ConfigParser()
    config.read(SETUP_CFG, encoding="utf-8")
    extras_require = config["options.extras_require"]
    pins = pins_of(config["options"]["install_requires"], extras_require)
    for extra in sys.argv[1:]:
        pins |= pins_of(extras_require[extra], extras_require)
    for name, bound in sorted(pins.items()):
        print(f"{name}=={bound}")


if __name__ == "__main__":
    main()
