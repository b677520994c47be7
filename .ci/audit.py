"""
Look up the runtime lock in the database of known vulnerabilities.

Exit status 1 if a package has one. Without advisory data the lookup proves nothing: it says so and goes on, or fails
if ``AUDIT_MUST_RUN`` is set. ``pip-audit`` itself exits 0 then, so its answer is read.
"""

import json
import os
import subprocess
import sys

COMMAND = [sys.executable, "-m", "pip_audit", "--requirement", "requirements.lock", "--require-hashes",
           "--disable-pip", "--progress-spinner", "off", "--timeout", "10", "--format", "json"]  # fmt: skip


def main() -> int:
    """Run the audit and judge its answer."""
    try:
        audit = subprocess.run(COMMAND, capture_output=True, text=True, check=False, timeout=120)
        packages = json.loads(audit.stdout)["dependencies"]
    except (subprocess.TimeoutExpired, json.JSONDecodeError, KeyError):
        packages = []
    found = [f"{each['name']} {each['version']}: {', '.join(known['id'] for known in each['vulns'])}"
             for each in packages if each.get("vulns")]  # fmt: skip
    if found:
        print(*found, sep="\n")
        return 1
    if not packages or any("skip_reason" in each for each in packages):
        print("AUDIT: NOT CHECKED (no advisory data)")
        return 1 if os.environ.get("AUDIT_MUST_RUN") else 0
    print(f"{len(packages)} packages without known vulnerabilities")
    return 0


if __name__ == "__main__":
    sys.exit(main())
