"""Requests made from the service's own OpenAPI document, by Schemathesis: none may give status 500 or break it.

pip install schemathesis     # in an environment of its own: it is no part of the package's extras
python benchmarks/schema_server.py [--schemathesis schemathesis] [--examples 100] [--seed 1]

A service is started on a free port, and `schemathesis run` asks it. Every check of Schemathesis is made but two: a
document cannot say which names are known, so a request that it allows may be refused ("positive_data_acceptance"); and
JSON's numbers, texts and truth values may stand for each other where nothing is lost ("negative_data_rejection").
Ends with the exit code of Schemathesis.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess

from service import Service

LEFT_OUT = ("positive_data_acceptance", "negative_data_rejection")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--schemathesis", default="schemathesis", help="the program")
    parser.add_argument("--examples", type=int, default=100, help="requests a route and phase, at most")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    if shutil.which(options.schemathesis) is None:
        raise SystemExit("Schemathesis is not installed: pip install schemathesis, in an environment of its own")
    with Service("--max-seconds", "60") as service:
        command = [options.schemathesis, "run", f"{service.url}/openapi.json", "--continue-on-failure"]
        command += ["--exclude-checks", ",".join(LEFT_OUT), "--max-examples", str(options.examples)]
        command += ["--request-timeout", "60"]  # the first choice on a target reads a thousand networks
        done = subprocess.run([*command, "--seed", str(options.seed)], check=False)
        print("\n".join(line for line in service.metrics().splitlines() if "requests_total{" in line))
    raise SystemExit(done.returncode)


if __name__ == "__main__":
    main()
