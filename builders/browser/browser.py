"""Serves WebDriver on port 4444; with settings in /config/config.json, runs the browser tests of a service instead."""

import http.client
import json
import os
import sys
import tempfile
from collections.abc import Callable

CONFIG = "/config/config.json"
PORT = 4444
# Exit code of a plugin for failures that the service did not cause.
EXTERNAL = 3


def main() -> int:
    if sys.argv[1:] == ["healthy"]:
        return 0 if is_ready("127.0.0.1", PORT) else 1
    if sys.argv[1:]:
        return fail(f"unknown arguments: {' '.join(sys.argv[1:])}", 2)
    give_home()
    return supervise(work)


def work() -> int:
    if os.path.exists(CONFIG):
        with open(CONFIG, encoding="utf-8") as file:
            return run_tests(json.load(file))
    return serve()


def supervise(program: Callable[[], int]) -> int:
    """Runs a function in a child process, which ends on SIGTERM, and reaps what Chromium leaves behind.

    Chromium's processes lose their parent, and the first process of a container adopts them."""
    import ctypes
    import signal
    import traceback

    pr_set_child_subreaper = 36
    ctypes.CDLL(None).prctl(pr_set_child_subreaper, 1, 0, 0, 0)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            status = program()
        except Exception:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            os._exit(status)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: os.kill(child, number))
    while True:
        ended, status = os.wait()
        if ended == child:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def is_ready(host: str, port: int) -> bool:
    """Returns whether WebDriver answers that it accepts sessions."""
    try:
        connection = http.client.HTTPConnection(host, port, timeout=4)
        connection.request("GET", "/status")
        response = connection.getresponse()
        return response.status == 200 and json.load(response)["value"]["ready"] is True
    except (OSError, http.client.HTTPException, ValueError, LookupError, TypeError):
        return False


def give_home() -> None:
    """Chromium writes its settings to HOME, and the user may have none, or one that is not writable."""
    home = tempfile.mkdtemp(prefix="home-")
    os.environ["HOME"] = home
    for name in ("XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME"):
        os.environ.pop(name, None)


def serve() -> int:
    """Becomes chromedriver, for clients at any address."""
    command = ["chromedriver", f"--port={PORT}", "--allowed-ips=", "--allowed-origins=*", "--log-level=WARNING"]
    os.execvp(command[0], command)


def run_tests(settings: dict) -> int:
    url = settings.get("url")
    if not url:
        return fail("the setting `url` is missing: the address of the tested service", 1)
    tests = settings.get("tests", ["browser"])
    reports = settings.get("reports", "browser-reports")

    files = []
    for pattern in tests:
        found = matches(pattern)
        if not found:
            return fail(f"no browser tests: `{pattern}` does not match any file in {os.getcwd()}", 1)
        files += found
    try:
        clear(reports)
    except OSError as error:
        return fail(f"cannot write to the folder `{reports}` for reports: {error.strerror}", 1)
    if problem := wait_for(url, settings.get("timeout", 30)):
        return fail(problem, 1)

    import pytest

    # The tests' folders must not get compiled files.
    sys.dont_write_bytecode = True
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path.insert(0, here)
    arguments = ["-c", f"{here}/pytest.ini", "--rootdir", os.getcwd(), "-p", "plugin"]
    arguments += [f"--junit-xml={reports}/junit.xml", f"--xp-url={url}", f"--xp-reports={reports}"]
    arguments += [f"--xp-window={settings.get('window', '1280x800')}"]
    status = int(pytest.main(arguments + ["--", *files]))
    if status == pytest.ExitCode.NO_TESTS_COLLECTED:
        return fail(f"no browser tests in {', '.join(files)}: their names must start with `test_`", 1)
    # pytest's own 3 is an internal error.
    return {0: 0, EXTERNAL_STATUS: EXTERNAL}.get(status, 1)


# The exit status of pytest if no browser can be started.
EXTERNAL_STATUS = 70


def matches(pattern: str) -> list[str]:
    import glob

    if os.path.exists(pattern):
        return [pattern]
    return sorted(glob.glob(pattern, recursive=True))


def clear(reports: str) -> None:
    """Creates the folder, and removes the files of an earlier run, which a working copy still has."""
    os.makedirs(reports, exist_ok=True)
    for name in os.listdir(reports):
        if name == "junit.xml" or (name.startswith("failed-") and name.endswith(".png")):
            os.remove(os.path.join(reports, name))
    tempfile.TemporaryFile(dir=reports).close()


def wait_for(url: str, timeout: float) -> str | None:
    """Waits until the service answers with any HTTP status; returns why it did not."""
    import time
    import urllib.error
    import urllib.request

    deadline = time.monotonic() + timeout
    while True:
        try:
            left = max(1.0, deadline - time.monotonic())
            urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=min(5.0, left)).close()
            return None
        except urllib.error.HTTPError:
            return None
        except (OSError, http.client.HTTPException) as error:
            cause = getattr(error, "reason", None) or error
        if time.monotonic() > deadline:
            return f"{url} did not answer within {timeout} s: {cause}"
        time.sleep(0.2)


def fail(message: str, status: int) -> int:
    print(f"error: {message}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
