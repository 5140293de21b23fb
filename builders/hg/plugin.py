"""Reads sources from Mercurial repositories, for xp.

    resolve   /config/resolve.json -> /out/resolved.json: the commits of references
    fetch     /config/fetch.json   -> /out: the files of a commit

Exits with 3 if the server cannot be reached or refuses.
"""

import concurrent.futures
import json
import os
import re
import shutil
import subprocess
import sys

from mercurial import error, hg
from mercurial import ui as uimod

PASSWORD = "/run/secrets/password"
CACHE = "/cache/repository"
RC = "/run/hgrc"
# In seconds; the default of the operating system is minutes.
TIMEOUT = 60
# How many repositories are queried concurrently.
JOBS = 8


class Failure(Exception):
    """Ends the program with a message."""

    def __init__(self, message, code=1):
        super().__init__(message)
        self.code = code


def main():
    try:
        match sys.argv[1:]:
            case ["resolve"]:
                resolve()
            case ["fetch"]:
                fetch()
            case _:
                raise Failure("usage: resolve | fetch")
    except Failure as failure:
        print(failure, file=sys.stderr)
        sys.exit(failure.code)


def settings(config):
    """Returns the settings of Mercurial for a repository, as sections with keys."""
    url = config.get("url")
    if not isinstance(url, str) or not re.match("https?://", url):
        raise Failure("`with.url` must be a URL that starts with http:// or https://")
    sections = {
        "ui": {"interactive": "false", "archivemeta": "false"},
        "http": {"timeout": str(TIMEOUT)},
        "progress": {"disable": "true"},
        "extensions": {},
    }
    if "username" in config:
        try:
            with open(PASSWORD, encoding="utf-8") as file:
                password = file.read().rstrip("\r\n")
        except FileNotFoundError:
            raise Failure("`with.username` requires the secret `password` in `scm.secrets`")
        sections["auth"] = {
            "xp.prefix": "*",
            "xp.schemes": "http https",
            "xp.username": config["username"],
            "xp.password": password,
        }
    return sections


# --- resolve ------------------------------------------------------------------


def resolve():
    with open("/config/resolve.json", encoding="utf-8") as file:
        queries = json.load(file)
    # One connection per repository, however many references are asked for.
    repositories = {}
    for query in queries:
        key = json.dumps(query["with"], sort_keys=True)
        repositories.setdefault(key, []).append(query)
    answers = {}
    with concurrent.futures.ThreadPoolExecutor(JOBS) as pool:
        for found in pool.map(answers_of, repositories.values()):
            answers.update(found)
    # Complete or not at all.
    with open("/out/resolved.json", "w", encoding="utf-8") as file:
        json.dump(answers, file)


def answers_of(queries):
    """Returns the answers for queries of one repository."""
    config = queries[0]["with"]
    ui = uimod.ui.load()
    for section, values in settings(config).items():
        for name, value in values.items():
            ui.setconfig(section.encode(), name.encode(), value.encode(), b"xp")
    url = config["url"].encode()
    try:
        peer = hg.peer(ui, {}, url)
        try:
            bookmarks = peer.listkeys(b"bookmarks")
            branches = peer.branchmap()
            return {
                query["id"]: answer(peer, bookmarks, branches, query["reference"])
                for query in queries
            }
        finally:
            peer.close()
    except (error.Error, OSError) as failure:
        raise Failure(f"{config['url']}: {text_of(failure)}", 3)


def answer(peer, bookmarks, branches, reference):
    if reference is None:
        # What `hg clone` checks out.
        if b"@" in bookmarks:
            return {"commit": bookmarks[b"@"].decode()}
        if b"default" not in branches:
            return {"missing": True}
        reference = "default"
    name = reference.encode()
    if name in bookmarks:
        return {"commit": bookmarks[name].decode(), "branch": reference}
    commit = lookup(peer, name)
    if commit is None:
        return {"missing": True}
    if name in branches:
        return {"commit": commit, "branch": reference}
    return {"commit": commit}


def lookup(peer, name):
    """Returns the commit of a branch, tag or revision; None if there is no such name."""
    try:
        return peer.lookup(name).hex()
    except error.RepoError as failure:
        if "unknown revision" in text_of(failure):
            return None
        raise


def text_of(failure):
    parts = [part for part in failure.args if isinstance(part, (bytes, str))]
    parts = [part.decode(errors="replace") if isinstance(part, bytes) else part for part in parts]
    return ": ".join(parts) or str(failure)


# --- fetch --------------------------------------------------------------------


def fetch():
    with open("/config/fetch.json", encoding="utf-8") as file:
        config = json.load(file)
    commit = config["commit"]
    sections = settings(config["with"])
    # The password must not be on a command line.
    with open(RC, "w", encoding="utf-8", opener=private) as file:
        for section, values in sections.items():
            file.write(f"[{section}]\n")
            file.writelines(f"{name} = {value}\n" for name, value in values.items())
    os.environ.update(HGRCPATH=RC, HGPLAIN="1", LC_ALL="C.UTF-8")
    if was_interrupted():
        shutil.rmtree(CACHE)
    if not os.path.isdir(f"{CACHE}/.hg"):
        shutil.rmtree(CACHE, ignore_errors=True)
        run("init", CACHE)
    if time_of(commit) is None:
        pull(config["with"]["url"], commit)
    time = time_of(commit)
    if time is None:
        raise Failure(f"{config['with']['url']} has no commit {commit}")
    run("archive", "-R", CACHE, "-r", commit, "--type", "files", "/out")
    with open("/run/fetched.json", "w", encoding="utf-8") as file:
        json.dump({"time": time}, file)


def private(path, flags):
    return os.open(path, flags, 0o600)


def was_interrupted():
    """Returns whether a fetch was killed: xp runs only one per repository at a time."""
    locks = ["wlock", "store/lock", "store/journal"]
    return any(os.path.lexists(f"{CACHE}/.hg/{name}") for name in locks)


def time_of(commit):
    """Returns the time of a commit; None if it is not in the cache."""
    command = ["hg", "log", "-R", CACHE, "-r", commit, "-T", "{node} {date|hgdate}"]
    found = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    fields = found.stdout.split()
    if found.returncode != 0 or len(fields) != 3 or fields[0] != commit:
        return None
    return max(0, int(fields[1]))


def pull(url, commit):
    print(f"pulling {commit} from {url}", flush=True)
    command = ["hg", "pull", "-R", CACHE, "-r", commit, url]
    pulled = subprocess.run(command, stdout=sys.stdout, stderr=subprocess.PIPE, text=True)
    sys.stderr.write(pulled.stderr)
    if pulled.returncode != 0:
        is_unknown = "unknown revision" in pulled.stderr
        raise Failure(f"cannot pull from {url}", 1 if is_unknown else 3)


def run(*arguments):
    done = subprocess.run(["hg", *arguments])
    if done.returncode != 0:
        raise Failure(f"`hg {arguments[0]}` failed")


main()
